//! What a node counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use rolecast::Node;

use crate::mesh::{mesh, message, register_on, within};

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
