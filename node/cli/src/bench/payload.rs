//! What the messages of a benchmark carry: when and as which they were sent.

use bytes::{BufMut, Bytes, BytesMut};

/// Makes payloads of one size, many to an allocation.
///
/// A payload starts with its time stamp if the scenario wants one, goes on with as many bytes of its number as fit, and is filled up with zeros.
pub(crate) struct Payloads {
    size: usize,
    stamped: bool,
    number: u64,
    block: BytesMut,
}

impl Payloads {
    pub(crate) fn new(size: usize, stamped: bool) -> Self {
        Payloads {
            size,
            stamped,
            number: 0,
            block: BytesMut::new(),
        }
    }

    /// The next payload, stamped with this time if payloads are stamped at all.
    pub(crate) fn next(&mut self, stamp_ns: u64) -> Bytes {
        if self.block.capacity() < self.size {
            self.block = BytesMut::with_capacity(self.size.max(BLOCK_BYTES));
        }
        let mut left = self.size;
        if self.stamped {
            self.block.put_u64_le(stamp_ns);
            left -= STAMP_BYTES;
        }
        let number = self.number.to_le_bytes();
        let numbered = left.min(number.len());
        self.block.put_slice(&number[..numbered]);
        self.block.put_bytes(0, left - numbered);
        self.number += 1;
        self.block.split().freeze()
    }
}

/// Follows the numbers of the payloads that arrive, which come without holes and in order unless something was lost.
#[derive(Debug)]
pub(crate) struct Sequence {
    stamped: bool,
    next: u64,
    /// Payloads that did not arrive.
    pub(crate) lost: u64,
    /// Payloads that arrived.
    pub(crate) delivered: u64,
}

/// A payload that is not what it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stray {
    /// It has another size than what was sent.
    #[error("a message of {0} bytes arrived, which nobody sent")]
    Size(usize),
    /// It arrived for the second time, or after its successors.
    #[error("message {0} arrived twice or out of order")]
    Order(u64),
}

impl Sequence {
    pub(crate) fn new(stamped: bool) -> Self {
        Sequence {
            stamped,
            next: 0,
            lost: 0,
            delivered: 0,
        }
    }

    /// Takes in the next payload.
    #[inline]
    pub(crate) fn take(&mut self, payload: &[u8]) -> Result<(), Stray> {
        let numbered = match self.stamped {
            true => payload
                .get(STAMP_BYTES..)
                .ok_or(Stray::Size(payload.len()))?,
            false => payload,
        };
        let skipped = match numbered.first_chunk() {
            Some(number) => u64::from_le_bytes(*number).wrapping_sub(self.next),
            None => short_number(numbered).wrapping_sub(self.next) & short_mask(numbered.len()),
        };
        // Half of the numbers lie ahead, half behind.
        if skipped > short_mask(numbered.len().min(8)) / 2 {
            return Err(Stray::Order(self.next.wrapping_add(skipped)));
        }
        self.lost += skipped;
        self.delivered += 1;
        self.next += skipped + 1;
        Ok(())
    }

    /// Payloads that were accounted for.
    pub(crate) fn seen(&self) -> u64 {
        self.delivered + self.lost
    }
}

/// The time stamp of a payload.
#[inline]
pub(crate) fn stamp_ns(payload: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*payload.first_chunk()?))
}

fn short_number(bytes: &[u8]) -> u64 {
    let mut number = [0; 8];
    number[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(number)
}

/// The largest number that so many bytes can hold.
fn short_mask(bytes: usize) -> u64 {
    match bytes {
        8.. => u64::MAX,
        bytes => (1 << (8 * bytes)) - 1,
    }
}

/// What a time stamp takes.
pub(crate) const STAMP_BYTES: usize = 8;
/// How much is allocated at once for small payloads.
const BLOCK_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_what_comes_twice_is_found() {
        for (size, stamped) in [
            (1, false),
            (3, false),
            (8, false),
            (100, false),
            (9, true),
            (64, true),
        ] {
            let mut payloads = Payloads::new(size, stamped);
            let sent: Vec<Bytes> = (0..1000).map(|time| payloads.next(time)).collect();
            let mut sequence = Sequence::new(stamped);
            for (number, payload) in sent.iter().enumerate() {
                assert_eq!(payload.len(), size);
                if number % 10 != 3 {
                    assert_eq!(sequence.take(payload), Ok(()), "size {size}");
                }
            }
            assert_eq!((sequence.delivered, sequence.lost), (900, 100));
            assert!(matches!(sequence.take(&sent[998]), Err(Stray::Order(_))));
        }
    }

    #[test]
    fn empty_payloads_are_only_counted() {
        let mut sequence = Sequence::new(false);
        for _ in 0..5 {
            assert_eq!(sequence.take(&[]), Ok(()));
        }
        assert_eq!(sequence.seen(), 5);
    }

    #[test]
    fn stamps_come_back_out() {
        let payload = Payloads::new(8, true).next(123);
        assert_eq!(stamp_ns(&payload), Some(123));
        assert_eq!(stamp_ns(&payload[1..]), None);
        assert_eq!(Sequence::new(true).take(&[0; 7]), Err(Stray::Size(7)));
    }
}
