//! What can be said on the command line.

use clap::{ArgAction, Parser, Subcommand};

use crate::bench::BenchArgs;

/// Talk to roles, not to processes.
#[derive(Debug, Parser)]
#[command(name = "rolecast", version)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print one JSON object a line instead of text for people
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more to stderr (-v: what happens, -vv: details, -vvv: everything)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure how fast messages and requests go between processes on this machine
    Bench(BenchArgs),
}
