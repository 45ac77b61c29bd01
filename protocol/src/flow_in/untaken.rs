//! What the application was handed and has not taken.

use std::collections::VecDeque;

/// The batches of one flow, in the order in which they were handed over.
#[derive(Debug, Default)]
pub(super) struct Untaken {
    /// The first and the last message of each.
    batches: VecDeque<(u64, u64)>,
    bytes: usize,
}

impl Untaken {
    pub(super) fn push(&mut self, first: u64, last: u64, bytes: usize) {
        self.batches.push_back((first, last));
        self.bytes += bytes;
    }

    /// The application has taken everything up to here.
    pub(super) fn take_upto(&mut self, upto: u64, bytes: usize) {
        while self.batches.front().is_some_and(|&(_, last)| last <= upto) {
            self.batches.pop_front();
        }
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// The application has taken the batch that ends here, whatever came before it.
    pub(super) fn take_one(&mut self, last: u64, bytes: usize) {
        let taken = self.batches.iter().position(|batch| batch.1 == last);
        taken.and_then(|index| self.batches.remove(index));
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn clear(&mut self) {
        *self = Untaken::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The first message of the batch that was handed over first.
    pub(super) fn first(&self) -> Option<u64> {
        self.batches.front().map(|&(first, _)| first)
    }

    /// The first message of all of them.
    pub(super) fn least(&self) -> Option<u64> {
        self.batches.iter().map(|&(first, _)| first).min()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
