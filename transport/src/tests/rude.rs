//! Members of the mesh that break the protocol: QUIC by hand, with a good certificate.

use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, TokioRuntime, VarInt};
use tokio::time::timeout;

use super::harness::{Node, PATIENCE, config, mesh, ordered_keys};
use crate::event::{DialError, LinkEnd, RefusalReason, TransportEvent};
use crate::preface::Preface;
use crate::problem::code;
use crate::quic::Settings;
use crate::tls;

/// One connection to a node, made by hand, with the greater node id, so that the node decides.
struct Rude {
    _endpoint: Endpoint,
    connection: Connection,
    control: SendStream,
}

impl Rude {
    async fn connect(node: &Node) -> Self {
        let (_, large) = ordered_keys();
        let settings = Settings::new(&config(mesh(&large), 1), tls::ALPN).unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let runtime = std::sync::Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(settings.endpoint.clone(), None, socket, runtime).unwrap();
        let client = settings.client.towards(node.addr().ip()).clone();
        let connecting = endpoint.connect_with(client, node.addr(), tls::SERVER_NAME);
        let connection = connecting.unwrap().await.unwrap();
        let control = connection.open_uni().await.unwrap();
        Rude {
            _endpoint: endpoint,
            connection,
            control,
        }
    }

    /// A connection that the node has taken as the link.
    async fn link(node: &mut Node) -> (Self, RecvStream) {
        let mut rude = Rude::connect(node).await;
        let preface = Preface {
            minor: 0,
            instance: 1,
            attempt: 1,
            holds: 0,
        };
        preface.write(&mut rude.control).await.unwrap();
        let mut control = rude.connection.accept_uni().await.unwrap();
        Preface::read(&mut control).await.unwrap();
        node.link_up().await;
        (rude, control)
    }

    /// The node's reason for closing the connection.
    async fn closed(&self) -> (VarInt, String) {
        match timeout(PATIENCE, self.connection.closed()).await.unwrap() {
            ConnectionError::ApplicationClosed(close) => (
                close.error_code,
                String::from_utf8(close.reason.to_vec()).unwrap(),
            ),
            other => panic!("closed with {other}"),
        }
    }
}

/// The node whose manners are tested, with the smaller node id.
fn polite() -> Node {
    Node::with_key(&ordered_keys().0, 1)
}

async fn assert_violation(node: &mut Node, rude: &Rude, words: &str) {
    let why = node.link_down().await;
    assert!(
        matches!(&why, LinkEnd::Violation(why) if why.contains(words)),
        "{why}"
    );
    let (code, reason) = rude.closed().await;
    assert_eq!(code, code::VIOLATION);
    assert!(reason.contains(words), "{reason}");
    assert_eq!(node.transport.counters().violations, 1);
}

#[tokio::test]
async fn a_gigabyte_length_closes_the_link() {
    let mut node = polite();
    let (rude, _control) = Rude::link(&mut node).await;
    let mut data = rude.connection.open_uni().await.unwrap();
    data.write_all(&(1u32 << 30).to_le_bytes()).await.unwrap();
    assert_violation(&mut node, &rude, "a frame claims 1073741824 bytes").await;
}

#[tokio::test]
async fn a_control_frame_of_a_data_frames_size_closes_the_link() {
    let mut node = polite();
    let (mut rude, _control) = Rude::link(&mut node).await;
    let claim = (2u32 << 20).to_le_bytes();
    rude.control.write_all(&claim).await.unwrap();
    assert_violation(&mut node, &rude, "a frame claims 2097152 bytes").await;
}

#[tokio::test]
async fn half_a_frame_at_the_end_of_a_stream_closes_the_link() {
    let mut node = polite();
    let (rude, _control) = Rude::link(&mut node).await;
    let mut data = rude.connection.open_uni().await.unwrap();
    data.write_all(&[9, 0, 0, 0, 1, 2, 3]).await.unwrap();
    data.finish().unwrap();
    assert_violation(&mut node, &rude, "a frame was cut off").await;
}

#[tokio::test]
async fn a_stream_that_is_reset_closes_the_link() {
    let mut node = polite();
    let (mut rude, _control) = Rude::link(&mut node).await;
    rude.control.reset(VarInt::from_u32(5)).unwrap();
    assert_violation(&mut node, &rude, "a stream ended").await;
}

#[tokio::test]
async fn half_a_frame_before_the_connection_closes_is_forgotten() {
    let mut node = polite();
    let (mut rude, _control) = Rude::link(&mut node).await;
    rude.control
        .write_all(&[9, 0, 0, 0, 1, 2, 3])
        .await
        .unwrap();
    rude.connection.close(VarInt::from_u32(3), b"bye\nbye");
    let reason = "bye bye".to_owned();
    let why = node
        .until(|event| match event {
            TransportEvent::Frame { .. } => panic!("half a frame is none"),
            TransportEvent::LinkDown { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await;
    assert_eq!(why, LinkEnd::ClosedByPeer { code: 3, reason });
}

#[tokio::test]
async fn a_rubbish_preface_is_refused() {
    let mut node = polite();
    let mut rude = Rude::connect(&node).await;
    let request = b"GET / HTTP/1.1\r\nHost: example\r\n\r\n";
    rude.control.write_all(request).await.unwrap();
    let why = node
        .until(|event| match event {
            TransportEvent::Refused { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await;
    assert!(matches!(why, RefusalReason::Violation(_)), "{why}");
    assert_eq!(rude.closed().await.0, code::VIOLATION);
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_refused_in_time() {
    let mut node = polite();
    let rude = Rude::connect(&node).await;
    tokio::time::pause();
    let why = node
        .until(|event| match event {
            TransportEvent::Refused { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await;
    assert_eq!(why, RefusalReason::TimedOut);
    tokio::time::resume();
    assert_eq!(rude.closed().await.0, code::TIMED_OUT);
}

#[tokio::test]
async fn a_dialled_node_that_breaks_the_protocol_is_told_apart() {
    let (_, large) = ordered_keys();
    let settings = Settings::new(&config(mesh(&large), 1), tls::ALPN).unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let server = (**settings.server.towards(addr.ip())).clone();
    let runtime = std::sync::Arc::new(TokioRuntime);
    let endpoint = Endpoint::new(settings.endpoint, Some(server), socket, runtime).unwrap();
    let mut node = polite();
    node.transport.dial(addr, None);
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    let mut control = connection.open_uni().await.unwrap();
    control.write_all(b"what do you want?").await.unwrap();
    let why = node
        .until(|event| match event {
            TransportEvent::DialFailed { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await;
    assert!(matches!(why, DialError::Violation(_)), "{why}");
}
