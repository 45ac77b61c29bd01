//! The state machine of membership. (API settled; bodies to be written.)

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::{Epoch, Identity, NodeId, Record, RecordError, RoleName, Tenure, Time};

/// How patient failure detection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Nodes in one data centre: a crash is known in seconds.
    #[default]
    Lan,
    /// Nodes far apart.
    Wan,
    /// Nodes on one machine, as in the demo and in tests: a crash is known in about two seconds.
    Local,
}

/// What a node starts with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's own record; its identity is the node's identity, its version the first one.
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
    /// A SWIM packet arrived from this peer.
    Datagram { from: NodeId, bytes: Bytes },
    /// A membership frame arrived from this peer over the reliable control stream.
    Frame { from: NodeId, bytes: Bytes },
    /// A deadline passed.
    Timeout,
}

/// What is to be done outside.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a packet of at most 1,100 bytes, unreliably.
    Datagram { to: Identity, bytes: Bytes },
    /// Send a frame over the reliable control stream, if there is a link; drop it if there is none.
    Frame { to: NodeId, bytes: Bytes },
    /// Open a link to whoever listens at this address.
    DialSeed { addr: SocketAddr },
    /// Something that the layer above wants to know.
    Event(Event),
}

/// What changed in the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node is alive and its record is known.
    Joined(Record),
    /// The record of a live node changed within its life: roles, labels.
    Updated { before: Record, after: Record },
    /// A live node came back in a later life, without having been seen down in between.
    Replaced { before: Record, after: Record },
    /// A live node does not answer; it stays a member until it is declared down.
    Suspected(NodeId),
    /// A suspected node answered.
    AliveAgain(NodeId),
    /// A node left gracefully.
    Left(Identity),
    /// A node was declared down.
    Down(Identity),
    /// This node was declared down while it lived; it goes on in this new life.
    Renewed(Identity),
    /// Another process runs with this node's key in a later life; this one has to stop.
    Superseded(Identity),
}

/// Whether a member answers.
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

/// The membership of one node.
pub struct Membership {}

impl Membership {
    /// Starts a mesh of one, and looks for the seeds.
    pub fn new(config: Config, seed: u64, now: Time) -> Self { let _ = (config, seed, now); Membership {} }
    /// Takes in what happened; a peer's bytes cannot make it fail.
    pub fn handle(&mut self, now: Time, input: Input) { let _ = (now, input); }
    /// What is to be done next; drain to `None` after every call that takes `now`.
    pub fn poll_output(&mut self) -> Option<Output> { None }
    /// When to call `handle` with `Input::Timeout` at the latest.
    pub fn poll_timeout(&self) -> Option<Time> { None }
    /// Takes up a role; if it is held already, gives the tenure it has.
    pub fn take_up(&mut self, now: Time, role: RoleName) -> Result<Tenure, RecordError> { let _ = (now, role); Ok(Tenure(1)) }
    /// Drops a role; says whether it was held.
    pub fn drop_role(&mut self, now: Time, role: &RoleName) -> bool { let _ = (now, role); false }
    /// Tells the mesh that this node leaves; nothing but the farewell comes out from here on.
    pub fn leave(&mut self, now: Time) { let _ = now; }
    /// This node's own record.
    pub fn record(&self) -> &Record { unimplemented!() }
    /// The live member with this id; this node itself is not among them.
    pub fn member(&self, id: NodeId) -> Option<&Member> { let _ = id; None }
    /// The live members in the order of their ids; this node itself is not among them.
    pub fn members(&self) -> impl Iterator<Item = &Member> { [].iter() }
}
