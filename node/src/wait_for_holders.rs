//! Waiting until a role has holders.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use crate::channel::Channel;
use crate::error::WaitError;

/// A wait for holders of a role, to be awaited; see [`Channel::wait_for_holders`].
/// Cancel safe: it only waits.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::WaitForHolders;
/// use std::time::Duration;
///
/// // How patient a program is with a mesh that is starting up.
/// fn patiently(wait: WaitForHolders<'_>) -> WaitForHolders<'_> {
///     wait.timeout(Duration::from_secs(30))
/// }
///
/// let _inbox = node.register("db:replica").await?;
/// let replicas = node.channel("db:replica");
/// assert_eq!(patiently(replicas.wait_for_holders(1)).await?, 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is waited for before this is awaited"]
pub struct WaitForHolders<'a> {
    pub(crate) channel: &'a Channel,
    pub(crate) wanted: usize,
    pub(crate) timeout: Option<Duration>,
}

impl WaitForHolders<'_> {
    /// Gives up after this long; without it, the wait has no end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::WaitError;
    /// use std::time::Duration;
    ///
    /// let _inbox = node.register("db:replica").await?;
    /// let replicas = node.channel("db:replica");
    /// match replicas.wait_for_holders(3).timeout(Duration::from_millis(10)).await {
    ///     Err(WaitError::TimedOut { holders, wanted, .. }) => assert_eq!((holders, wanted), (1, 3)),
    ///     other => panic!("there are not so many: {other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(self, timeout: Duration) -> Self {
        WaitForHolders {
            timeout: Some(timeout),
            ..self
        }
    }

    async fn run(self) -> Result<usize, WaitError> {
        let outbox = self.channel.outbox.as_ref().map_err(Clone::clone)?;
        let wait = outbox.role.wait_for(&self.channel.shared, self.wanted);
        let Some(timeout) = self.timeout else {
            return Ok(wait.await?);
        };
        match tokio::time::timeout(timeout, wait).await {
            Ok(waited) => Ok(waited?),
            Err(_) => Err(WaitError::TimedOut {
                role: outbox.role.name.to_string(),
                holders: outbox.role.holders().unwrap_or(0),
                wanted: self.wanted,
            }),
        }
    }
}

impl<'a> IntoFuture for WaitForHolders<'a> {
    type Output = Result<usize, WaitError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
