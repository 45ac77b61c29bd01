//! The simulated world: processes, network, faults and applications, one event after another.
//!
//! Nothing here knows what the protocol does inside; it drives engines as the real driver does, and tells the ghost what happens at their edges.

mod applications;
mod faults;
mod larges;
mod links;
mod outputs;
mod places;
mod probes;
mod rest;
mod sites;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;

use bytes::Bytes;
use rolecast_membership::{NodeId, RoleName, Time};
use rolecast_protocol::{Class, Engine, FlowId, InboxId, Input};

use crate::check::{
    Bounds, Broken, Ghost, Name, Observation, ProcessId, Recorded, Violation, check_usage,
};
use crate::clock::Clock;
use crate::film::{Film, Stamp};
use crate::network::{EndId, Network};
use crate::plan::{Restart, Slot};
use crate::probe::{Reached, sometimes};
use crate::process::{Process, State};
use crate::run::Outcome;
use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::statistics::{Histogram, Statistics};
use crate::trace::Trace;
use links::Dial;
use places::Place;

/// Something that is to happen.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// The first process at a place starts.
    Start(Slot),
    /// Another process takes the place of one that ended.
    Restart(Slot, Restart),
    /// A fault begins.
    Break(u32),
    /// A fault is mended.
    Mend(u32),
    /// A part of a cut begins.
    Cut(u32, u32),
    /// A part of a cut is mended.
    Uncut(u32, u32),
    /// An application asks for something.
    Operate(u32),
    /// An engine's deadline.
    Wake(ProcessId),
    /// Frames of one class are due at one end.
    Arrive { end: EndId, class: Class },
    /// A datagram is due at one end.
    Datagram {
        end: EndId,
        bytes: Bytes,
        stamp: Stamp,
    },
    /// A dial reaches the other side, or tries again to.
    Knock(u32),
    /// A dial comes to nothing.
    DialFail(u32),
    /// A link is up at one end.
    Up { end: EndId },
    /// A link is gone at one end.
    Down { end: EndId },
    /// The news that the other end closed the link is due at this end.
    Closed { end: EndId },
    /// One end has heard nothing for a while.
    Silence { end: EndId, since: Time },
    /// A transport has taken on bytes.
    Written { end: EndId },
    /// An application takes what waits in an inbox.
    Take { process: ProcessId, inbox: InboxId },
    /// An application gives an answer.
    Answer { process: ProcessId, number: u32 },
    /// An application sends what waited for room.
    Retry { process: ProcessId, flow: FlowId },
    /// An application sends the next chunk of a large payload.
    Feed { process: ProcessId, flow: FlowId },
    /// A process that was told to leave goes.
    Depart(ProcessId),
    /// A process stops, as its engine told it to.
    Stop(ProcessId),
    /// Everything is healed: has the mesh come to rest?
    Probe,
}

/// One run under way.
#[derive(Debug)]
pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    schedule: Schedule<Happening>,
    network: Network,
    processes: Vec<Process>,
    places: Vec<Place>,
    by_addr: BTreeMap<SocketAddr, ProcessId>,
    /// The processes that ran with this key, in the order of their starts.
    by_node: BTreeMap<NodeId, Vec<ProcessId>>,
    dials: Vec<Dial>,
    dialling: BTreeMap<(ProcessId, SocketAddr), u32>,
    roles: Vec<RoleName>,
    bounds: Bounds,
    #[cfg(feature = "canaries")]
    canary: Option<rolecast_protocol::Canary>,
    ghost: Ghost,
    trace: Trace,
    /// What the ghost was told, if somebody wants to know.
    record: Option<Vec<Recorded>>,
    /// What travelled, if somebody wants to see it.
    film: Film,
    statistics: Statistics,
    reached: Reached,
    sightings: probes::Sightings,
    joiner: outputs::Joiner,
    /// The end at which a frame is being handled.
    hearing: Option<EndId>,
    /// When something that is no heartbeat was last sent.
    busy_at: Time,
    latencies: Histogram,
    /// Since when the mesh has been at rest.
    restful_since: Option<Time>,
    /// How much happened at the present instant.
    at_once: (Time, u32),
    done: bool,
}

/// So much may happen at one instant, for each node, before it counts as never ending.
const AT_ONCE_MAX: u32 = 10_000;
/// At one of how many events it is added up what an engine keeps, which takes time in proportion to the mesh.
fn usage_every(nodes: Slot) -> u64 {
    if nodes < 16 { 1 } else { u64::from(nodes) }
}

/// So many outputs may follow from one input.
const OUTPUTS_MAX: u32 = 1_000_000;

impl<'a> World<'a> {
    pub(crate) fn new(
        scenario: &'a Scenario,
        sink: Option<Box<dyn Write + Send>>,
        record: bool,
        film: Film,
    ) -> Self {
        let workload = &scenario.workload;
        let roles = workload.role_names();
        let mut world = World {
            scenario,
            schedule: Schedule::default(),
            network: Network::new(
                scenario.seed,
                scenario.nodes,
                scenario.network,
                scenario.plan.faults.len(),
            ),
            processes: Vec::new(),
            places: (0..scenario.nodes).map(|_| Place::default()).collect(),
            by_addr: BTreeMap::new(),
            by_node: BTreeMap::new(),
            dials: Vec::new(),
            dialling: BTreeMap::new(),
            bounds: Bounds::new(&scenario.limits, roles.len()),
            roles,
            #[cfg(feature = "canaries")]
            canary: scenario.canary.as_deref().and_then(crate::canary::named),
            ghost: Ghost::with_limits(&scenario.limits)
                .with_core(scenario.core.clone())
                .with_arrivals()
                .in_one_piece(scenario.stays_whole())
                .in_calm(scenario.plan.faults.is_empty()),
            trace: Trace::new(sink),
            record: record.then(Vec::new),
            film,
            statistics: Statistics::default(),
            reached: Reached::default(),
            sightings: probes::Sightings::default(),
            joiner: outputs::Joiner::default(),
            hearing: None,
            busy_at: Time::ZERO,
            latencies: Histogram::default(),
            restful_since: None,
            at_once: (Time::ZERO, 0),
            done: false,
        };
        world.put_plan();
        world
    }

    fn put_plan(&mut self) {
        for slot in 0..self.scenario.nodes {
            if let Some(at) = self.scenario.start(slot) {
                self.schedule.put(at, Happening::Start(slot));
            }
        }
        for (number, fault) in (0..).zip(&self.scenario.plan.faults) {
            self.schedule
                .put(Time::from_micros(fault.at_us), Happening::Break(number));
        }
        for (number, operation) in (0..).zip(&self.scenario.workload.operations) {
            self.schedule.put(
                Time::from_micros(operation.at_us),
                Happening::Operate(number),
            );
        }
        self.schedule
            .put(self.scenario.healed_at(), Happening::Probe);
    }

    /// Runs to the end, or to the first broken promise.
    pub(crate) fn run(mut self) -> Outcome {
        let mut violation = None;
        while !self.done
            && let Some((now, happening)) = self.schedule.take_next()
        {
            self.statistics.events += 1;
            if let Err(broken) = self.step(now, happening) {
                violation = Some(broken);
                break;
            }
        }
        self.outcome(violation)
    }

    fn outcome(mut self, violation: Option<Violation>) -> Outcome {
        let statistics = &mut self.statistics;
        statistics.virtual_us = self.schedule.now().as_micros();
        statistics.latency = self.latencies.quantiles();
        let nodes = u64::from(self.scenario.nodes.max(1));
        statistics.bytes_per_node = (statistics.frame_bytes + statistics.datagram_bytes) / nodes;
        if statistics.deliveries > 0 {
            statistics.frames_per_delivery =
                statistics.frames as f64 / statistics.deliveries as f64;
        }
        if statistics.payload_bytes_delivered > 0 {
            statistics.payload_redundancy =
                statistics.payload_bytes_sent as f64 / statistics.payload_bytes_delivered as f64;
        }
        let faults = self
            .scenario
            .plan
            .faults
            .iter()
            .map(crate::plan::Fault::kinds);
        Outcome {
            seed: self.scenario.seed,
            nodes: self.scenario.nodes,
            violation,
            hash: self.trace.hash(),
            effects: faults.zip(self.network.effects).collect(),
            statistics: self.statistics,
            reached: self.reached,
            observations: self.record.unwrap_or_default(),
            passages: self.film.into_passages(),
        }
    }

    fn step(&mut self, now: Time, happening: Happening) -> Result<(), Violation> {
        self.count_at_once(now)?;
        if let Some(process) = self.concerns(&happening) {
            let process = &mut self.processes[process.0 as usize];
            match process.state {
                State::Running => {}
                State::Paused(_) => {
                    process.backlog.push_back(happening);
                    sometimes!(self.reached, Backlog, if process.backlog.len() > 50);
                    return Ok(());
                }
                State::Ended => return Ok(()),
            }
        }
        self.dispatch(now, happening)
    }

    fn dispatch(&mut self, now: Time, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Start(slot) => self.start(now, slot),
            Happening::Restart(slot, restart) => self.restart(now, slot, restart),
            Happening::Break(fault) => self.begin_fault(now, fault),
            Happening::Mend(fault) => self.mend_fault(now, fault),
            Happening::Cut(fault, span) => {
                self.cut(now, fault, span);
                Ok(())
            }
            Happening::Uncut(fault, span) => {
                self.uncut(now, fault, span);
                Ok(())
            }
            Happening::Operate(number) => self.operate(now, number),
            Happening::Wake(process) => self.wake(now, process),
            Happening::Arrive { end, class } => self.arrive(now, end, class),
            Happening::Datagram { end, bytes, stamp } => self.datagram(now, end, bytes, stamp),
            Happening::Knock(dial) => self.knock(now, dial),
            Happening::DialFail(dial) => self.dial_fail(now, dial),
            Happening::Up { end } => self.link_up(now, end),
            Happening::Down { end } => self.link_down(now, end),
            Happening::Closed { end } => self.link_closed(now, end),
            Happening::Silence { end, since } => self.silence(now, end, since),
            Happening::Written { end } => self.written(now, end),
            Happening::Take { process, inbox } => self.take(now, process, inbox),
            Happening::Answer { process, number } => self.answer(now, process, number),
            Happening::Retry { process, flow } => self.retry(now, process, flow),
            Happening::Feed { process, flow } => self.feed(now, process, flow),
            Happening::Depart(process) => self.depart(now, process),
            Happening::Stop(process) => self.end_process(now, process),
            Happening::Probe => self.probe(now),
        }
    }

    /// The process that handles this, if it is one: while that is paused, this waits.
    fn concerns(&self, happening: &Happening) -> Option<ProcessId> {
        match *happening {
            Happening::Wake(process)
            | Happening::Take { process, .. }
            | Happening::Answer { process, .. }
            | Happening::Retry { process, .. }
            | Happening::Feed { process, .. }
            | Happening::Depart(process)
            | Happening::Stop(process) => Some(process),
            Happening::Arrive { end, .. }
            | Happening::Datagram { end, .. }
            | Happening::Up { end }
            | Happening::Down { end }
            | Happening::Closed { end }
            | Happening::Silence { end, .. }
            | Happening::Written { end } => Some(self.network.end(end).party.process),
            Happening::Operate(number) => {
                let node = self.scenario.workload.operations[number as usize].node;
                self.places[usize::from(node)].current
            }
            Happening::DialFail(dial) => Some(self.dials[dial as usize].process),
            Happening::Start(_)
            | Happening::Restart(..)
            | Happening::Break(_)
            | Happening::Mend(_)
            | Happening::Cut(..)
            | Happening::Uncut(..)
            | Happening::Knock(_)
            | Happening::Probe => None,
        }
    }

    fn count_at_once(&mut self, now: Time) -> Result<(), Violation> {
        if self.at_once.0 != now {
            self.at_once = (now, 0);
        }
        self.at_once.1 += 1;
        if self.at_once.1 > AT_ONCE_MAX * u32::from(self.scenario.nodes.max(1)) {
            let what = "time stands still while events follow each other";
            let node = Name::default();
            return Err(Violation {
                at: now,
                node,
                broken: Broken::Livelock { what },
            });
        }
        Ok(())
    }

    fn wake(&mut self, now: Time, process: ProcessId) -> Result<(), Violation> {
        let entry = &mut self.processes[process.0 as usize];
        if entry.wake_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        entry.wake_at = None;
        let shown = entry.clock.at(now);
        if entry.engine.poll_timeout().is_some_and(|at| at <= shown) {
            return self.input(now, process, Input::Timeout);
        }
        self.set_wake(now, process);
        Ok(())
    }

    fn set_wake(&mut self, now: Time, process: ProcessId) {
        let entry = &mut self.processes[process.0 as usize];
        let Some(at) = entry.engine.poll_timeout() else {
            return;
        };
        let mut at = entry.clock.when(at);
        if entry.wake_at.is_some_and(|before| before <= at) {
            return;
        }
        let grain_us = self.scenario.network.timer_us;
        if grain_us > 1 {
            at = Time::from_micros(at.as_micros().div_ceil(grain_us) * grain_us);
        }
        at = at.max(now);
        if entry.wake_at.is_none_or(|before| at < before) {
            entry.wake_at = Some(at);
            self.schedule.put(at, Happening::Wake(process));
        }
    }

    /// Hands an input to an engine and carries out what it says.
    fn input(&mut self, now: Time, process: ProcessId, input: Input) -> Result<(), Violation> {
        self.note_input(now, process, &input);
        self.note_arrival(process, &input);
        self.tell(now, process, |engine, now| engine.handle(now, input));
        self.carry_out(now, process)
    }

    /// Says something to an engine, at the time that its own clock shows.
    fn tell<T>(
        &mut self,
        now: Time,
        process: ProcessId,
        what: impl FnOnce(&mut Engine, Time) -> T,
    ) -> T {
        let entry = &mut self.processes[process.0 as usize];
        let shown = entry.clock.at(now);
        what(&mut entry.engine, shown)
    }

    fn clock(&self, process: ProcessId) -> Clock {
        self.processes[process.0 as usize].clock
    }

    /// Carries out everything that an engine says.
    fn carry_out(&mut self, now: Time, process: ProcessId) -> Result<(), Violation> {
        let mut outputs = 0;
        while let Some(output) = self.processes[process.0 as usize].engine.poll_output() {
            outputs += 1;
            if outputs > OUTPUTS_MAX {
                let what = "outputs follow each other without end";
                return Err(self.violation(now, process, Broken::Livelock { what }));
            }
            self.output(now, process, output)?;
        }
        if outputs > 0 {
            self.observe(now, process, Observation::AtRest)?;
        }
        if self
            .statistics
            .events
            .is_multiple_of(usage_every(self.scenario.nodes))
        {
            let usage = self.processes[process.0 as usize].engine.usage();
            self.statistics.note_usage(&usage);
            check_usage(&usage, &self.bounds).map_err(|b| self.violation(now, process, b))?;
            sometimes!(self.reached, SetAside, if usage.parked_bytes > 0);
        }
        self.set_wake(now, process);
        Ok(())
    }

    fn observe(
        &mut self,
        now: Time,
        process: ProcessId,
        observation: Observation,
    ) -> Result<(), Violation> {
        if let Some(record) = &mut self.record {
            record.push(Recorded {
                at: now,
                process,
                observation: observation.clone(),
            });
        }
        let delivered = self.ghost.observe(now, process, observation)?;
        if delivered.messages > 0 {
            self.note_delivery(process, &delivered);
            self.statistics.deliveries += delivered.messages;
            self.statistics.payload_bytes_delivered += delivered.bytes;
            self.latencies
                .add(now.since(delivered.sent_at), delivered.messages);
        }
        Ok(())
    }

    fn violation(&self, now: Time, process: ProcessId, broken: Broken) -> Violation {
        Violation {
            at: now,
            node: self.ghost.name(process),
            broken,
        }
    }

    fn name(&self, process: ProcessId) -> Name {
        self.processes[process.0 as usize].name
    }

    /// The latest process with this key.
    fn latest(&self, node: NodeId) -> Option<&Process> {
        let process = self.by_node.get(&node)?.last()?;
        self.processes.get(process.0 as usize)
    }

    fn runs(&self, process: ProcessId) -> bool {
        self.processes[process.0 as usize].state == State::Running
    }
}
