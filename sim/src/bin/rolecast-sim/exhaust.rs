//! `exhaust`: every partition of a small mesh.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use rolecast_sim::exhaust::{Exhaust, LinkCuts};

use rolecast_sim::{Scenario, pool, replay, run};

use crate::output::{self, Progress};
use crate::{code, refuse};

#[derive(Args)]
pub(crate) struct ExhaustArgs {
    /// How many nodes the mesh has, from 2 to 4, and with --links from 3 to 5; four take some minutes, and so do five.
    #[arg(long, default_value_t = 3)]
    nodes: u16,
    /// Instead of every partition, cut links in every way that leaves the mesh in one piece: nobody may be declared down, and everything has to arrive and be answered meanwhile.
    #[arg(long)]
    links: bool,
    /// Run only one of so many of these scenarios, spread over all of them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), requires = "links")]
    every: u16,
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
    let nodes = args.nodes;
    if args.links {
        let Some(all) = LinkCuts::of(nodes) else {
            return Ok(refuse(format_args!(
                "links are cut in meshes of 3, 4 or 5 nodes, not of {nodes}"
            )));
        };
        let every = usize::from(args.every);
        let counts = serde_json::json!({
            "cuts": all.cuts(), "cuts_run": all.run().div_ceil(every), "lasts": all.lasts(),
        });
        let sentence = format!(
            "{} cuts that leave the mesh in one piece, {} of them run, for good and to be mended",
            all.cuts(),
            all.run().div_ceil(every),
        );
        let lasts = all.lasts();
        let count = all.run().div_ceil(every) * lasts;
        let scenario = |index| all.scenario(index / lasts * every * lasts + index % lasts);
        return run_all(args, count, scenario, counts, &sentence);
    }
    let Some(all) = Exhaust::of(nodes) else {
        return Ok(refuse(format_args!(
            "every partition of {nodes} nodes is too much: a mesh of 2, 3 or 4 nodes can be exhausted"
        )));
    };
    let counts = serde_json::json!({
        "partitions": all.masks(), "heal_times": all.heals(), "crash_points": all.crashes(),
    });
    let sentence = format!(
        "{} partitions, {} times of healing, {} points at which the sender dies or not",
        all.masks(),
        all.heals(),
        all.crashes(),
    );
    run_all(
        args,
        all.count(),
        |index| all.scenario(index),
        counts,
        &sentence,
    )
}

fn run_all(
    args: &ExhaustArgs,
    count: usize,
    scenario: impl Fn(usize) -> Scenario + Sync,
    counts: serde_json::Value,
    sentence: &str,
) -> io::Result<ExitCode> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.map_or(cores, usize::from);
    let start = Instant::now();
    let mut progress = Progress::new(io::stderr().is_terminal(), count as u64, "scenarios");
    let mut failures = Vec::new();
    pool::in_order(
        jobs,
        count,
        |_| false,
        |index| run(&scenario(index)).violation,
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
            let replay = replay::command(&scenario(*index));
            (violation.to_string(), replay)
        })
        .collect();
    let seconds = start.elapsed().as_secs_f64();
    let mut out = anstream::stdout().lock();
    if args.json {
        let shown = shown.iter().map(
            |(violation, replay)| serde_json::json!({ "violation": violation, "replay": replay }),
        );
        let mut object = serde_json::json!({
            "nodes": args.nodes,
            "scenarios": count,
            "failed": failures.len(),
            "failures": shown.collect::<Vec<_>>(),
            "wall_s": seconds,
        });
        if let (Some(object), serde_json::Value::Object(counts)) = (object.as_object_mut(), counts)
        {
            object.extend(counts);
        }
        writeln!(out, "{object}")?;
    } else {
        for (violation, replay) in &shown {
            output::failure(&mut out, violation, replay)?;
        }
        writeln!(out, "{count} scenarios in {seconds:.1} s: {sentence}")?;
        output::verdict(&mut out, failures.len(), "scenarios")?;
    }
    Ok(code(failures.is_empty()))
}
