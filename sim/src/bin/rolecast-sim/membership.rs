//! `report membership`: how soon a mesh knows of a crash, of a role or of itself after a split, how often it is wrong, and what it costs at rest.
//!
//! Every figure is measured for this project and for plain `foca`, in the same network and with the same faults; where others published one, it stands beside them.

use std::io;
use std::time::{Duration, Instant};

use rolecast_sim::swarm::{
    Alarms, Detector, Grid, Own as Node, PlainFoca as Foca, Slowness, Spread, crash_times,
    false_alarms, healing, idle_bytes, restarts, role_changes,
};

use crate::figures::{Figure, Goal, Printer};

/// Plain `foca`, driven as its own example does.
type PlainFoca = Foca<true>;
/// This project's membership with its usual profile, and with the one for fast detection.
type Own = Node<false>;
type Fast = Node<true>;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Small meshes and few trials, for a look.
    pub(crate) short: bool,
    /// How many seeds each cell of Lifeguard's grid is drawn from, at most five.
    pub(crate) seeds: u64,
}

/// Measures and prints one table.
type Table = fn(&mut Printer, Extent) -> io::Result<()>;

/// Prints the tables whose names contain `only`.
pub(crate) fn print(printer: &mut Printer, extent: Extent, only: Option<&str>) -> io::Result<()> {
    let tables: [(&str, Table); 7] = [
        ("crash", crashes),
        ("slow", slow_nodes),
        ("role", roles),
        ("idle", idle),
        ("heal", heals),
        ("restart", many_restarts),
        ("fast", fast),
    ];
    for (name, table) in tables {
        if only.is_none_or(|only| name.contains(only)) {
            let start = Instant::now();
            table(printer, extent)?;
            anstream::eprintln!("{name}: {:.0} s", start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// One line for this project and one for what it is compared with.
struct Pair {
    what: String,
    n: u64,
    unit: &'static str,
    own: f64,
    plain: f64,
    goal: Goal,
}

impl Pair {
    fn print(self, printer: &mut Printer) -> io::Result<()> {
        let Pair { what, n, unit, .. } = self;
        printer.print(&Figure::new(what.clone(), n, self.own, unit).with(self.goal))?;
        printer.print(&Figure::new(
            format!("{what}: plain foca"),
            n,
            self.plain,
            unit,
        ))
    }
}

fn published(
    printer: &mut Printer,
    what: &str,
    by: &str,
    value: f64,
    unit: &'static str,
) -> io::Result<()> {
    printer.print(&Figure::new(
        format!("{what}: {by}, published"),
        1,
        value,
        unit,
    ))
}

fn crashes(printer: &mut Printer, extent: Extent) -> io::Result<()> {
    let cases: &[(usize, u64, usize, f64)] = if extent.short {
        &[(32, 5, 2, 8.5)]
    } else {
        &[(100, 11, 3, 8.5), (1_000, 1, 11, 12.5)]
    };
    for &(size, meshes, crashes, goal) in cases {
        let own = crash_times::<Own>(size, meshes, crashes);
        let plain = crash_times::<PlainFoca>(size, meshes, crashes);
        for (name, percent, goal) in [
            ("median", 50, Some(Goal::AtMost(goal))),
            ("longest", 100, None),
        ] {
            let what = format!("crash known to all, {name}, {size} nodes");
            let (n, unit) = (own.len() as u64, "s");
            let figure = Figure::new(what.clone(), n, quantile(&own, percent), unit);
            printer.print(&match goal {
                Some(goal) => figure.with(goal),
                None => figure,
            })?;
            let plain = quantile(&plain, percent);
            printer.print(&Figure::new(format!("{what}: plain foca"), n, plain, unit))?;
        }
    }
    Ok(())
}

/// Lifeguard's own grid, and the same with nodes that stand still.
fn slow_nodes(printer: &mut Printer, extent: Extent) -> io::Result<()> {
    let (size, slow, anomalies, seeds): (usize, &[usize], &[u64], u64) = if extent.short {
        (32, &[1, 8], &[16], 1)
    } else {
        (128, &[1, 4, 8, 16, 32], &[8, 16, 33], extent.seeds.min(5))
    };
    for (slowness, title) in [(Slowness::Deaf, "deaf"), (Slowness::Stopped, "stopped")] {
        let (mut own, mut plain) = (Alarms::default(), Alarms::default());
        let mut runs = 0;
        for (&slow, &anomaly) in slow
            .iter()
            .flat_map(|s| anomalies.iter().map(move |a| (s, a)))
        {
            for seed in 0..seeds {
                let grid = Grid {
                    size,
                    slow,
                    slowness,
                    anomaly: Duration::from_secs(anomaly),
                    time: GRID_TIME,
                    seed,
                };
                own += false_alarms::<Own>(grid);
                plain += false_alarms::<PlainFoca>(grid);
                runs += 1;
            }
            anstream::eprintln!("{slow} {title} for {anomaly} s: {own:?}, plain foca {plain:?}");
        }
        alarms(
            printer,
            &format!("nodes among {size} {title}"),
            runs,
            (own, plain),
        )?;
    }
    Ok(())
}

fn alarms(
    printer: &mut Printer,
    title: &str,
    runs: u64,
    (own, plain): (Alarms, Alarms),
) -> io::Result<()> {
    let count = |what: &str, own: u64, plain: u64, goal: f64| Pair {
        what: format!("{title}: {what}"),
        n: runs,
        unit: "alarms",
        own: own as f64,
        plain: plain as f64,
        goal: Goal::AtMost(goal),
    };
    let goal = (plain.healthy as f64 * 0.005).floor();
    count("false alarms", own.healthy, plain.healthy, goal).print(printer)?;
    let (own_there, plain_there) = (own.among_healthy, plain.among_healthy);
    count("false alarms at healthy nodes", own_there, plain_there, 0.0).print(printer)?;
    if plain.healthy > 0 {
        let what = format!("{title}: false alarms in hundred of plain foca's");
        let value = 100.0 * own.healthy as f64 / plain.healthy as f64;
        printer.print(&Figure::new(what.clone(), runs, value, "%").with(Goal::AtMost(0.5)))?;
        published(printer, &what, "Lifeguard of SWIM", 1.53, "%")?;
    }
    // No goal: who is blocked for half a minute is rightly given up.
    for (whose, alarms) in [("", own.slow), (": plain foca", plain.slow)] {
        let what = format!("{title}: slow ones held for down{whose}");
        printer.print(&Figure::new(what, runs, alarms as f64, "times"))?;
    }
    Ok(())
}

fn roles(printer: &mut Printer, extent: Extent) -> io::Result<()> {
    /// Nodes, loss, trials, goal, and what Serf's simulator says.
    type Case = (usize, u32, u64, f64, Option<f64>);
    let cases: &[Case] = if extent.short {
        &[(32, 0, 200, 0.8, None), (32, 25, 200, 1.5, None)]
    } else {
        &[
            (100, 0, 10_000, 0.8, None),
            (1_000, 0, 200, 1.0, None),
            (100, 25, 1_000, 1.5, Some(2.6)),
            (1_000, 25, 100, 2.0, Some(3.0)),
        ]
    };
    for &(size, loss, trials, goal, serf) in cases {
        let what = |what: &str| format!("role known to all, {what}, {size} nodes, {loss} % lost");
        let own = role_changes::<Own>(size, loss, trials);
        // It waits a minute for each one that is missed.
        let plain = role_changes::<PlainFoca>(size, loss, trials.min(100));
        let median = |spread: &Spread| quantile(&spread.times, 50);
        let longest = quantile(&own.times, 100);
        let goal = Goal::AtMost(goal);
        let figure = Figure::new(what("median"), trials, median(&own), "s").with(goal);
        printer.print(&figure)?;
        let plain_trials = trials.min(100);
        let name = format!("{}: plain foca", what("median"));
        printer.print(&Figure::new(name, plain_trials, median(&plain), "s"))?;
        if let Some(serf) = serf {
            published(printer, &what("median"), "Serf's simulator", serf, "s")?;
        }
        printer.print(&Figure::new(what("longest"), trials, longest, "s"))?;
        let missed = Figure::new(what("missed"), trials, own.missed as f64, "changes");
        printer.print(&missed.with(Goal::AtMost(0.0)))?;
        let name = format!("{}: plain foca", what("missed"));
        let missed = plain.missed as f64;
        printer.print(&Figure::new(name, plain_trials, missed, "changes"))?;
    }
    Ok(())
}

fn idle(printer: &mut Printer, extent: Extent) -> io::Result<()> {
    let sizes: &[usize] = if extent.short { &[32] } else { &[100, 1_000] };
    for &size in sizes {
        Pair {
            what: format!("idle, sent by each of {size} nodes"),
            n: size as u64,
            unit: "bytes/s",
            own: idle_bytes::<Own>(size),
            plain: idle_bytes::<PlainFoca>(size),
            goal: Goal::AtMost(150.0),
        }
        .print(printer)?;
    }
    Ok(())
}

fn heals(printer: &mut Printer, extent: Extent) -> io::Result<()> {
    let cases: &[(usize, usize, u64, f64)] = if extent.short {
        &[(2, 1, 5, 5.0), (16, 1, 3, 2.0), (16, 8, 3, 10.0)]
    } else {
        &[(2, 1, 21, 5.0), (50, 1, 11, 2.0), (1_000, 500, 1, 10.0)]
    };
    for &(size, smaller, seeds, goal) in cases {
        heal::<Own>(printer, "", (size, smaller, seeds), Some(goal))?;
        heal::<PlainFoca>(printer, ": plain foca", (size, smaller, seeds), None)?;
    }
    Ok(())
}

fn heal<D: Detector>(
    printer: &mut Printer,
    whose: &str,
    (size, smaller, seeds): (usize, usize, u64),
    goal: Option<f64>,
) -> io::Result<()> {
    let healed: Vec<_> = (0..seeds)
        .map(|seed| healing::<D>(size, smaller, SPLIT_TIME, seed))
        .collect();
    let mut times: Vec<Duration> = healed.iter().filter_map(|healing| healing.time).collect();
    times.sort_unstable();
    let never = healed.len() - times.len();
    let renewed = healed.iter().map(|healing| healing.renewed).max();
    let of = |what: &str| format!("{smaller} of {size} apart for ten minutes: {what}{whose}");
    if !times.is_empty() {
        let time = Figure::new(of("until all know all"), seeds, quantile(&times, 50), "s");
        printer.print(&match goal {
            Some(goal) => time.with(Goal::AtMost(goal)),
            None => time,
        })?;
    }
    for (what, value, most) in [
        ("never healed", never as f64, 0.0),
        (
            "had to renew, at most",
            renewed.unwrap_or(0) as f64,
            smaller as f64,
        ),
    ] {
        let figure = Figure::new(of(what), seeds, value, "");
        printer.print(&match goal {
            Some(_) => figure.with(Goal::AtMost(most)),
            None => figure,
        })?;
    }
    Ok(())
}

/// Three in ten restart within a minute, each with its key.
fn many_restarts(printer: &mut Printer, extent: Extent) -> io::Result<()> {
    let (size, count, seeds) = if extent.short {
        (32, 10, 1)
    } else {
        (200, 60, 3)
    };
    let trials = (0..seeds).map(|seed| restarts::<Own>(size, count, RESTART_TIME, seed));
    let trials: Vec<_> = trials.collect();
    let of = |what: &str| format!("{count} of {size} restart within a minute: {what}");
    let slowest = trials.iter().map(|trial| trial.time).max();
    let never = trials.iter().filter(|trial| trial.time.is_none()).count();
    let alarms: u64 = trials.iter().map(|trial| trial.alarms).sum();
    let renewed: u64 = trials.iter().map(|trial| trial.renewed).sum();
    let remembered = trials.iter().map(|trial| trial.remembered).max();
    if let Some(Some(slowest)) = slowest.filter(|_| never == 0) {
        let what = of("until all know all after the last, at most");
        printer.print(&Figure::new(what, seeds, slowest.as_secs_f64(), "s"))?;
    }
    for (what, value, most) in [
        ("views that did not converge", never as f64, 0.0),
        ("held for down", alarms as f64, 0.0),
        ("had to renew", renewed as f64, 0.0),
        (
            "others that a node remembers at most",
            remembered.unwrap_or(0) as f64,
            size as f64 - 1.0,
        ),
    ] {
        let figure = Figure::new(of(what), seeds, value, "");
        printer.print(&figure.with(Goal::AtMost(most)))?;
    }
    Ok(())
}

/// The profile for fast detection: how soon, how often wrong, and at what cost.
fn fast(printer: &mut Printer, extent: Extent) -> io::Result<()> {
    let meshes = if extent.short { 5 } else { 50 };
    for size in [5, 32] {
        let times = crash_times::<Fast>(size, meshes, 2);
        let n = times.len() as u64;
        let what = |what: &str| format!("fast, crash known to all, {what}, {size} nodes");
        let median = Figure::new(what("median"), n, quantile(&times, 50), "s");
        printer.print(&median.with(Goal::AtMost(2.0)))?;
        printer.print(&Figure::new(what("longest"), n, quantile(&times, 100), "s"))?;
    }
    for (slowness, title) in [(Slowness::Deaf, "deaf"), (Slowness::Stopped, "stopped")] {
        for anomaly in [1, 2, 8] {
            let grid = Grid {
                size: 32,
                slow: 4,
                slowness,
                anomaly: Duration::from_secs(anomaly),
                time: GRID_TIME,
                seed: 1,
            };
            let alarms = false_alarms::<Fast>(grid);
            let what = |what: &str| format!("fast, 4 of 32 {title} for {anomaly} s: {what}");
            for (what, count) in [
                (what("false alarms"), alarms.healthy),
                (what("false alarms at healthy nodes"), alarms.among_healthy),
                (what("slow ones held for down"), alarms.slow),
            ] {
                printer.print(&Figure::new(what, 1, count as f64, "times"))?;
            }
        }
    }
    let bytes = idle_bytes::<Fast>(32);
    let what = "fast, idle, sent by each of 32 nodes";
    printer.print(&Figure::new(what, 32, bytes, "bytes/s"))
}

/// So many of a hundred are at most this, in seconds.
fn quantile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).map_or(f64::NAN, Duration::as_secs_f64)
}

/// How long Lifeguard's anomalies go on.
const GRID_TIME: Duration = Duration::from_secs(120);
/// Within which time nodes restart.
const RESTART_TIME: Duration = Duration::from_secs(60);
/// How long a split lasts.
const SPLIT_TIME: Duration = Duration::from_secs(600);
