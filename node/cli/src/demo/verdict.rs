//! Compares what the nodes of the demo delivered with what was sent, promise by promise.

use std::collections::BTreeSet;

use crate::demo::journal::JournalEntry;
use crate::human;

/// Everything that is known at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// What was sent.
    pub(crate) flows: Vec<Flow>,
    /// What each node that lives to the end delivered.
    pub(crate) journals: Vec<NodeJournal>,
}

/// What one node sent to one role.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// The role.
    pub(crate) role: String,
    /// The sender's name.
    pub(crate) sender: String,
    /// Nothing beyond this number was sent.
    pub(crate) announced: u64,
    /// The last number, if the sender lived to say it.
    pub(crate) finished: Option<u64>,
    /// Who had to deliver it.
    pub(crate) holders: Holders,
}

/// Who held a role.
#[derive(Clone, Debug)]
pub(crate) enum Holders {
    /// These nodes, from beginning to end.
    Fixed(Vec<String>),
    /// First one, then both, then the other.
    Moved {
        /// Who held it first.
        from: String,
        /// Who held it last.
        to: String,
    },
}

/// What one node delivered; the origins are names.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeJournal {
    /// The node's name.
    pub(crate) node: String,
    /// By role and origin.
    pub(crate) entries: Vec<JournalEntry>,
}

/// One promise, and whether it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it means here, if it was kept.
    pub(crate) meaning: String,
    /// Where it was broken.
    pub(crate) broken: Vec<String>,
}

impl Promise {
    /// Whether it was kept.
    pub(crate) fn is_held(&self) -> bool {
        self.broken.is_empty()
    }
}

/// Judges every promise about multicasts.
pub(crate) fn judge(evidence: &Evidence) -> Vec<Promise> {
    vec![
        no_creation(evidence),
        no_duplication(evidence),
        order(evidence),
        validity(evidence),
        agreement(evidence),
        no_loss(evidence),
    ]
}

fn no_creation(evidence: &Evidence) -> Promise {
    let mut broken = Vec::new();
    for (node, entry) in evidence.all_entries() {
        for strange in &entry.strange {
            broken.push(format!("{node} delivered {strange:?}, which nobody sent"));
        }
        let announced = evidence.announced(&entry.role, &entry.origin);
        let created = entry.numbers().find(|&n| n == 0 || n > announced);
        if let Some(number) = created {
            broken.push(format!(
                "{node} delivered {}, which was never sent",
                message(&entry.role, &entry.origin, number)
            ));
        }
    }
    Promise {
        name: "no creation",
        meaning: "whatever was delivered had been sent, by that node to that role".to_owned(),
        broken,
    }
}

fn no_duplication(evidence: &Evidence) -> Promise {
    let mut broken = Vec::new();
    let mut deliveries = 0;
    for (node, entry) in evidence.all_entries() {
        deliveries += entry.deliveries();
        let mut seen = BTreeSet::new();
        if let Some(number) = entry.numbers().find(|&number| !seen.insert(number)) {
            broken.push(format!(
                "{node} delivered {} twice",
                message(&entry.role, &entry.origin, number)
            ));
        }
    }
    Promise {
        name: "no duplication",
        meaning: format!(
            "{} deliveries, none of them twice",
            human::count(deliveries)
        ),
        broken,
    }
}

fn order(evidence: &Evidence) -> Promise {
    let mut broken = Vec::new();
    for (node, entry) in evidence.all_entries() {
        let mut last = 0;
        for number in entry.numbers() {
            if number < last {
                broken.push(format!(
                    "{node} delivered {} after message {}",
                    message(&entry.role, &entry.origin, number),
                    human::count(last)
                ));
                break;
            }
            last = number;
        }
    }
    Promise {
        name: "order",
        meaning: "each sender's messages came to each holder in the order sent".to_owned(),
        broken,
    }
}

/// What a sender that lives sent came to every holder.
fn validity(evidence: &Evidence) -> Promise {
    let mut broken = Vec::new();
    let mut senders = BTreeSet::new();
    for flow in &evidence.flows {
        let Some(finished) = flow.finished else {
            continue;
        };
        senders.insert(flow.sender.clone());
        let all: BTreeSet<u64> = (1..=finished).collect();
        match &flow.holders {
            Holders::Fixed(nodes) => {
                for node in nodes {
                    broken.extend(missing(flow, node, &all, &evidence.delivered(flow, node)));
                }
            }
            Holders::Moved { from, to } => {
                let (before, after) =
                    (evidence.delivered(flow, from), evidence.delivered(flow, to));
                // While a node holds the role it takes everything: the first from the beginning, the second to the end.
                let until = before.last().copied().unwrap_or(0);
                let since = after.first().copied().unwrap_or(finished + 1);
                broken.extend(missing(flow, from, &(1..=until).collect(), &before));
                broken.extend(missing(flow, to, &(since..=finished).collect(), &after));
                let both: BTreeSet<u64> = before.union(&after).copied().collect();
                broken.extend(missing(flow, "either holder", &all, &both));
            }
        }
    }
    let senders: Vec<String> = senders.into_iter().collect();
    Promise {
        name: "validity",
        meaning: format!(
            "everything from {}, which lives, came to every holder, through the move too",
            senders.join(" and ")
        ),
        broken,
    }
}

/// What a sender that died sent came to all survivors or to none.
fn agreement(evidence: &Evidence) -> Promise {
    let mut broken = Vec::new();
    let mut meaning = Vec::new();
    for flow in &evidence.flows {
        let (None, Holders::Fixed(nodes)) = (flow.finished, &flow.holders) else {
            continue;
        };
        let delivered: Vec<BTreeSet<u64>> = nodes
            .iter()
            .map(|node| evidence.delivered(flow, node))
            .collect();
        let by_some: BTreeSet<u64> = delivered.iter().flatten().copied().collect();
        for (node, delivered) in nodes.iter().zip(&delivered) {
            broken.extend(missing(flow, node, &by_some, delivered));
        }
        meaning.push(format!(
            "{} died while it sent, and all {} delivered the same {}",
            flow.sender,
            human::number_of(nodes.len(), "survivor"),
            human::number_of(by_some.len(), "message")
        ));
    }
    Promise {
        name: "agreement",
        meaning: meaning.join("; "),
        broken,
    }
}

fn no_loss(evidence: &Evidence) -> Promise {
    let mut broken = Vec::new();
    for (node, entry) in evidence.all_entries() {
        for gap in &entry.gaps {
            let (role, origin) = (&entry.role, &entry.origin);
            broken.push(format!("{node} saw a gap in {role} from {origin}: {gap}"));
        }
    }
    Promise {
        name: "no loss",
        meaning: "no inbox had to say that something will never come".to_owned(),
        broken,
    }
}

impl Evidence {
    fn all_entries(&self) -> impl Iterator<Item = (&str, &JournalEntry)> {
        self.journals.iter().flat_map(|journal| {
            let node = journal.node.as_str();
            journal.entries.iter().map(move |entry| (node, entry))
        })
    }

    fn announced(&self, role: &str, sender: &str) -> u64 {
        let mut flows = self.flows.iter();
        let flow = flows.find(|flow| flow.role == role && flow.sender == sender);
        flow.map_or(0, |flow| flow.announced)
    }

    /// What a node delivered of a flow.
    pub(crate) fn entry(&self, flow: &Flow, node: &str) -> Option<&JournalEntry> {
        let journal = self.journals.iter().find(|journal| journal.node == node)?;
        let mut entries = journal.entries.iter();
        entries.find(|entry| entry.role == flow.role && entry.origin == flow.sender)
    }

    /// The numbers that a node delivered of a flow; what was made up is not held against the others.
    fn delivered(&self, flow: &Flow, node: &str) -> BTreeSet<u64> {
        let numbers = self
            .entry(flow, node)
            .into_iter()
            .flat_map(JournalEntry::numbers);
        numbers.filter(|&number| number <= flow.announced).collect()
    }
}

/// Names the messages that a node should have delivered and did not.
fn missing(flow: &Flow, node: &str, wanted: &BTreeSet<u64>, got: &BTreeSet<u64>) -> Option<String> {
    let missing: Vec<u64> = wanted.difference(got).copied().collect();
    let (&first, rest) = missing.split_first()?;
    let more = match rest.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "{node} did not deliver {}{more}",
        message(&flow.role, &flow.sender, first)
    ))
}

fn message(role: &str, sender: &str, number: u64) -> String {
    format!("message {} from {sender} to {role}", human::count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(role: &str, origin: &str, runs: &[(u64, u64)]) -> JournalEntry {
        JournalEntry {
            role: role.into(),
            origin: origin.into(),
            runs: runs.to_vec(),
            ..JournalEntry::default()
        }
    }

    /// Two holders of `feed`, to which n2 sent 9 messages and n3 died; `ledger` moved from n1 to n2.
    fn good() -> Evidence {
        let feed = || Holders::Fixed(vec!["n1".into(), "n2".into()]);
        let flow = |role: &str, sender: &str, announced, finished, holders| Flow {
            role: role.into(),
            sender: sender.into(),
            announced,
            finished,
            holders,
        };
        let moved = Holders::Moved {
            from: "n1".into(),
            to: "n2".into(),
        };
        let journal = |node: &str, ledger| NodeJournal {
            node: node.into(),
            entries: vec![
                entry("feed", "n2", &[(1, 9)]),
                entry("feed", "n3", &[(1, 6)]),
                entry("ledger", "n2", &[ledger]),
            ],
        };
        Evidence {
            flows: vec![
                flow("feed", "n2", 9, Some(9), feed()),
                flow("feed", "n3", 8, None, feed()),
                flow("ledger", "n2", 7, Some(7), moved),
            ],
            journals: vec![journal("n1", (1, 5)), journal("n2", (4, 7))],
        }
    }

    /// What is broken after a change to one entry of n2.
    fn check(index: usize, change: impl Fn(&mut JournalEntry), expected: &[(&str, &str)]) {
        let mut evidence = good();
        change(&mut evidence.journals[1].entries[index]);
        let promises = judge(&evidence);
        let broken: Vec<(&str, &str)> = promises
            .iter()
            .flat_map(|promise| {
                promise
                    .broken
                    .iter()
                    .map(|what| (promise.name, what.as_str()))
            })
            .collect();
        assert_eq!(broken, expected);
    }

    #[test]
    fn a_good_run_is_good() {
        check(0, |_| {}, &[]);
        let agreement = &judge(&good())[4];
        assert_eq!(
            agreement.meaning,
            "n3 died while it sent, and all 2 survivors delivered the same 6 messages"
        );
    }

    #[test]
    fn every_broken_promise_is_named_with_its_place() {
        let runs = |runs: &'static [(u64, u64)]| {
            move |entry: &mut JournalEntry| entry.runs = runs.to_vec()
        };
        check(
            0,
            runs(&[(1, 3), (5, 9)]),
            &[("validity", "n2 did not deliver message 4 from n2 to feed")],
        );
        check(
            1,
            runs(&[(1, 3), (6, 6)]),
            &[(
                "agreement",
                "n2 did not deliver message 4 from n3 to feed and 1 more",
            )],
        );
        check(
            1,
            runs(&[(1, 8)]),
            &[(
                "agreement",
                "n1 did not deliver message 7 from n3 to feed and 1 more",
            )],
        );
        check(
            1,
            runs(&[(1, 6), (6, 6)]),
            &[(
                "no duplication",
                "n2 delivered message 6 from n3 to feed twice",
            )],
        );
        check(
            1,
            runs(&[(1, 4), (6, 6), (5, 5)]),
            &[(
                "order",
                "n2 delivered message 5 from n3 to feed after message 6",
            )],
        );
        check(
            1,
            runs(&[(1, 6), (9, 9)]),
            &[(
                "no creation",
                "n2 delivered message 9 from n3 to feed, which was never sent",
            )],
        );
        check(
            2,
            runs(&[(4, 4), (6, 7)]),
            &[("validity", "n2 did not deliver message 5 from n2 to ledger")],
        );
        check(
            2,
            runs(&[(7, 7)]),
            &[(
                "validity",
                "either holder did not deliver message 6 from n2 to ledger",
            )],
        );
        check(
            1,
            |entry| entry.strange.push("x".into()),
            &[("no creation", "n2 delivered \"x\", which nobody sent")],
        );
        check(
            1,
            |entry| entry.gaps.push("messages 1 to 2".into()),
            &[("no loss", "n2 saw a gap in feed from n3: messages 1 to 2")],
        );
    }
}
