//! Taking up a role.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use rolecast_membership::{RoleName, RoleNameError};
use tokio::sync::oneshot;

use crate::command::Command;
use crate::error::RegisterError;
use crate::inbox::Inbox;
use crate::node::Node;

/// A role that is being taken up, to be awaited; see [`Node::register`].
///
/// Cancel safe: dropped before it resolved, the role is given up again if it was taken up.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::Register;
///
/// /// Whoever shows the latest news wants to show some from the start.
/// fn shows(register: Register<'_>) -> Register<'_> {
///     register.replay(10)
/// }
///
/// let inbox = shows(node.register("news")).await?;
/// assert_eq!(inbox.role().as_str(), "news");
/// # Ok(())
/// # }
/// ```
#[must_use = "no role is taken up before this is awaited"]
pub struct Register<'a> {
    node: &'a Node,
    role: Result<RoleName, RoleNameError>,
    replay: u32,
}

impl<'a> Register<'a> {
    pub(crate) fn new(node: &'a Node, role: &str) -> Self {
        Register::of(node, RoleName::new(role))
    }

    pub(crate) fn of(node: &'a Node, role: Result<RoleName, RoleNameError>) -> Self {
        Register {
            node,
            role,
            replay: 0,
        }
    }

    /// Asks whoever sends to the role for up to so many of its last messages, which come before what it sends from then on.
    ///
    /// A sender keeps them only if its [`Limits::replay_bytes`](crate::Limits::replay_bytes) say so, of multicasts in the usual order without `k_safe` and gossip, and not beyond a large payload or a request to all; one inbox gets no more than half a window of them.
    /// [`InboxItem::Started`](crate::InboxItem::Started) comes first and says how many there are: none, if nothing is kept.
    /// They come once, to an inbox that begins, and not again after a [`Gap::DeclaredDown`](crate::Gap::DeclaredDown).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{InboxItem, Limits, MeshSecret, Node};
    ///
    /// let limits = Limits { replay_bytes: 1 << 20, ..Limits::default() };
    /// let secret = MeshSecret::generate();
    /// let sender = Node::builder().secret(&secret).listen("127.0.0.1:0").limits(limits).start().await?;
    /// # let later = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([sender.addr()]).start().await?;
    /// let _first = sender.register("news").await?;
    /// let news = sender.channel("news");
    /// for number in 1..=5 {
    ///     news.multicast(format!("story {number}")).await?;
    /// }
    ///
    /// let mut inbox = later.register("news").replay(2).await?;
    /// let Some(InboxItem::Started(started)) = inbox.next().await else { panic!("it is told where it begins") };
    /// assert_eq!((started.first.0, started.replayed), (4, 2));
    /// for story in ["story 4", "story 5"] {
    ///     let message = inbox.next().await.and_then(InboxItem::into_message);
    ///     assert_eq!(message.expect("nothing is lost here").payload(), story);
    /// }
    /// # later.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn replay(self, messages: u32) -> Self {
        Register {
            replay: messages,
            ..self
        }
    }

    async fn run(self) -> Result<Inbox, RegisterError> {
        let Register { node, role, replay } = self;
        let (role, shared) = (role?, node.shared());
        let (done, registered) = oneshot::channel();
        shared.submit(Command::Register { role, replay, done })?;
        match registered.await {
            Ok(result) => result,
            Err(_) => Err(shared.closed_reason().into()),
        }
    }
}

impl<'a> IntoFuture for Register<'a> {
    type Output = Result<Inbox, RegisterError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Register<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register")
            .field("role", &self.role)
            .field("replay", &self.replay)
            .finish_non_exhaustive()
    }
}
