//! Whole nodes in a simulation: everything that a node takes from the operating system, handed in.
//!
//! With the feature `simulation` a [`NodeBuilder`](crate::NodeBuilder) takes an [`Environment`]: a socket, a runtime for tasks, a key, an epoch and a seed.
//! A node that was given one reads no clock but tokio's, draws no random number that could show in the lengths or the times of its packets, and touches no disk; on a current-thread runtime with a paused clock it does the same in every run.
//! A [`Witness`] sees what the node's driver and engine tell each other, to be compared with what the program sees.
//!
//! This is for simulators such as `rolecast-sim`; programs are tested with `rolecast_sim::check` and need nothing of this.

use std::fmt;

use std::sync::Arc;

#[cfg(feature = "simulation")]
use rolecast_membership::NodeId;
use rolecast_membership::{Epoch, RoleName, Time};
use rolecast_protocol::{
    Accepted, Batch, CallId, CallKind, Delivery, Engine, Event, FlowId, InboxId, Input, Mode,
    Output, Refusal, ReplyTo, SlowMembers, Target, Ticket,
};
#[cfg(feature = "qlog")]
pub use rolecast_transport::Qlog;
pub use rolecast_transport::{NodeKey, Socket};

use bytes::Bytes;
use tokio::time::Instant;

#[cfg(feature = "simulation")]
use crate::command::Command;
#[cfg(feature = "simulation")]
use crate::node::Node;

/// What a node takes from the outside instead of from the operating system.
pub struct Environment {
    /// Where packets come in and go out; of a [`Socket::Abstract`] the runtime also runs the tasks of the node.
    pub socket: Socket,
    /// The node's key, if it trusts a mesh secret.
    pub key: NodeKey,
    /// The epoch in which it starts.
    pub epoch: Epoch,
    /// From which all of its random numbers follow, except for those of TLS, which show in no packet's length or time.
    pub seed: [u8; 32],
    /// The clock by which its engine keeps deadlines; the runtime's, if not given.
    pub clock: Option<Arc<dyn OwnClock>>,
    /// Who watches, if anybody does.
    pub witness: Option<Box<dyn Witness>>,
    /// Where QUIC writes down what it does, if anywhere.
    #[cfg(feature = "qlog")]
    pub qlog: Option<Qlog>,
    /// The bug that is planted in its engine, for tests of the checks.
    #[cfg(feature = "canaries")]
    pub canary: Option<rolecast_protocol::Canary>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("socket", &self.socket)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// A clock that may run faster or slower than the runtime's, and jump ahead; it never goes back.
pub trait OwnClock: Send + Sync {
    /// What it shows when the runtime's clock shows this.
    fn shown(&self, at: Instant) -> Instant;
    /// The first moment of the runtime's clock at which it shows at least this.
    fn when(&self, shown: Instant) -> Instant;
    /// Whether it was set since it was asked last: what was to be done at some time of its own comes at another time.
    ///
    /// Whoever sets it wakes the node's tasks.
    fn was_set(&self) -> bool;
}

/// Closes this node's link to a peer, if there is one, as if the connection had broken.
#[cfg(feature = "simulation")]
pub fn sever(node: &Node, peer: NodeId) {
    // A node that is closed has no links.
    let _ = node.shared().submit(Command::Sever { peer });
}

/// Sees what a node's driver and engine tell each other.
///
/// A driver hands several inputs and commands to its engine before it asks for what they led to.
/// So what the driver says is seen when it says it, and what the engine says only when it is asked; [`Engine::outputs_waiting`] tells how much the engine had said before.
pub trait Witness: Send {
    /// Something passed between the driver and this engine.
    fn saw(&mut self, engine: &Engine, sight: Sight<'_>);
}

/// What passed between a driver and its engine.
#[derive(Clone, Debug)]
pub enum Sight<'a> {
    /// The node is up and holds the role of everyone, in this inbox.
    Started {
        /// The inbox of what is broadcast.
        everyone: InboxId,
    },
    /// The driver is about to ask the engine for something; what the engine says to it follows, unless it refuses.
    Asks,
    /// A role was taken up.
    TookUp {
        /// Its inbox.
        inbox: InboxId,
        /// Which role.
        role: &'a RoleName,
        /// For how many messages that were sent before it asks.
        replay: u32,
    },
    /// A flow was opened.
    Opened {
        /// Which.
        flow: FlowId,
        /// To which role.
        role: &'a RoleName,
        /// What it does with slow members.
        slow: SlowMembers,
    },
    /// A flow has no room for what is to be sent.
    Refused {
        /// Which.
        flow: FlowId,
    },
    /// The node says something else about itself.
    Described,
    /// A role is dropped.
    Drops {
        /// Its inbox.
        inbox: InboxId,
    },
    /// The engine took a batch of multicasts.
    Accepted {
        /// In which flow.
        flow: FlowId,
        /// To which role.
        role: &'a RoleName,
        /// What is promised to it.
        mode: Mode,
        /// What the engine says of it.
        accepted: &'a Accepted,
        /// What it holds.
        batch: &'a Batch,
    },
    /// The engine announced a large payload.
    Announced {
        /// In which flow.
        flow: FlowId,
        /// To which role.
        role: &'a RoleName,
        /// What is promised to it.
        mode: Mode,
        /// What the engine says of it.
        accepted: &'a Accepted,
        /// The flow of its own.
        large: FlowId,
        /// Its length in bytes, if that is announced.
        length: Option<u64>,
    },
    /// The engine took a chunk of a large payload.
    SentChunk {
        /// The payload's own flow.
        flow: FlowId,
        /// The chunk.
        chunk: &'a Bytes,
    },
    /// The engine took the end of a large payload.
    SentEnd {
        /// The payload's own flow.
        flow: FlowId,
        /// Whether it is all of it.
        complete: bool,
    },
    /// The engine took a request to all; what it sends follows as [`Sight::Accepted`].
    Gathers {
        /// Its number.
        call: CallId,
        /// To which role.
        role: &'a RoleName,
        /// When it ends at the latest, on the engine's clock.
        deadline: Time,
    },
    /// The engine took a call to one holder.
    Calls {
        /// Its number.
        call: CallId,
        /// To whom.
        target: &'a Target,
        /// What the holder is to do.
        kind: CallKind,
        /// What it is given.
        payload: &'a Bytes,
        /// When it ends at the latest, on the engine's clock.
        deadline: Time,
    },
    /// The program gave a call up.
    Cancels {
        /// Which.
        call: CallId,
    },
    /// The program answers a request.
    Replies {
        /// Whose.
        to: ReplyTo,
        /// What it says.
        answer: &'a Result<Bytes, Refusal>,
    },
    /// The transport has something for the engine.
    Hears(&'a Input),
    /// The engine was asked for its next output, and gave this: it follows as [`Sight::Delivered`] or [`Sight::Told`] too if it is of that kind.
    Polled(&'a Output),
    /// The engine delivers.
    Delivered {
        /// Into which inbox.
        inbox: InboxId,
        /// What.
        delivery: &'a Delivery,
    },
    /// The program has taken what this ticket stands for.
    Consumed {
        /// The delivery's ticket.
        ticket: Ticket,
    },
    /// The engine tells something.
    Told(&'a Event),
    /// The engine has said everything that it had to say.
    AtRest,
    /// The node has said farewell, or stops without one.
    Ended {
        /// Whether it said farewell.
        left: bool,
    },
}
