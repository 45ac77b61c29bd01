//! Many runs: seed after seed, on several threads, reported in the order of the seeds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::plan::{FaultKind, Slot};
use crate::pool;
use crate::probe::Probe;
use crate::replay;
use crate::run::{Outcome, run};
use crate::scenario::{Family, Level, Scenario};

/// Which seeds to run, and how.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The seeds; the end is not among them.
    pub seeds: Range<u64>,
    /// Scenarios to run before all seeds, whatever the budget.
    pub first: Vec<Scenario>,
    /// The family of every run; drawn from the seed if not given.
    pub family: Option<&'static Family>,
    /// How many nodes each run has; drawn from the seed if not given.
    pub nodes: Option<Slot>,
    /// What is run of each: engines, or whole nodes.
    pub level: Level,
    /// How many threads run seeds.
    pub jobs: usize,
    /// No seed is begun after so much real time.
    pub budget: Option<Duration>,
}

/// What came of a sweep.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// How many seeds ran.
    pub runs: u64,
    /// How many seeds were asked for.
    pub asked: u64,
    /// The seeds at which a promise was broken.
    pub failures: Vec<Failure>,
    /// For each kind of fault how often it was drawn, and how often something came of it.
    pub faults: BTreeMap<&'static str, Effect>,
    /// Kinds of faults that were drawn and never had an effect: they test nothing.
    pub faults_without_effect: Vec<&'static str>,
    /// How many runs came to each probe.
    pub probes: BTreeMap<&'static str, u64>,
    /// The probes that no run came to.
    pub probes_never_hit: Vec<&'static str>,
    /// How many seeds ran a second time, in a fresh process.
    pub ran_again: u64,
    /// The seeds that gave another run there.
    pub not_repeated: Vec<u64>,
    /// Events handled, in all runs together.
    pub events: u64,
    /// Multicast messages accepted.
    pub messages: u64,
    /// Multicast messages put into inboxes.
    pub deliveries: u64,
    /// Calls accepted.
    pub calls: u64,
    /// Gaps put into inboxes.
    pub gaps: u64,
    /// Nodes declared down while they lived.
    pub renewals: u64,
    /// Virtual time of all runs together, in seconds.
    pub virtual_s: u64,
    /// Real time, in seconds.
    pub wall_s: f64,
    /// Seeds in a minute of real time.
    pub seeds_per_minute: f64,
    /// Events in a second of real time.
    pub events_per_second: f64,
}

/// A seed at which a promise was broken.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// How many nodes there were.
    pub nodes: Slot,
    /// The family that its scenario is of.
    pub family: String,
    /// The broken promise.
    pub violation: String,
    /// The command that repeats it, with the line that holds the whole scenario.
    pub replay: String,
}

/// How often a kind of fault was drawn, and mattered.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Effect {
    /// How often it was drawn.
    pub drawn: u64,
    /// How often something came of it.
    pub effective: u64,
}

impl Sweep {
    /// Runs the seeds; `on_outcome` sees every outcome in the order of the seeds.
    pub fn run(&self, mut on_outcome: impl FnMut(&Outcome)) -> Summary {
        let start = Instant::now();
        let first = self.first.len();
        let rest = self.seeds.end.saturating_sub(self.seeds.start);
        let count = first.saturating_add(usize::try_from(rest).unwrap_or(usize::MAX));
        let mut summary = Summary {
            asked: count as u64,
            ..Summary::default()
        };
        let late = |index: usize| {
            index >= first && self.budget.is_some_and(|budget| start.elapsed() >= budget)
        };
        let scenario = |index: usize| match index.checked_sub(first) {
            None => self.at_level(self.first[index].clone()),
            Some(offset) => self.scenario(self.seeds.start + offset as u64),
        };
        pool::in_order(
            self.jobs,
            count,
            late,
            |index| run(&scenario(index)),
            |index, outcome| {
                summary.add(&outcome, || scenario(index));
                on_outcome(&outcome);
            },
        );
        summary.finish(self.level, start.elapsed());
        summary
    }

    /// The scenario that a seed stands for in this sweep.
    #[must_use]
    pub fn scenario(&self, seed: u64) -> Scenario {
        self.at_level(match self.family {
            Some(family) => Scenario::draw_from(family, seed, self.nodes),
            None => Scenario::draw(seed, self.nodes),
        })
    }

    fn at_level(&self, scenario: Scenario) -> Scenario {
        Scenario {
            level: self.level,
            ..scenario
        }
    }
}

impl Summary {
    /// Whether every promise held, every run can be repeated, and no kind of fault was for nothing.
    #[must_use]
    pub fn held(&self) -> bool {
        self.failures.is_empty()
            && self.not_repeated.is_empty()
            && self.faults_without_effect.is_empty()
    }

    fn add(&mut self, outcome: &Outcome, scenario: impl FnOnce() -> Scenario) {
        self.runs += 1;
        for probe in outcome.reached.iter() {
            *self.probes.entry(probe.sentence()).or_default() += 1;
        }
        for &((kind, manner), effective) in &outcome.effects {
            for kind in [kind].into_iter().chain(manner) {
                let effect = self.faults.entry(kind.name()).or_default();
                effect.drawn += 1;
                effect.effective += u64::from(effective);
            }
        }
        let statistics = &outcome.statistics;
        self.events += statistics.events;
        self.messages += statistics.messages;
        self.deliveries += statistics.deliveries;
        self.calls += statistics.calls;
        self.gaps += statistics.gaps;
        self.renewals += statistics.renewals;
        self.virtual_s += statistics.virtual_us / 1_000_000;
        if let Some(violation) = &outcome.violation {
            let scenario = scenario();
            self.failures.push(Failure {
                seed: outcome.seed,
                nodes: outcome.nodes,
                violation: violation.to_string(),
                replay: replay::command(&scenario),
                family: scenario.family,
            });
        }
    }

    fn finish(&mut self, level: Level, wall: Duration) {
        self.wall_s = wall.as_secs_f64();
        self.seeds_per_minute = self.runs as f64 * 60.0 / self.wall_s.max(1e-9);
        self.events_per_second = self.events as f64 / self.wall_s.max(1e-9);
        self.probes_never_hit = Probe::ALL
            .iter()
            .filter(|probe| probe.is_seen_at(level))
            .map(|probe| probe.sentence())
            .filter(|sentence| !self.probes.contains_key(sentence))
            .collect();
        // Of a few draws none may have met anything; of so many, one must.
        self.faults_without_effect = FaultKind::ALL
            .into_iter()
            .filter(|kind| kind.acts_at(level))
            .map(FaultKind::name)
            .filter(|name| {
                self.faults
                    .get(name)
                    .is_some_and(|e| e.drawn >= DRAWS_ENOUGH && e.effective == 0)
            })
            .collect();
    }
}

/// So often a kind of fault is drawn before it counts against it that it never had an effect.
const DRAWS_ENOUGH: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_in_order_whatever_the_threads_do() {
        let sweep = Sweep {
            seeds: 10..22,
            first: vec![Scenario::draw(3, Some(2))],
            family: None,
            nodes: Some(2),
            level: Level::Engine,
            jobs: 3,
            budget: None,
        };
        let mut seen = Vec::new();
        let summary = sweep.run(|outcome| seen.push((outcome.seed, outcome.hash)));
        assert_eq!(summary.runs, 13);
        let seeds: Vec<u64> = seen.iter().map(|&(seed, _)| seed).collect();
        assert_eq!(seeds, [3].into_iter().chain(10..22).collect::<Vec<_>>());
        let alone = Sweep { jobs: 1, ..sweep };
        let mut again = Vec::new();
        alone.run(|outcome| again.push((outcome.seed, outcome.hash)));
        assert_eq!(seen, again);
    }

    #[test]
    fn a_spent_budget_leaves_only_what_goes_first() {
        let budget = Some(Duration::ZERO);
        let sweep = Sweep {
            seeds: 0..1_000,
            first: vec![Scenario::draw(5, Some(2))],
            family: None,
            nodes: Some(2),
            level: Level::Engine,
            jobs: 2,
            budget,
        };
        assert_eq!(sweep.run(|_| {}).runs, 1);
    }
}
