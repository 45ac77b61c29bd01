//! How many datagrams a second of real time the simulated network and the nodes on it carry.

use std::time::{Duration, Instant};

use rolecast::{Channel, Dissemination, Node};
use serde::Serialize;

use super::runtime;
use crate::sim::Sim;

/// What [`bench_quic`] measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QuicBench {
    /// How many nodes there were.
    pub nodes: usize,
    /// How many messages were multicast.
    pub messages: u64,
    /// How many datagrams were sent, once all nodes had met.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long that took in virtual time, in microseconds.
    pub virtual_us: u64,
    /// How long it took in real time, in microseconds.
    pub wall_us: u64,
    /// Datagrams a second of real time.
    pub datagrams_per_second: f64,
}

/// Measures whole nodes under load on one thread, for `lasting` of virtual time: each sends 16 KiB to all others fifty times a second, so that most datagrams are full.
///
/// The packet trace is hashed as in every run; nothing else is checked.
///
/// # Panics
/// If the nodes do not meet.
#[must_use]
pub fn bench_quic(nodes: usize, lasting: Duration) -> QuicBench {
    runtime().block_on(async {
        let sim = Sim::new(SEED);
        let started = sim.start(nodes).await;
        let channels = hold(&started).await;
        let before = sim.sent();
        let (began, real) = (sim.now(), Instant::now());
        let mut messages = 0;
        while sim.now() - began < lasting {
            for channel in &channels {
                let sent = channel.multicast(vec![7; PAYLOAD_BYTES]).await;
                sent.expect("a node that runs can send");
                messages += 1;
            }
            sim.sleep(PAUSE).await;
        }
        let (after, wall) = (sim.sent(), real.elapsed());
        let datagrams = after.0 - before.0;
        QuicBench {
            nodes,
            messages,
            datagrams,
            bytes: after.1 - before.1,
            virtual_us: us(sim.now() - began),
            wall_us: us(wall),
            datagrams_per_second: datagrams as f64 / wall.as_secs_f64().max(1e-9),
        }
    })
}

/// Each node takes up the same role, and takes whatever comes; gives a channel to it from each.
async fn hold(nodes: &[Node]) -> Vec<Channel> {
    for node in nodes {
        let mut inbox = node.register(ROLE).await.expect("nobody holds it here");
        tokio::spawn(async move { while inbox.next().await.is_some() {} });
    }
    let mut channels = Vec::new();
    for node in nodes {
        let channel = node.channel(ROLE).dissemination(Dissemination::BestEffort);
        let holders = channel.wait_for_holders(nodes.len()).await;
        holders.expect("the nodes run");
        channels.push(channel);
    }
    channels
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Any will do; with this one the network loses nothing.
const SEED: u64 = 1;
/// What the messages are sent to.
const ROLE: &str = "sink";
/// How long each node waits between messages.
const PAUSE: Duration = Duration::from_millis(20);
/// The length of a message.
const PAYLOAD_BYTES: usize = 16 << 10;
