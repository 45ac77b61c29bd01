//! Whether what several members are to hold is held by so many before anybody delivers it, and before its sender is told so.
//!
//! A member counts for what has come to its engine in the life that is meant, whether the engine kept it or not: what it keeps, only it could say.

use std::collections::BTreeMap;

use rolecast_protocol::{FlowId, Origin};

use super::super::lives::{LifeId, Lives, ProcessId};
use super::super::violation::Broken;
use super::{Flow, FlowName, Flows, Sent};

/// What came to each life of each flow that several are to hold: the first and last of each stretch, in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Whether there is such a flow at all.
    pub(crate) are_wanted: bool,
    stretches: BTreeMap<(LifeId, FlowName), Vec<(u64, u64)>>,
}

impl Arrivals {
    fn add(&mut self, to: LifeId, flow: FlowName, (first, last): (u64, u64)) {
        let stretches = self.stretches.entry((to, flow)).or_default();
        // What touches the new one becomes a part of it.
        let from = stretches.partition_point(|&(_, end)| end.saturating_add(1) < first);
        let upto = stretches.partition_point(|&(start, _)| start <= last.saturating_add(1));
        let touching = &stretches[from..upto.max(from)];
        let first = touching
            .first()
            .map_or(first, |&(start, _)| start.min(first));
        let last = touching.last().map_or(last, |&(_, end)| end.max(last));
        stretches.splice(from..upto.max(from), [(first, last)]);
    }

    fn has(&self, life: LifeId, flow: FlowName, (first, last): (u64, u64)) -> bool {
        let stretches = self.stretches.get(&(life, flow));
        stretches.is_some_and(|all| {
            all.iter()
                .any(|&(start, end)| start <= first && last <= end)
        })
    }
}

impl Flows {
    /// These messages came to the engine of a process.
    pub(crate) fn arrived(
        &mut self,
        lives: &Lives,
        process: ProcessId,
        (origin, flow): (Origin, FlowId),
        messages: (u64, u64),
    ) {
        let (Some(arrivals), Some(life)) = (&mut self.arrivals, lives.find(origin)) else {
            return;
        };
        let flow = (life, flow);
        if self.flows.get(&flow).is_some_and(Flow::is_to_be_held) {
            arrivals.add(lives.life_of(process), flow, messages);
        }
    }

    /// Whether so many members as are to hold these messages may do so.
    pub(super) fn check_held(
        &self,
        lives: &Lives,
        flow: FlowName,
        (first, last): (u64, u64),
    ) -> Result<(), Broken> {
        let (Some(arrivals), Some(of)) = (&self.arrivals, self.flows.get(&flow)) else {
            return Ok(());
        };
        if !of.is_to_be_held() {
            return Ok(());
        }
        let given_up = |seq: u64| {
            let mut ranges = of.unstable.iter();
            ranges.any(|&(first, upto)| (first..=upto).contains(&seq))
        };
        for sent in of.overlapping(first, last).filter(|s| !given_up(s.first)) {
            let part = (sent.first.max(first), sent.last().min(last));
            let holds = |life: LifeId| life == of.origin || arrivals.has(life, flow, part);
            let members = sent.members.iter();
            let held = members
                .filter(|&&seat| holds(lives.seat(seat).life))
                .count();
            if held < usize::from(of.mode.k_safe) {
                return Err(Broken::HeldByTooFew {
                    message: of.name(lives, part.1),
                    held,
                    k: of.mode.k_safe,
                });
            }
        }
        Ok(())
    }
}

impl Flow {
    pub(super) fn is_to_be_held(&self) -> bool {
        self.mode.k_safe > 1
    }
}

impl Sent {
    fn last(&self) -> u64 {
        self.first + self.messages.len() as u64 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_touch_become_one() {
        let (to, flow) = (LifeId(1), (LifeId(0), FlowId(3)));
        let mut arrivals = Arrivals::default();
        for stretch in [(5, 6), (1, 2), (9, 9), (3, 3), (6, 7)] {
            arrivals.add(to, flow, stretch);
        }
        assert_eq!(arrivals.stretches[&(to, flow)], [(1, 3), (5, 7), (9, 9)]);
        assert!(arrivals.has(to, flow, (2, 3)));
        assert!(!arrivals.has(to, flow, (3, 5)));
        arrivals.add(to, flow, (4, 8));
        assert_eq!(arrivals.stretches[&(to, flow)], [(1, 9)]);
        assert!(!arrivals.has(LifeId(2), flow, (1, 1)));
    }
}
