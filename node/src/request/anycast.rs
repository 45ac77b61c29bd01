//! A message to one holder.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::NodeId;
use rolecast_protocol::{CallKind, Pick};

use super::one_call::OneCall;
use crate::channel::Channel;
use crate::error::SendError;

/// A message to one holder, to be awaited; see [`Channel::anycast`] and [`Channel::unicast`].
/// Dropped before it resolved, it may have arrived or not; it arrives no more if it was not on its way.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{Anycast, Pick};
/// use std::time::Duration;
///
/// // A program's own policy for jobs.
/// fn job(call: Anycast<'_>) -> Anycast<'_> {
///     call.pick(Pick::LeastOutstanding).timeout(Duration::from_secs(1))
/// }
///
/// let _inbox = node.register("worker").await?;
/// let delivered = job(node.channel("worker").anycast("resize image 4")).await?;
/// assert_eq!(delivered.node, node.id());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before this is awaited"]
pub struct Anycast<'a> {
    call: OneCall<'a>,
}

impl<'a> Anycast<'a> {
    pub(crate) fn new(channel: &'a Channel, payload: Bytes) -> Self {
        Anycast {
            call: OneCall::new(channel, payload),
        }
    }

    /// Chooses the holder so, instead of as the channel does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// use rolecast::Pick;
    ///
    /// let _inboxes = (first.register("worker").await?, second.register("worker").await?);
    /// let workers = first.channel("worker");
    /// workers.wait_for_holders(2).await?;
    /// let one = workers.anycast("resize image 4").pick(Pick::RoundRobin).await?;
    /// let other = workers.anycast("resize image 5").pick(Pick::RoundRobin).await?;
    /// assert_ne!(one.node, other.node);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pick(mut self, pick: Pick) -> Self {
        self.call.pick = Some(pick);
        self
    }

    /// Always the same holder for the same key, as long as it holds the role.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// let _inboxes = (first.register("basket").await?, second.register("basket").await?);
    /// let baskets = first.channel("basket");
    /// baskets.wait_for_holders(2).await?;
    /// let one = baskets.anycast("add a book").sticky("user 17").await?;
    /// let other = baskets.anycast("add a pen").sticky("user 17").await?;
    /// assert_eq!(one.node, other.node);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sticky(self, key: impl Into<Bytes>) -> Self {
        self.pick(Pick::Sticky(key.into()))
    }

    /// This node and no other.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inbox = node.register("worker").await?;
    /// let delivered = node.channel("worker").anycast("drain").to(node.id()).await?;
    /// assert_eq!(delivered.node, node.id());
    ///
    /// // It goes to nobody else, even if others hold the role.
    /// let refused = node.channel("idler").anycast("drain").to(node.id()).await;
    /// assert!(refused.is_err_and(|error| !error.may_have_arrived()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn to(mut self, node: NodeId) -> Self {
        self.call.node = Some(node);
        self
    }

    /// Gives up after this long instead of [`DEFAULT_TIMEOUT`](crate::DEFAULT_TIMEOUT).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use std::time::Duration;
    ///
    /// let _inbox = node.register("worker").await?;
    /// node.channel("worker").anycast("resize image 4").timeout(Duration::from_millis(500)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call.timeout = timeout;
        self
    }
}

/// Says that a message is in a holder's inbox.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{Channel, Delivered, SendError};
///
/// async fn hand_over(workers: &Channel, job: &'static str) -> Result<(), SendError> {
///     let Delivered { node, .. } = workers.anycast(job).await?;
///     println!("{node} has {job:?}, though it may not have begun");
///     Ok(())
/// }
///
/// let _inbox = node.register("worker").await?;
/// hand_over(&node.channel("worker"), "resize image 4").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The holder.
    pub node: NodeId,
}

impl<'a> IntoFuture for Anycast<'a> {
    type Output = Result<Delivered, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (node, _) = self.call.run(CallKind::OneWay).await?;
            Ok(Delivered { node })
        })
    }
}
