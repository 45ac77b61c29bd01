//! What came of runs and sweeps, for people and for programs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use rolecast_sim::{Outcome, Scenario, Summary, replay, words};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// One run as one JSON object.
pub(crate) fn json_run(
    out: &mut impl Write,
    scenario: &Scenario,
    outcome: &Outcome,
) -> io::Result<()> {
    let violation = outcome.violation.as_ref().map(|violation| {
        serde_json::json!({
            "sentence": violation.to_string(),
            "node": violation.node.to_string(),
            "at_us": violation.at.as_micros(),
        })
    });
    let faults: Vec<_> = scenario
        .plan
        .faults
        .iter()
        .zip(outcome.effects.iter().map(|(_, effective)| effective))
        .map(|(fault, effective)| serde_json::json!({ "plan": fault, "effective": effective }))
        .collect();
    let object = serde_json::json!({
        "seed": outcome.seed,
        "scenario": scenario.family,
        "level": scenario.level,
        "nodes": outcome.nodes,
        "held": outcome.violation.is_none(),
        "violation": violation,
        "hash": outcome.hash,
        "profile": format!("{:?}", scenario.profile),
        "network": scenario.network,
        "faults": faults,
        "operations": scenario.workload.operations.len(),
        "statistics": outcome.statistics,
        "probes": outcome.reached.iter().map(|probe| probe.sentence()).collect::<Vec<_>>(),
        "replay": replay::command(scenario),
    });
    writeln!(out, "{object}")
}

/// One run in a few lines.
pub(crate) fn human_run(
    out: &mut impl Write,
    scenario: &Scenario,
    outcome: &Outcome,
) -> io::Result<()> {
    let statistics = &outcome.statistics;
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    for ((kind, _), _) in &outcome.effects {
        *kinds.entry(kind.name()).or_default() += 1;
    }
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    let plan = if kinds.is_empty() {
        "no faults".to_string()
    } else {
        kinds.join(", ")
    };
    let latency = statistics.latency;
    writeln!(out, "seed        {} ({})", outcome.seed, scenario.family)?;
    writeln!(
        out,
        "mesh        {} nodes, profile {:?}",
        outcome.nodes, scenario.profile
    )?;
    writeln!(out, "faults      {plan}")?;
    writeln!(
        out,
        "multicasts  {} messages, {} deliveries, {} gaps, {} payload bytes sent for each delivered",
        statistics.messages,
        statistics.deliveries,
        statistics.gaps,
        format_args!("{:.2}", statistics.payload_redundancy),
    )?;
    writeln!(
        out,
        "latency     p50 {}, p90 {}, p99 {}, max {}",
        millis(latency.p50_us),
        millis(latency.p90_us),
        millis(latency.p99_us),
        millis(latency.max_us),
    )?;
    writeln!(out, "calls       {}", statistics.calls)?;
    writeln!(
        out,
        "traffic     {} frames ({:.2} for each delivery, over {} links at most), {} datagrams, {} bytes for each node",
        statistics.frames,
        statistics.frames_per_delivery,
        statistics.last_hop_max,
        statistics.datagrams,
        statistics.bytes_per_node
    )?;
    writeln!(
        out,
        "time        {} virtual, {} real, {} events",
        millis(statistics.virtual_us),
        millis(statistics.wall_us),
        statistics.events
    )?;
    writeln!(out, "trace hash  {}", outcome.hash)?;
    match &outcome.violation {
        None => writeln!(out, "{GOOD}every promise held{GOOD:#}"),
        Some(violation) => {
            writeln!(out, "{BAD}broken{BAD:#}      {violation}")?;
            writeln!(out, "replay      {}", replay::command(scenario))
        }
    }
}

/// What a scenario is, in words.
pub(crate) fn words(out: &mut impl Write, scenario: &Scenario) -> io::Result<()> {
    words::describe(scenario)
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
}

/// A broken promise, and the command that repeats it.
pub(crate) fn failure(out: &mut impl Write, violation: &str, replay: &str) -> io::Result<()> {
    writeln!(out, "{BAD}broken{BAD:#}  {violation}")?;
    writeln!(out, "replay  {replay}")
}

/// The last line of a command that looked for broken promises.
pub(crate) fn verdict(out: &mut impl Write, failed: usize, what: &str) -> io::Result<()> {
    match failed {
        0 => writeln!(out, "{GOOD}every promise held{GOOD:#}"),
        count => writeln!(out, "{BAD}{count} {what} broke a promise{BAD:#}"),
    }
}

/// The last line of a search for planted bugs.
#[cfg(feature = "canaries")]
pub(crate) fn planted(
    out: &mut impl Write,
    missed: usize,
    of: usize,
    seeds_max: u64,
) -> io::Result<()> {
    match missed {
        0 => writeln!(out, "{GOOD}all {of} planted bugs were found{GOOD:#}"),
        missed => writeln!(
            out,
            "{BAD}{missed} of {of} planted bugs were not found within {seeds_max} seeds{BAD:#}"
        ),
    }
}

/// A sweep in a few lines, and two for each failure.
pub(crate) fn human_sweep(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    for failed in &summary.failures {
        let violation = format!(
            "{} (seed {}, {})",
            failed.violation, failed.seed, failed.family
        );
        failure(out, &violation, &failed.replay)?;
    }
    writeln!(
        out,
        "{} of {} seeds in {:.1} s ({:.0} seeds a minute, {:.0} events a second)",
        summary.runs,
        summary.asked,
        summary.wall_s,
        summary.seeds_per_minute,
        summary.events_per_second
    )?;
    writeln!(
        out,
        "{} messages, {} deliveries, {} calls, {} gaps, {} renewals in {} s of virtual time",
        summary.messages,
        summary.deliveries,
        summary.calls,
        summary.gaps,
        summary.renewals,
        summary.virtual_s
    )?;
    for (name, effect) in &summary.faults {
        writeln!(
            out,
            "  {name:<14} drawn {:>7}, with an effect {:>7}",
            effect.drawn, effect.effective
        )?;
    }
    for name in &summary.faults_without_effect {
        writeln!(
            out,
            "{BAD}{name} never had an effect:{BAD:#} it tests nothing"
        )?;
    }
    for sentence in &summary.probes_never_hit {
        writeln!(out, "{DIM}never seen:{DIM:#} {sentence}")?;
    }
    for seed in &summary.not_repeated {
        writeln!(
            out,
            "{BAD}seed {seed} gave another run in a fresh process{BAD:#}"
        )?;
    }
    writeln!(
        out,
        "{} of {} probes were hit, and {} seeds gave the same run again in a fresh process",
        summary.probes.len(),
        summary.probes.len() + summary.probes_never_hit.len(),
        summary.ran_again - summary.not_repeated.len() as u64,
    )?;
    verdict(out, summary.failures.len(), "seeds")
}

/// A line on the terminal that says how far many runs are.
pub(crate) struct Progress {
    shown: bool,
    start: Instant,
    drawn: Option<Instant>,
    runs: u64,
    failures: u64,
    asked: u64,
    what: &'static str,
}

/// How often the line is drawn.
const REDRAW: Duration = Duration::from_millis(200);

impl Progress {
    pub(crate) fn new(shown: bool, asked: u64, what: &'static str) -> Self {
        Progress {
            shown,
            what,
            start: Instant::now(),
            drawn: None,
            runs: 0,
            failures: 0,
            asked,
        }
    }

    pub(crate) fn note(&mut self, failed: bool) {
        self.runs += 1;
        self.failures += u64::from(failed);
        if self.shown && self.drawn.is_none_or(|at| at.elapsed() >= REDRAW) {
            self.drawn = Some(Instant::now());
            let seconds = self.start.elapsed().as_secs_f64();
            let rate = self.runs as f64 * 60.0 / seconds.max(1e-9);
            anstream::eprint!(
                "\r\x1b[K{DIM}{} of {} {}, {} failed, {rate:.0} a minute{DIM:#}",
                self.runs,
                self.asked,
                self.what,
                self.failures
            );
        }
    }

    pub(crate) fn clear(&mut self) {
        if self.shown {
            anstream::eprint!("\r\x1b[K");
        }
    }
}

fn millis(us: u64) -> String {
    format!("{}.{:03} ms", us / 1_000, us % 1_000)
}
