//! What breaks, as data.
//!
//! A plan is drawn before the run, from a stream of its own, and every fault in it stands for itself: it says when it begins, how long it lasts and whom it hits, and its dice are its own.
//! So any fault can be taken out of a plan, and what is left is a plan that does the same as before without it.

mod draw;
mod kind;

use rolecast_membership::Time;
use serde::{Deserialize, Serialize};

pub use draw::{Busy, Recipe};
pub use kind::FaultKind;

/// All faults of a run, in the order of their beginnings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// The faults.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its number, from which its dice follow; no other fault of the plan has it.
    pub id: u32,
    /// When it begins, in microseconds of virtual time.
    pub at_us: u64,
    /// What happens.
    #[serde(flatten)]
    pub what: Breakage,
}

/// The place of a node in the mesh, from 0; whatever process runs there has this number.
pub type Slot = u16;

/// A directed path: from the first place to the second.
pub type Way = (Slot, Slot);

/// A duration that does not end: what it breaks stays broken for good.
pub const FOREVER_US: u64 = u64::MAX;

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
    /// The first process at this place starts only at this moment.
    Join {
        /// Where.
        node: Slot,
    },
    /// The process handles nothing for a while, and then everything at once.
    Pause {
        /// Where.
        node: Slot,
        /// For how long.
        for_us: u64,
    },
    /// The node's clock runs too fast or too slow.
    Drift {
        /// Where.
        node: Slot,
        /// By how many microseconds a second; negative for a slow clock.
        ppm: i32,
        /// For how long.
        for_us: u64,
    },
    /// The node's clock jumps.
    ///
    /// The clock by which deadlines are kept never goes back, so a jump back shows only in the epoch of later processes at this place.
    Jump {
        /// Where.
        node: Slot,
        /// By how much.
        by_us: i64,
    },
    /// Nothing gets through on some paths, or hardly anything.
    Cut {
        /// Which shape it has.
        shape: CutShape,
        /// What becomes of what is sent meanwhile.
        manner: Manner,
        /// What is cut, and when.
        spans: Vec<Span>,
    },
    /// The link between two nodes breaks at once; both ends notice soon.
    Reset {
        /// One end.
        a: Slot,
        /// The other end.
        b: Slot,
    },
    /// Packets come to harm.
    Packets {
        /// Where.
        paths: Paths,
        /// How.
        harm: Harm,
        /// For how long.
        for_us: u64,
    },
    /// Packets take longer.
    Slow {
        /// Where.
        paths: Paths,
        /// By how much every packet is later, in microseconds.
        extra_us: u64,
        /// By how much more a packet may be later, drawn for each.
        jitter_us: u64,
        /// For how long.
        for_us: u64,
    },
    /// Each path carries only so much; what is more waits in a queue, and what finds that full is lost.
    Narrow {
        /// Where.
        paths: Paths,
        /// How much a path carries.
        bytes_per_s: u64,
        /// How much waits.
        queue_bytes: u64,
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
    /// Two parts lose each other and find each other again, several times.
    Flapping,
    /// Each node reaches only its two neighbours on a ring.
    Ring,
    /// Nodes are cut off one by one, and come back in another order.
    Swizzle,
}

/// What becomes of what is sent over a path that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// It is lost.
    Drop,
    /// It is held, and all comes at once when the cut is mended.
    Jam,
    /// It comes so many microseconds later.
    Slow(u64),
}

/// A part of a cut: some paths for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// How long after the fault's beginning.
    pub after_us: u64,
    /// For how long.
    pub for_us: u64,
    /// From whom to whom nothing gets through.
    pub ways: Vec<Way>,
}

/// The paths on which a fault acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paths {
    /// All.
    All,
    /// These.
    Of(Vec<Way>),
}

/// How packets come to harm.
///
/// A stream is repaired by those who carry it, so at the level of engines harm to its packets only holds it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Harm {
    /// So many of a hundred are lost, each for itself.
    Loss {
        /// How many of a hundred.
        percent: u8,
    },
    /// They are lost in bursts, as Gilbert (1960) and Elliott (1963) describe it: a path is good or bad, and moves between the two with each packet.
    Burst {
        /// With so many of a thousand packets a good path turns bad.
        enter_permille: u16,
        /// With so many of a thousand packets a bad path turns good.
        leave_permille: u16,
        /// So many of a hundred are lost while the path is bad.
        percent: u8,
    },
    /// So many of a hundred arrive twice.
    Duplicate {
        /// How many of a hundred.
        percent: u8,
    },
    /// So many of a hundred arrive later than others that were sent after them.
    Reorder {
        /// How many of a hundred.
        percent: u8,
        /// By how much at most.
        by_us: u64,
    },
    /// So many of a hundred arrive with other bytes than were sent (level `quic` only).
    Corrupt {
        /// How many of a hundred.
        percent: u8,
    },
    /// So many of a hundred arrive shorter than they were sent (level `quic` only).
    Truncate {
        /// How many of a hundred.
        percent: u8,
    },
    /// None that is longer arrives (level `quic` only).
    Mtu {
        /// The length of the longest packet that arrives, in bytes.
        bytes: u16,
    },
}

impl Fault {
    /// When everything that it broke works again; `None` if that is never.
    #[must_use]
    pub fn healed_at(&self) -> Option<Time> {
        let lasts_us = match &self.what {
            Breakage::Crash { restart, .. } | Breakage::Leave { restart, .. } => {
                restart.map_or(0, |restart| restart.after_us)
            }
            Breakage::Pause { for_us, .. }
            | Breakage::Drift { for_us, .. }
            | Breakage::Packets { for_us, .. }
            | Breakage::Slow { for_us, .. }
            | Breakage::Narrow { for_us, .. } => *for_us,
            Breakage::Cut { spans, .. } => spans.iter().map(Span::ends_after_us).max().unwrap_or(0),
            Breakage::Reset { .. } | Breakage::Join { .. } | Breakage::Jump { .. } => 0,
        };
        (lasts_us != FOREVER_US).then(|| Time::from_micros(self.at_us.saturating_add(lasts_us)))
    }

    /// The node that it hits, if it hits one.
    #[must_use]
    pub fn node(&self) -> Option<Slot> {
        match self.what {
            Breakage::Crash { node, .. }
            | Breakage::Leave { node, .. }
            | Breakage::Join { node }
            | Breakage::Pause { node, .. }
            | Breakage::Drift { node, .. }
            | Breakage::Jump { node, .. } => Some(node),
            _ => None,
        }
    }

    /// All places that it names.
    pub fn places(&self) -> impl Iterator<Item = Slot> + '_ {
        let ways: Vec<Way> = match &self.what {
            Breakage::Reset { a, b } => vec![(*a, *b)],
            Breakage::Cut { spans, .. } => {
                spans.iter().flat_map(|s| s.ways.iter().copied()).collect()
            }
            Breakage::Packets { paths, .. }
            | Breakage::Slow { paths, .. }
            | Breakage::Narrow { paths, .. } => paths.listed().to_vec(),
            _ => Vec::new(),
        };
        self.node()
            .into_iter()
            .chain(ways.into_iter().flat_map(|(from, to)| [from, to]))
    }
}

impl Span {
    /// When it is mended, after the beginning of its fault.
    #[must_use]
    pub fn ends_after_us(&self) -> u64 {
        self.after_us.saturating_add(self.for_us)
    }
}

impl Paths {
    /// The paths, unless they are all.
    #[must_use]
    pub fn listed(&self) -> &[Way] {
        match self {
            Paths::All => &[],
            Paths::Of(ways) => ways,
        }
    }
}

impl FaultPlan {
    /// When everything that the plan breaks, and that is ever mended, works again.
    #[must_use]
    pub fn healed_at(&self) -> Time {
        self.faults
            .iter()
            .filter_map(Fault::healed_at)
            .max()
            .unwrap_or(Time::ZERO)
    }

    /// Whether the first process at this place starts with a fault of the plan.
    #[must_use]
    pub fn joins(&self, place: Slot) -> bool {
        self.faults
            .iter()
            .any(|fault| matches!(fault.what, Breakage::Join { node } if node == place))
    }
}
