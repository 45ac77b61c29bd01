//! What came of a flow before its turn, or is held back.

use std::collections::BTreeMap;

use crate::batch::Batch;
use crate::wire::{FlowKey, Span};

/// One batch that waits.
#[derive(Debug)]
pub(super) struct EarlyBatch {
    pub(super) last: u64,
    /// Of its destination set.
    pub(super) version: u32,
    /// Unless it was delivered.
    pub(super) batch: Option<Batch>,
    /// How far other flows have to be delivered before.
    pub(super) deps: Vec<(FlowKey, u64)>,
}

/// The batches that wait, by their first message; of an unordered flow also those that were delivered before their turn.
#[derive(Debug, Default)]
pub(super) struct Early {
    batches: BTreeMap<u64, EarlyBatch>,
    /// What those take that were not delivered.
    bytes: usize,
}

/// Batches that came too early are remembered up to this number, delivered or not.
const EARLY_MAX: usize = 16_384;

impl Early {
    pub(super) fn insert(&mut self, first: u64, early: EarlyBatch) {
        let cost = |early: &EarlyBatch| early.batch.as_ref().map_or(0, Batch::cost_bytes);
        self.bytes += cost(&early);
        if let Some(before) = self.batches.insert(first, early) {
            self.bytes -= cost(&before);
        }
    }

    /// Takes out the first batch.
    pub(super) fn pop_first(&mut self) -> Option<(u64, EarlyBatch)> {
        let (first, early) = self.batches.pop_first()?;
        self.bytes -= early.batch.as_ref().map_or(0, Batch::cost_bytes);
        Some((first, early))
    }

    /// Takes out the first batch if its first and last message are these.
    pub(super) fn pop_first_if(
        &mut self,
        is_it: impl FnOnce(u64, u64) -> bool,
    ) -> Option<(u64, EarlyBatch)> {
        let (first, early) = self.first()?;
        if !is_it(first, early.last) {
            return None;
        }
        self.pop_first()
    }

    /// Takes out a batch, whose place stays known as long as nothing else is said.
    pub(super) fn take_batch(&mut self, first: u64) -> Option<(u64, Batch)> {
        let early = self.batches.get_mut(&first)?;
        let batch = early.batch.take()?;
        self.bytes -= batch.cost_bytes();
        Some((early.last, batch))
    }

    /// Forgets a batch and its place.
    pub(super) fn remove(&mut self, first: u64) {
        let early = self.batches.remove(&first);
        let batch = early.and_then(|early| early.batch);
        self.bytes -= batch.as_ref().map_or(0, Batch::cost_bytes);
    }

    /// Lets go of the latest of those above `held` that were not delivered, until no more than this is kept.
    pub(super) fn shrink_to(&mut self, held: u64, bytes_max: usize) {
        while self.bytes > bytes_max {
            let waits = |(_, early): &(&u64, &EarlyBatch)| early.batch.is_some();
            let latest = self.batches.iter().rfind(waits).map(|(&first, _)| first);
            let Some(first) = latest.filter(|&first| first > held) else {
                return;
            };
            self.remove(first);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Early::default();
    }

    pub(super) fn contains(&self, first: u64) -> bool {
        self.batches.contains_key(&first)
    }

    pub(super) fn first(&self) -> Option<(u64, &EarlyBatch)> {
        let first = self.batches.first_key_value();
        first.map(|(&first, early)| (first, early))
    }

    /// The first batch that begins at this message or later.
    pub(super) fn first_from(&self, message: u64) -> Option<u64> {
        let mut from = self.batches.range(message..);
        from.next().map(|(&first, _)| first)
    }

    /// The first runs of batches behind this message, each from its first message to its last.
    pub(super) fn runs_after(&self, message: u64, runs_max: usize) -> Vec<Span> {
        let mut runs: Vec<Span> = Vec::new();
        for (&first, &EarlyBatch { last, .. }) in self.batches.range(message + 1..) {
            let follows = |run: &&mut Span| first <= run.last + 1;
            match runs.last_mut().filter(follows) {
                Some(run) => run.last = run.last.max(last),
                None => runs.push(Span { first, last }),
            }
            if runs.len() > runs_max {
                runs.pop();
                break;
            }
        }
        runs
    }

    /// The last batch that begins at this message or before.
    pub(super) fn last_upto(&self, message: u64) -> Option<(u64, &EarlyBatch)> {
        let upto = self.batches.range(..=message).next_back();
        upto.map(|(&first, early)| (first, early))
    }

    /// Whether there is no room for more than what is in turn.
    pub(super) fn is_full(&self, bytes_max: usize) -> bool {
        self.bytes >= bytes_max || self.batches.len() >= EARLY_MAX
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
