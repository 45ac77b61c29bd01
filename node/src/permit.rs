//! Room for one multicast, made before there is anything to send.

use std::fmt;

use bytes::Bytes;
use rolecast_membership::NodeId;
use tokio::sync::SemaphorePermit;

use crate::channel::Channel;
use crate::clock::deadline_in;
use crate::error::{NotSent, SendError};
use crate::multicast::{check_holders, check_key, open_soon, reserve};
use crate::receipt::Receipt;
use crate::slow::TrySendError;

/// Room for one multicast, from [`Channel::reserve`].
///
/// Dropped without a message, it gives the room back.
/// As long as it is held, the channel's other senders have that much less.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{Permit, Receipt, SendError};
///
/// /// What is measured at this moment and no earlier.
/// fn measure(permit: Permit<'_>) -> Result<Receipt, SendError> {
///     permit.send("temperature 21")
/// }
///
/// let _inbox = node.register("telemetry").await?;
/// let telemetry = node.channel("telemetry");
/// let receipt = measure(telemetry.reserve(64).await?)?;
/// assert_eq!(receipt.seq().0, 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropped, it gives the room back"]
pub struct Permit<'a> {
    channel: &'a Channel,
    room: SemaphorePermit<'a>,
    payload_bytes: usize,
}

impl Permit<'_> {
    /// Sends to every holder, at once and without waiting.
    ///
    /// The message has its place in the order from here on, not from when the room was made.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inbox = node.register("news").await?;
    /// let news = node.channel("news");
    /// let permit = news.reserve(100).await?;
    /// news.multicast("first").await?;
    /// assert_eq!(permit.send("second")?.seq().0, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NotSent::TooLarge`] if there is no room for so much, and [`NotSent::Closed`] if the node is closed.
    pub fn send(self, payload: impl Into<Bytes>) -> Result<Receipt, SendError> {
        self.send_keyed(payload, Bytes::new())
    }

    /// As [`Permit::send`], a message about this key; see [`Multicast::key`](crate::Multicast::key).
    ///
    /// The key takes up room too: with the payload it has at most as many bytes as were reserved.
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
    /// let permit = weather.reserve("Oslo".len() + 64).await?;
    /// permit.send_keyed("7 degrees", "Oslo")?;
    ///
    /// let permit = weather.reserve(1_000).await?;
    /// let error = permit.send_keyed("7 degrees", "x".repeat(257)).unwrap_err();
    /// assert_eq!(error, SendError::NotSent(NotSent::KeyTooLong { bytes: 257, max: 256 }));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Permit::send`], and [`NotSent::KeyTooLong`].
    pub fn send_keyed(
        self,
        payload: impl Into<Bytes>,
        key: impl Into<Bytes>,
    ) -> Result<Receipt, SendError> {
        let (payload, key, max) = (payload.into(), key.into(), self.payload_bytes);
        check_key(&key)?;
        let bytes = payload.len() + key.len();
        if bytes > max {
            return Err(NotSent::TooLarge { bytes, max }.into());
        }
        let Channel { shared, outbox, .. } = self.channel;
        let outbox = outbox
            .as_ref()
            .expect("nothing is reserved where the name is invalid");
        let seq = outbox.push(shared, (&payload, &key), self.room)?;
        Ok(Receipt::new(shared, outbox, seq))
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("channel", self.channel)
            .field("payload_bytes", &self.payload_bytes)
            .finish()
    }
}

impl Channel {
    /// Waits until there is room for a multicast of at most so many bytes, which the [`Permit`] then sends at once.
    ///
    /// So whoever is held back by a slow holder has nothing in hand that grows old meanwhile.
    /// It waits as [`Channel::multicast`] does, in turn, and up to the deadline of [`SlowReceivers::Wait`](crate::SlowReceivers::Wait).
    /// Cancel safe: dropped before it resolved, it takes no room; whoever asks again stands at the end of the queue.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inbox = node.register("telemetry").await?;
    /// let telemetry = node.channel("telemetry");
    /// let permit = telemetry.reserve(64).await?;
    /// permit.send("temperature 21")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NotSent`] says why there is no room.
    /// What does not travel in one piece has none: above 64 KiB ([`Limits::large_bytes_min`](crate::Limits::large_bytes_min)) it is [`NotSent::TooLarge`].
    pub async fn reserve(&self, payload_bytes: usize) -> Result<Permit<'_>, NotSent> {
        let outbox = self.outbox.as_ref().map_err(Clone::clone)?;
        check_whole(self, payload_bytes)?;
        let deadline = self.slow.deadline().map(deadline_in);
        let room = reserve(&self.shared, outbox, payload_bytes, deadline).await?;
        Ok(Permit {
            channel: self,
            room,
            payload_bytes,
        })
    }

    /// Sends to every holder if there is room at once.
    ///
    /// It never waits.
    /// The first one over a channel of its kind has this node look who holds the role, and fails with [`TrySendError::NotReady`]: await a [`Channel::reserve`] before, or try again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{Limits, MeshSecret, Node};
    /// # let limits = Limits { flow_window_bytes: 64 << 10, ..Limits::default() };
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").limits(limits).start().await?;
    /// use rolecast::TrySendError;
    /// use std::time::Duration;
    ///
    /// let _not_read = node.register("telemetry").await?;
    /// let telemetry = node.channel("telemetry");
    /// let slow = loop {
    ///     match telemetry.try_send(vec![0; 1 << 10]) {
    ///         Err(TrySendError::Full { slowest: Some(node), payload }) => break (node, payload.len()),
    ///         // Let the node send what has gathered.
    ///         _ => tokio::time::sleep(Duration::from_micros(10)).await,
    ///     }
    /// };
    /// assert_eq!(slow, (node.id(), 1 << 10));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TrySendError`] says why not, hands the payload back, and names the holder that keeps the window shut.
    /// What does not travel in one piece is not sent so: above 64 KiB ([`Limits::large_bytes_min`](crate::Limits::large_bytes_min)) it is [`NotSent::TooLarge`].
    pub fn try_send(&self, payload: impl Into<Bytes>) -> Result<Receipt, TrySendError> {
        self.try_send_keyed(payload, Bytes::new())
    }

    /// As [`Channel::try_send`], a message about this key; see [`Multicast::key`](crate::Multicast::key).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{Limits, MeshSecret, Node};
    /// # let limits = Limits { flow_window_bytes: 1 << 10, ..Limits::default() };
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").limits(limits).start().await?;
    /// use rolecast::{InboxItem, SlowReceivers};
    ///
    /// let mut display = node.register("weather").await?;
    /// let weather = node.channel("weather").slow_receivers(SlowReceivers::KeepLast);
    /// drop(weather.reserve(0).await?);
    /// for degrees in 0..100 {
    ///     for city in ["Oslo", "Rome"] {
    ///         weather.try_send_keyed(format!("{city} {degrees}"), city)?;
    ///     }
    ///     // Nobody reads meanwhile.
    ///     tokio::task::yield_now().await;
    /// }
    /// let mut taken = Vec::new();
    /// while !taken.ends_with(&["Oslo 99".into(), "Rome 99".into()]) {
    ///     if let Some(InboxItem::Message(message)) = display.next().await {
    ///         taken.push(message.payload().clone());
    ///     }
    /// }
    /// assert!(taken.len() < 200, "the rest was superseded");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Channel::try_send`], and [`NotSent::KeyTooLong`].
    pub fn try_send_keyed(
        &self,
        payload: impl Into<Bytes>,
        key: impl Into<Bytes>,
    ) -> Result<Receipt, TrySendError> {
        let (payload, key) = (payload.into(), key.into());
        let not_sent = |why: NotSent| TrySendError::NotSent {
            why,
            payload: payload.clone(),
        };
        let outbox = match &self.outbox {
            Ok(outbox) => outbox,
            Err(error) => return Err(not_sent(error.clone().into())),
        };
        check_key(&key).map_err(not_sent)?;
        check_whole(self, payload.len()).map_err(not_sent)?;
        if !outbox.is_open() {
            open_soon(&self.shared, outbox).map_err(not_sent)?;
            return Err(TrySendError::NotReady { payload });
        }
        check_holders(outbox).map_err(not_sent)?;
        let Some(room) = outbox.try_reserve(payload.len() + key.len()) else {
            return Err(TrySendError::Full {
                slowest: outbox.slowest(),
                payload,
            });
        };
        match outbox.push(&self.shared, (&payload, &key), room) {
            Ok(seq) => Ok(Receipt::new(&self.shared, outbox, seq)),
            Err(why) => Err(not_sent(why)),
        }
    }

    /// The holder that keeps the window of this channel's multicasts shut at the moment: it has taken least of what was sent.
    ///
    /// Nobody, as long as there is room.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("news").await?;
    /// let news = node.channel("news");
    /// news.multicast("hello").await?;
    /// assert_eq!(news.slowest(), None, "there is room for megabytes yet");
    /// # inbox.next().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn slowest(&self) -> Option<NodeId> {
        self.outbox.as_ref().ok()?.slowest()
    }
}

/// Checks that a payload travels in one piece.
fn check_whole(channel: &Channel, bytes: usize) -> Result<(), NotSent> {
    let max = channel.shared.whole_bytes_max();
    match bytes > max {
        true => Err(NotSent::TooLarge { bytes, max }),
        false => Ok(()),
    }
}
