//! A node's own key pair.

use std::fmt;

use data_encoding::BASE64;
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use crate::entropy;
use crate::trust::TrustError;

/// A node's own key pair (Ed25519); the hash of its public half is the node's identity.
///
/// ```
/// use rolecast_transport::{MeshSecret, NodeKey, Trust};
///
/// let key = NodeKey::generate();
/// let kept = key.to_pkcs8_pem();
/// let again = NodeKey::from_pem(&kept)?;
///
/// let secret = MeshSecret::generate();
/// assert_eq!(
///     Trust::from_secret(&secret, &key).node_id(),
///     Trust::from_secret(&secret, &again).node_id(),
/// );
/// # Ok::<(), rolecast_transport::TrustError>(())
/// ```
#[derive(Clone)]
pub struct NodeKey {
    /// The private key as PKCS#8, known to be Ed25519.
    pkcs8: Vec<u8>,
}

impl NodeKey {
    /// A key from the operating system's entropy.
    #[must_use]
    pub fn generate() -> Self {
        NodeKey::from_seed(&entropy::bytes())
    }

    /// The key that follows from these bytes, for derived keys and for tests and simulations that must be repeatable.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        NodeKey {
            pkcs8: [PKCS8_PREFIX, seed].concat(),
        }
    }

    /// The private key as PKCS#8 in PEM, to be kept where only this node can read it.
    #[must_use]
    pub fn to_pkcs8_pem(&self) -> String {
        let text = BASE64.encode(&self.pkcs8);
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in text.as_bytes().chunks(PEM_LINE) {
            pem.extend(line.iter().map(|&byte| char::from(byte)));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// Reads what [`NodeKey::to_pkcs8_pem`] or `openssl genpkey -algorithm ed25519` wrote.
    pub fn from_pem(pem: &str) -> Result<Self, TrustError> {
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| TrustError::NoKey)?;
        let pkcs8 = der.secret_pkcs8_der().to_vec();
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).map_err(|why| TrustError::Unusable {
            what: "the node's key",
            why: format!("it is no Ed25519 key ({why})"),
        })?;
        Ok(NodeKey { pkcs8 })
    }

    /// The private key, in the form that TLS and certificate making take.
    pub(crate) fn der(&self) -> PrivatePkcs8KeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8.clone())
    }

    /// The key pair, in the form that signs certificates.
    pub(crate) fn pair(&self) -> rcgen::KeyPair {
        rcgen::KeyPair::try_from(&self.der()).expect("the key was checked when it was made")
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(hidden)")
    }
}

/// What precedes the 32 bytes of an Ed25519 private key in PKCS#8 (RFC 8410, section 7).
const PKCS8_PREFIX: &[u8] = &[
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// Characters of base64 in one line of PEM (RFC 7468, section 2).
const PEM_LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_way_through_pem() {
        let key = NodeKey::from_seed(&[7; 32]);
        let again = NodeKey::from_pem(&key.to_pkcs8_pem()).unwrap();
        assert_eq!(key.pkcs8, again.pkcs8);
        assert_eq!(format!("{key:?}"), "NodeKey(hidden)");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(NodeKey::from_pem("").unwrap_err(), TrustError::NoKey);
        let ecdsa = rcgen::KeyPair::generate().unwrap().serialize_pem();
        assert!(matches!(
            NodeKey::from_pem(&ecdsa),
            Err(TrustError::Unusable { .. })
        ));
    }
}
