//! Bugs that can be planted in every engine, by name, and the search for the seed that shows each.

use std::time::Instant;

use rolecast_protocol::Canary;
use serde::Serialize;

use crate::exhaust::{LINKS_FAMILY, LinkCuts};
use crate::pool;
use crate::replay;
use crate::run::run;
use crate::scenario::{Family, Scenario};

/// The name of a bug, as it stands in a replay line.
#[must_use]
pub fn name(canary: Canary) -> String {
    format!("{canary:?}")
}

/// The bug with this name, whatever its case.
#[must_use]
pub fn named(text: &str) -> Option<Canary> {
    let mut all = Canary::ALL.iter().copied();
    all.find(|&canary| name(canary).eq_ignore_ascii_case(text))
}

/// What came of the search for one bug.
#[derive(Clone, Debug, Serialize)]
pub struct Search {
    /// The bug's name.
    pub canary: String,
    /// What is wrong in an engine with it, in one sentence.
    pub about: &'static str,
    /// How many seeds were run.
    pub seeds: u64,
    /// How it was found, if it was.
    pub found: Option<Found>,
    /// Real time, in seconds.
    pub wall_s: f64,
}

/// The first seed that shows a bug.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// The family that its scenario is of.
    pub family: String,
    /// The promise that is broken.
    pub violation: String,
    /// The command that repeats it.
    pub replay: String,
}

/// Runs the seeds `0..seeds_max` with this bug on so many threads, until one breaks a promise that is kept without it.
///
/// `on_seed` is called after every seed.
pub fn search(canary: Canary, seeds_max: u64, jobs: usize, mut on_seed: impl FnMut()) -> Search {
    let start = Instant::now();
    let mut search = Search {
        canary: name(canary),
        about: canary.about(),
        seeds: 0,
        found: None,
        wall_s: 0.0,
    };
    let mut from = 0;
    // In rounds that grow, so that what is found soon costs little and what is not costs no waiting.
    let mut round = jobs as u64;
    while search.found.is_none() && from < seeds_max {
        let count = round.min(seeds_max - from);
        let job = |offset: usize| broken_by(canary, from + offset as u64);
        let count_usize = usize::try_from(count).expect("rounds are small");
        pool::in_order(
            jobs,
            count_usize,
            |_| false,
            job,
            |_, found| {
                on_seed();
                if search.found.is_none() {
                    search.seeds += 1;
                    search.found = found;
                }
            },
        );
        from += count;
        round = (2 * round).min(ROUND_MAX);
    }
    search.wall_s = start.elapsed().as_secs_f64();
    search
}

/// What this bug breaks at a seed, if it is the bug that does.
///
/// Each seed stands for three scenarios: the one that it draws, one of a family that no seed draws, and, of the first [`LINK_SEEDS`], one in which links are cut so that everybody can be reached over others.
fn broken_by(canary: Canary, seed: u64) -> Option<Found> {
    let eager = Family::named("eager").expect("there is one");
    let drawn = Scenario::draw(seed, None);
    let found = broken_in(canary, drawn, "").or_else(|| {
        let scenario = Scenario::draw_from(eager, seed, None);
        broken_in(canary, scenario, " --scenario eager")
    });
    if found.is_some() || seed >= LINK_SEEDS {
        return found;
    }
    let cuts = LinkCuts::of(4).expect("four nodes are few");
    // A prime, so that neighbouring seeds have cuts that differ much.
    let index = usize::try_from(seed).unwrap_or(0).wrapping_mul(7_919) % cuts.count();
    broken_in(canary, cuts.scenario(index), "")
}

fn broken_in(canary: Canary, sound: Scenario, family: &str) -> Option<Found> {
    let seed = sound.seed;
    let scenario = Scenario {
        canary: Some(name(canary)),
        ..sound.clone()
    };
    let violation = run(&scenario).violation?;
    if run(&sound).violation.is_some() {
        return None;
    }
    Some(Found {
        seed,
        violation: violation.to_string(),
        replay: match scenario.family.as_str() {
            LINKS_FAMILY => replay::command(&scenario),
            _ => format!(
                "rolecast-sim run --seed {seed}{family} --canary {}",
                name(canary)
            ),
        },
        family: scenario.family,
    })
}

/// The most seeds that are run at once.
const ROUND_MAX: u64 = 256;

/// So many seeds stand for a cut of links as well.
const LINK_SEEDS: u64 = 20;

/// So many seeds are enough for all but [`RARE`].
pub const SOON: u64 = 600;

/// The bugs that need rare circumstances, and so more seeds.
pub const RARE: &[Canary] = &[
    Canary::OwnBatchesDropped,
    Canary::RetainedGoesWithOrigin,
    Canary::GivenUpTooSoon,
    Canary::GapUnreported,
    Canary::EarlyForgotten,
    Canary::AckOverHole,
    Canary::JumpUntold,
    Canary::HopelessAtOnce,
];
