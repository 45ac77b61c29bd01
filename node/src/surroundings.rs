//! What a node takes from outside: its socket, its key, its epoch, its entropy and what names stand for.
//!
//! This is the operating system's business, unless a simulation hands it in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rolecast_membership::Epoch;
use rolecast_transport::{NodeKey, TransportConfig, Trust};

use crate::driver::Witnessed;
use crate::entropy;
use crate::resolve::Resolver;
#[cfg(feature = "simulation")]
use crate::simulation::Environment;
use crate::simulation::OwnClock;
use crate::state_dir::fresh_epoch;

/// Where a node takes from what it cannot know by itself.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) resolver: Resolver,
    #[cfg(feature = "simulation")]
    pub(crate) simulated: Option<Environment>,
}

impl Surroundings {
    /// The state directory, unless the key and the epoch are given.
    pub(crate) fn state_dir(&self, path: Option<PathBuf>) -> Option<PathBuf> {
        #[cfg(feature = "simulation")]
        if self.simulated.is_some() {
            return None;
        }
        path
    }

    /// The key of a node that remembers none.
    pub(crate) fn key(&self) -> NodeKey {
        #[cfg(feature = "simulation")]
        if let Some(environment) = &self.simulated {
            return environment.key.clone();
        }
        NodeKey::generate()
    }

    /// The epoch of a node that remembers none.
    pub(crate) fn epoch(&self) -> Epoch {
        #[cfg(feature = "simulation")]
        if let Some(environment) = &self.simulated {
            return environment.epoch;
        }
        fresh_epoch()
    }

    /// The clock by which the engine keeps deadlines, if it is not the runtime's.
    pub(crate) fn clock(&self) -> Option<Arc<dyn OwnClock>> {
        #[cfg(feature = "simulation")]
        if let Some(environment) = &self.simulated {
            return environment.clock.clone();
        }
        None
    }

    /// The bug to plant in the engine.
    #[cfg(feature = "canaries")]
    pub(crate) fn canary(&self) -> Option<rolecast_protocol::Canary> {
        self.simulated.as_ref()?.canary
    }

    /// The seed of the engine's generator.
    pub(crate) fn engine_seed(&self) -> u64 {
        #[cfg(feature = "simulation")]
        if let Some(environment) = &self.simulated {
            let first = environment.seed.first_chunk();
            return u64::from_le_bytes(*first.expect("the seed is longer than its first part"));
        }
        entropy::seed()
    }

    /// Whether another node may wait for this address to be free.
    pub(crate) fn address_matters(&self, listen: SocketAddr) -> bool {
        #[cfg(feature = "simulation")]
        if self.simulated.is_some() {
            return false;
        }
        listen.port() != 0
    }

    /// What the transport starts with, and who sees what happens.
    pub(crate) fn transport(
        self,
        listen: SocketAddr,
        trust: Trust,
        epoch: Epoch,
    ) -> (TransportConfig, Witnessed) {
        let config = TransportConfig::new(listen, trust, epoch.0);
        #[cfg(feature = "simulation")]
        if let Some(environment) = self.simulated {
            let config = TransportConfig {
                socket: environment.socket,
                rng_seed: Some(environment.seed),
                #[cfg(feature = "qlog")]
                qlog: environment.qlog,
                ..config
            };
            return (config, Witnessed::by(environment.witness));
        }
        (config, Witnessed::default())
    }
}
