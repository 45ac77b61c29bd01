//! Nodes to test with.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::NodeId;
use tokio::time::timeout;

use crate::event::{Class, Events, LinkEnd, TransportEvent};
use crate::{Link, MeshSecret, NodeKey, Transport, TransportConfig, Trust};

/// A transport with what it has told so far.
pub(crate) struct Node {
    pub(crate) transport: Transport,
    events: Events,
    told: VecDeque<TransportEvent>,
}

impl Node {
    /// A node of the mesh that all tests share.
    pub(crate) fn start() -> Self {
        Node::with_key(&NodeKey::generate(), 1)
    }

    pub(crate) fn with_key(key: &NodeKey, instance: u64) -> Self {
        Node::with_config(config(mesh(key), instance))
    }

    pub(crate) fn with_trust(trust: Trust) -> Self {
        Node::with_config(config(trust, 1))
    }

    pub(crate) fn with_config(config: TransportConfig) -> Self {
        Node::of(Transport::bind(config).expect("a free port can be bound"))
    }

    pub(crate) fn of((transport, events): (Transport, Events)) -> Self {
        Node {
            transport,
            events,
            told: VecDeque::new(),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.transport.node_id()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    pub(crate) fn dial(&self, other: &Node) {
        self.transport.dial(other.addr(), Some(other.id()));
    }

    /// The next event that `wanted` makes something of; the ones before it are forgotten.
    pub(crate) async fn until<T>(&mut self, wanted: impl FnMut(&TransportEvent) -> Option<T>) -> T {
        self.until_taking(usize::MAX, wanted).await
    }

    /// As [`Node::until`], taking at most so many data frames at a time.
    pub(crate) async fn until_taking<T>(
        &mut self,
        data_max: usize,
        mut wanted: impl FnMut(&TransportEvent) -> Option<T>,
    ) -> T {
        loop {
            while let Some(event) = self.told.pop_front() {
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
            let mut batch = Vec::new();
            let more = self.events.recv_many(&mut batch, data_max);
            let open = timeout(PATIENCE, more)
                .await
                .expect("what the test waits for should have happened");
            assert!(open, "the transport was closed");
            self.told.extend(batch);
        }
    }

    pub(crate) async fn link_up(&mut self) -> Link {
        self.until(|event| match event {
            TransportEvent::LinkUp { link, .. } => Some(link.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn link_down(&mut self) -> LinkEnd {
        self.until(|event| match event {
            TransportEvent::LinkDown { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn frame(&mut self, wanted: Class) -> Bytes {
        self.until(|event| match event {
            TransportEvent::Frame { class, bytes, .. } if *class == wanted => Some(bytes.clone()),
            _ => None,
        })
        .await
    }

    /// The transport without anybody who asks for its events.
    pub(crate) fn deaf(self) -> Transport {
        self.transport
    }

    /// Everything that is left when the transport has been closed.
    pub(crate) async fn rest(mut self) -> Vec<TransportEvent> {
        let mut rest = Vec::from(self.told);
        while self.events.recv_many(&mut rest, usize::MAX).await {}
        rest
    }
}

/// Two nodes and their link, seen from each.
pub(crate) async fn linked() -> (Node, Link, Node, Link) {
    let (mut a, mut b) = (Node::start(), Node::start());
    a.dial(&b);
    let (to_b, to_a) = (a.link_up().await, b.link_up().await);
    (a, to_b, b, to_a)
}

/// Trust in the mesh that all tests share.
pub(crate) fn mesh(key: &NodeKey) -> Trust {
    Trust::from_secret(&MeshSecret::from_bytes([42; 32]), key)
}

pub(crate) fn config(trust: Trust, instance: u64) -> TransportConfig {
    TransportConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), trust, instance)
}

/// Two keys, the one with the smaller node id first.
pub(crate) fn ordered_keys() -> (NodeKey, NodeKey) {
    let (one, other) = (NodeKey::from_seed(&[1; 32]), NodeKey::from_seed(&[2; 32]));
    if mesh(&one).node_id() < mesh(&other).node_id() {
        (one, other)
    } else {
        (other, one)
    }
}

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
