//! Whom a node trusts, and how it proves that it may be trusted.

use std::path::PathBuf;

use rolecast_transport::{MeshSecret, ParseSecretError};

use super::NodeBuilder;

/// Where a node's trust comes from.
#[derive(Debug)]
pub(crate) enum TrustSource {
    None,
    Secret(Result<MeshSecret, ParseSecretError>),
    Pem {
        ca: String,
        chain: String,
        key: String,
    },
    Files {
        ca: PathBuf,
        chain: PathBuf,
        key: PathBuf,
    },
}

/// A mesh secret, or the text of one; see [`NodeBuilder::secret`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rolecast::{MeshSecret, Node, NodeBuilder, SecretText};
///
/// // A program's own way to describe its nodes takes whatever the builder takes.
/// fn describe(secret: impl Into<SecretText>) -> NodeBuilder {
///     Node::builder().secret(secret).listen("127.0.0.1:0").service("db", 1)
/// }
///
/// let secret = MeshSecret::generate();
/// let first = describe(&secret).start().await?;
/// let second = describe(secret.to_string()).seeds([first.addr()]).start().await?;
/// assert_eq!(second.wait_for("*", 2).await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SecretText(Result<MeshSecret, ParseSecretError>);

impl From<MeshSecret> for SecretText {
    fn from(secret: MeshSecret) -> Self {
        SecretText(Ok(secret))
    }
}

impl From<&MeshSecret> for SecretText {
    fn from(secret: &MeshSecret) -> Self {
        SecretText(Ok(secret.clone()))
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        SecretText(text.parse())
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        SecretText(text.parse())
    }
}

impl NodeBuilder {
    /// Trusts every node that has this secret: a [`MeshSecret`], or its text, which is checked by [`NodeBuilder::start`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{MeshSecret, Node};
    ///
    /// let text = MeshSecret::generate().to_string();
    /// let node = Node::builder().secret(text).listen("127.0.0.1:0").start().await?;
    /// let mistyped = Node::builder().secret("rolecast1-oops").listen("127.0.0.1:0").start().await;
    /// assert!(mistyped.is_err());
    /// # drop(node);
    /// # Ok(())
    /// # }
    /// ```
    pub fn secret(self, secret: impl Into<SecretText>) -> Self {
        NodeBuilder {
            trust: TrustSource::Secret(secret.into().0),
            ..self
        }
    }

    /// Trusts every node with a certificate from one of the CAs in `ca_pem`.
    ///
    /// `chain_pem` starts with this node's own certificate, to which the private key in `key_pem` belongs; its hash is the node's identity.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    /// use rolecast::Node;
    ///
    /// // Usually done once, elsewhere: a CA, and a certificate for this node that it signs.
    /// let mut ca = CertificateParams::default();
    /// ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    /// let ca_key = KeyPair::generate()?;
    /// let ca_pem = ca.self_signed(&ca_key)?.pem();
    /// let mut params = CertificateParams::default();
    /// params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    /// let key = KeyPair::generate()?;
    /// let certificate = params.signed_by(&key, &Issuer::new(ca, ca_key))?;
    ///
    /// let node = Node::builder()
    ///     .certificates(ca_pem, certificate.pem(), key.serialize_pem())
    ///     .listen("127.0.0.1:0")
    ///     .start()
    ///     .await?;
    ///
    /// // A mistake is found before anything is sent.
    /// let mistaken = Node::builder().certificates("no PEM", "no PEM", "no PEM").listen("127.0.0.1:0").start().await;
    /// assert_eq!(mistaken.unwrap_err().to_string(), "the CA file holds no certificate in PEM");
    /// # drop(node);
    /// # Ok(())
    /// # }
    /// ```
    pub fn certificates(
        self,
        ca_pem: impl Into<String>,
        chain_pem: impl Into<String>,
        key_pem: impl Into<String>,
    ) -> Self {
        let (ca, chain, key) = (ca_pem.into(), chain_pem.into(), key_pem.into());
        NodeBuilder {
            trust: TrustSource::Pem { ca, chain, key },
            ..self
        }
    }

    /// As [`NodeBuilder::certificates`], from files, which are read by [`NodeBuilder::start`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rolecast::{Node, StartError};
    ///
    /// # use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    /// # let mut ca = CertificateParams::default();
    /// # ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    /// # let ca_key = KeyPair::generate()?;
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// # std::fs::write(path.join("ca.pem"), ca.self_signed(&ca_key)?.pem())?;
    /// # let mut params = CertificateParams::default();
    /// # params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    /// # let key = KeyPair::generate()?;
    /// # let chain = params.signed_by(&key, &Issuer::new(ca, ca_key))?.pem();
    /// # std::fs::write(path.join("node.pem"), chain)?;
    /// # std::fs::write(path.join("node.key"), key.serialize_pem())?;
    /// let node = Node::builder()
    ///     .certificate_files(path.join("ca.pem"), path.join("node.pem"), path.join("node.key"))
    ///     .listen("127.0.0.1:0")
    ///     .start()
    ///     .await?;
    ///
    /// // The error names the file that cannot be read.
    /// let missing = Node::builder()
    ///     .certificate_files(path.join("ca.pem"), path.join("node.pem"), path.join("nobody.key"))
    ///     .start()
    ///     .await;
    /// assert!(matches!(missing, Err(StartError::File { path, .. }) if path.ends_with("nobody.key")));
    /// # drop(node);
    /// # Ok(())
    /// # }
    /// ```
    pub fn certificate_files(
        self,
        ca: impl Into<PathBuf>,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        let (ca, chain, key) = (ca.into(), chain.into(), key.into());
        NodeBuilder {
            trust: TrustSource::Files { ca, chain, key },
            ..self
        }
    }
}
