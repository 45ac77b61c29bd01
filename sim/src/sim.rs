//! A mesh of real nodes in virtual time, for tests of programs.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rolecast::simulation::{Sight, Witness};
use rolecast::{MeshSecret, Node, NodeBuilder};
use rolecast_protocol::Engine;

use crate::plan::{Harm, Slot, Way};
use crate::quic::{Dice, Effect, Network, Place, Process, Rule, RuleId, Shape, seeded_bytes};
use crate::random::{Purpose, Stream};

/// A mesh of real nodes in virtual time, as [`check()`](crate::check()) hands it to a test; cheap to clone.
///
/// Nodes stand at *places*, numbered from 0 in the order in which they are first described or started.
/// Their clocks, sockets and random numbers are simulated; QUIC, TLS and everything above are the real thing.
/// The seed draws how long datagrams take on each path, how much that varies, and whether some are lost.
#[derive(Clone)]
pub struct Sim(Arc<Inner>);

struct Inner {
    seed: u64,
    network: Network,
    secret: MeshSecret,
    state: Mutex<State>,
}

struct State {
    places: Vec<Spot>,
    /// How many rules were ever in force.
    rules: u32,
    /// The rules that [`Sim::heal`] lifts.
    broken: Vec<RuleId>,
    stream: Stream,
}

/// A place and the process that is there.
#[derive(Default)]
struct Spot {
    place: Place,
    addr: Option<SocketAddr>,
    process: Process,
    /// Whether its node has left.
    left: Arc<AtomicBool>,
}

/// Notes that a node has left.
struct Leaving(Arc<AtomicBool>);

impl Witness for Leaving {
    fn saw(&mut self, _: &Engine, sight: Sight<'_>) {
        if matches!(sight, Sight::Ended { .. }) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl Sim {
    /// A mesh without nodes; must be made inside a runtime with a paused clock.
    pub(crate) fn new(seed: u64) -> Self {
        let mut stream = Stream::new(seed, Purpose::Scenario, 0);
        let slowest_us = *stream.pick(&[200, 2_000, 20_000, 80_000]);
        let shape = Shape {
            latency_us: (slowest_us / 10, slowest_us),
            jitter_us: stream.magnitude(1, slowest_us),
        };
        let sim = Sim(Arc::new(Inner {
            seed,
            network: Network::start(seed, shape),
            secret: MeshSecret::from_bytes(seeded_bytes(seed, Purpose::Key, u64::MAX)),
            state: Mutex::new(State {
                places: Vec::new(),
                rules: 0,
                broken: Vec::new(),
                stream: Stream::new(seed, Purpose::Application, 0),
            }),
        }));
        if stream.percent(30) {
            let percent = u8::try_from(stream.between(1, 3)).expect("at most 3");
            sim.impose(None, Effect::Harm(Harm::Loss { percent }));
        }
        sim
    }

    /// The seed from which everything in this run follows.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// How much virtual time has passed since the run began.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_micros(self.0.network.now().as_micros())
    }

    /// Lets so much virtual time pass; `tokio::time::sleep` does the same.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Waits until `holds` says yes, which it is asked every 50 ms.
    ///
    /// # Panics
    /// If it has not said so within this time: the test fails.
    pub async fn until(&self, within: Duration, mut holds: impl AsyncFnMut() -> bool) {
        let give_up = self.now() + within;
        while !holds().await {
            assert!(
                self.now() < give_up,
                "what was waited for did not come within {within:?}"
            );
            self.sleep(ASKED_EVERY).await;
        }
    }

    /// How many datagrams were sent so far, and how many bytes.
    pub(crate) fn sent(&self) -> (u64, u64) {
        let trace = self.0.network.trace();
        (trace.datagrams, trace.bytes)
    }

    /// A number below `bound` that follows from the seed, for the test's own choices.
    ///
    /// # Panics
    /// If the bound is 0.
    #[must_use]
    pub fn below(&self, bound: usize) -> usize {
        self.state().stream.index(bound)
    }

    /// Starts so many nodes at places of their own, and waits until each of them sees all nodes that run.
    ///
    /// # Panics
    /// If they do not see each other within a minute: something keeps them apart.
    pub async fn start(&self, count: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        for _ in 0..count {
            let started = self.builder().start().await;
            nodes.push(started.expect("nothing is wrong with how the node was described"));
        }
        let running = self.state().running();
        for node in &nodes {
            let seen = node.channel("*");
            let met = seen.wait_for_holders(running).timeout(MEET_WITHIN).await;
            met.expect("nodes that reach each other meet within a minute");
        }
        nodes
    }

    /// Describes a node at the next place: with the mesh's secret, an address, and all other places as seeds.
    ///
    /// Whatever else the program says about its nodes may be added before [`NodeBuilder::start`].
    pub fn builder(&self) -> NodeBuilder {
        let slot = {
            let mut state = self.state();
            state.places.push(Spot::default());
            state.places.len() - 1
        };
        self.next_life(slot)
    }

    /// Describes the next process at this place, with the key and the address of those before, in a later epoch.
    ///
    /// What was there before is killed.
    ///
    /// # Panics
    /// If nothing was ever started at this place.
    pub fn builder_at(&self, place: usize) -> NodeBuilder {
        self.crash(place);
        self.next_life(place)
    }

    /// Starts another process at this place after a crash: the same node in a later life.
    ///
    /// What was there before is killed. The new one knows nothing but its key, as after a restart of the machine.
    ///
    /// # Panics
    /// If nothing was ever started at this place.
    pub async fn restart(&self, place: usize) -> Node {
        let started = self.builder_at(place).start().await;
        started.expect("nothing is wrong with how the node was described")
    }

    /// Kills the process at this place without a word: its node, and what [`Sim::spawn`] started there.
    ///
    /// Other tasks that use the node see it closed.
    ///
    /// # Panics
    /// If nothing was ever started at this place.
    pub fn crash(&self, place: usize) {
        let state = self.state();
        let spot = state.spot(place);
        let (addr, process) = (spot.addr, spot.process.clone());
        drop(state);
        if let Some(addr) = addr {
            self.0.network.close(addr);
        }
        process.kill();
    }

    /// Holds the process at this place up until [`Sim::resume`]: its node, and what [`Sim::spawn`] started there, handle nothing.
    ///
    /// # Panics
    /// If nothing was ever started at this place.
    pub fn pause(&self, place: usize) {
        self.process(place).pause();
    }

    /// Lets a process that was held up go on.
    ///
    /// # Panics
    /// If nothing was ever started at this place.
    pub fn resume(&self, place: usize) {
        self.process(place).resume();
    }

    /// Runs a task of the process at this place: it dies with a crash and is held up by a pause.
    ///
    /// # Panics
    /// If nothing was ever started at this place.
    pub fn spawn(&self, place: usize, task: impl Future<Output = ()> + Send + 'static) {
        self.process(place).spawn(task);
    }

    /// Nothing gets through between the places of one side and those of the other, in either direction, until [`Sim::heal`].
    pub fn partition(
        &self,
        one: impl IntoIterator<Item = usize>,
        other: impl IntoIterator<Item = usize>,
    ) {
        let other: Vec<Slot> = other.into_iter().map(slot).collect();
        let one = one.into_iter().map(slot);
        let ways = one.flat_map(|a| other.iter().flat_map(move |&b| [(a, b), (b, a)]));
        self.break_ways(Some(ways.collect()), Effect::Cut);
    }

    /// Nothing gets through from the first place to the second, until [`Sim::heal`]; the other direction works.
    pub fn cut(&self, from: usize, to: usize) {
        self.break_ways(Some(vec![(slot(from), slot(to))]), Effect::Cut);
    }

    /// Nobody reaches this place, and it reaches nobody, until [`Sim::heal`].
    pub fn isolate(&self, place: usize) {
        let others = (0..self.state().places.len()).filter(|&other| other != place);
        self.partition([place], others.collect::<Vec<_>>());
    }

    /// So many of a hundred datagrams are lost, until [`Sim::heal`].
    pub fn lose(&self, percent: u8) {
        self.break_ways(None, Effect::Harm(Harm::Loss { percent }));
    }

    /// Every datagram takes longer by `by`, and by up to as much again, until [`Sim::heal`].
    pub fn slow(&self, by: Duration) {
        let extra_us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX / 4);
        let effect = Effect::Slow {
            extra_us,
            jitter_us: extra_us,
        };
        self.break_ways(None, effect);
    }

    /// Every datagram takes longer by `by`, and a path carries so many bytes a second with a queue of so many before it.
    pub(crate) fn lengthen(&self, by: Duration, (bytes_per_s, queue_bytes): (u64, u64)) {
        let extra_us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX / 4);
        let jitter_us = 0;
        let longer = Effect::Slow {
            extra_us,
            jitter_us,
        };
        let narrow = Effect::Narrow {
            bytes_per_s,
            queue_bytes,
        };
        self.break_ways(None, longer);
        self.break_ways(None, narrow);
    }

    /// Mends everything that was cut, lossy or slow.
    ///
    /// Crashed and held up processes stay as they are.
    pub fn heal(&self) {
        let broken = std::mem::take(&mut self.state().broken);
        for rule in broken {
            self.0.network.lift(rule);
        }
    }

    fn break_ways(&self, ways: Option<Vec<Way>>, effect: Effect) {
        let rule = self.impose(ways, effect);
        self.state().broken.push(rule);
    }

    fn impose(&self, ways: Option<Vec<Way>>, effect: Effect) -> RuleId {
        let number = {
            let mut state = self.state();
            state.rules += 1;
            state.rules
        };
        let dice = Dice {
            seed: self.0.seed,
            fault: number,
            part: 0,
        };
        let id = RuleId(u64::from(number));
        let ways = ways.map(|ways| ways.into_iter().collect());
        self.0.network.impose(id, Rule::new(ways, effect, dice));
        id
    }

    /// Describes the process that is next at this place.
    fn next_life(&self, place: usize) -> NodeBuilder {
        let mut state = self.state();
        let next = state.places[place]
            .place
            .next(self.0.seed, slot(place), &self.0.network);
        let seeds: Vec<SocketAddr> = state.places.iter().filter_map(|spot| spot.addr).collect();
        let spot = &mut state.places[place];
        spot.addr = Some(next.addr);
        spot.process = next.process.clone();
        spot.left = Arc::default();
        let witness = Box::new(Leaving(Arc::clone(&spot.left)));
        Node::builder()
            .secret(&self.0.secret)
            .listen(next.addr)
            .seeds(seeds.into_iter().filter(|seed| *seed != next.addr))
            .environment(next.environment(&self.0.network, Some(witness)))
    }

    fn process(&self, place: usize) -> Process {
        self.state().spot(place).process.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn spot(&self, place: usize) -> &Spot {
        let spot = self.places.get(place);
        spot.unwrap_or_else(|| panic!("nothing was ever started at place {place}"))
    }

    /// How many places have a node that was not killed and has not left.
    fn running(&self) -> usize {
        let gone = |spot: &Spot| spot.process.is_dead() || spot.left.load(Ordering::Relaxed);
        self.places.iter().filter(|spot| !gone(spot)).count()
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.0.seed)
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

fn slot(place: usize) -> Slot {
    Slot::try_from(place).expect("there are fewer places than 65,536")
}

/// How often [`Sim::until`] asks.
const ASKED_EVERY: Duration = Duration::from_millis(50);
/// How long nodes that start may take to see each other.
const MEET_WITHIN: Duration = Duration::from_secs(60);
