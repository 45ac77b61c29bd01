//! Places: where processes follow each other, and how each of them starts.

use std::net::SocketAddr;

use rolecast_membership::{Epoch, Identity, NodeId, Record, Time};
use rolecast_protocol::{Config, Engine};

use super::{Happening, World};
use crate::application::Application;
use crate::check::{Name, Observation, ProcessId, Violation};
use crate::clock::Clock;
use crate::plan::{Restart, Slot};
use crate::probe::sometimes;
use crate::process::{Process, address};
use crate::random::{Purpose, Stream, derive};

/// A place where processes follow each other.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) current: Option<ProcessId>,
    pub(super) incarnations: u16,
    /// How many keys were used here.
    keys: u16,
    /// How many addresses were used here.
    addresses: u16,
    /// The last epoch in which the present key lived.
    pub(super) last_epoch: Epoch,
    /// How the clock runs by which deadlines are kept.
    pub(super) clock: Clock,
    /// By how much the clock on the wall is ahead.
    pub(super) wall_us: i64,
}

impl Place {
    /// The epoch that the clock on the wall gives.
    fn wall_clock(&self, now: Time) -> Epoch {
        let shown_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        Epoch(EPOCH_START.saturating_add_signed(shown_us.saturating_add(self.wall_us) / 1_000))
    }
}

/// In a mesh of at most so many nodes, whoever starts knows the addresses of all.
const FEW: Slot = 64;
/// In a larger one, so many.
const KNOWN: Slot = 8;
/// The epoch that a node's wall clock gives at the start of a run.
const EPOCH_START: u64 = 10_000_000;
impl World<'_> {
    pub(super) fn start(&mut self, now: Time, slot: Slot) -> Result<(), Violation> {
        let place = &mut self.places[usize::from(slot)];
        place.last_epoch = place.wall_clock(now);
        self.begin_process(now, slot)
    }

    pub(super) fn restart(
        &mut self,
        now: Time,
        slot: Slot,
        restart: Restart,
    ) -> Result<(), Violation> {
        let place = &mut self.places[usize::from(slot)];
        if place.current.is_some() {
            // The one before is still on its way out.
            let again = now + std::time::Duration::from_millis(100);
            self.schedule.put(again, Happening::Restart(slot, restart));
            return Ok(());
        }
        let clock = place.wall_clock(now);
        if restart.same_key {
            sometimes!(self.reached, EpochPastClock, if clock <= place.last_epoch);
            place.last_epoch = clock.max(Epoch(place.last_epoch.0 + 1));
        } else {
            place.keys += 1;
            place.last_epoch = clock;
        }
        place.addresses += u16::from(!restart.same_addr);
        self.begin_process(now, slot)
    }

    /// Starts a process with the key, epoch and address that its place says.
    pub(super) fn begin_process(&mut self, now: Time, slot: Slot) -> Result<(), Violation> {
        let id = ProcessId(u32::try_from(self.processes.len()).expect("few processes"));
        let place = &mut self.places[usize::from(slot)];
        let name = Name {
            slot,
            incarnation: place.incarnations,
        };
        place.incarnations += 1;
        place.current = Some(id);
        let node = node_id(self.scenario.seed, slot, place.keys);
        let addr = address(slot, place.addresses);
        let identity = Identity {
            id: node,
            epoch: place.last_epoch,
            addr,
        };
        self.by_addr.insert(addr, id);
        self.by_node.entry(node).or_default().push(id);
        let stream_place = u64::from(slot) << 16 | u64::from(name.incarnation);
        let seed = derive(self.scenario.seed, Purpose::Engine, stream_place);
        let clock = self.places[usize::from(slot)].clock;
        let engine = Engine::new(self.config(slot, identity), seed, clock.at(now));
        self.network.move_in(slot, id);
        let stream = Stream::new(self.scenario.seed, Purpose::Application, stream_place);
        let app = Application::new(stream);
        self.processes
            .push(Process::new(id, name, (node, addr), (engine, clock), app));
        self.trace
            .note(now, name, 1, identity.epoch.0, identity.id.as_bytes());
        self.trace.line(
            now,
            name,
            format_args!("starts as {node} in life {}", identity.epoch),
        );
        self.observe(now, id, Observation::Started { name, identity })?;
        self.observe(now, id, Observation::ClockSet { clock })?;
        self.carry_out(now, id)?;
        let held = self.scenario.workload.held[usize::from(slot)].clone();
        let everyone = usize::from(self.scenario.workload.roles);
        self.take_up(now, id, everyone)?;
        held.into_iter()
            .try_for_each(|role| self.take_up(now, id, usize::from(role)))
    }

    fn config(&self, slot: Slot, identity: Identity) -> Config {
        let limits = self.scenario.limits.clone();
        let mut record = Record::new(identity);
        record.site = self.scenario.workload.first_site(slot);
        let config = Config::new(record, self.seeds(), self.scenario.profile, limits);
        #[cfg(feature = "canaries")]
        let config = Config {
            canary: self.canary,
            ..config
        };
        config
    }

    /// Where a process that starts looks for others: where the first processes were, and where processes are.
    fn seeds(&self) -> Vec<SocketAddr> {
        if self.scenario.nodes > FEW {
            // Whoever starts in a large mesh knows a few addresses, as people do.
            return (0..KNOWN).map(|slot| address(slot, 0)).collect();
        }
        let first = (0..self.scenario.nodes).map(|slot| address(slot, 0));
        let present = self.places.iter().filter_map(|place| place.current);
        let present = present.map(|process| self.processes.get(process.0 as usize));
        let mut seeds: Vec<_> = first.chain(present.flatten().map(|p| p.addr)).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }
}

/// The identity of the node with this key, of all keys used at this place.
fn node_id(seed: u64, slot: Slot, key: u16) -> NodeId {
    let place = u64::from(slot) << 16 | u64::from(key);
    let mut stream = Stream::new(seed, Purpose::Key, place);
    let mut bytes = [0u8; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&stream.between(0, u64::MAX).to_be_bytes());
    }
    NodeId::from_bytes(bytes)
}
