//! Memberships in virtual time, over links with latency and loss.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use rolecast_membership::{
    Config, Epoch, Event, Identity, Input, Membership, NodeId, Output, Profile, Record, Time,
};
use siphasher::sip::SipHasher13;

/// How long a link without any traffic stands.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// What a mesh is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) profile: Profile,
    pub(crate) latency: Duration,
    /// How many of a hundred packets are lost.
    pub(crate) loss_percent: u32,
}

impl Setup {
    pub(crate) fn new(seed: u64, profile: Profile) -> Self {
        Setup {
            seed,
            profile,
            latency: Duration::from_micros(500),
            loss_percent: 0,
        }
    }
}

pub(crate) enum Arrival {
    Datagram {
        from: NodeId,
        bytes: Bytes,
    },
    Frame {
        from: NodeId,
        link: Link,
        bytes: Bytes,
    },
}

pub(crate) enum Happening {
    Arrival {
        to: usize,
        life: u64,
        arrival: Arrival,
    },
    LinkUp {
        a: usize,
        b: usize,
    },
    LinkCheck {
        a: usize,
        b: usize,
        link: Link,
    },
}

pub(crate) struct Node {
    membership: Membership,
    /// Distinguishes the processes that ran at this place.
    pub(crate) life: u64,
    timeout: Option<Time>,
    /// Until when the process is stopped.
    asleep: Option<Time>,
}

/// A link between two processes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) number: u64,
    pub(crate) lives: [u64; 2],
}

/// A mesh under test.
pub(crate) struct Net {
    pub(crate) setup: Setup,
    pub(crate) now: Time,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) lives: u64,
    pub(crate) links: BTreeMap<(usize, usize), Link>,
    pub(crate) dialling: BTreeSet<(usize, usize)>,
    pub(crate) linked: u64,
    /// When the last frame arrives on each link and direction, which keeps them in order.
    pub(crate) last_frame: BTreeMap<(usize, usize), Time>,
    queue: BTreeMap<(Time, u64), Happening>,
    pub(crate) queued: u64,
    timeouts: BTreeSet<(Time, usize)>,
    /// The part of the mesh each node is in; only within a part do packets arrive.
    pub(crate) part: Vec<u32>,
    pub(crate) events: Vec<(Time, usize, Event)>,
    trace: SipHasher13,
    pub(crate) datagrams: u64,
    pub(crate) frames: u64,
    pub(crate) frame_bytes: u64,
    /// All that was sent, if it is to be kept; `true` marks a frame.
    pub(crate) kept: Option<Vec<(bool, Bytes)>>,
    /// Frames alone work.
    pub(crate) drop_datagrams: bool,
    /// Packets alone work.
    pub(crate) drop_frames: bool,
    sent: BTreeMap<usize, u64>,
    places: BTreeMap<NodeId, usize>,
    /// Whose key the process at the last place has, which stands beside the mesh.
    ghost_of: Option<usize>,
}

pub(crate) fn id(index: usize) -> NodeId {
    // Scattered, so that the order of ids is not the order of start.
    let mut bytes = [0; 32];
    let mix = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes[..8].copy_from_slice(&mix.to_be_bytes());
    bytes[8..16].copy_from_slice(&(index as u64).to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// What tells the records of one node apart.
fn stamp(record: &Record) -> (Epoch, u64) {
    (record.identity.epoch, record.version)
}

pub(crate) fn addr(index: usize) -> SocketAddr {
    ([10, 0, (index / 200) as u8, (index % 200) as u8], 7400).into()
}

impl Net {
    pub(crate) fn new(setup: Setup, places: usize) -> Self {
        Net {
            rng: ChaCha8Rng::seed_from_u64(setup.seed ^ 0x6e65_7400),
            setup,
            now: Time::from_millis(1_000),
            nodes: (0..=places).map(|_| None).collect(),
            lives: 0,
            links: BTreeMap::new(),
            dialling: BTreeSet::new(),
            linked: 0,
            last_frame: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
            timeouts: BTreeSet::new(),
            part: vec![0; places + 1],
            events: Vec::new(),
            trace: SipHasher13::new(),
            datagrams: 0,
            frames: 0,
            frame_bytes: 0,
            kept: None,
            drop_datagrams: false,
            drop_frames: false,
            sent: BTreeMap::new(),
            places: (0..places).map(|place| (id(place), place)).collect(),
            ghost_of: None,
        }
    }

    /// A mesh of `places` nodes that all know each other.
    pub(crate) fn joined(setup: Setup, places: usize) -> Self {
        let mut net = Net::new(setup, places);
        for index in 0..places {
            net.start(index, 1, &[0]);
            net.run(Duration::from_millis(7));
        }
        net.run_until(Duration::from_secs(60), |net| net.all_know_all())
            .expect("all join");
        net.run(Duration::from_secs(5));
        net
    }

    pub(crate) fn identity(&self, index: usize, epoch: u64) -> Identity {
        Identity {
            id: id(index),
            epoch: Epoch(epoch),
            addr: addr(index),
        }
    }

    pub(crate) fn start(&mut self, index: usize, epoch: u64, seeds: &[usize]) {
        let record = Record::new(self.identity(index, epoch));
        self.start_with(index, record, seeds);
    }

    pub(crate) fn start_with(&mut self, index: usize, record: Record, seeds: &[usize]) {
        self.lives += 1;
        let seeds = seeds.iter().map(|seed| addr(*seed)).collect();
        let config = Config {
            record,
            seeds,
            profile: self.setup.profile,
        };
        let seed = self.setup.seed.wrapping_mul(1_000_003) ^ self.lives;
        let membership = Membership::new(config, seed, self.now);
        self.nodes[index] = Some(Node {
            membership,
            life: self.lives,
            timeout: None,
            asleep: None,
        });
        self.drain(index);
    }

    /// Ends a process; its peers see their links stand until they time out.
    pub(crate) fn crash(&mut self, index: usize) {
        self.forget_timeout(index);
        self.nodes[index] = None;
        let links: Vec<_> = self
            .links
            .iter()
            .filter(|((a, b), _)| *a == index || *b == index)
            .collect();
        let checks: Vec<_> = links
            .into_iter()
            .map(|(pair, link)| (*pair, *link))
            .collect();
        for ((a, b), link) in checks {
            self.push(IDLE_TIMEOUT, Happening::LinkCheck { a, b, link });
        }
    }

    pub(crate) fn leave(&mut self, index: usize) {
        let now = self.now;
        self.node(index).leave(now);
        self.drain(index);
        // The farewell is on its way; what does not come before the end of the process is lost.
        self.crash(index);
    }

    /// Stops a process for a while, as a debugger or a busy host does.
    pub(crate) fn pause(&mut self, index: usize, time: Duration) {
        let until = self.now + time;
        self.nodes[index].as_mut().expect("it runs").asleep = Some(until);
        self.forget_timeout(index);
        self.timeouts.insert((until, index));
        self.nodes[index].as_mut().expect("it runs").timeout = Some(until);
    }

    /// Splits the mesh: nodes in different parts do not hear each other.
    pub(crate) fn split(&mut self, part_of: impl Fn(usize) -> u32) {
        for (index, part) in self.part.iter_mut().enumerate() {
            *part = part_of(index);
        }
        let links: Vec<_> = self
            .links
            .iter()
            .map(|(pair, link)| (*pair, *link))
            .collect();
        for ((a, b), link) in links {
            self.push(IDLE_TIMEOUT, Happening::LinkCheck { a, b, link });
        }
    }

    pub(crate) fn heal(&mut self) {
        self.split(|_| 0);
    }

    pub(crate) fn set_loss(&mut self, percent: u32) {
        self.setup.loss_percent = percent;
    }

    pub(crate) fn node(&mut self, index: usize) -> &mut Membership {
        &mut self.nodes[index].as_mut().expect("it runs").membership
    }

    pub(crate) fn view(&self, index: usize) -> &Membership {
        &self.nodes[index].as_ref().expect("it runs").membership
    }

    /// The place beside the mesh.
    pub(crate) fn ghost(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Starts a second process with the key of this place; the first one goes on as the ghost.
    pub(crate) fn replace_behind(&mut self, index: usize, record: Record, seeds: &[usize]) {
        let ghost = self.ghost();
        self.forget_timeout(index);
        self.nodes[ghost] = self.nodes[index].take();
        self.ghost_of = Some(index);
        let links = std::mem::take(&mut self.links);
        let place = |place| if place == index { ghost } else { place };
        let moved = |((a, b), link): ((usize, usize), Link)| {
            let (a, b) = (place(a), place(b));
            ((a.min(b), a.max(b)), link)
        };
        self.links = links.into_iter().map(moved).collect();
        self.drain(ghost);
        self.start_with(index, record, seeds);
    }

    pub(crate) fn id_at(&self, place: usize) -> NodeId {
        id(if place == self.ghost() {
            self.ghost_of.unwrap_or(place)
        } else {
            place
        })
    }

    /// The place of the process that `from` reaches under this id: the one it has a link to, or the later one.
    pub(crate) fn place_of(&self, from: usize, id: NodeId) -> Option<usize> {
        let place = *self.places.get(&id)?;
        let ghost = self.ghost();
        let linked = |a: usize, b: usize| self.link(a, b).is_some();
        let behind = self.ghost_of == Some(place) && linked(from, ghost) && !linked(from, place);
        Some(if behind { ghost } else { place })
    }

    pub(crate) fn sent_by(&self, index: usize) -> u64 {
        self.sent.get(&index).copied().unwrap_or(0)
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|index| self.nodes[*index].is_some())
            .collect()
    }

    /// Calls a method of a node and carries out what follows.
    pub(crate) fn call<R>(
        &mut self,
        index: usize,
        call: impl FnOnce(&mut Membership, Time) -> R,
    ) -> R {
        let now = self.now;
        let result = call(self.node(index), now);
        self.drain(index);
        result
    }

    pub(crate) fn input(&mut self, index: usize, input: Input) {
        self.call(index, |membership, now| membership.handle(now, input));
    }

    /// Whether every running node has the present record of every other one, and of no one else.
    pub(crate) fn all_know_all(&self) -> bool {
        let running = self.running();
        running.iter().all(|index| {
            let view = self.view(*index);
            view.members().count() == running.len() - 1
                && running.iter().filter(|other| *other != index).all(|other| {
                    view.member(id(*other))
                        .is_some_and(|m| stamp(&m.record) == stamp(self.view(*other).record()))
                })
        })
    }

    /// How many running nodes have the present record of this one.
    pub(crate) fn knowing(&self, index: usize) -> usize {
        let present = stamp(self.view(index).record());
        let knows = |other: &usize| {
            *other != index
                && self
                    .view(*other)
                    .member(id(index))
                    .is_some_and(|m| stamp(&m.record) == present)
        };
        self.running().into_iter().filter(knows).count()
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.advance(end, |_| false);
        self.now = end;
    }

    /// Runs until it holds, and says how long that took; `None` if it does not hold within `time`.
    pub(crate) fn run_until(
        &mut self,
        time: Duration,
        holds: impl Fn(&Net) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        self.advance(start + time, holds)
            .then(|| self.now.since(start))
    }

    /// A hash over everything that came out.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// When and where events that fit came out since `since`.
    pub(crate) fn seen(&self, since: Time, fits: impl Fn(&Event) -> bool) -> Vec<(Time, usize)> {
        let events = self
            .events
            .iter()
            .filter(|(at, _, event)| *at >= since && fits(event));
        events.map(|(at, index, _)| (*at, *index)).collect()
    }

    pub(crate) fn advance(&mut self, end: Time, holds: impl Fn(&Net) -> bool) -> bool {
        let mut checked = self.now;
        loop {
            // Conditions are looked at once per millisecond: they cost more than the nodes.
            if self.now.since(checked) >= Duration::from_millis(1) {
                checked = self.now;
                if holds(self) {
                    return true;
                }
            }
            let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
            let timeout = self.timeouts.first().map(|(at, _)| *at);
            let Some(next) = arrival
                .into_iter()
                .chain(timeout)
                .min()
                .filter(|next| *next <= end)
            else {
                return holds(self);
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, happening) = self.queue.pop_first().expect("it was just seen");
                self.happen(happening);
            } else {
                let (_, index) = self.timeouts.pop_first().expect("it was just seen");
                self.wake(index);
            }
        }
    }

    pub(crate) fn wake(&mut self, index: usize) {
        let Some(node) = self.nodes[index].as_mut() else {
            return;
        };
        node.timeout = None;
        node.asleep = None;
        let asked = node.membership.poll_timeout().expect("it is awake");
        assert!(asked <= self.now, "woken for something");
        self.input(index, Input::Timeout);
        if let Some(node) = &self.nodes[index] {
            let next = node.membership.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a timeout must make progress"
            );
        }
    }

    pub(crate) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival { to, life, arrival } => {
                let Some(node) = &self.nodes[to] else { return };
                if node.life != life {
                    return;
                }
                if let Some(until) = node.asleep {
                    // What arrives meanwhile waits in the socket's buffer.
                    let wait = until.since(self.now) + Duration::from_micros(1);
                    self.push(wait, Happening::Arrival { to, life, arrival });
                    return;
                }
                match arrival {
                    Arrival::Datagram { from, bytes } => {
                        self.input(to, Input::Datagram { from, bytes });
                    }
                    Arrival::Frame { from, link, bytes } => {
                        let alive = self.links.values().any(|other| *other == link);
                        if alive {
                            self.input(to, Input::Frame { from, bytes });
                        }
                    }
                }
            }
            Happening::LinkUp { a, b } => self.link_up(a, b),
            Happening::LinkCheck { a, b, link } => self.link_check(a, b, link),
        }
    }

    pub(crate) fn drain(&mut self, index: usize) {
        while let Some(output) = self.nodes[index]
            .as_mut()
            .and_then(|n| n.membership.poll_output())
        {
            self.record(index, &output);
            self.carry_out(index, output);
        }
        self.forget_timeout(index);
        let Some(node) = self.nodes[index].as_mut() else {
            return;
        };
        node.timeout = node.asleep.or(node.membership.poll_timeout());
        if let Some(timeout) = node.timeout {
            self.timeouts.insert((timeout.max(self.now), index));
            node.timeout = Some(timeout.max(self.now));
        }
    }

    fn record(&mut self, index: usize, output: &Output) {
        self.trace.write_u64(self.now.as_micros());
        self.trace.write_usize(index);
        match output {
            Output::Datagram { to, bytes } => {
                self.trace.write(to.id.as_bytes());
                self.trace.write(bytes);
                self.keep(false, bytes);
            }
            Output::Frame { to, bytes } => {
                self.trace.write(to.as_bytes());
                self.trace.write(bytes);
                self.keep(true, bytes);
            }
            other => self.trace.write(format!("{other:?}").as_bytes()),
        }
    }

    fn keep(&mut self, frame: bool, bytes: &Bytes) {
        if let Some(kept) = &mut self.kept {
            kept.push((frame, bytes.clone()));
        }
    }

    pub(crate) fn forget_timeout(&mut self, index: usize) {
        if let Some(timeout) = self.nodes[index]
            .as_mut()
            .and_then(|node| node.timeout.take())
        {
            self.timeouts.remove(&(timeout, index));
        }
    }

    pub(crate) fn carry_out(&mut self, from: usize, output: Output) {
        match output {
            Output::Event(event) => {
                // Whoever drives a node stops it then.
                let superseded = matches!(event, Event::Superseded(_));
                self.events.push((self.now, from, event));
                if superseded {
                    self.crash(from);
                }
            }
            Output::DialSeed { addr } => self.dial(from, addr),
            Output::Datagram { to, bytes } => {
                assert!(bytes.len() <= 1_100);
                assert_ne!(to.id, self.id_at(from), "nobody writes to himself");
                self.datagrams += 1;
                *self.sent.entry(from).or_default() += 1;
                self.send_datagram(from, to, bytes);
            }
            Output::Frame { to, bytes } => {
                assert!(bytes.len() <= 256 * 1024);
                self.frames += 1;
                self.frame_bytes += bytes.len() as u64;
                *self.sent.entry(from).or_default() += 1;
                self.send_frame(from, to, bytes);
            }
        }
    }

    pub(crate) fn push(&mut self, after: Duration, happening: Happening) {
        self.queued += 1;
        self.queue
            .insert((self.now + after, self.queued), happening);
    }
}
