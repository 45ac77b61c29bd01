//! What all tasks of one transport share.

use std::collections::BTreeSet;
use std::mem;
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
use crate::sync::lock;
use crate::tasks::Tasks;
use crate::writer::flush_link;

/// What all tasks of one transport share.
pub(crate) struct Shared {
    pub(crate) node_id: NodeId,
    pub(crate) instance: u64,
    pub(crate) limits: Limits,
    pub(crate) tasks: Tasks,
    pub(crate) queue: Queue,
    pub(crate) tally: Arc<Tally>,
    pub(crate) peers: Mutex<Peers<Link>>,
    /// Addresses to which a dial is under way.
    pub(crate) dialling: Mutex<BTreeSet<SocketAddr>>,
    /// How many links have been announced that may still have something to send.
    pub(crate) writers: watch::Sender<usize>,
    /// Links with frames that nobody has woken the writer for.
    pub(crate) unflushed: Arc<Mutex<Vec<Link>>>,
    /// No connection becomes a link any more.
    pub(crate) closing: AtomicBool,
    last_link: AtomicU64,
}

impl Shared {
    pub(crate) fn new(config: &TransportConfig, tasks: Tasks) -> Self {
        let node_id = config.trust.node_id();
        Shared {
            node_id,
            instance: config.instance,
            limits: config.limits.clone(),
            tasks,
            queue: Queue::new(&config.limits),
            tally: Arc::default(),
            peers: Mutex::new(Peers::new(node_id)),
            dialling: Mutex::default(),
            writers: watch::Sender::new(0),
            unflushed: Arc::default(),
            closing: AtomicBool::new(false),
            last_link: AtomicU64::new(0),
        }
    }

    /// A name for a link that no other has had.
    pub(crate) fn next_link(&self) -> u64 {
        self.last_link.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Lets no connection become a link any more, and says which links there are.
    pub(crate) fn stop(&self) -> Vec<Link> {
        // Under the lock, so that no link comes up unseen.
        let peers = lock(&self.peers);
        self.closing.store(true, Ordering::Relaxed);
        peers.links()
    }

    /// Hands the frames that were queued without waking anybody to QUIC.
    pub(crate) fn flush(&self) {
        let links = mem::take(&mut *lock(&self.unflushed));
        for link in links {
            flush_link(&link, self);
        }
    }
}
