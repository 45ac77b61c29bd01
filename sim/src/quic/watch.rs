//! What the ghost is told of a run with whole nodes, and what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rolecast_membership::{Epoch, Event as MembershipEvent, NodeId, RoleName, Time};
use rolecast_protocol::{Answer, CallId, Class, Engine, Event, FlowId, Origin, messages_for};
use tokio::sync::Notify;

use super::network::Network;
use super::traffic::Traffic;
use crate::check::{
    Bounds, Broken, Ghost, Observation, ProcessId, Recorded, Violation, check_usage, left_over,
};
use crate::film::Passage;
use crate::probe::{Probe, Reached};
use crate::scenario::Scenario;
use crate::statistics::{Histogram, Statistics};

/// Everything that was seen in a run; cheap to clone.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Inner>);

struct Inner {
    network: Network,
    seen: Mutex<Seen>,
    broken: Notify,
}

struct Seen {
    ghost: Ghost,
    bounds: Bounds,
    /// Whether each process has come to its end.
    ended: Vec<bool>,
    violation: Option<Violation>,
    sink: Option<Box<dyn Write + Send>>,
    record: Option<Vec<Recorded>>,
    statistics: Statistics,
    latencies: Histogram,
    reached: Reached,
    sightings: Sightings,
    traffic: Traffic,
    /// What each engine kept when it was last at rest.
    left_over: BTreeMap<ProcessId, Option<&'static str>>,
}

/// What was seen of processes and calls, so that what follows is known for what it is.
#[derive(Default)]
struct Sightings {
    nodes: BTreeMap<ProcessId, NodeId>,
    /// The first life of each process.
    lives: BTreeMap<ProcessId, (NodeId, Epoch)>,
    /// The processes that went on in a later life.
    renewed: BTreeSet<ProcessId>,
    /// Who declared whom down.
    down: BTreeSet<(NodeId, NodeId)>,
    /// The calls that some holder got.
    calls: BTreeSet<(NodeId, CallId)>,
    /// How many replies each call got.
    replies: BTreeMap<(ProcessId, CallId), u32>,
    /// The flows that keep the last of each key for slow members.
    keeping: BTreeSet<(ProcessId, FlowId)>,
    /// To which role each flow goes that a process opened, by the first life of the process.
    roles: BTreeMap<(NodeId, Epoch), BTreeMap<FlowId, RoleName>>,
}

impl Sightings {
    /// What is known for what it is only by what came before.
    fn tell(&mut self, process: ProcessId, event: &Event, reached: &mut Reached) {
        match event {
            Event::Readmitted { flow, .. } => {
                reached.note_back(self.keeping.contains(&(process, *flow)));
            }
            Event::Answered {
                call,
                answer: Answer::Reply(_),
                ..
            } => {
                let replies = self.replies.entry((process, *call)).or_default();
                *replies += 1;
                if *replies == 2 {
                    reached.note(Probe::GatherComplete);
                }
            }
            Event::Membership(event) => {
                if let MembershipEvent::Down(other) = **event
                    && let Some(&me) = self.nodes.get(&process)
                {
                    self.down.insert((me, other.id));
                    if self.down.contains(&(other.id, me)) {
                        reached.note(Probe::DownInTwo);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Watch {
    /// Watches the mesh of a scenario in which there are so many roles.
    ///
    /// Everything that the ghost is told is written to the sink, and kept if that is asked for, and so is what travels.
    pub(crate) fn new(
        network: &Network,
        scenario: &Scenario,
        roles: usize,
        sink: Option<Box<dyn Write + Send>>,
        (record, filmed): (bool, bool),
    ) -> Self {
        let limits = &scenario.limits;
        let ghost = Ghost::with_limits(limits)
            .with_core(scenario.core.clone())
            .with_arrivals();
        Watch(Arc::new(Inner {
            network: network.clone(),
            seen: Mutex::new(Seen {
                ghost,
                bounds: Bounds::new(limits, roles),
                ended: Vec::new(),
                violation: None,
                sink,
                record: record.then(Vec::new),
                statistics: Statistics::default(),
                latencies: Histogram::default(),
                reached: Reached::default(),
                sightings: Sightings::default(),
                traffic: Traffic::new(filmed),
                left_over: BTreeMap::new(),
            }),
            broken: Notify::new(),
        }))
    }

    /// Resolves when a promise is broken.
    pub(crate) async fn broken(&self) -> Violation {
        loop {
            if let Some(violation) = self.violation() {
                return violation;
            }
            self.0.broken.notified().await;
        }
    }

    /// The first promise that was broken.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.seen().violation.clone()
    }

    /// Tells the ghost.
    pub(crate) fn observe(&self, process: ProcessId, observation: Observation) {
        let now = self.0.network.now();
        let mut seen = self.seen();
        if seen.violation.is_some() || seen.ended.get(process.0 as usize) == Some(&true) {
            return;
        }
        if matches!(observation, Observation::Crashed | Observation::Left { .. }) {
            seen.ended[process.0 as usize] = true;
        }
        seen.note(now, process, &observation);
        seen.probe(process, &observation);
        match seen.ghost.observe(now, process, observation) {
            Ok(delivered) if delivered.messages > 0 => {
                seen.statistics.deliveries += delivered.messages;
                seen.statistics.payload_bytes_delivered += delivered.bytes;
                let latency = now.since(delivered.sent_at);
                seen.latencies.add(latency, delivered.messages);
            }
            Ok(_) => {}
            Err(violation) => {
                seen.violation = Some(violation);
                self.0.broken.notify_one();
            }
        }
    }

    /// A process opened a flow to this role.
    pub(crate) fn opened(&self, process: ProcessId, flow: FlowId, role: &RoleName) {
        let mut seen = self.seen();
        let first = seen.sightings.lives.get(&process).copied();
        if let Some(life) = first {
            let roles = seen.sightings.roles.entry(life).or_default();
            roles.insert(flow, role.clone());
        }
    }

    /// To which role a flow goes.
    pub(crate) fn role_of(&self, origin: Origin, flow: FlowId) -> Option<RoleName> {
        let seen = self.seen();
        let lives = (origin.node, Epoch(0))..=(origin.node, origin.epoch);
        let (_, roles) = seen.sightings.roles.range(lives).next_back()?;
        roles.get(&flow).cloned()
    }

    /// The run came to this point.
    pub(crate) fn reach(&self, probe: Probe) {
        self.seen().reached.note(probe);
    }

    /// The points that the run came to.
    pub(crate) fn reached(&self) -> Reached {
        self.seen().reached.clone()
    }

    /// What an engine sends over its link to a peer: a frame of a class, or a datagram.
    pub(crate) fn leaves(
        &self,
        (from, to): (NodeId, NodeId),
        class: Option<Class>,
        (head, body): (&Bytes, &Bytes),
    ) {
        let now = self.now();
        let mut seen = self.seen();
        if class.is_some() {
            seen.statistics.frames += 1;
            seen.statistics.frame_bytes += (head.len() + body.len()) as u64;
        }
        if class == Some(Class::Data) {
            seen.statistics.data_head_bytes += head.len() as u64;
            seen.statistics.payload_bytes_sent += body.len() as u64;
        }
        seen.traffic.leaves(now, (from, to, class), (head, body));
    }

    /// What an engine hears over its link to a peer.
    pub(crate) fn arrives(&self, ends: (NodeId, NodeId), class: Option<Class>, bytes: &Bytes) {
        let now = self.now();
        let mut seen = self.seen();
        seen.traffic.arrives(now, (ends.0, ends.1, class), bytes);
    }

    /// A link came up or went down at one end.
    pub(crate) fn link(&self, end: NodeId, peer: NodeId, up: bool) {
        let mut seen = self.seen();
        if seen.traffic.link(end, peer, up) && up {
            seen.reached.note(Probe::LinkReplaced);
        }
    }

    /// Whether both ends of a link are up.
    pub(crate) fn is_linked(&self, one: NodeId, other: NodeId) -> bool {
        self.seen().traffic.is_linked(one, other)
    }

    /// When something that is no heartbeat was last sent.
    pub(crate) fn busy_at(&self) -> Time {
        self.seen().traffic.busy_at
    }

    /// Everything that travelled, if that was asked for.
    pub(crate) fn passages(&self) -> Vec<Passage> {
        self.seen().traffic.take_passages()
    }

    /// A line for whoever reads along, if somebody does.
    pub(crate) fn line(&self, what: fmt::Arguments<'_>) {
        let now = self.0.network.now();
        if let Some(sink) = &mut self.seen().sink {
            // A reader who went away does not change the run.
            let _ = writeln!(sink, "{now} {what}");
        }
    }

    /// What the ghost was told, if that was asked for.
    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        self.seen().record.take().unwrap_or_default()
    }

    /// Says that a promise is broken that the ghost does not know.
    pub(crate) fn complain(&self, process: ProcessId, broken: Broken) {
        let at = self.0.network.now();
        let mut seen = self.seen();
        let node = seen.ghost.name(process);
        seen.violation.get_or_insert(Violation { at, node, broken });
        self.0.broken.notify_one();
    }

    /// Asks the ghost.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Ghost) -> T) -> T {
        question(&self.seen().ghost)
    }

    /// Figures of what was seen.
    pub(crate) fn statistics(&self) -> Statistics {
        let seen = self.seen();
        Statistics {
            latency: seen.latencies.quantiles(),
            ..seen.statistics.clone()
        }
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Statistics)) {
        count(&mut self.seen().statistics);
    }

    /// An engine gets what may be messages that several are to hold.
    pub(crate) fn note_arrival(
        &self,
        process: ProcessId,
        me: NodeId,
        (class, frame): (Class, &Bytes),
    ) {
        let ghost = &mut self.seen().ghost;
        if ghost.wants_arrivals()
            && let Some((origin, flow, messages)) = messages_for(me, class, frame)
        {
            ghost.arrived(process, (origin, flow), messages);
        }
    }

    /// What the engine of a process keeps although nobody needs it any more, if nothing travels.
    pub(crate) fn left_over(&self, process: ProcessId) -> Option<&'static str> {
        self.seen().left_over.get(&process).copied().flatten()
    }

    pub(crate) fn check_usage(&self, process: ProcessId, engine: &Engine) {
        let usage = engine.usage();
        let left = left_over(&usage);
        self.count(|statistics| statistics.note_usage(&usage));
        self.seen().left_over.insert(process, left);
        let checked = check_usage(&usage, &self.seen().bounds);
        if let Err(broken) = checked {
            self.complain(process, broken);
        }
    }

    /// The next process; it has not ended.
    pub(crate) fn begin(&self) -> ProcessId {
        let mut seen = self.seen();
        seen.ended.push(false);
        ProcessId(u32::try_from(seen.ended.len() - 1).expect("few processes"))
    }

    /// The time since the start of the run.
    pub(crate) fn now(&self) -> Time {
        self.0.network.now()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Notes the points to which a run comes with this.
    fn probe(&mut self, process: ProcessId, observation: &Observation) {
        let (reached, seen) = (&mut self.reached, &mut self.sightings);
        match observation {
            Observation::Started { identity, .. } => {
                seen.nodes.insert(process, identity.id);
                seen.lives.insert(process, (identity.id, identity.epoch));
                self.traffic.starts(process, identity.id);
            }
            Observation::Renewed { .. } => {
                seen.renewed.insert(process);
                reached.note(Probe::Renewed);
            }
            Observation::Left { drained: true } => reached.note(Probe::Drained),
            Observation::Left { drained: false } => reached.note(Probe::LeftUndrained),
            Observation::Delivered(_) if seen.renewed.contains(&process) => {
                reached.note(Probe::DeliveredToRenewed);
            }
            Observation::Called(called) => {
                let call = (called.from.origin.node, called.from.call);
                if !seen.calls.insert(call) {
                    reached.note(Probe::CallRetried);
                }
            }
            Observation::Gapped { gap, .. } => reached.note_gap(gap),
            Observation::Lagged { lagged, .. } => reached.note_lag(lagged),
            Observation::Begun { started, .. } => reached.note_start(started),
            Observation::LargeEnded { end, .. } => reached.note_end(*end),
            Observation::Refused { flow } => reached.note_refused(*flow),
            Observation::KeepsLast { flow } => {
                seen.keeping.insert((process, *flow));
            }
            Observation::Told(event) => {
                reached.note_event(event);
                seen.tell(process, event, reached);
            }
            _ => {}
        }
    }

    fn note(&mut self, at: Time, process: ProcessId, observation: &Observation) {
        if let Some(sink) = &mut self.sink {
            let name = self.ghost.name(process);
            let _ = writeln!(sink, "{at} {name:<5} {observation:?}");
        }
        if let Some(record) = &mut self.record {
            let observation = observation.clone();
            record.push(Recorded {
                at,
                process,
                observation,
            });
        }
    }
}
