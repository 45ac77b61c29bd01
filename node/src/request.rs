//! Sending to one holder, and asking one holder or all.

use std::collections::VecDeque;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::NodeId;
use rolecast_protocol::{Answer as EngineAnswer, CallKind, Pick, Target};
use tokio::sync::oneshot;

use crate::answers::Answers;
use crate::call::{CallEnd, CallSlot, CallState, CancelOnDrop};
use crate::channel::Channel;
use crate::clock::deadline_in;
use crate::command::Command;
use crate::error::{NotSent, SendError, Unknown};
use crate::multicast::reserve;
use crate::queue::Queue;

/// How long a call may take when its caller does not say.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # let mut inbox = node.register("clock").await?;
/// # tokio::spawn(async move {
/// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
/// #         let _ = message.reply("noon").await;
/// #     }
/// # });
///
/// use rolecast::DEFAULT_TIMEOUT;
/// use std::time::Duration;
///
/// // Whoever has to be done in two seconds does not wait for longer.
/// let left = Duration::from_secs(2);
/// node.channel("clock").request("what time is it?").timeout(left.min(DEFAULT_TIMEOUT)).await?;
/// # Ok(())
/// # }
/// ```
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// What [`Request`] and [`Anycast`] have in common.
struct OneCall<'a> {
    channel: &'a Channel,
    payload: Bytes,
    pick: Option<Pick>,
    node: Option<NodeId>,
    timeout: Duration,
}

impl<'a> OneCall<'a> {
    fn new(channel: &'a Channel, payload: Bytes) -> Self {
        OneCall {
            channel,
            payload,
            pick: None,
            node: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Makes the call, and awaits its end.
    async fn run(self, kind: CallKind) -> Result<(NodeId, EngineAnswer), SendError> {
        let shared = &self.channel.shared;
        let role = self
            .channel
            .outbox
            .as_ref()
            .map_err(|error| NotSent::from(error.clone()))?;
        let role = role.role.name.clone();
        shared.check_payload(self.payload.len())?;
        let deadline = deadline_in(self.timeout);
        let room = tokio::time::timeout_at(deadline, shared.reserve_call(self.payload.len()));
        let room = room.await.unwrap_or(Err(NotSent::TimedOut))?;

        let permit = shared.begin_call()?;
        let state = CallState::new();
        let (end, ended) = oneshot::channel();
        let slot = CallSlot {
            state: Arc::clone(&state),
            end: CallEnd::One(end),
            _permit: permit,
        };
        let target = match (self.node, self.pick) {
            (Some(node), _) => Target::Node(node, role.clone()),
            (None, Some(pick)) => Target::Any(role.clone(), pick),
            (None, None) => Target::Any(role.clone(), self.channel.pick.clone()),
        };
        let cost = room.num_permits();
        shared
            .submit(Command::Call {
                target,
                kind,
                payload: self.payload,
                deadline,
                slot,
                cost,
            })
            .map_err(NotSent::from)?;
        // The driver gives it back when the engine has taken the call.
        room.forget();

        let mut cancel = CancelOnDrop {
            shared: Arc::clone(shared),
            state,
            armed: true,
        };
        let ended = ended.await;
        cancel.armed = false;
        match ended {
            Ok(Ok((node, answer))) => judge(node, answer),
            Ok(Err(not_sent)) => Err(not_sent.into()),
            Err(_) => Err(Unknown::Closed(shared.closed_reason()).into()),
        }
    }
}

/// Tells the ways in which a call can fail from an answer.
fn judge(node: Option<NodeId>, answer: EngineAnswer) -> Result<(NodeId, EngineAnswer), SendError> {
    match (answer, node) {
        (EngineAnswer::Refused(reason), Some(node)) => Err(SendError::Refused { node, reason }),
        (EngineAnswer::NotSent, _) => Err(SendError::NotSent(NotSent::NoLink)),
        (EngineAnswer::TimedOut, _) => Err(SendError::Unknown(Unknown::TimedOut)),
        (answer @ (EngineAnswer::Taken | EngineAnswer::Reply(_)), Some(node)) => Ok((node, answer)),
        _ => Err(SendError::Unknown(Unknown::HolderGone)),
    }
}

/// A message to one holder, to be awaited; see [`Channel::anycast`] and [`Channel::unicast`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{Anycast, Pick};
/// use std::time::Duration;
///
/// // A program's own policy for jobs.
/// fn job(call: Anycast<'_>) -> Anycast<'_> {
///     call.pick(Pick::LeastOutstanding).timeout(Duration::from_secs(1))
/// }
///
/// let _inbox = node.register("worker").await?;
/// let delivered = job(node.channel("worker").anycast("resize image 4")).await?;
/// assert_eq!(delivered.node, node.id());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before this is awaited"]
pub struct Anycast<'a> {
    call: OneCall<'a>,
}

impl<'a> Anycast<'a> {
    pub(crate) fn new(channel: &'a Channel, payload: Bytes) -> Self {
        Anycast {
            call: OneCall::new(channel, payload),
        }
    }

    /// Chooses the holder so, instead of as the channel does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// use rolecast::Pick;
    ///
    /// let _inboxes = (first.register("worker").await?, second.register("worker").await?);
    /// let workers = first.channel("worker");
    /// workers.wait_for_holders(2).await?;
    /// let one = workers.anycast("resize image 4").pick(Pick::RoundRobin).await?;
    /// let other = workers.anycast("resize image 5").pick(Pick::RoundRobin).await?;
    /// assert_ne!(one.node, other.node);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pick(mut self, pick: Pick) -> Self {
        self.call.pick = Some(pick);
        self
    }

    /// Always the same holder for the same key, as long as it holds the role.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// let _inboxes = (first.register("basket").await?, second.register("basket").await?);
    /// let baskets = first.channel("basket");
    /// baskets.wait_for_holders(2).await?;
    /// let one = baskets.anycast("add a book").sticky("user 17").await?;
    /// let other = baskets.anycast("add a pen").sticky("user 17").await?;
    /// assert_eq!(one.node, other.node);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sticky(self, key: impl Into<Bytes>) -> Self {
        self.pick(Pick::Sticky(key.into()))
    }

    /// This node and no other.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inbox = node.register("worker").await?;
    /// let delivered = node.channel("worker").anycast("drain").to(node.id()).await?;
    /// assert_eq!(delivered.node, node.id());
    ///
    /// // It goes to nobody else, even if others hold the role.
    /// let refused = node.channel("idler").anycast("drain").to(node.id()).await;
    /// assert!(refused.is_err_and(|error| !error.may_have_arrived()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn to(mut self, node: NodeId) -> Self {
        self.call.node = Some(node);
        self
    }

    /// Gives up after this long instead of [`DEFAULT_TIMEOUT`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use std::time::Duration;
    ///
    /// let _inbox = node.register("worker").await?;
    /// node.channel("worker").anycast("resize image 4").timeout(Duration::from_millis(500)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call.timeout = timeout;
        self
    }
}

/// Says that a message is in a holder's inbox.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{Channel, Delivered, SendError};
///
/// async fn hand_over(workers: &Channel, job: &'static str) -> Result<(), SendError> {
///     let Delivered { node, .. } = workers.anycast(job).await?;
///     println!("{node} has {job:?}, though it may not have begun");
///     Ok(())
/// }
///
/// let _inbox = node.register("worker").await?;
/// hand_over(&node.channel("worker"), "resize image 4").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The holder.
    pub node: NodeId,
}

impl<'a> IntoFuture for Anycast<'a> {
    type Output = Result<Delivered, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (node, _) = self.call.run(CallKind::OneWay).await?;
            Ok(Delivered { node })
        })
    }
}

/// A request to one holder, to be awaited; see [`Channel::request`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # let mut inbox = node.register("db").await?;
/// # tokio::spawn(async move {
/// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
/// #         let _ = message.reply("42").await;
/// #     }
/// # });
///
/// use rolecast::Request;
/// use std::time::Duration;
///
/// // A program's own policy for reads.
/// fn read<'a>(request: Request<'a>, user: &str) -> Request<'a> {
///     request.sticky(user.to_owned()).timeout(Duration::from_secs(1))
/// }
///
/// let reply = read(node.channel("db").request("balance"), "user 17").await?;
/// assert_eq!(reply.payload, "42");
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before this is awaited"]
pub struct Request<'a> {
    call: OneCall<'a>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(channel: &'a Channel, payload: Bytes) -> Self {
        Request {
            call: OneCall::new(channel, payload),
        }
    }

    /// Chooses the holder so, instead of as the channel does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # let mut inbox = node.register("db").await?;
    /// # tokio::spawn(async move {
    /// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
    /// #         let _ = message.reply("42").await;
    /// #     }
    /// # });
    ///
    /// use rolecast::Pick;
    ///
    /// let reply = node.channel("db").request("balance").pick(Pick::LeastOutstanding).await?;
    /// assert_eq!(reply.payload, "42");
    /// # Ok(())
    /// # }
    /// ```
    pub fn pick(mut self, pick: Pick) -> Self {
        self.call.pick = Some(pick);
        self
    }

    /// Always the same holder for the same key, as long as it holds the role.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # let mut inbox = node.register("db").await?;
    /// # tokio::spawn(async move {
    /// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
    /// #         let _ = message.reply("42").await;
    /// #     }
    /// # });
    ///
    /// let channel = node.channel("db");
    /// let one = channel.request("balance").sticky("user 17").await?;
    /// let other = channel.request("balance").sticky("user 17").await?;
    /// assert_eq!(one.node, other.node);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sticky(self, key: impl Into<Bytes>) -> Self {
        self.pick(Pick::Sticky(key.into()))
    }

    /// This node and no other.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # let mut inbox = node.register("db").await?;
    /// # tokio::spawn(async move {
    /// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
    /// #         let _ = message.reply("42").await;
    /// #     }
    /// # });
    ///
    /// let reply = node.channel("db").request("how many rows have you?").to(node.id()).await?;
    /// assert_eq!(reply.node, node.id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn to(mut self, node: NodeId) -> Self {
        self.call.node = Some(node);
        self
    }

    /// Gives up after this long instead of [`DEFAULT_TIMEOUT`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::{SendError, Unknown};
    /// use std::time::Duration;
    ///
    /// let _not_read = node.register("db").await?;
    /// let error = node.channel("db").request("balance").timeout(Duration::from_millis(20)).await.unwrap_err();
    /// assert_eq!(error, SendError::Unknown(Unknown::TimedOut));
    /// assert!(error.may_have_arrived());
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call.timeout = timeout;
        self
    }
}

/// What a holder answered.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # let mut inbox = node.register("db").await?;
/// # tokio::spawn(async move {
/// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
/// #         let _ = message.reply("42").await;
/// #     }
/// # });
///
/// use rolecast::{Channel, Reply, SendError};
///
/// async fn balance(db: &Channel) -> Result<String, SendError> {
///     let Reply { node, payload, .. } = db.request("balance").await?;
///     println!("{node} has answered");
///     Ok(String::from_utf8_lossy(&payload).into_owned())
/// }
///
/// assert_eq!(balance(&node.channel("db")).await?, "42");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// The holder.
    pub node: NodeId,
    /// Its answer.
    pub payload: Bytes,
}

impl<'a> IntoFuture for Request<'a> {
    type Output = Result<Reply, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.call.run(CallKind::Request).await? {
                (node, EngineAnswer::Reply(payload)) => Ok(Reply { node, payload }),
                _ => Err(SendError::Unknown(Unknown::HolderGone)),
            }
        })
    }
}

/// A request to every holder, to be awaited; see [`Channel::request_all`].
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
