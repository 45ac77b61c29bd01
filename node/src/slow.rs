//! What a channel does when a holder is slow.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::NodeId;
use rolecast_protocol::SlowMembers;

use crate::error::NotSent;

/// What a channel does when a holder does not take what was sent to it, so that its window is shut.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{Limits, MeshSecret, Node};
/// use rolecast::{NotSent, SendError, SlowReceivers};
/// use std::time::Duration;
///
/// let limits = Limits { flow_window_bytes: 64 << 10, ..Limits::default() };
/// let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").limits(limits).start().await?;
/// let _not_read = node.register("news").await?;
/// let patience = SlowReceivers::Wait { deadline: Some(Duration::from_millis(20)) };
/// let news = node.channel("news").slow_receivers(patience);
/// let error = loop {
///     if let Err(error) = news.multicast(vec![0; 16 << 10]).await {
///         break error;
///     }
/// };
/// assert_eq!(error, SendError::NotSent(NotSent::TimedOut));
/// assert_eq!(news.slowest(), Some(node.id()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowReceivers {
    /// The sender waits for the slowest holder.
    Wait {
        /// After so long nothing is sent, and the multicast fails with [`NotSent::TimedOut`]; without it, the wait has no end.
        deadline: Option<Duration>,
    },
    /// The sender goes on without holders that keep the window shut.
    ///
    /// Such a holder is out of the destination set of what is sent from then on, receipts name it in [`Outcome::evicted`](crate::Outcome::evicted), and it gets what it has, then [`InboxItem::Lagged`](crate::InboxItem::Lagged), and goes on where the sender is.
    /// A large payload on its way goes on without whoever stops reading it too: such a holder's reader ends with [`PayloadError::Lagged`](crate::PayloadError::Lagged), and it is meant again by what is sent next.
    Evict {
        /// How long the window may be shut, while there is something to send.
        after: Duration,
    },
    /// The sender never waits: of what a holder that keeps the window shut has not been sent, only the last message of each key is kept for it.
    ///
    /// [`Multicast::key`](crate::Multicast::key) says what belongs together; messages without a key are as one key.
    /// When such a holder has taken what it has, it gets what was kept, in order, and where messages are missing, [`InboxItem::Lagged`](crate::InboxItem::Lagged) with [`LagReason::Superseded`](crate::LagReason::Superseded); receipts name it in [`Outcome::superseded`](crate::Outcome::superseded).
    /// Up to 65,536 keys and 64 MiB ([`Limits::session_bytes_max`](crate::Limits::session_bytes_max)) are kept for each sequence of multicasts, however many holders lag; beyond that the oldest makes way.
    ///
    /// It goes with [`Order::Fifo`](crate::Order::Fifo) only, and neither with gossip nor with [`k_safe`](crate::Channel::k_safe); nothing that is large or asked of all is sent so ([`NotSent::NotKeepLast`]).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{Limits, MeshSecret, Node};
    /// use rolecast::{InboxItem, LagReason, SlowReceivers};
    ///
    /// # let limits = Limits { flow_window_bytes: 1 << 10, ..Limits::default() };
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").limits(limits).start().await?;
    /// let mut display = node.register("weather").await?;
    /// let weather = node.channel("weather").slow_receivers(SlowReceivers::KeepLast);
    /// for degrees in 0..100 {
    ///     for city in ["Oslo", "Rome"] {
    ///         weather.multicast(format!("{city} {degrees}")).key(city).await?;
    ///     }
    ///     // Nobody reads meanwhile.
    ///     tokio::task::yield_now().await;
    /// }
    /// let mut last = Vec::new();
    /// while last != ["Oslo 99", "Rome 99"] {
    ///     match display.next().await {
    ///         Some(InboxItem::Message(message)) => last.push(message.payload().clone()),
    ///         Some(InboxItem::Lagged(lagged)) => assert_eq!(lagged.reason, LagReason::Superseded),
    ///         other => panic!("nothing else is sent here: {other:?}"),
    ///     }
    ///     last.drain(..last.len().saturating_sub(2));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    KeepLast,
}

impl SlowReceivers {
    /// How long a multicast waits for room, if not without end.
    pub(crate) fn deadline(self) -> Option<Duration> {
        match self {
            SlowReceivers::Wait { deadline } => deadline,
            SlowReceivers::Evict { .. } | SlowReceivers::KeepLast => None,
        }
    }

    /// What makes a flow of its own.
    pub(crate) fn policy(self) -> SlowMembers {
        match self {
            SlowReceivers::Wait { .. } => SlowMembers::Wait,
            SlowReceivers::Evict { after } => SlowMembers::Evict { after },
            SlowReceivers::KeepLast => SlowMembers::KeepLast,
        }
    }
}

impl Default for SlowReceivers {
    fn default() -> Self {
        SlowReceivers::Wait { deadline: None }
    }
}

/// Why [`Channel::try_send`](crate::Channel::try_send) sent nothing; the payload is in it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{Bytes, Channel, TrySendError};
///
/// /// Sends a reading, or keeps it for later.
/// fn report(channel: &Channel, reading: &'static str, later: &mut Vec<Bytes>) {
///     match channel.try_send(reading) {
///         Ok(_) => {}
///         Err(TrySendError::Full { slowest, payload }) => {
///             println!("{slowest:?} is slow");
///             later.push(payload);
///         }
///         Err(error) => later.push(error.into_payload()),
///     }
/// }
///
/// let _inbox = node.register("telemetry").await?;
/// let telemetry = node.channel("telemetry");
/// let mut later = Vec::new();
/// // Who holds the role is not known yet.
/// report(&telemetry, "temperature 21", &mut later);
/// assert_eq!(later, ["temperature 21"]);
/// drop(telemetry.reserve(64).await?);
/// report(&telemetry, "temperature 22", &mut later);
/// assert_eq!(later.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// There is no room for it: await [`Channel::reserve`](crate::Channel::reserve) or [`Channel::multicast`](crate::Channel::multicast), or try again later.
    #[error("there is no room for it{}", because_of(*slowest))]
    Full {
        /// The holder that has taken least and so keeps the window shut; nobody, if messages only come faster than this node sends them.
        slowest: Option<NodeId>,
        /// What was to be sent.
        payload: Bytes,
    },
    /// Nothing was multicast over this kind of channel yet, and this node looks at once who holds the role: try again, or await [`Channel::reserve`](crate::Channel::reserve).
    #[error("it is not known yet who holds the role")]
    NotReady {
        /// What was to be sent.
        payload: Bytes,
    },
    /// It cannot be sent at all.
    #[error("{why}")]
    NotSent {
        /// Why.
        why: NotSent,
        /// What was to be sent.
        payload: Bytes,
    },
}

impl TrySendError {
    /// What was to be sent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let nobody = node.channel("nobody").try_send("hello").unwrap_err();
    /// assert_eq!(nobody.into_payload(), "hello");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        match self {
            TrySendError::Full { payload, .. }
            | TrySendError::NotReady { payload }
            | TrySendError::NotSent { payload, .. } => payload,
        }
    }
}

impl fmt::Debug for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrySendError::Full { slowest, payload } => f
                .debug_struct("Full")
                .field("slowest", slowest)
                .field("bytes", &payload.len())
                .finish(),
            TrySendError::NotReady { payload } => f
                .debug_struct("NotReady")
                .field("bytes", &payload.len())
                .finish(),
            TrySendError::NotSent { why, payload } => f
                .debug_struct("NotSent")
                .field("why", why)
                .field("bytes", &payload.len())
                .finish(),
        }
    }
}

fn because_of(slowest: Option<NodeId>) -> String {
    slowest.map_or_else(String::new, |node| format!(", because {node} is slow"))
}
