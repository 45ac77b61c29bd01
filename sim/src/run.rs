//! One run, and what came of it.

use std::any::Any;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::check::{Broken, Recorded, Violation};
use crate::film::{Film, Passage};
use crate::plan::{FaultKind, Slot};
use crate::probe::Reached;
use crate::quic;
use crate::scenario::{Level, Scenario};
use crate::statistics::Statistics;
use crate::trace::{Trace, TraceHash};
use crate::world::World;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// How many places for nodes there were.
    pub nodes: Slot,
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// Over everything that happened; at the level of whole nodes, over when, from where, to where and how much they sent.
    pub hash: TraceHash,
    /// The faults of the plan, each with whether anything came of it.
    pub effects: Vec<((FaultKind, Option<FaultKind>), bool)>,
    /// Figures.
    pub statistics: Statistics,
    /// Which situations came up that should come up now and then.
    pub reached: Reached,
    /// Everything that happened at the edges of the engines, if that was asked for.
    pub observations: Vec<Recorded>,
    /// Everything that travelled between them, if that was asked for.
    pub passages: Vec<Passage>,
}

/// Runs a scenario at its level to its end, or to the first broken promise.
#[must_use]
pub fn run(scenario: &Scenario) -> Outcome {
    start(scenario, None, false, Film::off())
}

/// As [`run`], writing a line for everything that happens.
#[must_use]
pub fn run_traced(scenario: &Scenario, sink: Box<dyn Write + Send>) -> Outcome {
    start(scenario, Some(sink), false, Film::off())
}

/// As [`run`], keeping everything that the ghost was told.
#[must_use]
pub fn run_recorded(scenario: &Scenario) -> Outcome {
    start(scenario, None, true, Film::off())
}

/// As [`run_recorded`], keeping everything that travelled too.
#[must_use]
pub fn run_filmed(scenario: &Scenario) -> Outcome {
    start(scenario, None, true, Film::on())
}

/// As [`run`] or, with a sink, as [`run_traced`], while QUIC writes a file in qlog's format into this directory for each connection.
///
/// # Errors
/// The directory cannot be made, or the scenario is one of engines, which speak no QUIC.
#[cfg(feature = "qlog")]
pub fn run_qlog(
    scenario: &Scenario,
    sink: Option<Box<dyn Write + Send>>,
    dir: &std::path::Path,
) -> std::io::Result<Outcome> {
    if scenario.level != Level::Quic {
        let why = "engines speak no QUIC: qlog goes with the level quic";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, why));
    }
    std::fs::create_dir_all(dir)?;
    Ok(timed(scenario, || quic::run_qlog(scenario, sink, dir)))
}

fn start(
    scenario: &Scenario,
    sink: Option<Box<dyn Write + Send>>,
    record: bool,
    film: Film,
) -> Outcome {
    timed(scenario, || match scenario.level {
        Level::Engine => World::new(scenario, sink, record, film).run(),
        Level::Quic => quic::run(scenario, sink, record, film.is_on()),
    })
}

/// Runs a world, and says how long that took; what panics has broken a promise like any other.
fn timed(scenario: &Scenario, world: impl FnOnce() -> Outcome) -> Outcome {
    let start = Instant::now();
    // Nothing of the world is used after a panic.
    let mut outcome = catch_unwind(AssertUnwindSafe(world))
        .unwrap_or_else(|panic| panicked(scenario, said(panic.as_ref())));
    outcome.statistics.wall_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    outcome
}

/// What a panic said.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    said.unwrap_or("without a word").to_string()
}

/// What came of a run that ended in a panic.
fn panicked(scenario: &Scenario, what: String) -> Outcome {
    let broken = Broken::Panic { what };
    Outcome {
        seed: scenario.seed,
        nodes: scenario.nodes,
        violation: Some(Violation {
            at: Default::default(),
            node: Default::default(),
            broken,
        }),
        hash: Trace::new(None).hash(),
        effects: Vec::new(),
        statistics: Statistics::default(),
        reached: Reached::default(),
        observations: Vec::new(),
        passages: Vec::new(),
    }
}
