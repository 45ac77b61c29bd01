//! Sending to every holder what is too large to travel in one piece.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::channel::Channel;
use crate::clock::deadline_in;
use crate::error::{CutShort, NotSent, SendError};
use crate::multicast::reserve;
use crate::outbox::Outbox;
use crate::receipt::Receipt;
use crate::upload::{Broke, CHUNK_BYTES_MAX, Upload};

/// A multicast of a payload that comes as it is sent, to be awaited; see [`Channel::multicast_reader`] and [`Channel::multicast_stream`].
/// Dropped before it resolved, what was sent is cut short, which every holder that has begun to read is told; before anything was announced, nothing is sent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node, InboxItem};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::MulticastStream;
/// use std::time::Duration;
///
/// // How long a program lets slow holders hold it up, and what it tells them to expect.
/// fn bounded(stream: MulticastStream<'_>) -> MulticastStream<'_> {
///     stream.length(4).timeout(Duration::from_secs(60))
/// }
///
/// let mut inbox = node.register("films").await?;
/// bounded(node.channel("films").multicast_reader(&b"Jaws"[..])).await?;
/// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("a stream is large") };
/// assert_eq!(film.length(), Some(4));
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before this is awaited"]
pub struct MulticastStream<'a> {
    channel: &'a Channel,
    source: Source<'a>,
    length: Option<u64>,
    timeout: Option<Duration>,
}

/// Where the bytes come from.
type Source<'a> = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + 'a>>;

impl<'a> MulticastStream<'a> {
    pub(crate) fn from_reader(channel: &'a Channel, reader: impl AsyncRead + Send + 'a) -> Self {
        let buffer = BytesMut::new();
        let reader = Box::pin(reader);
        MulticastStream::new(channel, Box::pin(Chunks { reader, buffer }))
    }

    pub(crate) fn from_stream<S, E>(channel: &'a Channel, stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'a,
        E: Into<io::Error>,
    {
        let stream = Box::pin(stream);
        MulticastStream::new(channel, Box::pin(Converted(stream)))
    }

    /// A payload that is there already, cut into chunks without being copied.
    pub(crate) fn from_bytes(
        channel: &'a Channel,
        payload: Bytes,
        timeout: Option<Duration>,
    ) -> Self {
        let length = Some(payload.len() as u64);
        MulticastStream {
            length,
            timeout,
            ..MulticastStream::new(channel, Box::pin(Whole(payload)))
        }
    }

    fn new(channel: &'a Channel, source: Source<'a>) -> Self {
        MulticastStream {
            channel,
            source,
            length: None,
            timeout: None,
        }
    }

    /// Announces the length of the payload in bytes: its receivers can tell how far they are, and those that do not take so much refuse it before any of it comes.
    ///
    /// A payload that has more or fewer bytes after all is cut short.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node, InboxItem};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::{CutShort, SendError};
    ///
    /// let _inbox = node.register("films").await?;
    /// let channel = node.channel("films");
    /// channel.multicast_reader(&b"Jaws"[..]).length(4).await?;
    /// let error = channel.multicast_reader(&b"Jaws"[..]).length(6).await.unwrap_err();
    /// assert_eq!(error, SendError::CutShort(CutShort::Length { announced: 6, sent: 4 }));
    /// # Ok(())
    /// # }
    /// ```
    pub fn length(self, bytes: u64) -> Self {
        let length = Some(bytes);
        MulticastStream { length, ..self }
    }

    /// Gives up when not all of it was on its way after so long; without it, the wait for a slow holder, or for a slow source, has no end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node, InboxItem};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::{CutShort, SendError};
    /// use std::time::Duration;
    ///
    /// let _not_read = node.register("films").await?;
    /// let endless = tokio::io::repeat(7);
    /// let channel = node.channel("films");
    /// let sent = channel.multicast_reader(endless).timeout(Duration::from_millis(50)).await;
    /// assert_eq!(sent.unwrap_err(), SendError::CutShort(CutShort::TimedOut));
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(self, timeout: Duration) -> Self {
        let timeout = Some(timeout);
        MulticastStream { timeout, ..self }
    }

    pub(crate) async fn run(mut self) -> Result<Receipt, SendError> {
        let deadline = self.timeout.map(deadline_in);
        let outbox = match &self.channel.outbox {
            Ok(outbox) => Arc::clone(outbox),
            Err(error) => return Err(NotSent::from(error.clone()).into()),
        };
        let room_by = deadline.or(room_by(self.channel));
        let begin = begin(self.channel, &outbox, self.length, room_by);
        let (upload, receipt) = within(room_by, begin)
            .await
            .unwrap_or(Err(NotSent::TimedOut))?;
        let sending = Sending {
            channel: self.channel,
            upload,
        };
        match within(deadline, sending.send(&mut self.source)).await {
            Some(Ok(())) => Ok(receipt),
            Some(Err(Broke::NotSent(why))) => Err(why.into()),
            Some(Err(Broke::CutShort(why))) => Err(why.into()),
            Some(Err(Broke::Stalled)) | None => Err(match sending.cut() {
                true => CutShort::TimedOut.into(),
                false => NotSent::TimedOut.into(),
            }),
        }
    }
}

/// Announces a large payload as soon as there is room for it.
async fn begin(
    channel: &Channel,
    outbox: &Arc<Outbox>,
    length: Option<u64>,
    deadline: Option<Instant>,
) -> Result<(Arc<Upload>, Receipt), NotSent> {
    let shared = &channel.shared;
    let place = outbox.place_for_large(shared).await?;
    let room = reserve(shared, outbox, 0, deadline).await?;
    let upload = Arc::new(Upload::new(length, place));
    let seq = outbox.push_large(shared, &upload, room)?;
    let receipt = Receipt {
        outbox: Arc::clone(outbox),
        origin: shared.id,
        seq,
        upload: Some(Arc::clone(&upload)),
        others: None,
    };
    Ok((upload, receipt))
}

/// Until when a channel waits for room; how long a whole payload takes is another matter.
fn room_by(channel: &Channel) -> Option<Instant> {
    channel.slow.deadline().map(deadline_in)
}

async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
    }
}

/// A payload that is being sent; dropped before its end, it is cut short.
struct Sending<'a> {
    channel: &'a Channel,
    upload: Arc<Upload>,
}

impl Sending<'_> {
    async fn send(&self, source: &mut Source<'_>) -> Result<(), Broke> {
        let mut sent = 0u64;
        let chunk_bytes = self.chunk_bytes();
        loop {
            let next = std::future::poll_fn(|cx| source.as_mut().poll_next(cx)).await;
            let mut bytes = match next {
                None => break,
                Some(Ok(bytes)) => bytes,
                Some(Err(error)) => return Err(Broke::CutShort(CutShort::from_source(&error))),
            };
            sent += bytes.len() as u64;
            if let Some(announced) = self.upload.length
                && sent > announced
            {
                return Err(Broke::CutShort(CutShort::Length { announced, sent }));
            }
            while !bytes.is_empty() {
                let chunk = bytes.split_to(bytes.len().min(chunk_bytes));
                let pushed = within(room_by(self.channel), self.upload.push(chunk));
                match pushed.await.ok_or(Broke::Stalled)? {
                    Some(true) => self.schedule(),
                    Some(false) => {}
                    // The receipt says what has become of the holders.
                    None => return self.wait_taken().await,
                }
            }
        }
        if let Some(announced) = self.upload.length
            && sent < announced
        {
            return Err(Broke::CutShort(CutShort::Length { announced, sent }));
        }
        if self.upload.end(true) {
            self.schedule();
        }
        self.wait_taken().await
    }

    /// Waits until the engine has taken all of it, as long as it takes anything.
    async fn wait_taken(&self) -> Result<(), Broke> {
        let mut left = usize::MAX;
        loop {
            let taken = within(room_by(self.channel), self.upload.wait_taken()).await;
            if let Some(taken) = taken {
                return taken;
            }
            let before = std::mem::replace(&mut left, self.upload.chunks_left());
            if left == before {
                return Err(Broke::Stalled);
            }
        }
    }

    /// So long that several chunks fit into the window, as far as that is up to this node.
    fn chunk_bytes(&self) -> usize {
        let limits = &self.channel.shared.limits;
        let window = (limits.flow_window_bytes / WINDOW_CHUNKS).max(1);
        window
            .min(CHUNK_BYTES_MAX)
            .min(limits.payload_bytes_max.max(1))
    }

    /// Sends nothing more; says whether anything was sent.
    fn cut(&self) -> bool {
        let (tell, begun) = self.upload.cut();
        if tell {
            self.schedule();
        }
        begun
    }

    fn schedule(&self) {
        self.channel
            .shared
            .schedule_upload(Arc::clone(&self.upload));
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.cut();
    }
}

impl<'a> IntoFuture for MulticastStream<'a> {
    type Output = Result<Receipt, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for MulticastStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MulticastStream")
            .field("channel", self.channel)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// The bytes of a reader, as many at a time as there are.
struct Chunks<R> {
    reader: Pin<Box<R>>,
    buffer: BytesMut,
}

impl<R: AsyncRead> Stream for Chunks<R> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Chunks { reader, buffer } = &mut *self;
        buffer.resize(CHUNK_BYTES_MAX, 0);
        let mut filled = 0;
        // A full chunk costs hardly more than a small one.
        while filled < CHUNK_BYTES_MAX {
            let mut into = ReadBuf::new(&mut buffer[filled..]);
            match reader.as_mut().poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if into.filled().is_empty() => break,
                Poll::Ready(Ok(())) => filled += into.filled().len(),
                Poll::Ready(Err(error)) if filled == 0 => return Poll::Ready(Some(Err(error))),
                Poll::Pending if filled == 0 => return Poll::Pending,
                // What there is goes first; the source is asked again.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        if filled == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = std::mem::take(buffer);
        chunk.truncate(filled);
        Poll::Ready(Some(Ok(chunk.freeze())))
    }
}

/// A stream whose errors become those of a source.
struct Converted<S>(Pin<Box<S>>);

impl<S, E> Stream for Converted<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<io::Error>,
{
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.0.as_mut().poll_next(cx));
        Poll::Ready(next.map(|next| next.map_err(Into::into)))
    }
}

/// Bytes that are there already.
struct Whole(Bytes);

impl Stream for Whole {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let payload = std::mem::take(&mut self.0);
        Poll::Ready((!payload.is_empty()).then_some(Ok(payload)))
    }
}

/// So many chunks at least are on their way at once.
const WINDOW_CHUNKS: usize = 8;
