//! Who this node is, and whom it believes.

use std::fmt;
use std::sync::Arc;

use ring::digest;
use rolecast_membership::NodeId;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::authority::Authority;
use crate::key::NodeKey;
use crate::secret::MeshSecret;
use crate::tls;

/// Who this node is (a certificate and its key), and whom it believes (a CA); cheap to clone.
#[derive(Clone)]
pub struct Trust(Arc<Inner>);

struct Inner {
    node_id: NodeId,
    /// This node's certificate, then whatever links it to a root.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

/// Why keys or certificates cannot be used.
///
/// ```
/// # use rolecast_transport::{Trust, TrustError};
/// let mistaken = Trust::from_pem("no PEM", "no PEM", "no PEM");
/// assert_eq!(mistaken.unwrap_err(), TrustError::NoCa);
/// ```
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
    /// The CA does not vouch for the certificate as client and server, or no longer does.
    #[error("peers would refuse this node's certificate: {0}")]
    NotTrusted(String),
}

impl Trust {
    /// Trust in every node that has the secret.
    ///
    /// The mesh's CA follows from the secret alone, so it is the same on every node, and each node signs its own certificate with it.
    #[must_use]
    pub fn from_secret(secret: &MeshSecret, key: &NodeKey) -> Self {
        let authority = Authority::derive(secret);
        let mut roots = RootCertStore::empty();
        roots
            .add(authority.certificate())
            .expect("a certificate made here can be read here");
        Trust::assemble(vec![authority.issue(key)], key.der().into(), roots)
            .expect("a certificate made here can be read here")
    }

    /// Trust in every node whose certificate is signed by one of the CAs in `ca_pem`, directly or through intermediates in its chain.
    ///
    /// The chain starts with this node's own certificate, which must be good for client and server authentication and not have expired.
    /// Names in certificates do not matter: a node is its key.
    pub fn from_pem(ca_pem: &str, cert_chain_pem: &str, key_pem: &str) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for ca in certificates(ca_pem, "the CA file", TrustError::NoCa)? {
            roots.add(ca).map_err(|why| TrustError::Unusable {
                what: "a CA certificate",
                why: why.to_string(),
            })?;
        }
        let chain = certificates(
            cert_chain_pem,
            "the certificate file",
            TrustError::NoCertificate,
        )?;
        let key =
            PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| TrustError::NoKey)?;
        let trust = Trust::assemble(chain, key, roots)?;
        tls::check_own_chain(&trust, UnixTime::now())?;
        Ok(trust)
    }

    /// Puts the parts together; does not ask whether the roots vouch for the chain.
    pub(crate) fn assemble(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        roots: RootCertStore,
    ) -> Result<Self, TrustError> {
        let own = chain.first().ok_or(TrustError::NoCertificate)?;
        let node_id = node_id_of(own).map_err(|why| TrustError::Unusable {
            what: "the certificate",
            why,
        })?;
        tls::check_key(&chain, &key)?;
        Ok(Trust(Arc::new(Inner {
            node_id,
            chain,
            key,
            roots: Arc::new(roots),
        })))
    }

    /// This node's identity: the SHA-256 hash of its certificate's SubjectPublicKeyInfo.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.0.node_id
    }

    /// This node's certificate, then whatever links it to a root.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// This node's private key.
    pub(crate) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.0.key
    }

    /// The CAs that this node believes.
    pub(crate) fn roots(&self) -> &Arc<RootCertStore> {
        &self.0.roots
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("node_id", &self.0.node_id)
            .finish_non_exhaustive()
    }
}

/// The identity of the node that holds this certificate's key.
pub(crate) fn node_id_of(certificate: &CertificateDer<'_>) -> Result<NodeId, String> {
    let certificate =
        webpki::EndEntityCert::try_from(certificate).map_err(|why| why.to_string())?;
    let hash = digest::digest(&digest::SHA256, &certificate.subject_public_key_info());
    let bytes = hash
        .as_ref()
        .try_into()
        .expect("a SHA-256 hash has 32 bytes");
    Ok(NodeId::from_bytes(bytes))
}

fn certificates(
    pem: &str,
    what: &'static str,
    none: TrustError,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| TrustError::Unusable {
            what,
            why: why.to_string(),
        })?;
    if found.is_empty() {
        return Err(none);
    }
    Ok(found)
}
