//! Sending to one holder, and asking one holder or all.

use std::collections::VecDeque;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::NodeId;
use rolecast_protocol::{Answer as EngineAnswer, CallKind, Pick, Target};
use tokio::sync::oneshot;

use crate::answers::Answers;
use crate::call::{CallEnd, CallSlot, CallState, CancelOnDrop};
use crate::channel::Channel;
use crate::clock::deadline_in;
use crate::command::Command;
use crate::error::{NotSent, SendError, Unknown};
use crate::multicast::reserve;
use crate::queue::Queue;

/// How long a call may take when its caller does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// What [`Request`] and [`Anycast`] have in common.
struct OneCall<'a> {
    channel: &'a Channel,
    payload: Bytes,
    pick: Option<Pick>,
    node: Option<NodeId>,
    timeout: Duration,
}

impl OneCall<'_> {
    /// Makes the call, and awaits its end.
    async fn run(self, kind: CallKind) -> Result<(NodeId, EngineAnswer), SendError> {
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
        let target = match (self.node, self.pick) {
            (Some(node), _) => Target::Node(node, role.clone()),
            (None, Some(pick)) => Target::Any(role.clone(), pick),
            (None, None) => Target::Any(role.clone(), self.channel.pick.clone()),
        };
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

/// A message to one holder, to be awaited; see [`Channel::anycast`] and [`Channel::unicast`].
#[must_use = "nothing is sent before this is awaited"]
pub struct Anycast<'a> {
    call: OneCall<'a>,
}

impl<'a> Anycast<'a> {
    pub(crate) fn new(channel: &'a Channel, payload: Bytes) -> Self {
        let call = OneCall {
            channel,
            payload,
            pick: None,
            node: None,
            timeout: DEFAULT_TIMEOUT,
        };
        Anycast { call }
    }

    /// Chooses the holder so, instead of as the channel does.
    pub fn pick(mut self, pick: Pick) -> Self {
        self.call.pick = Some(pick);
        self
    }

    /// Always the same holder for the same key, as long as it holds the role.
    pub fn sticky(self, key: impl Into<Bytes>) -> Self {
        self.pick(Pick::Sticky(key.into()))
    }

    /// This node and no other.
    pub fn to(mut self, node: NodeId) -> Self {
        self.call.node = Some(node);
        self
    }

    /// Gives up after this long instead of [`DEFAULT_TIMEOUT`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call.timeout = timeout;
        self
    }
}

/// Says that a message is in a holder's inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The holder.
    pub node: NodeId,
}

impl<'a> IntoFuture for Anycast<'a> {
    type Output = Result<Delivered, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (node, _) = self.call.run(CallKind::OneWay).await?;
            Ok(Delivered { node })
        })
    }
}

/// A request to one holder, to be awaited; see [`Channel::request`].
#[must_use = "nothing is sent before this is awaited"]
pub struct Request<'a> {
    call: OneCall<'a>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(channel: &'a Channel, payload: Bytes) -> Self {
        let call = OneCall {
            channel,
            payload,
            pick: None,
            node: None,
            timeout: DEFAULT_TIMEOUT,
        };
        Request { call }
    }

    /// Chooses the holder so, instead of as the channel does.
    pub fn pick(mut self, pick: Pick) -> Self {
        self.call.pick = Some(pick);
        self
    }

    /// Always the same holder for the same key, as long as it holds the role.
    pub fn sticky(self, key: impl Into<Bytes>) -> Self {
        self.pick(Pick::Sticky(key.into()))
    }

    /// This node and no other.
    pub fn to(mut self, node: NodeId) -> Self {
        self.call.node = Some(node);
        self
    }

    /// Gives up after this long instead of [`DEFAULT_TIMEOUT`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call.timeout = timeout;
        self
    }
}

/// What a holder answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// The holder.
    pub node: NodeId,
    /// Its answer.
    pub payload: Bytes,
}

impl<'a> IntoFuture for Request<'a> {
    type Output = Result<Reply, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.call.run(CallKind::Request).await? {
                (node, EngineAnswer::Reply(payload)) => Ok(Reply { node, payload }),
                _ => Err(SendError::Unknown(Unknown::HolderGone)),
            }
        })
    }
}

/// A request to every holder, to be awaited; see [`Channel::request_all`].
#[must_use = "nothing is sent before this is awaited"]
pub struct RequestAll<'a> {
    channel: &'a Channel,
    payload: Bytes,
    timeout: Duration,
}

impl<'a> RequestAll<'a> {
    pub(crate) fn new(channel: &'a Channel, payload: Bytes) -> Self {
        RequestAll {
            channel,
            payload,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Ends the stream of answers after this long instead of [`DEFAULT_TIMEOUT`].
    pub fn timeout(self, timeout: Duration) -> Self {
        RequestAll { timeout, ..self }
    }

    async fn run(self) -> Result<Answers, SendError> {
        let shared = &self.channel.shared;
        let outbox = self
            .channel
            .outbox
            .as_ref()
            .map_err(|error| NotSent::from(error.clone()))?;
        let deadline = deadline_in(self.timeout);
        let room = reserve(shared, outbox, self.payload.len(), Some(deadline)).await?;
        let permit = shared.begin_call()?;
        let state = CallState::new();
        let queue = Arc::new(Queue::new());
        let (sent, holders) = oneshot::channel();
        let slot = CallSlot {
            state: Arc::clone(&state),
            end: CallEnd::Many {
                queue: Arc::clone(&queue),
                sent: Some(sent),
            },
            _permit: permit,
        };
        outbox.push_gather(shared, self.payload, deadline, slot, room)?;
        let mut cancel = CancelOnDrop {
            shared: Arc::clone(shared),
            state,
            armed: true,
        };
        match tokio::time::timeout_at(deadline, holders).await {
            Ok(Ok(Ok(holders))) => Ok(Answers {
                queue,
                taken: VecDeque::new(),
                holders,
                cancel,
            }),
            Ok(Ok(Err(not_sent))) => {
                cancel.armed = false;
                Err(not_sent.into())
            }
            Ok(Err(_)) => Err(Unknown::Closed(shared.closed_reason()).into()),
            Err(_) => Err(Unknown::TimedOut.into()),
        }
    }
}

impl<'a> IntoFuture for RequestAll<'a> {
    type Output = Result<Answers, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
