//! The addresses at which a node looks for its mesh.
//!
//! Without company they are all dialled, at first often and then every ten seconds, so that the order in which nodes start does not matter.
//! In company, those at which no member lives are dialled every now and then: a mesh that was split finds its other half there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use rand::Rng;

use crate::Time;
use crate::random::Jitter;

/// The most seeds that count.
pub const SEEDS_MAX: usize = 256;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX_ALONE: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_secs(15);

struct Seed {
    addr: SocketAddr,
    next: Time,
    pause: Duration,
}

/// The seeds of one node, its own address left out.
pub(crate) struct Seeds {
    seeds: Vec<Seed>,
    own: SocketAddr,
    /// When the next one is due.
    next: Option<Time>,
}

impl Seeds {
    pub(crate) fn new(now: Time, addrs: Vec<SocketAddr>, own: SocketAddr) -> Self {
        let mut seeds = Seeds {
            seeds: Vec::new(),
            own,
            next: None,
        };
        seeds.replace(now, addrs);
        seeds
    }

    /// Takes these addresses instead of the former ones; those that stay are dialled when they were due anyway, and others at once.
    pub(crate) fn replace(&mut self, now: Time, addrs: Vec<SocketAddr>) {
        let mut kept: BTreeMap<SocketAddr, Seed> = std::mem::take(&mut self.seeds)
            .into_iter()
            .map(|seed| (seed.addr, seed))
            .collect();
        let others = addrs.into_iter().filter(|addr| *addr != self.own);
        let addrs: BTreeSet<SocketAddr> = others.take(SEEDS_MAX).collect();
        let seed = |addr| Seed {
            addr,
            next: now,
            pause: PAUSE_MIN,
        };
        let seeds = addrs.into_iter();
        self.seeds = seeds
            .map(|addr| kept.remove(&addr).unwrap_or_else(|| seed(addr)))
            .collect();
        self.find_next();
    }

    /// Begins anew, because the mesh was lost.
    pub(crate) fn restart(&mut self, now: Time, rng: &mut impl Rng) {
        let jitter = Jitter::draw(rng);
        for seed in &mut self.seeds {
            seed.pause = PAUSE_MIN;
            seed.next = seed.next.min(now + jitter.around(PAUSE_MIN));
        }
        self.find_next();
    }

    /// When the next one is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.next
    }

    fn find_next(&mut self) {
        self.next = self.seeds.iter().map(|seed| seed.next).min();
    }

    /// Those to dial at this moment, but for those at which a member lives.
    pub(crate) fn take_due(
        &mut self,
        now: Time,
        alone: bool,
        lives_at: impl Fn(SocketAddr) -> bool,
        rng: &mut impl Rng,
    ) -> Vec<SocketAddr> {
        let mut due = Vec::new();
        // One draw for all, so that what is due together stays together, and wakes the node once.
        let jitter = Jitter::draw(rng);
        for seed in self.seeds.iter_mut().filter(|seed| seed.next <= now) {
            let found = lives_at(seed.addr);
            if !found {
                due.push(seed.addr);
            }
            let pause = if found { PAUSE_MAX } else { seed.pause };
            seed.next = now + jitter.around(pause);
            let longest = if alone { PAUSE_MAX_ALONE } else { PAUSE_MAX };
            seed.pause = if found {
                PAUSE_MAX
            } else {
                longest.min(seed.pause * 2)
            };
        }
        self.find_next();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::fork;

    #[test]
    fn addresses_that_stay_keep_their_turn() {
        let [own, stays, goes, comes] = [1, 2, 3, 4].map(|port| ([127, 0, 0, 1], port).into());
        let mut rng = fork(1, 1);
        let mut seeds = Seeds::new(Time::ZERO, vec![stays, goes], own);
        let nobody = |_| false;
        assert_eq!(
            seeds.take_due(Time::ZERO, true, nobody, &mut rng),
            [stays, goes]
        );
        let now = Time::from_millis(1);
        seeds.replace(now, vec![comes, own, stays, comes]);
        assert_eq!(seeds.take_due(now, true, nobody, &mut rng), [comes]);
        let later = Time::from_millis(200);
        assert_eq!(
            seeds.take_due(later, true, nobody, &mut rng),
            [stays, comes]
        );
        seeds.replace(later, Vec::new());
        assert_eq!(seeds.deadline(), None);
        let many = (1000..3000).map(|port| ([127, 0, 0, 1], port).into());
        seeds.replace(later, many.collect());
        let due = seeds.take_due(later, true, nobody, &mut rng);
        assert_eq!(due.len(), SEEDS_MAX);
    }

    #[test]
    fn dials_get_rarer_and_start_again() {
        let own: SocketAddr = ([127, 0, 0, 1], 1).into();
        let other: SocketAddr = ([127, 0, 0, 1], 2).into();
        let mut rng = fork(1, 1);
        let mut seeds = Seeds::new(Time::ZERO, vec![own, other, other], own);
        let mut dials = Vec::new();
        while let Some(now) = seeds
            .deadline()
            .filter(|now| *now < Time::from_millis(60_000))
        {
            for addr in seeds.take_due(now, true, |_| false, &mut rng) {
                assert_eq!(addr, other);
                dials.push(now);
            }
        }
        let pauses: Vec<u128> = dials
            .windows(2)
            .map(|w| w[1].since(w[0]).as_millis())
            .collect();
        assert_eq!(dials[0], Time::ZERO);
        assert!(
            (75..=125).contains(&pauses[0]) && (150..=250).contains(&pauses[1]),
            "{pauses:?}"
        );
        assert!(
            (7_500..=12_500).contains(pauses.last().expect("several")),
            "{pauses:?}"
        );

        let now = Time::from_millis(60_000);
        seeds.restart(now, &mut rng);
        assert!(seeds.deadline() <= Some(now + PAUSE_MIN * 2));
        let later = now + PAUSE_MIN * 2;
        assert_eq!(
            seeds.take_due(later, false, |addr| addr == other, &mut rng),
            []
        );
        assert!(seeds.deadline() > Some(later + Duration::from_secs(10)));
    }
}
