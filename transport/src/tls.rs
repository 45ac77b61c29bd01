//! TLS as this mesh speaks it: 1.3 only, both ends with certificates, no resumption.
//!
//! Resumption would let a peer in without showing its certificate again, expired or not; links live long, so that it would save little.
//! Certificates are checked against the machine's wall clock, since that is the clock that they are written for.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::ring::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    DigitallySignedStruct, Error, InconsistentKeys, RootCertStore, SignatureScheme, version,
};

use crate::trust::{Trust, TrustError};

/// The protocol and its major version, as TLS negotiates it (RFC 7301).
pub(crate) const ALPN: &[u8] = b"rolecast/1";
/// What every node is called in TLS; a node is known by its key, so the name says nothing.
pub(crate) const SERVER_NAME: &str = "rolecast";

/// How this node dials.
pub(crate) fn client_config(trust: &Trust, alpn: &[u8]) -> Result<QuicClientConfig, String> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|why| why.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NodeVerifier::new(trust)))
        .with_client_auth_cert(trust.chain().to_vec(), trust.key().clone_key())
        .map_err(|why| why.to_string())?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(|why| why.to_string())
}

/// How this node answers.
pub(crate) fn server_config(trust: &Trust, alpn: &[u8]) -> Result<QuicServerConfig, String> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|why| why.to_string())?
        .with_client_cert_verifier(client_verifier(trust)?)
        .with_single_cert(trust.chain().to_vec(), trust.key().clone_key())
        .map_err(|why| why.to_string())?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    QuicServerConfig::try_from(config).map_err(|why| why.to_string())
}

/// Whether the key is the one in the chain's first certificate.
pub(crate) fn check_key(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(), TrustError> {
    match CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &provider()) {
        Ok(_) => Ok(()),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(TrustError::KeyMismatch),
        Err(why) => Err(TrustError::Unusable {
            what: "the private key",
            why: why.to_string(),
        }),
    }
}

/// Whether peers with the same roots would let this node in at this time, as client and as server.
pub(crate) fn check_own_chain(trust: &Trust, now: UnixTime) -> Result<(), TrustError> {
    let refused = |why: String| TrustError::NotTrusted(why);
    let (own, intermediates) = trust
        .chain()
        .split_first()
        .ok_or(TrustError::NoCertificate)?;
    client_verifier(trust)
        .map_err(refused)?
        .verify_client_cert(own, intermediates, now)
        .map_err(|why| refused(why.to_string()))?;
    let name = ServerName::try_from(SERVER_NAME).expect("the name is a valid one");
    NodeVerifier::new(trust)
        .verify_server_cert(own, intermediates, &name, &[], now)
        .map_err(|why| refused(why.to_string()))?;
    Ok(())
}

fn client_verifier(trust: &Trust) -> Result<Arc<dyn ClientCertVerifier>, String> {
    WebPkiClientVerifier::builder_with_provider(trust.roots().clone(), provider())
        .clear_root_hint_subjects()
        .build()
        .map_err(|why| why.to_string())
}

/// Ring's algorithms, with the fastest cipher first: AES-128 costs about a quarter less than AES-256 per byte.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            TLS13_AES_128_GCM_SHA256,
            TLS13_AES_256_GCM_SHA384,
            TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..ring::default_provider()
    })
}

/// Checks a dialled node's certificate: its chain, its dates and its purpose, but not its name.
///
/// A name would say that this address is meant to be that host; a mesh believes keys that a CA vouches for, wherever they are, and whoever dials for a particular node compares the key's hash.
#[derive(Debug)]
struct NodeVerifier {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl NodeVerifier {
    fn new(trust: &Trust) -> Self {
        NodeVerifier {
            roots: trust.roots().clone(),
            provider: provider(),
        }
    }
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
