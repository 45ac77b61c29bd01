//! The peers to which there is a link.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::Rng;

use crate::random::sample;
use crate::{Epoch, Identity, NodeId, Time};

pub(crate) const HAIL_PAUSE_MIN: Duration = Duration::from_millis(500);
const HAIL_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A peer that is connected and no member yet is asked to take this node in.
struct Hail {
    next: Time,
    pause: Duration,
}

/// Every connected peer, and whom of them to hail.
#[derive(Default)]
pub(crate) struct Peers {
    peers: BTreeMap<NodeId, Identity>,
    /// Empty as long as every connected peer is a member.
    hails: BTreeMap<NodeId, Hail>,
    /// Members to which there has not been a link yet, and until when that says nothing about them.
    unmet: BTreeMap<NodeId, Time>,
    /// Peers whose link is closed until it is needed.
    resting: BTreeSet<NodeId>,
}

impl Peers {
    /// A link to a peer is up; if that is no member, it is hailed from `hail_at` on.
    pub(crate) fn connect(&mut self, identity: Identity, hail_at: Option<Time>) {
        self.peers.insert(identity.id, identity);
        self.resting.remove(&identity.id);
        self.unmet.remove(&identity.id);
        if let Some(next) = hail_at {
            let pause = HAIL_PAUSE_MIN;
            self.hails.insert(identity.id, Hail { next, pause });
        }
    }

    /// There is no link to a peer any more; gives who it was.
    pub(crate) fn disconnect(&mut self, id: NodeId) -> Option<Identity> {
        self.hails.remove(&id);
        self.resting.remove(&id);
        self.peers.remove(&id)
    }

    /// The link to a peer is closed until it is needed; gives who it was.
    pub(crate) fn rest(&mut self, id: NodeId) -> Option<Identity> {
        let who = self.disconnect(id);
        self.resting.insert(id);
        who
    }

    /// Whether what is not meant for this peer alone had better go to another one: its link rests, and others do not.
    pub(crate) fn spares(&self, id: NodeId) -> bool {
        self.resting.contains(&id) && !self.peers.is_empty()
    }

    /// The life in which a peer is connected.
    pub(crate) fn epoch(&self, id: NodeId) -> Option<Epoch> {
        self.peers.get(&id).map(|identity| identity.epoch)
    }

    /// A node became a member: until then, it is no failure that there is no link to it.
    pub(crate) fn expect(&mut self, now: Time, id: NodeId, until: Time) {
        self.unmet.retain(|_, until| now < *until);
        if !self.is_connected(id) {
            self.unmet.insert(id, until);
        }
    }

    /// Whether there has been no link to this member yet, and no time for one.
    pub(crate) fn is_new(&self, id: NodeId, now: Time) -> bool {
        self.unmet.get(&id).is_some_and(|until| now < *until)
    }

    pub(crate) fn is_connected(&self, id: NodeId) -> bool {
        self.peers.contains_key(&id)
    }

    /// Whether there is a link to it, or will be as soon as it is needed.
    pub(crate) fn may_answer(&self, id: NodeId) -> bool {
        self.is_connected(id) || self.resting.contains(&id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.peers.keys().copied()
    }

    /// One of them, but not `except`.
    pub(crate) fn any(&self, rng: &mut impl Rng, except: Option<NodeId>) -> Option<NodeId> {
        sample(rng, self.ids().filter(|id| Some(*id) != except), 1).pop()
    }

    /// A peer is no member any more: it is hailed as long as the link stands.
    pub(crate) fn hail(&mut self, now: Time, id: NodeId) {
        if self.peers.contains_key(&id) {
            let hail = Hail {
                next: now + HAIL_PAUSE_MIN,
                pause: HAIL_PAUSE_MIN,
            };
            self.hails.entry(id).or_insert(hail);
        }
    }

    /// A peer is a member, or has left.
    pub(crate) fn end_hail(&mut self, id: NodeId) {
        self.hails.remove(&id);
    }

    /// When the next hail is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.hails.values().map(|hail| hail.next).min()
    }

    /// Whom to hail at this moment.
    pub(crate) fn take_hails(&mut self, now: Time) -> Vec<Identity> {
        let mut due = Vec::new();
        for (id, hail) in self.hails.iter_mut().filter(|(_, hail)| hail.next <= now) {
            due.extend(self.peers.get(id));
            hail.next = now + hail.pause;
            hail.pause = HAIL_PAUSE_MAX.min(hail.pause * 2);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    #[test]
    fn who_rests_is_spared_as_long_as_others_do_not() {
        let identity = |number: u8| Identity {
            id: NodeId::from_bytes([number; 32]),
            epoch: Epoch(1),
            addr: ([10, 0, 0, number], 7400).into(),
        };
        let [one, two] = [identity(1), identity(2)].map(|identity| identity.id);
        let mut peers = Peers::default();
        peers.connect(identity(1), None);
        peers.connect(identity(2), None);
        assert!(!peers.spares(one));
        peers.rest(one);
        assert!(peers.spares(one) && !peers.spares(two) && !peers.is_connected(one));
        peers.rest(two);
        assert!(!peers.spares(one), "there is nobody else");
        peers.connect(identity(2), None);
        peers.disconnect(one);
        assert!(!peers.spares(one), "it does not rest, it is gone");
    }

    #[test]
    fn a_member_is_new_until_there_is_a_link_or_there_was_time_for_one() {
        let identity = |number: u8| Identity {
            id: NodeId::from_bytes([number; 32]),
            epoch: Epoch(1),
            addr: ([10, 0, 0, number], 7400).into(),
        };
        let [one, two] = [identity(1), identity(2)].map(|identity| identity.id);
        let (mut peers, now, until) = (Peers::default(), Time::ZERO, Time::from_millis(3_000));
        peers.expect(now, one, until);
        peers.expect(now, two, until);
        assert!(peers.is_new(one, now) && peers.is_new(two, now));
        peers.connect(identity(1), None);
        peers.disconnect(one);
        assert!(!peers.is_new(one, now), "there was a link");
        assert!(!peers.is_new(two, until), "there was time");
        peers.connect(identity(1), None);
        peers.expect(until, one, until + HAIL_PAUSE_MIN);
        assert!(!peers.is_new(one, until), "there is a link");
        assert_eq!(peers.unmet.len(), 0, "what is over is forgotten");
    }
}
