//! Links between nodes that behave.

use std::net::UdpSocket;

use bytes::Bytes;

use super::harness::{Node, config, linked, mesh, ordered_keys};
use crate::event::{Class, DialError, LinkEnd, TransportEvent};
use crate::problem::code;
use crate::{BindError, CloseCode, Link, NodeKey, Socket, Transport, TransportConfig};

fn pattern(length: usize, salt: usize) -> Bytes {
    (0..length).map(|index| (index * 31 + salt) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_all_sizes_arrive_in_order_in_both_classes() {
    let (_a, to_b, mut b, _to_a) = linked().await;
    let sizes = [
        0,
        1,
        3,
        4,
        1000,
        1023,
        1024,
        1025,
        65_536,
        0,
        70_000,
        1 << 20,
        5,
        3 << 20,
        9,
    ];
    for (salt, &size) in sizes.iter().enumerate() {
        let (head, body) = (pattern(size / 3, salt), pattern(size - size / 3, salt + 1));
        to_b.send_frame(Class::Data, head.clone(), body.clone());
        to_b.send_frame(Class::Bulk, head.clone(), body.clone());
        if size <= 1 << 20 {
            to_b.send_frame(Class::Control, head, body);
        }
    }
    let (mut control, mut data, mut bulk) = (Vec::new(), Vec::new(), Vec::new());
    let expected = 2 * sizes.len() + sizes.iter().filter(|&&size| size <= 1 << 20).count();
    b.until(|event| {
        if let TransportEvent::Frame { class, bytes, .. } = event {
            match class {
                Class::Control => control.push(bytes.clone()),
                Class::Data => data.push(bytes.clone()),
                Class::Bulk => bulk.push(bytes.clone()),
            }
        }
        (control.len() + data.len() + bulk.len() == expected).then_some(())
    })
    .await;
    assert!(bulk == data, "bulk and data frames were the same");
    let mut control = control.into_iter();
    for ((salt, size), frame) in sizes.into_iter().enumerate().zip(data) {
        let whole = [pattern(size / 3, salt), pattern(size - size / 3, salt + 1)].concat();
        assert!(frame == whole, "the data frame of {size} bytes");
        if size <= 1 << 20 {
            assert!(
                control.next().unwrap() == whole,
                "the control frame of {size} bytes"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_frames_go_out_when_flushed_or_when_events_are_asked_for() {
    let (mut a, to_b, mut b, to_a) = linked().await;
    // More than QUIC takes on at once: the rest must go out by itself.
    for number in 0..200u32 {
        let head = Bytes::copy_from_slice(&number.to_le_bytes());
        to_b.queue_frame(Class::Data, head, pattern(100_000, 0));
    }
    a.transport.flush();
    for number in 0..200u32 {
        assert_eq!(b.frame(Class::Data).await[..4], number.to_le_bytes());
    }
    // The answer makes `a` ask for events, which sends the question.
    to_b.queue_frame(
        Class::Control,
        Bytes::new(),
        Bytes::from_static(b"question"),
    );
    let answer = async {
        assert_eq!(b.frame(Class::Control).await, "question");
        to_a.send_frame(Class::Control, Bytes::new(), Bytes::from_static(b"answer"));
    };
    let (got, ()) = tokio::join!(a.frame(Class::Control), answer);
    assert_eq!(got, "answer");
}

#[tokio::test]
async fn a_transport_whose_events_nobody_asks_for_any_more_ends() {
    let (a, _to_b, mut b, _to_a) = linked().await;
    let _transport = a.deaf();
    let reason = "the node has stopped".to_owned();
    let code = code::CLOSING.into_inner();
    assert_eq!(b.link_down().await, LinkEnd::ClosedByPeer { code, reason });
}

#[tokio::test]
async fn datagrams_arrive() {
    let (a, to_b, mut b, _to_a) = linked().await;
    to_b.send_datagram(Bytes::from_static(b"ping"));
    let got = b
        .until(|event| match event {
            TransportEvent::Datagram { bytes, .. } => Some(bytes.clone()),
            _ => None,
        })
        .await;
    assert_eq!(got, "ping");
    let largest = to_b.stats().datagram_bytes_max;
    assert!(largest >= 1178, "SWIM's packets must fit: {largest}");
    to_b.send_datagram(pattern(largest + 1, 0));
    assert_eq!(a.transport.counters().datagrams_oversized, 1);
}

#[tokio::test]
async fn loopback_has_large_packets_from_the_start() {
    let (_a, to_b, _b, to_a) = linked().await;
    assert_eq!(to_b.stats().mtu, 6500);
    assert_eq!(to_a.stats().mtu, 6500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_from_both_ends_leaves_one_link() {
    for round in 0..100 {
        let (mut a, mut b) = (Node::start(), Node::start());
        if round % 2 == 0 {
            a.dial(&b);
            b.dial(&a);
        } else {
            b.dial(&a);
            a.dial(&b);
        }
        let (to_b, to_a) = (a.link_up().await, b.link_up().await);
        to_b.send_frame(Class::Control, Bytes::new(), Bytes::from_static(b"from a"));
        to_a.send_frame(Class::Control, Bytes::new(), Bytes::from_static(b"from b"));
        assert_eq!(a.frame(Class::Control).await, "from b", "round {round}");
        assert_eq!(b.frame(Class::Control).await, "from a", "round {round}");
        // The other connection must lose at both ends.
        while a.transport.counters().duplicates + b.transport.counters().duplicates < 2 {
            tokio::task::yield_now().await;
        }
        for node in [&a, &b] {
            let counters = node.transport.counters();
            assert_eq!(counters.links_up, 1, "round {round}");
            assert_eq!(counters.links_down, 0, "round {round}");
            assert_eq!(counters.dials_failed, 0, "round {round}");
        }
    }
}

#[tokio::test]
async fn closing_ends_every_link_and_then_the_events() {
    let (a, _to_b, mut b, _to_a) = linked().await;
    a.transport.close("the day is over").await;
    let reason = "the day is over".to_owned();
    let code = code::CLOSING.into_inner();
    assert_eq!(b.link_down().await, LinkEnd::ClosedByPeer { code, reason });
    let rest = a.rest().await;
    let ended = |event: &TransportEvent| {
        matches!(
            event,
            TransportEvent::LinkDown {
                why: LinkEnd::ClosedHere,
                ..
            }
        )
    };
    assert!(matches!(&rest[..], [event] if ended(event)), "{rest:?}");
}

#[tokio::test]
async fn dials_to_one_address_are_merged() {
    let (mut a, mut b) = (Node::start(), Node::start());
    a.dial(&b);
    a.dial(&b);
    a.link_up().await;
    b.link_up().await;
    assert_eq!(a.transport.counters().dials, 1);
}

#[tokio::test]
async fn a_dial_to_a_linked_node_ends_in_silence() {
    let (a, to_b, mut b, _to_a) = linked().await;
    a.transport.dial(b.addr(), None);
    b.transport.dial(a.addr(), None);
    while a.transport.counters().duplicates + b.transport.counters().duplicates < 4 {
        tokio::task::yield_now().await;
    }
    to_b.send_frame(Class::Data, Bytes::new(), Bytes::from_static(b"still here"));
    assert_eq!(b.frame(Class::Data).await, "still here");
    for node in [&a, &b] {
        assert_eq!(node.transport.counters().links_up, 1);
        assert_eq!(node.transport.counters().dials_failed, 0);
    }
}

#[tokio::test]
async fn dials_that_come_to_nothing_say_why() {
    let failed = |event: &TransportEvent| match event {
        TransportEvent::DialFailed { why, .. } => Some(why.clone()),
        _ => None,
    };
    let key = NodeKey::generate();
    let (mut a, b) = (Node::with_key(&key, 1), Node::start());
    a.transport.dial(a.addr(), None);
    assert_eq!(a.until(failed).await, DialError::Myself);
    a.transport.dial(b.addr(), Some(a.id()));
    let found = b.id();
    assert_eq!(a.until(failed).await, DialError::NotExpected { found });
    a.transport.dial(([127, 0, 0, 1], 0).into(), None);
    assert!(matches!(a.until(failed).await, DialError::Unreachable(_)));
    let twin = Node::with_key(&key, 2);
    a.transport.dial(twin.addr(), None);
    assert_eq!(a.until(failed).await, DialError::DuplicateIdentity);
    assert_eq!(a.transport.counters().dials_failed, 4);
}

#[tokio::test(start_paused = true)]
async fn a_dial_to_nobody_times_out() {
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut a = Node::start();
    a.transport.dial(mute.local_addr().unwrap(), None);
    let why = a
        .until(|event| match event {
            TransportEvent::DialFailed { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await;
    assert_eq!(why, DialError::TimedOut);
}

#[tokio::test]
async fn a_closing_link_delivers_what_was_sent_before() {
    let (mut a, to_b, mut b, _to_a) = linked().await;
    for number in 0..1000u32 {
        let number = Bytes::copy_from_slice(&number.to_le_bytes());
        to_b.send_frame(Class::Data, Bytes::new(), number);
    }
    to_b.send_datagram(Bytes::from_static(b"farewell"));
    to_b.close(CloseCode(7), "moving house");
    to_b.send_frame(Class::Data, Bytes::new(), Bytes::from_static(b"too late"));
    let (mut frames, mut datagrams) = (0u32, 0);
    let why = b
        .until(|event| match event {
            TransportEvent::Frame { bytes, .. } => {
                assert_eq!(bytes[..], frames.to_le_bytes());
                frames += 1;
                None
            }
            TransportEvent::Datagram { .. } => {
                datagrams += 1;
                None
            }
            TransportEvent::LinkDown { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await;
    assert_eq!((frames, datagrams), (1000, 1));
    let reason = "moving house".to_owned();
    assert_eq!(why, LinkEnd::ClosedByPeer { code: 7, reason });
    assert_eq!(a.link_down().await, LinkEnd::ClosedHere);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_does_not_wait_behind_data_that_nobody_takes() {
    let (_a, to_b, mut b, _to_a) = linked().await;
    let megabyte = pattern(1 << 20, 0);
    for _ in 0..64 {
        to_b.send_frame(Class::Data, Bytes::new(), megabyte.clone());
    }
    to_b.send_frame(Class::Control, Bytes::new(), Bytes::from_static(b"urgent"));
    to_b.send_datagram(Bytes::from_static(b"urgent too"));
    let mut urgent = 0;
    b.until_taking(0, |event| {
        assert!(!matches!(
            event,
            TransportEvent::Frame {
                class: Class::Data,
                ..
            }
        ));
        urgent += usize::from(matches!(
            event,
            TransportEvent::Frame { .. } | TransportEvent::Datagram { .. }
        ));
        (urgent == 2).then_some(())
    })
    .await;
    let taken_on = 8 << 20;
    let sent = to_b.stats().bytes_sent;
    assert!(
        sent < 2 * taken_on,
        "the sender should be held back, it sent {sent}"
    );
    let mut data = 0;
    b.until_taking(4, |event| {
        data += usize::from(matches!(event, TransportEvent::Frame { .. }));
        (data == 64).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_does_not_wait_behind_bulk() {
    let (_a, to_b, mut b, _to_a) = linked().await;
    let megabyte = pattern(1 << 20, 0);
    for _ in 0..64 {
        to_b.send_frame(Class::Bulk, Bytes::new(), megabyte.clone());
    }
    to_b.send_frame(Class::Data, Bytes::new(), Bytes::from_static(b"small"));
    let (mut bulk, mut before) = (0, None);
    b.until(|event| {
        match event {
            TransportEvent::Frame {
                class: Class::Bulk,
                bytes,
                ..
            } => {
                assert_eq!(bytes.len(), 1 << 20);
                bulk += 1;
            }
            TransportEvent::Frame { .. } => before = Some(bulk),
            _ => {}
        }
        (bulk == 64).then_some(())
    })
    .await;
    let before = before.expect("the small frame came");
    // What QUIC had taken on before it is at most a window.
    assert!(before <= 16, "{before} of 64 bulk frames came first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn written_accounts_for_every_byte() {
    let (mut a, to_b, mut b, to_a) = linked().await;
    let mut handed = 0;
    for size in [0, 1, 10, 5000, 2 << 20, 100, 16 << 20, 64 << 10, 3] {
        to_b.send_frame(
            Class::Data,
            pattern(size / 7, 0),
            pattern(size - size / 7, 0),
        );
        to_b.send_frame(Class::Control, Bytes::new(), pattern(50, 0));
        handed += size;
    }
    let count = async {
        let mut written = 0;
        a.until(|event| {
            if let TransportEvent::Written { bytes, id, .. } = event {
                assert_eq!(*id, to_b.id());
                written += bytes;
            }
            (written >= handed).then_some(())
        })
        .await;
        written
    };
    let take = async {
        b.until(|event| match event {
            TransportEvent::Frame {
                bytes,
                class: Class::Data,
                ..
            } if bytes.len() == 3 => Some(()),
            _ => None,
        })
        .await;
        // What is little is told with whatever happens next.
        to_a.send_frame(Class::Control, Bytes::new(), Bytes::new());
    };
    let (written, ()) = tokio::join!(count, take);
    assert_eq!(written, handed);
}

/// Runs a node that links up with `stays`, and ends it as a killed process ends: nobody is told.
async fn live_and_die(config: TransportConfig, stays: &mut Node) -> Link {
    let addr = stays.addr();
    let life = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let node = runtime.block_on(async {
            let mut node = Node::with_config(config);
            node.transport.dial(addr, None);
            node.frame(Class::Control).await;
            node
        });
        // Nothing of the node runs from here on.
        drop(runtime);
        drop(node);
    });
    let link = stays.link_up().await;
    link.send_frame(Class::Control, Bytes::new(), Bytes::from_static(b"die"));
    life.await.unwrap();
    link
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_restarts_with_its_key_replaces_its_former_life() {
    let (small, large) = ordered_keys();
    // Once the node that stays is the one that decides, once it is not.
    for (stays, restarts) in [(&small, &large), (&large, &small)] {
        let mut stays = Node::with_key(stays, 1);
        let former = live_and_die(config(mesh(restarts), 1), &mut stays).await;
        let mut reborn = Node::with_key(restarts, 2);
        reborn.dial(&stays);
        let to_stays = reborn.link_up().await;
        let mut down = None;
        let mut up = None;
        stays
            .until(|event| {
                match event {
                    TransportEvent::LinkDown { id, why, .. } => down = Some((*id, why.clone())),
                    TransportEvent::LinkUp { link, .. } => up = Some(link.clone()),
                    _ => {}
                }
                (down.is_some() && up.is_some()).then_some(())
            })
            .await;
        assert_eq!(down, Some((former.id(), LinkEnd::Replaced)));
        to_stays.send_frame(
            Class::Control,
            Bytes::new(),
            Bytes::from_static(b"hello again"),
        );
        assert_eq!(stays.frame(Class::Control).await, "hello again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_to_a_former_life_are_answered_with_a_reset() {
    let mut stays = Node::start();
    let key = NodeKey::generate();
    // Both lives have the same socket, so that nobody else gets the port in between.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let with = |socket, instance| {
        let mut config = config(mesh(&key), instance);
        config.socket = Socket::Bound(socket);
        config
    };
    let former = with(socket.try_clone().unwrap(), 1);
    let link = live_and_die(former, &mut stays).await;
    let _reborn = Node::with_config(with(socket, 2));
    link.send_frame(Class::Control, Bytes::new(), pattern(2000, 0));
    assert_eq!(stays.link_down().await, LinkEnd::Reset);
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let a = Node::start();
    let mut config = config(mesh(&NodeKey::generate()), 1);
    config.socket = Socket::Bind(a.addr());
    let error = Transport::bind(config).unwrap_err();
    assert!(matches!(error, BindError::InUse { addr } if addr == a.addr()));
    assert!(error.to_string().contains("port 0"), "{error}");
}

#[test]
fn outside_of_a_runtime_there_is_no_transport() {
    let error = Transport::bind(config(mesh(&NodeKey::generate()), 1)).unwrap_err();
    assert!(matches!(error, BindError::NoRuntime));
}
