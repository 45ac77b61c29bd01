//! Why a command was not carried out; in every case nothing was sent and nothing has changed.

use rolecast_membership::RecordError;

/// Why a role was not taken up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TakeUpError {
    /// This node holds the role already.
    #[error("this node already holds the role: drop the other inbox first")]
    Held,
    /// The record would pass a limit.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The node is leaving.
    #[error("the node is leaving the mesh")]
    Leaving,
}

/// Why a flow was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenFlowError {
    /// Too many flows are open.
    #[error("a node sends at most {max} flows at once: one for each role and way of spreading")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// Nobody keeps what is sent with best effort, so that it can be neither k-safe nor in causal order.
    #[error(
        "what is sent with best effort is kept by nobody, and so can be neither k-safe nor in causal order"
    )]
    NotKept,
    /// Nobody would be sent anything.
    #[error("gossip with a fanout of zero reaches nobody")]
    NoFanout,
    /// What spreads by gossip cannot be in causal order.
    #[error("what spreads by gossip cannot be in causal order")]
    NotCausal,
    /// Something may be left out only where the origin sends everything to everybody itself, in the usual order and waiting for nobody.
    #[error(
        "only the last of each key can be kept in the usual order, without k_safe and without gossip"
    )]
    NotKeepLast,
    /// A pattern stands for many roles, each of which has flows of its own.
    #[error("a pattern stands for many roles, each of which has flows of its own")]
    Pattern,
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MulticastError {
    /// The window is full: [`crate::Event::Writable`] says when to try again.
    #[error("the slowest holder has not yet taken what was sent before")]
    Full,
    /// A payload is larger than the limit.
    #[error("a message has at most {max} bytes, and this one has {bytes}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Too many calls are outstanding.
    #[error("at most {max} calls may be outstanding at once")]
    TooManyCalls {
        /// The bound.
        max: usize,
    },
    /// This life of the node has sent all the large payloads that it has numbers for, 2³¹ of them.
    #[error("this node has no numbers left for large payloads: restart it")]
    Exhausted,
    /// A flow that keeps only the last of each key takes neither large payloads nor questions to all.
    #[error("where only the last of each key is kept, nothing large is sent and nothing asked")]
    NotKeepLast,
    /// Nobody holds the role, as far as this node knows (questions to all only).
    #[error("no node holds the role, as far as this node knows")]
    NoHolder,
    /// Fewer nodes hold the role, as far as this node knows, than the flow's `k_safe` asks for.
    #[error("{holders} nodes hold the role, and {wanted} are to hold every message")]
    TooFewHolders {
        /// How many there are.
        holders: usize,
        /// How many there have to be.
        wanted: usize,
    },
    /// No such flow.
    #[error("the flow is not open")]
    UnknownFlow,
    /// The node is leaving.
    #[error("the node is leaving the mesh")]
    Leaving,
}

/// Why a chunk of a large payload, or its end, was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The window is full: [`crate::Event::Writable`] says when to try again.
    #[error("the slowest holder has not yet taken what was sent before")]
    Full,
    /// It has ended, or nobody takes anything of it any more.
    #[error("nobody takes anything more of this payload")]
    Over,
    /// The chunk is larger than the limit.
    #[error("a chunk has at most {max} bytes, and this one has {bytes}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// It is longer than was announced.
    #[error("the payload was announced with {length} bytes, and has more")]
    Beyond {
        /// What was announced.
        length: u64,
    },
    /// It is shorter than was announced.
    #[error("the payload was announced with {length} bytes, and has fewer")]
    Short {
        /// What was announced.
        length: u64,
    },
}

/// Why a call was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody holds the role, as far as this node knows.
    #[error("no node holds the role, as far as this node knows")]
    NoHolder,
    /// Too much waits for the chosen holder.
    #[error("too much already waits for the holder")]
    Full,
    /// A payload is larger than the limit.
    #[error("a message has at most {max} bytes, and this one has {bytes}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Too many calls are outstanding.
    #[error("at most {max} calls may be outstanding at once")]
    TooManyCalls {
        /// The bound.
        max: usize,
    },
    /// The node is leaving.
    #[error("the node is leaving the mesh")]
    Leaving,
}

/// Why a reply was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Whoever asked is gone or no longer waits, or the question was answered before.
    #[error("whoever asked no longer waits")]
    Gone,
    /// Too much waits for whoever asked: the question may still be answered, and [`crate::Event::Answerable`] says when to try again.
    #[error("too much already waits for whoever asked")]
    Full,
    /// The reply is larger than the limit.
    #[error("a reply has at most {max} bytes, and this one has {bytes}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The bound.
        max: usize,
    },
}
