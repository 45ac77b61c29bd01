//! What a large payload gets of a long way, and what small messages beside it have to wait.

use std::time::Duration;

use rolecast::{Channel, Inbox, InboxItem, Limits, Node};
use serde::Serialize;
use tokio::time::Instant;

use super::runtime;
use crate::sim::Sim;

/// A way between two nodes, the same in both directions.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LongWay {
    /// How long a datagram takes.
    pub latency: Duration,
    /// What it carries.
    pub bytes_per_s: u64,
    /// What waits before it at most; what is more is lost.
    pub queue_bytes: u64,
}

/// What [`bench_long_way`] measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LongWayBench {
    /// Bytes a second of a payload, from its sending until all of it was read.
    pub bytes_per_s: f64,
    /// The same of another one that follows it at once.
    pub bytes_per_s_then: f64,
    /// How long the slowest of a hundred small messages took on an idle way.
    pub alone: Duration,
    /// And beside those payloads, all but the slowest one of a hundred.
    pub beside: Duration,
}

/// Sends two large payloads of this length from one node to another over a long way, in virtual time, and a small message every fifty milliseconds before and meanwhile.
///
/// # Panics
/// If the nodes do not meet.
#[must_use]
pub fn bench_long_way(way: LongWay, bytes: usize) -> LongWayBench {
    runtime().block_on(async {
        let sim = Sim::new(SEED);
        sim.lengthen(way.latency, (way.bytes_per_s, way.queue_bytes));
        let nodes = [start(&sim).await, start(&sim).await];
        let mut ticks = Ticks::begin(&nodes).await;
        sim.sleep(EVERY * 100).await;
        let alone = ticks.take();
        let mut inbox = nodes[1].register(LARGE).await.expect("nobody holds it");
        let channel = nodes[0].channel(LARGE);
        let there = channel.wait_for_holders(1).await;
        there.expect("the nodes run");
        let first = large(&channel, &mut inbox, bytes).await;
        let then = large(&channel, &mut inbox, bytes).await;
        let mut beside = ticks.take();
        beside.sort_unstable();
        let usual = beside.len().saturating_sub(1) * 99 / 100;
        let rate = |took: Duration| bytes as f64 / took.as_secs_f64();
        LongWayBench {
            bytes_per_s: rate(first),
            bytes_per_s_then: rate(then),
            alone: alone.into_iter().max().unwrap_or_default(),
            beside: beside.get(usual).copied().unwrap_or_default(),
        }
    })
}

async fn start(sim: &Sim) -> Node {
    let limits = Limits {
        large_bytes_min: 64 << 10,
        ..Limits::default()
    };
    let node = sim.builder().limits(limits).start().await;
    node.expect("nothing is wrong with how the node was described")
}

/// How long a payload takes from one node to the other.
async fn large(channel: &Channel, inbox: &mut Inbox, bytes: usize) -> Duration {
    let began = Instant::now();
    let reading = async {
        loop {
            match inbox.next().await {
                Some(InboxItem::Large(large)) => {
                    let mut reader = large.into_reader();
                    while let Ok(Some(_)) = reader.chunk().await {}
                    return began.elapsed();
                }
                Some(_) => {}
                None => panic!("the node runs"),
            }
        }
    };
    let sending = async { channel.multicast(vec![7; bytes]).await };
    let (sent, took) = tokio::join!(sending, reading);
    sent.expect("a node that runs can send");
    took
}

/// Small messages from one node to the other, and how long each took.
struct Ticks(tokio::sync::mpsc::UnboundedReceiver<Duration>);

impl Ticks {
    async fn begin(nodes: &[Node; 2]) -> Self {
        let mut inbox = nodes[1].register(SMALL).await.expect("nobody holds it");
        let channel = nodes[0].channel(SMALL);
        let there = channel.wait_for_holders(1).await;
        there.expect("the nodes run");
        let began = Instant::now();
        tokio::spawn(async move {
            loop {
                let at = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                if channel.multicast(at.to_be_bytes().to_vec()).await.is_err() {
                    return;
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        let (took, all) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(item) = inbox.next().await {
                if let InboxItem::Message(message) = item
                    && let Ok(at) = <[u8; 8]>::try_from(&message.payload()[..])
                {
                    let sent = Duration::from_micros(u64::from_be_bytes(at));
                    // Whoever measures may have gone.
                    let _ = took.send(began.elapsed().saturating_sub(sent));
                }
            }
        });
        Ticks(all)
    }

    fn take(&mut self) -> Vec<Duration> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// Any will do; with this one the network loses nothing of itself.
const SEED: u64 = 1;
const LARGE: &str = "films";
const SMALL: &str = "ticks";
/// How long after one small message the next one follows.
const EVERY: Duration = Duration::from_millis(50);
