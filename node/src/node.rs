//! A process's membership of the mesh.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, RoleName};
use tokio::sync::oneshot;

use crate::builder::NodeBuilder;
use crate::channel::Channel;
use crate::command::Command;
use crate::error::{ClosedReason, SendError, WaitError};
use crate::inbox::Inbox;
use crate::members::{MemberInfo, MeshEvents};
use crate::queue::Queue;
use crate::receipt::Receipt;
use crate::register::Register;
use crate::shared::Shared;

/// A process's membership of the mesh; cheap to clone.
///
/// The node lives until [`Node::shutdown`] or until its last `Node` handle is dropped; channels and inboxes do not keep it alive.
/// A node that was dropped leaves the mesh as in a shutdown, with a patience of one second, as long as the runtime runs; nobody learns whether what it sent arrived.
/// Several nodes may live in one process.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rolecast::{InboxItem, MeshSecret, Node};
///
/// let secret = MeshSecret::generate();
/// let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
/// let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
///
/// let mut inbox = second.register("user-list:listener").await?;
/// first.wait_for("user-list:listener", 1).await?;
/// first.channel("user-list:listener").multicast("user 17 changed").await?;
///
/// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
/// assert_eq!(message.payload(), "user 17 changed");
/// assert_eq!(message.origin(), first.id());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Node {
    handle: Arc<Handle>,
}

/// Stops the node when the last clone is dropped.
struct Handle {
    shared: Arc<Shared>,
    everyone: Channel,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A closed node needs no telling.
        let _ = self.shared.submit(Command::Shutdown {
            reason: ClosedReason::Dropped,
            patience: DROP_PATIENCE,
        });
    }
}

impl Node {
    /// Starts to describe a node.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node};
    ///
    /// let node = Node::builder()
    ///     .secret(MeshSecret::generate())
    ///     .listen("127.0.0.1:0")
    ///     .start()
    ///     .await?;
    /// assert!(node.addr().ip().is_loopback());
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> NodeBuilder {
        NodeBuilder::new()
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let everyone = Channel::new(Arc::clone(&shared), Ok(RoleName::everyone()));
        Node {
            handle: Arc::new(Handle { shared, everyone }),
        }
    }

    /// Which node this is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// assert_eq!(node.members().await[0].id, node.id());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.shared().id
    }

    /// Where the other nodes dial this one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// assert_ne!(node.addr().port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.shared().addr
    }

    /// In which of its lives it is: rises with every start, and when it was declared down while it lived.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// assert_eq!(node.members().await[0].epoch, node.epoch());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shared().epoch()
    }

    /// Takes up a role; what is sent to it comes out of the inbox.
    ///
    /// The rest of the mesh knows within about a second.
    /// What was sent before is not for it, unless it asks for that ([`Register::replay`]).
    /// Cancel safe: if the future is dropped, the role is given up again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let inbox = node.register("db:master").await?;
    /// assert_eq!(inbox.role().as_str(), "db:master");
    /// assert!(node.register("db:master").await.is_err());
    /// drop(inbox);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RegisterError`](crate::RegisterError) if the name is invalid, the node holds the role already or too many roles, or is closed.
    pub fn register(&self, role: impl AsRef<str>) -> Register<'_> {
        Register::new(self, role.as_ref())
    }

    /// The inbox of what is broadcast, and of what is sent to this very node through the role `*`.
    ///
    /// `None` if it is in use already.
    /// As long as nobody takes it, what is broadcast to this node is discarded, and requests are refused.
    /// Cancel safe: if the future is dropped, the inbox is free for the next one who asks.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = node.broadcasts().await.expect("nobody has taken it");
    /// node.broadcast("to all").await?;
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(message.payload(), "to all");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn broadcasts(&self) -> Option<Inbox> {
        let (done, taken) = oneshot::channel();
        self.shared().submit(Command::Broadcasts { done }).ok()?;
        taken.await.ok()?
    }

    /// A handle to send to a role, or by a pattern such as `user-list:*`, to every role whose name begins so.
    ///
    /// A name that is not valid is reported by whatever is sent first.
    /// Which of the holders are meant, [`Channel::in_site`] and its like say.
    ///
    /// A pattern stands for the roles that somebody holds at the moment of sending.
    /// A multicast or a request to all goes to each of them, in the same sequences as what is sent to them one by one, so that each role keeps its order and its promises; nothing is promised across them, and a node that holds two of them gets it twice, in two inboxes.
    /// An anycast or a request goes to one holder of one of them.
    /// What is larger than a message, [`Channel::reserve`] and [`Channel::try_send`] are for one role.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let channel = node.channel("db:master");
    /// let another = channel.clone();
    /// assert_eq!(another.role().map(|role| role.as_str()), Some("db:master"));
    ///
    /// let _inboxes = (node.register("list:readers").await?, node.register("list:writers").await?);
    /// let receipt = node.channel("list:*").multicast("the list has changed").await?;
    /// assert_eq!(receipt.each().count(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn channel(&self, role: impl AsRef<str>) -> Channel {
        Channel::new(Arc::clone(self.shared()), RoleName::address(role.as_ref()))
    }

    /// Sends to every node of the mesh, this one included.
    ///
    /// As [`Channel::multicast`] to the role `*`.
    /// Cancel safe: dropped before it resolved, nothing was sent, unless it is a large payload, which is cut short.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let receipt = node.broadcast("a new configuration is there").await?;
    /// assert_eq!(receipt.acked().await?.acknowledged, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError::NotSent`] only.
    pub async fn broadcast(&self, payload: impl Into<Bytes>) -> Result<Receipt, SendError> {
        self.handle.everyone.multicast(payload).await
    }

    /// The live members as this node sees them, itself first; empty once the node is closed.
    /// Cancel safe: it only looks.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// for member in node.members().await {
    ///     println!("{} at {} holds {:?}", member.id, member.addr, member.roles);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn members(&self) -> Vec<MemberInfo> {
        let (done, members) = oneshot::channel();
        if self.shared().submit(Command::Members { done }).is_err() {
            return Vec::new();
        }
        members.await.unwrap_or_default()
    }

    /// What changes in the mesh from here on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::MeshEvent;
    ///
    /// let mut watch = node.watch();
    /// node.shutdown().await;
    /// while let Some(event) = watch.next().await {
    ///     if let MeshEvent::Closed(reason) = event {
    ///         println!("{reason}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self) -> MeshEvents {
        let queue = Arc::new(Queue::new());
        if self
            .shared()
            .submit(Command::Watch {
                queue: Arc::clone(&queue),
            })
            .is_err()
        {
            queue.close();
        }
        MeshEvents::new(queue)
    }

    /// Waits until at least `holders` nodes hold the role, as seen by this node; resolves to how many do.
    ///
    /// Every node holds the role `*`, so that `wait_for("*", 3)` waits for a mesh of three.
    /// Bound it with [`Channel::wait_for_holders`] and its `timeout`.
    /// Cancel safe: it only waits.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// assert_eq!(node.wait_for("*", 1).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`WaitError`] if the name is invalid or the node is closed.
    pub async fn wait_for(
        &self,
        role: impl AsRef<str>,
        holders: usize,
    ) -> Result<usize, WaitError> {
        self.channel(role).wait_for_holders(holders).await
    }

    /// Leaves the mesh in good order, and stops.
    ///
    /// Takes no new work, waits up to [`SHUTDOWN_PATIENCE`] until every live peer has acknowledged what was sent, tells the mesh that it leaves, and closes every link.
    /// Cancel safe: the node stops even if the future is dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::ClosedReason;
    ///
    /// assert_eq!(node.shutdown().await, ClosedReason::Shutdown);
    /// assert!(node.register("too-late").await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self) -> ClosedReason {
        self.shutdown_within(SHUTDOWN_PATIENCE).await
    }

    /// As [`Node::shutdown`], with another patience.
    /// Cancel safe: the node stops even if the future is dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// node.shutdown_within(std::time::Duration::from_millis(100)).await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown_within(&self, patience: Duration) -> ClosedReason {
        // A closed node has nothing left to do.
        let _ = self.shared().submit(Command::Shutdown {
            reason: ClosedReason::Shutdown,
            patience,
        });
        self.closed().await
    }

    /// Resolves when the node is closed, to the reason.
    ///
    /// Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let watched = node.clone();
    /// let closed = tokio::spawn(async move { watched.closed().await });
    /// node.shutdown().await;
    /// println!("closed: {}", closed.await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn closed(&self) -> ClosedReason {
        let mut closed = self.shared().watch_closed();
        match closed.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or(ClosedReason::Transport),
            Err(_) => ClosedReason::Transport,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id())
            .field("addr", &self.addr())
            .finish()
    }
}

/// How long [`Node::shutdown`] waits for acknowledgements.
///
/// ```
/// use rolecast::SHUTDOWN_PATIENCE;
/// use std::time::Duration;
///
/// // Whoever stops the process should wait for longer before it kills it.
/// let stop_timeout = Duration::from_secs(10);
/// assert!(SHUTDOWN_PATIENCE < stop_timeout);
/// ```
pub const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);
/// How long a node whose last handle was dropped waits for acknowledgements.
const DROP_PATIENCE: Duration = Duration::from_secs(1);
