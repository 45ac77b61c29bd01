//! What a delivery costs, for few and many receivers and for small and large messages.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::measure;
use crate::bench::plan::{Plan, Promise, Scenario, System};
use crate::bench::progress::Progress;
use crate::bench::result::{Measured, rounded};
use crate::bench::table::grouped;
use crate::failure::Failure;
use crate::output::Output;
use crate::style::{BAD, DIM, HEADING};

/// What is measured.
#[derive(Clone, Copy)]
pub(crate) struct Grid<'a> {
    pub(crate) subs: &'a [u32],
    /// Bytes of a message.
    pub(crate) sizes: &'a [u32],
    pub(crate) promise: Promise,
    /// Worker threads of each process.
    pub(crate) threads: usize,
    /// Whether bare QUIC is measured beside it.
    pub(crate) against: bool,
}

/// A fan-out, and the same over bare QUIC if that was wanted.
struct Pair {
    measured: Measured,
    bare: Option<Measured>,
}

/// Measures a fan-out for each number of subscribers and each size, and prints a row for each.
///
/// # Errors
/// If a measurement fails or something was lost, after what was measured is printed.
pub(crate) async fn run(grid: Grid<'_>, output: &Output) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let mut rows = Vec::new();
    let all = grid.subs.len() * grid.sizes.len();
    for &size in grid.sizes {
        for &subs in grid.subs {
            let (subs, size) = (subs as usize, size as usize);
            let done = rows.len() + 1;
            progress.title(format!("{size} bytes to {subs}, {done} of {all}"));
            let plan = |system| Plan {
                system,
                scenario: Scenario::Fanout {
                    subs,
                    count: count(subs, size),
                    promise: grid.promise,
                },
                size,
                threads: grid.threads,
                apart: None,
            };
            let measured = measure::measure(plan(System::Rolecast), &progress).await?;
            let bare = match grid.against {
                true => Some(measure::measure(plan(System::Ceiling), &progress).await?),
                false => None,
            };
            if output.is_json() {
                output.object(&measured)?;
                bare.iter().try_for_each(|bare| output.object(bare))?;
            }
            rows.push(Pair { measured, bare });
        }
    }
    drop(progress);
    let growths = growths(&rows);
    match output.is_json() {
        true => growths
            .iter()
            .try_for_each(|growth| output.object(growth))?,
        false => output.text(&table(&rows, &growths))?,
    }
    match rows.iter().map(|row| row.measured.lost).sum::<u64>() {
        0 => Ok(()),
        lost => Err(Failure::failed(format!(
            "{lost} messages were lost, which must not happen; please report it"
        ))),
    }
}

/// So many that it takes a second or a few, and never so few that only the warm-up is seen.
fn count(subs: usize, size: usize) -> u64 {
    let each = size + MESSAGE_OVERHEAD_BYTES;
    let count = (BYTES_MAX / (each * subs)).min(DELIVERIES_MAX / subs);
    count.max(COUNT_MIN) as u64
}

/// How the cost of a delivery grows with the number of receivers.
#[derive(Debug, PartialEq, Serialize)]
struct Growth {
    scenario: &'static str,
    size: usize,
    from_subs: usize,
    to_subs: usize,
    /// Processor time of a delivery with the many, for that with the few.
    cpu_growth: f64,
    /// The same over bare QUIC, if that was measured: what the machine adds for many processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    bare_cpu_growth: Option<f64>,
}

/// For each size, from 4 receivers, or the fewest above that, to the most.
fn growths(rows: &[Pair]) -> Vec<Growth> {
    let of_size = rows.chunk_by(|a, b| a.measured.size == b.measured.size);
    let growth = |rows: &[Pair]| {
        let from = rows.iter().find(|row| row.measured.subs >= SUBS_FROM)?;
        let to = rows.iter().max_by_key(|row| row.measured.subs)?;
        let [few, many] = [from, to].map(|row| &row.measured);
        let bare = from.bare.as_ref().zip(to.bare.as_ref());
        (few.subs < many.subs).then(|| Growth {
            scenario: "scale",
            size: few.size,
            from_subs: few.subs,
            to_subs: many.subs,
            cpu_growth: times(few, many),
            bare_cpu_growth: bare.map(|(few, many)| times(few, many)),
        })
    };
    of_size.filter_map(growth).collect()
}

/// How much more processor time a delivery takes with the many than with the few.
fn times(few: &Measured, many: &Measured) -> f64 {
    let few = few.cpu_us_per_delivery.max(1e-9);
    rounded(many.cpu_us_per_delivery / few, 2)
}

fn table(rows: &[Pair], growths: &[Growth]) -> String {
    let mut text = format!("{HEADING}scale: what a delivery costs{HEADING:#}\n");
    let _ = writeln!(
        text,
        "{DIM}{:>10}{:>8}{:>16}{:>14}{:>16}{:>18}{DIM:#}",
        "bytes", "to", "deliveries/s", "processor µs", "loopback bytes", "loopback packets"
    );
    for Pair {
        measured: row,
        bare,
    } in rows
    {
        let per_s = match row.per_s {
            crate::bench::result::PerSecond::Deliveries(n)
            | crate::bench::result::PerSecond::Requests(n) => n,
        };
        let wire = |pick: fn(crate::bench::result::PerDelivery) -> f64, digits| {
            row.wire
                .map_or("-".to_owned(), |wire| grouped(pick(wire), digits))
        };
        let _ = write!(
            text,
            "{:>10}{:>8}{:>16}{:>14}{:>16}{:>18}",
            grouped(row.size as f64, 0),
            row.subs,
            grouped(per_s, 0),
            grouped(row.cpu_us_per_delivery, 3),
            wire(|wire| wire.loopback_bytes_per_delivery, 1),
            wire(|wire| wire.loopback_packets_per_delivery, 4),
        );
        if let Some(bare) = bare {
            let cost = grouped(bare.cpu_us_per_delivery, 3);
            let _ = write!(text, "{DIM}  bare QUIC: {cost} µs{DIM:#}");
        }
        if row.lost > 0 {
            let _ = write!(text, "  {BAD}{} lost{BAD:#}", grouped(row.lost as f64, 0));
        }
        text.push('\n');
    }
    for growth in growths {
        let _ = writeln!(
            text,
            "{DIM}{} bytes, from {} to {} receivers: {} times the processor time a delivery{}{DIM:#}",
            grouped(growth.size as f64, 0),
            growth.from_subs,
            growth.to_subs,
            growth.cpu_growth,
            growth
                .bare_cpu_growth
                .map_or(String::new(), |bare| format!(", {bare} over bare QUIC")),
        );
    }
    text
}

/// What a message of no bytes counts as.
const MESSAGE_OVERHEAD_BYTES: usize = 64;
/// What is delivered in one measurement, in bytes and in messages, unless [`COUNT_MIN`] messages are more.
const BYTES_MAX: usize = 1 << 30;
const DELIVERIES_MAX: usize = 4_000_000;
const COUNT_MIN: usize = 50;
/// From so many receivers on, growth is looked at.
const SUBS_FROM: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::words::Tally;

    fn row(subs: usize, size: usize, cpu_us: f64) -> Pair {
        Pair {
            measured: measured(subs, size, cpu_us),
            bare: (size == 64).then(|| measured(subs, size, cpu_us.min(2.5))),
        }
    }

    fn measured(subs: usize, size: usize, cpu_us: f64) -> Measured {
        let plan = Plan {
            system: System::Rolecast,
            scenario: Scenario::Fanout {
                subs,
                count: 1,
                promise: Promise::default(),
            },
            size,
            threads: 0,
            apart: None,
        };
        Measured {
            cpu_us_per_delivery: cpu_us,
            ..Measured::new(plan, &Tally::default(), &[])
        }
    }

    #[test]
    fn growth_is_from_four_to_the_most() {
        let rows = [
            row(2, 64, 9.0),
            row(4, 64, 2.0),
            row(8, 64, 3.0),
            row(2, 100, 1.0),
        ];
        let growth = Growth {
            scenario: "scale",
            size: 64,
            from_subs: 4,
            to_subs: 8,
            cpu_growth: 1.5,
            bare_cpu_growth: Some(1.25),
        };
        assert_eq!(growths(&rows), [growth]);
    }

    #[test]
    fn a_measurement_is_neither_endless_nor_nothing() {
        assert_eq!(count(4, 64), 1_000_000);
        assert_eq!(count(64, 1 << 20), 50);
        assert_eq!(count(4, 65_536), 4_092);
    }
}
