//! The envelope of what goes to a member over other members.
//!
//! It travels on the data or the bulk stream of every link on its way, outside the numbers of the session that has the stream, and names the whole way, so that nobody between decides anything.

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId};
use serde::{Deserialize, Serialize};

use super::few;
use crate::api::Class;

/// The most links that one way goes over: as many as the longest shortest way among five nodes has.
pub(crate) const HOPS_MAX: usize = 4;
/// The most nodes that a way names, its ends included.
pub(crate) const ROUTE_MAX: usize = HOPS_MAX + 1;

/// Where something comes from, where it goes, and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RelayHead {
    /// All nodes of the way in order, from the source to the destination.
    #[serde(deserialize_with = "few::<ROUTE_MAX, _, _>")]
    pub(crate) route: Vec<NodeId>,
    /// The place in the route of the node to which the present link goes.
    pub(crate) at: u8,
    /// The source's life.
    pub(crate) life: Epoch,
    pub(crate) what: Relayed,
}

/// What goes over other members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Relayed {
    /// What would be a datagram over a link: it is the body, and may get lost.
    Datagram,
    /// What would be a frame over a link: it is the body, or, if that is empty, a sign of life.
    Frame(WayFrame),
    /// The source of this, which was to pass something on or to get it, cannot.
    Failed(Failed),
}

/// Which frame of which way this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WayFrame {
    pub(crate) class: WayClass,
    /// The number of the way; the source gives each one that it opens a greater one.
    pub(crate) way: u64,
    /// The way of the destination over which the source heard it when it opened this one; 0 if it did not hear it.
    pub(crate) answers: u64,
    /// How many frames of the class went over the way before.
    pub(crate) number: u64,
}

/// Something did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// For whom it was.
    pub(crate) to: NodeId,
    /// Over which way; 0 for a datagram.
    pub(crate) way: u64,
    /// The node to which it could not be passed on; none if it is the destination itself that misses frames before it.
    pub(crate) beyond: Option<NodeId>,
}

/// Of which class a frame would be over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WayClass {
    Control,
    Data,
    Bulk,
}

impl WayClass {
    /// The class of a frame.
    pub(crate) fn of(class: Class) -> Self {
        match class {
            Class::Control => WayClass::Control,
            Class::Data => WayClass::Data,
            Class::Bulk => WayClass::Bulk,
        }
    }

    /// The class that the frame would have over a link.
    pub(crate) fn class(self) -> Class {
        match self {
            WayClass::Control => Class::Control,
            WayClass::Data => Class::Data,
            WayClass::Bulk => Class::Bulk,
        }
    }
}

impl RelayHead {
    /// The stream that carries it on every link: never that of control, which waits for nobody else's frames.
    pub(crate) fn stream(&self) -> Class {
        match &self.what {
            Relayed::Frame(frame) if frame.class == WayClass::Bulk => Class::Bulk,
            _ => Class::Data,
        }
    }

    /// Who sent it.
    pub(crate) fn source(&self) -> NodeId {
        self.route[0]
    }

    /// For whom it is.
    pub(crate) fn destination(&self) -> NodeId {
        self.route[self.route.len() - 1]
    }

    /// Where it goes from here; nowhere, if it is for this node.
    pub(crate) fn next(&self) -> Option<NodeId> {
        self.route.get(usize::from(self.at) + 1).copied()
    }

    /// The same way back from here to the source.
    pub(crate) fn way_back(&self) -> Vec<NodeId> {
        let here = self.route.iter().take(usize::from(self.at) + 1);
        here.rev().copied().collect()
    }

    /// Checks what came from this peer to this node.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(
        &self,
        peer: NodeId,
        me: NodeId,
        stream: Class,
        body: &[u8],
    ) -> Result<(), &'static str> {
        let at = usize::from(self.at);
        let least = match &self.what {
            Relayed::Failed(_) => 2,
            // Between neighbours there is nothing to relay.
            Relayed::Datagram | Relayed::Frame(_) => 3,
        };
        if self.route.len() < least {
            return Err("a relayed frame that no node relays");
        }
        let again = |(place, node): (usize, &NodeId)| self.route[..place].contains(node);
        if self.route.iter().enumerate().any(again) {
            return Err("a route that comes to a node twice");
        }
        if self.route.get(at) != Some(&me) || at == 0 {
            return Err("a relayed frame that this node is not to have");
        }
        if self.route[at - 1] != peer {
            return Err("a relayed frame from a node that was not to relay it");
        }
        if stream != self.stream() {
            return Err("a relayed frame on the wrong stream");
        }
        let nested = body.first() == Some(&RELAY_TAG);
        match &self.what {
            Relayed::Frame(frame) if frame.class != WayClass::Control && nested => {
                Err("a relayed frame within a relayed frame")
            }
            Relayed::Datagram if body.len() > DATAGRAM_BYTES_MAX => {
                Err("a relayed datagram that is longer than one")
            }
            Relayed::Failed(_) if !body.is_empty() => Err("a failure with something behind it"),
            _ => Ok(()),
        }
    }

    /// What a whole frame is that carries this.
    pub(crate) fn encode(self) -> Bytes {
        super::encode_head(&super::DataHead::Relay(self))
    }
}

/// The first byte of the head of a relayed frame.
const RELAY_TAG: u8 = 11;
/// The longest datagram.
const DATAGRAM_BYTES_MAX: usize = 1_200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::strategies::id;
    use crate::wire::{DataHead, decode_data};

    fn head(route: &[u8], at: u8) -> RelayHead {
        RelayHead {
            route: route.iter().map(|&node| id(node)).collect(),
            at,
            life: Epoch(1),
            what: Relayed::Datagram,
        }
    }

    fn wrong(route: &[u8], at: u8) -> Option<&'static str> {
        let checked = head(route, at).check(id(2), id(3), Class::Data, &[]);
        checked.err()
    }

    #[test]
    fn only_the_next_node_takes_a_relayed_frame_and_only_from_the_one_before() {
        assert_eq!(wrong(&[1, 2, 3], 2), None);
        assert_eq!(wrong(&[2, 3, 4], 1), None);
        assert_eq!(
            wrong(&[2, 3], 1),
            Some("a relayed frame that no node relays")
        );
        let twice = Some("a route that comes to a node twice");
        assert_eq!(wrong(&[2, 3, 2], 1), twice);
        assert_eq!(wrong(&[1, 2, 3, 1], 2), twice);
        let stranger = Some("a relayed frame that this node is not to have");
        assert_eq!(wrong(&[1, 2, 4], 1), stranger);
        assert_eq!(wrong(&[1, 2, 3], 3), stranger);
        assert_eq!(wrong(&[3, 2, 1], 0), stranger);
        let skipped = Some("a relayed frame from a node that was not to relay it");
        assert_eq!(wrong(&[2, 1, 3], 2), skipped);
    }

    #[test]
    fn a_route_that_is_too_long_is_not_even_read() {
        let route: Vec<u8> = (1..=6).collect();
        assert_eq!(decode_data(&head(&route, 1).encode()), None);
        let route: Vec<u8> = (1..=5).collect();
        assert!(decode_data(&head(&route, 1).encode()).is_some());
    }

    #[test]
    fn nothing_relayed_is_in_what_is_relayed() {
        let inner = head(&[1, 2, 3], 1).encode();
        assert_eq!(inner[0], RELAY_TAG);
        let frame = WayFrame {
            class: WayClass::Data,
            way: 1,
            answers: 0,
            number: 0,
        };
        let outer = RelayHead {
            what: Relayed::Frame(frame),
            ..head(&[1, 2, 3], 2)
        };
        let checked = outer.check(id(2), id(3), Class::Data, &inner);
        assert_eq!(checked, Err("a relayed frame within a relayed frame"));
        let other = super::super::encode_head(&DataHead::Cancel { call: 1 });
        assert_eq!(outer.check(id(2), id(3), Class::Data, &other), Ok(()));
        assert!(outer.check(id(2), id(3), Class::Bulk, &other).is_err());
    }
}
