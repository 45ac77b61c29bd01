//! What a [`Swarm`](super::Swarm) drives.

use bytes::Bytes;
use rolecast_membership::Time;

/// Which of the nodes.
pub type Place = usize;

/// What a node's failure detector is told.
pub enum Heard {
    /// A link to this life of a peer is up.
    Linked {
        /// The peer.
        peer: Place,
        /// Its life.
        life: u64,
    },
    /// The link to this peer is gone.
    Unlinked(Place),
    /// A packet came.
    Datagram {
        /// From whom.
        from: Place,
        /// The packet.
        bytes: Bytes,
    },
    /// A frame came over a link.
    Frame {
        /// From whom.
        from: Place,
        /// The frame.
        bytes: Bytes,
    },
    /// A deadline passed.
    Timeout,
}

/// What a node's failure detector wants done, or says.
pub enum Act {
    /// Send a packet.
    Datagram {
        /// To whom.
        to: Place,
        /// The packet.
        bytes: Bytes,
    },
    /// Send a frame over the link, if there is one.
    Frame {
        /// To whom.
        to: Place,
        /// The frame.
        bytes: Bytes,
    },
    /// Open a link.
    Dial {
        /// To whom.
        to: Place,
    },
    /// A node is alive in this life.
    Alive {
        /// Which node.
        who: Place,
        /// Which life.
        life: u64,
    },
    /// A node is down, or was declared down by others.
    Down {
        /// Which node.
        who: Place,
    },
    /// This node goes on in another life.
    Renewed {
        /// Which life.
        life: u64,
    },
    /// A node's roles are known as they are in this version.
    Role {
        /// Which node.
        who: Place,
        /// Which version.
        version: u64,
    },
}

/// A node's failure detector, and how it tells of roles.
pub trait Detector: Sized {
    /// Whether packets go over links, which have to be opened first.
    const LINKED: bool;
    /// Whether whoever drives it runs timers before what arrived while it was blocked.
    const TIMERS_FIRST: bool;

    /// A node that knows nobody, in this life.
    fn new(place: Place, life: u64, size: usize, seed: u64, now: Time) -> Self;

    /// The life it is in.
    fn life(&self) -> u64;

    /// Of how many other nodes it remembers something, whether they live or not.
    fn remembered(&self) -> usize;

    /// Takes in what happened.
    fn handle(&mut self, now: Time, heard: Heard);

    /// What is to be done next.
    fn poll(&mut self) -> Option<Act>;

    /// When it wants to be woken.
    fn deadline(&self) -> Option<Time>;

    /// Changes the own roles; gives the version from which on others know of it.
    fn change_role(&mut self, now: Time) -> u64;
}
