//! The trace of a run: one hash over everything that happened, and the lines for whoever wants to read them.

use std::fmt;
use std::io::Write;

use rolecast_membership::Time;

use crate::check::Name;

/// Where events are noted.
pub(crate) struct Trace {
    chain: Chain,
    sink: Option<Box<dyn Write + Send>>,
}

/// The hash over all events of a run: two runs with the same hash were the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceHash(pub u64);

impl Trace {
    pub(crate) fn new(sink: Option<Box<dyn Write + Send>>) -> Self {
        Trace {
            chain: Chain::default(),
            sink,
        }
    }

    /// Chains one event: when, where, what kind, and its bytes.
    pub(crate) fn note(&mut self, now: Time, name: Name, kind: u8, number: u64, bytes: &[u8]) {
        let place = u64::from(name.slot) << 24 | u64::from(name.incarnation) << 8 | u64::from(kind);
        self.chain.add(now.as_micros(), place);
        self.chain.add(number, bytes.len() as u64);
        self.chain.add_bytes(bytes);
    }

    pub(crate) fn is_read(&self) -> bool {
        self.sink.is_some()
    }

    /// A line for the reader, if there is one.
    pub(crate) fn line(&mut self, now: Time, name: Name, what: fmt::Arguments<'_>) {
        if let Some(sink) = &mut self.sink {
            // A reader who went away does not change the run.
            let _ = writeln!(sink, "{now} {name:<5} {what}");
        }
    }

    pub(crate) fn hash(&self) -> TraceHash {
        TraceHash(self.chain.0)
    }
}

/// A hash that is chained quickly: a product of 128 bits for every 16 bytes, folded, as wyhash does it.
///
/// It tells runs apart and is the same on every machine; nobody has to be kept from forging it.
#[derive(Clone, Copy, Debug)]
struct Chain(u64);

impl Default for Chain {
    fn default() -> Self {
        Chain(0x524f_4c45_4341_5354)
    }
}

impl Chain {
    fn add(&mut self, one: u64, other: u64) {
        let left = u128::from(one ^ self.0 ^ LEFT);
        let right = u128::from(other ^ RIGHT);
        let product = left * right;
        // What a zero would swallow is added again.
        let folded = (product >> 64) as u64 ^ product as u64;
        self.0 = folded ^ one.rotate_left(29) ^ other.wrapping_add(self.0.rotate_left(17));
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        let mut blocks = bytes.chunks_exact(64);
        if blocks.len() > 0 {
            // Four chains side by side, because each of them waits for its own product.
            let mut lanes: [Chain; 4] = std::array::from_fn(|lane| Chain(self.0 ^ LANES[lane]));
            for block in &mut blocks {
                for (lane, pair) in lanes.iter_mut().zip(block.chunks_exact(16)) {
                    lane.add_pair(pair);
                }
            }
            let [a, b, c, d] = lanes.map(|lane| lane.0);
            self.add(a, b);
            self.add(c, d);
        }
        let mut pairs = blocks.remainder().chunks_exact(16);
        for pair in &mut pairs {
            self.add_pair(pair);
        }
        let rest = pairs.remainder();
        if !rest.is_empty() {
            let mut last = [0; 16];
            last[..rest.len()].copy_from_slice(rest);
            self.add_pair(&last);
        }
    }

    /// Sixteen bytes.
    fn add_pair(&mut self, pair: &[u8]) {
        let (one, other) = pair.split_at(8);
        self.add(word(one), word(other));
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// Odd numbers without a pattern (from the digits of e).
const LEFT: u64 = 0xb7e1_5162_8aed_2a6b;
const RIGHT: u64 = 0xbf71_5880_9cf4_f3c7;
/// From the digits of pi.
const LANES: [u64; 4] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
];

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("hash", &self.hash())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl serde::Serialize for TraceHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_and_every_place_counts() {
        let hash = |now: u64, number: u64, bytes: &[u8]| {
            let mut trace = Trace::new(None);
            let name = Name::default();
            trace.note(Time::from_micros(now), name, 7, number, bytes);
            trace.note(Time::from_micros(now), name, 8, 0, &[]);
            trace.hash().0
        };
        let mut seen = std::collections::BTreeSet::new();
        assert!(seen.insert(hash(1, 1, &[0; 40])));
        assert!(seen.insert(hash(2, 1, &[0; 40])));
        assert!(seen.insert(hash(1, 2, &[0; 40])));
        for length in 0..400 {
            assert!(length == 40 || seen.insert(hash(1, 1, &vec![0; length])));
        }
        for length in [40, 200] {
            for bit in 0..length * 8 {
                let mut bytes = vec![0; length];
                bytes[bit / 8] |= 1 << (bit % 8);
                assert!(seen.insert(hash(1, 1, &bytes)));
            }
        }
    }
}
