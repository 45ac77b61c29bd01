//! `bench` and `report`: figures, each with what it is compared with.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use rolecast_sim::{Family, Level, Scenario, Statistics, Sweep, bench_quic, run};
use serde::Serialize;

use crate::membership::Extent;
use crate::{code, guarantees, long_ways, membership};

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Leave out the mesh of a thousand nodes, which takes most of the time.
    #[arg(long)]
    short: bool,
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct ReportArgs {
    /// What the tables are about.
    #[arg(value_enum)]
    name: Report,
    /// How many seeds each figure is drawn from.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seeds: u64,
    /// Of `membership`: measure small meshes only, in a few seconds.
    #[arg(long)]
    short: bool,
    /// Of `membership`: print the tables whose name has this in it: crash, slow, role, idle, heal, fast.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Report {
    /// What multicasts cost and how long they take, for each family of scenarios.
    Dissemination,
    /// How long a mesh takes to come to rest after everything works again, for each family of scenarios.
    Recovery,
    /// What an idle mesh costs, by its size.
    Idle,
    /// What each way of spreading costs and how fast it is, also when the sender dies in the middle.
    Guarantees,
    /// What a large payload gets of a long way, and what small messages beside it have to wait.
    LongWays,
    /// How soon a mesh knows of a crash, of a role or of itself after a split, how often it is wrong, and what it costs, beside plain foca.
    Membership,
}

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    metric: String,
    /// From how many runs, nodes or events it is drawn.
    n: u64,
    value: f64,
    unit: &'static str,
    /// What it is to be.
    goal: Option<Goal>,
    holds: Option<bool>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Figure {
    pub(crate) fn new(metric: impl Into<String>, n: u64, value: f64, unit: &'static str) -> Self {
        Figure {
            metric: metric.into(),
            n,
            value,
            unit,
            goal: None,
            holds: None,
        }
    }

    pub(crate) fn with(self, goal: Goal) -> Self {
        let holds = match goal {
            Goal::AtLeast(least) => self.value >= least,
            Goal::AtMost(most) => self.value <= most,
        };
        Figure {
            goal: Some(goal),
            holds: Some(holds),
            ..self
        }
    }

    /// Whether it is what it is to be, if anything.
    #[cfg(test)]
    pub(crate) fn holds(&self) -> bool {
        self.holds.unwrap_or(true)
    }
}

/// Prints figures as they come, and remembers whether each goal was reached.
pub(crate) struct Printer {
    json: bool,
    held: bool,
}

impl Printer {
    fn new(json: bool) -> Self {
        Printer { json, held: true }
    }

    pub(crate) fn print(&mut self, figure: &Figure) -> io::Result<()> {
        self.held &= figure.holds.unwrap_or(true);
        let mut out = anstream::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, figure)?;
            return writeln!(out);
        }
        let goal = match figure.goal {
            None => String::new(),
            Some(Goal::AtLeast(least)) => format!("  (goal: at least {least})"),
            Some(Goal::AtMost(most)) => format!("  (goal: at most {most})"),
        };
        let Figure {
            metric,
            value,
            unit,
            ..
        } = figure;
        writeln!(out, "{metric:<48} {value:>14.2} {unit}{goal}")
    }

    fn code(&self) -> ExitCode {
        code(self.held)
    }
}

pub(crate) fn bench(args: &BenchArgs) -> io::Result<ExitCode> {
    let mut printer = Printer::new(args.json);
    let (loaded, _) = timed(&scenario("load", 3, 50));
    let rate = per_second(&loaded);
    printer.print(
        &Figure::new(
            "events a second, 50 nodes under load",
            loaded.events,
            rate,
            "events/s",
        )
        .with(Goal::AtLeast(500_000.0)),
    )?;
    let (idle, seconds) = timed(&scenario("idle", 3, 50));
    let faster = idle.virtual_us as f64 / 1e6 / seconds;
    printer.print(
        &Figure::new(
            "virtual time to real time, idle mesh of 50",
            idle.events,
            faster,
            "times",
        )
        .with(Goal::AtLeast(1_000.0)),
    )?;
    let summary = Sweep {
        seeds: 0..1_000,
        first: Vec::new(),
        family: None,
        nodes: None,
        level: Level::Engine,
        jobs: 2,
        budget: None,
    }
    .run(|_| {});
    printer.print(
        &Figure::new(
            "seeds a minute, two threads",
            summary.runs,
            summary.seeds_per_minute,
            "seeds/min",
        )
        .with(Goal::AtLeast(3_000.0)),
    )?;
    let small = Figure::new(
        "events a second, small meshes, two threads",
        summary.events,
        summary.events_per_second,
        "events/s",
    );
    printer.print(&small)?;
    let whole = bench_quic(20, Duration::from_secs(2));
    let rate = whole.datagrams_per_second;
    printer.print(
        &Figure::new(
            "datagrams a second, 20 whole nodes",
            whole.datagrams,
            rate,
            "datagrams/s",
        )
        .with(Goal::AtLeast(100_000.0)),
    )?;
    if !args.short {
        let (large, seconds) = timed(&scenario("thousand", 3, 1_000));
        printer.print(
            &Figure::new("real time of a mesh of 1,000", large.events, seconds, "s")
                .with(Goal::AtMost(60.0)),
        )?;
        let rate = Figure::new(
            "events a second, 1,000 nodes",
            large.events,
            per_second(&large),
            "events/s",
        );
        printer.print(&rate)?;
    }
    Ok(printer.code())
}

fn scenario(family: &str, seed: u64, nodes: u16) -> Scenario {
    let family = Family::named(family).expect("all families used here exist");
    Scenario::draw_from(family, seed, Some(nodes))
}

fn timed(scenario: &Scenario) -> (Statistics, f64) {
    let start = Instant::now();
    let outcome = run(scenario);
    (outcome.statistics, start.elapsed().as_secs_f64())
}

fn per_second(statistics: &Statistics) -> f64 {
    statistics.events as f64 * 1e6 / statistics.wall_us.max(1) as f64
}

pub(crate) fn report(args: &ReportArgs) -> io::Result<ExitCode> {
    let mut printer = Printer::new(args.json);
    match args.name {
        Report::Dissemination => dissemination(args.seeds, &mut printer)?,
        Report::Recovery => recovery(args.seeds, &mut printer)?,
        Report::Idle => idle(&mut printer)?,
        Report::Guarantees => guarantees::print(&mut printer)?,
        Report::LongWays => long_ways::print(&mut printer)?,
        Report::Membership => {
            let (short, seeds) = (args.short, args.seeds);
            let extent = Extent { short, seeds };
            membership::print(&mut printer, extent, args.only.as_deref())?;
        }
    }
    Ok(printer.code())
}

/// The families whose figures are worth comparing.
const COMPARED: [&str; 8] = [
    "calm",
    "packets",
    "partitions",
    "flapping",
    "churn",
    "crash-mid-multicast",
    "clocks",
    "flood",
];

fn all(family: &str, seeds: u64) -> Vec<Statistics> {
    let family = Family::named(family).expect("all families used here exist");
    (0..seeds)
        .map(|seed| run(&Scenario::draw_from(family, seed, None)).statistics)
        .collect()
}

fn dissemination(seeds: u64, printer: &mut Printer) -> io::Result<()> {
    for family in COMPARED {
        let runs = all(family, seeds);
        let sum = |of: fn(&Statistics) -> u64| runs.iter().map(of).sum::<u64>();
        let (deliveries, n) = (sum(|s| s.deliveries), runs.len() as u64);
        let per_delivery = |value: u64| value as f64 / deliveries.max(1) as f64;
        let frames = per_delivery(sum(|s| s.frames));
        printer.print(&Figure::new(
            format!("{family}: frames for each delivery"),
            n,
            frames,
            "frames",
        ))?;
        let (sent, got) = (
            sum(|s| s.payload_bytes_sent),
            sum(|s| s.payload_bytes_delivered),
        );
        let redundancy = sent as f64 / got.max(1) as f64;
        printer.print(&Figure::new(
            format!("{family}: payload sent for each delivered"),
            n,
            redundancy,
            "bytes",
        ))?;
        for (name, percent) in [("median", 50), ("worst tenth", 90)] {
            let p50 = quantile(&runs, percent, |s| s.latency.p50_us);
            printer.print(&Figure::new(
                format!("{family}: delivery p50, {name} of runs"),
                n,
                p50,
                "ms",
            ))?;
            let p99 = quantile(&runs, percent, |s| s.latency.p99_us);
            printer.print(&Figure::new(
                format!("{family}: delivery p99, {name} of runs"),
                n,
                p99,
                "ms",
            ))?;
        }
        let gaps = sum(|s| s.gaps) as f64 / n as f64;
        printer.print(&Figure::new(
            format!("{family}: gaps for each run"),
            n,
            gaps,
            "gaps",
        ))?;
    }
    Ok(())
}

fn recovery(seeds: u64, printer: &mut Printer) -> io::Result<()> {
    for family in COMPARED {
        let runs = all(family, seeds);
        let n = runs.len() as u64;
        for (name, percent) in [("median", 50), ("p90", 90), ("p99", 99), ("longest", 100)] {
            let ms = quantile(&runs, percent, |s| s.recovery_us);
            printer.print(
                &Figure::new(format!("{family}: until at rest, {name}"), n, ms, "ms")
                    // The longest bound that any scenario gives itself.
                    .with(Goal::AtMost(120_000.0)),
            )?;
        }
    }
    Ok(())
}

fn idle(printer: &mut Printer) -> io::Result<()> {
    for nodes in [2, 5, 10, 25, 50] {
        let statistics = run(&scenario("idle", 1, nodes)).statistics;
        let seconds = statistics.virtual_us as f64 / 1e6;
        let each = |value: u64| value as f64 / f64::from(nodes) / seconds;
        let n = u64::from(nodes);
        let figures = [
            (
                "bytes sent by each node",
                each(statistics.frame_bytes + statistics.datagram_bytes),
                "bytes/s",
            ),
            (
                "datagrams sent by each node",
                each(statistics.datagrams),
                "datagrams/s",
            ),
            (
                "frames sent by each node",
                each(statistics.frames),
                "frames/s",
            ),
        ];
        for (name, value, unit) in figures {
            printer.print(&Figure::new(
                format!("{nodes} nodes: {name}"),
                n,
                value,
                unit,
            ))?;
        }
    }
    Ok(())
}

/// So many of a hundred runs are at most this, in milliseconds.
fn quantile(runs: &[Statistics], percent: usize, of: fn(&Statistics) -> u64) -> f64 {
    let mut values: Vec<u64> = runs.iter().map(of).collect();
    values.sort_unstable();
    let index = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(index).copied().unwrap_or(0) as f64 / 1e3
}
