//! What a scenario has to be like before it is run: one that was read may have been written by anybody.

use std::collections::BTreeSet;

use super::{NetworkShape, Scenario};
use crate::plan::{Breakage, Fault, Harm, Manner, Paths, Slot, Span};
use crate::workload::{Ask, Operation, SITES};

/// Why a scenario cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scenario cannot be run: {0}")]
pub struct Impossible(String);

/// The most places for nodes.
pub const NODES_MAX: Slot = 5_000;
/// A day: nothing in a run is later or lasts longer.
const TIME_MAX_US: u64 = 86_400_000_000;
/// The largest payload.
const BYTES_MAX: u32 = 16 << 20;
/// Numbers of faults and of parts of cuts are combined into one number, from which dice follow.
const FAULT_IDS: u32 = 1 << 24;
const SPANS_MAX: usize = 256;

impl Scenario {
    /// Whether it can be run.
    ///
    /// # Errors
    /// The first thing in it that makes no sense.
    pub fn check(&self) -> Result<(), Impossible> {
        self.why_not().map_or(Ok(()), |why| Err(Impossible(why)))
    }

    fn why_not(&self) -> Option<String> {
        let nodes = self.nodes;
        if !(1..=NODES_MAX).contains(&nodes) {
            return Some(format!(
                "{nodes} nodes were asked for, and there are 1 to {NODES_MAX}"
            ));
        }
        let (starts, held) = (self.starts_us.len(), self.workload.held.len());
        if starts != usize::from(nodes) || held != usize::from(nodes) {
            return Some(format!(
                "there are {nodes} nodes, but {starts} starts and {held} lists of roles"
            ));
        }
        if let Some(late) = self
            .starts_us
            .iter()
            .flatten()
            .find(|at| **at > TIME_MAX_US)
        {
            return Some(format!("a node starts after {late} us, which is too late"));
        }
        if self.bound_us > TIME_MAX_US {
            return Some("the time in which the mesh is to come to rest is too long".to_string());
        }
        if let Some(core) = &self.core
            && (core.is_empty() || core.iter().any(|place| *place >= nodes))
        {
            return Some("the core is empty or has places outside the mesh".to_string());
        }
        if self.limits.flow_window_bytes == 0 || self.limits.link_bytes_max == 0 {
            return Some("nothing can be sent with windows of no bytes".to_string());
        }
        self.network
            .why_not()
            .or_else(|| self.workload_why_not())
            .or_else(|| self.plan_why_not())
    }

    fn workload_why_not(&self) -> Option<String> {
        let workload = &self.workload;
        let roles = workload.role_count();
        if workload.held.iter().flatten().any(|role| *role >= roles) {
            return Some(format!(
                "a node holds a role of which there are only {roles}"
            ));
        }
        let mut ids = BTreeSet::new();
        workload.operations.iter().find_map(|operation| {
            let id = operation.id;
            if !ids.insert(id) {
                return Some(format!("two operations have the number {id}"));
            }
            (!is_possible(operation, self.nodes, roles))
                .then(|| format!("operation {id} asks for what does not exist: {operation:?}"))
        })
    }

    fn plan_why_not(&self) -> Option<String> {
        let mut ids = BTreeSet::new();
        self.plan.faults.iter().find_map(|fault| {
            if !ids.insert(fault.id) || fault.id >= FAULT_IDS {
                return Some(format!(
                    "the number {} is no number of its own for a fault",
                    fault.id
                ));
            }
            if let Some(place) = fault.places().find(|place| *place >= self.nodes) {
                return Some(format!("a fault names place {place}, which does not exist"));
            }
            (!is_sane(fault)).then(|| format!("a fault makes no sense: {fault:?}"))
        })
    }
}

impl NetworkShape {
    fn why_not(&self) -> Option<String> {
        let times = [
            self.latency_us.0,
            self.latency_us.1,
            self.jitter_us,
            self.idle_us,
            self.keep_alive_us,
            self.dial_us,
            self.written_us,
            self.timer_us,
        ];
        let sane = self.latency_us.0 <= self.latency_us.1
            && self.timer_us > 0
            && self.keep_alive_us > 0
            && self.keep_alive_us < self.idle_us
            && times.iter().all(|time| *time <= TIME_MAX_US);
        (!sane).then(|| format!("the network makes no sense: {self:?}"))
    }
}

fn is_possible(operation: &Operation, nodes: Slot, roles: u8) -> bool {
    let known = operation.node < nodes && operation.at_us <= TIME_MAX_US;
    let fits = |role: u8, bytes: u32, within_us: u64| {
        role < roles && bytes <= BYTES_MAX && within_us <= TIME_MAX_US
    };
    known
        && match operation.ask {
            Ask::Multicast { role, bytes, .. } => fits(role, bytes, 0),
            Ask::Large {
                role,
                bytes,
                pause_us,
                ..
            } => fits(role, bytes, pause_us),
            Ask::Gather {
                role,
                bytes,
                within_us,
                ..
            }
            | Ask::Anycast {
                role,
                bytes,
                within_us,
                ..
            } => fits(role, bytes, within_us),
            Ask::Unicast {
                to,
                role,
                bytes,
                within_us,
                ..
            } => to < nodes && fits(role, bytes, within_us),
            Ask::Cancel => true,
            Ask::TakeUp { role } | Ask::Drop { role } => role < roles,
            Ask::Move { site } => site < SITES,
        }
}

fn is_sane(fault: &Fault) -> bool {
    let begins = fault.at_us <= TIME_MAX_US;
    let ends = fault
        .healed_at()
        .is_none_or(|at| at.as_micros() <= 2 * TIME_MAX_US);
    begins
        && ends
        && match &fault.what {
            Breakage::Cut { manner, spans, .. } => {
                let slow = !matches!(manner, Manner::Slow(us) if *us > TIME_MAX_US);
                slow && spans.len() <= SPANS_MAX && spans.iter().all(is_sane_span)
            }
            Breakage::Reset { a, b } => a != b,
            Breakage::Packets { paths, harm, .. } => lead_elsewhere(paths) && is_sane_harm(*harm),
            Breakage::Slow {
                paths,
                extra_us,
                jitter_us,
                ..
            } => lead_elsewhere(paths) && extra_us.max(jitter_us) <= &TIME_MAX_US,
            Breakage::Narrow { paths, .. } => lead_elsewhere(paths),
            Breakage::Jump { by_us, .. } => by_us.unsigned_abs() <= TIME_MAX_US,
            Breakage::Crash { .. }
            | Breakage::Leave { .. }
            | Breakage::Join { .. }
            | Breakage::Pause { .. }
            | Breakage::Drift { .. } => true,
        }
}

fn is_sane_span(span: &Span) -> bool {
    let elsewhere = span.ways.iter().all(|(from, to)| from != to);
    elsewhere && span.after_us <= TIME_MAX_US
}

fn lead_elsewhere(paths: &Paths) -> bool {
    paths.listed().iter().all(|(from, to)| from != to)
}

fn is_sane_harm(harm: Harm) -> bool {
    match harm {
        Harm::Loss { percent }
        | Harm::Duplicate { percent }
        | Harm::Corrupt { percent }
        | Harm::Truncate { percent } => percent <= 100,
        Harm::Reorder { percent, by_us } => percent <= 100 && by_us <= TIME_MAX_US,
        Harm::Burst {
            enter_permille,
            leave_permille,
            percent,
        } => enter_permille <= 1_000 && leave_permille <= 1_000 && percent <= 100,
        Harm::Mtu { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_seeds_draw_can_be_run_and_what_makes_no_sense_cannot() {
        for seed in 0..200 {
            assert_eq!(Scenario::draw(seed, None).check(), Ok(()));
        }
        let spoilt: [fn(&mut Scenario); 9] = [
            |scenario| scenario.nodes = 0,
            |scenario| scenario.nodes += 1,
            |scenario| scenario.starts_us[0] = Some(u64::MAX),
            |scenario| scenario.bound_us = u64::MAX,
            |scenario| scenario.core = Some(Vec::new()),
            |scenario| scenario.network.timer_us = 0,
            |scenario| scenario.workload.held[0] = vec![200],
            |scenario| scenario.workload.operations[0].node = 99,
            |scenario| scenario.plan.faults[0].id = u32::MAX,
        ];
        for spoil in spoilt {
            let mut scenario = Scenario::draw(3, Some(5));
            spoil(&mut scenario);
            let why = scenario.check().expect_err("it makes no sense").to_string();
            assert!(why.starts_with("the scenario cannot be run: "), "{why}");
        }
    }
}
