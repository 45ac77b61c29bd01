//! Which connection to a node is the link, when there are several.
//!
//! Two nodes may dial each other at the same moment, a node may be dialled at two addresses, and a node whose process or network failed dials again while its peer still holds the dead connection.
//! Both ends must settle on the same connection, without knowing what the other end has noticed so far.
//!
//! One end decides alone: the one with the smaller node id.
//! The other end *follows*: on every connection it first sends a preface that *proposes* it, numbered in the order of proposing, with the number of the connection that it holds or last proposed.
//! The end that decides answers a proposal with its own preface, which makes the connection the link at both ends, or closes it as a duplicate:
//!
//! * there is no other connection, or it belongs to another life of the peer: the new connection becomes the link;
//! * the follower holds the connection that is the link, or proposed the new one before it: the new one is a duplicate;
//! * otherwise the follower has lost the present link, even if this end has not noticed: the new connection takes its place.
//!
//! So a live link is never given up for another one, except that three or more connections crossing on the way may cost one change, and a dead one never stands in the way.

use std::collections::BTreeMap;

use rolecast_membership::NodeId;

/// Every node that a connection exists or is being set up to; `L` is the handle of a link.
#[derive(Debug)]
pub(crate) struct Peers<L> {
    me: NodeId,
    /// How many connections this node has proposed.
    attempts: u64,
    peers: BTreeMap<NodeId, Peer<L>>,
}

#[derive(Debug)]
struct Peer<L> {
    current: Option<Current<L>>,
    /// What this end has proposed and the peer has not decided on; only at the end that follows.
    proposed: Vec<u64>,
}

#[derive(Debug)]
struct Current<L> {
    attempt: u64,
    instance: u64,
    link: L,
}

/// What of a proposal goes into the preface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// Its number.
    pub(crate) attempt: u64,
    /// The number of the connection that the follower holds or has proposed last; 0 for none.
    pub(crate) holds: u64,
}

/// Whether a link can still be used.
pub(crate) trait Alive {
    /// Whether its connection is open, as far as this end knows.
    fn is_alive(&self) -> bool;
}

impl<L: Alive + Clone> Peers<L> {
    /// Nobody yet.
    pub(crate) fn new(me: NodeId) -> Self {
        Peers {
            me,
            attempts: 0,
            peers: BTreeMap::new(),
        }
    }

    /// Whether this end decides which connection to this peer is the link.
    pub(crate) fn decides(&self, peer: NodeId) -> bool {
        self.me < peer
    }

    /// Numbers a connection, at the end that follows.
    ///
    /// [`Peers::accepted`] or [`Peers::withdraw`] must follow.
    pub(crate) fn propose(&mut self, peer: NodeId) -> Proposal {
        self.attempts += 1;
        let attempt = self.attempts;
        let peer = self.peers.entry(peer).or_default();
        let current = peer
            .current
            .as_ref()
            .filter(|current| current.link.is_alive());
        let holds = match (current, peer.proposed.last()) {
            (Some(current), _) => current.attempt,
            (None, Some(&proposed)) => proposed,
            (None, None) => 0,
        };
        peer.proposed.push(attempt);
        Proposal { attempt, holds }
    }

    /// The peer made this connection the link, at the end that follows; returns the link that it replaces.
    pub(crate) fn accepted(
        &mut self,
        peer: NodeId,
        attempt: u64,
        instance: u64,
        link: L,
    ) -> Option<L> {
        let peer = self.peers.entry(peer).or_default();
        peer.proposed.retain(|&proposed| proposed != attempt);
        peer.replace(Current {
            attempt,
            instance,
            link,
        })
    }

    /// A proposal came to nothing.
    pub(crate) fn withdraw(&mut self, peer: NodeId, attempt: u64) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.proposed.retain(|&proposed| proposed != attempt);
        }
        self.forget(peer);
    }

    /// Decides on a proposal, at the end that decides: `Ok` makes it the link, with the link that it replaces; `Err` says that it is a duplicate.
    pub(crate) fn decide(
        &mut self,
        peer: NodeId,
        proposal: Proposal,
        instance: u64,
        link: L,
    ) -> Result<Option<L>, ()> {
        let peer = self.peers.entry(peer).or_default();
        let duplicate = peer.current.as_ref().is_some_and(|current| {
            current.link.is_alive()
                && current.instance == instance
                && (proposal.holds == current.attempt || proposal.attempt < current.attempt)
        });
        if duplicate {
            return Err(());
        }
        Ok(peer.replace(Current {
            attempt: proposal.attempt,
            instance,
            link,
        }))
    }

    /// A link has ended.
    pub(crate) fn ended(&mut self, peer: NodeId, is_it: impl Fn(&L) -> bool) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.current.take_if(|current| is_it(&current.link));
        }
        self.forget(peer);
    }

    /// All links, in the order of their peers' ids.
    pub(crate) fn links(&self) -> Vec<L> {
        self.peers
            .values()
            .filter_map(|peer| Some(peer.current.as_ref()?.link.clone()))
            .collect()
    }

    fn forget(&mut self, peer: NodeId) {
        if self
            .peers
            .get(&peer)
            .is_some_and(|entry| entry.current.is_none() && entry.proposed.is_empty())
        {
            self.peers.remove(&peer);
        }
    }
}

impl<L> Peer<L> {
    fn replace(&mut self, current: Current<L>) -> Option<L> {
        self.current.replace(current).map(|replaced| replaced.link)
    }
}

impl<L> Default for Peer<L> {
    fn default() -> Self {
        Peer {
            current: None,
            proposed: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link that is known by a letter; capitals are alive.
    type Letter = char;

    impl Alive for Letter {
        fn is_alive(&self) -> bool {
            self.is_uppercase()
        }
    }

    const SMALL: NodeId = NodeId::from_bytes([1; 32]);
    const LARGE: NodeId = NodeId::from_bytes([2; 32]);

    fn pair() -> (Peers<Letter>, Peers<Letter>) {
        (Peers::new(SMALL), Peers::new(LARGE))
    }

    #[test]
    fn the_smaller_id_decides() {
        let (small, large) = pair();
        assert!(small.decides(LARGE));
        assert!(!large.decides(SMALL));
    }

    #[test]
    fn of_two_that_cross_one_stays() {
        // In whichever order the proposals arrive.
        for crossed in [false, true] {
            let (mut small, mut large) = pair();
            let x = large.propose(SMALL);
            let y = large.propose(SMALL);
            let (first, second) = if crossed { (y, x) } else { (x, y) };
            assert_eq!(small.decide(LARGE, first, 7, 'F'), Ok(None));
            assert_eq!(small.decide(LARGE, second, 7, 'S'), Err(()));
            assert_eq!(large.accepted(SMALL, first.attempt, 9, 'F'), None);
            large.withdraw(SMALL, second.attempt);
            assert_eq!(small.links(), ['F']);
            assert_eq!(large.links(), ['F']);
        }
    }

    #[test]
    fn a_dial_while_linked_is_a_duplicate() {
        let (mut small, mut large) = pair();
        let x = large.propose(SMALL);
        small.decide(LARGE, x, 7, 'X').unwrap();
        large.accepted(SMALL, x.attempt, 9, 'X');
        let y = large.propose(SMALL);
        assert_eq!(small.decide(LARGE, y, 7, 'Y'), Err(()));
    }

    #[test]
    fn a_link_that_the_follower_has_lost_is_replaced() {
        let (mut small, mut large) = pair();
        let x = large.propose(SMALL);
        small.decide(LARGE, x, 7, 'X').unwrap();
        large.accepted(SMALL, x.attempt, 9, 'X');
        large.ended(SMALL, |&link| link == 'X');
        let y = large.propose(SMALL);
        assert_eq!(small.decide(LARGE, y, 7, 'Y'), Ok(Some('X')));
        // The end of the replaced link does not take the new one away.
        small.ended(LARGE, |&link| link == 'X');
        assert_eq!(small.links(), ['Y']);
    }

    #[test]
    fn a_link_that_the_decider_has_lost_is_replaced() {
        let (mut small, mut large) = pair();
        let x = large.propose(SMALL);
        small.decide(LARGE, x, 7, 'X').unwrap();
        large.accepted(SMALL, x.attempt, 9, 'X');
        small.ended(LARGE, |&link| link == 'X');
        let y = large.propose(SMALL);
        assert_eq!(y.holds, x.attempt);
        assert_eq!(small.decide(LARGE, y, 7, 'Y'), Ok(None));
        assert_eq!(large.accepted(SMALL, y.attempt, 9, 'Y'), Some('X'));
    }

    #[test]
    fn a_link_that_is_dead_but_not_cleared_away_does_not_count() {
        let (mut small, mut large) = pair();
        let x = large.propose(SMALL);
        small.decide(LARGE, x, 7, 'x').unwrap();
        large.accepted(SMALL, x.attempt, 9, 'x');
        let y = large.propose(SMALL);
        assert_eq!(y.holds, 0);
        assert_eq!(small.decide(LARGE, y, 7, 'Y'), Ok(Some('x')));
    }

    #[test]
    fn another_life_replaces() {
        let (mut small, mut large) = pair();
        let x = large.propose(SMALL);
        small.decide(LARGE, x, 7, 'X').unwrap();
        let mut reborn = Peers::<Letter>::new(LARGE);
        let y = reborn.propose(SMALL);
        assert_eq!(y, x);
        assert_eq!(small.decide(LARGE, y, 8, 'Y'), Ok(Some('X')));
    }

    #[test]
    fn nothing_is_kept_of_those_who_are_gone() {
        let (mut small, mut large) = pair();
        let x = large.propose(SMALL);
        small.decide(LARGE, x, 7, 'X').unwrap();
        small.ended(LARGE, |&link| link == 'X');
        large.withdraw(SMALL, x.attempt);
        assert!(small.peers.is_empty());
        assert!(large.peers.is_empty());
    }
}
