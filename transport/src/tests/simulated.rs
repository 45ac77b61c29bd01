//! Transports on a network in memory, in simulated time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::harness::{Node, config, mesh};
use super::wire::{Packet, Weather, Wire};
use crate::event::{Class, LinkEnd, TransportEvent};
use crate::{Link, NodeKey};

const LAN: Weather = Weather {
    latency: Duration::from_micros(300),
    packet_bytes_max: 1472,
    lost_one_in: 0,
};

fn node(wire: &Wire, number: u8) -> Node {
    let addr = SocketAddr::from(([10, 0, 0, number], 7400));
    let mut config = config(mesh(&NodeKey::from_seed(&[number; 32])), 1);
    config.socket = wire.socket(addr);
    config.rng_seed = Some([number; 32]);
    Node::with_config(config)
}

async fn linked(wire: &Wire) -> (Node, Link, Node) {
    let (mut a, mut b) = (node(wire, 1), node(wire, 2));
    a.dial(&b);
    let link = a.link_up().await;
    b.link_up().await;
    (a, link, b)
}

/// Sends so many data frames of 10,000 bytes and waits until all have arrived in order.
async fn send_frames(link: &Link, receiver: &mut Node, count: u32) {
    let body = Bytes::from(vec![7; 10_000]);
    for number in 0..count {
        let head = Bytes::copy_from_slice(&number.to_le_bytes());
        link.send_frame(Class::Data, head, body.clone());
    }
    for number in 0..count {
        let frame = receiver.frame(Class::Data).await;
        assert_eq!(frame[..4], number.to_le_bytes());
        assert_eq!(frame.len(), 10_004);
    }
}

#[tokio::test(start_paused = true)]
async fn on_an_ethernet_packets_grow_to_what_it_carries() {
    let wire = Wire::new(LAN);
    let (_a, link, mut b) = linked(&wire).await;
    assert_eq!(link.stats().mtu, 1200);
    send_frames(&link, &mut b, 1000).await;
    let mtu = link.stats().mtu;
    assert!((1400..=1472).contains(&mtu), "{mtu}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_out_of_order_on_a_network_that_loses_packets() {
    let wire = Wire::new(Weather {
        lost_one_in: 13,
        ..LAN
    });
    let (_a, link, mut b) = linked(&wire).await;
    send_frames(&link, &mut b, 500).await;
    assert!(link.stats().packets_lost > 100);
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_stays_up_and_a_silent_peer_is_noticed() {
    let wire = Wire::new(LAN);
    let (mut a, _link, b) = linked(&wire).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(b.transport.counters().links_down, 0);
    let cut = Instant::now();
    wire.cut();
    assert_eq!(a.link_down().await, LinkEnd::TimedOut);
    let after = cut.elapsed();
    assert!(after <= Duration::from_secs(13), "{after:?}");
}

/// A day in the life of three nodes.
async fn story() -> Vec<Packet> {
    let wire = Wire::new(Weather {
        lost_one_in: 29,
        ..LAN
    });
    let mut nodes: Vec<Node> = (1..=3).map(|number| node(&wire, number)).collect();
    for one in &nodes {
        for other in &nodes {
            if one.id() != other.id() {
                one.dial(other);
            }
        }
    }
    for node in &mut nodes {
        for _ in 0..2 {
            let link = node.link_up().await;
            let frame = Bytes::from(vec![1; 100_000]);
            link.send_frame(Class::Data, Bytes::new(), frame);
            link.send_datagram(Bytes::from_static(b"gossip"));
        }
    }
    for node in &mut nodes {
        let mut arrived = 0;
        node.until(|event| {
            arrived += usize::from(matches!(event, TransportEvent::Frame { .. }));
            (arrived == 2).then_some(())
        })
        .await;
    }
    for node in &nodes {
        node.transport.close("the story is over").await;
    }
    wire.trace()
}

#[test]
fn the_same_seeds_tell_the_same_story() {
    let tell = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(story())
    };
    let (once, again) = (tell(), tell());
    assert!(once.len() > 400, "{}", once.len());
    let differ = once
        .iter()
        .zip(&again)
        .position(|(one, other)| one != other);
    assert_eq!(differ.map(|at| (at, &once[at], &again[at])), None);
    assert_eq!(once.len(), again.len());
}
