//! Which multicasts of one flow every holder has taken, and which holders were lost on the way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rolecast_membership::NodeId;
use rolecast_protocol::Seq;
use tokio::sync::Notify;

/// What the driver knows of a flow's acknowledgements.
#[derive(Default)]
pub(crate) struct Settlement {
    settled: AtomicU64,
    closed: AtomicBool,
    changed: Notify,
    history: Mutex<History>,
}

/// What is needed to say later how one message ended.
#[derive(Default)]
struct History {
    /// From which message on how many members there are; one entry per change.
    members: VecDeque<(Seq, usize)>,
    /// Who was lost, and for which messages: above the first and up to the second.
    lost: VecDeque<(NodeId, Seq, Seq)>,
}

impl Settlement {
    /// Messages from `first` on went to so many members.
    pub(crate) fn sent(&self, first: Seq, members: usize) {
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

    /// Everything up to `upto` is taken, or lost.
    pub(crate) fn settle(&self, upto: Seq) {
        self.settled.fetch_max(upto.0, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Nothing more will be settled.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Waits until `seq` is settled; false if that will never be known.
    pub(crate) async fn wait(&self, seq: Seq) -> bool {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.settled.load(Ordering::Acquire) >= seq.0 {
                return true;
            }
            if self.closed.load(Ordering::Acquire) {
                return false;
            }
            changed.await;
        }
    }

    /// How many members message `seq` went to, and which of them were lost.
    pub(crate) fn outcome(&self, seq: Seq) -> (usize, Vec<NodeId>) {
        let history = self.history();
        let members = history
            .members
            .iter()
            .rev()
            .find(|&&(first, _)| first <= seq);
        let lost = history
            .lost
            .iter()
            .filter(|&&(_, after, upto)| after < seq && seq <= upto);
        let lost: Vec<NodeId> = lost.map(|&(node, ..)| node).collect();
        (members.map_or(0, |&(_, members)| members), lost)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // The lists are well-formed at every point.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push_bounded<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == HISTORY_MAX {
        list.pop_front();
    }
    list.push_back(item);
}

/// How many changes are remembered: receipts that are looked at later than that many changes show the newest.
const HISTORY_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_name_the_members_of_the_time_and_the_lost() {
        let node = |byte| NodeId::from_bytes([byte; 32]);
        let settlement = Settlement::default();
        settlement.sent(Seq(1), 3);
        settlement.sent(Seq(5), 3);
        settlement.sent(Seq(9), 2);
        settlement.lost(node(7), Seq(4), Seq(8));
        for (seq, members, lost) in [
            (1, 3, vec![]),
            (4, 3, vec![]),
            (5, 3, vec![node(7)]),
            (8, 3, vec![node(7)]),
            (9, 2, vec![]),
        ] {
            assert_eq!(
                settlement.outcome(Seq(seq)),
                (members, lost),
                "message {seq}"
            );
        }
    }
}
