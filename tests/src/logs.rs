//! Compares what several processes heard in one round: agreement, order, and that nobody made anything up.

use std::collections::BTreeMap;

use crate::talk::{Life, Word};

/// What was promised in a round.
#[derive(Clone, Debug)]
pub struct Promised {
    /// How many words each life said; `None` for one that was killed while it spoke.
    pub said: BTreeMap<Life, Option<u64>>,
    /// Whether nobody heard a word before what its speaker had heard.
    pub causal: bool,
    /// Whether what the one that was killed heard, the others heard too.
    pub uniform: bool,
}

/// What one process heard in a round.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The words, in the order in which they came.
    pub heard: Vec<Heard>,
    /// Whether the process was killed.
    pub killed: bool,
    /// After how many words it was declared down while it lived, if it was.
    pub interrupted: Option<usize>,
}

/// A word, and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who said it.
    pub from: Life,
    /// The word.
    pub word: Word,
}

impl Log {
    /// How far each life was heard.
    #[must_use]
    pub fn upto(&self) -> BTreeMap<Life, u64> {
        let numbers = self
            .heard
            .iter()
            .map(|heard| (heard.from, heard.word.number));
        numbers.collect()
    }

    /// Whether all promises are made to it.
    #[must_use]
    pub fn counts(&self) -> bool {
        !self.killed && self.interrupted.is_none()
    }
}

/// Everything that is wrong with these logs, one line each.
#[must_use]
pub fn violations(promised: &Promised, logs: &BTreeMap<Life, Log>) -> Vec<String> {
    let mut violations = Vec::new();
    for (at, log) in logs {
        check_order(promised, log, |what| {
            violations.push(format!("{} {what}", at.node));
        });
    }
    let counting = || logs.iter().filter(|(_, log)| log.counts());
    // What must have been heard by everybody: what was said by who went on, and what somebody heard who did.
    let mut due: BTreeMap<Life, u64> = BTreeMap::new();
    let mut owe = |from: Life, upto: u64| {
        let due = due.entry(from).or_default();
        *due = upto.max(*due);
    };
    for (speaker, _) in counting() {
        if let Some(Some(said)) = promised.said.get(speaker) {
            owe(*speaker, *said);
        }
    }
    let witnesses = logs
        .values()
        .filter(|log| log.counts() || (promised.uniform && log.killed));
    for log in witnesses {
        for (from, upto) in log.upto() {
            owe(from, upto);
        }
    }
    for (at, log) in counting() {
        let upto = log.upto();
        for (from, due) in &due {
            let heard = upto.get(from).copied().unwrap_or(0);
            if heard < *due {
                violations.push(format!(
                    "{} heard {} up to {heard}, which said or was heard up to {due}",
                    at.node, from.node
                ));
            }
        }
    }
    violations
}

/// Whether the words of every life come in order, once, without a hole, and none that was not said; and after what they depend on.
fn check_order(promised: &Promised, log: &Log, mut violation: impl FnMut(String)) {
    let mut upto: BTreeMap<Life, u64> = BTreeMap::new();
    for (index, Heard { from, word }) in log.heard.iter().enumerate() {
        let number = word.number;
        let interrupted = log.interrupted.is_some_and(|after| index >= after);
        let known = promised.said.get(from);
        let before = upto.insert(*from, number);
        // One that was declared down misses what came meanwhile, and a life that began in the round does not begin with the first word.
        let begins_anywhere = interrupted || (before.is_none() && known.is_none());
        let next = before.map_or(1, |before| before + 1);
        if number != next && !(begins_anywhere && number > next) {
            violation(format!("heard {} of {} and not {next}", number, from.node));
        }
        if let Some(Some(said)) = known
            && number > *said
        {
            violation(format!(
                "heard {number} of {}, which said {said}",
                from.node
            ));
        }
        if promised.causal && !interrupted && known.is_some() {
            for (life, needed) in &word.after {
                let heard = upto.get(life).copied().unwrap_or(0);
                if heard < *needed && (life, needed) != (from, &number) {
                    violation(format!(
                        "heard {number} of {} before {needed} of {}",
                        from.node, life.node
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rolecast::{Epoch, NodeId};

    use super::*;

    fn life(number: u8) -> Life {
        Life {
            node: NodeId::from_bytes([number; 32]),
            epoch: Epoch(1),
        }
    }

    /// A log of words by speaker and number: `1.2<2.1` is the second word of the first speaker, who had heard the first one of the second.
    fn log(text: &str) -> Log {
        let said = |text: &str| {
            let (speaker, number) = text.split_once('.').expect("SPEAKER.NUMBER");
            let speaker = speaker.parse().expect("a speaker");
            (life(speaker), number.parse().expect("a number"))
        };
        let heard = text.split_whitespace().map(|text| {
            let (word, after) = text.split_once('<').unwrap_or((text, ""));
            let (from, number) = said(word);
            let after = after.split_terminator(',').map(said).collect();
            let round = 1;
            let word = Word {
                round,
                number,
                after,
            };
            Heard { from, word }
        });
        Log {
            heard: heard.collect(),
            ..Log::default()
        }
    }

    /// The first two said two words each, and the third one was killed.
    fn check(change: impl FnOnce(&mut Promised, &mut Vec<Log>), expected: &[&str]) {
        let mut promised = Promised {
            said: BTreeMap::from([(life(1), Some(2)), (life(2), Some(2)), (life(3), None)]),
            causal: true,
            uniform: true,
        };
        let mut logs = vec![
            log("3.1 1.1<3.1 2.1 1.2<2.1 2.2 3.2"),
            log("2.1 3.1 1.1<3.1 1.2<2.1 2.2 3.2"),
            log("3.1 3.2 1.1<3.1"),
        ];
        logs[2].killed = true;
        change(&mut promised, &mut logs);
        let logs = (1..).map(life).zip(logs).collect();
        let shown = |number: u8| (format!("n{number}"), life(number).node.to_string());
        let mut found = violations(&promised, &logs).join("\n");
        for (name, id) in (1..=4).map(shown) {
            found = found.replace(&id, &name);
        }
        assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_as_promised_passes() {
        check(|_, _| {}, &[]);
        // Without an order among speakers.
        check(
            |promised, logs| {
                promised.causal = false;
                logs[0] = log("1.1<3.1 3.1 1.2 3.2 2.1 2.2");
            },
            &[],
        );
        // What nobody heard who went on is gone.
        check(
            |promised, logs| {
                promised.uniform = false;
                logs[2] = log("3.1 3.2 3.3");
                logs[2].killed = true;
            },
            &[],
        );
    }

    #[test]
    fn whoever_was_declared_down_misses_words_and_says_so() {
        check(
            |_, logs| {
                logs[1] = log("2.1 3.1 1.2 2.2");
                logs[1].interrupted = Some(2);
            },
            &[],
        );
        check(
            |_, logs| {
                logs[1] = log("2.1 3.1 1.2 2.2 2.2");
                logs[1].interrupted = Some(2);
            },
            &["n2 heard 2 of n2 and not 3"],
        );
    }

    #[test]
    fn a_life_that_begins_in_the_round_may_begin_anywhere() {
        let with = |text: &str| log(&format!("3.1 1.1 2.1 1.2 2.2 3.2 {text}"));
        check(
            |_, logs| (logs[0], logs[1]) = (with("4.5 4.6"), with("4.5 4.6")),
            &[],
        );
        check(
            |_, logs| (logs[0], logs[1]) = (with("4.5 4.7"), with("4.5 4.6")),
            &[
                "n1 heard 7 of n4 and not 6",
                "n2 heard n4 up to 6, which said or was heard up to 7",
            ],
        );
    }

    #[test]
    fn every_broken_promise_is_found() {
        // Agreement about the one that was killed.
        check(
            |_, logs| logs[1].heard.truncate(5),
            &["n2 heard n3 up to 1, which said or was heard up to 2"],
        );
        // Validity.
        check(
            |_, logs| {
                logs[0] = log("3.1 3.2 1.1 1.2 2.1");
                logs[1] = log("3.1 3.2 1.1 1.2 2.1");
            },
            &[
                "n1 heard n2 up to 1, which said or was heard up to 2",
                "n2 heard n2 up to 1, which said or was heard up to 2",
            ],
        );
        // What was heard by the one that was killed.
        check(
            |_, logs| logs[2].heard.extend(log("3.3").heard),
            &[
                "n1 heard n3 up to 2, which said or was heard up to 3",
                "n2 heard n3 up to 2, which said or was heard up to 3",
            ],
        );
        // A hole, a word twice, and one too many.
        check(
            |_, logs| logs[0] = log("3.1 1.1 2.1 1.2 2.2 3.3 3.3 1.3"),
            &[
                "n1 heard 3 of n3 and not 2",
                "n1 heard 3 of n3 and not 4",
                "n1 heard 3 of n1, which said 2",
                "n2 heard n1 up to 2, which said or was heard up to 3",
                "n2 heard n3 up to 2, which said or was heard up to 3",
            ],
        );
        // An answer before its question.
        check(
            |_, logs| logs[0] = log("3.1 1.1<3.1 1.2<2.1 2.1 2.2 3.2"),
            &["n1 heard 2 of n1 before 1 of n2"],
        );
    }
}
