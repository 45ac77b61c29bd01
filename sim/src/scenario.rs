//! A run before it runs, as data.

mod draw;
mod family;
mod limits;
mod valid;

use std::time::Duration;

use rolecast_membership::{Profile, Time};
use rolecast_protocol::Limits;
use serde::{Deserialize, Serialize};

use crate::exhaust::{LINKS_FAMILY, joins_all};
use crate::plan::{Breakage, FaultPlan, Slot, Way};
use crate::workload::Workload;

pub use family::{FAMILIES, Family};
pub use valid::{Impossible, NODES_MAX};

/// A run before it runs: the mesh, what breaks in it, and what is asked of it.
///
/// Everything that a seed draws is expanded here; the seed itself is left with the dice that fall during the run, each purpose and place with its own.
/// So a scenario means the same wherever it is read, however scenarios are drawn there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// The family that it was drawn from.
    pub family: String,
    /// What is run: engines, or whole nodes.
    pub level: Level,
    /// From which all random streams follow.
    pub seed: u64,
    /// How many places for nodes there are.
    pub nodes: Slot,
    /// When the first process at each place starts, in microseconds; `None` where there never is one.
    pub starts_us: Vec<Option<u64>>,
    /// How patient failure detection is.
    #[serde(with = "limits::ProfileData")]
    pub profile: Profile,
    /// The bounds of every engine.
    #[serde(with = "limits::LimitsData")]
    pub limits: Limits,
    /// How the network behaves when nothing is broken.
    pub network: NetworkShape,
    /// What breaks.
    pub plan: FaultPlan,
    /// What is asked for.
    pub workload: Workload,
    /// The places among which all must be well in the end, while others stay broken for good; everywhere if not given.
    pub core: Option<Vec<Slot>>,
    /// How long the mesh may take to come to rest once everything works that ever will, in microseconds.
    pub bound_us: u64,
    /// The name of the bug that is planted in every engine (builds with the feature `canaries` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
}

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Engines over simulated links.
    Engine,
    /// Whole nodes over simulated UDP sockets.
    Quic,
}

/// How the network behaves when nothing is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkShape {
    /// The shortest and the longest one-way latency; each directed path has its own.
    pub latency_us: (u64, u64),
    /// By how much a packet may be later than the path's latency.
    pub jitter_us: u64,
    /// A link is given up by an end that heard nothing for so long.
    pub idle_us: u64,
    /// Each end says something at least so often.
    pub keep_alive_us: u64,
    /// A dial is given up after this.
    pub dial_us: u64,
    /// The longest time that a transport takes to take on a frame.
    pub written_us: u64,
    /// Deadlines are kept to multiples of this, as by a driver's timer.
    pub timer_us: u64,
}

impl Scenario {
    /// When the first process at this place starts, unless a fault of the plan says when.
    #[must_use]
    pub fn start(&self, place: Slot) -> Option<Time> {
        let at_us = (*self.starts_us.get(usize::from(place))?)?;
        (!self.plan.joins(place)).then(|| Time::from_micros(at_us))
    }

    /// Whether this place is used at all.
    #[must_use]
    pub fn is_used(&self, place: Slot) -> bool {
        self.starts_us
            .get(usize::from(place))
            .is_some_and(Option::is_some)
    }

    /// Whether what is promised at the end is promised at this place.
    #[must_use]
    pub fn is_core(&self, place: Slot) -> bool {
        self.core.as_ref().is_none_or(|core| core.contains(&place))
    }

    /// When everything works again that ever will, and all has been asked for.
    #[must_use]
    pub fn healed_at(&self) -> Time {
        let started_us = self.starts_us.iter().flatten().max().copied().unwrap_or(0);
        // What breaks for good has begun by then too.
        let begun_us = self.plan.faults.iter().map(|fault| fault.at_us).max();
        self.plan
            .healed_at()
            .max(self.workload.ends_at())
            .max(Time::from_micros(started_us.max(begun_us.unwrap_or(0))))
    }

    /// Whether it is one of those in which nothing breaks but links, and those that are never cut join all nodes: then nobody is down, and everything gets through all the time.
    ///
    /// Other scenarios are too short, or have requests that cannot wait until a cut is noticed.
    #[must_use]
    pub fn stays_whole(&self) -> bool {
        let mut whole: Vec<Way> = (0..self.nodes)
            .flat_map(|a| (a + 1..self.nodes).map(move |b| (a, b)))
            .collect();
        for fault in &self.plan.faults {
            let Breakage::Cut { spans, .. } = &fault.what else {
                return false;
            };
            let cut = spans.iter().flat_map(|span| &span.ways);
            for &(from, to) in cut {
                whole.retain(|&pair| pair != (from.min(to), from.max(to)));
            }
        }
        // In a larger mesh two nodes may be further apart than anything is relayed.
        let near = self.nodes <= 5;
        near && self.family == LINKS_FAMILY && joins_all(self.nodes, &whole)
    }

    /// How long after that the mesh may take to come to rest.
    ///
    /// The bound is generous on purpose: it holds for the worst of what a plan can break, and a mesh that is stuck stays stuck.
    #[must_use]
    pub fn bound(&self) -> Duration {
        Duration::from_micros(self.bound_us)
    }
}

impl Level {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Engine => "engine",
            Level::Quic => "quic",
        }
    }
}
