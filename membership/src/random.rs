//! Choices that follow from the seed.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt as _, SeedableRng as _};

/// The generator of one component: streams of the same seed are independent of each other.
pub(crate) fn fork(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// A time between three and five quarters of `pause`, so that nodes that started together drift apart.
pub(crate) fn jitter(rng: &mut impl Rng, pause: Duration) -> Duration {
    Jitter::draw(rng).around(pause)
}

/// A jitter that several pauses share.
#[derive(Clone, Copy)]
pub(crate) struct Jitter(u32);

impl Jitter {
    pub(crate) fn draw(rng: &mut impl Rng) -> Self {
        Jitter(rng.random_range(0..=STEPS))
    }

    /// A time between three and five quarters of `pause`.
    pub(crate) fn around(self, pause: Duration) -> Duration {
        let half = (pause / 2).min(Duration::MAX / STEPS);
        pause - pause / 4 + half * self.0 / STEPS
    }
}

/// How finely jitter is drawn.
const STEPS: u32 = 1 << 16;

/// At most `count` different items, each subset of that size as likely as any other (reservoir sampling).
pub(crate) fn sample<T>(
    rng: &mut impl Rng,
    items: impl Iterator<Item = T>,
    count: usize,
) -> Vec<T> {
    let mut chosen = Vec::with_capacity(count);
    for (index, item) in items.enumerate() {
        if chosen.len() < count {
            chosen.push(item);
        } else {
            let slot = rng.random_range(0..=index);
            if let Some(place) = chosen.get_mut(slot) {
                *place = item;
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_fair_and_repeatable() {
        let mut rng = fork(1, 2);
        let mut hits = [0u32; 10];
        for _ in 0..10_000 {
            for index in sample(&mut rng, 0..10usize, 3) {
                hits[index] += 1;
            }
        }
        assert!(
            hits.iter().all(|&count| (2_700..3_300).contains(&count)),
            "{hits:?}"
        );
        assert_eq!(sample(&mut fork(1, 2), 0..2, 3), [0, 1]);
        let draw = |stream| jitter(&mut fork(1, stream), Duration::from_secs(1));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
