//! Which multicasts of one flow every holder has taken, and which holders were lost on the way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rolecast_membership::NodeId;
use rolecast_protocol::Seq;
use tokio::sync::Notify;

use crate::outcomes::HolderOutcome;

/// What the driver knows of a flow's acknowledgements.
#[derive(Default)]
pub(crate) struct Settlement {
    settled: AtomicU64,
    stable: AtomicU64,
    closed: AtomicBool,
    changed: Notify,
    history: Mutex<History>,
    /// How many want to know which holder has acknowledged how much.
    followers: AtomicUsize,
}

/// What is needed to say later how one message ended.
#[derive(Default)]
struct History {
    /// From which message on there are which members; one entry per change.
    sent: VecDeque<Sent>,
    /// The last message that was sent.
    last: Seq,
    /// How far each member is, as long as somebody wants to know.
    acknowledged: BTreeMap<NodeId, Seq>,
    /// Who was lost, how, and for which messages: above the first and up to the second.
    lost: VecDeque<((NodeId, HolderOutcome), Seq, Seq)>,
    /// Who was left out because it was too slow, and what it had not taken: above the first and up to the second.
    evicted: VecDeque<(NodeId, Seq, Seq)>,
    /// Which messages each holder does not get because later ones took their place: from the first to the second, in order.
    superseded: BTreeMap<NodeId, VecDeque<(Seq, Seq)>>,
    /// Which messages were refused, or given up before enough members held them: from the first to the second.
    refused: VecDeque<(Seq, Seq)>,
    unstable: VecDeque<(Seq, Seq)>,
}

/// To whom messages from one on were sent.
struct Sent {
    first: Seq,
    /// Of the destination set.
    version: u32,
    members: Members,
    nodes: Arc<[NodeId]>,
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

/// What has become of a message at members of which that is known, and whether it is known of all.
pub(crate) type Fates = (Vec<(NodeId, HolderOutcome)>, bool);

/// How a message ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// How many members it went to.
    pub(crate) members: Members,
    /// Which ones.
    pub(crate) nodes: Arc<[NodeId]>,
    /// Those that were lost before they took it, and how.
    pub(crate) lost: Vec<(NodeId, HolderOutcome)>,
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

    /// What became of a member that did not take it.
    pub(crate) fn of_missing(&self, node: NodeId) -> Option<HolderOutcome> {
        let lost = self.lost.iter().find(|(lost, _)| *lost == node);
        let evicted = self.evicted.contains(&node);
        let superseded = self.superseded.contains(&node);
        lost.map(|&(_, how)| how)
            .or(evicted.then_some(HolderOutcome::Evicted))
            .or(superseded.then_some(HolderOutcome::Superseded))
    }

    /// The members that took it, if all of them took it or did not.
    pub(crate) fn takers(&self) -> impl Iterator<Item = NodeId> + '_ {
        let nodes = self.nodes.iter().copied();
        nodes.filter(|&node| self.of_missing(node).is_none())
    }
}

impl Settlement {
    /// Messages `first..=last` went to so many members, of this version of the destination set, which `nodes` gives.
    pub(crate) fn sent(
        &self,
        (first, last): (Seq, Seq),
        (version, members): (u32, Members),
        nodes: impl FnOnce() -> Arc<[NodeId]>,
    ) {
        let mut history = self.history();
        history.last = last;
        let before = history.sent.back();
        if before.is_none_or(|before| (before.version, before.members) != (version, members)) {
            if history.sent.len() == SENT_MAX {
                history.sent.pop_front();
            }
            history.sent.push_back(Sent {
                first,
                version,
                members,
                nodes: nodes(),
            });
        }
    }

    /// Whether anybody wants to know which holder has acknowledged how much.
    pub(crate) fn is_followed(&self) -> bool {
        self.followers.load(Ordering::Acquire) > 0
    }

    /// One more, or one less, wants to know which holder has acknowledged how much.
    pub(crate) fn count_follower(&self, follows: bool) {
        if follows {
            self.followers.fetch_add(1, Ordering::AcqRel);
        } else if self.followers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.history().acknowledged.clear();
        }
    }

    /// These members have acknowledged everything up to these messages.
    pub(crate) fn acknowledged(&self, members: impl Iterator<Item = (NodeId, Seq)>) {
        let mut history = self.history();
        let mut news = false;
        for (node, upto) in members {
            let before = history.acknowledged.entry(node).or_default();
            news |= upto > *before;
            *before = upto.max(*before);
        }
        drop(history);
        if news {
            self.changed.notify_waiters();
        }
    }

    /// What has become of message `seq` at those of its members where that is known, and whether it is known of all.
    fn fates(&self, seq: Seq) -> Fates {
        let settled = match self.settlement_of(seq) {
            Some(Waited::Refused) => return (Vec::new(), true),
            settled => settled.is_some(),
        };
        let ends = self.outcome(seq);
        let history = self.history();
        if history.last < seq {
            return (Vec::new(), false);
        }
        let has_taken = |node| {
            let upto = history.acknowledged.get(&node);
            settled || upto.is_some_and(|&upto| upto >= seq)
        };
        let fate = |&node: &NodeId| {
            let taken = || has_taken(node).then_some(HolderOutcome::Acknowledged);
            Some((node, ends.of_missing(node).or_else(taken)?))
        };
        let known: Vec<_> = ends.nodes.iter().filter_map(fate).collect();
        let all = settled || known.len() == ends.nodes.len();
        (known, all)
    }

    /// Waits until more is known than what became of message `seq` at so many members, or all is; `None` if no more will ever be.
    pub(crate) async fn wait_fates(&self, seq: Seq, known: usize) -> Option<Fates> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let closed = self.closed.load(Ordering::Acquire);
            let fates = self.fates(seq);
            if fates.1 || fates.0.len() > known {
                return Some(fates);
            }
            if closed {
                return None;
            }
            changed.await;
        }
    }

    /// A member is gone before it took the messages above `after` and up to `upto`.
    pub(crate) fn lost(&self, node: NodeId, how: HolderOutcome, after: Seq, upto: Seq) {
        push_bounded(&mut self.history().lost, ((node, how), after, upto));
        self.changed.notify_waiters();
    }

    /// A member was left out before it took the messages above `after` and up to `upto`.
    pub(crate) fn evicted(&self, node: NodeId, after: Seq, upto: Seq) {
        push_bounded(&mut self.history().evicted, (node, after, upto));
        self.changed.notify_waiters();
    }

    /// A member does not get these messages, because later ones took their place.
    pub(crate) fn superseded(&self, node: NodeId, first: Seq, last: Seq) {
        let mut history = self.history();
        let ranges = history.superseded.entry(node).or_default();
        if ranges.len() == SUPERSEDED_MAX {
            ranges.pop_front();
        }
        ranges.push_back((first, last));
        drop(history);
        self.changed.notify_waiters();
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
        let sent = history.sent.iter().rev().find(|sent| sent.first <= seq);
        let superseded = history.superseded.iter();
        let superseded = superseded.filter(|(_, ranges)| {
            let next = ranges.partition_point(|&(first, _)| first <= seq);
            next > 0 && seq <= ranges[next - 1].1
        });
        Ends {
            members: sent.map_or(Members::default(), |sent| sent.members),
            nodes: sent.map_or_else(|| Arc::from([]), |sent| Arc::clone(&sent.nodes)),
            lost: named(&history.lost, seq),
            evicted: named(&history.evicted, seq),
            superseded: superseded.map(|(&node, _)| node).collect(),
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // The lists are well-formed at every point.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those of whom something is said of this message.
fn named<T: Copy>(ranges: &VecDeque<(T, Seq, Seq)>, seq: Seq) -> Vec<T> {
    let named = ranges.iter();
    let named = named.filter(|&&(_, after, upto)| after < seq && seq <= upto);
    named.map(|&(who, ..)| who).collect()
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
/// How many sets of members are remembered, each of which may be as large as the mesh.
const SENT_MAX: usize = 256;
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
        let nodes = |count: u8| (0..count).map(|number| node(7 - number)).collect();
        let sent = |first, version, count: u8| {
            let range = (Seq(first), Seq(first + 3));
            settlement.sent(range, (version, members(count.into())), || nodes(count));
        };
        sent(1, 1, 3);
        sent(5, 1, 3);
        sent(9, 2, 2);
        let down = (node(7), HolderOutcome::DeclaredDown);
        settlement.lost(down.0, down.1, Seq(4), Seq(8));
        for (seq, all, lost) in [
            (1, 3, vec![]),
            (4, 3, vec![]),
            (5, 3, vec![down]),
            (8, 3, vec![down]),
            (9, 2, vec![]),
        ] {
            let ends = Ends {
                members: members(all.into()),
                nodes: nodes(all),
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
        let members = Members { all: 3, others: 2 };
        settlement.sent((Seq(1), Seq(8)), (1, members), || Arc::from([]));
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
