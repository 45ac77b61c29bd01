//! Receiving values.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use rolecast_membership::{Epoch, NodeId, RoleName};
use rolecast_protocol::{Gap, Lagged, Seq, Started};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{DecodeError, decode};
use crate::error::{ClosedReason, ReplyError};
use crate::inbox::{Inbox, InboxItem};
use crate::large::{Gathering, LargeMessage, PayloadError};
use crate::message::{Message, Source};

/// What comes out of a [`TypedInbox`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::TypedItem;
///
/// let mut inbox = node.register_of::<u32>("numbers").await?;
/// node.channel_of("numbers").multicast(&17u32).await?;
/// node.channel("numbers").multicast("seventeen").await?;
/// let mut sum = 0;
/// for _ in 0..2 {
///     match inbox.next().await {
///         Some(TypedItem::Message(message)) => sum += message.value,
///         Some(TypedItem::Undecodable { message, error }) => println!("from {}: {error}", message.origin()),
///         Some(TypedItem::Gap(gap)) => println!("the sum lacks something: {gap:?}"),
///         _ => break,
///     }
/// }
/// assert_eq!(sum, 17);
/// # Ok(())
/// # }
/// ```
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
    /// A value so large that it came in parts, of which the last ones did not come.
    Incomplete {
        /// Who sent it.
        origin: NodeId,
        /// Why they did not come.
        error: PayloadError,
    },
    /// Messages that were meant for this inbox and will never come.
    Gap(Gap),
    /// A sender had sent to the role before this node held it; as [`InboxItem::Started`].
    Started(Started),
    /// A sender went on without this program, which was too slow; as [`InboxItem::Lagged`].
    Lagged(Lagged),
    /// Nothing more will come; the inbox ends after this.
    Closed(ClosedReason),
}

impl<T> TypedItem<T> {
    /// The value with what is known about it, if it is one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register_of::<u32>("numbers").await?;
    /// node.channel_of::<u32>("numbers").multicast(&17).await?;
    /// let message = inbox.next().await.and_then(|item| item.into_message());
    /// assert_eq!(message.expect("nothing is lost here").value, 17);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_message(self) -> Option<TypedMessage<T>> {
        match self {
            TypedItem::Message(message) => Some(message),
            _ => None,
        }
    }
}

/// A value that came to a role.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{TypedItem, TypedMessage};
///
/// fn log(message: &TypedMessage<u32>) -> String {
///     format!("{} from {}", message.value, message.origin())
/// }
///
/// let mut inbox = node.register_of::<u32>("numbers").await?;
/// node.channel_of::<u32>("numbers").multicast(&17).await?;
/// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
/// assert_eq!(log(&message), format!("17 from {}", node.id()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TypedMessage<T> {
    /// The value.
    pub value: T,
    message: Message,
}

impl<T> TypedMessage<T> {
    /// The node that sent it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::TypedItem;
    /// let mut inbox = node.register_of::<u32>("numbers").await?;
    /// node.channel_of::<u32>("numbers").multicast(&17).await?;
    /// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(message.origin(), node.id());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn origin(&self) -> NodeId {
        self.message.origin()
    }

    /// The life in which that node sent it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::TypedItem;
    /// let mut inbox = node.register_of::<u32>("numbers").await?;
    /// node.channel_of::<u32>("numbers").multicast(&17).await?;
    /// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(message.epoch(), node.epoch());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.message.epoch()
    }

    /// The role that it was sent to.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::TypedItem;
    /// let mut inbox = node.register_of::<u32>("numbers").await?;
    /// node.channel_of::<u32>("numbers").multicast(&17).await?;
    /// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(message.role().as_str(), "numbers");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn role(&self) -> &RoleName {
        self.message.role()
    }

    /// As [`Message::seq`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::TypedItem;
    /// let mut inbox = node.register_of::<u32>("numbers").await?;
    /// node.channel_of::<u32>("numbers").multicast(&17).await?;
    /// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(message.seq().map(|seq| seq.0), Some(1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn seq(&self) -> Option<Seq> {
        self.message.seq()
    }

    /// Whether the origin awaits a reply.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::TypedItem;
    /// let mut inbox = node.register_of::<u32>("square").await?;
    /// let channel = node.channel_of::<u32>("square");
    /// let asking = tokio::spawn(async move { channel.request::<u32>(&12).await });
    ///
    /// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert!(message.is_request());
    /// message.reply(&144u32).await?;
    /// assert_eq!(asking.await??.value, 144);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.message.is_request()
    }

    /// Answers a request with a value; as [`Message::reply`].
    /// Dropped before it resolved, the answer may have been sent or not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::TypedItem;
    /// let mut inbox = node.register_of::<u32>("square").await?;
    /// let channel = node.channel_of::<u32>("square");
    /// let asking = tokio::spawn(async move { channel.request::<u32>(&12).await });
    ///
    /// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// let square = message.value * message.value;
    /// message.reply(&square).await?;
    /// assert_eq!(asking.await??.value, 144);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplyError`] says why no answer was sent.
    pub async fn reply<R: Serialize>(self, value: &R) -> Result<(), ReplyError> {
        self.message.reply_with(value).await
    }

    /// As [`Message::cancelled`].
    /// Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// # use rolecast::TypedItem;
    /// let mut inbox = second.register_of::<u32>("square").await?;
    /// let channel = first.channel_of::<u32>("square");
    /// channel.untyped().wait_for_holders(1).await?;
    /// let asking = tokio::spawn(async move { channel.request::<u32>(&12).await });
    ///
    /// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// asking.abort();
    /// message.cancelled().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancelled(&self) {
        self.message.cancelled().await;
    }

    /// The value, and the message it came in.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::TypedItem;
    /// let mut inbox = node.register_of::<u32>("square").await?;
    /// let channel = node.channel_of::<u32>("square");
    /// let asking = tokio::spawn(async move { channel.request::<u32>(&12).await });
    ///
    /// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// let (number, message) = message.into_parts();
    /// // Whoever answers later keeps the request alone.
    /// message.reply_with(&(number * number)).await?;
    /// assert_eq!(asking.await??.value, 144);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "dropping a request without a reply refuses it"]
    pub fn into_parts(self) -> (T, Message) {
        (self.value, self.message)
    }
}

impl Message {
    /// Answers a request with a value; as [`Message::reply`].
    /// Dropped before it resolved, the answer may have been sent or not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = node.register("length").await?;
    /// let channel = node.channel_of::<String>("length");
    /// let asking = tokio::spawn(async move { channel.request::<u64>(&"four".to_owned()).await });
    ///
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// // postcard writes the length of a text before it.
    /// let length = message.payload().len() as u64 - 1;
    /// message.reply_with(&length).await?;
    /// assert_eq!(asking.await??.value, 4);
    /// # Ok(())
    /// # }
    /// ```
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
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{TypedInbox, TypedItem};
///
/// async fn sum(mut inbox: TypedInbox<u32>) -> u32 {
///     let mut sum = 0;
///     while let Some(TypedItem::Message(message)) = inbox.next().await {
///         sum += message.value;
///     }
///     sum
/// }
///
/// let inbox = node.register_of::<u32>("numbers").await?;
/// let summing = tokio::spawn(sum(inbox));
/// let channel = node.channel_of::<u32>("numbers");
/// channel.multicast(&17).await?;
/// channel.multicast(&25).await?.acked().await?;
/// node.shutdown().await;
/// assert_eq!(summing.await?, 42);
/// # Ok(())
/// # }
/// ```
pub struct TypedInbox<T> {
    pub(super) inbox: Inbox,
    /// The item that comes next, if it is large: whatever comes after it waits until it is whole.
    pub(super) large: Option<Large>,
    pub(super) marker: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> TypedInbox<T> {
    /// The next item; `None` after the end.
    ///
    /// Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::TypedItem;
    /// use std::time::Duration;
    ///
    /// let mut inbox = node.register_of::<u32>("numbers").await?;
    /// let nothing_yet = tokio::time::timeout(Duration::from_millis(10), inbox.next()).await;
    /// assert!(nothing_yet.is_err());
    ///
    /// node.channel_of::<u32>("numbers").multicast(&17).await?;
    /// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(message.value, 17);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<TypedItem<T>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// As [`Inbox::unregister`].
    /// Cancel safe: the role is given up even if the future is dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::TypedItem;
    ///
    /// let mut inbox = node.register_of::<u32>("numbers").await?;
    /// inbox.unregister().await?;
    /// assert!(matches!(inbox.next().await, Some(TypedItem::Closed(_))));
    /// assert!(node.channel_of::<u32>("numbers").multicast(&17).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
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
        loop {
            if let Some(large) = &mut self.large {
                let gathered = ready!(large.gathering.poll(cx));
                let large = self.large.take().expect("it was just found");
                return Poll::Ready(Some(large.into_item(gathered)));
            }
            return Poll::Ready(match ready!(Pin::new(&mut self.inbox).poll_next(cx)) {
                None => None,
                Some(InboxItem::Message(message)) => Some(decoded(message)),
                Some(InboxItem::Large(large)) => {
                    self.large = Some(Large::new(large));
                    continue;
                }
                Some(InboxItem::Gap(gap)) => Some(TypedItem::Gap(gap)),
                Some(InboxItem::Started(started)) => Some(TypedItem::Started(started)),
                Some(InboxItem::Lagged(lagged)) => Some(TypedItem::Lagged(lagged)),
                Some(InboxItem::Closed(reason)) => Some(TypedItem::Closed(reason)),
            });
        }
    }
}

fn decoded<T: DeserializeOwned>(message: Message) -> TypedItem<T> {
    match decode(message.payload()) {
        Ok(value) => TypedItem::Message(TypedMessage { value, message }),
        Err(error) => TypedItem::Undecodable { message, error },
    }
}

/// A large value that has not wholly come.
pub(super) struct Large {
    gathering: Gathering,
    source: Arc<Source>,
    seq: Option<Seq>,
}

impl Large {
    fn new(large: LargeMessage) -> Self {
        Large {
            gathering: Gathering::new(large.reader, large.length),
            source: large.source,
            seq: large.seq,
        }
    }

    fn into_item<T: DeserializeOwned>(self, gathered: Result<Bytes, PayloadError>) -> TypedItem<T> {
        let Large { source, seq, .. } = self;
        match gathered {
            Ok(payload) => decoded(Message {
                payload,
                source,
                seq,
                responder: None,
            }),
            Err(error) => TypedItem::Incomplete {
                origin: source.origin().node,
                error,
            },
        }
    }
}

impl<T> fmt::Debug for TypedInbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inbox.fmt(f)
    }
}
