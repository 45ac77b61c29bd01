//! The last message of each key, for members of a flow that lag behind.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::batch::{BATCH_BYTES_FULL, Batch, BatchBuilder, SINGLE_BYTES_MIN};
use crate::canary::planted;

/// What is kept of one flow for all members that lag: of what was sent since the first of them did, the last message of each key.
#[derive(Debug, Default)]
pub(crate) struct KeptLast {
    /// By position.
    messages: BTreeMap<u64, KeptMessage>,
    /// The position of each key's message.
    by_key: BTreeMap<Bytes, u64>,
    bytes: usize,
}

#[derive(Debug)]
struct KeptMessage {
    key: Bytes,
    payload: Bytes,
}

/// Messages of a flow that follow each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) batch: Batch,
}

/// The most keys of one flow of which the last message is kept; beyond them, the oldest message makes way.
pub(crate) const KEYS_MAX: usize = 65_536;
/// What a kept message takes in memory beside its key and payload: two entries of a map.
const OVERHEAD_BYTES: usize = 192;

impl KeptMessage {
    fn cost_bytes(&self) -> usize {
        self.key.len() + self.payload.len() + OVERHEAD_BYTES
    }
}

impl KeptLast {
    /// Keeps the messages of a batch in place of those with the same keys; the oldest make way when that is more than `bytes_max`.
    pub(crate) fn keep(&mut self, first: u64, batch: &Batch, bytes_max: usize) {
        let whole = batch.len_bytes();
        let keys = batch.keys();
        for (seq, message) in (first..).zip(batch.clone().into_messages()) {
            let index = usize::try_from(seq - first).expect("a batch fits into memory");
            let key = keys.get(index).cloned().unwrap_or_default();
            // A slice would keep the whole batch in memory for the sake of one message.
            let payload = match 2 * message.payload.len() >= whole {
                true => message.payload,
                false => Bytes::copy_from_slice(&message.payload),
            };
            if planted!(FirstKept) && self.by_key.contains_key(&key) {
                continue;
            }
            self.insert(seq, KeptMessage { key, payload });
        }
        while self.messages.len() > 1 && (self.bytes > bytes_max || self.messages.len() > KEYS_MAX)
        {
            self.remove_first();
        }
    }

    fn insert(&mut self, seq: u64, message: KeptMessage) {
        if let Some(before) = self.by_key.insert(message.key.clone(), seq)
            && let Some(before) = self.messages.remove(&before)
        {
            self.bytes -= before.cost_bytes();
        }
        self.bytes += message.cost_bytes();
        self.messages.insert(seq, message);
    }

    fn remove_first(&mut self) {
        if let Some((seq, message)) = self.messages.pop_first() {
            self.bytes -= message.cost_bytes();
            if self.by_key.get(&message.key) == Some(&seq) {
                self.by_key.remove(&message.key);
            }
        }
    }

    /// Nobody needs what was sent up to here.
    pub(crate) fn forget_upto(&mut self, upto: u64) {
        while self
            .messages
            .first_key_value()
            .is_some_and(|(&seq, _)| seq <= upto)
        {
            self.remove_first();
        }
    }

    /// What is kept of the messages after `after`, in order: so much that it takes up `bytes_max`, or a little more, of a window.
    pub(crate) fn runs(&self, after: u64, bytes_max: usize) -> Vec<Run> {
        let (mut runs, mut bytes) = (Vec::new(), 0);
        let mut left = self.messages.range(after + 1..).peekable();
        while bytes < bytes_max
            && let Some((&first, message)) = left.next()
        {
            let mut run = Run {
                first,
                last: first,
                batch: Batch::single(message.payload.clone(), None),
            };
            let mut builder = BatchBuilder::new();
            if message.payload.len() < SINGLE_BYTES_MIN {
                builder.push(&message.payload, None);
                while builder.len_bytes() < BATCH_BYTES_FULL.min(bytes_max)
                    && let Some((_, next)) = left.next_if(|&(&seq, _)| seq == run.last + 1)
                {
                    run.last += 1;
                    builder.push(&next.payload, None);
                }
            }
            run.batch = builder.take().unwrap_or(run.batch);
            bytes += run.batch.cost_bytes();
            runs.push(run);
        }
        runs
    }

    /// Whether something after `after` is kept.
    pub(crate) fn has_after(&self, after: u64) -> bool {
        self.messages.range(after + 1..).next().is_some()
    }

    /// Bytes kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(messages: &[(&str, &str)]) -> Batch {
        let mut builder = BatchBuilder::new();
        for (key, payload) in messages {
            builder.push_keyed(payload.as_bytes(), Bytes::copy_from_slice(key.as_bytes()));
        }
        builder.take().expect("not empty")
    }

    fn kept(kept: &KeptLast, after: u64, bytes_max: usize) -> Vec<(u64, u64, Vec<Bytes>)> {
        let runs = kept.runs(after, bytes_max).into_iter();
        let payloads = |batch: Batch| batch.into_messages().map(|m| m.payload).collect();
        runs.map(|run| (run.first, run.last, payloads(run.batch)))
            .collect()
    }

    #[test]
    fn of_each_key_the_last_is_kept_in_its_place() {
        let mut last = KeptLast::default();
        last.keep(7, &batch(&[("a", "1"), ("b", "2"), ("a", "3")]), 10_000);
        last.keep(10, &batch(&[("", "4"), ("c", "5"), ("", "6")]), 10_000);
        let runs = [
            (8, 9, vec!["2".into(), "3".into()]),
            (11, 12, vec!["5".into(), "6".into()]),
        ];
        assert_eq!(kept(&last, 0, 10_000), runs);
        assert_eq!(kept(&last, 0, 1), [(8, 8, vec!["2".into()])]);
        assert_eq!(kept(&last, 9, 10_000), runs[1..]);
        last.forget_upto(11);
        assert_eq!(kept(&last, 0, 10_000), [(12, 12, vec!["6".into()])]);
        assert!(last.has_after(11) && !last.has_after(12));
        last.forget_upto(12);
        assert_eq!(last.bytes(), 0);
        assert!(last.by_key.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest_stays() {
        let mut last = KeptLast::default();
        let each = OVERHEAD_BYTES + 2;
        for seq in 1..=9u64 {
            let key = seq.to_string();
            last.keep(seq, &batch(&[(&key, "x")]), 3 * each);
            assert!(last.bytes() <= 3 * each);
        }
        let all = |last: &KeptLast| kept(last, 0, 10_000)[0].clone();
        assert_eq!((all(&last).0, all(&last).1), (7, 9));
        last.keep(10, &batch(&[("large", &"x".repeat(4 * each))]), 3 * each);
        assert_eq!((all(&last).0, all(&last).1), (10, 10));
    }

    #[test]
    fn keys_are_bounded() {
        let mut last = KeptLast::default();
        for seq in 1..=KEYS_MAX as u64 + 2 {
            last.keep(seq, &batch(&[(&seq.to_string(), "x")]), usize::MAX);
        }
        assert_eq!(last.messages.len(), KEYS_MAX);
        assert_eq!(last.by_key.len(), KEYS_MAX);
        assert_eq!(
            last.messages.first_key_value().map(|(&seq, _)| seq),
            Some(3)
        );
    }
}
