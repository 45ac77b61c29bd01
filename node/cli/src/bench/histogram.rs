//! How long things took: counts per class of duration, to be merged over processes.

use serde::{Deserialize, Serialize};

/// Durations in nanoseconds, each within 0.8 % of what was recorded; the longest is exact.
///
/// The classes are those of HdrHistogram: 128 equal ones for each power of two.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Sparse", into = "Sparse")]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest_ns: u64,
}

/// What travels between processes: only classes in which there is something.
#[derive(Serialize, Deserialize)]
struct Sparse {
    classes: Vec<(usize, u64)>,
    longest_ns: u64,
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub(crate) fn record(&mut self, ns: u64) {
        self.add(class_of(ns), 1);
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// Adds what another process has recorded.
    pub(crate) fn merge(&mut self, other: &Histogram) {
        for (class, &count) in other.counts.iter().enumerate() {
            if count > 0 {
                self.add(class, count);
            }
        }
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }

    /// The duration within which this part of all (0.5 is the half) lies, in nanoseconds; 0 if there is none.
    pub(crate) fn quantile_ns(&self, part: f64) -> f64 {
        let rank = ((part * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (class, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle_of(class).min(self.longest_ns as f64);
            }
        }
        0.0
    }

    /// The longest duration, in nanoseconds.
    pub(crate) fn longest_ns(&self) -> u64 {
        self.longest_ns
    }

    /// How many durations there are.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    #[inline]
    fn add(&mut self, class: usize, count: u64) {
        if class >= self.counts.len() {
            self.counts.resize(class + 1, 0);
        }
        self.counts[class] += count;
        self.total += count;
    }
}

impl From<Sparse> for Histogram {
    fn from(sparse: Sparse) -> Self {
        let mut histogram = Histogram {
            longest_ns: sparse.longest_ns,
            ..Histogram::default()
        };
        for (class, count) in sparse.classes {
            histogram.add(class.min(CLASSES_MAX), count);
        }
        histogram
    }
}

impl From<Histogram> for Sparse {
    fn from(histogram: Histogram) -> Self {
        let classes = histogram.counts.into_iter().enumerate();
        Sparse {
            classes: classes.filter(|&(_, count)| count > 0).collect(),
            longest_ns: histogram.longest_ns,
        }
    }
}

/// Below `PARTS` each number has a class of its own, above it each power of two has `PARTS` of them.
#[inline]
fn class_of(ns: u64) -> usize {
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(PARTS_BITS + 1);
    (shift as usize) * PARTS + (ns >> shift) as usize
}

fn middle_of(class: usize) -> f64 {
    let shift = (class / PARTS).saturating_sub(1);
    let first = (class - shift * PARTS) as f64;
    let width = (1u64 << shift) as f64;
    first * width + (width - 1.0) / 2.0
}

const PARTS_BITS: u32 = 7;
const PARTS: usize = 1 << PARTS_BITS;
/// The class of the longest duration that there is.
const CLASSES_MAX: usize = (u64::BITS as usize - PARTS_BITS as usize + 1) * PARTS - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_within_one_percent_of_its_class() {
        let numbers = (0..4096u64).chain((12..63).flat_map(|bits| {
            let power = 1u64 << bits;
            [power - 1, power, power + power / 3]
        }));
        let mut before = 0;
        for ns in numbers {
            let class = class_of(ns);
            assert!(class >= before && class <= CLASSES_MAX, "{ns}");
            before = class;
            let off = (middle_of(class) - ns as f64).abs();
            assert!(
                off <= ns as f64 * 0.008,
                "{ns} is taken for {}",
                middle_of(class)
            );
        }
        assert_eq!(class_of(u64::MAX), CLASSES_MAX);
    }

    #[test]
    fn quantiles_survive_the_way_through_json() {
        let mut odd = Histogram::default();
        let mut even = Histogram::default();
        for ns in 1..=100_000u64 {
            if ns % 2 == 1 { &mut odd } else { &mut even }.record(ns);
        }
        let json = serde_json::to_string(&odd).expect("it can be written");
        even.merge(&serde_json::from_str(&json).expect("it can be read"));
        assert_eq!((even.total(), even.longest_ns()), (100_000, 100_000));
        for (part, ns) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let quantile = even.quantile_ns(part);
            assert!((quantile / ns - 1.0).abs() < 0.008, "{part}: {quantile}");
        }
        assert_eq!(Histogram::default().quantile_ns(0.5), 0.0);
    }
}
