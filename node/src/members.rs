//! Who is in the mesh, as a node sees it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rolecast_membership::{Epoch, Liveness, Member, NodeId, Record, RoleName, Service};
use rolecast_transport::DialError;

use crate::error::ClosedReason;
use crate::queue::Queue;

/// A live member of the mesh.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let secret = MeshSecret::generate();
/// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
/// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
/// use rolecast::MemberInfo;
///
/// fn describe(member: &MemberInfo) -> String {
///     let roles: Vec<&str> = member.roles.iter().map(|role| role.as_str()).collect();
///     format!("{} at {} holds {}", member.id, member.addr, roles.join(", "))
/// }
///
/// let _inbox = second.register("db:master").await?;
/// first.wait_for("db:master", 1).await?;
/// let members = first.members().await;
/// let [me, other] = &members[..] else { panic!("there are two") };
/// assert_eq!(me.id, first.id());
/// assert!(describe(other).ends_with("holds db:master"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberInfo {
    /// Which node.
    pub id: NodeId,
    /// Where it is dialled.
    pub addr: SocketAddr,
    /// Which of its lives.
    pub epoch: Epoch,
    /// The place it is in; may be empty.
    pub site: String,
    /// The machine it runs on; may be empty.
    pub host: String,
    /// Its own kind, and which of them it is.
    pub service: Service,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
    /// The roles it holds, without the one that every node holds.
    pub roles: Vec<RoleName>,
    /// Whether it takes what is sent to its service ([`Node::register_service`](crate::Node::register_service)).
    pub takes_service: bool,
    /// Whether it answers.
    pub liveness: Liveness,
    /// How this node reaches it.
    pub link: LinkState,
}

/// How a node reaches a member.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::LinkState;
///
/// for member in node.members().await {
///     match member.link {
///         LinkState::Myself => assert_eq!(member.id, node.id()),
///         LinkState::Direct { rtt } => println!("{} is {rtt:?} away", member.id),
///         LinkState::Via(relay) => println!("{} is reached over {relay}", member.id),
///         LinkState::Down => println!("{} cannot be reached at this moment", member.id),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// It is the node itself.
    Myself,
    /// Over a link of their own.
    Direct {
        /// The smoothed round trip time.
        rtt: Duration,
    },
    /// Over other members, this one first, because no link of their own works.
    Via(NodeId),
    /// Over a link of their own that is closed until there is something to send, see [`Limits::links_max`](crate::Limits::links_max).
    Resting,
    /// There is neither a link nor a way over others at this moment; what is sent waits for one.
    Down,
}

impl MemberInfo {
    pub(crate) fn new(member: Member, link: LinkState) -> Self {
        MemberInfo {
            liveness: member.liveness,
            ..MemberInfo::from_record(member.record, link)
        }
    }

    pub(crate) fn from_record(record: Record, link: LinkState) -> Self {
        let (everyone, service) = (RoleName::everyone(), RoleName::service());
        MemberInfo {
            takes_service: record.roles.contains_key(&service),
            id: record.identity.id,
            addr: record.identity.addr,
            epoch: record.identity.epoch,
            site: record.site,
            host: record.host,
            service: record.service,
            labels: record.labels,
            roles: record
                .roles
                .into_keys()
                .filter(|role| *role != everyone && *role != service)
                .collect(),
            liveness: Liveness::Alive,
            link,
        }
    }

    /// Whether it holds this role.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inbox = node.register("db:master").await?;
    /// let me = node.members().await.remove(0);
    /// assert!(me.holds("db:master"));
    /// assert!(!me.holds("db:replica"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn holds(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held.as_str() == role)
    }
}

/// What changed in the mesh.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let secret = MeshSecret::generate();
/// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
/// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
/// use rolecast::MeshEvent;
///
/// let mut watch = first.watch();
/// first.wait_for("*", 2).await?;
/// second.shutdown().await;
/// while let Some(event) = watch.next().await {
///     match event {
///         MeshEvent::Joined(member) => assert_eq!(member.id, second.id()),
///         MeshEvent::Left(node) | MeshEvent::Down(node) => {
///             assert_eq!(node, second.id());
///             break;
///         }
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MeshEvent {
    /// A node joined.
    Joined(MemberInfo),
    /// A member took up or dropped roles, or says something else of itself; which roles, the events after this one say.
    Updated(MemberInfo),
    /// A member took up a role.
    /// Of those that it holds as it joins or restarts, [`MeshEvent::Joined`] and [`MeshEvent::Restarted`] tell.
    RoleTakenUp {
        /// Which member.
        node: NodeId,
        /// The role.
        role: RoleName,
    },
    /// A member dropped a role; one that leaves or is declared down holds none any longer without this being said.
    RoleDropped {
        /// Which member.
        node: NodeId,
        /// The role.
        role: RoleName,
    },
    /// A member came back in a later life, without having been seen down in between.
    Restarted(MemberInfo),
    /// A member does not answer; it stays a member until it is declared down.
    Suspected(NodeId),
    /// A suspected member answered.
    AliveAgain(NodeId),
    /// A member left gracefully.
    Left(NodeId),
    /// A member was declared down.
    Down(NodeId),
    /// A link to this node came up.
    LinkUp(NodeId),
    /// The link to this node is gone.
    LinkDown(NodeId),
    /// This node dialled an address in vain, and will again; nobody can join through a seed that fails so.
    DialFailed {
        /// The address.
        addr: SocketAddr,
        /// Why; for instance that the node there has another mesh's secret.
        why: DialError,
    },
    /// This node was declared down while it lived, and goes on in this life.
    Renewed(Epoch),
    /// This node is closed; nothing follows.
    Closed(ClosedReason),
    /// The watcher was too slow, and so many events were left out here: ask [`Node::members`](crate::Node::members) for how things stand.
    Lagged(u64),
}

pub(crate) type WatchQueue = Queue<MeshEvent>;

/// The stream of what changes in the mesh; see [`Node::watch`](crate::Node::watch).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{MeshEvent, MeshEvents};
///
/// async fn log(mut events: MeshEvents) {
///     while let Some(event) = events.next().await {
///         match event {
///             MeshEvent::Joined(member) => println!("{} is there", member.id),
///             MeshEvent::Down(node) | MeshEvent::Left(node) => println!("{node} is gone"),
///             _ => {}
///         }
///     }
/// }
///
/// let logging = tokio::spawn(log(node.watch()));
/// node.shutdown().await;
/// logging.await?;
/// # Ok(())
/// # }
/// ```
pub struct MeshEvents {
    queue: Arc<WatchQueue>,
    arrived: VecDeque<MeshEvent>,
}

impl MeshEvents {
    pub(crate) fn new(queue: Arc<WatchQueue>) -> Self {
        MeshEvents {
            queue,
            arrived: VecDeque::new(),
        }
    }

    /// The next event; `None` after the node was closed.
    ///
    /// Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::{ClosedReason, MeshEvent};
    ///
    /// let mut watch = node.watch();
    /// node.shutdown().await;
    /// let mut last = None;
    /// while let Some(event) = watch.next().await {
    ///     last = Some(event);
    /// }
    /// assert_eq!(last, Some(MeshEvent::Closed(ClosedReason::Shutdown)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<MeshEvent> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<MeshEvent>> {
        if self.arrived.is_empty() {
            std::task::ready!(self.queue.poll_take(cx, &mut self.arrived));
        }
        Poll::Ready(self.arrived.pop_front())
    }
}

impl Stream for MeshEvents {
    type Item = MeshEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<MeshEvent>> {
        self.poll_event(cx)
    }
}

impl Drop for MeshEvents {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for MeshEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshEvents").finish_non_exhaustive()
    }
}

/// Tells a watcher; what it cannot take is counted.
pub(crate) fn tell(queue: &WatchQueue, event: MeshEvent) {
    queue.push_bounded(event, WATCH_MAX, |last| match last {
        MeshEvent::Lagged(events) => *events += 1,
        other => *other = MeshEvent::Lagged(2),
    });
}

/// So many events may wait for one watcher.
const WATCH_MAX: usize = 1_024;
