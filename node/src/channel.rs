//! A sender's handle on a role.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use rolecast_membership::{NodeId, Place, RoleName, RoleNameError};
use rolecast_protocol::{Dissemination, Mode, Order, Pick, SlowMembers};
use tokio::io::AsyncRead;

use crate::multicast::Multicast;
use crate::multicast_stream::MulticastStream;
use crate::outbox::Outbox;
use crate::request::{Anycast, Request, RequestAll};
use crate::shared::Shared;
use crate::slow::SlowReceivers;
use crate::wait_for_holders::WaitForHolders;

/// A sender's handle on a role: whatever is sent over it goes to whoever holds the role at that moment.
///
/// Cheap to clone; any number of tasks may send over clones of one channel.
/// All channels of a node with the same role, [`Dissemination`], [`Order`] and [`k_safe`](Channel::k_safe) share one sequence of multicasts, which every holder gets in order unless it is [`Order::Unordered`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{Channel, SendError};
///
/// async fn tell(channel: Channel) -> Result<(), SendError> {
///     for number in 0..10 {
///         channel.multicast(format!("story {number}")).await?;
///     }
///     Ok(())
/// }
///
/// let _inbox = node.register("news").await?;
/// let news = node.channel("news");
/// tokio::try_join!(tell(news.clone()), tell(news))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Channel {
    pub(crate) shared: Arc<Shared>,
    /// An invalid name is reported by whatever is sent first.
    pub(crate) outbox: Result<Arc<Outbox>, RoleNameError>,
    pub(crate) pick: Pick,
    pub(crate) slow: SlowReceivers,
    /// Where calls go first.
    pub(crate) near: Option<Place>,
}

impl Channel {
    pub(crate) fn new(shared: Arc<Shared>, role: Result<RoleName, RoleNameError>) -> Self {
        let outbox = role.map(|role| shared.outbox(role, Mode::default(), SlowMembers::Wait));
        Channel {
            shared,
            outbox,
            pick: Pick::default(),
            slow: SlowReceivers::default(),
            near: None,
        }
    }

    /// The role, if its name is valid.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let channel = node.channel("db:master");
    /// assert_eq!(channel.role().map(|role| role.as_str()), Some("db:master"));
    ///
    /// let misnamed = node.channel("the master");
    /// assert!(misnamed.role().is_none());
    /// assert!(misnamed.multicast("hello").await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn role(&self) -> Option<&RoleName> {
        self.outbox.as_ref().ok().map(|outbox| &outbox.role.name)
    }

    /// The same channel with another way of spreading multicasts.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::Dissemination;
    ///
    /// let _inbox = node.register("telemetry").await?;
    /// let channel = node.channel("telemetry").dissemination(Dissemination::BestEffort);
    /// channel.multicast("temperature 21").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn dissemination(self, dissemination: Dissemination) -> Self {
        self.with_mode(|mode| Mode {
            dissemination,
            ..mode
        })
    }

    /// The same channel with multicasts in another order.
    ///
    /// [`Order::Unordered`] gives a holder each message as soon as it comes, even if an earlier one is missing; a message is still delivered once at most.
    /// That changes something only after losses, when what is missing has to be fetched from another holder.
    ///
    /// With [`Order::Causal`] a message also comes after everything that its sender, as a holder of the role itself, had been given in this order before it sent it: whoever sees an answer has seen the question.
    /// [`Dissemination::BestEffort`] and [`Dissemination::Gossip`] do not allow it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::Order;
    ///
    /// let _inbox = node.register("telemetry").await?;
    /// let channel = node.channel("telemetry").order(Order::Unordered);
    /// channel.multicast("temperature 21").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn order(self, order: Order) -> Self {
        self.with_mode(|mode| Mode { order, ..mode })
    }

    /// The same channel with multicasts that no holder gets before `k` holders have received them, so that what any of them acted upon survives whatever happens to fewer than `k` of them.
    ///
    /// A message that is delivered by one holder is delivered by all holders that stay up, even if that one died a moment later, as long as fewer than `k` of those to whom it was sent crash or are declared down.
    /// It costs one hop more, and two if the role has fewer than `2k - 1` holders.
    /// With fewer than `k` holders a multicast is [`NotSent::TooFewHolders`](crate::NotSent::TooFewHolders); if so many are lost on the way that `k` can no longer receive it, the others see a [`Gap`](crate::Gap).
    ///
    /// One, which is the default, lets nobody wait; [`Dissemination::BestEffort`] allows nothing else.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{InboxItem, MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// let _one = first.register("ledger").await?;
    /// let mut other = second.register("ledger").await?;
    /// let ledger = first.channel("ledger").k_safe(2);
    /// ledger.wait_for_holders(2).await?;
    /// ledger.multicast("pay 10").await?;
    /// // Whoever sees it knows that it is in the memory of both.
    /// assert!(matches!(other.next().await, Some(InboxItem::Message(_))));
    /// # second.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn k_safe(self, k: u8) -> Self {
        let k_safe = k.max(1);
        self.with_mode(|mode| Mode { k_safe, ..mode })
    }

    fn with_mode(self, change: impl FnOnce(Mode) -> Mode) -> Self {
        let shared = &self.shared;
        let outbox = self
            .outbox
            .map(|o| shared.outbox(o.role.name.clone(), change(o.mode), o.policy));
        Channel { outbox, ..self }
    }

    /// The same channel with another answer to a holder that does not take what was sent to it.
    ///
    /// Channels that evict, or keep only the last of each key, have a sequence of multicasts of their own; those that wait share one, however long each waits.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::SlowReceivers;
    /// use std::time::Duration;
    ///
    /// let _inbox = node.register("news").await?;
    /// // Rather no news than news from yesterday.
    /// let patience = SlowReceivers::Wait { deadline: Some(Duration::from_secs(5)) };
    /// let news = node.channel("news").slow_receivers(patience);
    /// news.multicast("hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn slow_receivers(self, slow: SlowReceivers) -> Self {
        let shared = &self.shared;
        let outbox = self
            .outbox
            .map(|o| shared.outbox(o.role.name.clone(), o.mode, slow.policy()));
        Channel {
            slow,
            outbox,
            ..self
        }
    }

    /// The same channel with another way of choosing one holder for [`Channel::anycast`] and [`Channel::request`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::Pick;
    ///
    /// let _inbox = node.register("worker").await?;
    /// let channel = node.channel("worker").pick(Pick::LeastOutstanding);
    /// channel.anycast("resize image 4").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn pick(self, pick: Pick) -> Self {
        Channel { pick, ..self }
    }

    /// Sends to every holder.
    ///
    /// Resolves as soon as the message is on its way, to a [`Receipt`](crate::Receipt) that can be asked for the acknowledgements.
    /// Waits while the slowest holder has too much before it; [`Multicast::timeout`] and [`Channel::slow_receivers`] bound that, [`Channel::try_send`] does not wait, and [`Channel::reserve`] waits before there is anything to send.
    /// Cancel safe: a multicast that was dropped before it resolved was not sent.
    ///
    /// A payload of more than 64 KiB ([`Limits::large_bytes_min`](crate::Limits::large_bytes_min)) travels in chunks on a stream of its own, behind everything that is small, and holders get it as [`InboxItem::Large`](crate::InboxItem::Large).
    /// Then the multicast resolves when all of it is on its way, and one that was dropped before is cut short: no holder takes a part for the whole.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use std::time::Duration;
    ///
    /// let inbox = node.register("news").await?;
    /// let receipt = node.channel("news").multicast("hello").timeout(Duration::from_secs(1)).await?;
    /// assert_eq!((receipt.holders(), receipt.seq().0), (1, 1));
    /// # drop(inbox);
    /// # Ok(())
    /// # }
    /// ```
    pub fn multicast(&self, payload: impl Into<Bytes>) -> Multicast<'_> {
        Multicast::new(self, payload.into())
    }

    /// Sends what comes out of a reader to every holder, as one message, in flat memory: no more is read than holders take.
    ///
    /// It has its place among this node's messages to the role from its beginning on, and holders get it as [`InboxItem::Large`](crate::InboxItem::Large), to be read as it comes.
    /// Resolves when all of it is on its way.
    /// If the reader fails, or the future is dropped before it resolved, it is cut short, which its readers are told: none takes a part for the whole.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("film");
    /// # std::fs::write(&path, vec![7; 1 << 20])?;
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::InboxItem;
    ///
    /// let mut inbox = node.register("films").await?;
    /// let file = tokio::fs::File::open(&path).await?;
    /// let bytes = file.metadata().await?.len();
    /// let receipt = node.channel("films").multicast_reader(file).length(bytes).await?;
    ///
    /// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("a stream is large") };
    /// assert_eq!(film.into_bytes().await?.len() as u64, bytes);
    /// assert_eq!(receipt.acked().await?.acknowledged, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn multicast_reader<'a>(
        &'a self,
        reader: impl AsyncRead + Send + 'a,
    ) -> MulticastStream<'a> {
        MulticastStream::from_reader(self, reader)
    }

    /// As [`Channel::multicast_reader`], with a stream of bytes; they are not copied.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use futures_util::stream;
    /// use rolecast::{Bytes, InboxItem};
    ///
    /// let mut inbox = node.register("films").await?;
    /// let scenes = ["shark", "boat", "bigger boat"].map(|scene| Ok::<_, std::io::Error>(Bytes::from(scene)));
    /// node.channel("films").multicast_stream(stream::iter(scenes)).await?;
    ///
    /// let Some(InboxItem::Large(film)) = inbox.next().await else { panic!("a stream is large") };
    /// assert_eq!(film.into_bytes().await?, "sharkboatbigger boat");
    /// # Ok(())
    /// # }
    /// ```
    pub fn multicast_stream<'a, S, E>(&'a self, stream: S) -> MulticastStream<'a>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'a,
        E: Into<std::io::Error>,
    {
        MulticastStream::from_stream(self, stream)
    }

    /// Sends to any one holder, without a reply.
    ///
    /// Resolves when the message is in the holder's inbox.
    /// Dropped before it resolved, the message may have been sent or not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let inbox = node.register("worker").await?;
    /// let delivered = node.channel("worker").anycast("resize image 4").await?;
    /// assert_eq!(delivered.node, node.id());
    /// # drop(inbox);
    /// # Ok(())
    /// # }
    /// ```
    pub fn anycast(&self, payload: impl Into<Bytes>) -> Anycast<'_> {
        Anycast::new(self, payload.into())
    }

    /// Sends to one certain node, if it holds the role, without a reply.
    ///
    /// The same as [`Channel::anycast`] with [`Anycast::to`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let inbox = node.register("worker").await?;
    /// node.channel("worker").unicast(node.id(), "drain").await?;
    /// # drop(inbox);
    /// # Ok(())
    /// # }
    /// ```
    pub fn unicast(&self, node: NodeId, payload: impl Into<Bytes>) -> Anycast<'_> {
        self.anycast(payload).to(node)
    }

    /// Asks any one holder, and awaits its reply.
    ///
    /// Dropped before it resolved, the request is given up: the holder is told, and may have acted on it or not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// use std::time::Duration;
    ///
    /// let mut inbox = node.register("db:master").await?;
    /// tokio::spawn(async move {
    ///     while let Some(item) = inbox.next().await {
    ///         if let InboxItem::Message(message) = item {
    ///             let answer = format!("value of {:?}", message.payload());
    ///             if let Err(error) = message.reply(answer).await {
    ///                 eprintln!("no reply was sent: {error}");
    ///             }
    ///         }
    ///     }
    /// });
    /// let reply = node.channel("db:master").request("17").timeout(Duration::from_secs(2)).await?;
    /// assert_eq!(reply.payload, r#"value of b"17""#);
    /// # Ok(())
    /// # }
    /// ```
    pub fn request(&self, payload: impl Into<Bytes>) -> Request<'_> {
        Request::new(self, payload.into())
    }

    /// Asks every holder: resolves to the stream of their replies, in which each one is named exactly once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::InboxItem;
    /// # let mut inbox = node.register("cache").await?;
    /// # tokio::spawn(async move {
    /// #     while let Some(InboxItem::Message(message)) = inbox.next().await {
    /// #         let _ = message.reply("3 entries").await;
    /// #     }
    /// # });
    /// let mut answers = node.channel("cache").request_all("how many entries?").await?;
    /// while let Some(answer) = answers.next().await {
    ///     match answer.result {
    ///         Ok(payload) => println!("{} has {payload:?}", answer.node),
    ///         Err(why) => println!("{} did not answer: {why}", answer.node),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_all(&self, payload: impl Into<Bytes>) -> RequestAll<'_> {
        RequestAll::new(self, payload.into())
    }

    /// Waits until at least `holders` nodes hold the role, as seen by this node; resolves to how many do.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use std::time::Duration;
    ///
    /// let channel = node.channel("db:master");
    /// let nobody = channel.wait_for_holders(1).timeout(Duration::from_millis(10)).await;
    /// assert!(nobody.is_err());
    /// let _inbox = node.register("db:master").await?;
    /// assert_eq!(channel.wait_for_holders(1).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_for_holders(&self, holders: usize) -> WaitForHolders<'_> {
        WaitForHolders {
            channel: self,
            wanted: holders,
            timeout: None,
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("role", &self.role())
            .field("pick", &self.pick)
            .finish_non_exhaustive()
    }
}
