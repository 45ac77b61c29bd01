//! What a node says of itself, while it runs.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use rolecast_membership::{Description, RecordError, Service};
use tokio::sync::oneshot;

use crate::command::Command;
use crate::error::ClosedReason;
use crate::node::Node;

impl Node {
    /// Says something else about this node, which all others hear of: its site, its host, its service, its labels.
    ///
    /// What is not named stays as it is, and what is named changes at once, together.
    /// To a channel that is [for a site](crate::Channel::in_site), a host or a service, a node that moves away is one that drops the role, and a node that comes is one that takes it up.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let node = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// use rolecast::MeshEvent;
    ///
    /// let mut watch = first.watch();
    /// first.wait_for("*", 2).await?;
    /// node.describe().site("fra").label("load", "0.7").await?;
    /// while let Some(event) = watch.next().await {
    ///     if let MeshEvent::Updated(member) = event {
    ///         assert_eq!((member.site.as_str(), member.labels["load"].as_str()), ("fra", "0.7"));
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn describe(&self) -> Describe<'_> {
        Describe {
            node: self,
            change: DescriptionChange::default(),
        }
    }
}

/// What is to be said of a node, to be awaited; see [`Node::describe`].
///
/// Cancel safe: polled once, the change is made, whether it is awaited to the end or not.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::Describe;
///
/// fn moves(describe: Describe<'_>) -> Describe<'_> {
///     describe.site("fra").host("rack-9")
/// }
///
/// moves(node.describe()).await?;
/// assert_eq!(node.members().await[0].host, "rack-9");
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is said before this is awaited"]
pub struct Describe<'a> {
    node: &'a Node,
    change: DescriptionChange,
}

/// What is said otherwise than before.
#[derive(Debug, Default)]
pub(crate) struct DescriptionChange {
    site: Option<String>,
    host: Option<String>,
    service: Option<Service>,
    /// A label that gets a value, or goes.
    labels: Vec<(String, Option<String>)>,
}

impl DescriptionChange {
    pub(crate) fn apply(self, description: &mut Description) {
        let DescriptionChange {
            site,
            host,
            service,
            labels,
        } = self;
        description.site = site.unwrap_or(std::mem::take(&mut description.site));
        description.host = host.unwrap_or(std::mem::take(&mut description.host));
        description.service = service.unwrap_or(std::mem::take(&mut description.service));
        for (key, value) in labels {
            match value {
                Some(value) => description.labels.insert(key, value),
                None => description.labels.remove(&key),
            };
        }
    }
}

impl<'a> Describe<'a> {
    /// Says in which place the node is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").site("ams").start().await?;
    /// node.describe().site("fra").await?;
    /// assert_eq!(node.members().await[0].site, "fra");
    /// # Ok(())
    /// # }
    /// ```
    pub fn site(mut self, site: impl Into<String>) -> Self {
        self.change.site = Some(site.into());
        self
    }

    /// Says on which machine the node runs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// node.describe().host("rack-7").await?;
    /// assert_eq!(node.members().await[0].host, "rack-7");
    /// # Ok(())
    /// # }
    /// ```
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.change.host = Some(host.into());
        self
    }

    /// Says what kind the node is, and which one of its kind on its machine.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// node.describe().service("db", 2).await?;
    /// assert_eq!(node.members().await[0].service.name, "db");
    /// # Ok(())
    /// # }
    /// ```
    pub fn service(mut self, name: impl Into<String>, instance: u32) -> Self {
        let name = name.into();
        self.change.service = Some(Service { name, instance });
        self
    }

    /// Sets a label.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// node.describe().label("load", "0.7").await?;
    /// assert_eq!(node.members().await[0].labels["load"], "0.7");
    /// # Ok(())
    /// # }
    /// ```
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.change.labels.push((key.into(), Some(value.into())));
        self
    }

    /// Takes a label away.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").label("draining", "yes").start().await?;
    /// node.describe().without_label("draining").await?;
    /// assert!(node.members().await[0].labels.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn without_label(mut self, key: impl Into<String>) -> Self {
        self.change.labels.push((key.into(), None));
        self
    }

    async fn run(self) -> Result<(), DescribeError> {
        let (shared, change) = (self.node.shared(), self.change);
        let (done, described) = oneshot::channel();
        shared.submit(Command::Describe { change, done })?;
        match described.await {
            Ok(result) => Ok(result?),
            Err(_) => Err(shared.closed_reason().into()),
        }
    }
}

/// Why nothing else is said about a node; it says what it said before.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{DescribeError, RecordError};
///
/// match node.describe().site("x".repeat(300)).await {
///     Err(DescribeError::Record(RecordError::TextTooLong { bytes })) => assert_eq!(bytes, 300),
///     other => panic!("it is too long: {other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// It passes a limit.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The node is closed.
    #[error(transparent)]
    Closed(#[from] ClosedReason),
}

impl<'a> IntoFuture for Describe<'a> {
    type Output = Result<(), DescribeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Describe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Describe")
            .field("change", &self.change)
            .finish_non_exhaustive()
    }
}
