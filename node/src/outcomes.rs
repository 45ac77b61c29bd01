//! What becomes of one multicast at each of its holders.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use rolecast_membership::NodeId;

use crate::outbox::Outbox;
use crate::receipt::Receipt;
use crate::settlement::Fates;

/// What became of a message at one holder.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::HolderOutcome;
///
/// let mut inbox = node.register("news").await?;
/// let receipt = node.channel("news").multicast("hello").await?;
/// inbox.next().await;
/// let mut outcomes = receipt.outcomes();
/// while let Some((holder, how)) = outcomes.next().await {
///     match how {
///         HolderOutcome::Acknowledged => println!("{holder} has it"),
///         HolderOutcome::Left | HolderOutcome::DeclaredDown => println!("{holder} is gone"),
///         other => println!("{holder} was passed over: {other:?}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HolderOutcome {
    /// Its program has taken the message.
    Acknowledged,
    /// It was declared down, or came back in another life, before it acknowledged the message, which it may have taken or not.
    DeclaredDown,
    /// It left before it acknowledged the message, which it may have taken or not.
    Left,
    /// It gave up the role, or went elsewhere, before it acknowledged the message, which it may have taken or not.
    Unregistered,
    /// This node went on without it, because it was too slow; it gets the message yet, or is told that it lags.
    Evicted,
    /// It got a later message with the same key instead.
    Superseded,
    /// It takes no payload of this length.
    TooLarge,
}

/// The stream of what becomes of a message at each holder; see [`Receipt::outcomes`].
///
/// It ends when that is known of all of them, or never will be because this node is closed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{HolderOutcome, Outcomes};
///
/// async fn count_taken(mut outcomes: Outcomes) -> usize {
///     let mut taken = 0;
///     while let Some((_, how)) = outcomes.next().await {
///         taken += usize::from(how == HolderOutcome::Acknowledged);
///     }
///     taken
/// }
///
/// let mut inbox = node.register("news").await?;
/// let receipt = node.channel("news").multicast("hello").await?;
/// inbox.next().await;
/// assert_eq!(count_taken(receipt.outcomes()).await, 1);
/// # Ok(())
/// # }
/// ```
pub struct Outcomes {
    /// Those of the roles that are not through, each with the outbox that is followed for it.
    receipts: VecDeque<(Receipt, Followed)>,
    /// The holders of the first of these that were told of.
    told: BTreeSet<NodeId>,
    known: VecDeque<(NodeId, HolderOutcome)>,
    next: Option<NextFates>,
}

type NextFates = Pin<Box<dyn Future<Output = Option<Fates>> + Send>>;

/// An outbox of which somebody wants to know who has acknowledged how much.
struct Followed(Arc<Outbox>);

impl Followed {
    fn new(outbox: &Arc<Outbox>) -> Self {
        outbox.settlement.count_follower(true);
        outbox.follow_acknowledgements();
        Followed(Arc::clone(outbox))
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.0.settlement.count_follower(false);
    }
}

impl Outcomes {
    pub(crate) fn new(receipt: &Receipt) -> Self {
        let followed = |receipt: &Receipt| {
            let alone = Receipt {
                others: None,
                ..receipt.clone()
            };
            (alone, Followed::new(&receipt.outbox))
        };
        Outcomes {
            receipts: receipt.each().map(followed).collect(),
            told: BTreeSet::new(),
            known: VecDeque::new(),
            next: None,
        }
    }

    /// The next holder of which it is known what became of the message there; `None` if there are no more.
    ///
    /// Cancel safe: what is dropped while it waits is told next time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::HolderOutcome;
    ///
    /// let mut inbox = node.register("news").await?;
    /// let mut outcomes = node.channel("news").multicast("hello").await?.outcomes();
    /// inbox.next().await;
    /// assert_eq!(outcomes.next().await, Some((node.id(), HolderOutcome::Acknowledged)));
    /// assert_eq!(outcomes.next().await, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<(NodeId, HolderOutcome)> {
        std::future::poll_fn(|cx| self.poll_outcome(cx)).await
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Option<(NodeId, HolderOutcome)>> {
        loop {
            if let Some(known) = self.known.pop_front() {
                return Poll::Ready(Some(known));
            }
            let Some((receipt, _)) = self.receipts.front() else {
                return Poll::Ready(None);
            };
            let next = self.next.get_or_insert_with(|| {
                let known = self.told.len();
                Box::pin(receipt.clone().wait_fates(known))
            });
            let fates = ready!(next.as_mut().poll(cx));
            self.next = None;
            let (fates, all) = fates.unwrap_or_else(|| (Vec::new(), true));
            let news = fates
                .into_iter()
                .filter(|(node, _)| self.told.insert(*node));
            self.known.extend(news);
            if all {
                self.receipts.pop_front();
                self.told.clear();
            }
        }
    }
}

impl Stream for Outcomes {
    type Item = (NodeId, HolderOutcome);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_outcome(cx)
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
