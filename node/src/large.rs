//! Large payloads as their receivers see them: chunk by chunk, before they are complete, or whole.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use rolecast_membership::{Epoch, NodeId, RoleName};
use rolecast_protocol::Seq;
use tokio::io::{AsyncRead, ReadBuf};

use crate::download::Download;
use crate::message::{Message, Source};

/// Why a large payload did not come to its end.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{Limits, MeshSecret, Node, InboxItem};
/// use rolecast::PayloadError;
///
/// let limits = Limits { large_bytes_max: 1 << 20, ..Limits::default() };
/// let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").limits(limits).start().await?;
/// let mut inbox = node.register("films").await?;
/// node.channel("films").multicast(vec![0; 2 << 20]).await?;
/// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("it is announced") };
/// assert_eq!(film.into_bytes().await, Err(PayloadError::TooLarge { max: 1 << 20 }));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// What was read is a first part of it, and nothing more will come: its sender broke off or died, or this node was declared down, dropped the role or was closed.
    #[error("the payload was cut short: what has come is all that will come of it")]
    CutShort,
    /// It is longer than this node takes, which its sender was told.
    #[error("the payload has more than {max} bytes, which is all that this node takes")]
    TooLarge {
        /// [`Limits::large_bytes_max`](crate::Limits::large_bytes_max).
        max: u64,
    },
    /// This node took it too slowly, and its sender went on without it ([`SlowReceivers::Evict`](crate::SlowReceivers::Evict)); what had come and was not read is gone.
    #[error("the payload was read too slowly, and its sender went on without this node")]
    Lagged,
}

impl From<PayloadError> for io::Error {
    fn from(error: PayloadError) -> Self {
        let kind = match error {
            PayloadError::CutShort => io::ErrorKind::UnexpectedEof,
            PayloadError::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            PayloadError::Lagged => io::ErrorKind::TimedOut,
        };
        io::Error::new(kind, error)
    }
}

/// A message whose payload is too large to travel in one piece.
///
/// It has its place in the order of its sender's messages, and comes when its payload has only begun to.
/// Read it as it comes ([`LargeMessage::into_reader`]), or gather it ([`LargeMessage::into_bytes`]); meanwhile other messages go on.
/// Whoever does not read holds back this payload, a few megabytes into it, and nothing else.
/// To drop it means that it is not wanted: it counts as taken.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{LargeMessage, MeshSecret, Node, InboxItem};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// let mut inbox = node.register("films").await?;
/// node.channel("films").multicast(vec![7; 1 << 20]).await?;
///
/// let film: LargeMessage = match inbox.next().await {
///     Some(InboxItem::Large(film)) => film,
///     other => panic!("it is large: {other:?}"),
/// };
/// assert_eq!(film.length(), Some(1 << 20));
/// let mut reader = film.into_reader();
/// let mut bytes = 0;
/// while let Some(chunk) = reader.chunk().await? {
///     bytes += chunk.len();
/// }
/// assert_eq!(bytes, 1 << 20);
/// # Ok(())
/// # }
/// ```
pub struct LargeMessage {
    pub(crate) source: Arc<Source>,
    pub(crate) seq: Option<Seq>,
    pub(crate) length: Option<u64>,
    pub(crate) reader: PayloadReader,
}

impl LargeMessage {
    /// The length of the payload in bytes, if its sender knew it from the start.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node, InboxItem};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("logs").await?;
    /// node.channel("logs").multicast_reader(tokio::io::empty()).await?;
    /// let Some(InboxItem::Large(log)) = inbox.next().await else { panic!("a stream is large") };
    /// assert_eq!(log.length(), None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// As [`Message::origin`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node, InboxItem};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("films").await?;
    /// node.channel("films").multicast(vec![7; 1 << 20]).await?;
    /// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("it is large") };
    /// assert_eq!((film.origin(), film.epoch()), (node.id(), node.epoch()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn origin(&self) -> NodeId {
        self.source.origin().node
    }

    /// As [`Message::epoch`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node, InboxItem};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("films").await?;
    /// node.channel("films").multicast(vec![7; 1 << 20]).await?;
    /// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("it is large") };
    /// assert_eq!(film.epoch(), node.epoch());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.source.origin().epoch
    }

    /// As [`Message::role`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node, InboxItem};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("films").await?;
    /// node.channel("films").multicast(vec![7; 1 << 20]).await?;
    /// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("it is large") };
    /// assert_eq!(film.role().as_str(), "films");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn role(&self) -> &RoleName {
        self.source.role()
    }

    /// As [`Message::seq`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node, InboxItem};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("films").await?;
    /// let channel = node.channel("films");
    /// channel.multicast("now comes a film").await?;
    /// let receipt = channel.multicast(vec![7; 1 << 20]).await?;
    /// assert!(inbox.next().await.is_some());
    /// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("it is large") };
    /// assert_eq!(film.seq(), Some(receipt.seq()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn seq(&self) -> Option<Seq> {
        self.seq
    }

    /// The payload, to be read as it comes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node, InboxItem};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("films").await?;
    /// node.channel("films").multicast(vec![7; 1 << 20]).await?;
    /// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("it is large") };
    /// // Into a file, or wherever bytes go, in little memory.
    /// let copied = tokio::io::copy(&mut film.into_reader(), &mut tokio::io::sink()).await?;
    /// assert_eq!(copied, 1 << 20);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_reader(self) -> PayloadReader {
        self.reader
    }

    /// Waits until the payload is complete, and gives all of it.
    ///
    /// Dropped before it resolved, what had come is lost, and the message counts as taken.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node, InboxItem};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("films").await?;
    /// node.channel("films").multicast(vec![7; 1 << 20]).await?;
    /// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("it is large") };
    /// assert_eq!(film.into_bytes().await?, vec![7; 1 << 20]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PayloadError`]: it did not come to its end.
    pub async fn into_bytes(self) -> Result<Bytes, PayloadError> {
        let mut gathering = Gathering::new(self.reader, self.length);
        std::future::poll_fn(|cx| gathering.poll(cx)).await
    }

    /// Waits until the payload is complete, and gives the message whole, as if it were small.
    ///
    /// Dropped before it resolved, what had come is lost, and the message counts as taken.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::{InboxItem, Message, PayloadError};
    ///
    /// /// For a program to which all messages are the same, and that waits for the large ones.
    /// async fn whole(item: InboxItem) -> Result<Option<Message>, PayloadError> {
    ///     match item {
    ///         InboxItem::Large(large) => large.into_message().await.map(Some),
    ///         other => Ok(other.into_message()),
    ///     }
    /// }
    ///
    /// let mut inbox = node.register("films").await?;
    /// node.channel("films").multicast(vec![7; 1 << 20]).await?;
    /// let message = whole(inbox.next().await.expect("the inbox is open")).await?.expect("a message");
    /// assert_eq!(message.payload().len(), 1 << 20);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PayloadError`]: it did not come to its end.
    pub async fn into_message(self) -> Result<Message, PayloadError> {
        let (source, seq) = (Arc::clone(&self.source), self.seq);
        let payload = self.into_bytes().await?;
        Ok(Message {
            payload,
            source,
            seq,
            responder: None,
        })
    }
}

impl fmt::Debug for LargeMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeMessage")
            .field("role", self.role())
            .field("origin", &self.origin())
            .field("seq", &self.seq.map(|seq| seq.0))
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// A large payload as it comes: an [`AsyncRead`], or a [`Stream`] of its chunks.
///
/// Both end after the last byte if the payload is complete, and with an error if it is not: nobody takes a part for the whole.
/// To drop it means that the rest is not wanted.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node, InboxItem};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::PayloadReader;
/// use tokio::io::AsyncReadExt as _;
///
/// async fn title(film: &mut PayloadReader) -> std::io::Result<[u8; 4]> {
///     let mut title = [0; 4];
///     film.read_exact(&mut title).await?;
///     Ok(title)
/// }
///
/// let mut inbox = node.register("films").await?;
/// node.channel("films").multicast([&b"Jaws"[..], &[0; 1 << 20]].concat()).await?;
/// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("it is large") };
/// assert_eq!(&title(&mut film.into_reader()).await?, b"Jaws");
/// # Ok(())
/// # }
/// ```
pub struct PayloadReader {
    source: Arc<Source>,
    download: Arc<Download>,
    /// What is left of the chunk that is being read.
    rest: Bytes,
}

impl PayloadReader {
    pub(crate) fn new(source: Arc<Source>, download: Arc<Download>) -> Self {
        let rest = Bytes::new();
        PayloadReader {
            source,
            download,
            rest,
        }
    }

    /// The next bytes, without copying them; `None` when all have been read.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node, InboxItem};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("films").await?;
    /// node.channel("films").multicast(vec![7; 1 << 20]).await?;
    /// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("it is large") };
    /// let mut film = film.into_reader();
    /// let first = film.chunk().await?.expect("there is more than nothing");
    /// assert!(first.iter().all(|&byte| byte == 7));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PayloadError`]: what was read is all that will come.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, PayloadError> {
        std::future::poll_fn(|cx| self.poll_chunk(cx))
            .await
            .transpose()
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.rest))));
        }
        self.download.poll_chunk(cx, self.source.shared())
    }
}

impl Stream for PayloadReader {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx)
    }
}

impl AsyncRead for PayloadReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(chunk) = ready!(self.poll_chunk(cx)).transpose()? else {
            return Poll::Ready(Ok(()));
        };
        self.rest = chunk;
        let count = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl Drop for PayloadReader {
    fn drop(&mut self) {
        self.download.abandon(self.source.shared());
    }
}

impl fmt::Debug for PayloadReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadReader").finish_non_exhaustive()
    }
}

/// A large payload that is being made whole.
pub(crate) struct Gathering {
    reader: PayloadReader,
    gathered: BytesMut,
}

impl Gathering {
    pub(crate) fn new(reader: PayloadReader, length: Option<u64>) -> Self {
        // The length is what the sender claims, so that not all of it is believed.
        let believed = length.unwrap_or(0).min(ALLOCATED_AT_ONCE);
        Gathering {
            reader,
            gathered: BytesMut::with_capacity(believed as usize),
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, PayloadError>> {
        while let Some(chunk) = ready!(self.reader.poll_chunk(cx)) {
            self.gathered.extend_from_slice(&chunk?);
        }
        Poll::Ready(Ok(std::mem::take(&mut self.gathered).freeze()))
    }
}

/// How much is allocated for a payload that is gathered, before it has come.
const ALLOCATED_AT_ONCE: u64 = 16 << 20;
