//! The lives that are down: they are called now and then, since a partition looks like many deaths.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;

use crate::frame::Gone;
use crate::random::jitter;
use crate::tempo::TOMBSTONE_TIME;
use crate::{Epoch, Identity, NodeId, Time};

/// The most lives that are remembered as down.
pub(crate) const TOMBS_MAX: usize = 1_024;
/// How many are called at a time.
const CALLS_MAX: usize = 3;

struct Tomb {
    life: Identity,
    since: Time,
    /// It went by its own will, and will not answer.
    left: bool,
    next_call: Time,
    /// When it was last told, although it says the same of us, that it is down.
    refused: Option<Time>,
}

/// Exactly the members that SWIM holds for down.
#[derive(Default)]
pub(crate) struct Tombs {
    tombs: BTreeMap<NodeId, Tomb>,
}

impl Tombs {
    /// Adds a life that is down; gives the oldest one to be forgotten, if there are too many.
    pub(crate) fn bury(&mut self, now: Time, life: Identity, left: bool) -> Option<Identity> {
        let tomb = Tomb {
            life,
            since: now,
            left,
            next_call: now,
            refused: None,
        };
        self.tombs.insert(life.id, tomb);
        if self.tombs.len() <= TOMBS_MAX {
            return None;
        }
        // Who left will not come back in that life, so that of these the mesh needs to know least.
        let tombs = self.tombs.values();
        let oldest = tombs.min_by_key(|tomb| (!tomb.left, tomb.since))?.life;
        self.remove(oldest.id);
        Some(oldest)
    }

    pub(crate) fn remove(&mut self, id: NodeId) {
        self.tombs.remove(&id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tombs.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.tombs.len()
    }

    /// The epoch in which this node is down.
    pub(crate) fn epoch(&self, id: NodeId) -> Option<Epoch> {
        self.tombs.get(&id).map(|tomb| tomb.life.epoch)
    }

    /// Whether this life left by its own will.
    pub(crate) fn left(&self, life: Identity) -> bool {
        self.tombs
            .get(&life.id)
            .is_some_and(|tomb| tomb.left && tomb.life.epoch >= life.epoch)
    }

    /// Takes out all that did not leave by their own will.
    pub(crate) fn pardon_all(&mut self) -> Vec<Identity> {
        let pardoned = self
            .tombs
            .values()
            .filter(|tomb| !tomb.left)
            .map(|tomb| tomb.life)
            .collect();
        self.tombs.retain(|_, tomb| tomb.left);
        pardoned
    }

    /// Takes out all that have been down for long enough.
    pub(crate) fn take_expired(&mut self, now: Time) -> Vec<Identity> {
        let expired = |tomb: &Tomb| now.since(tomb.since) >= TOMBSTONE_TIME;
        let lives = self
            .tombs
            .values()
            .filter(|tomb| expired(tomb))
            .map(|tomb| tomb.life)
            .collect();
        self.tombs.retain(|_, tomb| !expired(tomb));
        lives
    }

    /// Those to call at this moment: first who has waited longest.
    ///
    /// The longer a life has been down, the rarer it is called: every tenth part of that time.
    /// The `live` nodes of this side all call it, so a few of them, or one alone, call more often than many: some call goes out every `period` whatever the size.
    pub(crate) fn take_calls(
        &mut self,
        now: Time,
        period: Duration,
        live: usize,
        rng: &mut impl Rng,
    ) -> Vec<Identity> {
        let shared = period * u32::try_from(live).unwrap_or(u32::MAX);
        let mut due: Vec<&mut Tomb> = self
            .tombs
            .values_mut()
            .filter(|tomb| !tomb.left && tomb.next_call <= now)
            .collect();
        due.sort_by_key(|tomb| tomb.next_call);
        due.truncate(CALLS_MAX);
        due.into_iter()
            .map(|tomb| {
                let pause = period.max(shared.min(now.since(tomb.since) / 10));
                tomb.next_call = now + jitter(rng, pause);
                tomb.life
            })
            .collect()
    }

    /// Calls this life at the next occasion, if it is the one that is down: someone holds it for alive.
    ///
    /// Says how that one may be answered.
    pub(crate) fn doubt(&mut self, now: Time, id: NodeId, epoch: Epoch) -> Option<Gone> {
        let tomb = self
            .tombs
            .get_mut(&id)
            .filter(|tomb| tomb.life.epoch == epoch)?;
        tomb.next_call = tomb.next_call.min(now);
        Some(Gone {
            id,
            epoch,
            left: tomb.left,
        })
    }

    /// Whether this life may be told that it is down, which it is at most once per `pause`.
    pub(crate) fn may_refuse(&mut self, now: Time, id: NodeId, pause: Duration) -> bool {
        let Some(tomb) = self.tombs.get_mut(&id) else {
            return false;
        };
        let may = tomb.refused.is_none_or(|last| now.since(last) >= pause);
        if may {
            tomb.refused = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::fork;

    fn life(number: u32, epoch: u64) -> Identity {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let addr = ([10, 0, 0, 1], 7400).into();
        Identity {
            id: NodeId::from_bytes(id),
            epoch: Epoch(epoch),
            addr,
        }
    }

    #[test]
    fn the_longer_a_life_is_down_the_rarer_it_is_called() {
        let (mut tombs, mut rng) = (Tombs::default(), fork(1, 1));
        tombs.bury(Time::ZERO, life(1, 1), false);
        tombs.bury(Time::ZERO, life(2, 1), true);
        let period = Duration::from_secs(4);
        let mut calls = Vec::new();
        for second in 0..3_600 {
            let now = Time::from_millis(second * 1_000);
            for called in tombs.take_calls(now, period, 1_000, &mut rng) {
                assert_eq!(called, life(1, 1), "who left is not called");
                calls.push(second);
            }
        }
        let within = |from, to| calls.iter().filter(|at| (from..to).contains(*at)).count();
        assert!((8..=15).contains(&within(0, 40)), "{calls:?}");
        assert!((1..=4).contains(&within(1_000, 1_200)), "{calls:?}");
        assert_eq!(tombs.take_expired(Time::ZERO + TOMBSTONE_TIME).len(), 2);
        assert!(tombs.is_empty());
    }

    #[test]
    fn who_is_alone_goes_on_calling() {
        let (mut tombs, mut rng) = (Tombs::default(), fork(1, 1));
        tombs.bury(Time::ZERO, life(1, 1), false);
        for second in (0..3_000).step_by(5) {
            let now = Time::from_millis(second * 1_000);
            let called = tombs.take_calls(now, Duration::from_secs(4), 1, &mut rng);
            assert_eq!(called, [life(1, 1)], "after {second} s");
        }
    }

    #[test]
    fn the_oldest_tomb_makes_room() {
        let mut tombs = Tombs::default();
        for number in 0..TOMBS_MAX as u32 {
            let now = Time::from_millis(10_000 - u64::from(number));
            assert_eq!(tombs.bury(now, life(number, 1), false), None);
        }
        let oldest = TOMBS_MAX as u32 - 1;
        let now = Time::from_millis(20_000);
        assert_eq!(
            tombs.bury(now, life(5_000, 1), false),
            Some(life(oldest, 1))
        );
        assert_eq!(tombs.epoch(life(oldest, 1).id), None);
    }

    #[test]
    fn a_pardon_leaves_out_who_left() {
        let mut tombs = Tombs::default();
        tombs.bury(Time::ZERO, life(1, 1), false);
        tombs.bury(Time::ZERO, life(2, 1), true);
        assert_eq!(tombs.pardon_all(), [life(1, 1)]);
        assert!(tombs.left(life(2, 1)) && !tombs.left(life(2, 2)));
        let pause = Duration::from_secs(1);
        assert!(tombs.may_refuse(Time::ZERO, life(2, 1).id, pause));
        assert!(!tombs.may_refuse(Time::from_millis(999), life(2, 1).id, pause));
        assert!(tombs.may_refuse(Time::from_millis(1_000), life(2, 1).id, pause));
    }
}
