//! How a seed draws its plan.

use std::time::Duration;

use rolecast_membership::Time;

use super::{
    Breakage, CutShape, FOREVER_US, Fault, FaultKind, FaultPlan, Harm, Manner, Paths, Restart,
    Slot, Span, Way,
};
use crate::random::{Purpose, Stream};

/// When and where something is asked for: what breaks in the middle of it breaks more than what breaks at rest.
pub type Busy = (u64, Slot);

/// What a scenario lets break.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The kinds that may be on.
    pub kinds: &'static [FaultKind],
    /// One of these many of a hundred kinds are on; each seed draws which (swarm testing; Groce and others, ISSTA 2012).
    pub shares: &'static [u32],
    /// How many faults there are of each kind that is on, at least and at most.
    pub each: (u64, u64),
    /// So many of a hundred faults begin just after somebody sent something, and hit the sender.
    pub busy_percent: u32,
    /// How long after it at most.
    pub busy_within_us: u64,
    /// So many of a hundred seeds have no faults.
    pub calm_percent: u32,
}

impl FaultPlan {
    /// Draws the plan of a seed for a mesh of `nodes`, with faults beginning within `from..from + window`.
    #[must_use]
    pub fn draw(
        seed: u64,
        nodes: Slot,
        recipe: &Recipe,
        (from, window): (Time, Duration),
        busy: &[Busy],
    ) -> Self {
        let mut draw = Draw {
            stream: Stream::new(seed, Purpose::Faults, 0),
            recipe,
            busy,
            nodes,
            from_us: from.as_micros(),
            window_us: u64::try_from(window.as_micros()).unwrap_or(u64::MAX),
            // At least one node lives from the start to the end, so that something is promised.
            mortal: nodes.saturating_sub(1),
            plan: FaultPlan::default(),
        };
        draw.all();
        draw.plan.in_order()
    }

    /// Adds what stays broken for good: from `at` on, everybody outside the core is gone or half out of reach.
    #[must_use]
    pub fn with_outsiders(mut self, seed: u64, nodes: Slot, core: &[Slot], at: Time) -> Self {
        let mut draw = Draw {
            stream: Stream::new(seed, Purpose::Faults, 1),
            recipe: &Recipe::NONE,
            busy: &[],
            nodes,
            from_us: at.as_micros(),
            window_us: 0,
            mortal: nodes.saturating_sub(1),
            plan: std::mem::take(&mut self),
        };
        for outsider in (0..nodes).filter(|slot| !core.contains(slot)) {
            let what = draw.outside(outsider, core);
            draw.push(at.as_micros(), what);
        }
        draw.plan.in_order()
    }

    fn in_order(mut self) -> Self {
        self.faults.sort_by_key(|fault| fault.at_us);
        self
    }
}

impl Recipe {
    /// Nothing breaks.
    pub const NONE: Recipe = Recipe {
        kinds: &[],
        shares: &[0],
        each: (0, 0),
        busy_percent: 0,
        busy_within_us: 1,
        calm_percent: 100,
    };
}

struct Draw<'a> {
    stream: Stream,
    recipe: &'a Recipe,
    busy: &'a [Busy],
    nodes: Slot,
    from_us: u64,
    window_us: u64,
    mortal: Slot,
    plan: FaultPlan,
}

impl Draw<'_> {
    fn all(&mut self) {
        if self.nodes < 2 || self.stream.percent(self.recipe.calm_percent) {
            return;
        }
        let share = *self.stream.pick(self.recipe.shares);
        for &kind in self.recipe.kinds {
            if self.stream.percent(share) {
                let (least, most) = self.recipe.each;
                for _ in 0..self.stream.between(least, most) {
                    self.fault(kind);
                }
            }
        }
    }

    fn fault(&mut self, kind: FaultKind) {
        let busy = self.stream.percent(self.recipe.busy_percent) && !self.busy.is_empty();
        let (at_us, node) = if busy {
            let (at_us, node) = *self.stream.pick(self.busy);
            let after_us = self.stream.magnitude(1, self.recipe.busy_within_us);
            (at_us + after_us, node)
        } else {
            let at_us = self.from_us + self.stream.between(0, self.window_us);
            (at_us, self.slot())
        };
        if let Some(what) = self.breakage(kind, node) {
            self.push(at_us, what);
        }
    }

    fn push(&mut self, at_us: u64, what: Breakage) {
        let id = u32::try_from(self.plan.faults.len()).expect("fewer faults than 2^32");
        self.plan.faults.push(Fault { id, at_us, what });
    }

    /// A fault of this kind; none if so small a mesh cannot have one.
    fn breakage(&mut self, kind: FaultKind, node: Slot) -> Option<Breakage> {
        let mortal = node.min(self.mortal.saturating_sub(1));
        let crash = |restart| Breakage::Crash {
            node: mortal,
            restart,
        };
        Some(match kind {
            FaultKind::Crash => crash(None),
            FaultKind::RestartSame => crash(Some(self.restart(true))),
            FaultKind::RestartNew => crash(Some(self.restart(false))),
            FaultKind::Leave => self.leave(mortal),
            FaultKind::Join => Breakage::Join { node: mortal },
            FaultKind::Pause => Breakage::Pause {
                node,
                for_us: self.lasting_us(),
            },
            FaultKind::Drift => self.drift(node),
            FaultKind::Jump => self.jump(node),
            FaultKind::CutComplete => self.cut(CutShape::Complete, Manner::Drop)?,
            FaultKind::CutPartial => self.cut(CutShape::Partial, Manner::Drop)?,
            FaultKind::CutOneWay => self.cut(CutShape::OneWay, Manner::Drop)?,
            FaultKind::CutIsolate => self.cut(CutShape::Isolate, Manner::Drop)?,
            FaultKind::CutFlapping => self.cut(CutShape::Flapping, Manner::Drop)?,
            FaultKind::CutRing => self.cut(CutShape::Ring, Manner::Drop)?,
            FaultKind::CutSwizzle => self.cut(CutShape::Swizzle, Manner::Drop)?,
            FaultKind::Jam => {
                let shape = self.shape();
                self.cut(shape, Manner::Jam)?
            }
            FaultKind::Crawl => {
                let (shape, us) = (self.shape(), self.stream.magnitude(500_000, 5_000_000));
                self.cut(shape, Manner::Slow(us))?
            }
            FaultKind::Reset => {
                let (a, b) = self.two();
                Breakage::Reset { a, b }
            }
            FaultKind::Loss
            | FaultKind::Burst
            | FaultKind::Duplicate
            | FaultKind::Reorder
            | FaultKind::Corrupt
            | FaultKind::Truncate
            | FaultKind::Mtu => Breakage::Packets {
                harm: self.harm(kind),
                paths: self.paths(),
                for_us: self.lasting_us(),
            },
            FaultKind::Slow => Breakage::Slow {
                paths: self.paths(),
                extra_us: self.stream.magnitude(1_000, 1_000_000),
                jitter_us: self.stream.magnitude(1, 500_000),
                for_us: self.lasting_us(),
            },
            FaultKind::Narrow => Breakage::Narrow {
                paths: self.paths(),
                bytes_per_s: self.stream.magnitude(2_000, 2_000_000),
                queue_bytes: self.stream.magnitude(2_000, 256_000),
                for_us: self.lasting_us(),
            },
        })
    }

    fn leave(&mut self, node: Slot) -> Breakage {
        let same_key = self.stream.percent(70);
        let restart = self.stream.percent(50).then(|| self.restart(same_key));
        Breakage::Leave { node, restart }
    }

    fn drift(&mut self, node: Slot) -> Breakage {
        let size = self.stream.magnitude(100, 200_000);
        let size = i32::try_from(size).expect("far below 2^31");
        Breakage::Drift {
            node,
            ppm: if self.stream.percent(50) { size } else { -size },
            for_us: self.lasting_us(),
        }
    }

    fn jump(&mut self, node: Slot) -> Breakage {
        let by_us = if self.stream.percent(60) {
            signed(self.stream.magnitude(1_000, 20_000_000))
        } else {
            -signed(self.stream.magnitude(1_000_000, 3_600_000_000))
        };
        Breakage::Jump { node, by_us }
    }

    fn harm(&mut self, kind: FaultKind) -> Harm {
        match kind {
            FaultKind::Loss => Harm::Loss {
                percent: self.percent(40),
            },
            FaultKind::Burst => Harm::Burst {
                enter_permille: self.permille(5, 100),
                leave_permille: self.permille(20, 500),
                percent: self.percent(100).max(50),
            },
            FaultKind::Duplicate => Harm::Duplicate {
                percent: self.percent(50),
            },
            FaultKind::Reorder => Harm::Reorder {
                percent: self.percent(50),
                by_us: self.stream.magnitude(100, 500_000),
            },
            FaultKind::Corrupt => Harm::Corrupt {
                percent: self.percent(20),
            },
            FaultKind::Truncate => Harm::Truncate {
                percent: self.percent(20),
            },
            // No QUIC path carries less than 1,200 bytes, so what is cut off is what path discovery had found.
            _ => Harm::Mtu {
                bytes: self.permille(1_200, 1_400),
            },
        }
    }

    fn percent(&mut self, most: u64) -> u8 {
        u8::try_from(self.stream.between(1, most)).expect("at most a hundred")
    }

    fn permille(&mut self, least: u64, most: u64) -> u16 {
        u16::try_from(self.stream.between(least, most)).expect("below 2^16")
    }

    /// All paths, those of one node, or a single one.
    fn paths(&mut self) -> Paths {
        match self.stream.between(0, 2) {
            0 => Paths::All,
            1 => {
                let lone = self.slot();
                Paths::Of(both_ways(self.others(lone)))
            }
            _ => Paths::Of(vec![self.two()]),
        }
    }

    fn slot(&mut self) -> Slot {
        self.below(self.nodes)
    }

    fn below(&mut self, bound: Slot) -> Slot {
        let drawn = self.stream.index(usize::from(bound));
        Slot::try_from(drawn).expect("below a Slot")
    }

    fn two(&mut self) -> Way {
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

    fn shape(&mut self) -> CutShape {
        *self.stream.pick(&[
            CutShape::Complete,
            CutShape::Partial,
            CutShape::OneWay,
            CutShape::Isolate,
            CutShape::Flapping,
        ])
    }

    fn cut(&mut self, shape: CutShape, manner: Manner) -> Option<Breakage> {
        let spans = match shape {
            CutShape::Complete => vec![self.span_of(Self::two_parts)],
            CutShape::Partial => vec![self.span_of(|draw| both_ways([draw.two()]))],
            CutShape::OneWay => vec![self.span_of(|draw| vec![draw.two()])],
            CutShape::Isolate => vec![self.span_of(|draw| {
                let lone = draw.slot();
                both_ways(draw.others(lone))
            })],
            CutShape::Flapping => self.flaps(),
            CutShape::Ring if self.nodes < 4 => return None,
            CutShape::Ring => vec![self.span_of(Self::all_but_a_ring)],
            CutShape::Swizzle => self.swizzle(),
        };
        Some(Breakage::Cut {
            shape,
            manner,
            spans,
        })
    }

    fn span_of(&mut self, ways: impl FnOnce(&mut Self) -> Vec<Way>) -> Span {
        Span {
            after_us: 0,
            for_us: self.lasting_us(),
            ways: ways(self),
        }
    }

    fn flaps(&mut self) -> Vec<Span> {
        let ways = match self.stream.between(0, 2) {
            0 => self.two_parts(),
            1 => both_ways([self.two()]),
            _ => vec![self.two()],
        };
        let (down_us, up_us) = (
            self.stream.magnitude(10_000, 3_000_000),
            self.stream.magnitude(10_000, 3_000_000),
        );
        (0..self.stream.between(2, 8))
            .map(|number| Span {
                after_us: number * (down_us + up_us),
                for_us: down_us,
                ways: ways.clone(),
            })
            .collect()
    }

    fn swizzle(&mut self) -> Vec<Span> {
        let mut order: Vec<Slot> = (0..self.nodes).collect();
        self.stream.shuffle(&mut order);
        order.truncate(usize::from(1 + self.below(self.nodes)));
        let mut back: Vec<u64> = (1..=order.len() as u64).collect();
        self.stream.shuffle(&mut back);
        let (step_us, rest_us) = (self.stream.magnitude(10_000, 2_000_000), self.lasting_us());
        let all_cut_us = step_us * order.len() as u64;
        (0..)
            .zip(order.into_iter().zip(back))
            .map(|(number, (lone, turn))| {
                let after_us = number * step_us;
                Span {
                    after_us,
                    for_us: all_cut_us + rest_us + turn * step_us - after_us,
                    ways: both_ways(self.others(lone)),
                }
            })
            .collect()
    }

    fn others(&self, lone: Slot) -> impl Iterator<Item = Way> + use<> {
        (0..self.nodes)
            .filter(move |&other| other != lone)
            .map(move |other| (lone, other))
    }

    fn two_parts(&mut self) -> Vec<Way> {
        let mut order: Vec<Slot> = (0..self.nodes).collect();
        self.stream.shuffle(&mut order);
        let size = usize::from(1 + self.below(self.nodes - 1));
        let (left, right) = order.split_at(size);
        both_ways(
            left.iter()
                .flat_map(|&a| right.iter().map(move |&b| (a, b))),
        )
    }

    fn all_but_a_ring(&mut self) -> Vec<Way> {
        let mut ring: Vec<Slot> = (0..self.nodes).collect();
        self.stream.shuffle(&mut ring);
        let last = ring.len() - 1;
        let apart = |i: usize, j: usize| j - i > 1 && !(i == 0 && j == last);
        let pairs = (0..ring.len()).flat_map(|i| (i + 1..ring.len()).map(move |j| (i, j)));
        both_ways(
            pairs
                .filter(|&(i, j)| apart(i, j))
                .map(|(i, j)| (ring[i], ring[j])),
        )
    }

    /// How one node outside the core is broken for good.
    fn outside(&mut self, outsider: Slot, core: &[Slot]) -> Breakage {
        let for_good = |ways| Span {
            after_us: 0,
            for_us: FOREVER_US,
            ways,
        };
        let cut = |shape, ways| Breakage::Cut {
            shape,
            manner: Manner::Drop,
            spans: vec![for_good(ways)],
        };
        let near = *self.stream.pick(core);
        match self.stream.between(0, 9) {
            0..=2 => Breakage::Crash {
                node: outsider,
                restart: None,
            },
            3 | 4 => Breakage::Pause {
                node: outsider,
                for_us: FOREVER_US,
            },
            5..=7 => cut(CutShape::Isolate, both_ways(self.others(outsider))),
            8 => cut(CutShape::Partial, both_ways([(outsider, near)])),
            _ => cut(CutShape::OneWay, vec![(outsider, near)]),
        }
    }
}

fn both_ways(pairs: impl IntoIterator<Item = Way>) -> Vec<Way> {
    pairs
        .into_iter()
        .flat_map(|(a, b)| [(a, b), (b, a)])
        .collect()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("drawn far below 2^63")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Recipe = Recipe {
        kinds: &FaultKind::ALL,
        shares: &[15, 30],
        each: (1, 2),
        busy_percent: 50,
        busy_within_us: 100_000,
        calm_percent: 6,
    };

    fn draw(seed: u64, nodes: Slot) -> FaultPlan {
        let when = (Time::from_millis(2_000), Duration::from_secs(10));
        let busy = [(3_000_000, 0), (4_000_000, nodes - 1)];
        FaultPlan::draw(seed, nodes, &ALL, when, &busy)
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
            let plan = draw(seed, 4);
            for (number, fault) in (0..).zip(&plan.faults) {
                let (kind, manner) = fault.kinds();
                seen.extend([kind].into_iter().chain(manner));
                assert!(fault.places().all(|place| place < 4), "{fault:?}");
                assert!(fault.healed_at().is_some());
                let same = |other: &Fault| other.id == fault.id;
                assert_eq!(plan.faults.iter().position(same), Some(number));
            }
        }
        assert_eq!(seen.len(), FaultKind::ALL.len());
    }

    #[test]
    fn cuts_cut_something_and_nobody_from_himself() {
        for seed in 0..300 {
            for fault in draw(seed, 5).faults {
                if let Breakage::Cut { spans, .. } = &fault.what {
                    assert!(!spans.is_empty());
                    for span in spans {
                        assert!(!span.ways.is_empty());
                        assert!(span.ways.iter().all(|&(a, b)| a != b));
                    }
                }
            }
        }
    }

    #[test]
    fn small_meshes_have_plans_too() {
        for seed in 0..100 {
            assert!(draw(seed, 1).faults.is_empty());
            draw(seed, 2);
        }
    }

    #[test]
    fn whoever_is_outside_the_core_stays_broken() {
        for seed in 0..50 {
            let (core, at) = ([1, 3, 4], Time::from_millis(9_000));
            let plan = draw(seed, 5).with_outsiders(seed, 5, &core, at);
            for outsider in [0, 2] {
                let hit = |fault: &Fault| {
                    let ends = matches!(fault.what, Breakage::Crash { restart: None, .. });
                    let here = fault.places().any(|place| place == outsider);
                    here && (ends || fault.healed_at().is_none())
                };
                assert!(plan.faults.iter().any(hit), "seed {seed}");
            }
        }
    }
}
