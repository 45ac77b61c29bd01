//! From a description to a running node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rolecast_membership::{Epoch, Identity, Record};
use rolecast_protocol::{Config, Engine};
use rolecast_transport::{Transport, Trust};

use crate::builder::{NodeBuilder, TrustSource};
use crate::clock::{Clock, deadline_in};
use crate::driver::{Driver, Network};
use crate::error::StartError;
use crate::node::Node;
use crate::resolve;
use crate::seeds::Seeds;
use crate::shared::Shared;
use crate::state_dir::StateDir;
use crate::surroundings::Surroundings;

/// Starts what the builder describes.
///
/// Everything that can be refused is checked before the socket is opened, and the epoch is used up last.
pub(crate) async fn start(mut builder: NodeBuilder) -> Result<Node, StartError> {
    let surroundings = std::mem::take(&mut builder.surroundings);
    let resolver = surroundings.resolver.clone();
    let mut seeds = Seeds::parse(&builder.seeds, resolver.clone())?;
    let listen = resolve::own(&resolver, &builder.listen, "listen").await?;
    let advertise = match &builder.advertise {
        Some(text) => Some(resolve::advertised(&resolver, text).await?),
        None => None,
    };
    seeds.look_up(deadline_in(SEEDS_PATIENCE)).await;
    let state_dir = surroundings.state_dir(builder.state_dir.clone());
    let state = state_dir.map(StateDir::open).transpose()?;
    let trust = trust(&builder.trust, state.as_ref(), &surroundings)?;
    let id = trust.node_id();
    let mut record = record(
        &builder,
        Identity {
            id,
            epoch: Epoch(0),
            addr: listen,
        },
    );
    record.check()?;
    let epoch = state
        .as_ref()
        .map_or_else(|| Ok(surroundings.epoch()), StateDir::next_epoch)?;

    let seed = surroundings.engine_seed();
    #[cfg(feature = "canaries")]
    let canary = surroundings.canary();
    let own_clock = surroundings.clock();
    let address_matters = surroundings.address_matters(listen);
    let (mut config, witnessed) = surroundings.transport(listen, trust, epoch);
    let payload_bytes_max = builder.limits.payload_bytes_max.max(FRAME_BYTES_MIN);
    config.limits.data_frame_bytes_max = payload_bytes_max + FRAME_OVERHEAD_BYTES;
    let (transport, events) = Transport::bind(config)?;
    let local = transport.local_addr();
    let mut addr = advertise.unwrap_or_else(|| resolve::dialable(local, &seeds));
    if addr.port() == 0 {
        addr.set_port(local.port());
    }
    record.identity = Identity { id, epoch, addr };

    let clock = Clock::start(own_clock);
    let shared = Shared::new(record.identity, builder.limits.clone());
    let config = Config::new(record, seeds.addrs(), builder.profile, builder.limits);
    #[cfg(feature = "canaries")]
    let config = Config { canary, ..config };
    let engine = Engine::new(config, seed, clock.now());
    let network = Network {
        transport,
        events,
        address_matters,
        witnessed,
    };
    Driver::new(Arc::clone(&shared), engine, clock, network, state).spawn();
    tokio::spawn(seeds.follow(Arc::clone(&shared), seed));
    Ok(Node::new(shared))
}

fn trust(
    source: &TrustSource,
    state: Option<&StateDir>,
    surroundings: &Surroundings,
) -> Result<Trust, StartError> {
    match source {
        TrustSource::None => Err(StartError::NoTrust),
        TrustSource::Secret(secret) => {
            let secret = secret.as_ref().map_err(Clone::clone)?;
            let key = state.map_or_else(|| Ok(surroundings.key()), StateDir::key)?;
            Ok(Trust::from_secret(secret, &key))
        }
        TrustSource::Pem { ca, chain, key } => Ok(Trust::from_pem(ca, chain, key)?),
        TrustSource::Files { ca, chain, key } => {
            Ok(Trust::from_pem(&read(ca)?, &read(chain)?, &read(key)?)?)
        }
    }
}

fn read(path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path).map_err(|source| StartError::File {
        path: path.to_owned(),
        source,
    })
}

fn record(builder: &NodeBuilder, identity: Identity) -> Record {
    Record {
        site: builder.site.clone(),
        host: builder.host.clone(),
        service: builder.service.clone(),
        labels: builder.labels.clone(),
        ..Record::new(identity)
    }
}

/// How long a start waits for the names of the seeds; those that take longer are looked up again later.
const SEEDS_PATIENCE: Duration = Duration::from_secs(3);
/// Batches of small messages and destination sets of large roles have their size whatever one payload may have.
const FRAME_BYTES_MIN: usize = 1 << 20;
/// What a frame may have beyond the largest payload.
const FRAME_OVERHEAD_BYTES: usize = 64 << 10;
