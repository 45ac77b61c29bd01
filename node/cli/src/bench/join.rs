//! How long it takes until processes that were started together all know each other.

use std::fmt::Write as _;
use std::time::Duration;

use rolecast::MeshSecret;
use serde::Serialize;

use crate::bench::measure::{done, start_receivers};
use crate::bench::part::Desk;
use crate::bench::plan::{Plan, Promise, Scenario, System};
use crate::bench::progress::Progress;
use crate::bench::result::{median, rounded};
use crate::bench::table::grouped;
use crate::bench::usage::{Usage, now_ns, open_sockets};
use crate::bench::words::{Access, Part, Tally, Word};
use crate::duration::show_duration;
use crate::failure::Failure;
use crate::output::Output;
use crate::style::{DIM, HEADING};

/// One line of JSON.
#[derive(Debug, Serialize)]
struct Joined {
    system: &'static str,
    scenario: &'static str,
    nodes: usize,
    /// From the start of the first process until the last one knew all.
    wall_s: f64,
    /// The same until half of them did.
    median_s: f64,
    /// Processor time of all together until each knew all.
    cpu_s: f64,
    peak_rss_kb_median: f64,
    peak_rss_kb: u64,
    /// The most sockets that a process had open.
    sockets: u64,
}

/// Tells the coordinator that this process knows all.
pub(crate) fn report(desk: &Desk) -> Result<(), Failure> {
    desk.say(&Word::Done(Box::new(Tally {
        ended_ns: now_ns(),
        usage: Usage::of_this_process()?,
        sockets: open_sockets(),
        ..Tally::default()
    })))
}

/// Starts so many processes, and prints when all knew all.
///
/// # Errors
/// If that cannot be measured, or, after it is printed, if it took longer than `within`.
pub(crate) async fn run(
    nodes: usize,
    threads: usize,
    within: Option<Duration>,
    output: &Output,
) -> Result<(), Failure> {
    let mut progress = Progress::new();
    progress.title("rolecast join");
    progress.note("starting the processes");
    let plan = Plan {
        system: System::Rolecast,
        // Nothing is sent.
        scenario: Scenario::Mesh {
            nodes,
            secs: 0,
            promise: Promise::default(),
        },
        size: 0,
        threads,
        apart: None,
    };
    let access = Access::Secret(MeshSecret::generate().to_string());
    let began_ns = now_ns();
    let (mut processes, _) = start_receivers(plan, Part::Joiner, &access).await?;
    progress.note("waiting until all know each other");
    let mut tallies = Vec::new();
    for process in &mut processes {
        tallies.push(*process.await_word(done).await?);
        progress.part(tallies.len() as u64, nodes as u64);
    }
    for process in processes {
        process.end().await;
    }
    drop(progress);
    let joined = Joined::new(began_ns, &tallies);
    show(&joined, output)?;
    match within.filter(|within| joined.wall_s > within.as_secs_f64()) {
        None => Ok(()),
        Some(within) => Err(Failure::failed(format!(
            "it took {} s and not {}",
            joined.wall_s,
            show_duration(within)
        ))),
    }
}

impl Joined {
    fn new(began_ns: u64, tallies: &[Tally]) -> Self {
        let seconds = |tally: &Tally| tally.ended_ns.saturating_sub(began_ns) as f64 / 1e9;
        let all: Vec<f64> = tallies.iter().map(seconds).collect();
        let cpu_us: u64 = tallies.iter().map(|tally| tally.usage.cpu_us).sum();
        let memory = || tallies.iter().map(|tally| tally.usage.peak_rss_kb);
        Joined {
            system: "rolecast",
            scenario: "join",
            nodes: tallies.len(),
            wall_s: rounded(all.iter().copied().fold(0.0, f64::max), 3),
            median_s: median(all),
            cpu_s: rounded(cpu_us as f64 / 1e6, 3),
            peak_rss_kb_median: median(memory().map(|kb| kb as f64).collect()),
            peak_rss_kb: memory().max().unwrap_or(0),
            sockets: tallies.iter().map(|tally| tally.sockets).max().unwrap_or(0),
        }
    }
}

fn show(joined: &Joined, output: &Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.object(joined);
    }
    let nodes = joined.nodes;
    let mut text =
        format!("{HEADING}join: {nodes} processes find each other through the first{HEADING:#}\n");
    for (name, value) in [
        ("all know all, s", grouped(joined.wall_s, 3)),
        ("half of them do, s", grouped(joined.median_s, 3)),
        ("processor seconds", grouped(joined.cpu_s, 3)),
        (
            "median memory, MB",
            grouped(joined.peak_rss_kb_median * 1_024.0 / 1e6, 1),
        ),
        (
            "most memory, MB",
            grouped(joined.peak_rss_kb as f64 * 1_024.0 / 1e6, 1),
        ),
        ("most sockets", joined.sockets.to_string()),
    ] {
        let _ = writeln!(text, "  {DIM}{name:<24}{DIM:#}{value:>16}");
    }
    output.text(&text)
}
