//! What all tasks of one transport share.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rolecast_membership::NodeId;
use tokio::sync::watch;

use crate::config::{Limits, TransportConfig};
use crate::counters::Tally;
use crate::link::Link;
use crate::peers::Peers;
use crate::queue::Queue;

/// What all tasks of one transport share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node_id: NodeId,
    pub(crate) instance: u64,
    pub(crate) limits: Limits,
    pub(crate) queue: Queue,
    pub(crate) tally: Arc<Tally>,
    pub(crate) peers: Mutex<Peers<Link>>,
    /// Addresses to which a dial is under way.
    pub(crate) dialling: Mutex<BTreeSet<SocketAddr>>,
    /// How many links have been announced whose end has not.
    pub(crate) links: watch::Sender<usize>,
    /// No connection becomes a link any more.
    pub(crate) closing: AtomicBool,
    last_link: AtomicU64,
}

impl Shared {
    pub(crate) fn new(config: &TransportConfig) -> Self {
        let node_id = config.trust.node_id();
        Shared {
            node_id,
            instance: config.instance,
            limits: config.limits.clone(),
            queue: Queue::new(&config.limits),
            tally: Arc::default(),
            peers: Mutex::new(Peers::new(node_id)),
            dialling: Mutex::default(),
            links: watch::Sender::new(0),
            closing: AtomicBool::new(false),
            last_link: AtomicU64::new(0),
        }
    }

    /// A name for a link that no other has had.
    pub(crate) fn next_link(&self) -> u64 {
        self.last_link.fetch_add(1, Ordering::Relaxed) + 1
    }
}
