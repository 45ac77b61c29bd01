//! Talk to roles, not to processes.
//!
//! Rolecast is a brokerless mesh: nodes find each other by gossip, say which roles they hold, and send to roles.
//! This crate is one node of it, to be embedded in a program; it runs in the program's tokio runtime.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rolecast::{InboxItem, MeshSecret, Node};
//!
//! let secret = MeshSecret::generate();
//! let node = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
//! let other = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([node.addr()]).start().await?;
//!
//! let mut inbox = other.register("user-list:listener").await?;     // hold a role
//! let listeners = node.channel("user-list:listener");              // talk to a role
//! listeners.wait_for_holders(1).await?;
//! let receipt = listeners.multicast("user 17 changed").await?;     // every holder
//!
//! let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
//! assert_eq!(message.payload(), "user 17 changed");
//! assert_eq!(receipt.acked().await?.acknowledged, 1);
//! # Ok(())
//! # }
//! ```
//!
//! - [`Node`] is a process's membership of the mesh, made with [`Node::builder`].
//! - [`Node::register`] takes up a role and gives an [`Inbox`], a stream of what is sent to it.
//! - [`Node::channel`] gives a [`Channel`] to send to a role: to every holder ([`Channel::multicast`]), to any one ([`Channel::anycast`]), with a reply ([`Channel::request`]) or with the replies of all ([`Channel::request_all`]).
//! - [`Node::channel_of`] and [`Node::register_of`] do the same with values instead of bytes.
//!
//! # What is promised
//!
//! A multicast goes to the holders of the role in the sender's view at that moment.
//! Each of them that stays up gets it exactly once and in the order in which this node sent to the role, or its inbox says [`InboxItem::Gap`]: nothing is lost in silence.
//! With [`Dissemination::Digest`], the default, or [`Dissemination::Eager`], a message that one of them has delivered is delivered by all of them that stay up, even if the sender dies in the middle.
//! Messages live in memory only.
//!
//! A slow holder holds the senders back: [`Channel::multicast`] waits, and what waits is bounded.
//! Every [`SendError`] says whether the message may have arrived.
//!
//! # What can be observed
//!
//! Every node logs through [`tracing`], in a span `node` with its id: who comes and goes at `info`, refused connections, broken promises and peers that break the protocol at `warn`, links at `debug`.
//! It counts through the [`metrics`] facade, with a label `node`: `rolecast_messages_sent_total`, `rolecast_bytes_sent_total`, `rolecast_messages_delivered_total`, `rolecast_bytes_delivered_total`, `rolecast_calls_total`, `rolecast_window_full_total`, `rolecast_gaps_total`, `rolecast_dials_failed_total`, `rolecast_connections_refused_total`, `rolecast_violations_total`, and the gauges `rolecast_links` and `rolecast_members`.
//! A recorder has to be installed before the node starts.

mod address;
mod answers;
mod builder;
mod call;
mod channel;
mod clock;
mod command;
mod counters;
mod describe;
mod download;
mod driver;
mod entropy;
mod error;
mod holders;
mod inbox;
mod large;
mod members;
mod message;
mod multicast;
mod multicast_stream;
mod node;
mod outbox;
mod outcomes;
mod pattern;
mod permit;
mod queue;
mod receipt;
mod register;
mod request;
mod resolve;
mod role;
mod seeds;
mod settlement;
mod shared;
#[cfg(feature = "simulation")]
pub mod simulation;
#[cfg(not(feature = "simulation"))]
#[expect(dead_code, unreachable_pub, reason = "nobody watches")]
mod simulation;
mod slow;
mod start;
mod state_dir;
mod surroundings;
mod typed;
mod upload;
mod wait_for_holders;

pub use answers::{Answer, Answers};
pub use builder::{DEFAULT_LISTEN, NodeBuilder, SecretText};
pub use bytes::Bytes;
pub use channel::Channel;
pub use describe::{Describe, DescribeError};
pub use error::{
    ClosedReason, CutShort, NoAnswer, NotSent, NotStable, RegisterError, ReplyError, SendError,
    StartError, Unknown, WaitError,
};
pub use holders::{HolderChange, HolderChanges};
pub use inbox::{Inbox, InboxItem};
pub use large::{LargeMessage, PayloadError, PayloadReader};
pub use members::{LinkState, MemberInfo, MeshEvent, MeshEvents};
pub use message::{Message, Responder};
pub use multicast::{Multicast, Multicasting};
pub use multicast_stream::MulticastStream;
pub use node::{Node, SHUTDOWN_PATIENCE};
pub use outcomes::{HolderOutcome, Outcomes};
pub use permit::Permit;
pub use receipt::{Outcome, Receipt};
pub use register::Register;
pub use request::{Anycast, DEFAULT_TIMEOUT, Delivered, Reply, Request, RequestAll};
pub use rolecast_membership::{
    Epoch, Liveness, NodeId, ParseNodeIdError, Profile, RecordError, RoleName, RoleNameError,
    Service,
};
pub use rolecast_protocol::{
    Dissemination, FlowId, Gap, LagReason, Lagged, Limits, Order, Origin, Pick, Refusal, Seq,
    Started,
};
pub use rolecast_transport::{BindError, DialError, MeshSecret, ParseSecretError, TrustError};
pub use slow::{SlowReceivers, TrySendError};
pub use typed::{
    DecodeError, TypedAnswer, TypedAnswers, TypedChannel, TypedInbox, TypedItem, TypedMessage,
    TypedNoAnswer, TypedReply, TypedRequest, TypedRequestAll, TypedRequestError,
};
pub use wait_for_holders::WaitForHolders;
