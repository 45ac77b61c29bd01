//! `run` and `replay`: one run.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use rolecast_sim::{Family, Level, NODES_MAX, Outcome, Scenario, replay as line, run, run_traced};

use crate::{args, code, output, refuse};

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The seed.
    #[arg(long)]
    seed: u64,
    /// The scenario that the seed draws one of (see `rolecast-sim scenarios`); drawn from the seed if not given.
    #[arg(long, value_parser = args::parse_family)]
    scenario: Option<&'static Family>,
    /// How many nodes the mesh has; drawn from the seed if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    nodes: Option<u16>,
    /// What is run: `engine`, engines over simulated links, or `quic`, whole nodes over simulated sockets.
    #[arg(long, value_parser = args::parse_level, default_value = "engine")]
    level: Level,
    #[command(flatten)]
    show: Show,
    /// Plant this bug in every engine.
    #[cfg(feature = "canaries")]
    #[arg(long, value_parser = args::parse_canary)]
    canary: Option<rolecast_protocol::Canary>,
}

#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// The line, `v1:...`, or `v1:@FILE` for one that is kept in a file.
    line: String,
    #[command(flatten)]
    show: Show,
}

/// What is shown of a run.
#[derive(Args)]
struct Show {
    /// Print one JSON object with the verdict, the fault plan and all figures.
    #[arg(long)]
    json: bool,
    /// Print a line for everything that happens; with --json on standard error.
    #[arg(long)]
    trace: bool,
    /// Print first in words what breaks and what is asked for; with --json on standard error.
    #[arg(long)]
    words: bool,
    /// Have QUIC write a file in qlog's format into this directory for each connection (level `quic` only).
    #[arg(long, value_name = "DIR")]
    qlog: Option<PathBuf>,
}

pub(crate) fn run_seed(args: &RunArgs) -> io::Result<ExitCode> {
    let scenario = match args.scenario {
        Some(family) => Scenario::draw_from(family, args.seed, args.nodes),
        None => Scenario::draw(args.seed, args.nodes),
    };
    let scenario = Scenario {
        level: args.level,
        ..scenario
    };
    #[cfg(feature = "canaries")]
    let scenario = Scenario {
        canary: args.canary.map(rolecast_sim::canary::name),
        ..scenario
    };
    show(&scenario, &args.show)
}

pub(crate) fn replay(args: &ReplayArgs) -> io::Result<ExitCode> {
    match read(&args.line) {
        Ok(scenario) => show(&scenario, &args.show),
        Err(code) => Ok(code),
    }
}

/// The scenario of a line; if it cannot be run here, says why.
pub(crate) fn read(text: &str) -> Result<Scenario, ExitCode> {
    let scenario = line::decode(text).map_err(refuse)?;
    if let Some(canary) = &scenario.canary
        && !is_known(canary)
    {
        return Err(refuse(format_args!(
            "this line plants the bug {canary:?}, which this rolecast-sim does not know: build it with --features canaries"
        )));
    }
    Ok(scenario)
}

#[cfg(feature = "canaries")]
fn is_known(canary: &str) -> bool {
    rolecast_sim::canary::named(canary).is_some()
}

#[cfg(not(feature = "canaries"))]
fn is_known(_: &str) -> bool {
    false
}

fn show(scenario: &Scenario, how: &Show) -> io::Result<ExitCode> {
    if how.words {
        if how.json {
            output::words(&mut io::stderr().lock(), scenario)?;
        } else {
            output::words(&mut io::stdout().lock(), scenario)?;
        }
    }
    let sink: Option<Sink> = match (how.trace, how.json) {
        (false, _) => None,
        (true, false) => Some(Box::new(io::BufWriter::new(io::stdout()))),
        (true, true) => Some(Box::new(io::BufWriter::new(io::stderr()))),
    };
    let outcome = match &how.qlog {
        Some(dir) => match with_qlog(scenario, sink, dir) {
            Ok(outcome) => outcome,
            Err(code) => return Ok(code),
        },
        None => match sink {
            None => run(scenario),
            Some(sink) => run_traced(scenario, sink),
        },
    };
    let mut out = anstream::stdout().lock();
    if how.json {
        output::json_run(&mut out, scenario, &outcome)?;
    } else {
        output::human_run(&mut out, scenario, &outcome)?;
    }
    Ok(code(outcome.violation.is_none()))
}

#[cfg(feature = "qlog")]
fn with_qlog(scenario: &Scenario, sink: Option<Sink>, dir: &Path) -> Result<Outcome, ExitCode> {
    let outcome = rolecast_sim::run_qlog(scenario, sink, dir);
    outcome.map_err(|why| refuse(format_args!("no qlog files in {}: {why}", dir.display())))
}

#[cfg(not(feature = "qlog"))]
fn with_qlog(_: &Scenario, _: Option<Sink>, _: &Path) -> Result<Outcome, ExitCode> {
    Err(refuse(
        "this rolecast-sim writes no qlog files: build it with --features qlog",
    ))
}

/// Where the lines of a trace go.
type Sink = Box<dyn io::Write + Send>;
