//! One message as its receiver sees it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, RoleName};
use rolecast_protocol::{CallId, Origin, Refusal, ReplyTo, Seq};
use tokio::sync::oneshot;

use crate::command::{Command, Reply};
use crate::error::ReplyError;
use crate::shared::Shared;

/// A message, or a request, that came to a role.
///
/// A request that is dropped without a reply is refused: whoever asked learns it at once.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # use rolecast::InboxItem;
/// let mut inbox = node.register("news").await?;
/// node.channel("news").multicast("hello").await?;
/// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
/// assert_eq!((message.origin(), message.epoch()), (node.id(), node.epoch()));
/// assert_eq!(message.role().as_str(), "news");
/// assert_eq!(message.seq().map(|seq| seq.0), Some(1));
/// assert!(!message.is_request());
/// # Ok(())
/// # }
/// ```
pub struct Message {
    pub(crate) payload: Bytes,
    pub(crate) source: Arc<Source>,
    pub(crate) seq: Option<Seq>,
    pub(crate) responder: Option<Responder>,
}

/// What all messages of one batch have in common.
pub(crate) struct Source {
    shared: Arc<Shared>,
    origin: Origin,
    role: RoleName,
}

impl Source {
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    pub(crate) fn role(&self) -> &RoleName {
        &self.role
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn new(shared: &Arc<Shared>, origin: Origin, role: &RoleName) -> Self {
        Source {
            shared: Arc::clone(shared),
            origin,
            role: role.clone(),
        }
    }
}

impl Message {
    /// What was sent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = node.register("news").await?;
    /// node.channel("news").multicast("hello").await?;
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(std::str::from_utf8(message.payload())?, "hello");
    /// // To keep it, clone it: the bytes are shared, not copied.
    /// let kept = message.payload().clone();
    /// drop(message);
    /// assert_eq!(kept, "hello");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// What was sent, and the right to reply if it is a request.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = node.register("news").await?;
    /// node.channel("news").multicast("hello").await?;
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// let (payload, responder) = message.into_parts();
    /// assert_eq!(payload, "hello");
    /// assert!(responder.is_none(), "a multicast awaits no reply");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "dropping the responder of a request refuses it"]
    pub fn into_parts(self) -> (Bytes, Option<Responder>) {
        (self.payload, self.responder)
    }

    /// The node that sent it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = node.register("questions").await?;
    /// let mut answers = node.register("answers").await?;
    /// node.channel("questions").multicast("who is there?").await?;
    ///
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// node.channel("answers").unicast(message.origin(), "I am").await?;
    /// # assert!(answers.next().await.is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn origin(&self) -> NodeId {
        self.source.origin.node
    }

    /// The life in which that node sent it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// use std::collections::BTreeMap;
    ///
    /// let mut inbox = node.register("news").await?;
    /// node.channel("news").multicast("hello").await?;
    /// let mut lives = BTreeMap::new();
    ///
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// match lives.insert(message.origin(), message.epoch()) {
    ///     Some(former) if former < message.epoch() => println!("it has started again, and knows nothing of before"),
    ///     _ => {}
    /// }
    /// assert_eq!(lives[&node.id()], node.epoch());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.source.origin.epoch
    }

    /// The role that it was sent to.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// let mut orders = node.register("orders").await?;
    /// let mut returns = node.register("returns").await?;
    /// node.channel("returns").multicast("order 4").await?;
    ///
    /// // One place for what comes to several roles.
    /// let item = tokio::select! {
    ///     item = orders.next() => item,
    ///     item = returns.next() => item,
    /// };
    /// let Some(InboxItem::Message(message)) = item else { panic!("nothing is lost here") };
    /// assert_eq!(message.role().as_str(), "returns");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn role(&self) -> &RoleName {
        &self.source.role
    }

    /// Its position among the origin's multicasts over one kind of channel, as in [`Receipt::seq`](crate::Receipt::seq); `None` if it was sent to this holder alone.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = node.register("news").await?;
    /// let channel = node.channel("news");
    /// let receipt = channel.multicast("hello").await?;
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(message.seq(), Some(receipt.seq()));
    ///
    /// channel.anycast("for one of you").await?;
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(message.seq(), None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn seq(&self) -> Option<Seq> {
        self.seq
    }

    /// Whether the origin awaits a reply.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::{InboxItem, ReplyError};
    /// let mut inbox = node.register("news").await?;
    /// node.channel("news").multicast("hello").await?;
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert!(!message.is_request());
    /// assert_eq!(message.reply("thanks").await, Err(ReplyError::NotARequest));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.responder.is_some()
    }

    /// As [`Responder::reply`].
    /// Dropped before it resolved, the answer may have been sent or not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = node.register("square").await?;
    /// let channel = node.channel("square");
    /// let asking = tokio::spawn(async move { channel.request("12").await });
    ///
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// let number: u32 = std::str::from_utf8(message.payload())?.parse()?;
    /// message.reply((number * number).to_string()).await?;
    /// assert_eq!(asking.await??.payload, "144");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplyError`] says why no answer was sent.
    pub async fn reply(self, payload: impl Into<Bytes>) -> Result<(), ReplyError> {
        match self.responder {
            Some(responder) => responder.reply(payload).await,
            None => Err(ReplyError::NotARequest),
        }
    }

    /// As [`Responder::send_reply`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = node.register("square").await?;
    /// let channel = node.channel("square");
    /// let asking = tokio::spawn(async move { channel.request("12").await });
    ///
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// let number: u32 = std::str::from_utf8(message.payload())?.parse()?;
    /// message.send_reply((number * number).to_string())?;
    /// assert_eq!(asking.await??.payload, "144");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplyError`] says why no answer is sent.
    pub fn send_reply(self, payload: impl Into<Bytes>) -> Result<(), ReplyError> {
        match self.responder {
            Some(responder) => responder.send_reply(payload),
            None => Err(ReplyError::NotARequest),
        }
    }

    /// As [`Responder::cancelled`].
    ///
    /// Never resolves for what is no request.
    /// Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = second.register("oracle").await?;
    /// let channel = first.channel("oracle");
    /// channel.wait_for_holders(1).await?;
    /// let asking = tokio::spawn(async move { channel.request("what is the answer?").await });
    ///
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// let thinking = std::future::pending::<&str>();
    /// asking.abort();
    /// tokio::select! {
    ///     () = message.cancelled() => println!("nobody wants to know any more"),
    ///     answer = thinking => message.reply(answer).await?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancelled(&self) {
        match &self.responder {
            Some(responder) => responder.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("role", self.role())
            .field("origin", &self.origin())
            .field("seq", &self.seq.map(|seq| seq.0))
            .field("bytes", &self.payload.len())
            .field("is_request", &self.is_request())
            .finish()
    }
}

/// The right to answer one request.
///
/// Dropped without a reply, it refuses the request.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # use rolecast::InboxItem;
/// use rolecast::{ReplyError, Responder};
///
/// async fn think(question: String, responder: Responder) -> Result<(), ReplyError> {
///     tokio::select! {
///         () = responder.cancelled() => Ok(()),
///         () = tokio::task::yield_now() => responder.reply(format!("{question} Who knows.")).await,
///     }
/// }
///
/// let mut inbox = node.register("oracle").await?;
/// let channel = node.channel("oracle");
/// let asking = tokio::spawn(async move { channel.request("Why?").await });
/// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
/// let (payload, Some(responder)) = message.into_parts() else { panic!("it is a request") };
/// tokio::spawn(think(String::from_utf8(payload.into())?, responder));
/// assert_eq!(asking.await??.payload, "Why? Who knows.");
/// # Ok(())
/// # }
/// ```
pub struct Responder {
    source: Arc<Source>,
    call: CallId,
    answered: bool,
}

impl Responder {
    pub(crate) fn new(source: Arc<Source>, call: CallId) -> Self {
        Responder {
            source,
            call,
            answered: false,
        }
    }

    /// Answers the request; resolves when the answer is on its way.
    ///
    /// If too much is on the way to whoever asked already, it waits until there is room, or until nobody awaits the answer any more.
    /// Dropped before it resolved, the answer may have been sent or not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = node.register("oracle").await?;
    /// let channel = node.channel("oracle");
    /// let asking = tokio::spawn(async move { channel.request("what is the answer?").await });
    ///
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// let (_, Some(responder)) = message.into_parts() else { panic!("it is a request") };
    /// // Another task answers, and the inbox goes on.
    /// tokio::spawn(async move { responder.reply("42").await });
    /// assert_eq!(asking.await??.payload, "42");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplyError`] says why no answer was sent; a request is refused when the answer to it is too large.
    pub async fn reply(self, payload: impl Into<Bytes>) -> Result<(), ReplyError> {
        let (done, replied) = oneshot::channel();
        let shared = Arc::clone(&self.source.shared);
        self.submit(payload.into(), Some(done))?;
        replied
            .await
            .unwrap_or_else(|_| Err(ReplyError::Closed(shared.closed_reason())))
    }

    /// Answers the request, and does not wait until the answer is on its way.
    ///
    /// That is the cheaper way to answer many requests, for a holder that has no use for what [`reply`](Responder::reply) would say: an answer that nobody awaits any more is dropped without a word.
    /// Answers that have no room on the way to whoever asked wait in this process, however many they are.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = node.register("oracle").await?;
    /// let channel = node.channel("oracle");
    /// let asking = tokio::spawn(async move { channel.request("what is the answer?").await });
    ///
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// let (_, Some(responder)) = message.into_parts() else { panic!("it is a request") };
    /// // A thread that knows nothing of futures answers.
    /// std::thread::spawn(move || responder.send_reply("42"));
    /// assert_eq!(asking.await??.payload, "42");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplyError::TooLarge`], upon which the request is refused, and [`ReplyError::Closed`].
    pub fn send_reply(self, payload: impl Into<Bytes>) -> Result<(), ReplyError> {
        self.submit(payload.into(), None)
    }

    fn submit(
        mut self,
        payload: Bytes,
        done: Option<oneshot::Sender<Result<(), ReplyError>>>,
    ) -> Result<(), ReplyError> {
        let max = self.source.shared.limits.payload_bytes_max;
        if payload.len() > max {
            return Err(ReplyError::TooLarge {
                bytes: payload.len(),
                max,
            });
        }
        self.answered = true;
        let to = self.to();
        let answer = Ok(payload);
        let reply = Reply { to, answer, done };
        self.source.shared.submit(Command::Reply(reply))?;
        Ok(())
    }

    /// Resolves when nobody awaits the answer any more: whoever asked gave up, left, was declared down or restarted, or this node is closed or goes on in another life.
    ///
    /// Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// # use rolecast::InboxItem;
    /// let mut inbox = second.register("oracle").await?;
    /// let channel = first.channel("oracle");
    /// channel.wait_for_holders(1).await?;
    /// let asking = tokio::spawn(async move { channel.request("what is the answer?").await });
    ///
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// let (_, Some(responder)) = message.into_parts() else { panic!("it is a request") };
    /// asking.abort();
    /// responder.cancelled().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancelled(&self) {
        let (done, cancelled) = oneshot::channel();
        // A closed node answers nobody.
        if self
            .source
            .shared
            .submit(Command::AwaitCancel {
                to: self.to(),
                done,
            })
            .is_ok()
        {
            let _ = cancelled.await;
        }
    }

    fn to(&self) -> ReplyTo {
        ReplyTo {
            origin: self.source.origin,
            call: self.call,
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.answered {
            let answer = Err(Refusal::Dropped);
            // A closed node has refused everything already.
            let _ = self.source.shared.submit(Command::Reply(Reply {
                to: self.to(),
                answer,
                done: None,
            }));
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("to", &self.to()).finish()
    }
}
