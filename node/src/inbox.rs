//! A holder's stream of deliveries.
//!
//! This is the receiver's hot path: the driver appends whole batches, the inbox takes them apart as its owner asks for the next message, and one ticket goes back per batch.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use rolecast_membership::RoleName;
use rolecast_protocol::{
    Delivery, Gap, InboxId, Lagged, Messages, Origin, Refusal, Seq, Started, Ticket,
};
use tokio::sync::oneshot;

use crate::command::{Command, Reply};
use crate::download::Download;
use crate::error::ClosedReason;
use crate::large::{LargeMessage, PayloadReader};
use crate::message::{Message, Responder, Source};
use crate::queue::Queue;
use crate::shared::Shared;

/// What the driver puts into an inbox.
pub(crate) enum Arrival {
    /// What the engine delivers.
    Delivery(Delivery),
    /// A large payload is announced.
    Large(Announced),
    /// Nothing more will come, for this reason.
    Closed(ClosedReason),
}

/// A large payload in its place among the messages.
pub(crate) struct Announced {
    pub(crate) origin: Origin,
    pub(crate) seq: Seq,
    pub(crate) length: Option<u64>,
    pub(crate) download: Arc<Download>,
    pub(crate) ticket: Ticket,
}

pub(crate) type InboxQueue = Queue<Arrival>;

/// What comes out of an [`Inbox`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::InboxItem;
///
/// /// Whether the copy that a program keeps is still good.
/// fn apply(item: InboxItem, copy: &mut Vec<String>) -> bool {
///     match item {
///         InboxItem::Message(message) => {
///             copy.push(String::from_utf8_lossy(message.payload()).into_owned());
///             true
///         }
///         // Something is missing from here on: ask for all of it again.
///         InboxItem::Gap(_) => false,
///         InboxItem::Closed(_) => true,
///         _ => true,
///     }
/// }
///
/// let mut inbox = node.register("user-list:listener").await?;
/// node.channel("user-list:listener").multicast("user 17").await?;
/// let mut copy = Vec::new();
/// assert!(apply(inbox.next().await.expect("it was sent"), &mut copy));
/// assert_eq!(copy, ["user 17"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum InboxItem {
    /// A message, or a request.
    Message(Message),
    /// A message whose payload is too large to come in one piece, to be read as it comes, or gathered.
    Large(LargeMessage),
    /// Messages that were meant for this inbox and will never come.
    Gap(Gap),
    /// A sender had sent to the role before this node held it: what it sent before a certain message was not meant for this inbox.
    ///
    /// It comes before the sender's first message, if that is not the first one it ever sent so.
    Started(Started),
    /// This program was so slow that a sender went on without it ([`SlowReceivers::Evict`](crate::SlowReceivers::Evict)): what that one sent meanwhile does not come.
    ///
    /// Everything that it had sent before was taken out before this; the inbox goes on with [`InboxItem::Started`] by itself.
    Lagged(Lagged),
    /// Nothing more will come; the inbox ends after this.
    Closed(ClosedReason),
}

impl InboxItem {
    /// The message, if it is one that is whole; see [`LargeMessage::into_message`] for the others.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("news").await?;
    /// node.channel("news").multicast("hello").await?;
    /// let message = inbox.next().await.and_then(|item| item.into_message());
    /// assert_eq!(message.expect("nothing is lost here").payload(), "hello");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        match self {
            InboxItem::Message(message) => Some(message),
            InboxItem::Large(_)
            | InboxItem::Gap(_)
            | InboxItem::Started(_)
            | InboxItem::Lagged(_)
            | InboxItem::Closed(_) => None,
        }
    }
}

/// A holder's stream of what is sent to its role.
///
/// Dropping it gives the role up at once; requests that were not taken out are refused.
/// Whoever holds an inbox should keep reading: what is not taken holds the senders back, this node among them if it sends to its own role.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{Inbox, InboxItem};
///
/// async fn read(mut inbox: Inbox) {
///     while let Some(item) = inbox.next().await {
///         match item {
///             InboxItem::Message(message) => println!("{} says {:?}", message.origin(), message.payload()),
///             InboxItem::Gap(gap) => println!("messages are lost: {gap:?}"),
///             InboxItem::Closed(reason) => println!("the end: {reason}"),
///             _ => {}
///         }
///     }
/// }
///
/// let reading = tokio::spawn(read(node.register("news").await?));
/// node.channel("news").multicast("hello").await?;
/// node.shutdown().await;
/// reading.await?;
/// # Ok(())
/// # }
/// ```
pub struct Inbox {
    shared: Arc<Shared>,
    id: InboxId,
    role: RoleName,
    queue: Arc<InboxQueue>,
    /// Whether the role is still to be given up.
    held: bool,
    arrived: VecDeque<Arrival>,
    current: Option<Current>,
    ended: bool,
}

/// The batch that is being taken apart.
struct Current {
    messages: Messages,
    source: Arc<Source>,
    next: Seq,
    ticket: Ticket,
}

impl Inbox {
    pub(crate) fn new(
        shared: Arc<Shared>,
        id: InboxId,
        role: RoleName,
        queue: Arc<InboxQueue>,
    ) -> Self {
        let arrived = VecDeque::new();
        Inbox {
            shared,
            id,
            role,
            queue,
            held: true,
            arrived,
            current: None,
            ended: false,
        }
    }

    /// The role that it belongs to.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let inbox = node.register("news").await?;
    /// assert_eq!(inbox.role().as_str(), "news");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// The next item; `None` after the end.
    ///
    /// Cancel safe: nothing is lost when the future is dropped before it resolved.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// use std::time::Duration;
    ///
    /// let mut inbox = node.register("news").await?;
    /// let nothing_yet = tokio::time::timeout(Duration::from_millis(10), inbox.next()).await;
    /// assert!(nothing_yet.is_err());
    ///
    /// node.channel("news").multicast("hello").await?;
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(message.payload(), "hello");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<InboxItem> {
        std::future::poll_fn(|cx| self.poll_item(cx)).await
    }

    /// Waits for at least one item and appends what is there, at most `limit` items; says how many, 0 only after the end.
    ///
    /// Cancel safe, and the fastest way to take many messages.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("news").await?;
    /// let channel = node.channel("news");
    /// channel.multicast("one").await?;
    /// channel.multicast("two").await?;
    /// let mut items = Vec::new();
    /// while items.len() < 2 {
    ///     inbox.next_many(&mut items, 100).await;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next_many(&mut self, into: &mut Vec<InboxItem>, limit: usize) -> usize {
        std::future::poll_fn(|cx| self.poll_many(cx, into, limit)).await
    }

    /// Gives the role up.
    ///
    /// What was delivered before may still be taken; then the inbox ends, with [`InboxItem::Closed`].
    /// Senders hear first of what was taken; one that does not, because what it sent is still being passed on or because there is no link to it, counts this holder as lost for that.
    /// Cancel safe: the role is given up even if the future is dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::{ClosedReason, InboxItem};
    ///
    /// let mut inbox = node.register("master").await?;
    /// inbox.unregister().await?;
    /// assert!(matches!(inbox.next().await, Some(InboxItem::Closed(ClosedReason::Unregistered))));
    /// assert!(inbox.next().await.is_none());
    /// let again = node.register("master").await?;
    /// # drop(again);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClosedReason`] if the node is closed, and so holds no role anyway.
    pub async fn unregister(&mut self) -> Result<(), ClosedReason> {
        if !self.held {
            return Ok(());
        }
        let (done, unregistered) = oneshot::channel();
        self.release(Some(done))?;
        unregistered.await.map_err(|_| self.shared.closed_reason())
    }

    fn release(&mut self, done: Option<oneshot::Sender<()>>) -> Result<(), ClosedReason> {
        self.held = false;
        self.shared.submit(Command::Unregister {
            inbox: self.id,
            done,
        })
    }

    fn poll_many(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<InboxItem>,
        limit: usize,
    ) -> Poll<usize> {
        let before = into.len();
        while into.len() - before < limit {
            match self.poll_item(cx) {
                Poll::Ready(Some(item)) => into.push(item),
                Poll::Ready(None) => break,
                Poll::Pending if into.len() == before => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(into.len() - before)
    }

    #[inline]
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<InboxItem>> {
        loop {
            if let Some(message) = self.next_of_batch() {
                return Poll::Ready(Some(InboxItem::Message(message)));
            }
            let Some(arrival) = self.arrived.pop_front() else {
                if self.ended {
                    return Poll::Ready(None);
                }
                self.ended = !std::task::ready!(self.queue.poll_take(cx, &mut self.arrived));
                continue;
            };
            if let Some(item) = self.open(arrival) {
                return Poll::Ready(Some(item));
            }
        }
    }

    /// The next message of the batch that is being taken apart.
    #[inline]
    fn next_of_batch(&mut self) -> Option<Message> {
        let current = self.current.as_mut()?;
        let seq = current.next;
        current.next.0 += 1;
        let next = current.messages.next();
        let responder = next.as_ref().and_then(|next| {
            next.call
                .map(|call| Responder::new(Arc::clone(&current.source), call))
        });
        let message = next.map(|next| Message {
            payload: next.payload,
            source: Arc::clone(&current.source),
            seq: Some(seq),
            responder,
        });
        if current.messages.len() == 0 {
            self.shared.consume(current.ticket);
            self.current = None;
        }
        message
    }

    /// Turns what arrived into an item, or into the batch to be taken apart.
    fn open(&mut self, arrival: Arrival) -> Option<InboxItem> {
        match arrival {
            Arrival::Delivery(Delivery::Messages {
                origin,
                first,
                batch,
                ticket,
                ..
            }) => {
                let source = Arc::new(Source::new(&self.shared, origin, &self.role));
                let messages = batch.into_messages();
                self.current = Some(Current {
                    messages,
                    source,
                    next: first,
                    ticket,
                });
                None
            }
            Arrival::Delivery(Delivery::Call {
                from,
                wants_reply,
                payload,
                ticket,
            }) => {
                self.shared.consume(ticket);
                let source = Arc::new(Source::new(&self.shared, from.origin, &self.role));
                let responder = wants_reply.then(|| Responder::new(Arc::clone(&source), from.call));
                let message = Message {
                    payload,
                    source,
                    seq: None,
                    responder,
                };
                Some(InboxItem::Message(message))
            }
            Arrival::Delivery(Delivery::Gap(gap)) => Some(InboxItem::Gap(gap)),
            Arrival::Delivery(Delivery::Started(started)) => Some(InboxItem::Started(started)),
            Arrival::Delivery(Delivery::Lagged(lagged)) => Some(InboxItem::Lagged(lagged)),
            // The driver hands these over in another form.
            Arrival::Delivery(
                Delivery::Large { .. } | Delivery::Chunk { .. } | Delivery::LargeEnd { .. },
            ) => None,
            Arrival::Large(announced) => {
                let Announced {
                    origin,
                    seq,
                    length,
                    download,
                    ticket,
                } = announced;
                self.shared.consume(ticket);
                let source = Arc::new(Source::new(&self.shared, origin, &self.role));
                let reader = PayloadReader::new(Arc::clone(&source), download);
                Some(InboxItem::Large(LargeMessage {
                    source,
                    seq: Some(seq),
                    length,
                    reader,
                }))
            }
            Arrival::Closed(reason) => {
                self.ended = true;
                Some(InboxItem::Closed(reason))
            }
        }
    }
}

impl Stream for Inbox {
    type Item = InboxItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<InboxItem>> {
        self.poll_item(cx)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if self.held {
            // A closed node has given up every role already.
            let _ = self.release(None);
        }
        let arrived = std::mem::take(&mut self.arrived);
        for arrival in arrived.into_iter().chain(self.queue.close_and_drain()) {
            refuse(&self.shared, arrival, Refusal::NotHolder);
        }
        while let Some(message) = self.next_of_batch() {
            drop(message);
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Tells whoever waits for what was not taken out.
pub(crate) fn refuse(shared: &Shared, arrival: Arrival, refusal: Refusal) {
    let delivery = match arrival {
        Arrival::Delivery(delivery) => delivery,
        Arrival::Large(announced) => {
            shared.consume(announced.ticket);
            announced.download.abandon(shared);
            return;
        }
        Arrival::Closed(_) => return,
    };
    match delivery {
        Delivery::Call {
            from,
            wants_reply,
            ticket,
            ..
        } => {
            shared.consume(ticket);
            if wants_reply {
                let answer = Err(refusal);
                let _ = shared.submit(Command::Reply(Reply {
                    to: from,
                    answer,
                    done: None,
                }));
            }
        }
        Delivery::Messages {
            origin,
            batch,
            ticket,
            ..
        } => {
            for call in batch.into_messages().filter_map(|message| message.call) {
                let to = rolecast_protocol::ReplyTo { origin, call };
                let answer = Err(refusal);
                let _ = shared.submit(Command::Reply(Reply {
                    to,
                    answer,
                    done: None,
                }));
            }
            shared.consume(ticket);
        }
        Delivery::Gap(_)
        | Delivery::Started(_)
        | Delivery::Lagged(_)
        | Delivery::Large { .. }
        | Delivery::Chunk { .. }
        | Delivery::LargeEnd { .. } => {}
    }
}
