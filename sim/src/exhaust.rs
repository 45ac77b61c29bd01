//! Every partition of a small mesh, healed at several times, with a crash at several points.
//!
//! Seeds find what is rare; this leaves nothing out: every set of directed paths is cut while a few messages travel, and the sender dies at none or at any of a few moments.

mod links;

use rolecast_membership::Profile;
use rolecast_protocol::{Dissemination, Limits};

use crate::plan::{Breakage, CutShape, Fault, FaultPlan, Manner, Slot, Span, Way};
use crate::scenario::{Level, NetworkShape, Scenario};
use crate::workload::{Ask, Choice, Operation, Workload};

pub use links::LinkCuts;
pub(crate) use links::{FAMILY as LINKS_FAMILY, joins_all};

/// All scenarios of a mesh of this size.
#[derive(Clone, Copy, Debug)]
pub struct Exhaust {
    nodes: Slot,
}

/// How long a cut lasts: a blink, long enough to be suspected, and long enough to be taken for dead and for links to be given up.
const HEALS_US: [u64; 4] = [3_000, 300_000, 3_000_000, 12_000_000];
/// When the first sender dies, after it sends for the first time, if it does: with the message on its way to nobody, to some, and to all.
const CRASHES_US: [Option<u64>; 6] = [
    None,
    Some(0),
    Some(1_000),
    Some(1_900),
    Some(4_500),
    Some(400_000),
];
/// When the first message is sent.
const SENT_US: u64 = 4_000_000;

impl Exhaust {
    /// All scenarios of a mesh of 2 to 4 nodes; `None` for other sizes, which have too many.
    #[must_use]
    pub fn of(nodes: Slot) -> Option<Self> {
        (2..=4).contains(&nodes).then_some(Exhaust { nodes })
    }

    /// How many sets of directed paths there are.
    #[must_use]
    pub fn masks(self) -> usize {
        1 << self.ways().len()
    }

    /// At how many times cuts are healed.
    #[must_use]
    pub fn heals(self) -> usize {
        HEALS_US.len()
    }

    /// At how many points the sender dies, or does not.
    #[must_use]
    pub fn crashes(self) -> usize {
        CRASHES_US.len()
    }

    /// How many scenarios there are.
    #[must_use]
    pub fn count(self) -> usize {
        self.masks() * self.heals() * self.crashes()
    }

    /// One of them, from 0.
    #[must_use]
    pub fn scenario(self, index: usize) -> Scenario {
        let crash = index % self.crashes();
        let heal = index / self.crashes() % self.heals();
        let mask = index / self.crashes() / self.heals() % self.masks();
        let mut faults = Vec::new();
        let mut push = |at_us, what| {
            let id = u32::try_from(faults.len()).expect("two at most");
            faults.push(Fault { id, at_us, what });
        };
        let all = self.ways();
        let cut = (0..all.len()).filter(|bit| mask >> bit & 1 == 1);
        let ways: Vec<Way> = cut.map(|bit| all[bit]).collect();
        if !ways.is_empty() {
            let span = Span {
                after_us: 0,
                for_us: HEALS_US[heal],
                ways,
            };
            let what = Breakage::Cut {
                shape: CutShape::Partial,
                manner: Manner::Drop,
                spans: vec![span],
            };
            // The message is on its way when the paths are cut.
            push(SENT_US + 500, what);
        }
        if let Some(after_us) = CRASHES_US[crash] {
            let what = Breakage::Crash {
                node: 0,
                restart: None,
            };
            push(SENT_US + after_us, what);
        }
        self.with_plan(FaultPlan { faults })
    }

    fn ways(self) -> Vec<Way> {
        let pairs = (0..self.nodes).flat_map(|from| (0..self.nodes).map(move |to| (from, to)));
        pairs.filter(|(from, to)| from != to).collect()
    }

    fn with_plan(self, plan: FaultPlan) -> Scenario {
        Scenario {
            family: "exhaust".to_string(),
            level: Level::Engine,
            seed: 0,
            nodes: self.nodes,
            starts_us: vec![Some(0); usize::from(self.nodes)],
            profile: Profile::Local,
            limits: Limits::default(),
            network: NETWORK,
            plan,
            workload: self.workload(),
            core: None,
            bound_us: 60_000_000,
            canary: None,
        }
    }

    fn workload(self) -> Workload {
        let last = self.nodes - 1;
        let multicast = |dissemination: Dissemination| Ask::Multicast {
            role: 0,
            mode: dissemination.into(),
            count: 2,
            bytes: 64,
        };
        let request = Ask::Anycast {
            role: 0,
            choice: Choice::RoundRobin,
            request: true,
            bytes: 64,
            within_us: 5_000_000,
        };
        let asked = [
            (0, 0, multicast(Dissemination::Digest)),
            (600, 0, multicast(Dissemination::Eager)),
            (700, last, multicast(Dissemination::Digest)),
            (800, 1, multicast(Dissemination::BestEffort)),
            (900, last, request),
            (300_000, 1, multicast(Dissemination::Eager)),
        ];
        let operations = (0..)
            .zip(asked)
            .map(|(id, (after_us, node, ask))| Operation {
                id,
                at_us: SENT_US + after_us,
                node,
                ask,
            });
        Workload {
            roles: 1,
            held: vec![vec![0]; usize::from(self.nodes)],
            operations: operations.collect(),
            evict_after_us: Vec::new(),
            keep_last_keys: Vec::new(),
            replays: Vec::new(),
            sites: Vec::new(),
        }
    }
}

/// Every packet takes a millisecond or a little more, so that it is known what is where when something breaks.
const NETWORK: NetworkShape = NetworkShape {
    latency_us: (1_000, 1_400),
    jitter_us: 0,
    idle_us: 3_000_000,
    keep_alive_us: 1_000_000,
    dial_us: 2_000_000,
    written_us: 10,
    timer_us: 1,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_scenarios_differ_and_can_be_run() {
        let all = Exhaust::of(2).expect("two nodes are few");
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..all.count() {
            let scenario = all.scenario(index);
            assert_eq!(scenario.check(), Ok(()));
            seen.insert(serde_json::to_string(&scenario.plan).expect("plans are plain data"));
        }
        // Without a cut, all times of healing are the same.
        assert_eq!(seen.len(), all.count() - (all.heals() - 1) * all.crashes());
        assert_eq!(Exhaust::of(3).map(Exhaust::count), Some(64 * 4 * 6));
        assert!(Exhaust::of(1).is_none() && Exhaust::of(5).is_none());
    }
}
