//! The addresses at which a node looks for its mesh.
//!
//! Without company they are all dialled, at first often and then every ten seconds, so that the order in which nodes start does not matter.
//! In company, those at which no member lives are dialled every now and then: a mesh that was split finds its other half there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rand::Rng;

use crate::Time;
use crate::random::jitter;

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
}

impl Seeds {
    pub(crate) fn new(now: Time, addrs: Vec<SocketAddr>, own: SocketAddr) -> Self {
        let addrs: BTreeSet<SocketAddr> = addrs.into_iter().filter(|addr| *addr != own).collect();
        let seed = |addr| Seed {
            addr,
            next: now,
            pause: PAUSE_MIN,
        };
        Seeds {
            seeds: addrs.into_iter().map(seed).collect(),
        }
    }

    /// Begins anew, because the mesh was lost.
    pub(crate) fn restart(&mut self, now: Time, rng: &mut impl Rng) {
        for seed in &mut self.seeds {
            seed.pause = PAUSE_MIN;
            seed.next = seed.next.min(now + jitter(rng, PAUSE_MIN));
        }
    }

    /// When the next one is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.seeds.iter().map(|seed| seed.next).min()
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
        for seed in self.seeds.iter_mut().filter(|seed| seed.next <= now) {
            let found = lives_at(seed.addr);
            if !found {
                due.push(seed.addr);
            }
            seed.next = now + jitter(rng, if found { PAUSE_MAX } else { seed.pause });
            let longest = if alone { PAUSE_MAX_ALONE } else { PAUSE_MAX };
            seed.pause = if found {
                PAUSE_MAX
            } else {
                longest.min(seed.pause * 2)
            };
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::fork;

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
