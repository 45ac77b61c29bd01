//! Named families of scenarios.

use rolecast_protocol::Dissemination;

use crate::plan::{FaultKind, Recipe, Slot};
use crate::random::{Purpose, Stream};
use crate::workload::Style;

/// A family of scenarios: every seed draws another one of it.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about, in a sentence.
    pub about: &'static str,
    /// What may break.
    pub(super) recipe: Recipe,
    /// What is asked for.
    pub(super) style: Style,
    /// How multicasts spread: one of these.
    pub(super) spread: &'static [Dissemination],
    /// So many of a hundred multicasts wait until several members hold them.
    pub(super) safe_percent: u32,
    /// So many of a hundred multicasts are in the usual order.
    pub(super) usual_percent: u32,
    /// How many nodes there are: one of these.
    pub(super) nodes: &'static [Slot],
    /// How long faults begin and things are asked for, in seconds, at least and at most.
    pub(super) window_s: (u64, u64),
    /// So many of a hundred seeds end with a core that works while the rest stays broken for good.
    pub(super) core_percent: u32,
    /// How many of all seeds that name no family are of this one, of the sum over all families.
    weight: u32,
}

impl Family {
    /// The family with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| family.name == name)
    }

    /// The family that a seed draws when none is named.
    pub(super) fn of(seed: u64) -> &'static Family {
        let mut stream = Stream::new(seed, Purpose::Family, 0);
        let sum: u32 = FAMILIES.iter().map(|family| family.weight).sum();
        let mut drawn = stream.between(1, u64::from(sum));
        let family = FAMILIES.iter().find(|family| {
            let hit = drawn <= u64::from(family.weight);
            drawn = drawn.saturating_sub(u64::from(family.weight));
            hit
        });
        family.expect("the number drawn is at most the sum of the weights")
    }
}

const SMALL: &[Slot] = &[2, 3, 3, 4, 4, 5, 5, 5, 6, 7];

const SWARM: Recipe = Recipe {
    kinds: &FaultKind::ALL,
    shares: &[8, 15, 40],
    each: (1, 3),
    busy_percent: 50,
    busy_within_us: 100_000,
    calm_percent: 6,
};

/// What a focused family lets break, on top of which `kinds` are its own.
const FOCUSED: Recipe = Recipe {
    kinds: &[],
    shares: &[40, 70, 100],
    each: (1, 3),
    busy_percent: 50,
    busy_within_us: 100_000,
    calm_percent: 0,
};

const BASE: Family = Family {
    name: "",
    about: "",
    recipe: SWARM,
    style: Style::Mixed,
    spread: &[
        Dissemination::Digest,
        Dissemination::Digest,
        Dissemination::Digest,
        Dissemination::Eager,
        Dissemination::BestEffort,
        Dissemination::Gossip { fanout: 1 },
        Dissemination::Gossip { fanout: 2 },
    ],
    safe_percent: 25,
    usual_percent: 60,
    nodes: SMALL,
    window_s: (2, 12),
    core_percent: 0,
    weight: 2,
};

/// All families, those that a seed draws most often first.
pub const FAMILIES: [Family; 17] = [
    Family {
        name: "swarm",
        about: "Any traffic, any faults: each seed draws which kinds are on.",
        core_percent: 10,
        weight: 60,
        ..BASE
    },
    Family {
        name: "calm",
        about: "Nothing breaks: every promise holds in fair weather too.",
        recipe: Recipe::NONE,
        ..BASE
    },
    Family {
        name: "partitions",
        about: "Cuts of every shape, which lose, jam or slow what is sent.",
        recipe: Recipe {
            kinds: &[
                FaultKind::CutComplete,
                FaultKind::CutPartial,
                FaultKind::CutOneWay,
                FaultKind::CutIsolate,
                FaultKind::CutRing,
                FaultKind::CutSwizzle,
                FaultKind::Jam,
                FaultKind::Crawl,
            ],
            ..FOCUSED
        },
        weight: 6,
        ..BASE
    },
    Family {
        name: "flapping",
        about: "Paths and links that fail and come back, over and over.",
        recipe: Recipe {
            kinds: &[
                FaultKind::CutFlapping,
                FaultKind::CutFlapping,
                FaultKind::Reset,
            ],
            each: (1, 4),
            ..FOCUSED
        },
        weight: 4,
        ..BASE
    },
    Family {
        name: "churn",
        about: "Nodes crash, restart, leave and join while roles move.",
        recipe: Recipe {
            kinds: &[
                FaultKind::Crash,
                FaultKind::RestartSame,
                FaultKind::RestartNew,
                FaultKind::Leave,
                FaultKind::Join,
            ],
            ..FOCUSED
        },
        style: Style::Moving,
        weight: 6,
        ..BASE
    },
    Family {
        name: "crash-mid-multicast",
        about: "Senders die within five milliseconds of a multicast, on lossy paths.",
        recipe: Recipe {
            kinds: &[
                FaultKind::Crash,
                FaultKind::RestartSame,
                FaultKind::RestartNew,
                FaultKind::CutPartial,
                FaultKind::Loss,
                FaultKind::Reset,
            ],
            busy_percent: 100,
            busy_within_us: 5_000,
            ..FOCUSED
        },
        style: Style::Multicasts,
        weight: 6,
        ..BASE
    },
    Family {
        name: "eager",
        about: "As crash-mid-multicast, with multicasts that every receiver passes on, and some that nobody does.",
        recipe: Recipe {
            kinds: &[
                FaultKind::Crash,
                FaultKind::RestartSame,
                FaultKind::CutPartial,
                FaultKind::Narrow,
                FaultKind::Loss,
                FaultKind::Reset,
            ],
            busy_percent: 100,
            busy_within_us: 5_000,
            ..FOCUSED
        },
        style: Style::Multicasts,
        spread: &[
            Dissemination::Eager,
            Dissemination::Eager,
            Dissemination::BestEffort,
        ],
        weight: 0,
        ..BASE
    },
    Family {
        name: "safe",
        about: "As crash-mid-multicast, with multicasts that several members are to hold, and receivers that die too.",
        recipe: Recipe {
            kinds: &[
                FaultKind::Crash,
                FaultKind::RestartSame,
                FaultKind::Leave,
                FaultKind::CutPartial,
                FaultKind::CutIsolate,
                FaultKind::Loss,
                FaultKind::Slow,
            ],
            each: (1, 2),
            busy_percent: 100,
            busy_within_us: 20_000,
            ..FOCUSED
        },
        style: Style::Multicasts,
        spread: &[
            Dissemination::Digest,
            Dissemination::Eager,
            Dissemination::Gossip { fanout: 2 },
        ],
        safe_percent: 85,
        nodes: &[3, 4, 4, 5, 5, 6],
        weight: 6,
        ..BASE
    },
    Family {
        name: "causal",
        about: "Multicasts in causal order, on slow and broken paths.",
        recipe: Recipe {
            kinds: &[
                FaultKind::Crash,
                FaultKind::RestartSame,
                FaultKind::Join,
                FaultKind::CutPartial,
                FaultKind::CutOneWay,
                FaultKind::Slow,
                FaultKind::Crawl,
            ],
            each: (1, 2),
            busy_percent: 100,
            busy_within_us: 20_000,
            ..FOCUSED
        },
        style: Style::Multicasts,
        spread: &[Dissemination::Digest, Dissemination::Eager],
        safe_percent: 15,
        usual_percent: 5,
        nodes: &[3, 4, 4, 5, 5, 6],
        weight: 6,
        ..BASE
    },
    Family {
        name: "packets",
        about: "Packets are lost alone and in bursts, doubled, reordered and late; at the level of whole nodes also corrupted and cut short.",
        recipe: Recipe {
            kinds: &[
                FaultKind::Loss,
                FaultKind::Burst,
                FaultKind::Duplicate,
                FaultKind::Reorder,
                FaultKind::Corrupt,
                FaultKind::Truncate,
                FaultKind::Mtu,
                FaultKind::Slow,
            ],
            ..FOCUSED
        },
        weight: 4,
        ..BASE
    },
    Family {
        name: "clocks",
        about: "Clocks drift and jump, and processes stand still.",
        recipe: Recipe {
            kinds: &[
                FaultKind::Drift,
                FaultKind::Jump,
                FaultKind::Pause,
                FaultKind::RestartSame,
            ],
            ..FOCUSED
        },
        weight: 4,
        ..BASE
    },
    Family {
        name: "flood",
        about: "Much more is asked for than narrow paths carry.",
        recipe: Recipe {
            kinds: &[FaultKind::Narrow, FaultKind::Slow, FaultKind::Pause],
            each: (1, 2),
            ..FOCUSED
        },
        style: Style::Flood,
        weight: 3,
        ..BASE
    },
    Family {
        name: "core",
        about: "A core stays connected while everybody else is broken for good.",
        recipe: Recipe {
            shares: &[8, 15],
            ..SWARM
        },
        nodes: &[3, 4, 5, 5, 6, 7],
        core_percent: 100,
        weight: 5,
        ..BASE
    },
    Family {
        name: "large",
        about: "Fifty nodes and everything that can break.",
        recipe: Recipe {
            each: (1, 6),
            shares: &[15, 40],
            ..SWARM
        },
        nodes: &[50],
        weight: 0,
        ..BASE
    },
    Family {
        name: "idle",
        about: "Fifty nodes of which nothing is asked and where nothing breaks.",
        recipe: Recipe::NONE,
        style: Style::Idle,
        nodes: &[50],
        window_s: (60, 60),
        weight: 0,
        ..BASE
    },
    Family {
        name: "thousand",
        about: "A thousand nodes that find each other and keep an eye on each other for ten seconds.",
        recipe: Recipe::NONE,
        style: Style::Idle,
        nodes: &[1_000],
        window_s: (10, 10),
        weight: 0,
        ..BASE
    },
    Family {
        name: "load",
        about: "Fifty nodes that send all the time, where nothing breaks.",
        recipe: Recipe::NONE,
        style: Style::Multicasts,
        nodes: &[50],
        weight: 0,
        ..BASE
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sentences_end() {
        for family in &FAMILIES {
            let same = FAMILIES.iter().filter(|other| other.name == family.name);
            assert_eq!(same.count(), 1);
            assert!(family.about.ends_with('.'));
            assert_eq!(
                Family::named(family.name).map(|f| f.name),
                Some(family.name)
            );
        }
        assert!(Family::named("storm").is_none());
    }

    #[test]
    fn seeds_draw_every_family_that_has_a_weight() {
        let drawn: std::collections::BTreeSet<_> =
            (0..1_000).map(|seed| Family::of(seed).name).collect();
        let weighed = FAMILIES.iter().filter(|family| family.weight > 0);
        assert_eq!(drawn.len(), weighed.count());
    }
}
