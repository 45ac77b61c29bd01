//! What is measured in a [`Swarm`].

use std::time::Duration;

use rand::RngExt as _;
use rand::seq::SliceRandom as _;

use super::detector::{Detector, Place};
use super::{Slowness, Swarm};

/// How long it takes until all others know of a crash, of each crash.
///
/// In each of `meshes` meshes, `crashes` nodes crash one after the other.
#[must_use]
pub fn crash_times<D: Detector>(size: usize, meshes: u64, crashes: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for seed in 0..meshes {
        let mut swarm = Swarm::<D>::at_rest(size, seed);
        for place in 1..=crashes {
            // At any point of the period of a probe.
            let pause = swarm.rng.random_range(20_000..25_000);
            swarm.run(Duration::from_millis(pause));
            swarm.crash(place);
            let known = swarm.run_until(PATIENCE, |swarm| swarm.wrong_about(place) == 0);
            times.push(known.unwrap_or(PATIENCE));
        }
    }
    times.sort_unstable();
    times
}

/// One cell of Lifeguard's grid.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// How many nodes there are.
    pub size: usize,
    /// How many of them are slow, all at once.
    pub slow: usize,
    /// In which way.
    pub slowness: Slowness,
    /// How long they are blocked each time.
    pub anomaly: Duration,
    /// For how long it goes on.
    pub time: Duration,
    /// What else the run follows from.
    pub seed: u64,
}

/// How often who was held for down that was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// A node that is not slow, anywhere.
    pub healthy: u64,
    /// A node that is not slow, at one that is not either.
    pub among_healthy: u64,
    /// A slow node, anywhere: it was blocked, and is back.
    pub slow: u64,
}

impl std::ops::AddAssign for Alarms {
    fn add_assign(&mut self, other: Alarms) {
        self.healthy += other.healthy;
        self.among_healthy += other.among_healthy;
        self.slow += other.slow;
    }
}

/// The false alarms while some nodes are slow, and for a while after.
#[must_use]
pub fn false_alarms<D: Detector>(grid: Grid) -> Alarms {
    let mut swarm = Swarm::<D>::at_rest(grid.size, grid.seed);
    swarm.alarms.clear();
    let until = swarm.now() + grid.time;
    // Not the first ones, through which the mesh came to know itself.
    let is_slow = |place: Place| place >= grid.size - grid.slow;
    for place in (0..grid.size).filter(|place| is_slow(*place)) {
        swarm.slow_down(place, grid.slowness, grid.anomaly, until);
    }
    swarm.run(grid.time + grid.anomaly + AFTERMATH);
    let mut alarms = Alarms::default();
    for (observer, who) in &swarm.alarms {
        if is_slow(*who) {
            alarms.slow += 1;
        } else {
            alarms.healthy += 1;
            alarms.among_healthy += u64::from(!is_slow(*observer));
        }
    }
    alarms
}

/// How role changes spread.
#[derive(Clone, Debug)]
pub struct Spread {
    /// How long each took until all knew of it, in order; those that were missed are left out.
    pub times: Vec<Duration>,
    /// How many somebody had not heard of after a minute.
    pub missed: u64,
}

/// How long it takes until all know of a role change, of `trials` changes at random nodes.
#[must_use]
pub fn role_changes<D: Detector>(size: usize, loss_percent: u32, trials: u64) -> Spread {
    let mut swarm = Swarm::<D>::at_rest(size, 1);
    swarm.set_loss(loss_percent);
    swarm.run(AFTERMATH);
    let mut spread = Spread {
        times: Vec::new(),
        missed: 0,
    };
    for _ in 0..trials {
        let pause = swarm.rng.random_range(0..2_000);
        swarm.run(Duration::from_millis(pause));
        let place = swarm.rng.random_range(0..size);
        swarm.change_role(place);
        match swarm.run_until(PATIENCE / 2, Swarm::role_is_known) {
            Some(time) => spread.times.push(time),
            None => spread.missed += 1,
        }
    }
    spread.times.sort_unstable();
    spread
}

/// How many bytes each node gives to the network in a second while nothing happens.
#[must_use]
pub fn idle_bytes<D: Detector>(size: usize) -> f64 {
    let mut swarm = Swarm::<D>::at_rest(size, 1);
    // The news of the start are told by then.
    swarm.run(PATIENCE);
    let before = swarm.bytes_sent;
    let time = Duration::from_secs(60);
    swarm.run(time);
    (swarm.bytes_sent - before) as f64 / size as f64 / time.as_secs_f64()
}

/// How a split healed.
#[derive(Clone, Copy, Debug)]
pub struct Healing {
    /// How long it took until all knew all; `None` if they did not within ten minutes.
    pub time: Option<Duration>,
    /// How many nodes had to go on in another life.
    pub renewed: u64,
}

/// How a split heals that lasted long enough for both sides to give up the other one: the first `smaller` nodes are apart.
#[must_use]
pub fn healing<D: Detector>(size: usize, smaller: usize, lasted: Duration, seed: u64) -> Healing {
    let mut swarm = Swarm::<D>::at_rest(size, seed);
    swarm.split(|place| u32::from(place < smaller));
    swarm.run(lasted);
    swarm.renewals = 0;
    swarm.split(|_| 0);
    let time = swarm.run_until(PATIENCE * 5, Swarm::all_know_all);
    swarm.run(AFTERMATH);
    Healing {
        time: time.filter(|_| swarm.all_know_all()),
        renewed: swarm.renewals,
    }
}

/// How a mesh fared in which many restarted.
#[derive(Clone, Copy, Debug)]
pub struct Restarts {
    /// How long it took after the last one until all knew all; `None` if they did not within two minutes.
    pub time: Option<Duration>,
    /// How often a node that ran was held for down by another one.
    pub alarms: u64,
    /// How many had to go on in another life than the one that they started in.
    pub renewed: u64,
    /// Of how many others a node remembers something half a minute later, at most.
    pub remembered: usize,
}

/// How a mesh fares in which so many nodes, drawn at random, restart one after the other within this time; each is back at once, with the same key.
#[must_use]
pub fn restarts<D: Detector>(size: usize, count: usize, within: Duration, seed: u64) -> Restarts {
    let mut swarm = Swarm::<D>::at_rest(size, seed);
    swarm.alarms.clear();
    swarm.renewals = 0;
    let mut places: Vec<Place> = (1..size).collect();
    places.shuffle(&mut swarm.rng);
    let pause = within / u32::try_from(count).expect("they are few");
    for place in places.into_iter().take(count) {
        swarm.run(pause);
        swarm.restart(place, 0);
    }
    let time = swarm.run_until(PATIENCE, Swarm::all_know_all);
    swarm.run(AFTERMATH);
    Restarts {
        time: time.filter(|_| swarm.all_know_all()),
        alarms: swarm.alarms.len() as u64,
        renewed: swarm.renewals,
        remembered: swarm.remembered_most(),
    }
}

/// What is not known by then is not going to be known soon.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it is watched after what was done.
const AFTERMATH: Duration = Duration::from_secs(30);
