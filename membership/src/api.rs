//! What goes in and comes out of [`Membership`](crate::Membership).

use std::net::SocketAddr;

use bytes::Bytes;

use crate::{Identity, NodeId, Record};

/// How patient failure detection is.
///
/// ```
/// # use rolecast_membership::Profile;
/// // The default suits nodes in one data centre.
/// assert_eq!(Profile::default(), Profile::Lan);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Nodes in one data centre: a crash is known in seconds.
    #[default]
    Lan,
    /// Nodes far apart: a crash is known in a quarter of a minute or more.
    Wan,
    /// Nodes on one machine, as in the demo and in tests: a crash is known in about three seconds.
    Local,
    /// A few nodes close to each other, of which a crash is to be known in two seconds: it costs five times the traffic of `Lan`, and a node that is slow for a second may be held for down.
    Fast,
}

/// What a node starts with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's own record; its identity is the node's identity, its version the first one.
    ///
    /// It has to pass [`Record::check`].
    pub record: Record,
    /// Addresses at which some other node may be found; the own one among them does no harm.
    pub seeds: Vec<SocketAddr>,
    /// How patient failure detection is.
    pub profile: Profile,
}

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A link to this life of a peer can carry packets and frames.
    PeerConnected(Identity),
    /// The link to this peer is gone.
    PeerDisconnected(NodeId),
    /// The link to this peer is closed because nobody needs it: a packet brings it back, at a price.
    PeerRests(NodeId),
    /// A SWIM packet arrived from this peer.
    Datagram {
        /// Who sent it, as the link's handshake proved.
        from: NodeId,
        /// The packet as it was sent.
        bytes: Bytes,
    },
    /// A membership frame arrived from this peer over the reliable control stream.
    Frame {
        /// Who sent it, as the link's handshake proved.
        from: NodeId,
        /// The frame as it was sent.
        bytes: Bytes,
    },
    /// A deadline passed.
    Timeout,
}

/// What is to be done outside.
#[expect(
    clippy::large_enum_variant,
    reason = "few are queued at a time, and records are taken out of events"
)]
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a packet of at most 1,100 bytes, unreliably.
    ///
    /// Without a link to this node, one is to be opened: packets are how a node that was lost is found again.
    /// This packet itself may be dropped then.
    Datagram {
        /// To whom, in the life and at the address known last.
        to: Identity,
        /// The packet.
        bytes: Bytes,
    },
    /// Send a frame of at most 256 KiB over the reliable control stream, if there is a link; drop it if there is none.
    Frame {
        /// To whom.
        to: NodeId,
        /// The frame.
        bytes: Bytes,
    },
    /// Open a link to whoever listens at this address.
    DialSeed {
        /// The address, as it stood in [`Config::seeds`].
        addr: SocketAddr,
    },
    /// Something that the layer above wants to know.
    Event(Event),
}

/// What changed in the mesh.
///
/// For each other node, the events alternate: it joins, is updated or replaced any number of times, and then leaves or is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node is alive and its record is known.
    Joined(Record),
    /// The record of a live node changed within its life: roles, labels.
    Updated {
        /// What it said until this moment.
        before: Record,
        /// What it says from here on.
        after: Record,
    },
    /// A live node came back in a later life, without having been seen down in between.
    Replaced {
        /// The last record of the former life.
        before: Record,
        /// The record of the present life.
        after: Record,
    },
    /// A live node does not answer; it stays a member until it is declared down.
    Suspected(NodeId),
    /// A suspected node answered.
    AliveAgain(NodeId),
    /// A node left gracefully.
    Left(Identity),
    /// A node was declared down.
    Down(Identity),
    /// This node was declared down while it lived; it goes on in this new life, with the roles and tenures it had.
    Renewed(Identity),
    /// Another process runs with this node's key in a later life; this one has to stop, and is silent from here on.
    Superseded(Identity),
}

/// Whether a member answers.
///
/// ```
/// # use rolecast_membership::Liveness;
/// /// Whether a person should have a look.
/// fn alarming(liveness: Liveness) -> bool {
///     match liveness {
///         Liveness::Alive => false,
///         // It is a member still, and what is sent to it waits.
///         Liveness::Suspect => true,
///     }
/// }
/// assert!(!alarming(Liveness::Alive));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It did not answer lately.
    Suspect,
}

/// A live member of the mesh, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it says about itself.
    pub record: Record,
    /// Whether it answers.
    pub liveness: Liveness,
}
