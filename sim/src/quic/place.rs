//! Places at which processes follow each other, each with a key, an epoch and an address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rolecast::simulation::{Environment, NodeKey, Socket as NodeSocket, Witness};
use rolecast_membership::{Epoch, Time};

use super::network::Network;
use super::process::Process;
use super::socket::Socket;
use crate::check::Name;
use crate::clock::Clock;
use crate::plan::Slot;
use crate::process::address;
use crate::random::{Purpose, Stream};

/// A place where processes follow each other.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// How many processes started here.
    incarnations: u16,
    /// How many keys were used here.
    keys: u16,
    /// How many addresses were used here.
    addresses: u16,
    /// The last epoch in which the present key lived.
    last_epoch: Epoch,
    /// By how much the clock on the wall is ahead.
    wall_us: i64,
    /// How the clock runs by which deadlines are kept.
    clock: Clock,
}

/// A process that is about to start.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) name: Name,
    pub(crate) addr: SocketAddr,
    pub(crate) process: Process,
    pub(crate) clock: Clock,
    /// Whether its epoch is later than the clock on the wall would give.
    pub(crate) past_clock: bool,
    key: NodeKey,
    epoch: Epoch,
    seed: [u8; 32],
}

impl Place {
    /// The next process has another key.
    pub(crate) fn change_key(&mut self) {
        self.keys += 1;
        self.last_epoch = Epoch::default();
    }

    /// The next process has another address.
    pub(crate) fn change_address(&mut self) {
        self.addresses += 1;
    }

    /// The clocks jump: the one on the wall in either direction, the other one ahead only; says whether that one did.
    pub(crate) fn jump(&mut self, now: Time, by_us: i64) -> bool {
        self.wall_us = self.wall_us.saturating_add(by_us);
        let ahead_us = u64::try_from(by_us).ok();
        if let Some(us) = ahead_us {
            self.clock.jump(now, Duration::from_micros(us));
        }
        ahead_us.is_some()
    }

    /// The clock runs so much faster than before.
    pub(crate) fn hasten(&mut self, now: Time, ppm: i32) {
        self.clock.hasten(now, ppm);
    }

    /// The clock by which deadlines are kept.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Whether no process ever started here.
    pub(crate) fn is_fresh(&self) -> bool {
        self.incarnations == 0
    }

    /// A process of this place lived in this epoch.
    pub(crate) fn lived(&mut self, epoch: Epoch) {
        self.last_epoch = self.last_epoch.max(epoch);
    }

    /// The next process at this place, by what a wall clock and a state directory would say.
    pub(crate) fn next(&mut self, seed: u64, slot: Slot, network: &Network) -> Start {
        let name = Name {
            slot,
            incarnation: self.incarnations,
        };
        self.incarnations += 1;
        let now_us = i64::try_from(network.now().as_micros()).unwrap_or(i64::MAX);
        let shown_ms = now_us.saturating_add(self.wall_us) / 1_000;
        let clock = Epoch(EPOCH_START.saturating_add_signed(shown_ms));
        let past_clock = clock <= self.last_epoch;
        self.last_epoch = clock.max(Epoch(self.last_epoch.0 + 1));
        let process = Process::default();
        if self.clock != Clock::default() {
            process.set_clock(self.clock, network.started().into_std());
        }
        let key_place = u64::from(slot) << 16 | u64::from(self.keys);
        let node_place = u64::from(slot) << 16 | u64::from(name.incarnation);
        Start {
            name,
            addr: address(slot, self.addresses),
            process,
            clock: self.clock,
            past_clock,
            key: NodeKey::from_seed(&bytes(seed, Purpose::Key, key_place)),
            epoch: self.last_epoch,
            seed: bytes(seed, Purpose::Engine, node_place),
        }
    }
}

impl Start {
    /// What its node takes from outside.
    pub(crate) fn environment(
        &self,
        network: &Network,
        witness: Option<Box<dyn Witness>>,
    ) -> Environment {
        Environment {
            socket: NodeSocket::Abstract {
                socket: Arc::new(Socket::open(network, self.addr)),
                runtime: Arc::new(self.process.clone()),
            },
            key: self.key.clone(),
            epoch: self.epoch,
            seed: self.seed,
            clock: Some(Arc::new(self.process.clone())),
            witness,
            #[cfg(feature = "qlog")]
            qlog: None,
            #[cfg(feature = "canaries")]
            canary: None,
        }
    }
}

/// Bytes that follow from a seed.
pub(crate) fn bytes(seed: u64, purpose: Purpose, place: u64) -> [u8; 32] {
    let mut stream = Stream::new(seed, purpose, place);
    let mut bytes = [0u8; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&stream.between(0, u64::MAX).to_be_bytes());
    }
    bytes
}

/// The epoch that a node's wall clock gives at the start of a run.
const EPOCH_START: u64 = 10_000_000;
