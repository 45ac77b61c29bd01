//! What breaks, as data.
//!
//! A plan is drawn before the run, from a stream of its own, and every fault in it stands for itself: it says when it begins, how long it lasts and whom it hits.
//! So any fault can be taken out of a plan, and what is left is a plan.

use std::time::Duration;

use rolecast_membership::Time;
use serde::{Deserialize, Serialize};

use crate::random::{Purpose, Stream};

/// All faults of a run, in the order of their beginnings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// The faults.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When it begins, in microseconds of virtual time.
    pub at_us: u64,
    /// What happens.
    #[serde(flatten)]
    pub what: Breakage,
}

/// The place of a node in the mesh, from 0; whatever process runs there has this number.
pub type Slot = u16;

/// What happens at one fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Breakage {
    /// The process dies without a word; maybe another one takes its place.
    Crash {
        /// Where.
        node: Slot,
        /// What follows.
        restart: Option<Restart>,
    },
    /// The process leaves gracefully; maybe another one takes its place.
    Leave {
        /// Where.
        node: Slot,
        /// What follows.
        restart: Option<Restart>,
    },
    /// The process handles nothing for a while, and then everything at once.
    Pause {
        /// Where.
        node: Slot,
        /// For how long.
        for_us: u64,
    },
    /// Nothing gets through from the first to the second of each pair.
    Cut {
        /// Which shape the cut has.
        shape: CutShape,
        /// From whom to whom nothing gets through.
        pairs: Vec<(Slot, Slot)>,
        /// For how long.
        for_us: u64,
    },
    /// The link between two nodes breaks at once; both ends notice soon.
    Reset {
        /// One end.
        a: Slot,
        /// The other end.
        b: Slot,
    },
    /// So many percent of all datagrams are lost, and streams are held up as often.
    Loss {
        /// How many of a hundred.
        percent: u8,
        /// For how long.
        for_us: u64,
    },
    /// Everything from the first to the second node takes so much longer.
    Slow {
        /// From whom.
        from: Slot,
        /// To whom.
        to: Slot,
        /// How much longer, in microseconds.
        extra_us: u64,
        /// For how long.
        for_us: u64,
    },
}

/// The process that takes the place of one that died or left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// How long after the end, in microseconds.
    pub after_us: u64,
    /// Whether it has the same key (and a later epoch), or is a new node.
    pub same_key: bool,
    /// Whether it listens at the same address.
    pub same_addr: bool,
}

/// The shape of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutShape {
    /// The mesh falls into two parts.
    Complete,
    /// Two nodes cannot reach each other, but others reach both.
    Partial,
    /// Messages get through in one direction only.
    OneWay,
    /// One node cannot be reached by any other.
    Isolate,
}

/// The kinds of faults that a seed can draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// [`Breakage::Crash`] after which nobody takes the place.
    Crash,
    /// [`Breakage::Crash`] and a process with the same key.
    RestartSame,
    /// [`Breakage::Crash`] and a new node.
    RestartNew,
    /// [`Breakage::Leave`].
    Leave,
    /// [`Breakage::Pause`].
    Pause,
    /// [`CutShape::Complete`].
    CutComplete,
    /// [`CutShape::Partial`].
    CutPartial,
    /// [`CutShape::OneWay`].
    CutOneWay,
    /// [`CutShape::Isolate`].
    CutIsolate,
    /// [`Breakage::Reset`].
    Reset,
    /// [`Breakage::Loss`].
    Loss,
    /// [`Breakage::Slow`].
    Slow,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [FaultKind; 12] = [
        FaultKind::Crash,
        FaultKind::RestartSame,
        FaultKind::RestartNew,
        FaultKind::Leave,
        FaultKind::Pause,
        FaultKind::CutComplete,
        FaultKind::CutPartial,
        FaultKind::CutOneWay,
        FaultKind::CutIsolate,
        FaultKind::Reset,
        FaultKind::Loss,
        FaultKind::Slow,
    ];

    /// The name under which reports list it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Crash => "crash",
            FaultKind::RestartSame => "restart_same",
            FaultKind::RestartNew => "restart_new",
            FaultKind::Leave => "leave",
            FaultKind::Pause => "pause",
            FaultKind::CutComplete => "cut_complete",
            FaultKind::CutPartial => "cut_partial",
            FaultKind::CutOneWay => "cut_one_way",
            FaultKind::CutIsolate => "cut_isolate",
            FaultKind::Reset => "reset",
            FaultKind::Loss => "loss",
            FaultKind::Slow => "slow",
        }
    }
}

impl Fault {
    /// Of which kind it is.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match &self.what {
            Breakage::Crash { restart: None, .. } => FaultKind::Crash,
            Breakage::Crash {
                restart: Some(restart),
                ..
            } if restart.same_key => FaultKind::RestartSame,
            Breakage::Crash {
                restart: Some(_), ..
            } => FaultKind::RestartNew,
            Breakage::Leave { .. } => FaultKind::Leave,
            Breakage::Pause { .. } => FaultKind::Pause,
            Breakage::Cut {
                shape: CutShape::Complete,
                ..
            } => FaultKind::CutComplete,
            Breakage::Cut {
                shape: CutShape::Partial,
                ..
            } => FaultKind::CutPartial,
            Breakage::Cut {
                shape: CutShape::OneWay,
                ..
            } => FaultKind::CutOneWay,
            Breakage::Cut {
                shape: CutShape::Isolate,
                ..
            } => FaultKind::CutIsolate,
            Breakage::Reset { .. } => FaultKind::Reset,
            Breakage::Loss { .. } => FaultKind::Loss,
            Breakage::Slow { .. } => FaultKind::Slow,
        }
    }

    /// When everything that it broke works again.
    #[must_use]
    pub fn healed_at(&self) -> Time {
        let lasts_us = match &self.what {
            Breakage::Crash { restart, .. } | Breakage::Leave { restart, .. } => {
                restart.map_or(0, |restart| restart.after_us)
            }
            Breakage::Pause { for_us, .. }
            | Breakage::Cut { for_us, .. }
            | Breakage::Loss { for_us, .. }
            | Breakage::Slow { for_us, .. } => *for_us,
            Breakage::Reset { .. } => 0,
        };
        Time::from_micros(self.at_us.saturating_add(lasts_us))
    }
}

impl FaultPlan {
    /// Draws the plan of a seed for a mesh of `nodes`, with faults beginning within `from..from + window`.
    ///
    /// `busy` says when and where something is asked for: what breaks in the middle of it breaks more than what breaks at rest.
    #[must_use]
    pub fn draw(
        seed: u64,
        nodes: Slot,
        from: Time,
        window: Duration,
        busy: &[(u64, Slot)],
    ) -> Self {
        let mut draw = Draw {
            stream: Stream::new(seed, Purpose::Faults, 0),
            busy,
            nodes,
            from_us: from.as_micros(),
            window_us: u64::try_from(window.as_micros()).unwrap_or(u64::MAX),
            // At least one node lives from the start to the end, so that something is promised.
            mortal: nodes.saturating_sub(1),
        };
        let mut plan = draw.plan();
        plan.faults.sort_by_key(|fault| fault.at_us);
        plan
    }

    /// When everything that the plan breaks works again.
    #[must_use]
    pub fn healed_at(&self) -> Time {
        self.faults
            .iter()
            .map(Fault::healed_at)
            .max()
            .unwrap_or(Time::ZERO)
    }
}

struct Draw<'a> {
    stream: Stream,
    /// When and where something is asked for.
    busy: &'a [(u64, Slot)],
    nodes: Slot,
    from_us: u64,
    window_us: u64,
    mortal: Slot,
}

impl Draw<'_> {
    fn plan(&mut self) -> FaultPlan {
        let mut plan = FaultPlan::default();
        // One seed in sixteen runs without faults: promises hold in fair weather too.
        if self.nodes < 2 || self.stream.percent(6) {
            return plan;
        }
        let share = *self.stream.pick(&[15, 30, 60]);
        for kind in FaultKind::ALL {
            if self.stream.percent(share) {
                for _ in 0..self.stream.between(1, 3) {
                    let fault = self.fault(kind);
                    plan.faults.push(fault);
                }
            }
        }
        plan
    }

    /// Half of all faults begin while somebody sends, and hit the sender if they hit one node.
    fn fault(&mut self, kind: FaultKind) -> Fault {
        let busy = self.stream.percent(50) && !self.busy.is_empty();
        let (at_us, node) = if busy {
            let (at_us, node) = *self.stream.pick(self.busy);
            (at_us + self.stream.magnitude(1, 100_000), node)
        } else {
            let at_us = self.from_us + self.stream.between(0, self.window_us);
            (at_us, self.slot())
        };
        let what = self.breakage(kind, node);
        Fault { at_us, what }
    }

    fn breakage(&mut self, kind: FaultKind, node: Slot) -> Breakage {
        let mortal = node.min(self.mortal.saturating_sub(1));
        let crash = |restart| Breakage::Crash {
            node: mortal,
            restart,
        };
        match kind {
            FaultKind::Crash => crash(None),
            FaultKind::RestartSame => crash(Some(self.restart(true))),
            FaultKind::RestartNew => crash(Some(self.restart(false))),
            FaultKind::Leave => {
                let same_key = self.stream.percent(70);
                let restart = self.stream.percent(50).then(|| self.restart(same_key));
                Breakage::Leave {
                    node: mortal,
                    restart,
                }
            }
            FaultKind::Pause => Breakage::Pause {
                node,
                for_us: self.lasting_us(),
            },
            FaultKind::CutComplete => self.cut(CutShape::Complete),
            FaultKind::CutPartial => self.cut(CutShape::Partial),
            FaultKind::CutOneWay => self.cut(CutShape::OneWay),
            FaultKind::CutIsolate => self.cut(CutShape::Isolate),
            FaultKind::Reset => {
                let (a, b) = self.two();
                Breakage::Reset { a, b }
            }
            FaultKind::Loss => Breakage::Loss {
                percent: u8::try_from(self.stream.between(1, 40)).expect("below 256"),
                for_us: self.lasting_us(),
            },
            FaultKind::Slow => {
                let (from, to) = self.two();
                let extra_us = self.stream.magnitude(1_000, 1_000_000);
                Breakage::Slow {
                    from,
                    to,
                    extra_us,
                    for_us: self.lasting_us(),
                }
            }
        }
    }

    fn slot(&mut self) -> Slot {
        self.below(self.nodes)
    }

    fn below(&mut self, bound: Slot) -> Slot {
        let drawn = self.stream.index(usize::from(bound));
        Slot::try_from(drawn).expect("below a Slot")
    }

    fn two(&mut self) -> (Slot, Slot) {
        let a = self.slot();
        let b = (a + 1 + self.below(self.nodes - 1)) % self.nodes;
        (a, b)
    }

    /// From a blink, through what links survive, to what failure detection takes for death.
    fn lasting_us(&mut self) -> u64 {
        self.stream.magnitude(20_000, 20_000_000)
    }

    fn restart(&mut self, same_key: bool) -> Restart {
        let after_us = self.stream.magnitude(1_000, 8_000_000);
        Restart {
            after_us,
            same_key,
            same_addr: self.stream.percent(70),
        }
    }

    fn cut(&mut self, shape: CutShape) -> Breakage {
        let pairs = match shape {
            CutShape::Complete => self.pairs_of_two_parts(),
            CutShape::Partial => {
                let (a, b) = self.two();
                vec![(a, b), (b, a)]
            }
            CutShape::OneWay => vec![self.two()],
            CutShape::Isolate => {
                let lone = self.slot();
                both_ways(
                    (0..self.nodes)
                        .filter(|&other| other != lone)
                        .map(|other| (lone, other)),
                )
            }
        };
        Breakage::Cut {
            shape,
            pairs,
            for_us: self.lasting_us(),
        }
    }

    fn pairs_of_two_parts(&mut self) -> Vec<(Slot, Slot)> {
        let mut order: Vec<Slot> = (0..self.nodes).collect();
        self.stream.shuffle(&mut order);
        let size = usize::from(1 + self.below(self.nodes - 1));
        let (left, right) = order.split_at(size);
        both_ways(
            left.iter()
                .flat_map(|&a| right.iter().map(move |&b| (a, b))),
        )
    }
}

fn both_ways(pairs: impl Iterator<Item = (Slot, Slot)>) -> Vec<(Slot, Slot)> {
    pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(seed: u64, nodes: Slot) -> FaultPlan {
        let (from, window) = (Time::from_millis(2_000), Duration::from_secs(10));
        let busy = [(3_000_000, 0), (4_000_000, nodes - 1)];
        FaultPlan::draw(seed, nodes, from, window, &busy)
    }

    #[test]
    fn plans_survive_the_way_through_json() {
        for seed in 0..50 {
            let plan = draw(seed, 5);
            let text = serde_json::to_string(&plan).expect("plans are plain data");
            assert_eq!(
                serde_json::from_str::<FaultPlan>(&text).expect("as written"),
                plan
            );
        }
    }

    #[test]
    fn every_kind_is_drawn_and_no_fault_leaves_the_mesh() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..300 {
            for fault in draw(seed, 4).faults {
                seen.insert(fault.kind());
                if let Breakage::Cut { pairs, .. } = &fault.what {
                    assert!(!pairs.is_empty());
                    assert!(pairs.iter().all(|&(a, b)| a != b && a < 4 && b < 4));
                }
            }
        }
        assert_eq!(seen.len(), FaultKind::ALL.len());
    }

    #[test]
    fn small_meshes_have_plans_too() {
        for seed in 0..100 {
            assert!(draw(seed, 1).faults.is_empty());
            draw(seed, 2);
        }
    }
}
