//! What a delivery costs for few and many subscribers.

use super::svg::{Anchor, Canvas};
use super::{Row, size_text};

/// A line for each size of a message, over the number of subscribers; both axes are logarithmic. `None` without fan-outs to different numbers.
pub(super) fn draw(rows: &[Row]) -> Option<String> {
    let shown = |row: &&Row| row.scenario == "fanout" && row.system != BARE;
    let rows: Vec<&Row> = rows.iter().filter(shown).collect();
    let axes = Axes::new(&rows)?;
    let mut canvas = Canvas::new(
        (WIDTH, HEIGHT),
        "Processor time of a delivery",
        "microseconds, over all processes together, by the number of subscribers",
    );
    axes.draw(&mut canvas);
    let mut sizes: Vec<u64> = rows.iter().map(|row| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for (size, class) in sizes.into_iter().zip(CLASSES.into_iter().cycle()) {
        let mut of_size: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| row.size == size)
            .collect();
        of_size.sort_by_key(|row| row.subs);
        let points: Vec<(f64, f64)> = of_size.iter().map(|row| axes.place(row)).collect();
        canvas.polyline(&points, class);
        for (row, &point) in of_size.iter().zip(&points) {
            let cost = cost_text(row.cpu_us_per_delivery);
            canvas.point(point, 4.0, class, &format!("to {}: {cost} µs", row.subs));
        }
        if let (Some(row), Some(&(x, y))) = (of_size.last(), points.last()) {
            let cost = cost_text(row.cpu_us_per_delivery);
            let said = format!("{}, {cost} µs", size_text(size));
            canvas.text((x + 12.0, y + 4.0), Anchor::Start, class, said);
        }
    }
    Some(canvas.finish())
}

/// From what is shown to where it is.
struct Axes {
    subs: Vec<u64>,
    /// Powers of ten.
    cost_min: i32,
    cost_max: i32,
}

impl Axes {
    fn new(rows: &[&Row]) -> Option<Self> {
        let mut subs: Vec<u64> = rows.iter().map(|row| row.subs).collect();
        subs.sort_unstable();
        subs.dedup();
        let costs = || rows.iter().map(|row| row.cpu_us_per_delivery.max(COST_MIN));
        let (low, high) = (
            costs().min_by(f64::total_cmp)?,
            costs().max_by(f64::total_cmp)?,
        );
        let cost_min = low.log10().floor() as i32;
        (subs.len() > 1).then_some(Axes {
            subs,
            cost_min,
            cost_max: (high.log10().ceil() as i32).max(cost_min + 1),
        })
    }

    fn draw(&self, canvas: &mut Canvas) {
        for power in self.cost_min..=self.cost_max {
            let y = self.y_of(10f64.powi(power));
            canvas.line((LEFT, y), (RIGHT, y), "grid");
            let cost = match power {
                0.. => format!("{:.0}", 10f64.powi(power)),
                _ => format!("{:.*}", power.unsigned_abs() as usize, 10f64.powi(power)),
            };
            canvas.text((LEFT - 10.0, y + 4.0), Anchor::End, "muted", cost);
        }
        for &subs in &self.subs {
            let place = (self.x_of(subs), BOTTOM + 20.0);
            canvas.text(place, Anchor::Middle, "muted", subs);
        }
        canvas.line((LEFT, BOTTOM), (RIGHT, BOTTOM), "axis");
    }

    fn place(&self, row: &Row) -> (f64, f64) {
        (self.x_of(row.subs), self.y_of(row.cpu_us_per_delivery))
    }

    fn x_of(&self, subs: u64) -> f64 {
        let log = |subs: u64| (subs.max(1) as f64).log2();
        let (first, last) = (log(self.subs[0]), log(self.subs[self.subs.len() - 1]));
        LEFT + 16.0 + (log(subs) - first) / (last - first) * (RIGHT - LEFT - 32.0)
    }

    fn y_of(&self, cost: f64) -> f64 {
        let part = (cost.max(COST_MIN).log10() - f64::from(self.cost_min))
            / f64::from(self.cost_max - self.cost_min);
        BOTTOM - part * (BOTTOM - TOP)
    }
}

fn cost_text(cost: f64) -> String {
    match cost {
        cost if cost >= 10.0 => format!("{cost:.0}"),
        cost if cost >= 1.0 => format!("{cost:.1}"),
        cost => format!("{cost:.2}"),
    }
}

/// The name of bare QUIC among the systems.
const BARE: &str = "quinn";
/// What is cheaper than this is drawn as if it were not.
const COST_MIN: f64 = 0.001;
const CLASSES: [&str; 4] = ["one", "two", "three", "four"];
const WIDTH: u32 = 860;
const HEIGHT: u32 = 420;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 80.0;
const BOTTOM: f64 = 370.0;
