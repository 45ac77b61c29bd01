//! What happens between drivers and engines, told to the ghost.
//!
//! The ghost is the one that checks engines alone, and sees the same observations.
//! What the drivers hand to the programs is compared with what their engines delivered in the [`Journal`].

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rolecast::simulation::{Sight, Witness};
use rolecast_membership::{Event as MembershipEvent, RoleName, Tenure, Time};
use rolecast_protocol::{
    Accepted, Batch, Delivery, Dissemination, Engine, Event, FlowId, Gap, InboxId, Origin, ReplyTo,
    Ticket,
};
use tokio::sync::Notify;

use super::network::Network;
use crate::check::{
    Bounds, Broken, Called, Callee, Calling, Ghost, Holder, Name, Observation, ProcessId,
    Receiving, Recorded, Sending, Violation, check_usage,
};
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
}

impl Watch {
    /// Watches the mesh of a scenario in which there are so many roles.
    ///
    /// Everything that the ghost is told is written to the sink, and kept if that is asked for.
    pub(crate) fn new(
        network: &Network,
        scenario: &Scenario,
        roles: usize,
        sink: Option<Box<dyn Write + Send>>,
        record: bool,
    ) -> Self {
        let limits = &scenario.limits;
        let ghost = Ghost::with_window(limits.flow_window_bytes).with_core(scenario.core.clone());
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

    fn count(&self, count: impl FnOnce(&mut Statistics)) {
        count(&mut self.seen().statistics);
    }

    fn check_usage(&self, process: ProcessId, engine: &Engine) {
        let checked = check_usage(&engine.usage(), &self.seen().bounds);
        if let Err(broken) = checked {
            self.complain(process, broken);
        }
    }

    /// The next process; it has not ended.
    fn begin(&self) -> ProcessId {
        let mut seen = self.seen();
        seen.ended.push(false);
        ProcessId(u32::try_from(seen.ended.len() - 1).expect("few processes"))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
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

/// Watches one process.
pub(crate) struct ProcessWitness {
    watch: Watch,
    process: ProcessId,
    name: Name,
    /// When the engine's clock started.
    started: Time,
    inboxes: BTreeMap<InboxId, RoleName>,
    /// Multicasts that were delivered and not taken: up to which position of which flow.
    tickets: Vec<(Ticket, InboxId, Origin, FlowId, u64)>,
    drained: bool,
    journal: Journal,
    /// How many outputs the driver has asked for.
    polled: usize,
    /// How many outputs the engine had given or waiting when it was asked last.
    asked: usize,
    /// What the driver said, each with how many outputs the engine had given or waiting at that moment: so it is told in the order in which it happened.
    said: VecDeque<(usize, Observation)>,
}

impl ProcessWitness {
    /// Watches the process that starts at this moment, under this name.
    pub(crate) fn new(watch: &Watch, name: Name, journal: &Journal) -> Self {
        ProcessWitness {
            watch: watch.clone(),
            process: watch.begin(),
            name,
            started: watch.0.network.now(),
            inboxes: BTreeMap::new(),
            tickets: Vec::new(),
            drained: false,
            journal: journal.clone(),
            polled: 0,
            asked: 0,
            said: VecDeque::new(),
        }
    }

    /// Which process it is.
    pub(crate) fn process(&self) -> ProcessId {
        self.process
    }

    fn observe(&self, observation: Observation) {
        self.watch.observe(self.process, observation);
    }

    /// Tells the ghost of what the engine did when it was asked last, once it knows what the engine had said before.
    fn done(&mut self, observation: Observation) {
        self.said.push_back((self.asked, observation));
        self.catch_up();
    }

    /// Tells the ghost of something that the driver is about to say to the engine.
    fn said(&mut self, engine: &Engine, observation: Observation) {
        self.asked = self.polled + engine.outputs_waiting();
        self.done(observation);
    }

    /// Tells the ghost what the driver said before the next output.
    fn catch_up(&mut self) {
        while let Some(first) = self.said.front()
            && first.0 <= self.polled
            && let Some((_, observation)) = self.said.pop_front()
        {
            self.watch.observe(self.process, observation);
        }
    }

    fn took_up(&mut self, engine: &Engine, inbox: InboxId, role: &RoleName) {
        self.inboxes.insert(inbox, role.clone());
        self.journal.open(role);
        match own_tenure(engine, role) {
            Some(tenure) => {
                let role = role.clone();
                let observation = Observation::TookUp {
                    inbox,
                    role,
                    tenure,
                };
                self.done(observation);
            }
            None => {
                let what = format!("{role:?} was taken up without a tenure");
                self.watch.complain(self.process, Broken::Command { what });
            }
        }
    }

    fn accepted(
        &mut self,
        engine: &Engine,
        (flow, role, dissemination): (FlowId, &RoleName, Dissemination),
        accepted: &Accepted,
        batch: &Batch,
    ) {
        self.watch
            .count(|statistics| statistics.messages += u64::from(batch.count()));
        let sending = Sending {
            flow,
            role: role.clone(),
            dissemination,
            first: accepted.first,
            last: accepted.last,
            members: accepted.members,
            holders: holders(engine, role),
            batch: batch.clone(),
        };
        self.done(Observation::Sent(sending));
    }

    fn delivered(&mut self, inbox: InboxId, delivery: &Delivery) {
        if let Some(role) = self.inboxes.get(&inbox) {
            self.journal.deliver(role, delivery);
        }
        match delivery {
            Delivery::Messages {
                origin,
                flow,
                first,
                batch,
                ticket,
            } => {
                let upto = first.0 + u64::from(batch.count()) - 1;
                self.tickets.push((*ticket, inbox, *origin, *flow, upto));
                self.observe(Observation::Delivered(Receiving {
                    inbox,
                    origin: *origin,
                    flow: *flow,
                    first: *first,
                    batch: batch.clone(),
                }));
            }
            Delivery::Call {
                from,
                wants_reply,
                payload,
                ..
            } => self.observe(Observation::Called(Called {
                inbox,
                from: *from,
                wants_reply: *wants_reply,
                payload: payload.clone(),
            })),
            Delivery::Gap(gap) => {
                self.watch.count(|statistics| statistics.gaps += 1);
                self.observe(Observation::Gapped { inbox, gap: *gap });
            }
        }
    }

    fn consumed(&mut self, engine: &Engine, ticket: Ticket) {
        let taken = self.tickets.iter().position(|(other, ..)| *other == ticket);
        if let Some(taken) = taken {
            let (_, inbox, origin, flow, upto) = self.tickets.remove(taken);
            let observation = Observation::Consumed {
                inbox,
                origin,
                flow,
                upto,
            };
            self.said(engine, observation);
        }
    }

    fn told(&mut self, engine: &Engine, event: &Event) {
        if let Event::Membership(event) = event
            && let MembershipEvent::Renewed(identity) = **event
        {
            self.watch.count(|statistics| statistics.renewals += 1);
            let inboxes = self.inboxes.iter();
            let tenures = inboxes
                .filter_map(|(&inbox, role)| Some((inbox, own_tenure(engine, role)?)))
                .collect();
            self.observe(Observation::Renewed { identity, tenures });
            return;
        }
        self.drained |= matches!(event, Event::Drained);
        self.observe(Observation::Told(event.clone()));
    }

    fn calls(&mut self, calling: Calling) {
        self.watch.count(|statistics| statistics.calls += 1);
        let deadline = self.started + calling.deadline.since(Time::ZERO);
        self.done(Observation::Calls(Calling {
            deadline,
            ..calling
        }));
    }
}

impl Witness for ProcessWitness {
    fn saw(&mut self, engine: &Engine, sight: Sight<'_>) {
        self.watch.count(|statistics| statistics.events += 1);
        match sight {
            Sight::Started { everyone } => {
                let (name, identity) = (self.name, engine.identity());
                self.observe(Observation::Started { name, identity });
                self.took_up(engine, everyone, &RoleName::everyone());
            }
            Sight::Asks => self.asked = self.polled + engine.outputs_waiting(),
            Sight::TookUp { inbox, role } => self.took_up(engine, inbox, role),
            Sight::Drops { inbox } => {
                self.inboxes.remove(&inbox);
                self.said(engine, Observation::Dropped { inbox });
            }
            Sight::Accepted {
                flow,
                role,
                dissemination,
                accepted,
                batch,
            } => self.accepted(engine, (flow, role, dissemination), accepted, batch),
            Sight::Gathers {
                call,
                role,
                deadline,
            } => {
                let to = Callee::All(engine.holders(role));
                self.calls(Calling { call, to, deadline });
            }
            Sight::Calls {
                call,
                target,
                kind,
                payload,
                deadline,
            } => {
                let (target, payload) = (target.clone(), payload.clone());
                let to = Callee::One {
                    target,
                    kind,
                    payload,
                };
                self.calls(Calling { call, to, deadline });
            }
            Sight::Cancels { call } => self.said(engine, Observation::Cancels { call }),
            Sight::Replies { to, answer } => {
                let answer = answer.clone();
                self.said(engine, Observation::Replies { to, answer });
            }
            Sight::Polled => {
                self.catch_up();
                self.polled += 1;
            }
            Sight::Delivered { inbox, delivery } => self.delivered(inbox, delivery),
            Sight::Consumed { ticket } => self.consumed(engine, ticket),
            Sight::Told(event) => self.told(engine, event),
            Sight::AtRest => {
                self.catch_up();
                self.observe(Observation::AtRest);
                self.watch.check_usage(self.process, engine);
            }
            Sight::Ended { left: true } => {
                let drained = self.drained;
                self.observe(Observation::Left { drained });
            }
            Sight::Ended { left: false } => self.observe(Observation::Crashed),
        }
    }
}

fn own_tenure(engine: &Engine, role: &RoleName) -> Option<Tenure> {
    let own = engine.members().into_iter().next()?;
    own.record.roles.get(role).copied()
}

/// The holders of a role in the engine's view, as it stamps them.
fn holders(engine: &Engine, role: &RoleName) -> Arc<[Holder]> {
    let members: BTreeMap<_, _> = engine
        .members()
        .into_iter()
        .map(|member| (member.record.identity.id, member.record))
        .collect();
    let nodes = engine.holders(role).into_iter();
    let holders = nodes.filter_map(|node| {
        let record = members.get(&node)?;
        let (epoch, tenure) = (record.identity.epoch, *record.roles.get(role)?);
        Some(Holder {
            node,
            epoch,
            tenure,
        })
    });
    holders.collect()
}

/// What the engine of one process delivered to each of its roles, and what the program has not taken yet; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Arc<Mutex<BTreeMap<RoleName, VecDeque<Entry>>>>);

/// Something that is to come out of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A multicast: its origin, its position, what it says and whether an answer is awaited.
    Message(Origin, u64, Bytes, bool),
    /// A call.
    Call(Origin, Bytes, bool),
    /// A gap.
    Gap(Gap),
}

impl Journal {
    /// The role is taken up: nothing has been delivered.
    fn open(&self, role: &RoleName) {
        self.roles().insert(role.clone(), VecDeque::new());
    }

    fn deliver(&self, role: &RoleName, delivery: &Delivery) {
        let mut roles = self.roles();
        let Some(entries) = roles.get_mut(role) else {
            return;
        };
        match delivery {
            Delivery::Messages {
                origin,
                first,
                batch,
                ..
            } => {
                let messages = batch.clone().into_messages();
                entries.extend((first.0..).zip(messages).map(|(seq, message)| {
                    Entry::Message(*origin, seq, message.payload, message.call.is_some())
                }));
            }
            Delivery::Call {
                from: ReplyTo { origin, .. },
                wants_reply,
                payload,
                ..
            } => entries.push_back(Entry::Call(*origin, payload.clone(), *wants_reply)),
            Delivery::Gap(gap) => entries.push_back(Entry::Gap(*gap)),
        }
    }

    /// The program took something out of the inbox of a role: is it what is next?
    ///
    /// What was broadcast before the program asked for it never comes out.
    pub(crate) fn take(&self, role: &RoleName, taken: &Entry) -> Result<(), Option<Entry>> {
        let mut roles = self.roles();
        let entries = roles.get_mut(role).ok_or(None)?;
        let mut next = entries.pop_front();
        while *role == RoleName::everyone() && next.as_ref().is_some_and(|next| next != taken) {
            next = entries.pop_front();
        }
        match next {
            Some(next) if next == *taken => Ok(()),
            other => Err(other),
        }
    }

    fn roles(&self) -> MutexGuard<'_, BTreeMap<RoleName, VecDeque<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
