//! The deterministic simulator of Rolecast.
//!
//! It runs the production [`Engine`](rolecast_protocol::Engine) of many nodes in virtual time, breaks the network and the nodes between them, and checks every promise from what the protocol cannot see.
//! A run follows from its seed alone: the same seed gives the same events, and the same [`TraceHash`], on every machine.
//!
//! ```
//! use rolecast_sim::{Scenario, run};
//!
//! let outcome = run(&Scenario::draw(42, Some(3)));
//! assert!(outcome.violation.is_none());
//! assert_eq!(outcome.hash, run(&Scenario::draw(42, Some(3))).hash);
//! ```

mod application;
#[cfg(feature = "canaries")]
pub mod canary;
pub mod check;
mod checked;
mod clock;
pub mod exhaust;
mod film;
mod network;
pub mod plan;
pub mod pool;
pub mod probe;
mod process;
mod quic;
pub mod random;
pub mod replay;
mod run;
mod scenario;
mod schedule;
pub mod show;
pub mod shrink;
mod sim;
mod statistics;
pub mod swarm;
mod sweep;
mod trace;
pub mod words;
pub mod workload;
mod world;

pub use checked::{Check, Verdict, check, millis, secs};
pub use clock::Clock;
pub use film::Passage;
pub use quic::{LongWay, LongWayBench, QuicBench, bench_long_way, bench_quic};
#[cfg(feature = "qlog")]
pub use run::run_qlog;
pub use run::{Outcome, run, run_filmed, run_recorded, run_traced};
pub use scenario::{FAMILIES, Family, Impossible, Level, NODES_MAX, NetworkShape, Scenario};
pub use schedule::Schedule;
pub use sim::Sim;
pub use statistics::{Quantiles, Statistics};
pub use sweep::{Effect, Failure, Summary, Sweep};
pub use trace::TraceHash;

/// The examples of the guide are run as they stand there.
#[cfg(doctest)]
#[doc = include_str!("../../docs/testing-your-app.md")]
mod testing_your_app {}

/// Seeds and replay lines at which a promise was once broken, one on a line; what follows a `#` says which.
pub const REGRESSIONS: &str = include_str!("../regressions.txt");

/// The scenarios in [`REGRESSIONS`].
///
/// # Panics
/// A line of the file is neither a seed nor a replay line.
#[must_use]
pub fn regressions() -> Vec<Scenario> {
    let lines = REGRESSIONS
        .lines()
        .filter_map(|line| line.split('#').next());
    let lines = lines.map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| match line.parse() {
            Ok(seed) => Scenario::draw(seed, None),
            Err(_) => replay::decode(line).expect("regressions are seeds and replay lines"),
        })
        .collect()
}
