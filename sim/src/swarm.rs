//! Failure detectors of many nodes in virtual time, without the protocol above them.
//!
//! A [`Swarm`] drives either this project's membership or plain `foca`, over the same network and with the same faults, so that their figures can be put side by side.
//! It is cheap enough for a thousand nodes, because nothing but membership runs in them.
//!
//! A slow node is blocked for the time of an anomaly, runs for a moment, and is blocked again (Dadgar, Phillips, Currey: "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2017, section V).
//! There are two ways to be blocked, see [`Slowness`].

mod detector;
mod links;
mod own;
mod plain;
mod trials;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use rolecast_membership::Time;

pub use detector::{Act, Detector, Heard, Place};
pub use own::Own;
pub use plain::PlainFoca;
pub use trials::{
    Alarms, Grid, Healing, Restarts, Spread, crash_times, false_alarms, healing, idle_bytes,
    restarts, role_changes,
};

use links::{Leg, Links};

/// A network in which failure detectors run.
pub struct Swarm<D> {
    now: Time,
    rng: Xoshiro256PlusPlus,
    nodes: Vec<Node<D>>,
    links: Links,
    queue: BTreeMap<(Time, u64), Happening>,
    queued: u64,
    timeouts: BTreeSet<(Time, Place)>,
    /// How many of a hundred packets are lost.
    loss_percent: u32,
    /// Only within a part does anything arrive.
    parts: Vec<u32>,
    views: Views,
    /// Every time a node that runs was held for down, and by whom.
    alarms: Vec<(Place, Place)>,
    renewals: u64,
    bytes_sent: u64,
    /// Who has heard of the role change that is looked at.
    heard: Option<(Place, u64, BTreeSet<Place>)>,
}

/// One place, and the process that runs there.
struct Node<D> {
    /// `None` after a crash.
    detector: Option<D>,
    timeout: Option<Time>,
    /// What arrived while the process was blocked.
    mailbox: VecDeque<Arrival>,
    /// What it wanted to send while it was deaf.
    outbox: VecDeque<Act>,
    slow: Option<Slow>,
    /// Since when the process is blocked.
    blocked: Option<Time>,
}

/// What it is to be blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slowness {
    /// Lifeguard's way: what arrives waits, and so does what is sent, while timers run on as if nothing were the matter.
    Deaf,
    /// The whole process stands still, as under a debugger, or in a virtual machine that is moved.
    Stopped,
}

/// When a slow node is blocked.
#[derive(Clone, Copy)]
struct Slow {
    slowness: Slowness,
    anomaly: Duration,
    until: Time,
}

/// What reaches a process.
enum Arrival {
    Datagram {
        from: Place,
        bytes: Bytes,
    },
    Frame {
        from: Place,
        link: u64,
        bytes: Bytes,
    },
    Handshake {
        from: Place,
        link: u64,
        leg: Leg,
    },
    Hello {
        from: Place,
        link: u64,
        life: u64,
    },
    Unlinked {
        peer: Place,
        link: u64,
    },
}

enum Happening {
    Arrival {
        to: Place,
        arrival: Arrival,
    },
    /// A process is blocked from here on.
    Block(Place),
    Unblock(Place),
    /// Links over which nothing came for long enough are closed.
    IdleLinks(Place),
}

impl<D> Node<D> {
    /// Whether it is blocked in this way.
    fn is(&self, slowness: Slowness) -> bool {
        let slow = self.slow.filter(|_| self.blocked.is_some());
        slow.is_some_and(|slow| slow.slowness == slowness)
    }
}

/// Who holds whom for alive, and in which life.
struct Views {
    /// By observer and observed; zero is not alive.
    lives: Vec<Vec<u64>>,
    /// The present life of each node; zero is none.
    present: Vec<u64>,
    /// How many of `lives` are wrong.
    wrong: usize,
}

impl Views {
    fn new(size: usize) -> Self {
        Views {
            lives: vec![vec![0; size]; size],
            present: vec![0; size],
            wrong: 0,
        }
    }

    /// Whether an observer that runs is wrong about another node.
    fn is_wrong(&self, observer: Place, who: Place) -> bool {
        observer != who
            && self.present[observer] != 0
            && self.lives[observer][who] != self.present[who]
    }

    fn see(&mut self, observer: Place, who: Place, life: u64) {
        self.wrong -= usize::from(self.is_wrong(observer, who));
        self.lives[observer][who] = life;
        self.wrong += usize::from(self.is_wrong(observer, who));
    }

    fn live(&mut self, who: Place, life: u64) {
        let places = 0..self.present.len();
        let wrong = |views: &Views| {
            let about = places.clone().filter(|other| views.is_wrong(*other, who));
            let by = places.clone().filter(|other| views.is_wrong(who, *other));
            about.count() + by.count()
        };
        let before = wrong(self);
        self.present[who] = life;
        self.wrong = self.wrong + wrong(self) - before;
    }
}

impl<D: Detector> Swarm<D> {
    /// A mesh in which all know all, and which has come to rest.
    #[must_use]
    pub fn at_rest(size: usize, seed: u64) -> Self {
        let now = Time::from_millis(1_000);
        let mut swarm = Swarm {
            now,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            nodes: Vec::new(),
            links: Links::new(size),
            queue: BTreeMap::new(),
            queued: 0,
            timeouts: BTreeSet::new(),
            loss_percent: 0,
            parts: vec![0; size],
            views: Views::new(size),
            alarms: Vec::new(),
            renewals: 0,
            bytes_sent: 0,
            heard: None,
        };
        for place in 0..size {
            let seed = seed.wrapping_mul(1_000_003) ^ place as u64;
            let detector = D::new(place, 1, size, seed, now);
            swarm.views.present[place] = detector.life();
            swarm.nodes.push(Node {
                detector: Some(detector),
                timeout: None,
                mailbox: VecDeque::new(),
                outbox: VecDeque::new(),
                slow: None,
                blocked: None,
            });
        }
        swarm.views.wrong = size * (size - 1);
        swarm.introduce();
        swarm.run(SETTLING);
        assert_eq!(swarm.views.wrong, 0, "nothing is broken");
        swarm
    }

    /// All nodes come to know each other through the first one, or at once if that cannot be, and have links to each other.
    fn introduce(&mut self) {
        for place in 0..self.nodes.len() {
            self.drain(place);
        }
        if D::LINKED {
            for place in 1..self.nodes.len() {
                self.link(0, place);
                // Not all at once: that would also put their timers in step.
                self.run(Duration::from_millis(7));
            }
        } else {
            self.link_all();
        }
        let known = self.run_until(JOINING, |swarm| swarm.views.wrong == 0);
        known.expect("nothing keeps them from knowing each other");
        if D::LINKED {
            self.link_all();
        }
    }

    fn link_all(&mut self) {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                self.link(a, b);
            }
        }
    }

    /// Ends a process; its peers see their links stand until they close for want of traffic.
    pub fn crash(&mut self, place: Place) {
        let node = &mut self.nodes[place];
        node.detector = None;
        node.mailbox.clear();
        if let Some(timeout) = node.timeout.take() {
            self.timeouts.remove(&(timeout, place));
        }
        self.views.live(place, 0);
        self.push(LINK_IDLE, Happening::IdleLinks(place));
    }

    /// Ends a process and starts it anew at once, with the same key: in its next life, and knowing nobody but its seed.
    pub fn restart(&mut self, place: Place, seed: Place) {
        let life = self.views.present[place] + 1;
        self.crash(place);
        self.hang_up(place);
        let size = self.nodes.len();
        for other in 0..size {
            self.views.see(place, other, 0);
        }
        let random = self.rng.random();
        self.nodes[place].detector = Some(D::new(place, life, size, random, self.now));
        self.views.live(place, life);
        self.drain(place);
        self.meet(place, seed);
    }

    /// Splits the network, or heals it: nothing goes from one part to another.
    pub fn split(&mut self, part_of: impl Fn(Place) -> u32) {
        for (place, part) in self.parts.iter_mut().enumerate() {
            *part = part_of(place);
        }
        for place in 0..self.nodes.len() {
            self.push(LINK_IDLE, Happening::IdleLinks(place));
        }
    }

    /// Loses so many of a hundred packets from here on.
    pub fn set_loss(&mut self, percent: u32) {
        self.loss_percent = percent;
    }

    /// Blocks a process again and again, for so long each time.
    pub fn slow_down(&mut self, place: Place, slowness: Slowness, anomaly: Duration, until: Time) {
        let slow = Slow {
            slowness,
            anomaly,
            until,
        };
        self.nodes[place].slow = Some(slow);
        self.push(Duration::ZERO, Happening::Block(place));
    }

    /// The time of the simulation.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Whether each node that runs knows exactly the others that run, in the lives they have.
    #[must_use]
    pub fn all_know_all(&self) -> bool {
        self.views.wrong == 0
    }

    /// How many observers do not know how it stands with this node.
    #[must_use]
    pub fn wrong_about(&self, who: Place) -> usize {
        (0..self.nodes.len())
            .filter(|observer| self.views.is_wrong(*observer, who))
            .count()
    }

    /// Takes up a role at this place, and watches who hears of it.
    pub fn change_role(&mut self, place: Place) {
        let now = self.now;
        let detector = self.nodes[place].detector.as_mut().expect("it runs");
        let version = detector.change_role(now);
        self.heard = Some((place, version, BTreeSet::new()));
        self.drain(place);
    }

    /// Of how many other nodes a node remembers something; the one that remembers most of those that run.
    #[must_use]
    pub fn remembered_most(&self) -> usize {
        let running = self.nodes.iter().filter_map(|node| node.detector.as_ref());
        running.map(Detector::remembered).max().unwrap_or(0)
    }

    /// Whether every other node has heard of the last role change.
    #[must_use]
    pub fn role_is_known(&self) -> bool {
        let others = self.nodes.len() - 1;
        self.heard
            .as_ref()
            .is_some_and(|(_, _, by)| by.len() == others)
    }

    /// Runs for this long.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.advance(end, |_| false);
        self.now = end;
    }

    /// Runs until it holds, and says how long that took; `None` if it does not within `time`.
    pub fn run_until(&mut self, time: Duration, holds: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        let end = start + time;
        self.advance(end, holds).then(|| self.now.since(start))
    }

    fn advance(&mut self, end: Time, holds: impl Fn(&Self) -> bool) -> bool {
        loop {
            if holds(self) {
                return true;
            }
            let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
            let timeout = self.timeouts.first().map(|(at, _)| *at);
            let due = arrival.into_iter().chain(timeout).min();
            let Some(next) = due.filter(|next| *next <= end) else {
                return false;
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, happening) = self.queue.pop_first().expect("it was just seen");
                self.happen(happening);
            } else {
                let (_, place) = self.timeouts.pop_first().expect("it was just seen");
                self.nodes[place].timeout = None;
                self.hear(place, Heard::Timeout);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival { to, arrival } => {
                let node = &mut self.nodes[to];
                if node.detector.is_none() {
                    return;
                }
                if node.blocked.is_some() {
                    node.mailbox.push_back(arrival);
                } else {
                    self.arrive(to, arrival);
                }
            }
            Happening::Block(place) => self.block(place),
            Happening::Unblock(place) => self.unblock(place),
            Happening::IdleLinks(place) => self.close_idle_links(place),
        }
    }

    fn block(&mut self, place: Place) {
        let node = &mut self.nodes[place];
        let Some(slow) = node.slow.filter(|slow| self.now < slow.until) else {
            return;
        };
        node.blocked = Some(self.now);
        self.drain(place);
        self.push(slow.anomaly, Happening::Unblock(place));
        self.push(LINK_IDLE, Happening::IdleLinks(place));
    }

    /// Sends and handles what waited, and then runs whatever is due.
    fn unblock(&mut self, place: Place) {
        self.nodes[place].blocked = None;
        if D::TIMERS_FIRST {
            self.hear(place, Heard::Timeout);
        }
        while let Some(act) = self.nodes[place].outbox.pop_front() {
            self.carry_out(place, act);
        }
        while let Some(arrival) = self.nodes[place].mailbox.pop_front() {
            self.arrive(place, arrival);
        }
        self.drain(place);
        self.push(INTERVAL, Happening::Block(place));
    }

    /// Gives something to a process, and carries out what follows.
    fn hear(&mut self, place: Place, heard: Heard) {
        let now = self.now;
        if let Some(detector) = self.nodes[place].detector.as_mut() {
            detector.handle(now, heard);
            self.drain(place);
        }
    }

    fn drain(&mut self, place: Place) {
        while let Some(detector) = self.nodes[place].detector.as_mut()
            && let Some(act) = detector.poll()
        {
            self.carry_out(place, act);
        }
        let node = &mut self.nodes[place];
        let wanted = node.detector.as_ref().and_then(Detector::deadline);
        let stopped = node.is(Slowness::Stopped);
        let wanted = wanted.filter(|_| !stopped).map(|at| at.max(self.now));
        if wanted != node.timeout {
            if let Some(timeout) = node.timeout.take() {
                self.timeouts.remove(&(timeout, place));
            }
            if let Some(timeout) = wanted {
                self.timeouts.insert((timeout, place));
            }
            node.timeout = wanted;
        }
    }

    fn carry_out(&mut self, from: Place, act: Act) {
        let sends = matches!(
            act,
            Act::Datagram { .. } | Act::Frame { .. } | Act::Dial { .. }
        );
        if sends && self.nodes[from].is(Slowness::Deaf) {
            self.nodes[from].outbox.push_back(act);
            return;
        }
        match act {
            Act::Datagram { to, bytes } => self.send_datagram(from, to, bytes),
            Act::Frame { to, bytes } => self.send_frame(from, to, bytes),
            Act::Dial { to } => self.dial(from, to),
            Act::Alive { who, life } => self.views.see(from, who, life),
            Act::Down { who } => {
                if self.nodes[who].detector.is_some() {
                    self.alarms.push((from, who));
                }
                self.views.see(from, who, 0);
            }
            Act::Renewed { life } => {
                self.renewals += 1;
                self.views.live(from, life);
                self.greet_again(from, life);
            }
            Act::Role { who, version } => {
                if let Some((place, awaited, by)) = &mut self.heard
                    && *place == who
                    && version >= *awaited
                {
                    by.insert(from);
                }
            }
        }
    }

    fn push(&mut self, after: Duration, happening: Happening) {
        self.queued += 1;
        self.queue
            .insert((self.now + after, self.queued), happening);
    }
}

/// How long a slow node runs between two anomalies (Lifeguard, section V-A).
const INTERVAL: Duration = Duration::from_millis(64);
/// How long a link stands over which nothing comes.
const LINK_IDLE: Duration = Duration::from_secs(5);
/// Within this time all know all, or something is wrong.
const JOINING: Duration = Duration::from_secs(120);
/// What was news when the mesh formed is told to the end within this time.
const SETTLING: Duration = Duration::from_secs(45);
