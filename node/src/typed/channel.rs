//! Sending values.

use std::fmt;
use std::marker::PhantomData;

use rolecast_membership::NodeId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::encode;
use super::request::{TypedRequest, TypedRequestAll};
use crate::channel::Channel;
use crate::error::SendError;
use crate::receipt::Receipt;
use crate::request::Delivered;

/// A [`Channel`] for values of type `T`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::TypedChannel;
///
/// let _inbox = node.register_of::<u64>("numbers").await?;
/// let channel: TypedChannel<u64> = node.channel_of("numbers");
/// channel.multicast(&42).await?;
/// channel.unicast(node.id(), &43).await?;
/// # Ok(())
/// # }
/// ```
pub struct TypedChannel<T> {
    pub(super) channel: Channel,
    pub(super) marker: PhantomData<fn(&T)>,
}

impl<T: Serialize> TypedChannel<T> {
    /// The channel of bytes underneath, with its options.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let channel = node.channel_of::<u32>("numbers");
    /// let nobody_yet = channel.untyped().wait_for_holders(1).timeout(std::time::Duration::from_millis(10)).await;
    /// assert!(nobody_yet.is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn untyped(&self) -> &Channel {
        &self.channel
    }

    /// The same channel with another channel underneath: `typed.with(|channel| channel.pick(..))`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::Dissemination;
    ///
    /// let _inbox = node.register_of::<f64>("telemetry").await?;
    /// let channel = node
    ///     .channel_of::<f64>("telemetry")
    ///     .with(|channel| channel.dissemination(Dissemination::BestEffort));
    /// channel.multicast(&21.5).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with(self, change: impl FnOnce(Channel) -> Channel) -> Self {
        TypedChannel {
            channel: change(self.channel),
            marker: PhantomData,
        }
    }

    /// Sends a value to every holder; see [`Channel::multicast`].
    /// Cancel safe: dropped before it resolved, nothing was sent, unless it is a large payload, which is cut short.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register_of::<(u32, String)>("users").await?;
    /// let channel = node.channel_of::<(u32, String)>("users");
    /// let receipt = channel.multicast(&(17, "Ada".to_owned())).await?;
    /// inbox.next().await;
    /// assert_eq!(receipt.acked().await?.acknowledged, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError::NotSent`] only.
    pub async fn multicast(&self, value: &T) -> Result<Receipt, SendError> {
        self.channel.multicast(encode(value)?).await
    }

    /// Sends a value to any one holder; see [`Channel::anycast`].
    /// Dropped before it resolved, it may have arrived or not; it arrives no more if it was not on its way.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inbox = node.register_of::<u32>("resize").await?;
    /// let delivered = node.channel_of::<u32>("resize").anycast(&4).await?;
    /// assert_eq!(delivered.node, node.id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`] says whether it may have arrived.
    pub async fn anycast(&self, value: &T) -> Result<Delivered, SendError> {
        self.channel.anycast(encode(value)?).await
    }

    /// Sends a value to one certain node; see [`Channel::unicast`].
    /// Dropped before it resolved, it may have arrived or not; it arrives no more if it was not on its way.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inbox = node.register_of::<u32>("resize").await?;
    /// let channel = node.channel_of::<u32>("resize");
    /// for member in node.members().await {
    ///     if member.holds("resize") {
    ///         channel.unicast(member.id, &4).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`] says whether it may have arrived.
    pub async fn unicast(&self, node: NodeId, value: &T) -> Result<Delivered, SendError> {
        self.channel.unicast(node, encode(value)?).await
    }

    /// Asks any one holder, and awaits its reply of type `R`; see [`Channel::request`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::TypedItem;
    /// let mut inbox = node.register_of::<(u32, u32)>("sum").await?;
    /// tokio::spawn(async move {
    ///     while let Some(TypedItem::Message(message)) = inbox.next().await {
    ///         let (a, b) = message.value;
    ///         let _ = message.reply(&(a + b)).await;
    ///     }
    /// });
    /// let reply = node.channel_of("sum").request::<u32>(&(40u32, 2u32)).await?;
    /// assert_eq!(reply.value, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn request<R: DeserializeOwned>(&self, value: &T) -> TypedRequest<'_, R> {
        let request = encode(value).map(|payload| self.channel.request(payload));
        TypedRequest {
            request,
            marker: PhantomData,
        }
    }

    /// Asks every holder; see [`Channel::request_all`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # let mut inbox = node.register_of::<String>("length").await?;
    /// # tokio::spawn(async move {
    /// #     while let Some(rolecast::TypedItem::Message(message)) = inbox.next().await {
    /// #         let value = &message.value;
    /// #         let answer = value.len();
    /// #         let _ = message.reply(&answer).await;
    /// #     }
    /// # });
    ///
    /// let channel = node.channel_of::<String>("length");
    /// let mut answers = channel.request_all::<usize>(&"four".to_owned()).await?;
    /// while let Some(answer) = answers.next().await {
    ///     assert_eq!(answer.result?, 4);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_all<R: DeserializeOwned>(&self, value: &T) -> TypedRequestAll<'_, R> {
        let request = encode(value).map(|payload| self.channel.request_all(payload));
        TypedRequestAll {
            request,
            marker: PhantomData,
        }
    }
}

impl<T> Clone for TypedChannel<T> {
    fn clone(&self) -> Self {
        TypedChannel {
            channel: self.channel.clone(),
            marker: PhantomData,
        }
    }
}

impl<T> fmt::Debug for TypedChannel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.channel.fmt(f)
    }
}
