//! A request to every holder.

use std::collections::VecDeque;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{SemaphorePermit, oneshot};
use tokio::time::Instant;

use super::DEFAULT_TIMEOUT;
use crate::answers::{Answer, Answers};
use crate::call::{CallEnd, CallSlot, CallState, CancelOnDrop};
use crate::channel::Channel;
use crate::clock::deadline_in;
use crate::error::{NotSent, SendError, Unknown};
use crate::multicast::reserve;
use crate::outbox::Outbox;
use crate::pattern;
use crate::queue::Queue;
use crate::shared::{CallPermit, Shared};

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
        if outbox.role.name.is_pattern() {
            return pattern::request_all(self.channel, self.payload, deadline).await;
        }
        let room = reserve(shared, outbox, self.payload.len(), Some(deadline)).await?;
        let room = (room, shared.begin_call()?);
        let asking = Asking::begin(shared, outbox, (self.payload, deadline), room)?;
        asking.sent(shared, deadline).await
    }
}

/// A request to all holders of one role that is on its way to the driver.
pub(crate) struct Asking {
    queue: Arc<Queue<Answer>>,
    holders: oneshot::Receiver<Result<usize, NotSent>>,
    cancel: CancelOnDrop,
}

impl Asking {
    pub(crate) fn begin(
        shared: &Arc<Shared>,
        outbox: &Arc<Outbox>,
        (payload, deadline): (Bytes, Instant),
        (room, permit): (SemaphorePermit<'_>, CallPermit),
    ) -> Result<Self, NotSent> {
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
        outbox.push_gather(shared, payload, deadline, slot, room)?;
        Ok(Asking {
            queue,
            holders,
            cancel: CancelOnDrop {
                shared: Arc::clone(shared),
                state,
                armed: true,
            },
        })
    }

    /// Waits until it was sent.
    pub(crate) async fn sent(
        self,
        shared: &Shared,
        deadline: Instant,
    ) -> Result<Answers, SendError> {
        let Asking {
            queue,
            holders,
            mut cancel,
        } = self;
        match tokio::time::timeout_at(deadline, holders).await {
            Ok(Ok(Ok(holders))) => Ok(Answers {
                queue,
                taken: VecDeque::new(),
                holders,
                cancel,
                others: Vec::new(),
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
