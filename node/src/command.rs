//! What handles ask of the driver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{NodeId, RecordError, RoleName};
use rolecast_protocol::{CallKind, InboxId, Refusal, ReplyTo, Target};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::call::{CallSlot, CallState};
use crate::describe::DescriptionChange;
use crate::error::{ClosedReason, NotSent, RegisterError, ReplyError};
use crate::inbox::Inbox;
use crate::members::{MemberInfo, WatchQueue};
use crate::outbox::Outbox;
use crate::role::Role;

pub(crate) enum Command {
    /// Take up a role.
    Register {
        role: RoleName,
        replay: u32,
        done: oneshot::Sender<Result<Inbox, RegisterError>>,
    },
    /// Drop the role of this inbox, or discard what is broadcast.
    Unregister {
        inbox: InboxId,
        done: Option<oneshot::Sender<()>>,
    },
    /// Open the inbox of what is broadcast; `None` comes back if it is in use.
    Broadcasts {
        done: oneshot::Sender<Option<Inbox>>,
    },
    /// Keep the holders of a role up to date, and say who they are.
    Follow {
        role: Arc<Role>,
        done: Option<oneshot::Sender<Vec<NodeId>>>,
    },
    /// Say which roles this pattern stands for that somebody holds.
    Matching {
        pattern: RoleName,
        done: oneshot::Sender<Vec<RoleName>>,
    },
    /// Say something else about this node.
    Describe {
        change: DescriptionChange,
        done: oneshot::Sender<Result<(), RecordError>>,
    },
    /// Open the flow of an outbox.
    Open {
        outbox: Arc<Outbox>,
        done: oneshot::Sender<()>,
    },
    /// Say which holder has acknowledged how much of what goes out of this outbox.
    FollowAcknowledgements { outbox: Arc<Outbox> },
    /// Somebody waits until there may be one more large payload on its way from an outbox.
    AwaitLarge { outbox: Arc<Outbox> },
    /// Send to one holder.
    Call {
        target: Target,
        kind: CallKind,
        payload: Bytes,
        deadline: Instant,
        slot: CallSlot,
        cost: usize,
    },
    /// Nobody waits for this call any more.
    Cancel { call: Arc<CallState> },
    /// Answer a request.
    Reply(Reply),
    /// Say when whoever asked no longer wants the answer.
    AwaitCancel {
        to: ReplyTo,
        done: oneshot::Sender<()>,
    },
    /// Look for the mesh at these addresses.
    Seeds { addrs: Vec<SocketAddr> },
    /// List the members.
    Members {
        done: oneshot::Sender<Vec<MemberInfo>>,
    },
    /// Tell this queue what changes in the mesh.
    Watch { queue: Arc<WatchQueue> },
    /// Close the link to this node.
    #[cfg(feature = "simulation")]
    Sever { peer: NodeId },
    /// Drain, leave and stop.
    Shutdown {
        reason: ClosedReason,
        patience: Duration,
    },
}

/// An answer on its way to whoever asked.
pub(crate) struct Reply {
    pub(crate) to: ReplyTo,
    pub(crate) answer: Result<Bytes, Refusal>,
    /// Whoever waits until it is sent.
    pub(crate) done: Option<oneshot::Sender<Result<(), ReplyError>>>,
}

impl Command {
    /// The node is closed before the driver has taken the command.
    pub(crate) fn fail(self, reason: ClosedReason) {
        // The others tell whoever waits by being dropped.
        if let Command::Call { slot, .. } = self {
            slot.fail(NotSent::Closed(reason));
        }
    }
}
