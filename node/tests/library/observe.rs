//! What a node counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use rolecast::{Bytes, MeshSecret, Node};
use rolecast_transport::{
    Class, Events, Limits, NodeKey, Transport, TransportConfig, TransportEvent, Trust,
};

use crate::mesh::{builder, mesh, message, register_on, within};

/// Keeps every counter under its name and node.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Handles>>);

/// By name and node.
type Handles = BTreeMap<(String, String), Arc<AtomicU64>>;

impl Kept {
    fn handle(&self, key: &Key) -> Arc<AtomicU64> {
        let node = key
            .labels()
            .find(|label| label.key() == "node")
            .expect("every one has it");
        let key = (key.name().to_owned(), node.value().to_owned());
        Arc::clone(self.0.lock().expect("no panic").entry(key).or_default())
    }

    fn of(&self, node: &Node, name: &str) -> u64 {
        let key = (format!("rolecast_{name}"), node.id().to_string());
        self.0.lock().expect("no panic")[&key].load(Ordering::Relaxed)
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.handle(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.handle(key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn messages_links_and_members_are_counted() {
    let kept = Kept::default();
    // The test's runtime has this thread alone.
    let _guard = metrics::set_default_local_recorder(&kept);
    within(async {
        let mesh = mesh(2).await;
        let mut inboxes = register_on(&mesh, &[1], "sink").await;
        let channel = mesh[0].channel("sink");
        for _ in 0..10 {
            channel
                .multicast("12345678")
                .await
                .expect("there is a holder");
        }
        channel.anycast("one way").await.expect("there is a holder");
        for _ in 0..11 {
            message(&mut inboxes[0]).await;
        }
        assert_eq!(kept.of(&mesh[0], "messages_sent_total"), 10);
        assert!(kept.of(&mesh[0], "bytes_sent_total") >= 80);
        assert_eq!(kept.of(&mesh[0], "calls_total"), 1);
        assert_eq!(kept.of(&mesh[1], "messages_delivered_total"), 11);
        assert_eq!(kept.of(&mesh[0], "violations_total"), 0);
        for (name, expected) in [("links", 1.0f64), ("members", 2.0)] {
            assert_eq!(f64::from_bits(kept.of(&mesh[0], name)), expected, "{name}");
        }
    })
    .await;
}

/// The next event of a transport that is about a link.
async fn next(events: &mut Events) -> TransportEvent {
    loop {
        let mut one = Vec::new();
        assert!(events.recv_many(&mut one, 1).await, "the transport is up");
        let link = one.into_iter().find(|event| {
            matches!(
                event,
                TransportEvent::LinkUp { .. } | TransportEvent::LinkDown { .. }
            )
        });
        if let Some(event) = link {
            return event;
        }
    }
}

/// A frame that is longer than any may be is refused by the transport, before the engine sees anything of it.
#[tokio::test]
async fn what_the_transport_finds_wrong_is_counted_too() {
    let kept = Kept::default();
    // The test's runtime has this thread alone.
    let _guard = metrics::set_default_local_recorder(&kept);
    within(async {
        let secret = MeshSecret::generate();
        let node = builder(&secret).start().await.expect("it starts");
        for (number, class) in [(1, Class::Control), (2, Class::Data)] {
            let trust = Trust::from_secret(&secret, &NodeKey::generate());
            let mut config = TransportConfig::new(([127, 0, 0, 1], 0).into(), trust, 1);
            config.limits = Limits {
                control_frame_bytes_max: 64 << 20,
                data_frame_bytes_max: 64 << 20,
                ..Limits::default()
            };
            let (liar, mut events) = Transport::bind(config).expect("a port can be had");
            liar.dial(node.addr(), None);
            let TransportEvent::LinkUp { link, .. } = next(&mut events).await else {
                panic!("there is no link");
            };
            link.send_frame(class, Bytes::from(vec![0; 32 << 20]), Bytes::new());
            let TransportEvent::LinkDown { why, .. } = next(&mut events).await else {
                panic!("there is no second link");
            };
            let why = why.to_string();
            assert!(why.contains("a frame claims"), "{why}");
            // Whoever is told knows it before the node counts.
            while kept.of(&node, "violations_total") < number {
                tokio::task::yield_now().await;
            }
            assert_eq!(kept.of(&node, "violations_total"), number);
        }
    })
    .await;
}
