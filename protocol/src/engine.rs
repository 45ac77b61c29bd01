//! The engine. (API settled; bodies being written.)

use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Epoch, Identity, Member, NodeId, RoleName, Time};

use crate::api::*;
use crate::error::{CallError, MulticastError, OpenFlowError, ReplyError, TakeUpError};
use crate::batch::Batch;

/// What one node does with messages.
///
/// After every call of a method that takes `now`, drain [`Engine::poll_output`] to `None`, carry out what it says, and ask [`Engine::poll_timeout`] when to call again with [`Input::Timeout`] at the latest.
pub struct Engine {}

impl Engine {
    /// A node with this configuration, whose every random choice follows from `seed`.
    pub fn new(config: Config, seed: u64, now: Time) -> Self { let _ = (config, seed, now); Engine {} }
    /// Takes in what happened; whatever it is, this does not fail.
    pub fn handle(&mut self, now: Time, input: Input) { let _ = (now, input); }
    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> { None }
    /// When to call [`Engine::handle`] with [`Input::Timeout`] at the latest.
    pub fn poll_timeout(&self) -> Option<Time> { None }

    /// Takes up a role.
    pub fn take_up(&mut self, now: Time, role: RoleName) -> Result<InboxId, TakeUpError> { let _ = (now, role); Ok(InboxId(0)) }
    /// Drops the role of this inbox; nothing is delivered to it from here on.
    pub fn drop_role(&mut self, now: Time, inbox: InboxId) { let _ = (now, inbox); }

    /// Opens a flow of multicasts to the holders of a role; the same role and dissemination give the same flow.
    pub fn open_flow(&mut self, now: Time, role: RoleName, dissemination: Dissemination) -> Result<FlowId, OpenFlowError> { let _ = (now, role, dissemination); Ok(FlowId(0)) }
    /// Sends a batch to all holders of the flow's role as seen at this moment (possibly none).
    pub fn multicast(&mut self, now: Time, flow: FlowId, batch: Batch) -> Result<Accepted, MulticastError> { let _ = (now, flow, batch); Ok(Accepted { first: Seq(1), last: Seq(1), members: 0 }) }
    /// Asks all holders, as one multicast of the flow; every one's answer comes as [`Event::Answered`], the last with `last` set.
    pub fn gather(&mut self, now: Time, flow: FlowId, payload: Bytes, deadline: Time) -> Result<(CallId, Accepted), MulticastError> { let _ = (now, flow, payload, deadline); Err(MulticastError::Leaving) }
    /// Sends to one holder; the end comes as [`Event::Answered`].
    pub fn call(&mut self, now: Time, target: Target, kind: CallKind, payload: Bytes, deadline: Time) -> Result<CallId, CallError> { let _ = (now, target, kind, payload, deadline); Err(CallError::Leaving) }
    /// Gives up a call: no answer will be reported.
    pub fn cancel(&mut self, now: Time, call: CallId) { let _ = (now, call); }
    /// Answers a request, with a payload or with a refusal.
    pub fn reply(&mut self, now: Time, to: ReplyTo, answer: Result<Bytes, Refusal>) -> Result<(), ReplyError> { let _ = (now, to, answer); Ok(()) }

    /// Refuses new work from here on; [`Event::Drained`] follows when all live peers have acknowledged what was sent.
    pub fn drain(&mut self, now: Time) { let _ = now; }
    /// Tells the mesh that this node leaves, and closes every link.
    pub fn leave(&mut self, now: Time) { let _ = now; }

    /// This node, in its present life.
    pub fn identity(&self) -> Identity { unimplemented!() }
    /// The live members as this node sees them, itself included.
    pub fn members(&self) -> Vec<Member> { Vec::new() }
    /// The live holders of a role as this node sees them, itself included.
    pub fn holders(&self, role: &RoleName) -> Vec<NodeId> { let _ = role; Vec::new() }
    /// Whether there is a link to this peer.
    pub fn link_of(&self, peer: NodeId) -> Option<LinkId> { let _ = peer; None }
    /// How much is kept at this moment.
    pub fn usage(&self) -> Usage { Usage::default() }
}

/// What is kept at one moment; every figure has a bound in [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes kept for peers until they acknowledge them.
    pub session_bytes: usize,
    /// Bytes that came too early.
    pub early_bytes: usize,
    /// Calls outstanding.
    pub calls: usize,
    /// Flows received.
    pub flows: usize,
    /// Bytes of calls waiting in inboxes.
    pub inbox_bytes: usize,
}

/// A batch that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The position of its first message.
    pub first: Seq,
    /// The position of its last message.
    pub last: Seq,
    /// How many members its destination set has.
    pub members: usize,
}
