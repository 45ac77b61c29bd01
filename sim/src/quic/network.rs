//! A UDP network in memory, in tokio's (paused) time.
//!
//! A datagram that is sent passes the rules that are in force, one after another; what is left of it is on its way for the latency of its path and arrives in the receive buffer of a socket.
//! Everything random is drawn from the seed: the latency and the jitter of each directed path from a stream of its own, and the dice of each rule from another, so that a rule that is taken out changes nothing but what it did.
//! The runtime's clock moves in whole milliseconds, and so do arrivals; within a millisecond datagrams arrive in the order of their exact times.
//!
//! No byte of a datagram decides what becomes of it: TLS draws its secrets from the operating system, so that the bytes differ from run to run, while lengths and times do not.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use quinn::udp::EcnCodepoint;
use rolecast_membership::Time;
use tokio::time::{Instant, sleep_until};

use super::rule::{Fate, Rule, RuleId, Ruling};
use super::trace::PacketTrace;
use crate::plan::{Slot, Way};
use crate::random::{Purpose, Stream};

/// A network in memory; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Network(Arc<Mutex<State>>);

/// How long datagrams take when nothing is broken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The shortest and the longest latency; each directed path has its own.
    pub(crate) latency_us: (u64, u64),
    /// By how much a datagram may be later than that.
    pub(crate) jitter_us: u64,
}

#[derive(Debug)]
struct State {
    seed: u64,
    shape: Shape,
    start: Instant,
    ports: BTreeMap<SocketAddr, Port>,
    paths: BTreeMap<Way, Path>,
    rules: BTreeMap<RuleId, Rule>,
    /// What is on its way, by the millisecond in which it arrives.
    sky: BTreeMap<u64, Vec<Flight>>,
    /// The courier, once it runs.
    courier: Option<Waker>,
    /// The millisecond for which the courier is set, if it is.
    alarm: Option<u64>,
    launched: u64,
    luck: Luck,
    trace: PacketTrace,
}

/// What became of datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Luck {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
}

/// A socket's end of the network.
#[derive(Debug, Default)]
struct Port {
    arrived: VecDeque<Datagram>,
    arrived_bytes: usize,
    reader: Option<Waker>,
}

/// A directed path.
#[derive(Debug)]
struct Path {
    latency_us: u64,
    stream: Stream,
}

/// A datagram on its way.
#[derive(Debug)]
struct Flight {
    due_us: u64,
    number: u64,
    to: SocketAddr,
    datagram: Datagram,
}

/// A datagram.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) ecn: Option<EcnCodepoint>,
    pub(crate) bytes: Bytes,
}

impl Network {
    /// A network on which everything works, and the task that carries its datagrams.
    pub(crate) fn start(seed: u64, shape: Shape) -> Self {
        let state = State {
            seed,
            shape,
            start: Instant::now(),
            ports: BTreeMap::new(),
            paths: BTreeMap::new(),
            rules: BTreeMap::new(),
            sky: BTreeMap::new(),
            courier: None,
            alarm: None,
            launched: 0,
            luck: Luck::default(),
            trace: PacketTrace::default(),
        };
        let network = Network(Arc::new(Mutex::new(state)));
        tokio::spawn(network.clone().carry());
        network
    }

    /// The time since the network started.
    pub(crate) fn now(&self) -> Time {
        self.state().now()
    }

    /// When the network started, on the runtime's clock.
    pub(crate) fn started(&self) -> Instant {
        self.state().start
    }

    /// Opens a port; what arrives at an address without one is lost.
    pub(crate) fn open(&self, addr: SocketAddr) {
        self.state().ports.insert(addr, Port::default());
    }

    /// Closes a port, with everything that has arrived there.
    pub(crate) fn close(&self, addr: SocketAddr) {
        self.state().ports.remove(&addr);
    }

    /// Puts a rule in force.
    pub(crate) fn impose(&self, id: RuleId, rule: Rule) {
        self.state().rules.insert(id, rule);
    }

    /// Takes a rule out of force; what it held goes on its way. Says whether it ever had an effect.
    pub(crate) fn lift(&self, id: RuleId) -> bool {
        let mut state = self.state();
        let Some(rule) = state.rules.remove(&id) else {
            return false;
        };
        let effect = rule.had_effect();
        for (to, datagram) in rule.into_held() {
            state.launch(to, datagram, Fate::default());
        }
        wake(state.courier_if_late());
        effect
    }

    /// Whether a rule that is in force ever had an effect.
    pub(crate) fn had_effect(&self, id: RuleId) -> bool {
        self.state().rules.get(&id).is_some_and(Rule::had_effect)
    }

    /// How many datagrams were lost on their way, and how many came twice.
    pub(crate) fn luck(&self) -> Luck {
        self.state().luck
    }

    /// What was sent so far.
    pub(crate) fn trace(&self) -> PacketTrace {
        self.state().trace
    }

    /// Sends datagrams of `segment` bytes each.
    pub(crate) fn send(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        ecn: Option<EcnCodepoint>,
        contents: &[u8],
        segment: usize,
    ) {
        let mut state = self.state();
        if !state.ports.contains_key(&from) {
            return;
        }
        let mut rest = Bytes::copy_from_slice(contents);
        while !rest.is_empty() {
            let bytes = rest.split_to(segment.min(rest.len()));
            state.send(to, Datagram { from, ecn, bytes });
        }
        let courier = state.courier_if_late();
        drop(state);
        wake(courier);
    }

    /// Hands over what has arrived at a port: `take` gets one datagram after another until it wants no more.
    pub(crate) fn poll_receive(
        &self,
        cx: &Context<'_>,
        addr: SocketAddr,
        mut take: impl FnMut(&Datagram) -> bool,
    ) -> Poll<()> {
        let mut state = self.state();
        let Some(port) = state.ports.get_mut(&addr) else {
            return Poll::Pending;
        };
        let mut any = false;
        while let Some(first) = port.arrived.front()
            && take(first)
        {
            port.arrived_bytes -= first.bytes.len();
            port.arrived.pop_front();
            any = true;
        }
        if any {
            return Poll::Ready(());
        }
        match &mut port.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Carries datagrams for as long as anybody else knows the network.
    async fn carry(self) {
        let start = self.started();
        let mut alarm = Box::pin(sleep_until(start));
        let carrying = std::future::poll_fn(move |cx| {
            loop {
                let mut state = self.state();
                let readers = state.land();
                let next = state.sky.first_key_value().map(|(&tick, _)| tick);
                state.alarm = next;
                match &mut state.courier {
                    Some(courier) => courier.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                drop(state);
                readers.into_iter().for_each(Waker::wake);
                let Some(tick) = next else {
                    return Poll::<()>::Pending;
                };
                alarm.as_mut().reset(start + Duration::from_millis(tick));
                if alarm.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        });
        carrying.await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever panicked while it held the lock left lists that are still well-formed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    fn send(&mut self, to: SocketAddr, datagram: Datagram) {
        let now = self.now();
        self.trace
            .note(now, datagram.from, to, datagram.bytes.len());
        if datagram.bytes.len() > DATAGRAM_BYTES_MAX {
            return;
        }
        let way = (slot_of(datagram.from), slot_of(to));
        let mut fate = Fate::default();
        for rule in self.rules.values_mut().filter(|rule| rule.concerns(way)) {
            match rule.judge(now, way, to, &datagram, &mut fate) {
                Ruling::Pass => {}
                Ruling::Lost => {
                    self.luck.lost += 1;
                    return;
                }
                Ruling::Held => return,
            }
        }
        self.launch(to, datagram, fate);
    }

    /// Puts a datagram, or what became of it, on its way.
    fn launch(&mut self, to: SocketAddr, datagram: Datagram, fate: Fate) {
        let now_us = self.now().as_micros();
        let datagram = Datagram {
            bytes: fate.mangled.unwrap_or(datagram.bytes),
            ..datagram
        };
        let way = (slot_of(datagram.from), slot_of(to));
        self.luck.doubled += u64::from(fate.copies > 0);
        for copy in 0..=u64::from(fate.copies) {
            let due_us = now_us + fate.extra_us + self.latency_us(way) + copy;
            self.launched += 1;
            let flight = Flight {
                due_us,
                number: self.launched,
                to,
                datagram: datagram.clone(),
            };
            let tick = due_us.div_ceil(1_000);
            self.sky.entry(tick).or_default().push(flight);
        }
    }

    /// The courier, if it would come too late for what arrives next.
    fn courier_if_late(&self) -> Option<Waker> {
        let (&next, _) = self.sky.first_key_value()?;
        let late = self.alarm.is_none_or(|alarm| next < alarm);
        late.then(|| self.courier.clone()).flatten()
    }

    fn latency_us(&mut self, way: Way) -> u64 {
        let (seed, shape) = (self.seed, self.shape);
        let path = self.paths.entry(way).or_insert_with(|| {
            let place = u64::from(way.0) << 16 | u64::from(way.1);
            let mut stream = Stream::new(seed, Purpose::Path, place);
            let (low, high) = shape.latency_us;
            Path {
                latency_us: stream.between(low, high),
                stream,
            }
        });
        let jitter_us = match shape.jitter_us {
            0 => 0,
            most => path.stream.between(0, most),
        };
        path.latency_us + jitter_us
    }

    /// Lands everything that is due, and says who is to be told.
    fn land(&mut self) -> Vec<Waker> {
        let now_ms = self.now().as_micros() / 1_000;
        let mut readers = Vec::new();
        while let Some(first) = self.sky.first_entry()
            && *first.key() <= now_ms
        {
            let mut landed = first.remove();
            landed.sort_unstable_by_key(|flight| (flight.due_us, flight.number));
            for flight in landed {
                let Some(port) = self.ports.get_mut(&flight.to) else {
                    continue;
                };
                let bytes = flight.datagram.bytes.len();
                if port.arrived_bytes + bytes <= RECEIVE_BUFFER_BYTES {
                    port.arrived_bytes += bytes;
                    port.arrived.push_back(flight.datagram);
                    readers.extend(port.reader.take());
                }
            }
        }
        readers
    }
}

fn wake(courier: Option<Waker>) {
    if let Some(courier) = courier {
        courier.wake();
    }
}

/// The place of whoever has this address, which its last two bytes say.
pub(crate) fn slot_of(addr: SocketAddr) -> Slot {
    match addr.ip() {
        IpAddr::V4(ip) => {
            let [_, _, high, low] = ip.octets();
            Slot::from_be_bytes([high, low])
        }
        IpAddr::V6(_) => Slot::MAX,
    }
}

/// The longest datagram that arrives: what an Ethernet carries, without the headers of IP and UDP.
const DATAGRAM_BYTES_MAX: usize = 1_472;
/// What a socket holds before datagrams are lost: what the transport asks of the operating system.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
