//! One scenario with whole nodes: started, broken and asked through the public library, until the mesh is at rest.

mod breaking;
mod rest;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolecast::{MeshSecret, Node};
use rolecast_membership::{RoleName, Time};

use super::faults::{Imposed, rules_of};
use super::journal::Journal;
use super::mesh::{Mesh, Running, Seat};
use super::network::{Luck, Network, Shape};
use super::place::{Start, bytes};
use super::process::Process;
use super::program::Program;
use super::rule::RuleId;
use super::watch::Watch;
use super::witness::ProcessWitness;
use crate::check::{Broken, Name, ProcessId, Violation};
use crate::plan::{Restart, Slot};
use crate::probe::{Probe, Reached, sometimes};
use crate::process::address;
use crate::random::{Purpose, Stream};
use crate::run::Outcome;
use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::statistics::Statistics;
use crate::workload::Workload;

/// Something that is to happen.
#[derive(Clone, Debug)]
enum Happening {
    /// The first process at a place starts.
    Start(Slot),
    /// Another process takes the place of one that ended.
    Restart(Slot, Restart),
    /// A fault begins.
    Break(u32),
    /// A rule of a fault comes into force.
    Impose(Imposed),
    /// A rule of a fault is lifted.
    Lift(u32, RuleId),
    /// A process that was held up goes on.
    Resume(ProcessId, Process),
    /// A clock no longer runs so much too fast.
    Undrift(Slot, i32),
    /// A program asks for something.
    Operate(u32),
    /// Everything is healed: has the mesh come to rest?
    Probe,
}

/// One run under way.
pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    /// What is asked for, shared with the programs.
    workload: Arc<Workload>,
    schedule: Schedule<Happening>,
    network: Network,
    watch: Watch,
    secret: MeshSecret,
    mesh: Mesh,
    /// Which processes are held up, and by how many faults.
    paused: BTreeMap<ProcessId, u32>,
    /// Which processes were told to leave.
    leaving: BTreeSet<ProcessId>,
    effects: Vec<bool>,
    /// The rules of each fault.
    imposed: Vec<(u32, RuleId)>,
    healed_at: Time,
    /// Since when the mesh has been at rest.
    restful_since: Option<Time>,
    done: bool,
    #[cfg(feature = "qlog")]
    qlog: Option<rolecast::simulation::Qlog>,
}

impl<'a> World<'a> {
    /// The world of this scenario; must be made and run in one runtime.
    pub(crate) fn new(
        scenario: &'a Scenario,
        sink: Option<Box<dyn Write + Send>>,
        kept: (bool, bool),
    ) -> Self {
        let shape = Shape {
            latency_us: scenario.network.latency_us,
            jitter_us: scenario.network.jitter_us,
        };
        let network = Network::start(scenario.seed, shape);
        let workload = Arc::new(scenario.workload.clone());
        let roles: Arc<[RoleName]> = workload.role_names().into();
        let seats = (0..scenario.nodes).map(|_| Seat::default()).collect();
        let mut world = World {
            scenario,
            workload,
            schedule: Schedule::default(),
            watch: Watch::new(&network, scenario, roles.len(), sink, kept),
            network,
            secret: MeshSecret::from_bytes(bytes(scenario.seed, Purpose::Key, u64::MAX)),
            mesh: Mesh {
                roles,
                seats: Arc::new(Mutex::new(seats)),
            },
            paused: BTreeMap::new(),
            leaving: BTreeSet::new(),
            effects: vec![false; scenario.plan.faults.len()],
            imposed: Vec::new(),
            healed_at: scenario.healed_at(),
            restful_since: None,
            done: false,
            #[cfg(feature = "qlog")]
            qlog: None,
        };
        world.put_plan();
        world
    }

    /// Has QUIC write down what it does in this directory, with times since the start of the run.
    #[cfg(feature = "qlog")]
    pub(crate) fn with_qlog(mut self, dir: &std::path::Path) -> Self {
        let since = self.network.started().into_std();
        self.qlog = Some(rolecast::simulation::Qlog::new(dir, since));
        self
    }

    fn put_plan(&mut self) {
        let scenario = self.scenario;
        for slot in 0..scenario.nodes {
            if let Some(at) = scenario.start(slot) {
                self.schedule.put(at, Happening::Start(slot));
            }
        }
        for (number, fault) in (0..).zip(&scenario.plan.faults) {
            let at = Time::from_micros(fault.at_us);
            self.schedule.put(at, Happening::Break(number));
            for imposed in rules_of(scenario.seed, fault) {
                let at = at + Duration::from_micros(imposed.after_us);
                if let Some(for_us) = imposed.for_us {
                    let end = at + Duration::from_micros(for_us);
                    self.healed_at = self.healed_at.max(end);
                    self.schedule.put(end, Happening::Lift(number, imposed.id));
                }
                self.imposed.push((number, imposed.id));
                self.schedule.put(at, Happening::Impose(imposed));
            }
        }
        for (number, operation) in (0..).zip(&scenario.workload.operations) {
            let at = Time::from_micros(operation.at_us);
            self.schedule.put(at, Happening::Operate(number));
        }
        self.schedule.put(self.healed_at, Happening::Probe);
    }

    /// Runs to the end, or to the first broken promise.
    pub(crate) async fn run(mut self) -> Outcome {
        let watch = self.watch.clone();
        let violation = tokio::select! {
            biased;
            violation = watch.broken() => Some(violation),
            end = self.play() => end.err(),
        };
        self.outcome(violation)
    }

    async fn play(&mut self) -> Result<(), Violation> {
        while !self.done
            && let Some((at, happening)) = self.schedule.take_next()
        {
            tokio::time::sleep_until(self.network.started() + at.since(Time::ZERO)).await;
            self.step(happening).await?;
        }
        Ok(())
    }

    async fn step(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Start(slot) => self.start(slot).await?,
            Happening::Restart(slot, restart) => self.restart(slot, restart).await?,
            Happening::Break(number) => self.begin_fault(number),
            Happening::Impose(imposed) => self.network.impose(imposed.id, imposed.rule()),
            Happening::Lift(number, id) => {
                self.effects[number as usize] |= self.network.lift(id);
            }
            Happening::Resume(id, process) => self.resume(id, &process),
            Happening::Undrift(node, ppm) => {
                self.drift(node, -ppm);
            }
            Happening::Operate(number) => self.operate(number),
            Happening::Probe => self.probe().await?,
        }
        Ok(())
    }

    fn outcome(mut self, violation: Option<Violation>) -> Outcome {
        for &(number, id) in &self.imposed {
            self.effects[number as usize] |= self.network.had_effect(id);
        }
        let reached = self.reached();
        let trace = self.network.trace();
        let nodes = u64::from(self.scenario.nodes.max(1));
        let seen = self.watch.statistics();
        let statistics = Statistics {
            frames_per_delivery: seen.frames as f64 / seen.deliveries.max(1) as f64,
            datagrams: trace.datagrams,
            datagram_bytes: trace.bytes,
            bytes_per_node: trace.bytes / nodes,
            virtual_us: self.network.now().as_micros(),
            ..seen
        };
        let faults = self.scenario.plan.faults.iter();
        let kinds = faults.map(crate::plan::Fault::kinds);
        Outcome {
            seed: self.scenario.seed,
            nodes: self.scenario.nodes,
            violation,
            hash: trace.hash(),
            effects: kinds.zip(self.effects).collect(),
            statistics,
            reached,
            passages: self.watch.passages(),
            observations: self.watch.recorded(),
        }
    }

    /// The points that the run came to.
    fn reached(&self) -> Reached {
        let mut reached = self.watch.reached();
        let Luck { lost, doubled } = self.network.luck();
        sometimes!(reached, DatagramLost, if lost > 0);
        sometimes!(reached, DatagramDoubled, if doubled > 0);
        reached
    }

    async fn restart(&mut self, slot: Slot, restart: Restart) -> Result<(), Violation> {
        {
            let mut seats = self.mesh.seats();
            let seat = &mut seats[usize::from(slot)];
            if seat.current.is_some() {
                // The one before is still on its way out.
                let again = self.network.now() + Duration::from_millis(100);
                self.schedule.put(again, Happening::Restart(slot, restart));
                return Ok(());
            }
            if !restart.same_key {
                seat.place.change_key();
            }
            if !restart.same_addr {
                seat.place.change_address();
            }
        }
        self.start(slot).await
    }

    /// Starts a process with the key, epoch and address that its place says.
    async fn start(&mut self, slot: Slot) -> Result<(), Violation> {
        let seed = self.scenario.seed;
        let seeds = self.seeds();
        let start = self.mesh.seats()[usize::from(slot)]
            .place
            .next(seed, slot, &self.network);
        let journal = Journal::default();
        let witness = ProcessWitness::new(&self.watch, start.name, start.clock, &journal);
        if start.past_clock {
            self.watch.reach(Probe::EpochPastClock);
        }
        let id = witness.process();
        let environment = start.environment(&self.network, Some(Box::new(witness)));
        #[cfg(feature = "qlog")]
        let environment = rolecast::simulation::Environment {
            qlog: self.qlog.clone(),
            ..environment
        };
        #[cfg(feature = "canaries")]
        let environment = rolecast::simulation::Environment {
            canary: (self.scenario.canary.as_deref()).and_then(crate::canary::named),
            ..environment
        };
        let started = Node::builder()
            .secret(&self.secret)
            .listen(start.addr)
            .seeds(seeds)
            .profile(self.scenario.profile)
            .limits(self.scenario.limits.clone())
            .site(self.workload.first_site(slot))
            .environment(environment)
            .start()
            .await;
        let node = started.map_err(|why| {
            let what = format!("a node did not start: {why}");
            self.violation(start.name, Broken::Command { what })
        })?;
        let stream_place = u64::from(slot) << 16 | u64::from(start.name.incarnation);
        let stream = Stream::new(seed, Purpose::Application, stream_place);
        let parts = (id, node, start.process.clone());
        let habits = (&self.workload, slot);
        let program = Program::start(parts, &self.watch, &journal, habits, stream);
        for &role in &self.scenario.workload.held[usize::from(slot)] {
            program.take_up(self.mesh.roles[usize::from(role)].clone());
        }
        self.settle(slot, start, program);
        Ok(())
    }

    /// Notes who is at a place, until its node is closed.
    fn settle(&self, slot: Slot, start: Start, program: Program) {
        let running = Running {
            program: program.clone(),
            addr: start.addr,
        };
        self.mesh.seats()[usize::from(slot)].current = Some(running);
        let (mesh, network) = (self.mesh.clone(), self.network.clone());
        tokio::spawn(async move {
            program.node().closed().await;
            mesh.remove(slot, program.id(), &network);
        });
    }

    /// Where a process that starts looks for others: where the first processes were, and where processes are.
    fn seeds(&self) -> BTreeSet<SocketAddr> {
        let first = (0..self.scenario.nodes).map(|slot| address(slot, 0));
        let seats = self.mesh.seats();
        let present = seats.iter().filter_map(|seat| seat.current.as_ref());
        first.chain(present.map(|running| running.addr)).collect()
    }

    fn operate(&mut self, number: u32) {
        let operation = &self.scenario.workload.operations[number as usize];
        let Some(Running { program, .. }) = self.mesh.current(operation.node) else {
            return;
        };
        if !self.leaving.contains(&program.id()) {
            program.ask(&operation.ask, u64::from(operation.id) + 1, &self.mesh);
        }
    }

    fn violation(&self, node: Name, broken: Broken) -> Violation {
        let at = self.network.now();
        Violation { at, node, broken }
    }
}
