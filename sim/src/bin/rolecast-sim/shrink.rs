//! `shrink`: the smallest scenario that still fails.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rolecast_sim::shrink::{self as shrinking, Progress, Size};
use rolecast_sim::{replay, run, words};

use crate::args;
use crate::run::read;

#[derive(Args)]
pub(crate) struct ShrinkArgs {
    /// The replay line of a failure.
    line: String,
    /// Stop after so much real time with the smallest that was found, such as 60s or 5m.
    #[arg(long, value_parser = args::parse_budget, default_value = "60s")]
    budget: Duration,
    /// Print one JSON object with the smaller line and what is left.
    #[arg(long)]
    json: bool,
}

pub(crate) fn shrink(args: &ShrinkArgs) -> io::Result<ExitCode> {
    let scenario = match read(&args.line) {
        Ok(scenario) => scenario,
        Err(code) => return Ok(code),
    };
    // A promise that is broken by a panic is broken hundreds of times on the way.
    std::panic::set_hook(Box::new(|_| {}));
    let before = Size::of(&scenario);
    let shown = io::stderr().is_terminal();
    let progress = |progress: Progress| {
        if shown && progress.runs.is_multiple_of(16) {
            let Size {
                nodes,
                faults,
                operations,
            } = progress.size;
            anstream::eprint!(
                "\r\x1b[K{} runs: {nodes} nodes, {faults} faults, {operations} operations",
                progress.runs
            );
        }
    };
    let shrunk = shrinking::shrink(
        scenario,
        Some(args.budget),
        |scenario| run(scenario).violation,
        progress,
    );
    if shown {
        anstream::eprint!("\r\x1b[K");
    }
    let mut out = anstream::stdout().lock();
    let Some(shrunk) = shrunk else {
        if args.json {
            writeln!(out, "{}", serde_json::json!({ "held": true }))?;
        } else {
            writeln!(out, "every promise held: there is nothing to shrink")?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let (after, line) = (
        Size::of(&shrunk.scenario),
        replay::command(&shrunk.scenario),
    );
    let left = words::describe(&shrunk.scenario);
    if args.json {
        let object = serde_json::json!({
            "held": false,
            "violation": shrunk.violation.to_string(),
            "before": before,
            "after": after,
            "runs": shrunk.runs,
            "complete": shrunk.complete,
            "left": left,
            "replay": line,
        });
        writeln!(out, "{object}")?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(
        out,
        "from {} nodes, {} faults and {} operations to {}, {} and {} in {} runs",
        before.nodes,
        before.faults,
        before.operations,
        after.nodes,
        after.faults,
        after.operations,
        shrunk.runs
    )?;
    if !shrunk.complete {
        writeln!(
            out,
            "there was no time left: with a longer --budget it may get smaller"
        )?;
    }
    for sentence in left {
        writeln!(out, "  {sentence}")?;
    }
    crate::output::failure(&mut out, &shrunk.violation.to_string(), &line)?;
    Ok(ExitCode::FAILURE)
}
