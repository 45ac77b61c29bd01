//! Everything that a seed stands for, drawn before the run.

use std::time::Duration;

use rolecast_membership::{Profile, Time};
use rolecast_protocol::Limits;
use serde::{Deserialize, Serialize};

use crate::plan::{FaultPlan, Slot};
use crate::random::{Purpose, Stream};
use crate::workload::Workload;

/// A run before it runs: the mesh, what breaks in it, and what is asked of it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// From which all random streams follow.
    pub seed: u64,
    /// How many places for nodes there are.
    pub nodes: Slot,
    /// When the first process at each place starts.
    pub starts: Vec<Time>,
    /// How patient failure detection is.
    pub profile: Profile,
    /// The bounds of every engine.
    pub limits: Limits,
    /// How the network behaves when nothing is broken.
    pub network: NetworkShape,
    /// What breaks.
    pub plan: FaultPlan,
    /// What is asked for.
    pub workload: Workload,
    /// The bug that is planted in every engine.
    #[cfg(feature = "canaries")]
    pub canary: Option<rolecast_protocol::Canary>,
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
    /// The scenario of a seed; `nodes` overrides the number of nodes that the seed draws.
    #[must_use]
    pub fn draw(seed: u64, nodes: Option<Slot>) -> Self {
        let mut stream = Stream::new(seed, Purpose::Scenario, 0);
        let drawn = *stream.pick(&[2, 3, 3, 4, 4, 5, 5, 5, 6, 7]);
        let nodes = nodes.unwrap_or(drawn);
        let profile = if stream.percent(70) {
            Profile::Local
        } else {
            Profile::Lan
        };
        let network = NetworkShape::draw(&mut stream);
        let limits = draw_limits(&mut stream);
        let window = Duration::from_secs(stream.between(2, 12));
        let starts = draw_starts(&mut stream, nodes);
        // Most runs begin when all know all; some while the mesh still forms.
        let settled = Time::from_millis(if stream.percent(80) { 4_000 } else { 200 });
        let bytes_max = u32::try_from(limits.payload_bytes_max.min(limits.flow_window_bytes / 4))
            .unwrap_or(u32::MAX);
        let workload = Workload::draw(seed, nodes, settled, window, bytes_max.min(BYTES_MAX));
        let busy: Vec<_> = workload
            .operations
            .iter()
            .map(|op| (op.at_us, op.node))
            .collect();
        Scenario {
            seed,
            nodes,
            starts,
            profile,
            plan: FaultPlan::draw(seed, nodes, settled, window, &busy),
            workload,
            limits,
            network,
            #[cfg(feature = "canaries")]
            canary: None,
        }
    }

    /// When everything works again and all has been asked for.
    #[must_use]
    pub fn healed_at(&self) -> Time {
        let started = self.starts.iter().max().copied().unwrap_or(Time::ZERO);
        self.plan
            .healed_at()
            .max(self.workload.ends_at())
            .max(started)
    }

    /// How long after that the mesh may take to come to rest.
    ///
    /// The bound is generous on purpose: it holds for the worst of what a plan can break, and a mesh that is stuck stays stuck.
    #[must_use]
    pub fn bound(&self) -> Duration {
        match self.profile {
            Profile::Local => Duration::from_secs(60),
            Profile::Lan | Profile::Wan => Duration::from_secs(120),
        }
    }
}

impl NetworkShape {
    fn draw(stream: &mut Stream) -> Self {
        let slow = *stream.pick(&[200, 1_000, 5_000, 40_000]);
        let keep_alive_us = *stream.pick(&[500_000, 1_000_000]);
        NetworkShape {
            latency_us: (*stream.pick(&[20, 100, slow]), slow),
            jitter_us: stream.magnitude(1, slow),
            idle_us: keep_alive_us * stream.between(3, 8),
            keep_alive_us,
            dial_us: stream.between(1_000_000, 5_000_000),
            written_us: stream.magnitude(5, 20_000),
            timer_us: *stream.pick(&[1, 1_000]),
        }
    }
}

/// Limits so small that they are reached, or so large that they are not.
fn draw_limits(stream: &mut Stream) -> Limits {
    let normal = Limits::default();
    if stream.percent(40) {
        return normal;
    }
    let flow_window_bytes = usize_from(stream.magnitude(1 << 10, 64 << 10));
    Limits {
        payload_bytes_max: flow_window_bytes,
        flow_window_bytes,
        session_bytes_max: flow_window_bytes * usize_from(stream.magnitude(16, 256)),
        link_bytes_max: usize_from(stream.magnitude(2 << 10, 256 << 10)),
        inbox_bytes_max: usize_from(stream.magnitude(4 << 10, 64 << 10)),
        calls_max: usize_from(stream.magnitude(2, 64)),
        gap_after: Duration::from_secs(stream.between(5, 15)),
        forget_after: Duration::from_secs(stream.between(30, 90)),
    }
}

fn draw_starts(stream: &mut Stream, nodes: Slot) -> Vec<Time> {
    let spread_us = *stream.pick(&[0, 1_000, 500_000, 3_000_000]);
    (0..nodes)
        .map(|_| Time::from_micros(stream.between(0, spread_us)))
        .collect()
}

fn usize_from(number: u64) -> usize {
    usize::try_from(number).expect("drawn far below 2^32")
}

/// The largest payload that a workload sends, so that a run stays small.
const BYTES_MAX: u32 = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_stands_for_the_same_scenario_every_time() {
        for seed in 0..20 {
            let (one, other) = (Scenario::draw(seed, None), Scenario::draw(seed, None));
            assert_eq!(one.plan, other.plan);
            assert_eq!(one.workload, other.workload);
            assert_eq!(one.network, other.network);
            assert_eq!(one.starts.len(), usize::from(one.nodes));
        }
    }
}
