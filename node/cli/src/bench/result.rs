//! What came of a measurement.

use serde::Serialize;

use crate::bench::histogram::Histogram;
use crate::bench::plan::{Plan, Scenario};
use crate::bench::usage::Traffic;
use crate::bench::words::Tally;

/// One line of JSON.
#[derive(Clone, Debug, Serialize)]
#[expect(non_snake_case, reason = "it is the name that the figure has in JSON")]
pub(crate) struct Measured {
    pub(crate) system: &'static str,
    pub(crate) mode: String,
    pub(crate) scenario: &'static str,
    pub(crate) subs: usize,
    pub(crate) size: usize,
    pub(crate) count: u64,
    #[serde(flatten)]
    pub(crate) pace: Option<Pace>,
    pub(crate) wall_s: f64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    #[serde(flatten)]
    pub(crate) per_s: PerSecond,
    pub(crate) MB_per_s: f64,
    #[serde(flatten)]
    pub(crate) times: Option<Times>,
    pub(crate) cpu_s: f64,
    pub(crate) cpu_us_per_delivery: f64,
    pub(crate) peak_rss_kb: u64,
    #[serde(flatten)]
    pub(crate) wire: Option<PerDelivery>,
    /// The same of each process, the publisher last, if that is what was to be measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) peak_rss_kb_each: Vec<u64>,
    #[serde(flatten)]
    pub(crate) comparison: Option<Comparison>,
}

/// What held the sender back, if it was not the receivers alone.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Pace {
    Rate { rate: u64, secs: u64 },
    Inflight { inflight: usize },
    Beside { rate: u64, secs: u64, beside: u64 },
    Secs { secs: u64 },
}

/// What went over the loopback device for each delivery, whoever sent it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct PerDelivery {
    pub(crate) loopback_bytes_per_delivery: f64,
    pub(crate) loopback_packets_per_delivery: f64,
}

/// How many deliveries, or answered requests, there were in a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum PerSecond {
    #[serde(rename = "deliveries_per_s")]
    Deliveries(f64),
    #[serde(rename = "req_per_s")]
    Requests(f64),
}

/// How long deliveries, or round trips, took, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Times {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

/// How a system did next to bare QUIC connections, over several pairs of runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    /// What is compared: deliveries per second, or the median time.
    pub(crate) figure: &'static str,
    /// The median of the pairs' ratios.
    pub(crate) ratio: f64,
    /// The median of the pairs' ratios of what 99 % of deliveries took at most, if that is what is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_p99: Option<f64>,
    /// The ratio of each pair.
    pub(crate) ratios: Vec<f64>,
    /// What the bare connections reached in each pair.
    pub(crate) ceiling: Vec<f64>,
    /// What was measured in each pair.
    pub(crate) measured: Vec<f64>,
}

impl Measured {
    /// Puts together what the processes have measured.
    pub(crate) fn new(plan: Plan, sent: &Tally, received: &[Tally]) -> Self {
        let all = || received.iter().chain([sent]);
        let mut times = Histogram::default();
        all().for_each(|tally| times.merge(&tally.times));
        // Subscribers that received nothing and repliers have no end of their own.
        let ended_ns = match plan.scenario {
            Scenario::Reqrep { .. } => sent.ended_ns,
            _ => received
                .iter()
                .map(|tally| tally.ended_ns)
                .max()
                .unwrap_or(0),
        };
        let wall_s = ended_ns.saturating_sub(sent.began_ns) as f64 / 1e9;
        let delivered: u64 = all().map(|tally| tally.delivered).sum();
        let cpu_us: u64 = all().map(|tally| tally.usage.cpu_us).sum();
        let per_s = delivered as f64 / wall_s.max(1e-9);
        Measured {
            system: plan.system_name(),
            mode: plan.mode(),
            scenario: plan.scenario_name(),
            subs: plan.subs(),
            size: plan.size,
            count: plan.count(),
            pace: pace(plan.scenario),
            wall_s: rounded(wall_s, 6),
            delivered,
            lost: all().map(|tally| tally.lost).sum(),
            per_s: match plan.scenario {
                Scenario::Reqrep { .. } => PerSecond::Requests(rounded(per_s, 1)),
                _ => PerSecond::Deliveries(rounded(per_s, 1)),
            },
            MB_per_s: rounded(per_s * plan.size as f64 / 1e6, 3),
            times: (times.total() > 0).then(|| Times::new(&times)),
            cpu_s: rounded(cpu_us as f64 / 1e6, 6),
            cpu_us_per_delivery: rounded(cpu_us as f64 / delivered.max(1) as f64, 4),
            peak_rss_kb: all()
                .map(|tally| tally.usage.peak_rss_kb)
                .max()
                .unwrap_or(0),
            peak_rss_kb_each: match plan.scenario {
                Scenario::Stream { .. } => all().map(|tally| tally.usage.peak_rss_kb).collect(),
                _ => Vec::new(),
            },
            wire: None,
            comparison: None,
        }
    }

    /// Adds what went over the wire meanwhile.
    pub(crate) fn over(self, traffic: Option<Traffic>) -> Self {
        let each = |all: u64| rounded(all as f64 / self.delivered.max(1) as f64, 4);
        let wire = traffic.map(|traffic| PerDelivery {
            loopback_bytes_per_delivery: each(traffic.bytes),
            loopback_packets_per_delivery: each(traffic.packets),
        });
        Measured { wire, ..self }
    }

    /// The figure by which a scenario is compared, and its name: of what comes one after the other the time that it takes, of what is crowded how much there is of it.
    pub(crate) fn figure(&self) -> (&'static str, f64) {
        let crowded = matches!(self.pace, Some(Pace::Inflight { inflight: 2.. }));
        match (self.times, self.per_s) {
            (Some(times), _) if !crowded => ("p50_us", times.p50_us),
            (_, PerSecond::Deliveries(per_s)) => ("deliveries_per_s", per_s),
            (_, PerSecond::Requests(per_s)) => ("req_per_s", per_s),
        }
    }
}

impl Times {
    fn new(times: &Histogram) -> Self {
        let part_us = |part| rounded(times.quantile_ns(part) / 1e3, 1);
        Times {
            p50_us: part_us(0.5),
            p90_us: part_us(0.9),
            p99_us: part_us(0.99),
            max_us: rounded(times.longest_ns() as f64 / 1e3, 1),
        }
    }
}

/// The run whose figure is the median, with the comparison of all pairs in it; the other system's run comes second in a pair.
pub(crate) fn compare(mut pairs: Vec<(Measured, Measured)>) -> Option<Measured> {
    let ratio = |(run, ceiling): &(Measured, Measured)| run.figure().1 / ceiling.figure().1;
    let ratios: Vec<f64> = pairs.iter().map(|pair| rounded(ratio(pair), 3)).collect();
    let p99 = |measured: &Measured| measured.times.map(|times| times.p99_us);
    let ratios_p99 = pairs
        .iter()
        .map(|(run, ceiling)| Some(rounded(p99(run)? / p99(ceiling)?, 3)));
    let comparison = Comparison {
        figure: pairs.first()?.0.figure().0,
        ratio: median(ratios.clone()),
        ratio_p99: ratios_p99.collect::<Option<Vec<f64>>>().map(median),
        ratios,
        ceiling: pairs
            .iter()
            .map(|(_, ceiling)| ceiling.figure().1)
            .collect(),
        measured: pairs.iter().map(|(run, _)| run.figure().1).collect(),
    };
    let lost = pairs.iter().map(|(run, _)| run.lost).sum();
    pairs.sort_by(|(a, _), (b, _)| a.figure().1.total_cmp(&b.figure().1));
    let (middle, _) = pairs.swap_remove(pairs.len() / 2);
    Some(Measured {
        lost,
        comparison: Some(comparison),
        ..middle
    })
}

pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let (low, high) = ((numbers.len() - 1) / 2, numbers.len() / 2);
    rounded((numbers[low] + numbers[high]) / 2.0, 3)
}

fn pace(scenario: Scenario) -> Option<Pace> {
    match scenario {
        Scenario::Fanout { .. } | Scenario::Stream { .. } => None,
        Scenario::Latency {
            rate,
            secs,
            beside: 0,
            ..
        } => Some(Pace::Rate { rate, secs }),
        Scenario::Latency {
            rate, secs, beside, ..
        } => Some(Pace::Beside { rate, secs, beside }),
        Scenario::Mesh { secs, .. } => Some(Pace::Secs { secs }),
        Scenario::Reqrep { inflight, .. } => Some(Pace::Inflight { inflight }),
    }
}

pub(crate) fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::System;
    use crate::bench::usage::Usage;

    fn fanout(per_s: u64, lost: u64) -> Measured {
        let plan = Plan {
            system: System::Rolecast,
            scenario: Scenario::Fanout {
                subs: 1,
                count: per_s,
                promise: Default::default(),
            },
            size: 64,
            threads: 0,
            apart: None,
        };
        let usage = Usage {
            cpu_us: 500_000,
            peak_rss_kb: 1_000,
        };
        let sent = Tally {
            began_ns: 1_000_000_000,
            ended_ns: 9_000_000_000,
            usage,
            ..Tally::default()
        };
        let received = Tally {
            ended_ns: 2_000_000_000,
            delivered: per_s - lost,
            lost,
            usage,
            ..Tally::default()
        };
        Measured::new(plan, &sent, &[received])
    }

    #[test]
    fn every_promised_field_is_there() {
        let json = serde_json::to_value(fanout(1_000_000, 0)).expect("it can be written");
        let fields = [
            ("system", "rolecast".into()),
            ("mode", "digest, fifo, acknowledged, encrypted".into()),
            ("scenario", "fanout".into()),
            ("subs", 1.into()),
            ("size", 64.into()),
            ("count", 1_000_000.into()),
            ("wall_s", 1.0.into()),
            ("delivered", 1_000_000.into()),
            ("lost", 0.into()),
            ("deliveries_per_s", 1e6.into()),
            ("MB_per_s", 64.0.into()),
            ("cpu_s", 1.0.into()),
            ("cpu_us_per_delivery", 1.0.into()),
            ("peak_rss_kb", 1_000.into()),
        ];
        let object = json.as_object().expect("it is an object");
        assert_eq!(object.len(), fields.len(), "{object:?}");
        for (name, value) in fields {
            assert_eq!(object.get(name), Some(&value), "{name}");
        }
    }

    fn requests(inflight: usize, took_ns: u64) -> Measured {
        let plan = Plan {
            system: System::Rolecast,
            scenario: Scenario::Reqrep { count: 1, inflight },
            size: 64,
            threads: 0,
            apart: None,
        };
        let mut times = Histogram::default();
        times.record(took_ns);
        let asked = Tally {
            ended_ns: took_ns,
            delivered: 1,
            times,
            ..Tally::default()
        };
        Measured::new(plan, &asked, &[])
    }

    #[test]
    fn single_requests_are_compared_by_their_time_and_crowds_by_their_number() {
        let ratios = |inflight| {
            let pairs = vec![(requests(inflight, 200_000), requests(inflight, 100_000))];
            let comparison = compare(pairs).and_then(|middle| middle.comparison);
            let comparison = comparison.expect("there is a pair");
            let [ratio, p99] = [Some(comparison.ratio), comparison.ratio_p99];
            let tenth = |ratio: Option<f64>| ratio.map(|ratio| rounded(ratio, 1));
            (comparison.figure, tenth(ratio), tenth(p99))
        };
        assert_eq!(ratios(1), ("p50_us", Some(2.0), Some(2.0)));
        assert_eq!(ratios(2), ("req_per_s", Some(0.5), Some(2.0)));
    }

    #[test]
    fn a_comparison_shows_the_middle_run_and_forgets_no_loss() {
        let pairs = [(100, 200), (300, 400), (200, 300)]
            .map(|(run, ceiling)| (fanout(run, u64::from(run == 300)), fanout(ceiling, 0)));
        let middle = compare(pairs.into()).expect("there are pairs");
        assert_eq!((middle.count, middle.lost), (200, 1));
        let comparison = middle.comparison.expect("it was compared");
        assert_eq!(comparison.ratio, 0.667);
        assert_eq!(comparison.ratios, [0.5, 0.748, 0.667]);
        assert!(compare(Vec::new()).is_none());
    }
}
