//! The last messages of a flow, kept for members that come later and ask for them.

use std::collections::VecDeque;

use rolecast_membership::{Epoch, NodeId};

use super::FlowOut;
use crate::batch::Batch;
use crate::canary::planted;
use crate::kept::Run;

/// What was sent last, without holes.
#[derive(Debug, Default)]
pub(super) struct History {
    /// With the position of each batch's first message.
    batches: VecDeque<(u64, Batch)>,
    bytes: usize,
    /// Members that came since something is kept, and may ask for it.
    pub(super) newcomers: Vec<NodeId>,
}

impl History {
    fn remember(&mut self, first: u64, batch: &Batch, bytes_max: usize) {
        if !batch.is_replayable() {
            // What was announced and what was asked is over for whoever comes later.
            self.batches.clear();
            self.bytes = 0;
            return;
        }
        self.bytes += batch.cost_bytes();
        self.batches.push_back((first, batch.clone()));
        while self.bytes > bytes_max
            && let Some((_, oldest)) = self.batches.pop_front()
        {
            self.bytes -= oldest.cost_bytes();
        }
    }

    /// The last `wanted` messages, or fewer if they take up more than `bytes_max` of a window.
    fn last(&self, wanted: u32, bytes_max: usize) -> VecDeque<Run> {
        let (mut runs, mut bytes, mut wanted) = (VecDeque::new(), 0, wanted);
        for (first, batch) in self.batches.iter().rev() {
            let count = batch.count();
            let taken = count.min(wanted);
            bytes += batch.cost_bytes();
            if taken == 0 || bytes > bytes_max {
                break;
            }
            wanted -= taken;
            runs.push_front(Run {
                first: first + u64::from(count - taken),
                last: first + u64::from(count) - 1,
                batch: batch.clone().without_first(count - taken),
            });
        }
        runs
    }
}

impl FlowOut {
    /// Keeps a batch that was just numbered for members that come later.
    pub(crate) fn remember(&mut self, first: u64, batch: &Batch, bytes_max: usize) {
        if bytes_max > 0 && self.large.is_none() && self.mode.is_plain() {
            self.history.remember(first, batch, bytes_max);
        }
    }

    /// A member came.
    pub(super) fn note_newcomer(&mut self, node: NodeId) {
        if !self.history.batches.is_empty() {
            self.history.newcomers.push(node);
        }
    }

    /// The members that came since this was asked last.
    pub(crate) fn take_newcomers(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.history.newcomers)
    }

    /// A member that was not sent anything yet asks for so many of the last messages: gives its life and those that are kept, which are meant for it from here on.
    pub(crate) fn replay(
        &mut self,
        node: NodeId,
        wanted: u32,
        bytes_max: usize,
    ) -> Option<(Epoch, VecDeque<Run>)> {
        let wanted = wanted.saturating_add(u32::from(planted!(ReplayTooLong)));
        let runs = self.history.last(wanted, bytes_max);
        let first = runs.front()?.first;
        let member = self.members.get_mut(&node)?;
        member.start = first;
        member.acked = first - 1;
        member.replayed = self.next - first;
        let epoch = member.epoch;
        self.on_set_changed();
        Some((epoch, runs))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::api::CallId;
    use crate::batch::BatchBuilder;

    fn batch(count: u32) -> Batch {
        let mut builder = BatchBuilder::new();
        (0..count).for_each(|_| builder.push(b"x", None));
        builder.take().expect("not empty")
    }

    fn ranges(runs: &VecDeque<Run>) -> Vec<(u64, u64, u32)> {
        let range = |run: &Run| (run.first, run.last, run.batch.count());
        runs.iter().map(range).collect()
    }

    #[test]
    fn so_many_of_the_last_messages_come_back_as_are_kept() {
        let mut history = History::default();
        let each = batch(3).cost_bytes();
        for first in [1, 4, 7, 10] {
            history.remember(first, &batch(3), 3 * each);
        }
        let last = |wanted, bytes_max| ranges(&history.last(wanted, bytes_max));
        assert_eq!(last(1, 1_000), [(12, 12, 1)]);
        assert_eq!(last(4, 1_000), [(9, 9, 1), (10, 12, 3)]);
        assert_eq!(last(100, 1_000), [(4, 6, 3), (7, 9, 3), (10, 12, 3)]);
        assert_eq!(last(100, each), [(10, 12, 3)]);
        assert_eq!(last(0, 1_000), []);
        assert_eq!(last(9, each - 1), []);
    }

    #[test]
    fn nothing_is_replayed_over_a_question() {
        let mut history = History::default();
        history.remember(1, &batch(3), 10_000);
        let question = Batch::single(Bytes::from_static(b"?"), Some(CallId(7)));
        history.remember(4, &question, 10_000);
        assert_eq!(ranges(&history.last(9, 10_000)), []);
        history.remember(5, &batch(2), 10_000);
        assert_eq!(ranges(&history.last(9, 10_000)), [(5, 6, 2)]);
    }
}
