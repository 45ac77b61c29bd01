//! Requests whose replies are values.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use rolecast_membership::NodeId;
use rolecast_protocol::Pick;
use serde::de::DeserializeOwned;

use super::codec::{DecodeError, decode};
use crate::answers::Answers;
use crate::error::{NoAnswer, NotSent, SendError};
use crate::request::{Request, RequestAll};

/// A request with a typed reply, to be awaited; see [`TypedChannel::request`](crate::TypedChannel::request).
/// Dropped before it resolved, it is given up, as a [`Request`](crate::Request) is.
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
/// use rolecast::TypedRequest;
/// use std::time::Duration;
///
/// // A program's own policy, whatever the reply is.
/// fn hurried<R>(request: TypedRequest<'_, R>) -> TypedRequest<'_, R> {
///     request.timeout(Duration::from_secs(1))
/// }
///
/// let channel = node.channel_of::<String>("length");
/// let reply = hurried(channel.request::<usize>(&"four".to_owned())).await?;
/// assert_eq!(reply.value, 4);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before this is awaited"]
pub struct TypedRequest<'a, R> {
    pub(super) request: Result<Request<'a>, NotSent>,
    pub(super) marker: PhantomData<fn() -> R>,
}

impl<'a, R> TypedRequest<'a, R> {
    /// As [`Request::timeout`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use std::time::Duration;
    ///
    /// let _not_read = node.register_of::<String>("length").await?;
    /// let channel = node.channel_of::<String>("length");
    /// let request = channel.request::<usize>(&"four".to_owned());
    /// assert!(request.timeout(Duration::from_millis(20)).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|request| request.timeout(timeout))
    }

    /// As [`Request::pick`].
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
    /// let channel = node.channel_of::<String>("length");
    ///
    /// use rolecast::Pick;
    ///
    /// let reply = channel.request::<usize>(&"four".to_owned()).pick(Pick::LeastOutstanding).await?;
    /// assert_eq!(reply.value, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pick(self, pick: Pick) -> Self {
        self.with(|request| request.pick(pick))
    }

    /// As [`Request::sticky`].
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
    /// let channel = node.channel_of::<String>("length");
    ///
    /// let one = channel.request::<usize>(&"four".to_owned()).sticky("user 17").await?;
    /// let other = channel.request::<usize>(&"seven".to_owned()).sticky("user 17").await?;
    /// assert_eq!(one.node, other.node);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sticky(self, key: impl Into<Bytes>) -> Self {
        self.with(|request| request.sticky(key))
    }

    /// As [`Request::to`].
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
    /// let channel = node.channel_of::<String>("length");
    ///
    /// let reply = channel.request::<usize>(&"four".to_owned()).to(node.id()).await?;
    /// assert_eq!((reply.node, reply.value), (node.id(), 4));
    /// # Ok(())
    /// # }
    /// ```
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
/// let channel = node.channel_of::<String>("length");
///
/// use rolecast::TypedReply;
///
/// let TypedReply { node: who, value, .. } = channel.request::<usize>(&"four".to_owned()).await?;
/// println!("{who} has counted {value} letters");
/// assert_eq!(value, 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypedReply<R> {
    /// The holder.
    pub node: NodeId,
    /// Its answer.
    pub value: R,
}

/// Why a typed request has no reply.
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
/// let channel = node.channel_of::<String>("length");
///
/// use rolecast::TypedRequestError;
///
/// // The holder replies with a number, and whoever asks takes it for a text.
/// match channel.request::<String>(&"four".to_owned()).await {
///     Ok(reply) => panic!("{} is no text", reply.value),
///     Err(TypedRequestError::Send(error)) => println!("it may have been done: {}", error.may_have_arrived()),
///     Err(TypedRequestError::Decode { node: who, .. }) => assert_eq!(who, node.id()),
///     Err(_) => {}
/// }
/// # Ok(())
/// # }
/// ```
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

/// A request to all with typed replies, to be awaited; see [`TypedChannel::request_all`](crate::TypedChannel::request_all).
/// Dropped before it resolved, it is given up, as a [`RequestAll`](crate::RequestAll) is.
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
/// use rolecast::TypedRequestAll;
/// use std::time::Duration;
///
/// // How long a program waits for the slowest, whatever the replies are.
/// fn at_leisure<R>(request: TypedRequestAll<'_, R>) -> TypedRequestAll<'_, R> {
///     request.timeout(Duration::from_secs(60))
/// }
///
/// let channel = node.channel_of::<String>("length");
/// let mut answers = at_leisure(channel.request_all::<usize>(&"four".to_owned())).await?;
/// assert_eq!(answers.next().await.expect("there is a holder").result?, 4);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before this is awaited"]
pub struct TypedRequestAll<'a, R> {
    pub(super) request: Result<RequestAll<'a>, NotSent>,
    pub(super) marker: PhantomData<fn() -> R>,
}

impl<R> TypedRequestAll<'_, R> {
    /// As [`RequestAll::timeout`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use std::time::Duration;
    ///
    /// let _not_read = node.register_of::<String>("length").await?;
    /// let channel = node.channel_of::<String>("length");
    /// let request = channel.request_all::<usize>(&"four".to_owned());
    /// let mut answers = request.timeout(Duration::from_millis(20)).await?;
    /// assert!(answers.next().await.expect("every holder is named").result.is_err());
    /// # Ok(())
    /// # }
    /// ```
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
/// let channel = node.channel_of::<String>("length");
///
/// use rolecast::TypedAnswer;
///
/// let mut answers = channel.request_all::<usize>(&"four".to_owned()).await?;
/// while let Some(TypedAnswer { node, result, .. }) = answers.next().await {
///     match result {
///         Ok(length) => assert_eq!(length, 4),
///         Err(why) => println!("nothing from {node}: {why}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypedAnswer<R> {
    /// The holder.
    pub node: NodeId,
    /// What it replied, or why there is no value.
    pub result: Result<R, TypedNoAnswer>,
}

/// Why one holder's answer has no value.
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
/// let channel = node.channel_of::<String>("length");
///
/// use rolecast::TypedNoAnswer;
///
/// // The holder replies with a number, and whoever asks takes it for a text.
/// let mut answers = channel.request_all::<String>(&"four".to_owned()).await?;
/// let answer = answers.next().await.expect("there is a holder");
/// match answer.result {
///     Err(TypedNoAnswer::NoAnswer(why)) => println!("{} did not answer: {why}", answer.node),
///     Err(TypedNoAnswer::Decode(error)) => assert!(error.to_string().contains("String")),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
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
/// let channel = node.channel_of::<String>("length");
///
/// use futures_util::StreamExt as _;
/// use rolecast::TypedAnswers;
///
/// let answers: TypedAnswers<usize> = channel.request_all(&"four".to_owned()).await?;
/// let lengths: Vec<usize> = answers.filter_map(|answer| std::future::ready(answer.result.ok())).collect().await;
/// assert_eq!(lengths, [4]);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping the answers gives the request up"]
pub struct TypedAnswers<R> {
    answers: Answers,
    pub(super) marker: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> TypedAnswers<R> {
    /// The next answer; `None` after the last.
    ///
    /// Cancel safe.
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
    /// let channel = node.channel_of::<String>("length");
    ///
    /// let mut answers = channel.request_all::<usize>(&"four".to_owned()).await?;
    /// assert_eq!(answers.next().await.expect("there is a holder").node, node.id());
    /// assert!(answers.next().await.is_none());
    /// # Ok(())
    /// # }
    /// ```
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
