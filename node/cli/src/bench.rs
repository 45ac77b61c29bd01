//! Measures how fast messages and requests go between processes on this machine.

use clap::Args;

use crate::failure::Failure;
use crate::output::Output;

/// What `rolecast bench` is told.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {}

/// Runs one benchmark and prints its result.
pub(crate) fn run(args: BenchArgs, output: &Output) -> Result<(), Failure> {
    let BenchArgs {} = args;
    let _ = output;
    Ok(())
}
