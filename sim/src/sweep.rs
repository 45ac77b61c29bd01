//! Many runs: seed after seed, on several threads, reported in the order of the seeds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::plan::{FaultKind, Slot};
use crate::run::{Outcome, run};
use crate::scenario::{Level, Scenario};

/// Which seeds to run, and how.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The seeds; the end is not among them.
    pub seeds: Range<u64>,
    /// Seeds to run before all others, whatever the budget.
    pub first: Vec<u64>,
    /// How many nodes each run has; drawn from the seed if not given.
    pub nodes: Option<Slot>,
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
    /// The broken promise.
    pub violation: String,
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
        let seeds = Seeds {
            first: &self.first,
            rest: self.seeds.clone(),
            next: AtomicUsize::new(0),
        };
        let mut summary = Summary {
            asked: seeds.count() as u64,
            ..Summary::default()
        };
        let (sender, receiver) = mpsc::sync_channel(self.jobs.max(1) * 64);
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                let (sender, seeds) = (sender.clone(), &seeds);
                scope.spawn(move || self.work(start, seeds, &sender));
            }
            drop(sender);
            let mut early = BTreeMap::new();
            let mut due = 0;
            for (index, outcome) in receiver {
                early.insert(index, outcome);
                while let Some(outcome) = early.remove(&due) {
                    summary.add(&outcome);
                    on_outcome(&outcome);
                    due += 1;
                }
            }
        });
        summary.finish(start.elapsed());
        summary
    }

    fn work(&self, start: Instant, seeds: &Seeds<'_>, sender: &mpsc::SyncSender<(usize, Outcome)>) {
        while let Some((index, seed)) =
            seeds.take(|| self.budget.is_some_and(|budget| start.elapsed() >= budget))
        {
            let outcome = run(&Scenario::draw(seed, self.nodes));
            if sender.send((index, outcome)).is_err() {
                return;
            }
        }
    }
}

struct Seeds<'a> {
    first: &'a [u64],
    rest: Range<u64>,
    next: AtomicUsize,
}

impl Seeds<'_> {
    fn count(&self) -> usize {
        let rest = self.rest.end.saturating_sub(self.rest.start);
        self.first.len() + usize::try_from(rest).unwrap_or(usize::MAX - self.first.len())
    }

    /// The next seed and its place in the order; none is taken any more once `over` says so.
    fn take(&self, over: impl Fn() -> bool) -> Option<(usize, u64)> {
        // An index that is taken is run, so that the order has no holes.
        let index = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |index| {
                let late = index >= self.first.len() && over();
                (index < self.count() && !late).then(|| index + 1)
            })
            .ok()?;
        let seed = match index.checked_sub(self.first.len()) {
            None => self.first[index],
            Some(offset) => self.rest.start + offset as u64,
        };
        Some((index, seed))
    }
}

impl Summary {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
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
            self.failures.push(Failure {
                seed: outcome.seed,
                nodes: outcome.nodes,
                violation: violation.to_string(),
            });
        }
    }

    fn finish(&mut self, wall: Duration) {
        self.wall_s = wall.as_secs_f64();
        self.seeds_per_minute = self.runs as f64 * 60.0 / self.wall_s.max(1e-9);
        self.events_per_second = self.events as f64 / self.wall_s.max(1e-9);
        // Of a few draws none may have met anything; of so many, one must.
        self.faults_without_effect = FaultKind::ALL
            .into_iter()
            .filter(|kind| kind.acts_at(Level::Engine))
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
            first: vec![3],
            nodes: Some(2),
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
            first: vec![5],
            nodes: Some(2),
            jobs: 2,
            budget,
        };
        assert_eq!(sweep.run(|_| {}).runs, 1);
    }
}
