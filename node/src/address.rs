//! Which of a role's holders a channel is for: those in one place, near ones first, or the nodes of a service.

use std::sync::Arc;

use rolecast_membership::{NodeId, Place, RoleName};

use crate::channel::Channel;
use crate::node::Node;
use crate::register::Register;

impl Channel {
    /// The same channel for the holders in this site only.
    ///
    /// Whoever holds the role and says that it is in the site is meant, from the moment on at which the sender has heard of both.
    /// What is sent so is a sequence of its own, with an order of its own; all else that is promised of a role is promised of its holders in a site.
    /// A holder that moves away is, to this channel, one that drops the role: what was on its way to it may be reported as lost.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let ams = Node::builder().secret(&secret).listen("127.0.0.1:0").site("ams").start().await?;
    /// # let fra = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([ams.addr()]).site("fra").start().await?;
    /// let _in_ams = ams.register("cache").await?;
    /// let mut in_fra = fra.register("cache").await?;
    /// ams.wait_for("cache", 2).await?;
    ///
    /// let caches = ams.channel("cache");
    /// let receipt = caches.clone().in_site("fra").multicast("forget user 17").await?;
    /// in_fra.next().await;
    /// assert_eq!(receipt.acked().await?.acknowledged, 1);
    /// assert_eq!(caches.in_site("fra").holders().await?, [fra.id()]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn in_site(self, site: impl Into<String>) -> Self {
        self.narrowed(&Place {
            site: Some(site.into()),
            ..Place::default()
        })
    }

    /// The same channel for the holders on this host only; as [`Channel::in_site`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// let node = Node::builder()
    ///     .secret(MeshSecret::generate())
    ///     .listen("127.0.0.1:0")
    ///     .host("rack-7")
    ///     .start()
    ///     .await?;
    /// let _inbox = node.register("sensor").await?;
    /// let sensors = node.channel("sensor");
    /// assert_eq!(sensors.clone().on_host("rack-7").holders().await?, [node.id()]);
    /// assert_eq!(sensors.on_host("rack-8").holders().await?, []);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_host(self, host: impl Into<String>) -> Self {
        self.narrowed(&Place {
            host: Some(host.into()),
            ..Place::default()
        })
    }

    /// The same channel for this one of the nodes of a service on each host; as [`Channel::in_site`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// let node = Node::builder()
    ///     .secret(MeshSecret::generate())
    ///     .listen("127.0.0.1:0")
    ///     .service("db", 2)
    ///     .start()
    ///     .await?;
    /// let _inbox = node.register_service().await?;
    /// assert_eq!(node.service("db").instance(2).holders().await?, [node.id()]);
    /// assert_eq!(node.service("db").instance(3).holders().await?, []);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn instance(self, instance: u32) -> Self {
        self.narrowed(&Place {
            instance: Some(instance),
            ..Place::default()
        })
    }

    /// The same channel for one node only, if it holds the role.
    ///
    /// [`Channel::unicast`] sends one message to one node and waits until it is there; this sends any number of them in order, as multicasts do.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// let mut inbox = node.register("worker").await?;
    /// let worker = node.channel("worker").at_node(node.id());
    /// for job in ["first", "second"] {
    ///     worker.multicast(job).await?;
    /// }
    /// # for _ in 0..2 { inbox.next().await; }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn at_node(self, node: NodeId) -> Self {
        self.narrowed(&Place {
            node: Some(node),
            ..Place::default()
        })
    }

    /// The same channel, whose anycasts and requests go to a holder in this site as long as there is one, and elsewhere if not.
    ///
    /// Multicasts and requests to all go to every holder wherever it is.
    /// A holder in the site that refuses, or to which no link comes about, is followed by the others there and then by those elsewhere.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let ams = Node::builder().secret(&secret).listen("127.0.0.1:0").site("ams").start().await?;
    /// # let fra = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([ams.addr()]).site("fra").start().await?;
    /// let _in_ams = ams.register("cache").await?;
    /// let _in_fra = fra.register("cache").await?;
    /// ams.wait_for("cache", 2).await?;
    ///
    /// let near_fra = ams.channel("cache").prefer_site("fra");
    /// for _ in 0..3 {
    ///     assert_eq!(near_fra.anycast("warm up").await?.node, fra.id());
    /// }
    /// let near_oslo = ams.channel("cache").prefer_site("oslo");
    /// assert!(near_oslo.anycast("warm up").await.is_ok(), "nobody is there, and others are");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn prefer_site(self, site: impl Into<String>) -> Self {
        let near = Place {
            site: Some(site.into()),
            ..Place::default()
        };
        Channel {
            near: Some(near),
            ..self
        }
    }

    fn narrowed(self, place: &Place) -> Self {
        let shared = &self.shared;
        let outbox = self.outbox.and_then(|outbox| {
            let role = outbox.role.name.narrowed(place)?;
            Ok(shared.outbox(role, outbox.mode, outbox.policy))
        });
        Channel { outbox, ..self }
    }
}

impl Node {
    /// A channel to the nodes of a service that take what is sent to it: to all of them, to those on one host ([`Channel::on_host`]), or to one ([`Channel::instance`]).
    ///
    /// Everything that is promised of a role is promised of a service.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let db = Node::builder().secret(&secret).listen("127.0.0.1:0").service("db", 1).host("rack-7").start().await?;
    /// # let web = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([db.addr()]).service("web", 1).start().await?;
    /// use rolecast::InboxItem;
    ///
    /// let mut inbox = db.register_service().await?;
    /// let all = web.service("db");
    /// all.wait_for_holders(1).await?;
    /// all.multicast("take a backup").await?;
    /// web.service("db").on_host("rack-7").instance(1).multicast("and be quick").await?;
    /// for _ in 0..2 {
    ///     assert!(matches!(inbox.next().await, Some(InboxItem::Message(_))));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn service(&self, name: impl Into<String>) -> Channel {
        let place = Place {
            service: Some(name.into()),
            ..Place::default()
        };
        let role = RoleName::service().narrowed(&place);
        Channel::new(Arc::clone(self.shared()), role)
    }

    /// Takes what is sent to this node's own service, which it named with [`NodeBuilder::service`](crate::NodeBuilder::service) or [`Describe::service`](crate::Describe::service).
    ///
    /// Until then the node is not among those whom [`Node::service`] reaches.
    /// If the node says later that it is of another service, the same inbox takes what is sent to that one.
    ///
    /// Cancel safe: dropped before it resolved, nothing is taken.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node, RegisterError};
    /// let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// assert!(matches!(node.register_service().await, Err(RegisterError::NoService)));
    ///
    /// node.describe().service("db", 1).await?;
    /// let inbox = node.register_service().await?;
    /// assert!(node.members().await[0].takes_service);
    /// drop(inbox);
    /// assert!(!node.members().await[0].takes_service);
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_service(&self) -> Register<'_> {
        Register::of(self, Ok(RoleName::service()))
    }
}
