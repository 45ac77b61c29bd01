//! What engines send each other over links, seen where driver and engine meet.
//!
//! Below that everything is encrypted; here are frames and packets of gossip, as at the level of engines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use rolecast_membership::{NodeId, Time};
use rolecast_protocol::{Class, carries_messages};

use crate::check::ProcessId;
use crate::film::{Film, Passage, Stamp};

/// What travels.
#[derive(Debug)]
pub(crate) struct Traffic {
    film: Film,
    filmed: bool,
    /// The last process of each node.
    processes: BTreeMap<NodeId, ProcessId>,
    /// What was sent and has not arrived; what was lost stays.
    on_way: BTreeMap<Road, VecDeque<(Bytes, Stamp)>>,
    /// The links that are up, each as its own end sees it.
    links: BTreeSet<(NodeId, NodeId)>,
    /// When something that is no heartbeat was last sent.
    pub(crate) busy_at: Time,
}

/// From whom, to whom, and in which of a link's streams; `None` for datagrams.
type Road = (NodeId, NodeId, Option<Class>);

impl Traffic {
    /// No traffic yet; it is filmed or not.
    pub(crate) fn new(filmed: bool) -> Self {
        Traffic {
            film: if filmed { Film::on() } else { Film::off() },
            filmed,
            processes: BTreeMap::new(),
            on_way: BTreeMap::new(),
            links: BTreeSet::new(),
            busy_at: Time::ZERO,
        }
    }

    /// A process runs as this node.
    pub(crate) fn starts(&mut self, process: ProcessId, node: NodeId) {
        self.processes.insert(node, process);
        self.links.retain(|(end, _)| *end != node);
    }

    /// A link came up or went down at one end; says whether it was up before.
    pub(crate) fn link(&mut self, end: NodeId, peer: NodeId, up: bool) -> bool {
        if up {
            !self.links.insert((end, peer))
        } else {
            self.links.remove(&(end, peer))
        }
    }

    /// Whether both ends of a link are up.
    pub(crate) fn is_linked(&self, one: NodeId, other: NodeId) -> bool {
        self.links.contains(&(one, other)) && self.links.contains(&(other, one))
    }

    /// A frame or a datagram leaves.
    pub(crate) fn leaves(&mut self, now: Time, road: Road, (head, body): (&Bytes, &Bytes)) {
        let (from, to, class) = road;
        if class.is_some_and(|class| carries_messages(class, head, body)) {
            self.busy_at = now;
        }
        let ends = (self.processes.get(&from), self.processes.get(&to));
        let (true, (Some(&sender), Some(&receiver))) = (self.filmed, ends) else {
            return;
        };
        let mut bytes = BytesMut::from(&head[..]);
        bytes.extend_from_slice(body);
        let bytes = bytes.freeze();
        let stamp = self.film.leaves(now, (sender, receiver), class, &bytes);
        self.on_way
            .entry(road)
            .or_default()
            .push_back((bytes, stamp));
    }

    /// A frame or a datagram arrives.
    pub(crate) fn arrives(&mut self, now: Time, road: Road, bytes: &Bytes) {
        let Some(on_way) = self.on_way.get_mut(&road) else {
            return;
        };
        // Streams are in order, so that it is the first but for what a broken link took with it.
        if let Some(index) = on_way.iter().position(|(sent, _)| sent == bytes)
            && let Some((_, stamp)) = on_way.remove(index)
        {
            self.film.arrives(now, stamp);
        }
    }

    /// Everything that travelled, if it was filmed.
    pub(crate) fn take_passages(&mut self) -> Vec<Passage> {
        std::mem::replace(&mut self.film, Film::off()).into_passages()
    }
}
