//! Whole nodes in virtual time: the public library, its driver, its transport, QUIC and TLS, on a UDP network in memory.
//!
//! Everything runs on one thread, in tokio's current-thread runtime with a paused clock: when no task has anything to do, time moves on to the next timer.
//! Sockets, tasks, keys, epochs and seeds are handed to each node as its [`Environment`](rolecast::simulation::Environment); what is left of the operating system's randomness, the secrets of TLS, shows in the bytes of datagrams and not in their times or lengths.
//! So the trace of a run, which chains when, from where, to where and how much was sent, is the same for each repeat of a seed.

mod bench;
mod faults;
mod journal;
mod long_way;
mod mesh;
mod network;
mod panics;
mod place;
mod process;
mod program;
mod rule;
mod run;
mod socket;
mod trace;
mod traffic;
mod watch;
mod witness;

use std::io::Write;

use tokio::runtime::{Builder, Runtime};

use crate::check::{Broken, Violation};
use crate::run::Outcome;
use crate::scenario::Scenario;
use run::World;

pub use bench::{QuicBench, bench_quic};
pub use long_way::{LongWay, LongWayBench, bench_long_way};
pub(crate) use network::{Network, Shape};
pub(crate) use panics::Listening;
pub(crate) use place::{Place, bytes as seeded_bytes};
pub(crate) use process::Process;
pub(crate) use rule::{Dice, Effect, Rule, RuleId};

/// Runs a scenario with whole nodes, to its end or to the first broken promise.
pub(crate) fn run(
    scenario: &Scenario,
    sink: Option<Box<dyn Write + Send>>,
    record: bool,
    filmed: bool,
) -> Outcome {
    run_world(|| World::new(scenario, sink, (record, filmed)))
}

/// As [`run`], while QUIC writes a file into this directory for each connection.
#[cfg(feature = "qlog")]
pub(crate) fn run_qlog(
    scenario: &Scenario,
    sink: Option<Box<dyn Write + Send>>,
    dir: &std::path::Path,
) -> Outcome {
    run_world(|| World::new(scenario, sink, (false, false)).with_qlog(dir))
}

fn run_world<'a>(world: impl FnOnce() -> World<'a>) -> Outcome {
    let listening = Listening::start();
    let mut outcome = runtime().block_on(async { world().run().await });
    // What panics in a task of its own is kept from everybody by tokio.
    if let Some(what) = listening.first() {
        outcome.violation = Some(Violation {
            at: Default::default(),
            node: Default::default(),
            broken: Broken::Panic { what },
        });
    }
    outcome
}

/// A runtime whose clock moves on when nothing else is to be done.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread needs nothing of the system")
}
