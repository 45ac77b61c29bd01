//! The simulator's command line.

mod args;
#[cfg(feature = "canaries")]
mod canaries;
mod exhaust;
mod figures;
mod guarantees;
mod long_ways;
mod membership;
mod output;
mod parse;
mod run;
mod show;
mod shrink;
mod sweep;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rolecast_sim::FAMILIES;

/// Runs the production engine of many nodes in virtual time, breaks the network and the nodes, and checks every promise.
///
/// A run follows from its seed alone: the same seed gives the same events and the same trace hash, on every machine.
/// Every failure prints one line that repeats it, at any later commit too.
///
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
  rolecast-sim sweep --seeds 0..5000         many runs, on all cores
  rolecast-sim replay 'v1:...'               the line that a failure printed
  rolecast-sim shrink 'v1:...'               the smallest scenario that still fails
  rolecast-sim show 'v1:...' --html run.html  a diagram in space and time
  rolecast-sim exhaust --nodes 3             every partition of three nodes";

#[derive(Subcommand)]
enum Command {
    /// Run one seed: the mesh, its faults and what is asked of it all follow from the number.
    Run(run::RunArgs),
    /// Run many seeds, those that once failed first, and sum up what came of them.
    Sweep(sweep::SweepArgs),
    /// Run every partition of a small mesh, healed at several times, with a crash at several points.
    Exhaust(exhaust::ExhaustArgs),
    /// Run the scenario of a replay line, which every failure prints.
    Replay(run::ReplayArgs),
    /// Find the smallest plan, workload and mesh that still break the same promise.
    Shrink(shrink::ShrinkArgs),
    /// Draw a run as a diagram in space and time, in one HTML file.
    Show(show::ShowArgs),
    /// Look for bugs that were planted in the engine on purpose, to see that the checks can fail.
    #[cfg(feature = "canaries")]
    Canaries(canaries::CanariesArgs),
    /// Print figures of how fast the simulator is, each with its goal.
    Bench(figures::BenchArgs),
    /// Print tables of figures about the protocol, drawn from many runs.
    Report(figures::ReportArgs),
    /// List the scenarios, with a sentence each.
    Scenarios(ScenariosArgs),
    /// Print the trace hash of each of these seeds; how a sweep asks a fresh process.
    #[command(hide = true)]
    Hashes(sweep::HashesArgs),
}

#[derive(Args)]
struct ScenariosArgs {
    /// Print one JSON object for each.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let command = match parse::command_line::<Cli>() {
        Ok(Cli { command }) => command,
        Err(code) => return code,
    };
    // Whoever closes our output early wants no more of it.
    match carry_out(command) {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("rolecast-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> io::Result<ExitCode> {
    match command {
        Command::Run(args) => run::run_seed(&args),
        Command::Sweep(args) => sweep::sweep(&args),
        Command::Exhaust(args) => exhaust::exhaust(&args),
        Command::Replay(args) => run::replay(&args),
        Command::Shrink(args) => shrink::shrink(&args),
        Command::Show(args) => show::show(&args),
        #[cfg(feature = "canaries")]
        Command::Canaries(args) => canaries::canaries(&args),
        Command::Bench(args) => figures::bench(&args),
        Command::Report(args) => figures::report(&args),
        Command::Scenarios(args) => scenarios(&args),
        Command::Hashes(args) => sweep::hashes(&args),
    }
}

fn scenarios(args: &ScenariosArgs) -> io::Result<ExitCode> {
    let mut out = anstream::stdout().lock();
    for family in &FAMILIES {
        if args.json {
            let object = serde_json::json!({ "name": family.name, "about": family.about });
            writeln!(out, "{object}")?;
        } else {
            writeln!(out, "{:<20} {}", family.name, family.about)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The exit code of a command that looked for broken promises.
fn code(held: bool) -> ExitCode {
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Says in a sentence why a command cannot be carried out.
fn refuse(why: impl std::fmt::Display) -> ExitCode {
    anstream::eprintln!("rolecast-sim: {why}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
