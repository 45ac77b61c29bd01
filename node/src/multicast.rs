//! Sending to every holder.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rolecast_protocol::SlowMembers;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use crate::channel::Channel;
use crate::clock::deadline_in;
use crate::command::Command;
use crate::error::{NotSent, SendError};
use crate::multicast_stream::MulticastStream;
use crate::outbox::Outbox;
use crate::pattern;
use crate::receipt::Receipt;
use crate::shared::Shared;

/// A multicast, to be awaited; see [`Channel::multicast`].
/// Cancel safe: dropped before it resolved, nothing was sent, unless it is a large payload, which is cut short.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::Multicast;
/// use std::time::Duration;
///
/// // How long a program lets a slow holder hold it up.
/// fn bounded(multicast: Multicast<'_>) -> Multicast<'_> {
///     multicast.timeout(Duration::from_secs(2))
/// }
///
/// let _inbox = node.register("news").await?;
/// let receipt = bounded(node.channel("news").multicast("hello")).await?;
/// assert_eq!(receipt.seq().0, 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before this is awaited"]
pub struct Multicast<'a> {
    channel: &'a Channel,
    payload: Bytes,
    key: Bytes,
    timeout: Option<Duration>,
}

impl<'a> Multicast<'a> {
    pub(crate) fn new(channel: &'a Channel, payload: Bytes) -> Self {
        Multicast {
            channel,
            payload,
            key: Bytes::new(),
            timeout: None,
        }
    }

    /// What the message is about, for a channel that keeps only the last of each key for slow holders ([`SlowReceivers::KeepLast`](crate::SlowReceivers::KeepLast)): at most 256 bytes.
    ///
    /// Other channels keep everything, whatever its key.
    /// The key stays with the sender, and is no part of the message.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::{NotSent, SendError, SlowReceivers};
    ///
    /// let _inbox = node.register("weather").await?;
    /// let weather = node.channel("weather").slow_receivers(SlowReceivers::KeepLast);
    /// weather.multicast("Oslo 7").key("Oslo").await?;
    /// weather.multicast("Oslo 8").key("Oslo").await?;
    /// let error = weather.multicast("7").key("x".repeat(257)).await.unwrap_err();
    /// assert_eq!(error, SendError::NotSent(NotSent::KeyTooLong { bytes: 257, max: 256 }));
    /// # Ok(())
    /// # }
    /// ```
    pub fn key(self, key: impl Into<Bytes>) -> Self {
        Multicast {
            key: key.into(),
            ..self
        }
    }

    /// Gives up when there was no room for so long, whatever the channel's [`SlowReceivers`](crate::SlowReceivers) says; without either, the wait for a slow holder has no end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{Limits, MeshSecret, Node, NotSent, SendError};
    /// use std::time::Duration;
    ///
    /// let limits = Limits { flow_window_bytes: 64 << 10, ..Limits::default() };
    /// let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").limits(limits).start().await?;
    /// let _not_read = node.register("news").await?;
    /// let channel = node.channel("news");
    /// let error = loop {
    ///     if let Err(error) = channel.multicast(vec![0; 16 << 10]).timeout(Duration::from_millis(20)).await {
    ///         break error;
    ///     }
    /// };
    /// assert_eq!(error, SendError::NotSent(NotSent::TimedOut));
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(self, timeout: Duration) -> Self {
        Multicast {
            timeout: Some(timeout),
            ..self
        }
    }

    /// What it takes up until the engine has taken it.
    fn room_bytes(&self) -> usize {
        self.payload.len() + self.key.len()
    }
}

impl<'a> IntoFuture for Multicast<'a> {
    type Output = Result<Receipt, SendError>;
    type IntoFuture = Multicasting<'a>;

    fn into_future(self) -> Multicasting<'a> {
        Multicasting {
            multicast: self,
            room: None,
            boxed: None,
        }
    }
}

/// A multicast under way.
///
/// It allocates only when it has to wait.
/// Cancel safe, as [`Multicast`] says.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::Multicasting;
///
/// let _inbox = node.register("news").await?;
/// let channel = node.channel("news");
/// // A future with a name can be kept in a struct, without a box.
/// let under_way: Multicasting<'_> = channel.multicast("hello").into_future();
/// assert_eq!(under_way.await?.seq().0, 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before this is awaited"]
pub struct Multicasting<'a> {
    multicast: Multicast<'a>,
    room: Option<WaitForRoom<'a>>,
    /// The sending of a large payload, or to a pattern.
    boxed: Option<SendBoxed<'a>>,
}

type SendBoxed<'a> = Pin<Box<dyn Future<Output = Result<Receipt, SendError>> + Send + 'a>>;

type WaitForRoom<'a> =
    Pin<Box<dyn Future<Output = Result<SemaphorePermit<'a>, NotSent>> + Send + 'a>>;

impl Future for Multicasting<'_> {
    type Output = Result<Receipt, SendError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let channel = self.multicast.channel;
        let outbox = match &channel.outbox {
            Ok(outbox) => outbox,
            Err(error) => return Poll::Ready(Err(NotSent::from(error.clone()).into())),
        };
        if outbox.role.name.is_pattern() {
            return self.poll_pattern(cx);
        }
        let shared = &channel.shared;
        check_key(&self.multicast.key)?;
        let (bytes, max) = (self.multicast.payload.len(), shared.whole_bytes_max());
        if bytes > max && outbox.policy == SlowMembers::KeepLast {
            return Poll::Ready(Err(NotSent::TooLarge { bytes, max }.into()));
        }
        if bytes > max {
            return self.poll_large(cx);
        }
        let room = match &mut self.room {
            Some(room) => ready!(room.as_mut().poll(cx))?,
            None => match reserve_at_once(shared, outbox, self.multicast.room_bytes())? {
                Some(room) => room,
                None => ready!(self.poll_wait(cx, outbox))?,
            },
        };
        let Multicast { payload, key, .. } = &self.multicast;
        let seq = outbox.push(shared, (payload, key), room)?;
        Poll::Ready(Ok(Receipt::new(shared, outbox, seq)))
    }
}

impl<'a> Multicasting<'a> {
    /// Goes on with a payload that is too large to travel in one piece.
    fn poll_large(&mut self, cx: &mut Context<'_>) -> Poll<Result<Receipt, SendError>> {
        let Multicast {
            channel,
            payload,
            timeout,
            ..
        } = &self.multicast;
        let (channel, timeout) = (*channel, *timeout);
        let begin = || -> SendBoxed<'a> {
            let payload = payload.clone();
            Box::pin(MulticastStream::from_bytes(channel, payload, timeout).run())
        };
        self.boxed.get_or_insert_with(begin).as_mut().poll(cx)
    }

    /// A pattern stands for roles that have outboxes of their own.
    fn poll_pattern(&mut self, cx: &mut Context<'_>) -> Poll<Result<Receipt, SendError>> {
        let Multicast {
            channel,
            payload,
            key,
            timeout,
        } = &self.multicast;
        let (channel, deadline) = (*channel, timeout.or(channel.slow.deadline()));
        let begin = || -> SendBoxed<'a> {
            let (payload, key) = (payload.clone(), key.clone());
            let deadline = deadline.map(deadline_in);
            Box::pin(pattern::multicast(channel, (payload, key), deadline))
        };
        self.boxed.get_or_insert_with(begin).as_mut().poll(cx)
    }

    /// Starts to wait for room.
    fn poll_wait(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &'a Arc<Outbox>,
    ) -> Poll<Result<SemaphorePermit<'a>, NotSent>> {
        let Multicast {
            channel, timeout, ..
        } = &self.multicast;
        let deadline = timeout.or(channel.slow.deadline()).map(deadline_in);
        let bytes = self.multicast.room_bytes();
        let wait = reserve(&channel.shared, outbox, bytes, deadline);
        self.room.insert(Box::pin(wait)).as_mut().poll(cx)
    }
}

/// Room in an open outbox with holders, if there is some; an error if there cannot be.
#[inline]
fn reserve_at_once<'a>(
    shared: &Shared,
    outbox: &'a Outbox,
    payload_bytes: usize,
) -> Result<Option<SemaphorePermit<'a>>, NotSent> {
    shared.check_payload(payload_bytes)?;
    if !outbox.is_open() {
        return Ok(None);
    }
    check_holders(outbox)?;
    Ok(outbox.try_reserve(payload_bytes))
}

/// Opens the outbox if need be, and waits for room in it.
pub(crate) async fn reserve<'a>(
    shared: &'a Arc<Shared>,
    outbox: &'a Arc<Outbox>,
    payload_bytes: usize,
    deadline: Option<Instant>,
) -> Result<SemaphorePermit<'a>, NotSent> {
    shared.check_payload(payload_bytes)?;
    let reserve = async {
        if !outbox.is_open() {
            open(shared, outbox).await?;
        }
        check_holders(outbox)?;
        outbox.reserve(payload_bytes).await
    };
    match deadline {
        None => reserve.await,
        Some(deadline) => tokio::time::timeout_at(deadline, reserve)
            .await
            .unwrap_or(Err(NotSent::TimedOut)),
    }
}

/// Has the driver open the flow.
async fn open(shared: &Shared, outbox: &Arc<Outbox>) -> Result<(), NotSent> {
    outbox.check()?;
    let (done, opened) = tokio::sync::oneshot::channel();
    shared.submit(Command::Open {
        outbox: Arc::clone(outbox),
        done,
    })?;
    match opened.await {
        Ok(()) => outbox.check(),
        Err(_) => Err(NotSent::Closed(shared.closed_reason())),
    }
}

/// Has the driver open the flow without waiting for it.
pub(crate) fn open_soon(shared: &Shared, outbox: &Arc<Outbox>) -> Result<(), NotSent> {
    outbox.check()?;
    if outbox.begin_opening() {
        let (done, _nobody_waits) = tokio::sync::oneshot::channel();
        shared.submit(Command::Open {
            outbox: Arc::clone(outbox),
            done,
        })?;
    }
    Ok(())
}

#[inline]
pub(crate) fn check_holders(outbox: &Outbox) -> Result<(), NotSent> {
    let wanted = usize::from(outbox.mode.k_safe);
    match outbox.role.holders() {
        Some(0) => Err(NotSent::NoHolder {
            role: outbox.role.name.to_string(),
        }),
        Some(holders) if holders < wanted => Err(NotSent::TooFewHolders {
            role: outbox.role.name.to_string(),
            holders,
            wanted,
        }),
        _ => Ok(()),
    }
}

/// Checks that a key is not too long.
pub(crate) fn check_key(key: &Bytes) -> Result<(), NotSent> {
    let (bytes, max) = (key.len(), KEY_BYTES_MAX);
    match bytes > max {
        true => Err(NotSent::KeyTooLong { bytes, max }),
        false => Ok(()),
    }
}

/// The longest key.
const KEY_BYTES_MAX: usize = 256;
