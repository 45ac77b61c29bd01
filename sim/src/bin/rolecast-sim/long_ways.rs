//! What a large payload gets of a long way: whole nodes, QUIC included, on a path of a hundred megabits a second.
//!
//! Small messages go the same way every fifty milliseconds, so that it is not the payload's alone.

use std::io;
use std::time::Duration;

use rolecast_sim::{LongWay, bench_long_way};

use crate::figures::{Figure, Printer};

pub(crate) fn print(printer: &mut Printer) -> io::Result<()> {
    for latency_ms in [1, 20, 100] {
        let latency = Duration::from_millis(latency_ms);
        let way = LongWay {
            latency,
            bytes_per_s: BYTES_PER_S,
            queue_bytes: QUEUE_BYTES,
        };
        let seen = bench_long_way(way, PAYLOAD_BYTES);
        let name = |what: &str| format!("8 MiB over a way of {latency_ms} ms, {what}");
        let share = |rate: f64| 100.0 * rate / BYTES_PER_S as f64;
        let figures = [
            ("of what it carries", share(seen.bytes_per_s), "%"),
            (
                "once more at once, of what it carries",
                share(seen.bytes_per_s_then),
                "%",
            ),
            ("a small message without it, slowest", ms(seen.alone), "ms"),
            ("a small message beside it, p99", ms(seen.beside), "ms"),
        ];
        for (what, value, unit) in figures {
            printer.print(&Figure::new(name(what), 1, value, unit))?;
        }
    }
    Ok(())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

const PAYLOAD_BYTES: usize = 8 << 20;
/// A hundred megabits.
const BYTES_PER_S: u64 = 12_500_000;
/// What routers hold of such a way: a fifth of a second.
const QUEUE_BYTES: u64 = 2_500_000;
