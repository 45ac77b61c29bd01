//! Why something was not sent, not all of it, or not known to have arrived.

use std::io;

use rolecast_membership::{NodeId, RoleNameError};
use rolecast_protocol::{CallError, MulticastError, Refusal};

use super::ClosedReason;
use super::answering::refusal_text;

/// Why something was not sent, or not known to have arrived.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::SendError;
///
/// match node.channel("nobody").request("hello?").await {
///     Ok(reply) => println!("{:?}", reply.payload),
///     Err(SendError::NotSent(why)) => println!("try again: {why}"),
///     Err(SendError::Unknown(why)) => println!("it may have been done: {why}"),
///     Err(SendError::Refused { node, reason }) => println!("{node} refused: {reason:?}"),
///     Err(_) => {}
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nothing was sent: trying again cannot deliver anything twice.
    #[error("not sent: {0}")]
    NotSent(#[from] NotSent),
    /// It may have arrived, and no answer will come: try again only if taking it twice does no harm.
    #[error("unknown whether it arrived: {0}")]
    Unknown(#[from] Unknown),
    /// The holders have a first part of a large payload, or nothing, and are told that the rest will not come: none of them takes it for the whole.
    #[error("cut short: {0}")]
    CutShort(#[from] CutShort),
    /// It arrived, and the holder did nothing with it.
    #[error("refused by {node}: {}", refusal_text(*reason))]
    Refused {
        /// The holder.
        node: NodeId,
        /// Its reason.
        reason: Refusal,
    },
}

impl SendError {
    /// Whether a holder may have taken the message: if not, trying again is safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use std::time::Duration;
    ///
    /// // Nobody is there, so that it is safe to try again.
    /// let error = node.channel("bank").request("pay 10").await.unwrap_err();
    /// assert!(!error.may_have_arrived());
    ///
    /// // Somebody is there and does not answer: look before you pay twice.
    /// let _not_read = node.register("bank").await?;
    /// let error = node.channel("bank").request("pay 10").timeout(Duration::from_millis(20)).await.unwrap_err();
    /// assert!(error.may_have_arrived());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        matches!(self, SendError::Unknown(_))
    }
}

/// Why nothing was sent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{NotSent, SendError};
///
/// match node.channel("db:master").multicast("hello").await {
///     Err(SendError::NotSent(NotSent::NoHolder { role })) => assert_eq!(role, "db:master"),
///     other => panic!("nobody holds it: {other:?}"),
/// }
///
/// let _inbox = node.register("sink").await?;
/// match node.channel("sink").anycast(vec![0; 17 << 20]).await {
///     Err(SendError::NotSent(NotSent::TooLarge { max, .. })) => assert_eq!(max, 16 << 20),
///     other => panic!("it is too large: {other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The channel's role has no valid name.
    #[error(transparent)]
    Role(#[from] RoleNameError),
    /// Nobody holds the role, as far as this node knows: wait with [`Channel::wait_for_holders`](crate::Channel::wait_for_holders).
    #[error("no node holds the role {role}, as far as this node knows")]
    NoHolder {
        /// The role.
        role: String,
    },
    /// There was no room until the timeout: the slowest holder has not yet taken what was sent before.
    #[error("there was no room for it within the timeout, because a holder is slow")]
    TimedOut,
    /// Too much already waits for the chosen holder: try again later, or another one.
    #[error("too much already waits for the holder")]
    Full,
    /// Fewer nodes hold the role than the channel's [`k_safe`](crate::Channel::k_safe) asks for.
    #[error("{holders} nodes hold the role {role}, and {wanted} are to have every message")]
    TooFewHolders {
        /// The role.
        role: String,
        /// How many hold it.
        holders: usize,
        /// How many there have to be.
        wanted: usize,
    },
    /// The channel is [`k_safe`](crate::Channel::k_safe) and spreads with best effort, which keeps nothing.
    #[error("what is sent with best effort is kept by nobody, and so cannot be k-safe")]
    NotKept,
    /// The channel spreads by [`Dissemination::Gossip`](crate::Dissemination::Gossip) with a fanout of zero.
    #[error("gossip with a fanout of zero reaches nobody")]
    NoFanout,
    /// The channel spreads by [`Dissemination::Gossip`](crate::Dissemination::Gossip), which [`Order::Causal`](crate::Order::Causal) does not allow.
    #[error("what spreads by gossip cannot be in causal order")]
    NotCausal,
    /// The channel keeps only the last of each key ([`SlowReceivers::KeepLast`](crate::SlowReceivers::KeepLast)), which goes neither with another order than [`Order::Fifo`](crate::Order::Fifo), nor with `k_safe`, gossip, large payloads or questions to all.
    #[error(
        "only the last of each key can be kept of what is sent in the usual order, without k_safe and gossip, and is neither large nor asked of all"
    )]
    NotKeepLast,
    /// The channel's address is a pattern such as `user-list:*`, which takes multicasts in one piece, anycasts and requests only.
    #[error(
        "a pattern stands for many roles: what is streamed, reserved or tried at once goes to one of them"
    )]
    Pattern,
    /// The message's key is too long.
    #[error("a key has at most {max} bytes, and this one has {bytes}")]
    KeyTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// No link to the holder came about.
    #[error("there is no link to the holder")]
    NoLink,
    /// The payload is too large.
    #[error("what travels in one piece has at most {max} bytes, and this has {bytes}")]
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
    /// Too many different channels are in use for multicasts.
    #[error("a node multicasts over at most {max} channels")]
    TooManyChannels {
        /// The bound.
        max: usize,
    },
    /// The value cannot be written as bytes.
    #[error("the value cannot be encoded: {0}")]
    Encode(postcard::Error),
    /// The node is closed.
    #[error(transparent)]
    Closed(#[from] ClosedReason),
}

impl NotSent {
    pub(crate) fn from_multicast(error: MulticastError, role: &str) -> Self {
        match error {
            MulticastError::NoHolder => NotSent::NoHolder {
                role: role.to_owned(),
            },
            MulticastError::TooFewHolders { holders, wanted } => NotSent::TooFewHolders {
                role: role.to_owned(),
                holders,
                wanted,
            },
            MulticastError::TooLarge { bytes, max } => NotSent::TooLarge { bytes, max },
            MulticastError::TooManyCalls { max } => NotSent::TooManyCalls { max },
            MulticastError::Full => NotSent::Full,
            MulticastError::NotKeepLast => NotSent::NotKeepLast,
            _ => NotSent::Closed(ClosedReason::Shutdown),
        }
    }

    pub(crate) fn from_call(error: CallError, role: &str) -> Self {
        match error {
            CallError::NoHolder => NotSent::NoHolder {
                role: role.to_owned(),
            },
            CallError::Full => NotSent::Full,
            CallError::TooLarge { bytes, max } => NotSent::TooLarge { bytes, max },
            CallError::TooManyCalls { max } => NotSent::TooManyCalls { max },
            _ => NotSent::Closed(ClosedReason::Shutdown),
        }
    }
}

/// Why a large payload did not come to its end.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{CutShort, InboxItem, PayloadError, SendError};
/// use std::io;
///
/// let mut inbox = node.register("films").await?;
/// let broken = futures_util::stream::iter([Ok("Ja".into()), Err(io::Error::from(io::ErrorKind::BrokenPipe))]);
/// let sent = node.channel("films").multicast_stream(broken).await;
/// assert!(matches!(sent, Err(SendError::CutShort(CutShort::Source { .. }))));
///
/// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("a stream is large") };
/// assert_eq!(film.into_bytes().await, Err(PayloadError::CutShort));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CutShort {
    /// The reader or stream that it came from failed.
    #[error("its source failed: {message}")]
    Source {
        /// What kind of failure.
        kind: io::ErrorKind,
        /// Its words.
        message: String,
    },
    /// It has more or fewer bytes than were announced.
    #[error("it was announced with {announced} bytes, and has {}", if sent > announced { "more" } else { "fewer" })]
    Length {
        /// What was announced.
        announced: u64,
        /// What its source has given, up to where that was found out.
        sent: u64,
    },
    /// Not all of it was on its way within the timeout.
    #[error("not all of it was on its way within the timeout")]
    TimedOut,
    /// The node was closed.
    #[error(transparent)]
    Closed(#[from] ClosedReason),
}

impl CutShort {
    pub(crate) fn from_source(error: &io::Error) -> Self {
        CutShort::Source {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

/// Why it is not known whether a message arrived.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{SendError, Unknown};
/// use std::time::Duration;
///
/// let _not_read = node.register("bank").await?;
/// match node.channel("bank").request("pay 10").timeout(Duration::from_millis(20)).await {
///     Err(SendError::Unknown(Unknown::TimedOut)) => println!("it may be paid yet"),
///     other => panic!("nobody reads the inbox: {other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// The holder was declared down or left before it answered.
    #[error("the holder is gone")]
    HolderGone,
    /// No answer came within the timeout.
    #[error("no answer came within the timeout")]
    TimedOut,
    /// This node was closed before the answer came.
    #[error(transparent)]
    Closed(#[from] ClosedReason),
}

/// Why it is not known of a message that enough holders have received it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::NotStable;
/// use std::time::Duration;
///
/// let _not_read = node.register("news").await?;
/// let receipt = node.channel("news").multicast("hello").await?;
/// node.shutdown_within(Duration::ZERO).await;
/// match receipt.stable().await {
///     Err(NotStable::Closed(reason)) => println!("{reason}"),
///     other => panic!("nobody else holds the role: {other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotStable {
    /// So many holders were lost that too few are left who have received it or could: whoever has not delivered it sees a `Gap`.
    #[error("too few holders are left that have received the message")]
    GivenUp,
    /// Every holder that was alive was too slow, and this node went on without it ([`SlowReceivers::Evict`](crate::SlowReceivers::Evict)).
    #[error("every holder was too slow, and the sender went on without it")]
    Evicted,
    /// Every holder other than this node lagged, and a later message with the same key took the place of this one ([`SlowReceivers::KeepLast`](crate::SlowReceivers::KeepLast)).
    #[error("every holder was slow, and a later message took the place of this one")]
    Superseded,
    /// It was sent to nobody, because too few nodes held the role when its turn came.
    #[error("the message was not sent: too few nodes hold the role")]
    TooFewHolders,
    /// This node was closed before that was known.
    #[error(transparent)]
    Closed(#[from] ClosedReason),
}
