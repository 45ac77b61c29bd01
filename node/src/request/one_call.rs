//! A call to one holder: what a message to it and a request have in common.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{NodeId, RoleName};
use rolecast_protocol::{Answer as EngineAnswer, CallKind, Pick, Target};
use tokio::sync::oneshot;

use super::DEFAULT_TIMEOUT;
use crate::call::{CallEnd, CallSlot, CallState, CancelOnDrop};
use crate::channel::Channel;
use crate::clock::deadline_in;
use crate::command::Command;
use crate::error::{NotSent, SendError, Unknown};

/// What [`Request`](super::Request) and [`Anycast`](super::Anycast) have in common.
pub(super) struct OneCall<'a> {
    channel: &'a Channel,
    payload: Bytes,
    pub(super) pick: Option<Pick>,
    pub(super) node: Option<NodeId>,
    pub(super) timeout: Duration,
}

impl<'a> OneCall<'a> {
    pub(super) fn new(channel: &'a Channel, payload: Bytes) -> Self {
        OneCall {
            channel,
            payload,
            pick: None,
            node: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Makes the call, and awaits its end.
    fn target(&self, role: RoleName) -> Result<Target, NotSent> {
        if let Some(node) = self.node {
            return Ok(Target::Node(node, role));
        }
        let pick = self.pick.as_ref().unwrap_or(&self.channel.pick).clone();
        Ok(match &self.channel.near {
            None => Target::Any(role, pick),
            Some(near) => Target::Near {
                first: role.narrowed(near)?,
                role,
                pick,
            },
        })
    }

    pub(super) async fn run(self, kind: CallKind) -> Result<(NodeId, EngineAnswer), SendError> {
        let shared = &self.channel.shared;
        let role = self
            .channel
            .outbox
            .as_ref()
            .map_err(|error| NotSent::from(error.clone()))?;
        let role = role.role.name.clone();
        shared.check_payload(self.payload.len())?;
        let deadline = deadline_in(self.timeout);
        let room = tokio::time::timeout_at(deadline, shared.reserve_call(self.payload.len()));
        let room = room.await.unwrap_or(Err(NotSent::TimedOut))?;

        let permit = shared.begin_call()?;
        let state = CallState::new();
        let (end, ended) = oneshot::channel();
        let slot = CallSlot {
            state: Arc::clone(&state),
            end: CallEnd::One(end),
            _permit: permit,
        };
        let target = self.target(role)?;
        let cost = room.num_permits();
        shared
            .submit(Command::Call {
                target,
                kind,
                payload: self.payload,
                deadline,
                slot,
                cost,
            })
            .map_err(NotSent::from)?;
        // The driver gives it back when the engine has taken the call.
        room.forget();

        let mut cancel = CancelOnDrop {
            shared: Arc::clone(shared),
            state,
            armed: true,
        };
        let ended = ended.await;
        cancel.armed = false;
        match ended {
            Ok(Ok((node, answer))) => judge(node, answer),
            Ok(Err(not_sent)) => Err(not_sent.into()),
            Err(_) => Err(Unknown::Closed(shared.closed_reason()).into()),
        }
    }
}

/// Tells the ways in which a call can fail from an answer.
fn judge(node: Option<NodeId>, answer: EngineAnswer) -> Result<(NodeId, EngineAnswer), SendError> {
    match (answer, node) {
        (EngineAnswer::Refused(reason), Some(node)) => Err(SendError::Refused { node, reason }),
        (EngineAnswer::NotSent, _) => Err(SendError::NotSent(NotSent::NoLink)),
        (EngineAnswer::TimedOut, _) => Err(SendError::Unknown(Unknown::TimedOut)),
        (answer @ (EngineAnswer::Taken | EngineAnswer::Reply(_)), Some(node)) => Ok((node, answer)),
        _ => Err(SendError::Unknown(Unknown::HolderGone)),
    }
}
