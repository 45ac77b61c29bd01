//! Suspicions that this node will make true unless they are refuted, and who shares them.
//!
//! A suspicion starts long and gets shorter with every other node that comes to it by its own probes (Dadgar, Phillips, Currey: "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2017, section IV-B): a node that alone cannot reach a member is likely to be at fault itself.
//! Those who share a suspicion are gossiped as a [`Doubt`], so that confirmations get around as fast as any news.
//! Nothing is kept about a member that nobody suspects.

use std::collections::BTreeMap;
use std::time::Duration;

use foca::{Incarnation, Timer};
use serde::{Deserialize, Serialize};

use crate::canary::planted;
use crate::life::Life;
use crate::{Epoch, NodeId, Time};

/// How many confirmations make a suspicion as short as it gets (Lifeguard's K).
pub(crate) const CONFIRMATIONS_MAX: usize = 3;
/// By how many times the longest suspicion is longer yet at a node that hears nobody.
const UNHEARD: u32 = 2;
/// How many accusers are named: the first, and those that confirm it.
const ACCUSERS_MAX: usize = CONFIRMATIONS_MAX + 1;

/// Who suspects a member by its own probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Doubt {
    pub(crate) id: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) incarnation: Incarnation,
    /// The heads of their ids, each once.
    pub(crate) accusers: Vec<u64>,
}

/// A suspicion of this node's own.
struct Suspicion {
    life: Life,
    incarnation: Incarnation,
    since: Time,
    due: Time,
    /// However little this node hears, it comes true by then.
    latest: Time,
    timer: Timer<Life>,
}

/// How long a suspicion lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// With all the confirmations there can be.
    pub(crate) least: Duration,
    /// Without any.
    pub(crate) most: Duration,
    /// How many confirmations there can be.
    pub(crate) confirmations: usize,
}

impl Patience {
    /// How long a suspicion lasts that so many others share.
    fn after(&self, confirmations: usize) -> Duration {
        /// In hundredths: 1 - log(c + 1) / log(k + 1) for c of k confirmations; integers, because logarithms of floats differ between machines.
        const LEFT: [&[u32]; CONFIRMATIONS_MAX + 1] =
            [&[0], &[100, 0], &[100, 37, 0], &[100, 50, 21, 0]];
        let left = LEFT[self.confirmations.min(CONFIRMATIONS_MAX)];
        let share = left.get(confirmations).copied().unwrap_or(0);
        self.least + self.most.saturating_sub(self.least) * share / 100
    }
}

/// All suspicions, and all doubts that were heard of.
#[derive(Default)]
pub(crate) struct Suspicions {
    own: BTreeMap<NodeId, Suspicion>,
    doubts: BTreeMap<NodeId, Doubt>,
    /// Nothing comes true before, as long as it may be put off.
    not_before: Time,
}

impl Suspicions {
    /// This node suspects a member by its own probe: `timer` is to run when nothing refutes it.
    ///
    /// Gives the doubt to be told, if it is news.
    pub(crate) fn accuse(
        &mut self,
        now: Time,
        me: NodeId,
        timer: Timer<Life>,
        patience: Patience,
    ) -> Option<Doubt> {
        let Timer::ChangeSuspectToDown {
            member_id: life,
            incarnation,
            ..
        } = timer
        else {
            return None;
        };
        let known = self.own.get(&life.id());
        if known.is_some_and(|known| known.life == life && known.incarnation >= incarnation) {
            return None;
        }
        let suspicion = Suspicion {
            life,
            incarnation,
            since: now,
            due: now + patience.most,
            latest: now + patience.most * UNHEARD,
            timer,
        };
        self.own.insert(life.id(), suspicion);
        let doubt = Doubt {
            id: life.id(),
            epoch: life.epoch(),
            incarnation,
            accusers: vec![me.head()],
        };
        let news = self.add(doubt);
        self.shorten(life.id(), me, patience);
        news
    }

    /// Suspects a member as if everyone had confirmed it.
    pub(crate) fn believe(&mut self, now: Time, timer: Timer<Life>, patience: Patience) {
        let Timer::ChangeSuspectToDown {
            member_id: life,
            incarnation,
            ..
        } = timer
        else {
            return;
        };
        let suspicion = Suspicion {
            life,
            incarnation,
            since: now,
            due: now + patience.least,
            latest: now + patience.most * UNHEARD,
            timer,
        };
        self.own.insert(life.id(), suspicion);
    }

    /// Someone has a doubt; gives what is known of it by now, if that is news.
    pub(crate) fn hear(&mut self, me: NodeId, doubt: Doubt, patience: Patience) -> Option<Doubt> {
        let id = doubt.id;
        let news = self.add(doubt)?;
        self.shorten(id, me, patience);
        Some(news)
    }

    fn add(&mut self, doubt: Doubt) -> Option<Doubt> {
        let age = |doubt: &Doubt| (doubt.epoch, doubt.incarnation);
        let known = self.doubts.entry(doubt.id).or_insert_with(|| Doubt {
            accusers: Vec::new(),
            ..doubt.clone()
        });
        if age(known) > age(&doubt) {
            return None;
        }
        if age(known) < age(&doubt) {
            *known = Doubt {
                accusers: Vec::new(),
                ..doubt
            };
        }
        let before = known.accusers.len();
        for accuser in doubt.accusers {
            if known.accusers.len() < ACCUSERS_MAX && !known.accusers.contains(&accuser) {
                known.accusers.push(accuser);
            }
        }
        (known.accusers.len() > before).then(|| known.clone())
    }

    /// Counts anew who shares a suspicion.
    fn shorten(&mut self, id: NodeId, me: NodeId, patience: Patience) {
        let (Some(own), Some(doubt)) = (self.own.get_mut(&id), self.doubts.get(&id)) else {
            return;
        };
        let same = (doubt.epoch, doubt.incarnation) == (own.life.epoch(), own.incarnation);
        if same && !planted!(ConfirmationsIgnored) {
            let others = doubt.accusers.iter().filter(|head| **head != me.head());
            let due = own.since + patience.after(others.count());
            // What confirms it may have waited for long, and the answer may be right behind it.
            let earliest = self.not_before.min(own.latest);
            own.due = own.due.min(due.max(earliest));
        }
    }

    /// Whether this node suspects this life in this incarnation, or a later one.
    pub(crate) fn is_accused(&self, life: Life, incarnation: Incarnation) -> bool {
        let own = self.own.get(&life.id());
        own.is_some_and(|own| own.life == life && own.incarnation >= incarnation)
    }

    /// Whom this node suspects.
    pub(crate) fn accused(&self) -> impl Iterator<Item = NodeId> {
        self.own.keys().copied()
    }

    /// When the first suspicion is over.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.own.values().map(|own| own.due).min()
    }

    /// The timer of a suspicion that is over at this moment.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<Timer<Life>> {
        let due = self.own.values().find(|own| own.due <= now)?;
        let id = due.life.id();
        self.own.remove(&id).map(|own| own.timer)
    }

    /// For so long this process did not run.
    pub(crate) fn put_off(&mut self, late: Duration) {
        for own in self.own.values_mut() {
            own.since = own.since + late;
            own.due = own.due + late;
            own.latest = own.latest + late;
        }
    }

    /// This node hears nobody, or has not until now: nothing comes true before `until`, as long as it may be put off.
    pub(crate) fn wait_until(&mut self, until: Time) {
        if !planted!(ConfirmedAtOnce) {
            self.not_before = until;
        }
        for own in self.own.values_mut() {
            own.due = own.due.max(until.min(own.latest));
        }
    }

    /// How many members this node suspects.
    pub(crate) fn count(&self) -> usize {
        self.own.len()
    }

    /// Keeps what is said of members that are still suspect in the incarnation that `suspect` gives.
    pub(crate) fn retain(&mut self, suspect: impl Fn(NodeId) -> Option<(Life, Incarnation)>) {
        self.own.retain(|id, own| {
            suspect(*id).is_some_and(|(life, at)| life == own.life && at == own.incarnation)
        });
        self.doubts.retain(|id, doubt| {
            suspect(*id)
                .is_some_and(|(life, at)| life.epoch() == doubt.epoch && at <= doubt.incarnation)
        });
    }

    /// The suspicions of a former life of this node's are void.
    pub(crate) fn clear_own(&mut self) {
        self.own.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn timer(number: u8, incarnation: Incarnation) -> Timer<Life> {
        Timer::ChangeSuspectToDown {
            member_id: life(number),
            incarnation,
            token: 0,
        }
    }

    fn life(number: u8) -> Life {
        Life(Identity {
            id: id(number),
            epoch: Epoch(1),
            addr: ([10, 0, 0, number], 7400).into(),
        })
    }

    fn doubt(incarnation: Incarnation, accusers: &[u8]) -> Doubt {
        Doubt {
            id: id(9),
            epoch: Epoch(1),
            incarnation,
            accusers: accusers.iter().map(|number| id(*number).head()).collect(),
        }
    }

    fn patience(confirmations: usize) -> Patience {
        Patience {
            least: SECOND * 3,
            most: SECOND * 18,
            confirmations,
        }
    }

    #[test]
    fn a_suspicion_gets_shorter_with_each_confirmation() {
        let lasts = |possible, confirmations| patience(possible).after(confirmations).as_millis();
        assert_eq!(
            [0, 1, 2, 3, 4].map(|c| lasts(3, c)),
            [18_000, 10_500, 6_150, 3_000, 3_000]
        );
        assert_eq!([0, 1, 2].map(|c| lasts(2, c)), [18_000, 8_550, 3_000]);
        assert_eq!([0, 1].map(|c| lasts(1, c)), [18_000, 3_000]);
        assert_eq!(lasts(0, 0), 3_000, "nobody else is left to confirm it");
    }

    #[test]
    fn confirmations_count_once_each_and_not_the_own_one() {
        let (mut suspicions, me) = (Suspicions::default(), id(1));
        let told = suspicions.accuse(Time::ZERO, me, timer(9, 0), patience(3));
        assert_eq!(told, Some(doubt(0, &[1])));
        assert_eq!(
            suspicions.accuse(Time::ZERO, me, timer(9, 0), patience(3)),
            None
        );
        let mut due = Vec::new();
        for accusers in [&[1][..], &[2], &[2, 1], &[3, 4], &[5]] {
            let news = suspicions.hear(me, doubt(0, accusers), patience(3));
            let due_ms = suspicions.deadline().expect("it is suspected").as_micros() / 1_000;
            due.push((news.is_some(), due_ms));
        }
        let expected = [
            (false, 18_000),
            (true, 10_500),
            (false, 10_500),
            (true, 3_000),
            (false, 3_000),
        ];
        assert_eq!(due, expected);
        assert!(suspicions.take_due(Time::from_millis(2_999)).is_none());
        assert!(suspicions.take_due(Time::from_millis(3_000)).is_some());
    }

    #[test]
    fn what_was_said_of_an_earlier_incarnation_is_void() {
        let (mut suspicions, me) = (Suspicions::default(), id(1));
        suspicions.hear(me, doubt(0, &[2, 3, 4]), patience(3));
        suspicions.accuse(Time::ZERO, me, timer(9, 1), patience(3));
        assert_eq!(suspicions.deadline(), Some(Time::from_millis(18_000)));
        assert_eq!(suspicions.hear(me, doubt(0, &[5]), patience(3)), None);
        assert!(suspicions.is_accused(life(9), 1) && !suspicions.is_accused(life(9), 2));
        suspicions.retain(|_| Some((life(9), 2)));
        assert_eq!((suspicions.deadline(), suspicions.doubts.len()), (None, 0));
    }

    #[test]
    fn a_process_that_did_not_run_puts_its_suspicions_off() {
        let (mut suspicions, me) = (Suspicions::default(), id(1));
        suspicions.accuse(Time::ZERO, me, timer(9, 0), patience(3));
        suspicions.put_off(SECOND * 5);
        suspicions.hear(me, doubt(0, &[2, 3, 4]), patience(3));
        assert_eq!(suspicions.deadline(), Some(Time::from_millis(8_000)));
    }

    #[test]
    fn what_is_confirmed_after_a_silence_leaves_time_for_an_answer() {
        let (mut suspicions, me) = (Suspicions::default(), id(1));
        suspicions.accuse(Time::ZERO, me, timer(9, 0), patience(3));
        suspicions.wait_until(Time::from_millis(10_500));
        suspicions.hear(me, doubt(0, &[2, 3, 4]), patience(3));
        assert_eq!(suspicions.deadline(), Some(Time::from_millis(10_500)));
    }

    #[test]
    fn who_hears_nobody_waits_and_not_for_ever() {
        let (mut suspicions, me) = (Suspicions::default(), id(1));
        suspicions.accuse(Time::ZERO, me, timer(9, 0), patience(3));
        suspicions.wait_until(Time::from_millis(1_000));
        assert_eq!(suspicions.deadline(), Some(Time::from_millis(18_000)));
        suspicions.wait_until(Time::from_millis(20_000));
        assert_eq!(suspicions.deadline(), Some(Time::from_millis(20_000)));
        suspicions.wait_until(Time::from_millis(60_000));
        assert_eq!(suspicions.deadline(), Some(Time::from_millis(36_000)));
    }
}
