//! The simulated network: links that carry ordered streams and lossy datagrams, over paths that break.
//!
//! A link is what `rolecast-transport` makes of one QUIC connection, and keeps the same contract:
//! frames of one class arrive in order, classes are independent of each other;
//! what is under way when a path is cut arrives after the cut is mended, unless an end gave the link up before, having heard nothing for the idle timeout;
//! each end learns of the link's end at its own time, once, and after the last frame that it got;
//! simultaneous dials are settled by the node ids.
//! Paths carry any amount at once unless a fault makes them narrow.

mod links;
mod pipes;
mod weather;

use std::collections::BTreeMap;

use rolecast_membership::{NodeId, Time};
use rolecast_protocol::{Class, LinkId};

use crate::check::ProcessId;
use crate::plan::Slot;
use crate::random::Stream;
use crate::scenario::NetworkShape;

pub(crate) use links::Settled;
use pipes::Pipe;
use weather::Path;
pub(crate) use weather::{Act, Part, Throat};

/// One end of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EndId {
    pub(crate) link: u32,
    /// 0 for the end that dialled.
    pub(crate) side: u8,
}

impl EndId {
    pub(crate) fn other(self) -> Self {
        EndId {
            link: self.link,
            side: 1 - self.side,
        }
    }
}

/// Who holds an end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Party {
    pub(crate) process: ProcessId,
    pub(crate) node: NodeId,
    pub(crate) slot: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    Coming,
    Up(LinkId),
    Down,
}

#[derive(Debug)]
pub(crate) struct End {
    pub(crate) party: Party,
    pub(crate) state: EndState,
    pub(crate) up_at: Time,
    /// Where the other end is.
    peer_slot: Slot,
    /// Whether this end has closed the link and waits for it to go.
    pub(crate) closing: bool,
    /// Since when nothing can be heard from the other end.
    silent_since: Option<Time>,
    /// What is under way to this end, in the order of [`Class::ALL`].
    pipes: [Pipe; 3],
    /// Bytes of each class handed in at this end and not yet reported as taken on; of control, none are counted.
    pub(crate) unwritten: [usize; 3],
    writing: bool,
}

#[derive(Debug)]
struct Link {
    ends: [End; 2],
    made_at: Time,
    /// Whether bytes are taken on even while the path is cut.
    cushioned: bool,
}

/// All paths and links of a run.
#[derive(Debug)]
pub(crate) struct Network {
    seed: u64,
    slots: usize,
    shape: NetworkShape,
    /// Made when they are first used: of a large mesh, few are.
    paths: Vec<Option<Box<Path>>>,
    links: Vec<Link>,
    /// The link in use between two processes, the smaller id first.
    current: BTreeMap<(ProcessId, ProcessId), u32>,
    /// The processes that have run at each place.
    residents: Vec<Vec<ProcessId>>,
    /// Which faults have had an effect.
    pub(crate) effects: Vec<bool>,
    /// How many parts of faults are at work, each counted for every path that it concerns.
    acting: usize,
}

impl Network {
    pub(crate) fn new(seed: u64, nodes: Slot, shape: NetworkShape, faults: usize) -> Self {
        let slots = usize::from(nodes);
        Network {
            seed,
            slots,
            shape,
            paths: (0..slots * slots).map(|_| None).collect(),
            links: Vec::new(),
            current: BTreeMap::new(),
            residents: vec![Vec::new(); slots],
            effects: vec![false; faults],
            acting: 0,
        }
    }

    /// A process starts at this place.
    pub(crate) fn move_in(&mut self, slot: Slot, process: ProcessId) {
        self.residents[usize::from(slot)].push(process);
    }

    pub(crate) fn end(&self, id: EndId) -> &End {
        &self.links[id.link as usize].ends[usize::from(id.side)]
    }

    pub(crate) fn end_mut(&mut self, id: EndId) -> &mut End {
        &mut self.links[id.link as usize].ends[usize::from(id.side)]
    }

    /// The places between which what arrives at this end travels: from, to.
    fn way_to(&self, end: EndId) -> (Slot, Slot) {
        let end = self.end(end);
        (end.peer_slot, end.party.slot)
    }

    /// The ends that two places have towards each other, those at `to` of links from `from`.
    pub(crate) fn ends_between(&self, from: Slot, to: Slot) -> Vec<EndId> {
        let (there, here) = (
            &self.residents[usize::from(from)],
            &self.residents[usize::from(to)],
        );
        here.iter()
            .flat_map(|&at| {
                there
                    .iter()
                    .filter_map(move |&other| self.between(at, other))
            })
            .collect()
    }

    /// All ends of a process.
    pub(crate) fn ends_of(&self, process: ProcessId) -> Vec<EndId> {
        let links = self
            .current
            .iter()
            .filter(|((a, b), _)| *a == process || *b == process);
        links.map(|(_, &link)| self.end_of(link, process)).collect()
    }

    /// The link between two processes, if there is one, from the side of the first.
    pub(crate) fn between(&self, a: ProcessId, b: ProcessId) -> Option<EndId> {
        self.current
            .get(&pair(a, b))
            .map(|&link| self.end_of(link, a))
    }

    fn end_of(&self, link: u32, process: ProcessId) -> EndId {
        let first = self.links[link as usize].ends[0].party.process == process;
        EndId {
            link,
            side: u8::from(!first),
        }
    }

    fn path_and_effects(&mut self, from: Slot, to: Slot) -> (&mut Path, &mut [bool]) {
        let index = usize::from(from) * self.slots + usize::from(to);
        let (seed, latency_us) = (self.seed, self.shape.latency_us);
        let path = self.paths[index]
            .get_or_insert_with(|| Box::new(Path::new(seed, way_number(from, to), latency_us)));
        (path, &mut self.effects)
    }

    fn path(&mut self, from: Slot, to: Slot) -> &mut Path {
        self.path_and_effects(from, to).0
    }

    /// The dice of whatever happens by chance to connections from one place to another.
    fn chance(&mut self, from: Slot, to: Slot) -> &mut Stream {
        &mut self.path(from, to).chance
    }
}

impl End {
    fn new(party: Party, peer: Party, up_at: Time) -> Self {
        End {
            party,
            state: EndState::Coming,
            up_at,
            peer_slot: peer.slot,
            closing: false,
            silent_since: None,
            pipes: Default::default(),
            unwritten: [0; 3],
            writing: false,
        }
    }

    fn pipe(&mut self, class: Class) -> &mut Pipe {
        &mut self.pipes[class as usize]
    }
}

fn pair(a: ProcessId, b: ProcessId) -> (ProcessId, ProcessId) {
    (a.min(b), a.max(b))
}

/// The number of a directed path, whatever the size of the mesh.
fn way_number(from: Slot, to: Slot) -> u64 {
    u64::from(from) << 16 | u64::from(to)
}
