//! Random numbers, one stream for each purpose and place.
//!
//! Every stream follows from the run's seed, its purpose and its place alone.
//! So what one part of the simulation draws never shifts what another part draws: a fault can be taken out of a plan and the rest of the run meets the same network, the same applications and the same engines.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;
use std::time::Duration;

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Shape of the run: profile, limits, latencies, who holds what.
    Scenario,
    /// What applications ask for, and when.
    Workload,
    /// What breaks, and when.
    Faults,
    /// Latency and loss of one directed path.
    Path,
    /// How one node's application behaves.
    Application,
    /// The connections from one place to another: who wins a race, how soon an end notices.
    Connection,
    /// The seed of one engine.
    Engine,
    /// The key of one node.
    Key,
    /// The dice of one fault on one path.
    Fault,
    /// The family that a seed draws.
    Family,
}

/// One stream of random numbers.
///
/// The generator is xoshiro256++, whose output is fixed for all time and all machines.
#[derive(Clone, Debug)]
pub struct Stream(Xoshiro256PlusPlus);

/// The number from which a stream starts.
#[must_use]
pub fn derive(seed: u64, purpose: Purpose, place: u64) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(seed, 0x726f_6c65_6361_7374);
    hasher.write_u64(purpose as u64);
    hasher.write_u64(place);
    hasher.finish()
}

impl Stream {
    /// The stream of this seed for this purpose at this place.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose, place: u64) -> Self {
        Stream(Xoshiro256PlusPlus::seed_from_u64(derive(
            seed, purpose, place,
        )))
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high)
    }

    /// An index below `len`, which must not be zero.
    pub fn index(&mut self, len: usize) -> usize {
        self.0.random_range(0..len)
    }

    /// True once in a hundred times `percent`.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.0.random_ratio(percent.min(100), 100)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// A duration in `low..=high` microseconds.
    pub fn micros(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.between(low, high))
    }

    /// A number in `low..=high` whose magnitude is drawn evenly: as often between 10 and 100 as between 100 and 1,000.
    pub fn magnitude(&mut self, low: u64, high: u64) -> u64 {
        let (low, high) = (low.max(1), high.max(1));
        // Bits are drawn first, then the number among those with so many bits: no floating point, whose functions may differ between machines.
        let bits = self.between(u64::from(low.ilog2()), u64::from(high.ilog2()));
        let from = (1u64 << bits).max(low);
        let to = ((1u64 << bits) * 2 - 1).min(high);
        self.between(from, to)
    }

    /// Puts these into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_and_apart() {
        let draw = |purpose, place| {
            let mut stream = Stream::new(42, purpose, place);
            [(); 4].map(|()| stream.between(0, 999))
        };
        // Fixed for all time: a change here changes what every seed means.
        assert_eq!(draw(Purpose::Faults, 0), draw(Purpose::Faults, 0));
        assert_ne!(draw(Purpose::Faults, 0), draw(Purpose::Faults, 1));
        assert_ne!(draw(Purpose::Faults, 0), draw(Purpose::Workload, 0));
    }

    #[test]
    fn magnitudes_stay_within_their_ends() {
        let mut stream = Stream::new(1, Purpose::Scenario, 0);
        for _ in 0..1_000 {
            assert!((10..=5_000).contains(&stream.magnitude(10, 5_000)));
        }
    }
}
