//! What an inbox is told beside messages and gaps: where it begins, and what it was too slow for.

use crate::api::{FlowId, Origin, Seq};

/// A flow that began before this inbox did: what its origin sent before was not meant for the inbox.
///
/// An inbox that gets a flow from its first message on, or that goes on after its origin came back in another life, is told nothing.
///
/// ```
/// # use rolecast_membership::{Epoch, NodeId};
/// # use rolecast_protocol::{FlowId, Origin, Seq, Started};
/// /// How many messages were sent before somebody listened.
/// fn missed(started: Started) -> u64 {
///     started.first.0 - 1
/// }
/// # let origin = Origin { node: NodeId::from_bytes([7; 32]), epoch: Epoch(1) };
/// assert_eq!(missed(Started { origin, flow: FlowId(1), first: Seq(57) }), 56);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Whose flow it is.
    pub origin: Origin,
    /// Which of the origin's flows.
    pub flow: FlowId,
    /// The first message that is meant for the inbox.
    pub first: Seq,
}

/// Messages that an inbox does not get because its program did not take what was sent before, so that the sender went on without it.
///
/// What the inbox had by then comes before, and [`Started`] after, with the next message that is meant for it.
///
/// ```
/// # use rolecast_membership::{Epoch, NodeId};
/// # use rolecast_protocol::{FlowId, Lagged, Origin, Seq};
/// /// How many messages are missing.
/// fn missing(lagged: Lagged) -> u64 {
///     lagged.last.0 - lagged.first.0 + 1
/// }
/// # let origin = Origin { node: NodeId::from_bytes([7; 32]), epoch: Epoch(1) };
/// assert_eq!(missing(Lagged { origin, flow: FlowId(1), first: Seq(57), last: Seq(60) }), 4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged {
    /// Whose flow it is.
    pub origin: Origin,
    /// Which of the origin's flows.
    pub flow: FlowId,
    /// The first message that does not come.
    pub first: Seq,
    /// The last message that does not come.
    pub last: Seq,
}
