//! The simulator's command line.

mod report;

use std::io::{self, IsTerminal as _, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use rolecast_sim::{Scenario, Sweep, regressions, run, run_traced};

use crate::report::{Progress, Replay};

/// Runs the production engine of many nodes in virtual time, breaks the network and the nodes, and checks every promise.
///
/// A run follows from its seed alone: the same seed gives the same events and the same trace hash, on every machine.
/// Exit code 0 says that every promise held, 1 that one was broken, 2 that the command was not understood.
#[derive(Parser)]
#[command(name = "rolecast-sim", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  rolecast-sim run --seed 42                 one run, with its figures
  rolecast-sim run --seed 42 --trace | less  everything that happens in it
  rolecast-sim run --seed 42 --json          its fault plan and figures as JSON
  rolecast-sim sweep --seeds 0..5000         many runs, on all cores
  rolecast-sim sweep --seeds 0..1000000 --budget 60s";

#[derive(Subcommand)]
enum Command {
    /// Run one seed: the mesh, its faults and what is asked of it all follow from the number.
    Run(RunArgs),
    /// Run many seeds, those that once failed first, and sum up what came of them.
    Sweep(SweepArgs),
}

#[derive(Args)]
struct RunArgs {
    /// The seed.
    #[arg(long)]
    seed: u64,
    /// How many nodes the mesh has, from 1 to 1000; drawn from the seed if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    nodes: Option<u16>,
    /// Print one JSON object with the verdict, the fault plan and all figures.
    #[arg(long)]
    json: bool,
    /// Print a line for everything that happens; with --json on standard error.
    #[arg(long)]
    trace: bool,
    /// Plant this bug in every engine.
    #[cfg(feature = "canaries")]
    #[arg(long, value_parser = report::parse_canary)]
    canary: Option<rolecast_protocol::Canary>,
}

#[derive(Args)]
struct SweepArgs {
    /// The seeds, as FIRST..END; END is not among them.
    #[arg(long, value_parser = parse_seeds)]
    seeds: Range<u64>,
    /// How many threads run seeds; one for each core if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Begin no seed after so much real time, such as 60s or 5m.
    #[arg(long, value_parser = parse_budget)]
    budget: Option<Duration>,
    /// How many nodes each mesh has, from 1 to 1000; drawn from the seeds if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    nodes: Option<u16>,
    /// Print one JSON object with the summary.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    // Whoever closes our output early wants no more of it.
    match carry_out(Cli::parse().command) {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("rolecast-sim: the output cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> io::Result<ExitCode> {
    match command {
        Command::Run(args) => run_one(&args),
        Command::Sweep(args) => run_many(&args),
    }
}

fn run_one(args: &RunArgs) -> io::Result<ExitCode> {
    let scenario = Scenario::draw(args.seed, args.nodes);
    #[cfg(feature = "canaries")]
    let scenario = Scenario {
        canary: args.canary.map(rolecast_sim::canary::name),
        ..scenario
    };
    let outcome = match (args.trace, args.json) {
        (false, _) => run(&scenario),
        (true, false) => run_traced(&scenario, Box::new(io::BufWriter::new(io::stdout()))),
        (true, true) => run_traced(&scenario, Box::new(io::BufWriter::new(io::stderr()))),
    };
    let replay = Replay {
        seed: args.seed,
        nodes: args.nodes,
        canary: canary_of(args),
    };
    let mut out = anstream::stdout().lock();
    if args.json {
        report::json_run(&mut out, &scenario, &outcome, &replay)?;
    } else {
        report::human_run(&mut out, &scenario, &outcome, &replay)?;
    }
    Ok(code(outcome.violation.is_none()))
}

fn run_many(args: &SweepArgs) -> io::Result<ExitCode> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sweep = Sweep {
        seeds: args.seeds.clone(),
        // Seeds that once failed did so with the number of nodes that they draw.
        first: if args.nodes.is_none() {
            regressions()
        } else {
            Vec::new()
        },
        nodes: args.nodes,
        jobs: args.jobs.map_or(cores, usize::from),
        budget: args.budget,
    };
    let mut progress = Progress::new(io::stderr().is_terminal(), &sweep);
    let summary = sweep.run(|outcome| progress.note(outcome));
    progress.clear();
    let mut out = anstream::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &summary)?;
        writeln!(out)?;
    } else {
        report::human_sweep(&mut out, &summary, args.nodes)?;
    }
    Ok(code(summary.failures.is_empty()))
}

fn code(held: bool) -> ExitCode {
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(feature = "canaries")]
fn canary_of(args: &RunArgs) -> Option<String> {
    args.canary.map(|canary| format!("{canary:?}"))
}

#[cfg(not(feature = "canaries"))]
fn canary_of(_: &RunArgs) -> Option<String> {
    None
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let whole = || "seeds are given as FIRST..END, such as 0..5000".to_string();
    let (first, end) = text.split_once("..").ok_or_else(whole)?;
    let number = |text: &str| {
        text.trim()
            .replace('_', "")
            .parse::<u64>()
            .map_err(|_| whole())
    };
    let (first, end) = (number(first)?, number(end)?);
    if first >= end {
        return Err(format!(
            "no seed lies in {first}..{end}: END has to be greater than FIRST"
        ));
    }
    Ok(first..end)
}

fn parse_budget(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let wrong = || "a budget is a whole number and a unit, such as 60s, 5m or 1h".to_string();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let millis = units
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?
        .1;
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    Ok(Duration::from_millis(count.saturating_mul(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_that_holds_some() {
        assert_eq!(parse_seeds("3..10"), Ok(3..10));
        assert_eq!(parse_seeds("0..1_000"), Ok(0..1_000));
        for bad in ["", "7", "7..", "..7", "a..b", "5..5", "9..3", "1..=5"] {
            assert!(parse_seeds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn budgets_have_a_unit() {
        assert_eq!(parse_budget("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_budget("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_budget("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "60", "s", "-5s", "1.5s", "5 s", "5d"] {
            assert!(parse_budget(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
