//! What can go wrong, by operation.
//!
//! Every error of an operation that sends says whether anything was sent, so that the caller knows whether it may try again.

mod answering;
mod sending;

use std::io;
use std::path::PathBuf;

use rolecast_membership::{Epoch, RecordError, RoleNameError};
use rolecast_transport::{BindError, ParseSecretError, TrustError};

pub use answering::{NoAnswer, ReplyError};
pub use sending::{CutShort, NotSent, NotStable, SendError, Unknown};

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
    /// The node is of no service: say which with [`NodeBuilder::service`](crate::NodeBuilder::service) or [`Node::describe`](crate::Node::describe).
    #[error("this node is of no service: say first which service it is of")]
    NoService,
    /// The node would hold too many roles.
    #[error(transparent)]
    Record(#[from] RecordError),
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
    /// The role of an inbox was given up with [`Inbox::unregister`](crate::Inbox::unregister): the inbox ends, and the node goes on.
    #[error("the role was given up")]
    Unregistered,
    /// The node's socket failed or its runtime is going away.
    #[error("the node's socket is closed")]
    Transport,
}
