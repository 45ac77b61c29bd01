//! What a node says of itself to the others.

use rolecast_membership::Service;

use super::NodeBuilder;

impl NodeBuilder {
    /// Says in which place the node is, such as `ams`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node};
    ///
    /// let secret = MeshSecret::generate();
    /// let first = Node::builder().secret(&secret).listen("127.0.0.1:0").site("ams").start().await?;
    /// let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).site("fra").start().await?;
    /// second.wait_for("*", 2).await?;
    ///
    /// let elsewhere = second.members().await.into_iter().find(|member| member.site != "fra");
    /// assert_eq!(elsewhere.map(|member| member.id), Some(first.id()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn site(self, site: impl Into<String>) -> Self {
        NodeBuilder {
            site: site.into(),
            ..self
        }
    }

    /// Says on which machine the node runs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node};
    ///
    /// let node = Node::builder()
    ///     .secret(MeshSecret::generate())
    ///     .listen("127.0.0.1:0")
    ///     .host("rack-7")
    ///     .start()
    ///     .await?;
    /// assert_eq!(node.members().await[0].host, "rack-7");
    /// # Ok(())
    /// # }
    /// ```
    pub fn host(self, host: impl Into<String>) -> Self {
        NodeBuilder {
            host: host.into(),
            ..self
        }
    }

    /// Says what kind the node is, and which one of its kind on its machine.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node};
    ///
    /// let node = Node::builder()
    ///     .secret(MeshSecret::generate())
    ///     .listen("127.0.0.1:0")
    ///     .service("db", 2)
    ///     .start()
    ///     .await?;
    /// let service = &node.members().await[0].service;
    /// assert_eq!((service.name.as_str(), service.instance), ("db", 2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn service(self, name: impl Into<String>, instance: u32) -> Self {
        NodeBuilder {
            service: Service {
                name: name.into(),
                instance,
            },
            ..self
        }
    }

    /// Adds a label, which every node of the mesh can see.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node};
    ///
    /// let secret = MeshSecret::generate();
    /// let node = Node::builder()
    ///     .secret(&secret)
    ///     .listen("127.0.0.1:0")
    ///     .label("version", "1.2")
    ///     .label("disk", "ssd")
    ///     .start()
    ///     .await?;
    /// assert_eq!(node.members().await[0].labels["disk"], "ssd");
    ///
    /// // Labels are small: what is large belongs into a message.
    /// let large = Node::builder().secret(&secret).label("motto", "x".repeat(300)).start().await;
    /// assert!(large.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }
}
