//! Strangers, rubbish, and a member that breaks the protocol.

use std::net::{SocketAddr, UdpSocket};

use bytes::Bytes;
use rolecast::MeshSecret;
use rolecast_tests::PATIENCE;
use rolecast_tests::mesh::{Member, Mesh};
use rolecast_tests::process::Process;
use rolecast_transport::{
    Class, Events, Link, NodeKey, Transport, TransportConfig, TransportEvent, Trust,
};

#[test]
fn a_node_with_another_secret_is_refused_and_both_logs_say_why() {
    let mut mesh = Mesh::new();
    let member = Member::from(mesh.process(&["node", "-vv"]));
    let other = mesh.path("other-secret");
    std::fs::write(&other, MeshSecret::generate().to_string()).expect("it can be written");
    let stranger = Process::start(&[
        "node",
        "--json",
        "-v",
        "--listen",
        "127.0.0.1:0",
        "--seed",
        &member.addr,
        "--secret-file",
        other.to_str().expect("temporary paths are text"),
    ]);
    // The one who dials is told, and so is the one who is dialled.
    stranger.wait_for_complaint("another mesh");
    member.process.wait_for_complaint("refused");
    let joined = |process: &Process| process.objects().iter().any(|o| o["event"] == "joined");
    assert!(!joined(&stranger) && !joined(&member.process));
    // The mesh goes on.
    mesh.use_seed(&member.addr);
    let friend = mesh.member(&["node", "-vv"]);
    friend.wait_until_joined(&member.id);
}

#[test]
fn rubbish_packets_do_a_node_no_harm() {
    let mut mesh = Mesh::new();
    let member = mesh.member(&["node"]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket can be had");
    let mut state = 1u64;
    for number in 0..5_000usize {
        let mut packet: Vec<u8> = (0..number % 1_400)
            .map(|_| {
                // Any generator does; this one is Knuth's.
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        if let Some(first) = packet.first_mut().filter(|_| number % 3 == 0) {
            // A long header, as QUIC's first packets have.
            *first |= 0xc0;
        }
        // What the kernel does not take does no harm either.
        let _ = socket.send_to(&packet, &member.addr);
    }
    let friend = mesh.member(&["node"]);
    friend.wait_until_joined(&member.id);
    member.wait_until_joined(&friend.id);
}

/// A member of the mesh that says whatever it likes.
struct Liar {
    transport: Transport,
    events: Events,
}

impl Liar {
    fn new(mesh: &Mesh) -> Self {
        let trust = Trust::from_secret(mesh.secret(), &NodeKey::generate());
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = TransportConfig::new(listen, trust, 1);
        let (transport, events) = Transport::bind(config).expect("a port can be had");
        Liar { transport, events }
    }

    /// Opens a link, and waits until it is up.
    async fn dial(&mut self, addr: &str) -> Link {
        self.transport.dial(addr.parse().expect("an address"), None);
        loop {
            match self.next().await {
                TransportEvent::LinkUp { link, .. } => return link,
                TransportEvent::DialFailed { why, .. } => panic!("{why}"),
                _ => {}
            }
        }
    }

    /// Waits until the link is down; says why.
    async fn wait_until_closed(&mut self) -> String {
        loop {
            if let TransportEvent::LinkDown { why, .. } = self.next().await {
                return why.to_string();
            }
        }
    }

    async fn next(&mut self) -> TransportEvent {
        let mut one = Vec::new();
        while one.is_empty() {
            // Data frames come one by one, and whatever else came with it does not matter here.
            let more = tokio::time::timeout(PATIENCE, self.events.recv_many(&mut one, 1)).await;
            assert!(
                more.expect("something happens in time"),
                "the transport is up"
            );
        }
        let last = one.iter().rposition(|event| {
            matches!(
                event,
                TransportEvent::LinkUp { .. } | TransportEvent::LinkDown { .. }
            )
        });
        one.swap_remove(last.unwrap_or(0))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_breaks_the_protocol_is_cut_off_and_the_mesh_goes_on() {
    let mut mesh = Mesh::new();
    let member = mesh.member(&["listen", "db", "--reply", "fine"]);
    let asker = mesh.node().await;
    let channel = asker.channel("db");
    channel
        .wait_for_holders(1)
        .timeout(PATIENCE)
        .await
        .expect("it joins");

    let nonsense: [(Class, &[u8], &str); 5] = [
        (Class::Control, &[0xff; 64], "malformed control frame"),
        (Class::Control, b"", "malformed control frame"),
        // A hello that ends in the middle of its epoch.
        (Class::Control, &[0, 0x80], "malformed control frame"),
        (Class::Data, &[0xff; 64], "malformed data frame"),
        // A session that resumes at a frame with the number 0.
        (Class::Data, &[0, 1, 1, 0, 1], "impossible frame"),
    ];
    for (class, bytes, why) in nonsense {
        let mut liar = Liar::new(&mesh);
        let link = liar.dial(&member.addr).await;
        link.send_frame(class, Bytes::copy_from_slice(bytes), Bytes::new());
        let told = liar.wait_until_closed().await;
        assert!(told.contains(why), "{bytes:?}: {told}");
        let reply = channel.request("are you well?").await.expect("it answers");
        assert_eq!(reply.payload, "fine");
    }
    // Datagrams may be lost or damaged, so that nonsense in them is dropped and nobody is cut off.
    let mut liar = Liar::new(&mesh);
    let link = liar.dial(&member.addr).await;
    for length in 0..200 {
        link.send_datagram(Bytes::from(vec![length as u8; length]));
    }
    let reply = channel.request("are you well?").await.expect("it answers");
    assert_eq!(reply.payload, "fine");
    asker.shutdown().await;
}
