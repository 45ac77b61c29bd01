//! A request to every holder.

use std::collections::VecDeque;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::DEFAULT_TIMEOUT;
use crate::answers::Answers;
use crate::call::{CallEnd, CallSlot, CallState, CancelOnDrop};
use crate::channel::Channel;
use crate::clock::deadline_in;
use crate::error::{NotSent, SendError, Unknown};
use crate::multicast::reserve;
use crate::queue::Queue;

/// A request to every holder, to be awaited; see [`Channel::request_all`].
/// Dropped before it resolved, it is given up: it may have arrived at any holder, which is told then.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # let mut inbox = node.register("cache").await?;
/// # tokio::spawn(async move {
/// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
/// #         let _ = message.reply("ok").await;
/// #     }
/// # });
///
/// use rolecast::RequestAll;
/// use std::time::Duration;
///
/// // How long a program waits for the slowest.
/// fn at_leisure(request: RequestAll<'_>) -> RequestAll<'_> {
///     request.timeout(Duration::from_secs(60))
/// }
///
/// let answers = at_leisure(node.channel("cache").request_all("forget user 17")).await?;
/// assert_eq!(answers.collect().await.len(), 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before this is awaited"]
pub struct RequestAll<'a> {
    channel: &'a Channel,
    payload: Bytes,
    timeout: Duration,
}

impl<'a> RequestAll<'a> {
    pub(crate) fn new(channel: &'a Channel, payload: Bytes) -> Self {
        RequestAll {
            channel,
            payload,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Ends the stream of answers after this long instead of [`DEFAULT_TIMEOUT`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::{NoAnswer, Unknown};
    /// use std::time::Duration;
    ///
    /// let _not_read = node.register("cache").await?;
    /// let answers = node.channel("cache").request_all("how many?").timeout(Duration::from_millis(20)).await?;
    /// let answers = answers.collect().await;
    /// assert_eq!(answers[0].result, Err(NoAnswer::Unknown(Unknown::TimedOut)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(self, timeout: Duration) -> Self {
        RequestAll { timeout, ..self }
    }

    async fn run(self) -> Result<Answers, SendError> {
        let shared = &self.channel.shared;
        let outbox = self
            .channel
            .outbox
            .as_ref()
            .map_err(|error| NotSent::from(error.clone()))?;
        let deadline = deadline_in(self.timeout);
        let room = reserve(shared, outbox, self.payload.len(), Some(deadline)).await?;
        let permit = shared.begin_call()?;
        let state = CallState::new();
        let queue = Arc::new(Queue::new());
        let (sent, holders) = oneshot::channel();
        let slot = CallSlot {
            state: Arc::clone(&state),
            end: CallEnd::Many {
                queue: Arc::clone(&queue),
                sent: Some(sent),
            },
            _permit: permit,
        };
        outbox.push_gather(shared, self.payload, deadline, slot, room)?;
        let mut cancel = CancelOnDrop {
            shared: Arc::clone(shared),
            state,
            armed: true,
        };
        match tokio::time::timeout_at(deadline, holders).await {
            Ok(Ok(Ok(holders))) => Ok(Answers {
                queue,
                taken: VecDeque::new(),
                holders,
                cancel,
            }),
            Ok(Ok(Err(not_sent))) => {
                cancel.armed = false;
                Err(not_sent.into())
            }
            Ok(Err(_)) => Err(Unknown::Closed(shared.closed_reason()).into()),
            Err(_) => Err(Unknown::TimedOut.into()),
        }
    }
}

impl<'a> IntoFuture for RequestAll<'a> {
    type Output = Result<Answers, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
