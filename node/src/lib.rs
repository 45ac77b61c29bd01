//! Talk to roles, not to processes.
//!
//! Rolecast is a brokerless mesh: nodes find each other by gossip, say which roles they hold, and send to roles.
//! This crate is one node of it, to be embedded in a program; it runs in the program's tokio runtime.
//!
//! - [`Node`] is a process's membership of the mesh, made with [`Node::builder`].
//! - [`Node::register`] takes up a role and gives an [`Inbox`], a stream of what is sent to it.
//! - [`Node::channel`] gives a [`Channel`] to send to a role: to every holder ([`Channel::multicast`]), to any one ([`Channel::anycast`]), with a reply ([`Channel::request`]) or with the replies of all ([`Channel::request_all`]).
//! - [`Node::channel_of`] and [`Node::register_of`] do the same with values instead of bytes.

mod answers;
mod builder;
mod call;
mod channel;
mod clock;
mod command;
mod counters;
mod driver;
mod entropy;
mod error;
mod inbox;
mod members;
mod message;
mod multicast;
mod node;
mod outbox;
mod queue;
mod receipt;
mod request;
mod resolve;
mod role;
mod settlement;
mod shared;
mod start;
mod state_dir;
mod typed;

pub use answers::{Answer, Answers};
pub use builder::{DEFAULT_LISTEN, NodeBuilder, SecretText};
pub use bytes::Bytes;
pub use channel::{Channel, WaitForHolders};
pub use error::{
    ClosedReason, DecodeError, NoAnswer, NotSent, RegisterError, ReplyError, SendError, StartError,
    Unknown, WaitError,
};
pub use inbox::{Inbox, InboxItem};
pub use members::{LinkState, MemberInfo, MeshEvent, MeshEvents};
pub use message::{Message, Responder};
pub use multicast::{Multicast, Multicasting};
pub use node::{Node, SHUTDOWN_PATIENCE};
pub use receipt::{Outcome, Receipt};
pub use request::{Anycast, DEFAULT_TIMEOUT, Delivered, Reply, Request, RequestAll};
pub use rolecast_membership::{
    Epoch, Liveness, NodeId, Profile, RecordError, RoleName, RoleNameError, Service,
};
pub use rolecast_protocol::{Dissemination, FlowId, Gap, Limits, Origin, Pick, Refusal, Seq};
pub use rolecast_transport::{BindError, MeshSecret, ParseSecretError, TrustError};
pub use typed::{
    TypedAnswer, TypedAnswers, TypedChannel, TypedInbox, TypedItem, TypedMessage, TypedNoAnswer,
    TypedReply, TypedRequest, TypedRequestAll, TypedRequestError,
};
