//! `exhaust`: every partition of a small mesh.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use rolecast_sim::exhaust::Exhaust;
use rolecast_sim::{pool, replay, run};

use crate::output::{self, Progress};
use crate::{code, refuse};

#[derive(Args)]
pub(crate) struct ExhaustArgs {
    /// How many nodes the mesh has, from 2 to 4; four take some minutes.
    #[arg(long, default_value_t = 3)]
    nodes: u16,
    /// How many threads run scenarios; one for each core if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Print one JSON object with the count and the failures.
    #[arg(long)]
    json: bool,
}

/// So many failures are printed; what breaks one promise here breaks it a hundred times.
const SHOWN_MAX: usize = 10;

pub(crate) fn exhaust(args: &ExhaustArgs) -> io::Result<ExitCode> {
    let Some(all) = Exhaust::of(args.nodes) else {
        let nodes = args.nodes;
        return Ok(refuse(format_args!(
            "every partition of {nodes} nodes is too much: a mesh of 2, 3 or 4 nodes can be exhausted"
        )));
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.map_or(cores, usize::from);
    let start = Instant::now();
    let mut progress = Progress::new(io::stderr().is_terminal(), all.count() as u64, "scenarios");
    let mut failures = Vec::new();
    pool::in_order(
        jobs,
        all.count(),
        |_| false,
        |index| run(&all.scenario(index)).violation,
        |index, violation| {
            progress.note(violation.is_some());
            failures.extend(violation.map(|violation| (index, violation)));
        },
    );
    progress.clear();
    let shown: Vec<(String, String)> = failures
        .iter()
        .take(SHOWN_MAX)
        .map(|(index, violation)| {
            let replay = replay::command(&all.scenario(*index));
            (violation.to_string(), replay)
        })
        .collect();
    let seconds = start.elapsed().as_secs_f64();
    let mut out = anstream::stdout().lock();
    if args.json {
        let shown = shown.iter().map(
            |(violation, replay)| serde_json::json!({ "violation": violation, "replay": replay }),
        );
        let object = serde_json::json!({
            "nodes": args.nodes,
            "scenarios": all.count(),
            "partitions": all.masks(),
            "heal_times": all.heals(),
            "crash_points": all.crashes(),
            "failed": failures.len(),
            "failures": shown.collect::<Vec<_>>(),
            "wall_s": seconds,
        });
        writeln!(out, "{object}")?;
    } else {
        for (violation, replay) in &shown {
            output::failure(&mut out, violation, replay)?;
        }
        writeln!(
            out,
            "{} scenarios in {seconds:.1} s: {} partitions, {} times of healing, {} points at which the sender dies or not",
            all.count(),
            all.masks(),
            all.heals(),
            all.crashes(),
        )?;
        output::verdict(&mut out, failures.len(), "scenarios")?;
    }
    Ok(code(failures.is_empty()))
}
