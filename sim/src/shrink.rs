//! The smallest scenario that still breaks the same promise.
//!
//! Faults, operations, parts of cuts and held roles are taken out in ever smaller chunks as long as the promise stays broken (delta debugging: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", TSE 2002), then places, and then what is left is made plainer: shorter, rounder, with the usual limits on an even network.
//! It goes around until nothing more can be taken away, or until there is no time left.
//! Because every fault and every place has dice of its own, what is taken out does not change what the rest draws.

mod ddmin;
mod plainer;

use std::mem::discriminant;
use std::time::{Duration, Instant};

use crate::check::{Broken, Violation};
use crate::plan::{Breakage, FaultPlan, Slot};
use crate::scenario::Scenario;
use crate::workload::{Ask, Workload};
use ddmin::minimize;

/// What came of shrinking.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest scenario that was found.
    pub scenario: Scenario,
    /// How it breaks the promise.
    pub violation: Violation,
    /// How many scenarios were run.
    pub runs: u64,
    /// Whether nothing more could be taken away; if not, there was no time left.
    pub complete: bool,
}

/// How far shrinking has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// How many scenarios were run.
    pub runs: u64,
    /// What is left of it.
    pub size: Size,
}

/// How large a scenario is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Size {
    /// Places that are used.
    pub nodes: usize,
    /// Faults.
    pub faults: usize,
    /// Operations.
    pub operations: usize,
}

impl Size {
    /// The size of this scenario.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Self {
        Size {
            nodes: scenario.starts_us.iter().flatten().count(),
            faults: scenario.plan.faults.len(),
            operations: scenario.workload.operations.len(),
        }
    }
}

/// Shrinks a scenario; `None` if it breaks no promise.
///
/// `fails` runs a scenario and gives the promise that it broke, and `on_progress` is told of every step.
pub fn shrink(
    scenario: Scenario,
    budget: Option<Duration>,
    fails: impl FnMut(&Scenario) -> Option<Violation>,
    on_progress: impl FnMut(Progress),
) -> Option<Shrunk> {
    let mut shrinker = Shrinker {
        fails,
        on_progress,
        deadline: budget.map(|budget| Instant::now() + budget),
        runs: 0,
    };
    shrinker.runs = 1;
    let violation = (shrinker.fails)(&scenario)?;
    let mut best = Best {
        scenario,
        violation,
    };
    loop {
        let before = serde_json::to_string(&best.scenario).ok();
        shrinker.go_around(&mut best);
        let unchanged = serde_json::to_string(&best.scenario).ok() == before;
        if unchanged || shrinker.is_late() {
            return Some(Shrunk {
                scenario: best.scenario,
                violation: best.violation,
                runs: shrinker.runs,
                complete: unchanged && !shrinker.is_late(),
            });
        }
    }
}

struct Best {
    scenario: Scenario,
    violation: Violation,
}

struct Shrinker<F, P> {
    fails: F,
    on_progress: P,
    deadline: Option<Instant>,
    runs: u64,
}

impl<F, P> Shrinker<F, P>
where
    F: FnMut(&Scenario) -> Option<Violation>,
    P: FnMut(Progress),
{
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|at| Instant::now() >= at)
    }

    /// Takes a smaller scenario if it breaks the same promise.
    fn try_out(&mut self, best: &mut Best, smaller: Scenario) -> bool {
        if self.is_late() || smaller.check().is_err() {
            return false;
        }
        self.runs += 1;
        let violation = (self.fails)(&smaller);
        let same = violation.filter(|found| same_promise(&found.broken, &best.violation.broken));
        let taken = same.is_some();
        if let Some(violation) = same {
            *best = Best {
                scenario: smaller,
                violation,
            };
        }
        (self.on_progress)(Progress {
            runs: self.runs,
            size: Size::of(&best.scenario),
        });
        taken
    }

    fn go_around(&mut self, best: &mut Best) {
        self.fewer_faults(best);
        self.fewer_operations(best);
        self.fewer_places(best);
        self.fewer_roles(best);
        self.smaller_faults(best);
        for plainer in plainer::steps(&best.scenario) {
            let mut smaller = best.scenario.clone();
            if plainer(&mut smaller) {
                self.try_out(best, smaller);
            }
        }
    }

    fn fewer_faults(&mut self, best: &mut Best) {
        let all = best.scenario.plan.faults.clone();
        minimize(all, |faults| {
            let plan = FaultPlan {
                faults: faults.to_vec(),
            };
            let smaller = Scenario {
                plan,
                ..best.scenario.clone()
            };
            self.try_out(best, smaller)
        });
    }

    fn fewer_operations(&mut self, best: &mut Best) {
        let all = best.scenario.workload.operations.clone();
        minimize(all, |operations| {
            let workload = Workload {
                operations: operations.to_vec(),
                ..best.scenario.workload.clone()
            };
            let smaller = Scenario {
                workload,
                ..best.scenario.clone()
            };
            self.try_out(best, smaller)
        });
    }

    fn fewer_roles(&mut self, best: &mut Best) {
        let held = &best.scenario.workload.held;
        let all: Vec<(usize, u8)> = (0..)
            .zip(held)
            .flat_map(|(place, roles)| roles.iter().map(move |role| (place, *role)))
            .collect();
        minimize(all, |kept| {
            let mut smaller = best.scenario.clone();
            for (place, roles) in (0..).zip(&mut smaller.workload.held) {
                roles.retain(|role| kept.contains(&(place, *role)));
            }
            self.try_out(best, smaller)
        });
    }

    fn fewer_places(&mut self, best: &mut Best) {
        for place in 0..best.scenario.nodes {
            if best.scenario.is_used(place) {
                let smaller = without(&best.scenario, place);
                self.try_out(best, smaller);
            }
        }
        let smaller = plainer::closed_up(&best.scenario);
        if smaller.nodes < best.scenario.nodes {
            self.try_out(best, smaller);
        }
    }

    /// Takes parts of cuts and paths out of the faults that are left.
    fn smaller_faults(&mut self, best: &mut Best) {
        for number in 0..best.scenario.plan.faults.len() {
            if let Breakage::Cut { spans, .. } = best.scenario.plan.faults[number].what.clone() {
                minimize(spans, |kept| {
                    let mut smaller = best.scenario.clone();
                    if let Breakage::Cut { spans, .. } = &mut smaller.plan.faults[number].what {
                        *spans = kept.to_vec();
                    }
                    !kept.is_empty() && self.try_out(best, smaller)
                });
            }
            for list in 0..plainer::ways_of(&mut best.scenario.plan.faults[number]).len() {
                let lists = plainer::ways_of(&mut best.scenario.plan.faults[number]);
                let ways = lists[list].clone();
                minimize(ways, |kept| {
                    let mut smaller = best.scenario.clone();
                    *plainer::ways_of(&mut smaller.plan.faults[number])[list] = kept.to_vec();
                    !kept.is_empty() && self.try_out(best, smaller)
                });
            }
        }
    }
}

/// Whether two failures break the same promise, whatever the message and the node.
#[must_use]
pub fn same_promise(one: &Broken, other: &Broken) -> bool {
    discriminant(one) == discriminant(other)
}

/// The scenario with nobody at this place, and nothing that concerns it.
fn without(scenario: &Scenario, place: Slot) -> Scenario {
    let mut smaller = scenario.clone();
    smaller.starts_us[usize::from(place)] = None;
    smaller.workload.held[usize::from(place)].clear();
    smaller
        .workload
        .operations
        .retain(|operation| operation.node != place && !is_to(&operation.ask, place));
    for fault in &mut smaller.plan.faults {
        for ways in plainer::ways_of(fault) {
            ways.retain(|&(from, to)| from != place && to != place);
        }
    }
    smaller.plan.faults.retain(|fault| {
        let named = fault.node() == Some(place)
            || matches!(fault.what, Breakage::Reset { a, b } if a == place || b == place);
        !named
    });
    if let Some(core) = &mut smaller.core {
        core.retain(|member| *member != place);
    }
    smaller
}

fn is_to(ask: &Ask, place: Slot) -> bool {
    matches!(ask, Ask::Unicast { to, .. } if *to == place)
}
