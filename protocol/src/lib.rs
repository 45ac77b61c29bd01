//! What a Rolecast node does with messages.
//!
//! One [`Engine`] per node, without I/O, clock or entropy: the driver hands it what happened, with the time, and carries out what it asks for.
//! The node drives it with tokio and QUIC; the simulator drives the very same code in virtual time.

mod api;
mod batch;
mod bulk;
mod calls;
mod canary;
mod config;
mod engine;
mod error;
mod explain;
mod flow_in;
mod flow_out;
mod forgotten;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod hostile;
mod kept;
mod lane;
mod large;
mod mode;
mod notice;
mod parked;
mod peers;
mod questions;
mod retained;
mod routes;
mod safety;
mod session;
mod slow;
mod spread;
#[cfg(test)]
mod traces;
mod way;
mod wire;

pub use api::{
    Answer, CallId, CallKind, Class, CloseReason, Delivery, Event, FlowId, Gap, InboxId, Input,
    LargeEnd, LinkId, Origin, Output, Pick, Reach, Refusal, ReplyTo, Seq, Target, Ticket,
};
pub use batch::{BATCH_BYTES_FULL, Batch, BatchBuilder, BatchMessage, Messages, SINGLE_BYTES_MIN};
#[cfg(feature = "canaries")]
pub use canary::Canary;
pub use config::{Config, Limits};
pub use engine::{Accepted, Engine, LARGE_OPEN_MAX, Usage};
pub use error::{CallError, ChunkError, MulticastError, OpenFlowError, ReplyError, TakeUpError};
pub use explain::{carries_messages, explain, messages_for, payload_bytes};
pub use mode::{Dissemination, Mode, Order};
pub use notice::{LagReason, Lagged, Started};
pub use rolecast_membership as membership;
pub use slow::SlowMembers;
