//! The questions that this node was asked and has not answered.
//!
//! A holder's right to answer ends with its answer, or when nobody awaits one any more: whoever asked gave up, or one of the two lives between which the question travelled is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rolecast_membership::{Epoch, NodeId, Time};

use crate::api::{CallId, Origin, ReplyTo};

/// What this node may still answer.
///
/// It holds what the application holds: to drop a request is to answer it.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    open: BTreeSet<ReplyTo>,
    /// Nodes an answer to which was refused for want of room.
    full: BTreeSet<NodeId>,
    /// Questions that nobody wants answered any more and that were not delivered, because they are held back or did not come yet.
    withdrawn: BTreeSet<ReplyTo>,
    /// Lives that asked and were not known to go on, since when they have been doubted.
    doubted: BTreeMap<Origin, Option<Time>>,
}

/// The most questions that are remembered as not wanted before they are delivered.
const WITHDRAWN_MAX: usize = 4_096;

impl Questions {
    /// A question was delivered.
    pub(crate) fn insert(&mut self, to: ReplyTo) {
        self.open.insert(to);
    }

    /// A question was delivered whose asker may be gone, so that nobody would ever say that it is not wanted any more.
    pub(crate) fn doubt(&mut self, asker: Origin) {
        self.doubted.entry(asker).or_default();
    }

    /// Whether there are askers that may be gone.
    pub(crate) fn has_doubts(&self) -> bool {
        !self.doubted.is_empty()
    }

    /// Takes out the askers that are known to go on, and those that have been doubted for so long; gives the latter.
    pub(crate) fn take_given_up(
        &mut self,
        now: Time,
        after: Duration,
        goes_on: impl Fn(Origin) -> bool,
    ) -> Vec<Origin> {
        let mut given_up = Vec::new();
        self.doubted.retain(|&asker, since| {
            let over = *since.get_or_insert(now) + after <= now;
            let goes_on = goes_on(asker);
            if over && !goes_on {
                given_up.push(asker);
            }
            !over && !goes_on
        });
        given_up
    }

    /// Nobody wants the answer to a question that was not delivered yet.
    pub(crate) fn withdraw(&mut self, to: ReplyTo) {
        self.withdrawn.insert(to);
        if self.withdrawn.len() > WITHDRAWN_MAX {
            self.withdrawn.pop_first();
        }
    }

    /// Whether a question that is being delivered is not wanted any more; forgets that.
    pub(crate) fn take_withdrawn(&mut self, to: &ReplyTo) -> bool {
        self.withdrawn.remove(to)
    }

    /// Whether an answer is awaited.
    pub(crate) fn contains(&self, to: &ReplyTo) -> bool {
        self.open.contains(to)
    }

    /// A question was answered, or needs no answer; says whether it was open.
    pub(crate) fn remove(&mut self, to: &ReplyTo) -> bool {
        self.open.remove(to)
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes out what was asked in lives of a node before `epoch`.
    pub(crate) fn take_before(&mut self, node: NodeId, epoch: Epoch) -> Vec<ReplyTo> {
        let first_of = |epoch| ReplyTo {
            origin: Origin { node, epoch },
            call: CallId(0),
        };
        let over = self.open.range(first_of(Epoch(0))..first_of(epoch));
        let over: Vec<ReplyTo> = over.copied().collect();
        for to in &over {
            self.open.remove(to);
        }
        let asked_before = |to: &ReplyTo| to.origin.node == node && to.origin.epoch < epoch;
        self.withdrawn.retain(|to| !asked_before(to));
        over
    }

    /// Takes out what was asked by all nodes but this one.
    pub(crate) fn take_all_but(&mut self, node: NodeId) -> Vec<ReplyTo> {
        let is_others = |to: &&ReplyTo| to.origin.node != node;
        let others = self.open.iter().filter(is_others).copied().collect();
        self.open.retain(|to| to.origin.node == node);
        others
    }

    /// An answer to this node was refused for want of room.
    pub(crate) fn note_full(&mut self, node: NodeId) {
        self.full.insert(node);
    }

    /// There may be room for answers to this node again; says whether one was refused since that was said last.
    pub(crate) fn take_full(&mut self, node: NodeId) -> bool {
        self.full.remove(&node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(node: u8, epoch: u64, call: u64) -> ReplyTo {
        let node = NodeId::from_bytes([node; 32]);
        let epoch = Epoch(epoch);
        ReplyTo {
            origin: Origin { node, epoch },
            call: CallId(call),
        }
    }

    #[test]
    fn what_a_life_asked_ends_with_it() {
        let mut questions = Questions::default();
        let all = [
            asked(1, 9, 1),
            asked(2, 1, 7),
            asked(2, 1, 8),
            asked(2, 2, 1),
            asked(3, 1, 1),
        ];
        for to in all {
            questions.insert(to);
        }
        let two = NodeId::from_bytes([2; 32]);
        assert_eq!(questions.take_before(two, Epoch(1)), []);
        assert_eq!(questions.take_before(two, Epoch(2)), all[1..3]);
        assert_eq!(questions.take_before(two, Epoch(2)), []);
        assert_eq!(questions.take_all_but(two), [all[0], all[4]]);
        assert!(questions.remove(&all[3]) && !questions.remove(&all[3]));
        assert_eq!(questions.len(), 0);
    }

    #[test]
    fn only_an_asker_of_whom_there_is_no_sign_is_given_up() {
        let mut questions = Questions::default();
        let [gone, there] = [asked(1, 1, 1).origin, asked(2, 1, 1).origin];
        questions.doubt(gone);
        questions.doubt(there);
        let patience = Duration::from_secs(1);
        let mut look = |now: Time| questions.take_given_up(now, patience, |asker| asker == there);
        assert_eq!(look(Time::ZERO), []);
        assert_eq!(look(Time::ZERO + patience), [gone]);
        assert!(!questions.has_doubts());
    }
}
