//! How a seed draws its scenario.

use std::time::Duration;

use rolecast_membership::{Profile, Time};
use rolecast_protocol::Limits;

use super::{Family, Level, NetworkShape, Scenario};
use crate::plan::{FaultPlan, Slot};
use crate::random::{Purpose, Stream};
use crate::workload::{Draft, Workload};

impl Scenario {
    /// The scenario of a seed, of the family that the seed draws; `nodes` overrides the number of nodes that it draws.
    #[must_use]
    pub fn draw(seed: u64, nodes: Option<Slot>) -> Self {
        Scenario::draw_from(Family::of(seed), seed, nodes)
    }

    /// The scenario of a seed in this family.
    #[must_use]
    pub fn draw_from(family: &Family, seed: u64, nodes: Option<Slot>) -> Self {
        let mut stream = Stream::new(seed, Purpose::Scenario, 0);
        let drawn = *stream.pick(family.nodes);
        let nodes = nodes.unwrap_or(drawn);
        let profile = if stream.percent(70) {
            Profile::Local
        } else {
            Profile::Lan
        };
        let network = NetworkShape::draw(&mut stream);
        let (links_max, link_idle) = draw_rest(seed, nodes);
        let limits = Limits {
            replay_bytes: draw_replay_bytes(seed),
            links_max,
            link_idle,
            ..draw_limits(&mut stream)
        };
        let window = Duration::from_secs(stream.between(family.window_s.0, family.window_s.1));
        let starts_us = draw_starts(&mut stream, nodes);
        // Most runs begin when all know all; some while the mesh still forms.
        let settled = Time::from_millis(if stream.percent(80) { 4_000 } else { 200 });
        let bytes_max = u32::try_from(limits.payload_bytes_max.min(limits.flow_window_bytes / 4))
            .unwrap_or(u32::MAX);
        let workload = Workload::draw(Draft {
            seed,
            style: family.style,
            spread: family.spread,
            safe_percent: family.safe_percent,
            usual_percent: family.usual_percent,
            nodes,
            from: settled,
            window,
            bytes_max: bytes_max.min(BYTES_MAX),
        });
        let busy: Vec<_> = workload
            .operations
            .iter()
            .map(|op| (op.at_us, op.node))
            .collect();
        let plan = FaultPlan::draw(seed, nodes, &family.recipe, (settled, window), &busy);
        let core = (nodes > 2 && stream.percent(family.core_percent))
            .then(|| draw_core(&mut stream, nodes));
        let plan = match &core {
            Some(core) => plan.with_outsiders(seed, nodes, core, settled + window),
            None => plan,
        };
        // Whoever is out of reach for good is waited for before what it may have is given up.
        let patience_us = micros(limits.forget_after);
        let bound_us = bound_us(profile) + core.as_ref().map_or(0, |_| patience_us);
        Scenario {
            family: family.name.to_string(),
            level: Level::Engine,
            seed,
            nodes,
            starts_us,
            profile,
            limits,
            network,
            plan,
            workload,
            core,
            bound_us,
            canary: None,
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
        large_bytes_min: normal.large_bytes_min,
        // A workload's large payloads have up to 24 KiB.
        large_bytes_max: 2 * flow_window_bytes as u64,
        flow_window_bytes,
        session_bytes_max: flow_window_bytes * usize_from(stream.magnitude(16, 256)),
        replay_bytes: 0,
        link_bytes_max: usize_from(stream.magnitude(2 << 10, 256 << 10)),
        links_max: normal.links_max,
        link_idle: normal.link_idle,
        inbox_bytes_max: usize_from(stream.magnitude(4 << 10, 64 << 10)),
        calls_max: usize_from(stream.magnitude(2, 64)),
        gap_after: Duration::from_secs(stream.between(5, 15)),
        forget_after: Duration::from_secs(stream.between(30, 90)),
    }
}

/// How many links nodes keep that nobody uses, and how soon the others rest: often there is no limit.
fn draw_rest(seed: u64, nodes: Slot) -> (usize, Duration) {
    // With dice of their own, so that the rest is what it would be without them.
    let mut stream = Stream::new(seed, Purpose::Workload, 6_000_000);
    let usual = Limits::default();
    // Large meshes are there to be measured.
    if nodes >= 50 || stream.percent(70) {
        return (usual.links_max, usual.link_idle);
    }
    let most = usize_from(stream.between(1, 3));
    (
        most,
        Duration::from_micros(stream.magnitude(20_000, 2_000_000)),
    )
}

/// How much of each flow nodes keep for those that come later.
fn draw_replay_bytes(seed: u64) -> usize {
    // With dice of their own, so that the rest is what it would be without them.
    let mut stream = Stream::new(seed, Purpose::Workload, 5_000_000);
    *stream.pick(&[0, 4 << 10, 1 << 20])
}

fn draw_starts(stream: &mut Stream, nodes: Slot) -> Vec<Option<u64>> {
    let spread_us = *stream.pick(&[0, 1_000, 500_000, 3_000_000]);
    (0..nodes)
        .map(|_| Some(stream.between(0, spread_us)))
        .collect()
}

/// At least two places, and always the last one, whose node lives from the start to the end.
fn draw_core(stream: &mut Stream, nodes: Slot) -> Vec<Slot> {
    let mut others: Vec<Slot> = (0..nodes - 1).collect();
    stream.shuffle(&mut others);
    others.truncate(1 + stream.index(usize::from(nodes) - 2));
    others.push(nodes - 1);
    others.sort_unstable();
    others
}

fn bound_us(profile: Profile) -> u64 {
    match profile {
        Profile::Local | Profile::Fast => 60_000_000,
        Profile::Lan | Profile::Wan => 120_000_000,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("some seconds")
}

fn usize_from(number: u64) -> usize {
    usize::try_from(number).expect("drawn far below 2^32")
}

/// The largest payload that a workload sends, so that a run stays small.
const BYTES_MAX: u32 = 8 << 10;

#[cfg(test)]
mod tests {
    use super::super::FAMILIES;
    use super::*;

    fn written(scenario: &Scenario) -> String {
        serde_json::to_string(scenario).expect("scenarios are plain data")
    }

    #[test]
    fn a_seed_stands_for_the_same_scenario_every_time() {
        for seed in 0..20 {
            let (one, other) = (Scenario::draw(seed, None), Scenario::draw(seed, None));
            assert_eq!(written(&one), written(&other));
            assert_eq!(one.starts_us.len(), usize::from(one.nodes));
        }
    }

    #[test]
    fn scenarios_survive_the_way_through_json() {
        for seed in 0..50 {
            let text = written(&Scenario::draw(seed, None));
            let back: Scenario = serde_json::from_str(&text).expect("as written");
            assert_eq!(written(&back), text);
        }
    }

    #[test]
    fn every_family_draws_meshes_of_every_size() {
        for family in &FAMILIES {
            for nodes in [1, 2, 3, 9] {
                let scenario = Scenario::draw_from(family, 7, Some(nodes));
                assert_eq!(scenario.nodes, nodes);
                let mut places = scenario.plan.faults.iter().flat_map(|f| f.places());
                assert!(places.all(|place| place < nodes), "{}", family.name);
            }
        }
    }

    #[test]
    fn a_core_has_two_places_and_leaves_one_out() {
        let cores = (0..100).filter_map(|seed| {
            let family = Family::named("core").expect("there is one");
            let scenario = Scenario::draw_from(family, seed, None);
            Some((scenario.nodes, scenario.core?))
        });
        let mut seen = 0;
        for (nodes, core) in cores {
            assert!((2..usize::from(nodes)).contains(&core.len()));
            assert!(core.is_sorted());
            seen += 1;
        }
        assert!(seen > 90);
    }
}
