//! The certificate authority of a mesh that is held together by a secret.
//!
//! The CA's key is derived from the secret (HKDF-SHA256, RFC 5869, to an Ed25519 seed), and Ed25519 signatures are deterministic (RFC 8032, section 5.1.6), so every node that has the secret makes the very same CA certificate, byte for byte, and signs its own certificate with it.
//! The CA's name holds a fingerprint of its public key, so that a certificate of another mesh is known by its issuer.

use data_encoding::HEXLOWER;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use ring::{digest, hkdf};
use rustls::pki_types::CertificateDer;

use crate::key::NodeKey;
use crate::secret::MeshSecret;

/// The CA of a mesh.
pub(crate) struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The CA that follows from this secret.
    pub(crate) fn derive(secret: &MeshSecret) -> Self {
        let pair = NodeKey::from_seed(&ca_seed(secret)).pair();
        let fingerprint = digest::digest(&digest::SHA256, pair.public_key_raw());
        let mut params = validity(CertificateParams::default());
        params.distinguished_name.push(
            DnType::CommonName,
            format!(
                "rolecast mesh {}",
                HEXLOWER.encode(&fingerprint.as_ref()[..8])
            ),
        );
        params.serial_number = Some(SerialNumber::from(1));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params
            .self_signed(&pair)
            .expect("fixed parameters and an Ed25519 key always make a certificate");
        Authority {
            certificate,
            issuer: Issuer::new(params, pair),
        }
    }

    /// The CA's own certificate, the same on every node.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// A certificate for the node with this key.
    pub(crate) fn issue(&self, key: &NodeKey) -> CertificateDer<'static> {
        let mut params = validity(CertificateParams::default());
        params
            .distinguished_name
            .push(DnType::CommonName, "rolecast node");
        params.subject_alt_names = vec![SanType::DnsName(
            "rolecast".try_into().expect("the name is ASCII"),
        )];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params
            .signed_by(&key.pair(), &self.issuer)
            .expect("fixed parameters and an Ed25519 key always make a certificate")
            .der()
            .clone()
    }
}

/// The seed of the CA's key.
fn ca_seed(secret: &MeshSecret) -> [u8; 32] {
    let mut seed = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"rolecast mesh secret, version 1")
        .extract(secret.as_bytes())
        .expand(&[b"certificate authority, ed25519"], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut seed))
        .expect("32 bytes are within what HKDF gives");
    seed
}

/// A mesh lives as long as its secret does: there is no date on which it should fall silent (9999 is "no expiry", RFC 5280, section 4.1.2.5).
fn validity(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_derives_the_same_authority() {
        let secret = MeshSecret::from_bytes([1; 32]);
        let other = MeshSecret::from_bytes([2; 32]);
        let ca = Authority::derive(&secret).certificate();
        assert_eq!(ca, Authority::derive(&secret).certificate());
        assert_ne!(ca, Authority::derive(&other).certificate());
    }
}
