//! Channels and inboxes of values instead of bytes, written with postcard.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use rolecast_membership::{Epoch, NodeId, RoleName};
use rolecast_protocol::{Gap, Pick, Seq};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answers::Answers;
use crate::channel::Channel;
use crate::error::{
    ClosedReason, DecodeError, NoAnswer, NotSent, RegisterError, ReplyError, SendError,
};
use crate::inbox::{Inbox, InboxItem};
use crate::message::Message;
use crate::node::Node;
use crate::receipt::Receipt;
use crate::request::{Delivered, Request, RequestAll};

impl Node {
    /// A handle to send values of type `T` to a role.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::TypedItem;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// enum Event {
    ///     UserAdded { id: u32 },
    /// }
    ///
    /// let mut inbox = node.register_of::<Event>("users").await?;
    /// node.channel_of("users").multicast(&Event::UserAdded { id: 17 }).await?;
    /// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(message.value, Event::UserAdded { id: 17 });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn channel_of<T: Serialize>(&self, role: impl AsRef<str>) -> TypedChannel<T> {
        TypedChannel {
            channel: self.channel(role),
            marker: PhantomData,
        }
    }

    /// Takes up a role that receives values of type `T`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::TypedItem;
    ///
    /// let mut inbox = node.register_of::<(u32, String)>("pairs").await?;
    /// node.channel("pairs").multicast("rubbish").await?;
    /// match inbox.next().await {
    ///     Some(TypedItem::Undecodable { message, error }) => println!("{}: {error}", message.origin()),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Node::register`].
    pub async fn register_of<T: DeserializeOwned>(
        &self,
        role: impl AsRef<str>,
    ) -> Result<TypedInbox<T>, RegisterError> {
        Ok(TypedInbox {
            inbox: self.register(role).await?,
            marker: PhantomData,
        })
    }
}

/// A [`Channel`] for values of type `T`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// let _inbox = node.register_of::<u64>("numbers").await?;
/// let channel = node.channel_of::<u64>("numbers");
/// channel.multicast(&42).await?;
/// channel.unicast(node.id(), &43).await?;
/// # Ok(())
/// # }
/// ```
pub struct TypedChannel<T> {
    channel: Channel,
    marker: PhantomData<fn(&T)>,
}

impl<T: Serialize> TypedChannel<T> {
    /// The channel of bytes underneath, with its options.
    #[must_use]
    pub fn untyped(&self) -> &Channel {
        &self.channel
    }

    /// The same channel with another channel underneath: `typed.with(|channel| channel.pick(..))`.
    #[must_use]
    pub fn with(self, change: impl FnOnce(Channel) -> Channel) -> Self {
        TypedChannel {
            channel: change(self.channel),
            marker: PhantomData,
        }
    }

    /// Sends a value to every holder; see [`Channel::multicast`].
    ///
    /// # Errors
    /// [`SendError::NotSent`] only.
    pub async fn multicast(&self, value: &T) -> Result<Receipt, SendError> {
        self.channel.multicast(encode(value)?).await
    }

    /// Sends a value to any one holder; see [`Channel::anycast`].
    ///
    /// # Errors
    /// [`SendError`] says whether it may have arrived.
    pub async fn anycast(&self, value: &T) -> Result<Delivered, SendError> {
        self.channel.anycast(encode(value)?).await
    }

    /// Sends a value to one certain node; see [`Channel::unicast`].
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

/// A request with a typed reply, to be awaited; see [`TypedChannel::request`].
#[must_use = "nothing is sent before this is awaited"]
pub struct TypedRequest<'a, R> {
    request: Result<Request<'a>, NotSent>,
    marker: PhantomData<fn() -> R>,
}

impl<'a, R> TypedRequest<'a, R> {
    /// As [`Request::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|request| request.timeout(timeout))
    }

    /// As [`Request::pick`].
    pub fn pick(self, pick: Pick) -> Self {
        self.with(|request| request.pick(pick))
    }

    /// As [`Request::sticky`].
    pub fn sticky(self, key: impl Into<Bytes>) -> Self {
        self.with(|request| request.sticky(key))
    }

    /// As [`Request::to`].
    pub fn to(self, node: NodeId) -> Self {
        self.with(|request| request.to(node))
    }

    fn with(self, change: impl FnOnce(Request<'a>) -> Request<'a>) -> Self {
        TypedRequest {
            request: self.request.map(change),
            marker: PhantomData,
        }
    }
}

/// A holder's typed reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypedReply<R> {
    /// The holder.
    pub node: NodeId,
    /// Its answer.
    pub value: R,
}

/// Why a typed request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypedRequestError {
    /// The request failed.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A holder replied with something else: it has acted on the request.
    #[error("node {node} replied with something else: {error}")]
    Decode {
        /// The holder.
        node: NodeId,
        /// What is wrong with its reply.
        error: DecodeError,
    },
}

impl<'a, R: DeserializeOwned> IntoFuture for TypedRequest<'a, R> {
    type Output = Result<TypedReply<R>, TypedRequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let request = self.request;
        Box::pin(async move {
            let reply = request.map_err(SendError::from)?.await?;
            match decode(&reply.payload) {
                Ok(value) => Ok(TypedReply {
                    node: reply.node,
                    value,
                }),
                Err(error) => Err(TypedRequestError::Decode {
                    node: reply.node,
                    error,
                }),
            }
        })
    }
}

/// A request to all with typed replies, to be awaited; see [`TypedChannel::request_all`].
#[must_use = "nothing is sent before this is awaited"]
pub struct TypedRequestAll<'a, R> {
    request: Result<RequestAll<'a>, NotSent>,
    marker: PhantomData<fn() -> R>,
}

impl<R> TypedRequestAll<'_, R> {
    /// As [`RequestAll::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        let request = self.request.map(|request| request.timeout(timeout));
        TypedRequestAll {
            request,
            marker: PhantomData,
        }
    }
}

impl<'a, R: DeserializeOwned> IntoFuture for TypedRequestAll<'a, R> {
    type Output = Result<TypedAnswers<R>, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let request = self.request;
        Box::pin(async move {
            Ok(TypedAnswers {
                answers: request?.await?,
                marker: PhantomData,
            })
        })
    }
}

/// One holder's typed answer to a request to all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypedAnswer<R> {
    /// The holder.
    pub node: NodeId,
    /// What it replied, or why there is no value.
    pub result: Result<R, TypedNoAnswer>,
}

/// Why one holder's answer has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypedNoAnswer {
    /// It did not answer.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// It replied with something else.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The typed answers to a request to all holders; see [`Answers`].
#[must_use = "dropping the answers gives the request up"]
pub struct TypedAnswers<R> {
    answers: Answers,
    marker: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> TypedAnswers<R> {
    /// The next answer; `None` after the last.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<TypedAnswer<R>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<R: DeserializeOwned> Stream for TypedAnswers<R> {
    type Item = TypedAnswer<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TypedAnswer<R>>> {
        Pin::new(&mut self.answers).poll_next(cx).map(|answer| {
            let answer = answer?;
            let result = match answer.result {
                Ok(payload) => decode(&payload).map_err(TypedNoAnswer::from),
                Err(why) => Err(why.into()),
            };
            Some(TypedAnswer {
                node: answer.node,
                result,
            })
        })
    }
}

/// What comes out of a [`TypedInbox`].
#[derive(Debug)]
#[non_exhaustive]
pub enum TypedItem<T> {
    /// A value.
    Message(TypedMessage<T>),
    /// A message that is no value of type `T`.
    Undecodable {
        /// The message.
        message: Message,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// Messages that were meant for this inbox and will never come.
    Gap(Gap),
    /// Nothing more will come; the inbox ends after this.
    Closed(ClosedReason),
}

impl<T> TypedItem<T> {
    /// The value with what is known about it, if it is one.
    #[must_use]
    pub fn into_message(self) -> Option<TypedMessage<T>> {
        match self {
            TypedItem::Message(message) => Some(message),
            _ => None,
        }
    }
}

/// A value that came to a role.
#[derive(Debug)]
pub struct TypedMessage<T> {
    /// The value.
    pub value: T,
    message: Message,
}

impl<T> TypedMessage<T> {
    /// The node that sent it.
    #[must_use]
    pub fn origin(&self) -> NodeId {
        self.message.origin()
    }

    /// The life in which that node sent it.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.message.epoch()
    }

    /// The role that it was sent to.
    #[must_use]
    pub fn role(&self) -> &RoleName {
        self.message.role()
    }

    /// As [`Message::seq`].
    #[must_use]
    pub fn seq(&self) -> Option<Seq> {
        self.message.seq()
    }

    /// Whether the origin awaits a reply.
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.message.is_request()
    }

    /// Answers a request with a value; as [`Message::reply`].
    ///
    /// # Errors
    /// [`ReplyError`] says why no answer was sent.
    pub async fn reply<R: Serialize>(self, value: &R) -> Result<(), ReplyError> {
        self.message.reply_with(value).await
    }

    /// As [`Message::cancelled`].
    pub async fn cancelled(&self) {
        self.message.cancelled().await;
    }

    /// The value, and the message it came in.
    #[must_use = "dropping a request without a reply refuses it"]
    pub fn into_parts(self) -> (T, Message) {
        (self.value, self.message)
    }
}

impl Message {
    /// Answers a request with a value; as [`Message::reply`].
    ///
    /// # Errors
    /// [`ReplyError`] says why no answer was sent.
    pub async fn reply_with<R: Serialize>(self, value: &R) -> Result<(), ReplyError> {
        let payload = postcard::to_stdvec(value).map_err(ReplyError::Encode)?;
        self.reply(payload).await
    }
}

/// An [`Inbox`] of values of type `T`.
///
/// Bytes that are no such value come out as [`TypedItem::Undecodable`]; a request among them is refused when the item is dropped.
pub struct TypedInbox<T> {
    inbox: Inbox,
    marker: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> TypedInbox<T> {
    /// The next item; `None` after the end.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<TypedItem<T>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// As [`Inbox::unregister`].
    ///
    /// # Errors
    /// As [`Inbox::unregister`].
    pub async fn unregister(&mut self) -> Result<(), ClosedReason> {
        self.inbox.unregister().await
    }
}

impl<T: DeserializeOwned> Stream for TypedInbox<T> {
    type Item = TypedItem<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TypedItem<T>>> {
        Pin::new(&mut self.inbox).poll_next(cx).map(|item| {
            Some(match item? {
                InboxItem::Message(message) => match decode(message.payload()) {
                    Ok(value) => TypedItem::Message(TypedMessage { value, message }),
                    Err(error) => TypedItem::Undecodable { message, error },
                },
                InboxItem::Gap(gap) => TypedItem::Gap(gap),
                InboxItem::Closed(reason) => TypedItem::Closed(reason),
            })
        })
    }
}

impl<T> fmt::Debug for TypedInbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inbox.fmt(f)
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes, NotSent> {
    postcard::to_stdvec(value)
        .map(Bytes::from)
        .map_err(NotSent::Encode)
}

/// A value must use up all of the payload: left-over bytes mean another type.
fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeError> {
    let error = |source| DecodeError {
        expected: std::any::type_name::<T>(),
        source,
    };
    let (value, rest) = postcard::take_from_bytes(payload).map_err(error)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(error(postcard::Error::DeserializeBadEncoding))
    }
}
