//! What a sender learns of a multicast.

use std::fmt;
use std::sync::Arc;

use rolecast_membership::{NodeId, RoleName};
use rolecast_protocol::Seq;

use crate::error::{NotStable, Unknown};
use crate::outbox::Outbox;
use crate::outcomes::{HolderOutcome, Outcomes};
use crate::settlement::{Fates, Waited};
use crate::shared::Shared;
use crate::upload::Upload;

/// Says that a multicast is on its way to every holder.
///
/// To drop it costs nothing and changes nothing.
/// [`Receipt::acked`] waits until every holder has taken the message.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # use rolecast::InboxItem;
/// use rolecast::Receipt;
///
/// let mut inbox = node.register("news").await?;
/// let receipt: Receipt = node.channel("news").multicast("hello").await?;
/// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
/// assert_eq!((Some(receipt.seq()), receipt.origin()), (message.seq(), message.origin()));
/// let outcome = receipt.acked().await?;
/// assert!(outcome.is_complete());
/// assert_eq!(outcome.acknowledged, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Receipt {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) origin: NodeId,
    pub(crate) seq: Seq,
    /// What is known of the payload, if it is large.
    pub(crate) upload: Option<Arc<Upload>>,
    /// Those of the other roles, if it was sent to a pattern.
    pub(crate) others: Option<Arc<[Receipt]>>,
}

impl Receipt {
    pub(crate) fn new(shared: &Shared, outbox: &Arc<Outbox>, seq: Seq) -> Self {
        Receipt {
            outbox: Arc::clone(outbox),
            origin: shared.id,
            seq,
            upload: None,
            others: None,
        }
    }

    /// The role that the message was sent to.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inbox = node.register("news").await?;
    /// let receipt = node.channel("news").multicast("hello").await?;
    /// assert_eq!(receipt.role().as_str(), "news");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn role(&self) -> &RoleName {
        &self.outbox.role.name
    }

    /// The node that sent it: this one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inbox = node.register("news").await?;
    /// let receipt = node.channel("news").multicast("hello").await?;
    /// assert_eq!(receipt.origin(), node.id());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn origin(&self) -> NodeId {
        self.origin
    }

    /// The position of the message among all that this node has multicast over channels of this role and way of spreading, from 1 and without holes.
    ///
    /// Holders see the same number in [`Message::seq`](crate::Message::seq), unless a request to all was given up before it was sent: it has a number here and none there.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inbox = node.register("news").await?;
    /// let channel = node.channel("news");
    /// let first = channel.multicast("hello").await?;
    /// let second = channel.multicast("good-bye").await?;
    /// assert_eq!((first.seq().0, second.seq().0), (1, 2));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The receipts of all the roles to which the message went: this one, and if it was sent to a pattern such as `user-list:*`, those of the other roles.
    ///
    /// What [`Receipt::role`], [`Receipt::seq`] and [`Receipt::holders`] say is of the first of these roles; [`Receipt::acked`] and [`Receipt::stable`] wait for all of them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inboxes = (node.register("list:a").await?, node.register("list:b").await?);
    /// let receipt = node.channel("list:*").multicast("hello").await?;
    /// let roles: Vec<&str> = receipt.each().map(|receipt| receipt.role().as_str()).collect();
    /// assert_eq!(roles, ["list:a", "list:b"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn each(&self) -> impl Iterator<Item = &Receipt> {
        let others = self.others.iter().flat_map(|others| others.iter());
        std::iter::once(self).chain(others)
    }

    /// How many holders the role has in this node's view.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let _inbox = node.register("news").await?;
    /// let receipt = node.channel("news").multicast("hello").await?;
    /// assert_eq!(receipt.holders(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn holders(&self) -> usize {
        self.outbox.role.holders().unwrap_or(0)
    }

    /// Waits until every holder has taken the message, was lost or evicted or got a later one instead, and says which.
    ///
    /// A holder has taken a message when its program has got it from its inbox, and a large one when its program has read all of it, or dropped it.
    /// Cancel safe: it only waits.
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
    /// let receipt = node.channel("news").multicast("hello").await?;
    /// let not_yet = tokio::time::timeout(Duration::from_millis(20), receipt.acked()).await;
    /// assert!(not_yet.is_err(), "it is not taken before somebody reads the inbox");
    ///
    /// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(receipt.acked().await?.acknowledged, 1);
    /// # drop(message);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Unknown::Closed`] if this node is closed before that is known.
    pub async fn acked(&self) -> Result<Outcome, Unknown> {
        let mut outcome = self.acked_alone().await?;
        for other in self.others.iter().flat_map(|others| others.iter()) {
            outcome.add(other.acked_alone().await?);
        }
        Ok(outcome)
    }

    async fn acked_alone(&self) -> Result<Outcome, Unknown> {
        if let Some(upload) = &self.upload {
            return self.acked_large(upload).await;
        }
        match self.outbox.settlement.wait(self.seq).await {
            Waited::Closed => Err(Unknown::Closed(self.outbox.closed_reason())),
            Waited::Refused => Ok(Outcome {
                refused: true,
                ..Outcome::default()
            }),
            Waited::Done | Waited::GivenUp | Waited::Evicted | Waited::Superseded => {
                let ends = self.outbox.settlement.outcome(self.seq);
                let acknowledged_by = ends.takers().collect();
                Ok(Outcome {
                    acknowledged: ends.members.all.saturating_sub(ends.missing()),
                    acknowledged_by,
                    evicted: ends.evicted,
                    superseded: ends.superseded,
                    ..Outcome::of_lost(&ends.lost)
                })
            }
        }
    }

    async fn acked_large(&self, upload: &Upload) -> Result<Outcome, Unknown> {
        let ends = upload.wait_over().await;
        let ends = ends.map_err(|why| {
            let reason = why.unwrap_or_else(|| self.outbox.closed_reason());
            Unknown::Closed(reason)
        })?;
        let missing = ends.lost.len() + ends.refused.len() + ends.evicted.len();
        let nodes = self.outbox.settlement.outcome(self.seq).nodes;
        let fates = nodes.iter().map(|&node| (node, ends.of(node)));
        let takers = fates.filter(|&(_, how)| how == HolderOutcome::Acknowledged);
        Ok(Outcome {
            acknowledged: ends.members.saturating_sub(missing),
            acknowledged_by: takers.map(|(node, _)| node).collect(),
            evicted: ends.evicted,
            too_large: ends.refused,
            ..Outcome::of_lost(&ends.lost)
        })
    }

    /// What becomes of the message at each holder, as soon as that is known, and each once; of a message to several roles one role after the other.
    ///
    /// As long as the stream is there, this node looks after every acknowledgement of the channel; a receipt that is not asked costs nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// use rolecast::HolderOutcome;
    ///
    /// let mut inbox = first.register("news").await?;
    /// let _not_read = second.register("news").await?;
    /// let channel = first.channel("news");
    /// channel.wait_for_holders(2).await?;
    /// let receipt = channel.multicast("hello").await?;
    ///
    /// let mut outcomes = receipt.outcomes();
    /// inbox.next().await;
    /// assert_eq!(outcomes.next().await, Some((first.id(), HolderOutcome::Acknowledged)));
    /// second.shutdown_within(std::time::Duration::ZERO).await;
    /// assert_eq!(outcomes.next().await, Some((second.id(), HolderOutcome::Left)));
    /// assert_eq!(outcomes.next().await, None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        Outcomes::new(self)
    }

    /// How each holder of one role ended that is not known yet, and whether that is all of them; `None` if no more will be known.
    pub(crate) async fn wait_fates(self, known: usize) -> Option<Fates> {
        let settlement = &self.outbox.settlement;
        let Some(upload) = &self.upload else {
            return settlement.wait_fates(self.seq, known).await;
        };
        let ends = upload.wait_over().await.ok()?;
        let nodes = settlement.outcome(self.seq).nodes;
        let fates = nodes.iter().map(|&node| (node, ends.of(node)));
        Some((fates.collect(), true))
    }

    /// Waits until as many holders have received the message as the channel's [`k_safe`](crate::Channel::k_safe) asks for: it is in their memory, though their programs may not have looked at it.
    ///
    /// From then on it survives whatever happens to fewer than so many of them.
    /// On a channel without `k_safe` it waits for one holder other than this node, so that the message survives this node.
    /// Cancel safe: it only waits.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// let _not_read = (first.register("ledger").await?, second.register("ledger").await?);
    /// let ledger = first.channel("ledger").k_safe(2);
    /// ledger.wait_for_holders(2).await?;
    /// let receipt = ledger.multicast("pay 10").await?;
    /// receipt.stable().await?;
    /// println!("two nodes have it");
    /// # second.shutdown_within(std::time::Duration::ZERO).await;
    /// # first.shutdown_within(std::time::Duration::ZERO).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NotStable`]: it never came so far, or that will never be known.
    pub async fn stable(&self) -> Result<(), NotStable> {
        for each in self.each() {
            each.stable_alone().await?;
        }
        Ok(())
    }

    async fn stable_alone(&self) -> Result<(), NotStable> {
        let k_safe = self.outbox.mode.k_safe;
        match self.outbox.settlement.wait_stable(self.seq, k_safe).await {
            Waited::Done => Ok(()),
            Waited::Refused => Err(NotStable::TooFewHolders),
            Waited::GivenUp => Err(NotStable::GivenUp),
            Waited::Evicted => Err(NotStable::Evicted),
            Waited::Superseded => Err(NotStable::Superseded),
            Waited::Closed => Err(NotStable::Closed(self.outbox.closed_reason())),
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("role", self.role())
            .field("seq", &self.seq.0)
            .finish_non_exhaustive()
    }
}

/// How a multicast ended.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let secret = MeshSecret::generate();
/// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
/// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
/// use rolecast::{Outcome, Receipt, Unknown};
///
/// async fn report(receipt: &Receipt) -> Result<usize, Unknown> {
///     let Outcome { acknowledged, lost, .. } = receipt.acked().await?;
///     println!("{acknowledged} have it, of {lost:?} it is not known");
///     Ok(lost.len())
/// }
///
/// let _not_read = second.register("news").await?;
/// let channel = first.channel("news");
/// channel.wait_for_holders(1).await?;
/// let receipt = channel.multicast("hello").await?;
/// second.shutdown_within(std::time::Duration::ZERO).await;
/// assert_eq!(report(&receipt).await?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// How many holders have taken the message.
    pub acknowledged: usize,
    /// Those holders.
    /// If the receipt is looked at when its role has changed hands hundreds of times since, they are not remembered.
    pub acknowledged_by: Vec<NodeId>,
    /// The holders that were declared down, left or gave up the role before they acknowledged it: each may have taken it or not.
    pub lost: Vec<NodeId>,
    /// Those of the lost that were declared down, or came back in another life.
    pub declared_down: Vec<NodeId>,
    /// Those of the lost that left.
    pub left: Vec<NodeId>,
    /// The holders that this node went on without before they acknowledged it, because they were too slow ([`SlowReceivers::Evict`](crate::SlowReceivers::Evict)): each gets it yet, or is told that it lags.
    pub evicted: Vec<NodeId>,
    /// The holders that lagged and got a later message with the same key instead ([`SlowReceivers::KeepLast`](crate::SlowReceivers::KeepLast)), which they were told.
    pub superseded: Vec<NodeId>,
    /// Whether the message was sent to nobody after all, because fewer nodes held the role when its turn came than the channel's [`k_safe`](crate::Channel::k_safe) asks for.
    pub refused: bool,
    /// The holders that take no payload of this length, and have not got this one.
    pub too_large: Vec<NodeId>,
}

impl Outcome {
    /// What is said of those that were lost.
    fn of_lost(lost: &[(NodeId, HolderOutcome)]) -> Self {
        let because = |why| {
            let lost = lost.iter().filter(move |&&(_, how)| how == why);
            lost.map(|&(node, _)| node).collect()
        };
        Outcome {
            lost: lost.iter().map(|&(node, _)| node).collect(),
            declared_down: because(HolderOutcome::DeclaredDown),
            left: because(HolderOutcome::Left),
            ..Outcome::default()
        }
    }

    /// With how it ended in another role.
    fn add(&mut self, other: Outcome) {
        self.acknowledged += other.acknowledged;
        self.acknowledged_by.extend(other.acknowledged_by);
        self.lost.extend(other.lost);
        self.declared_down.extend(other.declared_down);
        self.left.extend(other.left);
        self.evicted.extend(other.evicted);
        self.superseded.extend(other.superseded);
        self.refused |= other.refused;
        self.too_large.extend(other.too_large);
    }

    /// Whether every holder to whom the message went has taken it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("news").await?;
    /// let receipt = node.channel("news").multicast("hello").await?;
    /// inbox.next().await;
    /// assert!(receipt.acked().await?.is_complete());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty()
            && self.evicted.is_empty()
            && self.superseded.is_empty()
            && self.too_large.is_empty()
            && !self.refused
    }
}
