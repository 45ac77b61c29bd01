//! How fast each scenario is beside bare QUIC.

use super::svg::{Anchor, Canvas};
use super::{Compared, Row, size_text};
use crate::bench::result::median;

/// A bar for each scenario; the longer, the closer to bare QUIC. `None` if nothing was compared.
pub(super) fn draw(rows: &[Row]) -> Option<String> {
    let compared: Vec<(&Row, &Compared)> = rows
        .iter()
        .filter_map(|row| Some((row, row.comparison.as_ref()?)))
        .collect();
    if compared.is_empty() {
        return None;
    }
    let height = TOP + compared.len() as f64 * ROW + BOTTOM;
    let mut canvas = Canvas::new(
        (WIDTH, height as u32),
        "Speed beside bare QUIC",
        "1 is as fast as bare QUIC; bars are medians, rings single pairs of runs",
    );
    let bottom = height - BOTTOM;
    for tenth in (0..=12).step_by(2) {
        let speed = f64::from(tenth) / 10.0;
        let class = if tenth == 10 { "axis" } else { "grid" };
        canvas.line((x_of(speed), TOP - 6.0), (x_of(speed), bottom), class);
        let place = (x_of(speed), bottom + 18.0);
        canvas.text(place, Anchor::Middle, "muted", format_args!("{speed:.1}"));
    }
    let tops = (0..).map(|index| TOP + f64::from(index) * ROW);
    for ((row, compared), top) in compared.into_iter().zip(tops) {
        draw_row(&mut canvas, row, compared, top);
    }
    Some(canvas.finish())
}

fn draw_row(canvas: &mut Canvas, row: &Row, compared: &Compared, top: f64) {
    let middle = top + ROW / 2.0;
    let speed = speed_of(compared, compared.ratio);
    canvas.text((LEFT - 12.0, middle + 4.0), Anchor::End, "", title(row));
    canvas.bar((LEFT, middle - BAR / 2.0), (x_of(speed) - LEFT, BAR), "bar");
    for &ratio in &compared.ratios {
        let speed = speed_of(compared, ratio);
        let said = format!("{speed:.2}");
        canvas.point((x_of(speed), middle), 3.5, "run", &said);
    }
    canvas.text(
        (FIGURES, middle + 4.0),
        Anchor::Start,
        "strong",
        format_args!("{speed:.2}"),
    );
    canvas.text(
        (FIGURES + 38.0, middle + 4.0),
        Anchor::Start,
        "muted",
        figures(compared),
    );
}

/// How many times as fast as bare QUIC: of times, the shorter is the faster.
fn speed_of(compared: &Compared, ratio: f64) -> f64 {
    match is_time(compared) {
        true => 1.0 / ratio,
        false => ratio,
    }
}

fn is_time(compared: &Compared) -> bool {
    compared.figure.ends_with("_us")
}

fn title(row: &Row) -> String {
    let size = size_text(row.size);
    match (row.scenario.as_str(), row.inflight) {
        ("reqrep", Some(1) | None) => format!("request, {size}"),
        ("reqrep", Some(inflight)) => format!("{inflight} requests at once, {size}"),
        (scenario, _) => format!("{scenario} to {}, {size}", row.subs),
    }
}

/// The medians of both sides.
fn figures(compared: &Compared) -> String {
    let [measured, bare] = [&compared.measured, &compared.ceiling].map(|runs| median(runs.clone()));
    if is_time(compared) {
        return format!("{measured:.0} µs, bare {bare:.0} µs");
    }
    let unit = match compared.figure.as_str() {
        "req_per_s" => "requests/s",
        _ => "deliveries/s",
    };
    format!("{} of {} {unit}", in_short(measured), in_short(bare))
}

/// Three digits are as many as such a measurement is good for.
fn in_short(number: f64) -> String {
    let (scaled, unit) = match number {
        n if n >= 1e6 => (n / 1e6, " M"),
        n if n >= 1e3 => (n / 1e3, " k"),
        n => (n, ""),
    };
    let digits = match scaled {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{scaled:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}

fn x_of(speed: f64) -> f64 {
    LEFT + speed.clamp(0.0, SPEED_MAX) / SPEED_MAX * (RIGHT - LEFT)
}

const WIDTH: u32 = 860;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 34.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 560.0;
/// Far enough from the last ring that this is not read with them.
const FIGURES: f64 = 594.0;
const ROW: f64 = 32.0;
const BAR: f64 = 16.0;
/// What is faster than this beside bare QUIC is drawn as if it were not.
const SPEED_MAX: f64 = 1.2;
