//! Which multicasts of one flow every holder has taken, and which holders were lost on the way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rolecast_membership::NodeId;
use rolecast_protocol::Seq;
use tokio::sync::Notify;

/// What the driver knows of a flow's acknowledgements.
#[derive(Default)]
pub(crate) struct Settlement {
    settled: AtomicU64,
    stable: AtomicU64,
    closed: AtomicBool,
    changed: Notify,
    history: Mutex<History>,
}

/// What is needed to say later how one message ended.
#[derive(Default)]
struct History {
    /// From which message on how many members there are; one entry per change.
    members: VecDeque<(Seq, Members)>,
    /// Who was lost, and for which messages: above the first and up to the second.
    lost: VecDeque<(NodeId, Seq, Seq)>,
    /// Who was left out because it was too slow, and what it had not taken: above the first and up to the second.
    evicted: VecDeque<(NodeId, Seq, Seq)>,
    /// Which messages each holder does not get because later ones took their place: from the first to the second, in order.
    superseded: BTreeMap<NodeId, VecDeque<(Seq, Seq)>>,
    /// Which messages were refused, or given up before enough members held them: from the first to the second.
    refused: VecDeque<(Seq, Seq)>,
    unstable: VecDeque<(Seq, Seq)>,
}

/// How many members a message went to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) all: usize,
    /// Without this node.
    pub(crate) others: usize,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// With what was waited for.
    Done,
    /// The message was never sent, because too few nodes hold the role.
    Refused,
    /// It was given up.
    GivenUp,
    /// Nobody is left to wait for who was not left out.
    Evicted,
    /// Everybody else got a later message instead.
    Superseded,
    /// That will never be known.
    Closed,
}

/// How a message ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// How many members it went to.
    pub(crate) members: Members,
    /// Those that were lost before they took it.
    pub(crate) lost: Vec<NodeId>,
    /// Those that were left out before they took it.
    pub(crate) evicted: Vec<NodeId>,
    /// Those that got a later one instead.
    pub(crate) superseded: Vec<NodeId>,
}

impl Ends {
    /// How many members did not take it.
    pub(crate) fn missing(&self) -> usize {
        self.lost.len() + self.evicted.len() + self.superseded.len()
    }
}

impl Settlement {
    /// Messages from `first` on went to so many members.
    pub(crate) fn sent(&self, first: Seq, members: Members) {
        let mut history = self.history();
        if history
            .members
            .back()
            .is_none_or(|&(_, before)| before != members)
        {
            push_bounded(&mut history.members, (first, members));
        }
    }

    /// A member is gone before it took the messages above `after` and up to `upto`.
    pub(crate) fn lost(&self, node: NodeId, after: Seq, upto: Seq) {
        push_bounded(&mut self.history().lost, (node, after, upto));
    }

    /// A member was left out before it took the messages above `after` and up to `upto`.
    pub(crate) fn evicted(&self, node: NodeId, after: Seq, upto: Seq) {
        push_bounded(&mut self.history().evicted, (node, after, upto));
    }

    /// A member does not get these messages, because later ones took their place.
    pub(crate) fn superseded(&self, node: NodeId, first: Seq, last: Seq) {
        let mut history = self.history();
        let ranges = history.superseded.entry(node).or_default();
        if ranges.len() == SUPERSEDED_MAX {
            ranges.pop_front();
        }
        ranges.push_back((first, last));
    }

    /// Everything up to `upto` is taken, or lost.
    pub(crate) fn settle(&self, upto: Seq) {
        self.settled.fetch_max(upto.0, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// As many members as were asked for hold everything up to `upto` that was not given up.
    pub(crate) fn stable(&self, upto: Seq) {
        self.stable.fetch_max(upto.0, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// These messages are given up before enough members hold them.
    pub(crate) fn unstable(&self, first: Seq, upto: Seq) {
        push_bounded(&mut self.history().unstable, (first, upto));
        self.changed.notify_waiters();
    }

    /// These messages were never sent.
    pub(crate) fn refused(&self, first: Seq, last: Seq) {
        push_bounded(&mut self.history().refused, (first, last));
        self.changed.notify_waiters();
    }

    /// Nothing more will be settled.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Waits until `seq` is settled.
    pub(crate) async fn wait(&self, seq: Seq) -> Waited {
        self.wait_for(|| self.settlement_of(seq)).await
    }

    fn settlement_of(&self, seq: Seq) -> Option<Waited> {
        if is_in(&self.history().refused, seq) {
            return Some(Waited::Refused);
        }
        (self.settled.load(Ordering::Acquire) >= seq.0).then_some(Waited::Done)
    }

    /// Waits until as many members hold `seq` as were asked for; with `k_safe` of one, until anybody has taken it if that comes first.
    pub(crate) async fn wait_stable(&self, seq: Seq, k_safe: u8) -> Waited {
        self.wait_for(|| self.stability_of(seq, k_safe)).await
    }

    fn stability_of(&self, seq: Seq, k_safe: u8) -> Option<Waited> {
        let stable = self.stable.load(Ordering::Acquire) >= seq.0;
        let settled = self.settlement_of(seq);
        if settled == Some(Waited::Refused) {
            return settled;
        }
        if is_in(&self.history().unstable, seq) {
            return Some(Waited::GivenUp);
        }
        if (k_safe > 1 || settled.is_none()) && !stable {
            return None;
        }
        let ends = self.outcome(seq);
        // What came later may have arrived in the place of this one.
        if !ends.superseded.is_empty() && ends.missing() >= ends.members.others {
            return Some(Waited::Superseded);
        }
        if stable {
            return Some(Waited::Done);
        }
        Some(match ends.members.all > ends.missing() {
            true => Waited::Done,
            false if ends.evicted.is_empty() => Waited::GivenUp,
            false => Waited::Evicted,
        })
    }

    async fn wait_for(&self, look: impl Fn() -> Option<Waited>) -> Waited {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            // What is known stays known when nothing more will be.
            let closed = self.closed.load(Ordering::Acquire);
            if let Some(waited) = look() {
                return waited;
            }
            if closed {
                return Waited::Closed;
            }
            changed.await;
        }
    }

    /// How many members message `seq` went to, and what became of those that have not taken it.
    pub(crate) fn outcome(&self, seq: Seq) -> Ends {
        let history = self.history();
        let members = history
            .members
            .iter()
            .rev()
            .find(|&&(first, _)| first <= seq);
        let named = |ranges: &VecDeque<(NodeId, Seq, Seq)>| {
            let named = ranges.iter();
            let named = named.filter(|&&(_, after, upto)| after < seq && seq <= upto);
            named.map(|&(node, ..)| node).collect()
        };
        let superseded = history.superseded.iter();
        let superseded = superseded.filter(|(_, ranges)| {
            let next = ranges.partition_point(|&(first, _)| first <= seq);
            next > 0 && seq <= ranges[next - 1].1
        });
        Ends {
            members: members.map_or(Members::default(), |&(_, members)| members),
            lost: named(&history.lost),
            evicted: named(&history.evicted),
            superseded: superseded.map(|(&node, _)| node).collect(),
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // The lists are well-formed at every point.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_in(ranges: &VecDeque<(Seq, Seq)>, seq: Seq) -> bool {
    ranges
        .iter()
        .any(|&(first, last)| (first..=last).contains(&seq))
}

fn push_bounded<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == HISTORY_MAX {
        list.pop_front();
    }
    list.push_back(item);
}

/// How many changes are remembered: receipts that are looked at later than that many changes show the newest.
const HISTORY_MAX: usize = 1_024;
/// How many runs of superseded messages are remembered of each holder, as many as there may be keys: receipts that are looked at later count it among those that took the message.
const SUPERSEDED_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_name_the_members_of_the_time_and_the_lost() {
        let node = |byte| NodeId::from_bytes([byte; 32]);
        let settlement = Settlement::default();
        let members = |all| Members { all, others: all };
        settlement.sent(Seq(1), members(3));
        settlement.sent(Seq(5), members(3));
        settlement.sent(Seq(9), members(2));
        settlement.lost(node(7), Seq(4), Seq(8));
        for (seq, all, lost) in [
            (1, 3, vec![]),
            (4, 3, vec![]),
            (5, 3, vec![node(7)]),
            (8, 3, vec![node(7)]),
            (9, 2, vec![]),
        ] {
            let ends = Ends {
                members: members(all),
                lost,
                evicted: Vec::new(),
                superseded: Vec::new(),
            };
            assert_eq!(settlement.outcome(Seq(seq)), ends, "message {seq}");
        }
    }

    #[test]
    fn what_was_superseded_everywhere_else_is_not_stable_however_far_the_others_are() {
        let node = |byte| NodeId::from_bytes([byte; 32]);
        let settlement = Settlement::default();
        settlement.sent(Seq(1), Members { all: 3, others: 2 });
        settlement.superseded(node(7), Seq(2), Seq(4));
        settlement.superseded(node(7), Seq(6), Seq(7));
        settlement.superseded(node(8), Seq(4), Seq(4));
        settlement.stable(Seq(8));
        let superseded = |seq| settlement.outcome(Seq(seq)).superseded;
        assert_eq!(superseded(1), []);
        assert_eq!(superseded(4), [node(7), node(8)]);
        assert_eq!(superseded(5), []);
        assert_eq!(superseded(7), [node(7)]);
        for (seq, waited) in [
            (2, Waited::Done),
            (4, Waited::Superseded),
            (8, Waited::Done),
        ] {
            assert_eq!(settlement.stability_of(Seq(seq), 1), Some(waited), "{seq}");
        }
        assert_eq!(settlement.stability_of(Seq(9), 1), None);
    }
}
