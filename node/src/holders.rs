//! Who holds a role, and how that changes.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use rolecast_membership::NodeId;
use tokio::sync::{oneshot, watch};

use crate::channel::Channel;
use crate::command::Command;
use crate::error::{ClosedReason, WaitError};

impl Channel {
    /// Who is meant by what is sent over this channel at this moment, as this node sees it, in the order of their ids.
    /// Cancel safe: it only looks.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").site("ams").start().await?;
    /// let replicas = node.channel("db:replica");
    /// assert!(replicas.holders().await?.is_empty());
    ///
    /// let _inbox = node.register("db:replica").await?;
    /// assert_eq!(replicas.holders().await?, [node.id()]);
    /// assert!(replicas.in_site("fra").holders().await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`WaitError::Role`] or [`WaitError::Closed`].
    pub async fn holders(&self) -> Result<Vec<NodeId>, WaitError> {
        let outbox = self.outbox.as_ref().map_err(Clone::clone)?;
        let (done, holders) = oneshot::channel();
        self.shared.submit(Command::Follow {
            role: Arc::clone(&outbox.role),
            done: Some(done),
        })?;
        let holders = holders.await;
        Ok(holders.map_err(|_| self.shared.closed_reason())?)
    }

    /// How the holders change: first those of this moment as they [come](HolderChange::Came), and then who comes and goes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::HolderChange;
    ///
    /// let inbox = node.register("db:master").await?;
    /// let mut masters = node.channel("db:master").holder_changes()?;
    /// assert_eq!(masters.next().await, Some(HolderChange::Came(node.id())));
    /// drop(inbox);
    /// assert_eq!(masters.next().await, Some(HolderChange::Went(node.id())));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`WaitError::Role`] or [`WaitError::Closed`].
    pub fn holder_changes(&self) -> Result<HolderChanges, WaitError> {
        let outbox = self.outbox.as_ref().map_err(Clone::clone)?;
        let mut list = outbox.role.follow(&self.shared)?;
        // Those who are there have not been told of.
        list.mark_changed();
        Ok(HolderChanges {
            channel: self.clone(),
            known: Arc::new([]),
            changes: VecDeque::new(),
            next: Some(next_list(list, self.shared.watch_closed())),
        })
    }
}

/// That a node is, or is no longer, among those whom a channel reaches.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::HolderChange;
///
/// let _inbox = node.register("worker").await?;
/// let mut workers = node.channel("worker").holder_changes()?;
/// match workers.next().await {
///     Some(HolderChange::Came(worker)) => println!("{worker} can be given something to do"),
///     Some(HolderChange::Went(worker)) => println!("{worker} takes nothing more"),
///     None => println!("this node is closed"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderChange {
    /// It took the role up, joined, or came to the place that the channel is for.
    Came(NodeId),
    /// It dropped the role, left, was declared down, or went elsewhere.
    Went(NodeId),
}

/// The stream of how a channel's holders change; see [`Channel::holder_changes`].
///
/// It keeps nothing but the holders that it has told of: whoever comes and goes while nobody looks is not told of, so that it takes no more memory for a program that looks seldom.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use std::collections::BTreeSet;
/// use rolecast::{HolderChange, HolderChanges};
///
/// /// Waits until a role has exactly so many holders.
/// async fn settled(mut changes: HolderChanges, wanted: usize) -> bool {
///     let mut holders = BTreeSet::new();
///     while holders.len() != wanted {
///         match changes.next().await {
///             Some(HolderChange::Came(node)) => holders.insert(node),
///             Some(HolderChange::Went(node)) => holders.remove(&node),
///             None => return false,
///         };
///     }
///     true
/// }
///
/// let _inbox = node.register("worker").await?;
/// assert!(settled(node.channel("worker").holder_changes()?, 1).await);
/// # Ok(())
/// # }
/// ```
pub struct HolderChanges {
    /// Keeps the role followed.
    channel: Channel,
    known: Arc<[NodeId]>,
    changes: VecDeque<HolderChange>,
    next: Option<NextList>,
}

type List = watch::Receiver<Option<Arc<[NodeId]>>>;
type Closed = watch::Receiver<Option<ClosedReason>>;
/// The next list that is not the one before, with what it came over.
type NextList = Pin<Box<dyn Future<Output = Option<(Arc<[NodeId]>, List, Closed)>> + Send>>;

impl HolderChanges {
    /// The next change; `None` after the node was closed.
    ///
    /// Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut changes = node.channel("nobody").holder_changes()?;
    /// node.shutdown().await;
    /// assert_eq!(changes.next().await, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<HolderChange> {
        std::future::poll_fn(|cx| self.poll_change(cx)).await
    }

    fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Option<HolderChange>> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Poll::Ready(Some(change));
            }
            let Some(next) = &mut self.next else {
                return Poll::Ready(None);
            };
            let Some((list, receiver, closed)) = ready!(next.as_mut().poll(cx)) else {
                self.next = None;
                continue;
            };
            self.next = Some(next_list(receiver, closed));
            let went = self.known.iter().filter(|node| !list.contains(node));
            let came = list.iter().filter(|node| !self.known.contains(node));
            self.changes.extend(went.copied().map(HolderChange::Went));
            self.changes.extend(came.copied().map(HolderChange::Came));
            self.known = list;
        }
    }
}

fn next_list(mut list: List, mut closed: Closed) -> NextList {
    Box::pin(async move {
        let next = async {
            loop {
                list.changed().await.ok()?;
                if let Some(next) = list.borrow_and_update().clone() {
                    return Some(next);
                }
            }
        };
        let next = tokio::select! {
            biased;
            _ = closed.wait_for(Option::is_some) => None,
            next = next => next,
        };
        next.map(|next| (next, list, closed))
    })
}

impl Stream for HolderChanges {
    type Item = HolderChange;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<HolderChange>> {
        self.poll_change(cx)
    }
}

impl fmt::Debug for HolderChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HolderChanges")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}
