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
        let oldest = self.tombs.values().min_by_key(|tomb| tomb.since)?.life;
        self.remove(oldest.id);
        Some(oldest)
    }

    pub(crate) fn remove(&mut self, id: NodeId) {
        self.tombs.remove(&id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tombs.is_empty()
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
    pub(crate) fn take_calls(
        &mut self,
        now: Time,
        period: Duration,
        rng: &mut impl Rng,
    ) -> Vec<Identity> {
        let mut due: Vec<&mut Tomb> = self
            .tombs
            .values_mut()
            .filter(|tomb| !tomb.left && tomb.next_call <= now)
            .collect();
        due.sort_by_key(|tomb| tomb.next_call);
        due.truncate(CALLS_MAX);
        due.into_iter()
            .map(|tomb| {
                let pause = period.max(now.since(tomb.since) / 10);
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
