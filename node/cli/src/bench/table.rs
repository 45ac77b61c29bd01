//! A result for people.

use std::fmt::Write as _;

use crate::bench::result::{Measured, Pace, PerSecond};
use crate::style::{BAD, DIM, GOOD, HEADING};

/// A title and one figure a line.
pub(crate) fn table(measured: &Measured) -> String {
    let mut text = format!("{HEADING}{}{HEADING:#}\n", title(measured));
    for (name, value) in rows(measured) {
        let _ = writeln!(text, "  {DIM}{name:<24}{DIM:#}{value:>16}");
    }
    let (style, lost) = match measured.lost {
        0 => (GOOD, "nothing".to_owned()),
        lost => (BAD, grouped(lost as f64, 0)),
    };
    let _ = writeln!(
        text,
        "  {DIM}{:<24}{DIM:#}{style}{lost:>16}{style:#}",
        "lost"
    );
    text
}

fn title(measured: &Measured) -> String {
    let count = grouped(measured.count as f64, 0);
    let what = match measured.pace {
        None if measured.scenario == "stream" => {
            format!("a payload of {} bytes", grouped(measured.size as f64, 0))
        }
        None => format!("{count} messages of {} bytes", measured.size),
        Some(Pace::Rate { rate, secs }) => format!(
            "{} messages of {} bytes a second, for {secs} s",
            grouped(rate as f64, 0),
            measured.size
        ),
        Some(Pace::Beside { rate, secs, beside }) => format!(
            "{} messages of {} bytes a second, for {secs} s, beside large payloads of {} bytes",
            grouped(rate as f64, 0),
            measured.size,
            grouped(beside as f64, 0)
        ),
        Some(Pace::Secs { secs }) => format!(
            "each sends messages of {} bytes for {secs} s, {count} in all,",
            measured.size
        ),
        Some(Pace::Inflight { inflight }) => format!(
            "{count} requests of {} bytes, {inflight} at once",
            measured.size
        ),
    };
    let to = match measured.subs {
        1 => "1 process".to_owned(),
        subs => format!("{subs} processes"),
    };
    let Measured {
        scenario,
        system,
        mode,
        ..
    } = measured;
    format!("{scenario}: {what} to {to} ({system}: {mode})")
}

fn rows(measured: &Measured) -> Vec<(&'static str, String)> {
    let per_s = match measured.per_s {
        PerSecond::Deliveries(per_s) => ("deliveries per second", grouped(per_s, 0)),
        PerSecond::Requests(per_s) => ("requests per second", grouped(per_s, 0)),
    };
    let mut rows = vec![per_s, ("MB per second", grouped(measured.MB_per_s, 1))];
    if let Some(times) = measured.times {
        rows.extend([
            ("median, µs", grouped(times.p50_us, 1)),
            ("90 % within, µs", grouped(times.p90_us, 1)),
            ("99 % within, µs", grouped(times.p99_us, 1)),
            ("longest, µs", grouped(times.max_us, 1)),
        ]);
    }
    rows.extend([
        ("seconds", grouped(measured.wall_s, 3)),
        ("processor seconds", grouped(measured.cpu_s, 3)),
        (
            "processor µs a delivery",
            grouped(measured.cpu_us_per_delivery, 3),
        ),
        (
            "most memory, MB",
            grouped(measured.peak_rss_kb as f64 * 1_024.0 / 1e6, 1),
        ),
    ]);
    if let Some(wire) = measured.wire {
        rows.push((
            "loopback bytes each",
            grouped(wire.loopback_bytes_per_delivery, 1),
        ));
        rows.push((
            "loopback packets each",
            grouped(wire.loopback_packets_per_delivery, 4),
        ));
    }
    if let Some((publisher, subscribers)) = measured.peak_rss_kb_each.split_last() {
        let megabytes = |kb: &u64| grouped(*kb as f64 * 1_024.0 / 1e6, 1);
        rows.push(("publisher's memory, MB", megabytes(publisher)));
        rows.extend(
            subscribers
                .iter()
                .map(|kb| ("a subscriber's, MB", megabytes(kb))),
        );
    }
    if let Some(comparison) = &measured.comparison {
        rows.push(("ratio to bare QUIC", grouped(comparison.ratio, 3)));
        if let Some(ratio) = comparison.ratio_p99 {
            rows.push(("ratio of 99 % within", grouped(ratio, 3)));
        }
    }
    rows.push(("delivered", grouped(measured.delivered as f64, 0)));
    rows
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: f64, digits: usize) -> String {
    let plain = format!("{number:.digits$}");
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_apart() {
        for (number, digits, text) in [
            (0.0, 0, "0"),
            (999.4, 0, "999"),
            (1_000.0, 0, "1,000"),
            (1_234_567.89, 1, "1,234,567.9"),
        ] {
            assert_eq!(grouped(number, digits), text);
        }
    }
}
