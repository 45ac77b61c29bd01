//! `sweep`: many seeds.

use std::io::{self, IsTerminal as _, Write};
use std::ops::Range;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Args;
use rolecast_sim::{Family, Level, NODES_MAX, Summary, Sweep, TraceHash, regressions, run};

use crate::output::Progress;
use crate::{args, code, output};

#[derive(Args)]
pub(crate) struct SweepArgs {
    /// The seeds, as FIRST..END; END is not among them.
    #[arg(long, value_parser = args::parse_seeds)]
    seeds: Range<u64>,
    /// How many threads run seeds; one for each core if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Begin no seed after so much real time, such as 60s or 5m.
    #[arg(long, value_parser = args::parse_budget)]
    budget: Option<Duration>,
    #[command(flatten)]
    of: Of,
    /// Print one JSON object with the summary.
    #[arg(long)]
    json: bool,
}

/// What seeds stand for.
#[derive(Args)]
pub(crate) struct Of {
    /// The scenario that each seed draws one of (see `rolecast-sim scenarios`); drawn from the seeds if not given.
    #[arg(long, value_parser = args::parse_family)]
    scenario: Option<&'static Family>,
    /// How many nodes each mesh has; drawn from the seeds if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    nodes: Option<u16>,
    /// What is run: `engine`, engines over simulated links, or `quic`, whole nodes over simulated sockets.
    #[arg(long, value_parser = args::parse_level, default_value = "engine")]
    level: Level,
}

#[derive(Args)]
pub(crate) struct HashesArgs {
    /// The seeds.
    seeds: Vec<u64>,
    #[command(flatten)]
    of: Of,
}

/// One of so many seeds runs a second time, in a fresh process.
const AGAIN: u64 = 20;
/// So many seeds are given to a fresh process at once.
const SEEDS_PER_PROCESS: usize = 500;

pub(crate) fn sweep(args: &SweepArgs) -> io::Result<ExitCode> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let drawn = args.of.nodes.is_none() && args.of.scenario.is_none();
    let sweep = Sweep {
        seeds: args.seeds.clone(),
        // What once failed did so with what it drew itself.
        first: if drawn { regressions() } else { Vec::new() },
        family: args.of.scenario,
        nodes: args.of.nodes,
        level: args.of.level,
        jobs: args.jobs.map_or(cores, usize::from),
        budget: args.budget,
    };
    let mut again: Vec<(u64, TraceHash)> = Vec::new();
    let first = sweep.first.len() as u64;
    let asked = (sweep.seeds.end - sweep.seeds.start) + first;
    let mut progress = Progress::new(io::stderr().is_terminal(), asked, "seeds");
    let mut runs = 0;
    let mut summary = sweep.run(|outcome| {
        progress.note(outcome.violation.is_some());
        if runs >= first && (runs - first).is_multiple_of(AGAIN) {
            again.push((outcome.seed, outcome.hash));
        }
        runs += 1;
    });
    progress.clear();
    compare(&mut summary, &again, &args.of)?;
    let mut out = anstream::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &summary)?;
        writeln!(out)?;
    } else {
        output::human_sweep(&mut out, &summary)?;
    }
    Ok(code(summary.held()))
}

/// Runs seeds again in fresh processes, and notes those that gave another run there.
fn compare(summary: &mut Summary, again: &[(u64, TraceHash)], of: &Of) -> io::Result<()> {
    for some in again.chunks(SEEDS_PER_PROCESS) {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("hashes");
        if let Some(family) = of.scenario {
            command.args(["--scenario", family.name]);
        }
        if let Some(nodes) = of.nodes {
            command.args(["--nodes", &nodes.to_string()]);
        }
        command.args(["--level", of.level.name()]);
        command.args(some.iter().map(|(seed, _)| seed.to_string()));
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        for (seed, hash) in some {
            summary.ran_again += 1;
            let expected = format!("{seed} {hash}");
            if lines.next() != Some(expected.as_str()) {
                summary.not_repeated.push(*seed);
            }
        }
    }
    Ok(())
}

pub(crate) fn hashes(args: &HashesArgs) -> io::Result<ExitCode> {
    let sweep = Sweep {
        seeds: 0..0,
        first: Vec::new(),
        family: args.of.scenario,
        nodes: args.of.nodes,
        level: args.of.level,
        jobs: 1,
        budget: None,
    };
    let mut out = io::stdout().lock();
    for &seed in &args.seeds {
        writeln!(out, "{seed} {}", run(&sweep.scenario(seed)).hash)?;
    }
    Ok(ExitCode::SUCCESS)
}
