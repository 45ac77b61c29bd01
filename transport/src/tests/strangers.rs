//! Peers that are not of the mesh, or no longer.

use std::net::UdpSocket;

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::harness::{Node, config, linked, mesh};
use crate::event::{Class, DialError, RefusalReason, TransportEvent};
use crate::{Limits, MeshSecret, NodeKey, Transport, Trust, TrustError};

fn refused(event: &TransportEvent) -> Option<RefusalReason> {
    match event {
        TransportEvent::Refused { why, .. } => Some(why.clone()),
        _ => None,
    }
}

fn failed(event: &TransportEvent) -> Option<DialError> {
    match event {
        TransportEvent::DialFailed { why, .. } => Some(why.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn another_secret_is_refused_at_both_ends() {
    let secret = MeshSecret::generate();
    let mut stranger = Node::with_trust(Trust::from_secret(&secret, &NodeKey::generate()));
    let mut member = Node::start();
    stranger.dial(&member);
    let why = stranger.until(failed).await;
    assert_eq!(why, DialError::AnotherMesh);
    let why = member.until(refused).await;
    assert!(
        matches!(&why, RefusalReason::RefusedByPeer(why) if why.contains("another mesh")),
        "{why}"
    );
    assert_eq!(member.transport.counters().refused, 1);
    assert_eq!(stranger.transport.counters().dials_failed, 1);
}

#[tokio::test]
async fn another_protocol_version_is_refused_at_both_ends() {
    let trust = mesh(&NodeKey::generate());
    let future = Transport::bind_speaking(config(trust, 1), b"rolecast/2").unwrap();
    let (mut future, mut present) = (Node::of(future), Node::start());
    future.dial(&present);
    assert!(matches!(future.until(failed).await, DialError::Version(_)));
    assert!(matches!(
        present.until(refused).await,
        RefusalReason::Version(_)
    ));
}

#[tokio::test]
async fn rubbish_packets_do_nothing() {
    let (a, to_b, mut b, _to_a) = linked().await;
    let vandal = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in 0..2000usize {
        let packet: Vec<u8> = (0..length).map(|index| (index * length) as u8).collect();
        vandal.send_to(&packet, b.addr()).unwrap();
    }
    to_b.send_frame(Class::Data, Bytes::new(), Bytes::from_static(b"unharmed"));
    assert_eq!(b.frame(Class::Data).await, "unharmed");
    assert_eq!(b.transport.counters().refused, 0);
    assert_eq!(a.transport.counters().links_down, 0);
}

#[tokio::test]
async fn too_many_handshakes_are_turned_away() {
    let mut config = config(mesh(&NodeKey::generate()), 1);
    config.limits = Limits {
        handshakes_max: 0,
        ..Limits::default()
    };
    let (mut a, busy) = (Node::start(), Node::with_config(config));
    a.dial(&busy);
    assert!(matches!(a.until(failed).await, DialError::Closed(_)));
    assert_eq!(busy.transport.counters().overloaded, 1);
}

/// A certificate authority of somebody's own.
struct OwnCa {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that it signed.
struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl OwnCa {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        OwnCa {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { certificate, key }
    }

    fn trust(&self, signed: &Signed) -> Result<Trust, TrustError> {
        let key = signed.key.serialize_pem();
        Trust::from_pem(&self.pem, &signed.certificate.pem(), &key)
    }

    /// Trust that nobody has checked, as of a node whose certificate expired after it started.
    fn unchecked(&self, signed: &Signed) -> Trust {
        let mut roots = RootCertStore::empty();
        let ca = rustls::pki_types::pem::PemObject::from_pem_slice(self.pem.as_bytes());
        roots.add(ca.unwrap()).unwrap();
        let key = PrivatePkcs8KeyDer::from(signed.key.serialize_der());
        Trust::assemble(vec![signed.certificate.der().clone()], key.into(), roots).unwrap()
    }
}

fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
}

#[tokio::test]
async fn certificates_of_an_own_ca_work() {
    let ca = OwnCa::new("own");
    let start = || Node::with_trust(ca.trust(&ca.sign(|_| {})).unwrap());
    let (mut a, mut b) = (start(), start());
    a.dial(&b);
    assert_eq!(a.link_up().await.peer(), b.id());
    assert_eq!(b.link_up().await.peer(), a.id());
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_whoever_is_dialled() {
    let ca = OwnCa::new("own");
    let mut old = Node::with_trust(ca.unchecked(&ca.sign(expired)));
    let mut member = Node::with_trust(ca.trust(&ca.sign(|_| {})).unwrap());
    old.dial(&member);
    let why = old.until(failed).await;
    assert!(
        matches!(&why, DialError::RefusedByPeer(why) if why.contains("expired")),
        "{why}"
    );
    let why = member.until(refused).await;
    assert!(
        matches!(&why, RefusalReason::Certificate(why) if why.contains("expired")),
        "{why}"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_whoever_dials() {
    let ca = OwnCa::new("own");
    let mut old = Node::with_trust(ca.unchecked(&ca.sign(expired)));
    let mut member = Node::with_trust(ca.trust(&ca.sign(|_| {})).unwrap());
    member.dial(&old);
    let why = member.until(failed).await;
    assert!(
        matches!(&why, DialError::CertificateRefused(why) if why.contains("expired")),
        "{why}"
    );
    let why = old.until(refused).await;
    assert!(
        matches!(&why, RefusalReason::RefusedByPeer(why) if why.contains("expired")),
        "{why}"
    );
}

#[test]
fn files_that_peers_would_refuse_are_refused_at_the_start() {
    let (ca, other) = (OwnCa::new("own"), OwnCa::new("other"));
    let good = ca.sign(|_| {});
    let (cert, key) = (good.certificate.pem(), good.key.serialize_pem());
    assert!(Trust::from_pem(&ca.pem, &cert, &key).is_ok());

    let not_trusted = |signed: &Signed| match ca.trust(signed) {
        Err(TrustError::NotTrusted(why)) => why,
        other => panic!("{other:?}"),
    };
    not_trusted(&ca.sign(expired));
    not_trusted(&other.sign(|_| {}));
    not_trusted(&ca.sign(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }));
    let strange = KeyPair::generate().unwrap().serialize_pem();
    let mismatch = Trust::from_pem(&ca.pem, &cert, &strange).unwrap_err();
    assert_eq!(mismatch, TrustError::KeyMismatch);
    let missing = |ca: &str, cert: &str, key: &str| Trust::from_pem(ca, cert, key).unwrap_err();
    assert_eq!(missing("", &cert, &key), TrustError::NoCa);
    assert_eq!(missing(&ca.pem, "", &key), TrustError::NoCertificate);
    assert_eq!(missing(&ca.pem, &cert, ""), TrustError::NoKey);
    let damaged = cert.replacen('M', "!", 1);
    assert!(matches!(
        missing(&ca.pem, &damaged, &key),
        TrustError::Unusable { .. }
    ));
}
