//! Large payloads: what is known of one at its origin and at a member.
//!
//! A large payload is a flow of its own, whose messages are its chunks and then one word about how it ended.
//! It is meant for those for whom the message is meant that announces it, and for nobody who comes later.
//! Everything else about it is as for every flow: it spreads in the same ways, its window holds its origin back, and members fetch from each other what an origin that died left behind.

use std::collections::BTreeMap;

use rolecast_membership::{Epoch, NodeId, Time};

use crate::api::FlowId;
use crate::wire::FlowKey;

/// A large payload at its origin.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The flow whose message announced it.
    pub(crate) parent: FlowId,
    /// Its length, if that is known from the start.
    pub(crate) length: Option<u64>,
    /// What was sent of it.
    pub(crate) bytes: u64,
    /// Nothing more of it is sent.
    pub(crate) ended: bool,
    /// It is more than this node takes itself, if it is a member.
    pub(crate) refused_here: bool,
    /// This node's own reader was told how it ended.
    pub(crate) over_here: bool,
    /// When it began, no earlier one was on its way any more below this number.
    pub(crate) oldest: FlowId,
}

/// A large payload at a member.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Its length, if its origin knew it from the start.
    pub(crate) length: Option<u64>,
    /// What was delivered of it.
    pub(crate) bytes: u64,
    pub(crate) stage: Stage,
    /// When something of it came last.
    pub(crate) progress_at: Time,
    /// Whether its origin was told, in the session, that this member needs nothing more of it.
    pub(crate) reported: bool,
    /// Since when there has been nothing to do for it.
    pub(crate) idle_since: Option<Time>,
}

/// What becomes of a large payload at a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is being delivered.
    Open,
    /// Its reader was told how it ended.
    Ended,
    /// It is larger than this node takes.
    Refused,
    /// Nobody reads it here.
    Closed,
}

impl Incoming {
    pub(crate) fn new(now: Time, length: Option<u64>) -> Self {
        Incoming {
            length,
            bytes: 0,
            stage: Stage::Open,
            progress_at: now,
            reported: false,
            idle_since: None,
        }
    }
}

/// Own large payloads that are over but for members that were left out of them and do not know that yet.
#[derive(Debug, Default)]
pub(crate) struct Untold(BTreeMap<FlowId, Vec<Notice>>);

/// What a member has to acknowledge before it knows that it was left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notice {
    pub(crate) node: NodeId,
    pub(crate) life: Epoch,
    /// The number of the last frame for it in the bulk lane.
    pub(crate) number: u64,
}

impl Untold {
    /// A large payload is over but for these members.
    pub(crate) fn add(&mut self, flow: FlowId, notices: Vec<Notice>) {
        if !notices.is_empty() {
            self.0.insert(flow, notices);
        }
    }

    /// The first large payload of which somebody is still to be told.
    pub(crate) fn oldest(&mut self, is_told: impl Fn(&Notice) -> bool) -> Option<FlowId> {
        self.0.retain(|_, notices| {
            notices.retain(|notice| !is_told(notice));
            !notices.is_empty()
        });
        self.0.first_key_value().map(|(&flow, _)| flow)
    }
}

/// Which large payloads of other nodes are over here, so that what comes late of one is not taken for another one.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    lives: BTreeMap<(NodeId, Epoch), Life>,
}

/// Of one life of an origin.
#[derive(Debug, Default)]
struct Life {
    /// Everything below this number is over.
    floor: u32,
    /// Ranges of numbers above it that are over, by their first one; none touches another.
    ranges: BTreeMap<u32, u32>,
    dead_since: Option<Time>,
}

/// The most ranges kept of one life; beyond it the lowest are closed up, as if what is between them were over.
const RANGES_MAX: usize = 1_024;

impl Finished {
    /// This one is over.
    pub(crate) fn insert(&mut self, key: FlowKey) {
        let life = self.lives.entry((key.origin, key.epoch)).or_default();
        life.insert(key.flow.0);
    }

    /// The origin says that all below this one are over; this counts only if something of that life was finished here.
    pub(crate) fn raise(&mut self, key: FlowKey, oldest: FlowId) {
        if let Some(life) = self.lives.get_mut(&(key.origin, key.epoch)) {
            life.raise(oldest.0);
        }
    }

    /// Whether this is a large payload that is over.
    pub(crate) fn contains(&self, key: FlowKey) -> bool {
        // All other flows have numbers below every floor.
        let life = self.lives.get(&(key.origin, key.epoch));
        key.flow.is_large() && life.is_some_and(|life| life.contains(key.flow.0))
    }

    /// Drops the lives that have been over for long, by `is_over`; gives them.
    pub(crate) fn forget(
        &mut self,
        now: Time,
        after: std::time::Duration,
        is_over: impl Fn(NodeId, Epoch) -> bool,
    ) -> Vec<(NodeId, Epoch)> {
        let mut forgotten = Vec::new();
        self.lives.retain(|&(node, epoch), life| {
            if !is_over(node, epoch) {
                life.dead_since = None;
                return true;
            }
            let over = *life.dead_since.get_or_insert(now) + after <= now;
            if over {
                forgotten.push((node, epoch));
            }
            !over
        });
        forgotten
    }
}

impl Life {
    fn contains(&self, number: u32) -> bool {
        let range = self.ranges.range(..=number).next_back();
        number < self.floor || range.is_some_and(|(_, &last)| number <= last)
    }

    fn insert(&mut self, number: u32) {
        if self.contains(number) {
            return;
        }
        let (mut first, mut last) = (number, number);
        let before = self.ranges.range(..number).next_back();
        if let Some((&start, &end)) = before
            && end.checked_add(1) == Some(number)
        {
            first = start;
        }
        let after = number.checked_add(1);
        if let Some(end) = after.and_then(|after| self.ranges.remove(&after)) {
            last = end;
        }
        self.ranges.insert(first, last);
        while self.ranges.len() > RANGES_MAX
            && let Some((_, last)) = self.ranges.pop_first()
        {
            self.floor = self.floor.max(last.saturating_add(1));
        }
    }

    fn raise(&mut self, floor: u32) {
        self.floor = self.floor.max(floor);
        while let Some(entry) = self.ranges.first_entry()
            && *entry.get() < self.floor
        {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_say_what_a_set_would(numbers in proptest::collection::vec(0u32..40, 0..60), floor in 0u32..40) {
            let mut life = Life::default();
            let mut set = std::collections::BTreeSet::new();
            for number in numbers {
                life.insert(number);
                set.insert(number);
            }
            for number in 0..42 {
                prop_assert_eq!(life.contains(number), set.contains(&number));
            }
            life.raise(floor);
            for number in 0..42 {
                prop_assert_eq!(life.contains(number), number < floor || set.contains(&number));
            }
            let ranges: Vec<_> = life.ranges.iter().collect();
            prop_assert!(ranges.windows(2).all(|two| *two[0].1 + 1 < *two[1].0));
        }
    }

    #[test]
    fn only_large_payloads_are_ever_over() {
        let key = |flow| FlowKey {
            origin: NodeId::from_bytes([1; 32]),
            epoch: Epoch(1),
            flow,
        };
        let large = |number| key(FlowId::large(number).expect("a small number"));
        let mut finished = Finished::default();
        finished.insert(large(0));
        finished.raise(large(0), large(3).flow);
        assert!(finished.contains(large(2)) && !finished.contains(large(3)));
        assert!(!finished.contains(key(FlowId(14))));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut life = Life::default();
        for number in 0..10 * RANGES_MAX as u32 {
            life.insert(2 * number);
        }
        assert_eq!(life.ranges.len(), RANGES_MAX);
        assert!(life.contains(1) && !life.contains(20 * RANGES_MAX as u32 - 1));
        life.insert(u32::MAX);
        assert!(life.contains(u32::MAX));
    }
}
