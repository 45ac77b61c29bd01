//! How a node is made.

mod description;
mod trust;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rolecast_membership::{Profile, Service};
use rolecast_protocol::Limits;

pub use trust::SecretText;
pub(crate) use trust::TrustSource;

use crate::error::StartError;
use crate::node::Node;
#[cfg(feature = "simulation")]
use crate::simulation::Environment;
use crate::start::start;
use crate::surroundings::Surroundings;

/// Says what a node is, and starts it; see [`Node::builder`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rolecast::{MeshSecret, Node, NodeBuilder, Profile};
///
/// let state = tempfile::tempdir()?;
/// let builder: NodeBuilder = Node::builder()
///     .secret(MeshSecret::generate())
///     .listen("127.0.0.1:0")
///     .site("ams")
///     .host("rack-7")
///     .service("db", 1)
///     .label("version", "1.2")
///     .state_dir(state.path())
///     .profile(Profile::Lan);
/// let node = builder.start().await?;
/// assert_eq!(node.members().await[0].service.name, "db");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens before `start` is awaited"]
pub struct NodeBuilder {
    pub(crate) trust: TrustSource,
    pub(crate) seeds: Vec<String>,
    pub(crate) listen: String,
    pub(crate) advertise: Option<String>,
    pub(crate) site: String,
    pub(crate) host: String,
    pub(crate) service: Service,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) profile: Profile,
    pub(crate) limits: Limits,
    pub(crate) surroundings: Surroundings,
}

impl NodeBuilder {
    pub(crate) fn new() -> Self {
        NodeBuilder {
            trust: TrustSource::None,
            seeds: Vec::new(),
            listen: DEFAULT_LISTEN.to_owned(),
            advertise: None,
            site: String::new(),
            host: String::new(),
            service: Service::default(),
            labels: BTreeMap::new(),
            state_dir: None,
            profile: Profile::default(),
            limits: Limits::default(),
            surroundings: Surroundings::default(),
        }
    }

    /// Adds addresses at which some other node may be found, each as `HOST:PORT`.
    ///
    /// A name with several addresses counts as all of them.
    /// A name that is not known yet is no error: names are looked up again as long as the node lives, often while it is alone.
    /// One reachable seed is enough, the order in which nodes start does not matter, and without any seed the node starts a mesh of its own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node, StartError};
    ///
    /// let secret = MeshSecret::generate();
    /// let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// second.wait_for("*", 2).await?;
    ///
    /// let malformed = Node::builder().secret(&secret).seeds(["10.0.0.1"]).start().await;
    /// assert!(matches!(malformed, Err(StartError::Seed { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn seeds(mut self, seeds: impl IntoIterator<Item: ToString>) -> Self {
        self.seeds
            .extend(seeds.into_iter().map(|seed| seed.to_string()));
        self
    }

    /// Listens at this address instead of [`DEFAULT_LISTEN`]; port 0 takes any free one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node};
    ///
    /// let secret = MeshSecret::generate();
    /// let node = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// assert_ne!(node.addr().port(), 0);
    ///
    /// // The error says what to do about an address that is in use.
    /// let second = Node::builder().secret(&secret).listen(node.addr()).start().await;
    /// assert!(second.unwrap_err().to_string().contains("listen on another port"));
    /// # Ok(())
    /// # }
    /// ```
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a caller has an address or a text"
    )]
    pub fn listen(self, addr: impl ToString) -> Self {
        NodeBuilder {
            listen: addr.to_string(),
            ..self
        }
    }

    /// Tells the others to dial this address.
    ///
    /// By default it is the address that the node listens at; if that is `0.0.0.0` or `[::]`, the address of the interface that leads to the first seed, or the loopback address when there is no seed.
    /// A port of 0 stands for the port that the node listens at.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node};
    ///
    /// let node = Node::builder()
    ///     .secret(MeshSecret::generate())
    ///     .listen("0.0.0.0:0")
    ///     .advertise("127.0.0.1:0")
    ///     .start()
    ///     .await?;
    /// assert!(node.addr().ip().is_loopback());
    /// # Ok(())
    /// # }
    /// ```
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a caller has an address or a text"
    )]
    pub fn advertise(self, addr: impl ToString) -> Self {
        NodeBuilder {
            advertise: Some(addr.to_string()),
            ..self
        }
    }

    /// Keeps the node's key and epoch in this directory, which is created if need be.
    ///
    /// A node that starts again with it is the same node in a later life.
    /// Without it every start makes another node.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node};
    ///
    /// let secret = MeshSecret::generate();
    /// let state = tempfile::tempdir()?;
    /// let start = || Node::builder().secret(&secret).listen("127.0.0.1:0").state_dir(state.path()).start();
    ///
    /// let first_life = start().await?;
    /// first_life.shutdown().await;
    /// let second_life = start().await?;
    /// assert_eq!(first_life.id(), second_life.id());
    /// assert!(first_life.epoch() < second_life.epoch());
    /// # Ok(())
    /// # }
    /// ```
    pub fn state_dir(self, path: impl Into<PathBuf>) -> Self {
        NodeBuilder {
            state_dir: Some(path.into()),
            ..self
        }
    }

    /// Says how patient failure detection is; the same for the whole mesh.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node, Profile};
    ///
    /// // All on one machine: a crash is known in about two seconds.
    /// let describe = || Node::builder().listen("127.0.0.1:0").profile(Profile::Local);
    ///
    /// let secret = MeshSecret::generate();
    /// let first = describe().secret(&secret).start().await?;
    /// let second = describe().secret(&secret).seeds([first.addr()]).start().await?;
    /// assert_eq!(second.wait_for("*", 2).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn profile(self, profile: Profile) -> Self {
        NodeBuilder { profile, ..self }
    }

    /// Sets the bounds of everything that the node keeps.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{Limits, MeshSecret, Node};
    ///
    /// let limits = Limits { payload_bytes_max: 1 << 20, ..Limits::default() };
    /// let node = Node::builder()
    ///     .secret(MeshSecret::generate())
    ///     .listen("127.0.0.1:0")
    ///     .limits(limits)
    ///     .start()
    ///     .await?;
    /// let _inbox = node.register("sink").await?;
    /// assert!(node.channel("sink").anycast(vec![0; 2 << 20]).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn limits(self, limits: Limits) -> Self {
        NodeBuilder { limits, ..self }
    }

    /// Takes what the operating system would give from here: for simulators.
    ///
    /// The node listens at the address of the environment's socket, and uses no state directory.
    #[cfg(feature = "simulation")]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.surroundings.simulated = Some(environment);
        self
    }

    /// Starts the node in the current tokio runtime.
    ///
    /// Resolves when the node listens; it finds the others by itself.
    /// Cancel safe: a start that was dropped leaves no task behind.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node, StartError};
    ///
    /// let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// println!("{} can be dialled at {}", node.id(), node.addr());
    ///
    /// // Nobody gets in without a secret or a certificate.
    /// let open_to_all = Node::builder().listen("127.0.0.1:0").start().await;
    /// assert!(matches!(open_to_all, Err(StartError::NoTrust)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StartError`] says what is wrong and what to do; nothing was sent.
    pub async fn start(self) -> Result<Node, StartError> {
        start(self).await
    }
}

/// Where a node listens unless it is told otherwise.
///
/// ```
/// use rolecast::DEFAULT_LISTEN;
///
/// // The default of a program's own setting.
/// let listen = std::env::var("INVENTORY_LISTEN").unwrap_or_else(|_| DEFAULT_LISTEN.to_owned());
/// assert_eq!(listen, "0.0.0.0:7400");
/// ```
pub const DEFAULT_LISTEN: &str = "0.0.0.0:7400";
