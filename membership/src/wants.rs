//! Records that are known to exist and have to be fetched.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::registry::{Entry, Stamp};
use crate::{NodeId, Time};

/// The most wants that come from hints alone.
pub(crate) const HINTS_MAX: usize = 1_024;
const PAUSE_MIN: Duration = Duration::from_millis(300);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often a newer version is asked for before it is left to anti-entropy.
const TRIES_MAX: u32 = 8;

/// A record to be fetched.
pub(crate) struct Want {
    /// At least this new.
    stamp: Stamp,
    /// The member is alive, but takes no part before its record is here.
    vital: bool,
    /// Whether the record is to be passed on as news.
    pub(crate) relay: bool,
    /// Who is known to have it.
    source: Option<NodeId>,
    tries: u32,
    next: Time,
    pause: Duration,
}

/// Whom to ask for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// This peer is known to have it.
    Source(NodeId),
    /// The node itself.
    Itself,
    /// Any connected peer.
    Anyone,
}

/// All wants, at most one per node.
#[derive(Default)]
pub(crate) struct Wants {
    wants: BTreeMap<NodeId, Want>,
}

impl Wants {
    /// Asks for the record of a member that is alive in this life.
    pub(crate) fn add_vital(&mut self, now: Time, entry: Entry) {
        let known = self.wants.get(&entry.id);
        let source = known.and_then(|want| want.source);
        let relay = known.is_some_and(|want| want.relay);
        self.insert(now, entry, true, relay, source);
    }

    /// Asks for a version that `source` hinted at.
    pub(crate) fn add_hint(&mut self, now: Time, entry: Entry, relay: bool, source: NodeId) {
        let (mut entry, mut vital, mut relay) = (entry, false, relay);
        match self.wants.get(&entry.id) {
            Some(known) if known.stamp >= entry.stamp => return,
            Some(known) => {
                relay |= known.relay;
                vital = known.vital;
                if vital {
                    // Which life is alive is not for a hint to say.
                    entry.stamp.epoch = known.stamp.epoch;
                }
            }
            None if self.wants.len() >= HINTS_MAX => return,
            None => {}
        }
        self.insert(now, entry, vital, relay, Some(source));
    }

    fn insert(
        &mut self,
        now: Time,
        entry: Entry,
        vital: bool,
        relay: bool,
        source: Option<NodeId>,
    ) {
        let Entry { id, stamp } = entry;
        let want = Want {
            stamp,
            vital,
            relay,
            source,
            tries: 0,
            next: now,
            pause: PAUSE_MIN,
        };
        self.wants.insert(id, want);
    }

    pub(crate) fn remove(&mut self, id: NodeId) -> Option<Want> {
        self.wants.remove(&id)
    }

    /// The life of a member that is alive and has no record yet.
    pub(crate) fn vital(&self, id: NodeId) -> Option<Stamp> {
        self.wants
            .get(&id)
            .filter(|want| want.vital)
            .map(|want| want.stamp)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.wants.len()
    }

    /// When the next question is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.wants.values().map(|want| want.next).min()
    }

    /// The questions that are due: the source first, then in turns the node itself and anyone.
    pub(crate) fn take_due(&mut self, now: Time) -> Vec<(NodeId, Ask)> {
        let mut due = Vec::new();
        for (id, want) in &mut self.wants {
            if want.next > now {
                continue;
            }
            let ask = match (want.tries, want.source) {
                (0, Some(source)) => Ask::Source(source),
                (tries, _) if tries % 2 == 0 => Ask::Itself,
                _ => Ask::Anyone,
            };
            due.push((*id, ask));
            want.tries += 1;
            want.next = now + want.pause;
            want.pause = PAUSE_MAX.min(want.pause * 2);
        }
        self.wants
            .retain(|_, want| want.vital || want.tries <= TRIES_MAX);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    fn entry(number: u8, epoch: u64, version: u64) -> Entry {
        let stamp = Stamp {
            epoch: Epoch(epoch),
            version,
        };
        Entry {
            id: NodeId::from_bytes([number; 32]),
            stamp,
        }
    }

    fn asks(wants: &mut Wants, count: usize) -> Vec<Ask> {
        let mut asks = Vec::new();
        while let Some(due) = wants.deadline().filter(|_| asks.len() < count) {
            asks.extend(wants.take_due(due).into_iter().map(|(_, ask)| ask));
        }
        asks
    }

    #[test]
    fn a_vital_record_is_asked_for_until_it_comes() {
        let mut wants = Wants::default();
        wants.add_vital(Time::ZERO, entry(1, 1, 1));
        assert_eq!(asks(&mut wants, 3), [Ask::Itself, Ask::Anyone, Ask::Itself]);
        assert_eq!(asks(&mut wants, 50).len(), 50);
        let source = NodeId::from_bytes([9; 32]);
        wants.add_hint(Time::ZERO, entry(1, 1, 5), true, source);
        assert_eq!(asks(&mut wants, 2), [Ask::Source(source), Ask::Anyone]);
        assert!(
            wants
                .remove(entry(1, 1, 1).id)
                .is_some_and(|want| want.relay)
        );
        assert_eq!(wants.deadline(), None);
    }

    #[test]
    fn a_hint_is_given_up_and_does_not_say_which_life_is_alive() {
        let mut wants = Wants::default();
        let source = NodeId::from_bytes([9; 32]);
        wants.add_hint(Time::ZERO, entry(1, 1, 5), false, source);
        assert_eq!(asks(&mut wants, 100).len(), TRIES_MAX as usize + 1);
        wants.add_vital(Time::ZERO, entry(2, 3, 1));
        wants.add_hint(Time::ZERO, entry(2, 7, 1), false, source);
        assert_eq!(
            wants.vital(entry(2, 0, 0).id).map(|stamp| stamp.epoch),
            Some(Epoch(3))
        );
    }
}
