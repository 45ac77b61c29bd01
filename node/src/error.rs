//! What can go wrong, by operation.
//!
//! Every error of an operation that sends says whether anything was sent, so that the caller knows whether it may try again.

use std::io;
use std::path::PathBuf;

use rolecast_membership::{Epoch, NodeId, RecordError, RoleNameError};
use rolecast_protocol::{CallError, MulticastError, Refusal};
use rolecast_transport::{BindError, ParseSecretError, TrustError};

/// Why a node did not start; nothing was sent, and no task is left behind.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rolecast::{MeshSecret, Node, StartError};
///
/// let builder = Node::builder().secret(MeshSecret::generate()).listen("7400");
/// match builder.start().await {
///     Err(StartError::Address { what, text }) => assert_eq!((what, text.as_str()), ("listen", "7400")),
///     // Every text is a sentence that says what to do.
///     other => panic!("that is no address: {other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Neither a mesh secret nor certificates were given.
    #[error(
        "a node needs a mesh secret or certificates: call `secret` or `certificates` on the builder"
    )]
    NoTrust,
    /// The text of the mesh secret is none.
    #[error(transparent)]
    Secret(#[from] ParseSecretError),
    /// The certificates are not usable.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A certificate or key file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A seed is not an address.
    #[error(
        "seed {seed:?} is not of the form HOST:PORT, such as 10.0.0.1:7400 or node-1.example:7400"
    )]
    Seed {
        /// The seed as it was given.
        seed: String,
    },
    /// The address to listen at, or to advertise, is not an address.
    #[error(
        "{what} address {text:?} is not an address of the form HOST:PORT, such as 0.0.0.0:7400"
    )]
    Address {
        /// Which address: `listen` or `advertise`.
        what: &'static str,
        /// The address as it was given.
        text: String,
    },
    /// The address to advertise stands for all addresses of a host, so that nobody else can dial it.
    #[error(
        "nobody can dial {addr}: advertise the address at which other nodes reach this one, such as 10.0.0.1:7400"
    )]
    Undialable {
        /// The address as it was given.
        addr: std::net::SocketAddr,
    },
    /// The UDP socket could not be opened, for instance because the address is in use.
    #[error("cannot listen: {0}")]
    Bind(#[from] BindError),
    /// The site, host, service or labels pass a limit.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The state directory cannot be read or written, or holds something that is not a node's state.
    #[error("the state file {} {problem}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
        /// The system's reason, if it had one.
        source: Option<io::Error>,
    },
}

/// Why a role was not taken up; the node holds what it held before.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::RegisterError;
///
/// let _inbox = node.register("db:master").await?;
/// let again = node.register("db:master").await;
/// assert!(matches!(again, Err(RegisterError::Held { role }) if role == "db:master"));
/// let misnamed = node.register("the master").await;
/// assert!(matches!(misnamed, Err(RegisterError::Name(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name is no role name.
    #[error(transparent)]
    Name(#[from] RoleNameError),
    /// This node holds the role already.
    #[error("this node already holds the role {role}: drop the other inbox first")]
    Held {
        /// The role.
        role: String,
    },
    /// The node would hold too many roles.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The node is closed.
    #[error(transparent)]
    Closed(#[from] ClosedReason),
}

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
    /// No link to the holder came about.
    #[error("there is no link to the holder")]
    NoLink,
    /// The payload is too large.
    #[error(
        "a message to one holder, or to which an answer is awaited, has at most {max} bytes, and this one has {bytes}"
    )]
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
    /// It was sent to nobody, because too few nodes held the role when its turn came.
    #[error("the message was not sent: too few nodes hold the role")]
    TooFewHolders,
    /// This node was closed before that was known.
    #[error(transparent)]
    Closed(#[from] ClosedReason),
}

/// Why one holder did not answer a request to all.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # use rolecast::InboxItem;
/// use rolecast::{NoAnswer, Refusal};
///
/// let mut inbox = node.register("cache").await?;
/// let answers = node.channel("cache").request_all("how many entries?").await?;
/// // A request that is dropped is refused.
/// drop(inbox.next().await);
/// for answer in answers.collect().await {
///     match answer.result {
///         Ok(payload) => panic!("there was no reply: {payload:?}"),
///         Err(NoAnswer::Refused(why)) => assert_eq!(why, Refusal::Dropped),
///         Err(why) => println!("{} is silent: {why}", answer.node),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// It never got the request.
    #[error("it was not sent")]
    NotSent,
    /// It may have got it, and no answer will come.
    #[error("unknown whether it arrived: {0}")]
    Unknown(Unknown),
    /// It did nothing with it.
    #[error("it refused: {}", refusal_text(*.0))]
    Refused(Refusal),
}

/// Why a reply was not sent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # use rolecast::InboxItem;
/// use rolecast::ReplyError;
///
/// let mut inbox = node.register("oracle").await?;
/// let channel = node.channel("oracle");
/// let asking = tokio::spawn(async move { channel.request("what is the answer?").await });
///
/// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
/// match message.reply(vec![0; 17 << 20]).await {
///     Err(ReplyError::TooLarge { bytes, max }) => println!("{bytes} bytes are more than {max}"),
///     other => panic!("it is too large: {other:?}"),
/// }
/// // Whoever asked learns that there is no reply.
/// assert!(asking.await?.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The message is not a request.
    #[error("the message is not a request")]
    NotARequest,
    /// Whoever asked is gone, or no longer waits.
    #[error("whoever asked no longer waits")]
    Gone,
    /// The reply is too large.
    #[error("a reply has at most {max} bytes, and this one has {bytes}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
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

/// Why a wait ended without what was waited for.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::WaitError;
/// use std::time::Duration;
///
/// match node.channel("db:master").wait_for_holders(1).timeout(Duration::from_millis(10)).await {
///     Err(WaitError::TimedOut { role, holders, wanted }) => println!("{holders} of {wanted} hold {role}"),
///     other => panic!("nobody holds it: {other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The channel's role has no valid name.
    #[error(transparent)]
    Role(#[from] RoleNameError),
    /// The timeout passed.
    #[error("{holders} of {wanted} holders of {role} were there within the timeout")]
    TimedOut {
        /// The role.
        role: String,
        /// How many held it at the end.
        holders: usize,
        /// How many were waited for.
        wanted: usize,
    },
    /// The node is closed.
    #[error(transparent)]
    Closed(#[from] ClosedReason),
}

/// Why a node is closed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{ClosedReason, InboxItem};
///
/// let mut inbox = node.register("news").await?;
/// node.shutdown().await;
/// match inbox.next().await {
///     Some(InboxItem::Closed(ClosedReason::Shutdown)) => println!("as it was told to"),
///     Some(InboxItem::Closed(reason)) => panic!("start again? {reason}"),
///     other => panic!("nothing was sent: {other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClosedReason {
    /// [`Node::shutdown`](crate::Node::shutdown) was called.
    #[error("the node was shut down")]
    Shutdown,
    /// The last [`Node`](crate::Node) handle was dropped.
    #[error("the last handle of the node was dropped")]
    Dropped,
    /// Another process runs with this node's key in a later life: two processes must not share a state directory or a node key.
    #[error(
        "another process runs with this node's key in the later life {epoch}: give each its own state directory"
    )]
    Superseded {
        /// The other's life.
        epoch: Epoch,
    },
    /// The node's socket failed or its runtime is going away.
    #[error("the node's socket is closed")]
    Transport,
}

fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotHolder => "it does not hold the role",
        Refusal::Busy => "its inbox is full",
        Refusal::Dropped => "its program dropped the message without a reply",
    }
}
