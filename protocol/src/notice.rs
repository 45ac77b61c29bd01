//! What an inbox is told beside messages and gaps: where it begins, and what it was too slow for.

use crate::api::{FlowId, Origin, Seq};

/// A flow that began before this inbox did: what its origin sent before `first` is not meant for the inbox.
///
/// An inbox that asked for messages that were sent before it began gets those that its origin keeps, and then what is sent from then on.
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
/// let started = Started { origin, flow: FlowId(1), first: Seq(57), replayed: 0 };
/// assert_eq!(missed(started), 56);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Whose flow it is.
    pub origin: Origin,
    /// Which of the origin's flows.
    pub flow: FlowId,
    /// The first message that is meant for the inbox.
    pub first: Seq,
    /// How many messages from `first` on were sent before the inbox began, and come because it asked for them; fewer than it asked for, if its origin keeps no more.
    pub replayed: u64,
}

/// Messages that an inbox does not get because its program did not take what was sent before, so that the sender went on without it.
///
/// What the inbox had by then comes before.
/// If it was evicted, [`Started`] comes after, with the next message that is meant for it; what was superseded is followed by what came in its place.
///
/// ```
/// # use rolecast_membership::{Epoch, NodeId};
/// # use rolecast_protocol::{FlowId, LagReason, Lagged, Origin, Seq};
/// /// How many messages are missing.
/// fn missing(lagged: Lagged) -> u64 {
///     lagged.last.0 - lagged.first.0 + 1
/// }
/// # let origin = Origin { node: NodeId::from_bytes([7; 32]), epoch: Epoch(1) };
/// let (first, last) = (Seq(57), Seq(60));
/// let lagged = Lagged { origin, flow: FlowId(1), first, last, reason: LagReason::Superseded };
/// assert_eq!(missing(lagged), 4);
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
    /// Why they do not.
    pub reason: LagReason,
}

/// Why an inbox that lagged does not get something.
///
/// ```
/// # use rolecast_protocol::LagReason;
/// /// Whether a program that shows the latest state of things has missed anything.
/// fn misses_state(reason: LagReason) -> bool {
///     match reason {
///         LagReason::Evicted => true,
///         LagReason::Superseded => false,
///     }
/// }
/// assert!(!misses_state(LagReason::Superseded));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagReason {
    /// The sender went on without it.
    Evicted,
    /// The sender kept only the last message of each key for it, and sent later ones with the same keys; or there were more keys than are kept, and these messages were the oldest.
    Superseded,
}
