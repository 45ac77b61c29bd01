//! Sending to one holder, and asking one holder or all.

mod all;
mod anycast;
mod one_call;

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::NodeId;
use rolecast_protocol::{Answer as EngineAnswer, CallKind, Pick};

pub(crate) use all::Asking;
pub use all::RequestAll;
pub use anycast::{Anycast, Delivered};

use crate::channel::Channel;
use crate::error::{SendError, Unknown};
use crate::request::one_call::OneCall;

/// How long a call may take when its caller does not say.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # let mut inbox = node.register("clock").await?;
/// # tokio::spawn(async move {
/// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
/// #         let _ = message.reply("noon").await;
/// #     }
/// # });
///
/// use rolecast::DEFAULT_TIMEOUT;
/// use std::time::Duration;
///
/// // Whoever has to be done in two seconds does not wait for longer.
/// let left = Duration::from_secs(2);
/// node.channel("clock").request("what time is it?").timeout(left.min(DEFAULT_TIMEOUT)).await?;
/// # Ok(())
/// # }
/// ```
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A request to one holder, to be awaited; see [`Channel::request`].
/// Dropped before it resolved, it is given up: it may have arrived, and then the holder is told ([`Message::cancelled`](crate::Message::cancelled)).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # let mut inbox = node.register("db").await?;
/// # tokio::spawn(async move {
/// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
/// #         let _ = message.reply("42").await;
/// #     }
/// # });
///
/// use rolecast::Request;
/// use std::time::Duration;
///
/// // A program's own policy for reads.
/// fn read<'a>(request: Request<'a>, user: &str) -> Request<'a> {
///     request.sticky(user.to_owned()).timeout(Duration::from_secs(1))
/// }
///
/// let reply = read(node.channel("db").request("balance"), "user 17").await?;
/// assert_eq!(reply.payload, "42");
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before this is awaited"]
pub struct Request<'a> {
    call: OneCall<'a>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(channel: &'a Channel, payload: Bytes) -> Self {
        Request {
            call: OneCall::new(channel, payload),
        }
    }

    /// Chooses the holder so, instead of as the channel does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # let mut inbox = node.register("db").await?;
    /// # tokio::spawn(async move {
    /// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
    /// #         let _ = message.reply("42").await;
    /// #     }
    /// # });
    ///
    /// use rolecast::Pick;
    ///
    /// let reply = node.channel("db").request("balance").pick(Pick::LeastOutstanding).await?;
    /// assert_eq!(reply.payload, "42");
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
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # let mut inbox = node.register("db").await?;
    /// # tokio::spawn(async move {
    /// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
    /// #         let _ = message.reply("42").await;
    /// #     }
    /// # });
    ///
    /// let channel = node.channel("db");
    /// let one = channel.request("balance").sticky("user 17").await?;
    /// let other = channel.request("balance").sticky("user 17").await?;
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
    /// # let mut inbox = node.register("db").await?;
    /// # tokio::spawn(async move {
    /// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
    /// #         let _ = message.reply("42").await;
    /// #     }
    /// # });
    ///
    /// let reply = node.channel("db").request("how many rows have you?").to(node.id()).await?;
    /// assert_eq!(reply.node, node.id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn to(mut self, node: NodeId) -> Self {
        self.call.node = Some(node);
        self
    }

    /// Gives up after this long instead of [`DEFAULT_TIMEOUT`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::{SendError, Unknown};
    /// use std::time::Duration;
    ///
    /// let _not_read = node.register("db").await?;
    /// let error = node.channel("db").request("balance").timeout(Duration::from_millis(20)).await.unwrap_err();
    /// assert_eq!(error, SendError::Unknown(Unknown::TimedOut));
    /// assert!(error.may_have_arrived());
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call.timeout = timeout;
        self
    }
}

/// What a holder answered.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # let mut inbox = node.register("db").await?;
/// # tokio::spawn(async move {
/// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
/// #         let _ = message.reply("42").await;
/// #     }
/// # });
///
/// use rolecast::{Channel, Reply, SendError};
///
/// async fn balance(db: &Channel) -> Result<String, SendError> {
///     let Reply { node, payload, .. } = db.request("balance").await?;
///     println!("{node} has answered");
///     Ok(String::from_utf8_lossy(&payload).into_owned())
/// }
///
/// assert_eq!(balance(&node.channel("db")).await?, "42");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// The holder.
    pub node: NodeId,
    /// Its answer.
    pub payload: Bytes,
}

impl<'a> IntoFuture for Request<'a> {
    type Output = Result<Reply, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.call.run(CallKind::Request).await? {
                (node, EngineAnswer::Reply(payload)) => Ok(Reply { node, payload }),
                _ => Err(SendError::Unknown(Unknown::HolderGone)),
            }
        })
    }
}
