//! What passes between the driver and the engine of one process, told to the ghost in the order in which it happened.
//!
//! The ghost is the one that checks engines alone, and sees the same observations.
//! What the driver hands to the program is compared with what its engine delivered in the [`Journal`].

mod narrowed;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rolecast::simulation::{Sight, Witness};
use rolecast_membership::{Event as MembershipEvent, NodeId, RoleName, Tenure, Time};
use rolecast_protocol::{
    Accepted, Batch, Class, CloseReason, Delivery, Engine, Event, FlowId, InboxId, Input, LinkId,
    Mode, Origin, Output, Reach, Seq, SlowMembers, Ticket,
};

use super::journal::Journal;
use super::watch::Watch;
use crate::application::{announcement, end};
use crate::check::{
    Broken, Called, Callee, Calling, Holder, Name, Observation, ProcessId, Receiving, Sending,
};
use crate::clock::Clock;
use crate::probe::Probe;
use crate::process::holding;

/// Watches one process.
pub(crate) struct ProcessWitness {
    watch: Watch,
    process: ProcessId,
    name: Name,
    /// How the process's clock runs at its start.
    clock: Clock,
    /// What it showed when the engine's clock started.
    started: Time,
    /// Who is at the other end of each link.
    links: BTreeMap<LinkId, NodeId>,
    inboxes: BTreeMap<InboxId, RoleName>,
    /// Multicasts that were delivered and not taken: up to which position of which flow.
    tickets: Vec<(Ticket, InboxId, Origin, FlowId, u64)>,
    drained: bool,
    /// The large payloads that are being sent: to whom, and how many chunks were.
    larges: BTreeMap<FlowId, Sending>,
    /// How many chunks came of each large payload.
    chunks: BTreeMap<(InboxId, Origin, FlowId), u64>,
    journal: Journal,
    /// How many outputs the driver has asked for.
    polled: usize,
    /// How many outputs the engine had given or waiting when it was asked last.
    asked: usize,
    /// What the driver said, each with how many outputs the engine had given or waiting at that moment: so it is told in the order in which it happened.
    said: VecDeque<(usize, Said)>,
    /// What the process does with slow members, of the flows that it opened.
    slow: BTreeMap<FlowId, SlowMembers>,
    narrowed: narrowed::Inboxes,
}

/// What the driver said, or what follows from it.
enum Said {
    /// For the ghost.
    To(Box<Observation>),
    /// These are the inboxes of narrowed roles from here on.
    Narrowed(narrowed::Narrowed),
}

impl ProcessWitness {
    /// Watches the process that starts at this moment, under this name.
    pub(crate) fn new(watch: &Watch, name: Name, clock: Clock, journal: &Journal) -> Self {
        ProcessWitness {
            watch: watch.clone(),
            process: watch.begin(),
            name,
            clock,
            started: clock.at(watch.now()),
            links: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            tickets: Vec::new(),
            drained: false,
            larges: BTreeMap::new(),
            chunks: BTreeMap::new(),
            journal: journal.clone(),
            polled: 0,
            asked: 0,
            said: VecDeque::new(),
            slow: BTreeMap::new(),
            narrowed: narrowed::Inboxes::default(),
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
        let said = Said::To(Box::new(observation));
        self.said.push_back((self.asked, said));
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
            && let Some((_, said)) = self.said.pop_front()
        {
            match said {
                Said::To(observation) => self.watch.observe(self.process, *observation),
                Said::Narrowed(present) => self.now_narrowed(present),
            }
        }
    }

    fn took_up(&mut self, engine: &Engine, inbox: InboxId, role: &RoleName, replay: u32) {
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
                if replay > 0 {
                    let messages = replay;
                    self.done(Observation::AsksForPast { inbox, messages });
                }
            }
            None => {
                let what = format!("{role:?} was taken up without a tenure");
                self.watch.complain(self.process, Broken::Command { what });
            }
        }
        self.open_narrowed(engine, inbox, role, replay);
    }

    fn opened(&mut self, flow: FlowId, role: &RoleName, slow: SlowMembers) {
        self.slow.insert(flow, slow);
        self.watch.opened(self.process, flow, role);
        match slow {
            SlowMembers::Wait => {}
            SlowMembers::Evict { after } => self.done(Observation::Evicts { flow, after }),
            SlowMembers::KeepLast => self.done(Observation::KeepsLast { flow }),
        }
    }

    fn accepted(
        &mut self,
        engine: &Engine,
        (flow, role, mode): (FlowId, &RoleName, Mode),
        accepted: &Accepted,
        batch: &Batch,
    ) {
        self.watch
            .count(|statistics| statistics.messages += u64::from(batch.count()));
        let sending = Sending {
            flow,
            role: role.clone(),
            mode,
            first: accepted.first,
            last: accepted.last,
            members: accepted.members,
            holders: holders(engine, flow, role),
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
                let inbox = self.seen_in(inbox, *origin, *flow);
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
            Delivery::Large {
                origin,
                flow,
                seq,
                large,
                ticket,
                ..
            } => {
                self.tickets.push((*ticket, inbox, *origin, *flow, seq.0));
                self.observe(Observation::Delivered(Receiving {
                    inbox,
                    origin: *origin,
                    flow: *flow,
                    first: *seq,
                    batch: announcement(*large),
                }));
            }
            Delivery::Chunk {
                origin,
                flow,
                chunk,
                ticket,
            } => {
                let count = self.chunks.entry((inbox, *origin, *flow)).or_default();
                *count += 1;
                let first = Seq(*count);
                self.tickets.push((*ticket, inbox, *origin, *flow, first.0));
                self.observe(Observation::Delivered(Receiving {
                    inbox,
                    origin: *origin,
                    flow: *flow,
                    first,
                    batch: Batch::single(chunk.clone(), None),
                }));
            }
            Delivery::LargeEnd { origin, flow, end } => self.observe(Observation::LargeEnded {
                inbox,
                origin: *origin,
                flow: *flow,
                end: *end,
            }),
            Delivery::Gap(gap) => {
                self.watch.count(|statistics| statistics.gaps += 1);
                let inbox = self.gap_seen_in(inbox, *gap);
                self.observe(Observation::Gapped { inbox, gap: *gap });
            }
            Delivery::Lagged(lagged) => {
                let lagged = *lagged;
                let inbox = self.seen_in(inbox, lagged.origin, lagged.flow);
                self.observe(Observation::Lagged { inbox, lagged });
            }
            Delivery::Started(started) => {
                let started = *started;
                let inbox = self.seen_in(inbox, started.origin, started.flow);
                self.observe(Observation::Begun { inbox, started });
            }
        }
    }

    /// The engine took the next chunk of a large payload, or its end.
    fn sent_of_large(&mut self, flow: FlowId, batch: Batch) {
        let Some(sending) = self.larges.get_mut(&flow) else {
            return;
        };
        sending.first.0 += 1;
        sending.last = sending.first;
        let sending = Sending {
            batch,
            ..sending.clone()
        };
        self.done(Observation::Sent(sending));
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

    /// The transport has something for the engine.
    fn hears(&mut self, engine: &Engine, input: &Input) {
        let me = engine.identity().id;
        match input {
            Input::LinkUp { link, peer, .. } => {
                if engine.reach(*peer) == Reach::Resting {
                    self.watch.reach(Probe::LinkWoken);
                }
                self.links.insert(*link, *peer);
                self.watch.link(me, *peer, true);
            }
            Input::LinkDown { link } => {
                if let Some(peer) = self.links.remove(link)
                    && !self.links.values().any(|other| *other == peer)
                {
                    self.watch.link(me, peer, false);
                }
            }
            Input::Frame { link, class, bytes } => {
                self.watch.note_arrival(self.process, me, (*class, bytes));
                self.arrives(me, *link, Some(*class), bytes);
            }
            Input::Datagram { link, bytes } => self.arrives(me, *link, None, bytes),
            _ => {}
        }
    }

    fn arrives(&self, me: NodeId, link: LinkId, class: Option<Class>, bytes: &Bytes) {
        if let Some(&peer) = self.links.get(&link) {
            self.watch.arrives((peer, me), class, bytes);
        }
    }

    /// The engine has the transport do something.
    fn says(&self, me: NodeId, output: &Output) {
        let (link, class, parts) = match output {
            Output::Frame {
                link,
                class,
                head,
                body,
            } => (link, Some(*class), (head, body)),
            Output::Datagram { link, bytes } => (link, None, (bytes, &Bytes::new())),
            Output::Close {
                reason: CloseReason::Idle,
                ..
            } => return self.watch.reach(Probe::LinkRested),
            _ => return,
        };
        if let Some(&peer) = self.links.get(link) {
            self.watch.leaves((me, peer), class, parts);
        }
    }

    fn told(&mut self, engine: &Engine, event: &Event) {
        if let Event::Membership(event) = event
            && let MembershipEvent::Renewed(identity) = **event
        {
            self.watch.count(|statistics| statistics.renewals += 1);
            let inboxes = self.inboxes.iter();
            let whole =
                inboxes.filter_map(|(&inbox, role)| Some((inbox, own_tenure(engine, role)?)));
            let tenures = whole.chain(self.narrowed_tenures()).collect();
            self.observe(Observation::Renewed { identity, tenures });
            return;
        }
        if let Event::Membership(event) = event
            && let MembershipEvent::Down(_) = **event
        {
            let now = self.watch.now();
            self.watch.count(|statistics| statistics.note_down(now));
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
                let clock = self.clock;
                self.observe(Observation::ClockSet { clock });
                self.starts_at(engine);
                self.took_up(engine, everyone, &RoleName::everyone(), 0);
            }
            Sight::Asks => {
                self.asked = self.polled + engine.outputs_waiting();
                for (&flow, sending) in &mut self.larges {
                    sending.go_on_without(&engine.left_out(flow));
                }
            }
            Sight::Opened { flow, role, slow } => self.opened(flow, role, slow),
            Sight::Refused { flow } => self.done(Observation::Refused { flow }),
            Sight::Described => self.described(engine),
            Sight::TookUp {
                inbox,
                role,
                replay,
            } => self.took_up(engine, inbox, role, replay),
            Sight::Drops { inbox } => {
                self.inboxes.remove(&inbox);
                if self.tickets.iter().any(|(_, at, ..)| *at == inbox) {
                    self.watch.reach(Probe::DroppedUntaken);
                }
                self.said(engine, Observation::Dropped { inbox });
                self.close_narrowed(inbox);
            }
            Sight::Accepted {
                flow,
                role,
                mode,
                accepted,
                batch,
            } => self.accepted(engine, (flow, role, mode), accepted, batch),
            Sight::Announced {
                flow,
                role,
                mode,
                accepted,
                large,
                length,
            } => {
                let batch = announcement(large);
                self.accepted(engine, (flow, role, mode), accepted, &batch);
                let sending = Sending {
                    flow: large,
                    role: role.clone(),
                    mode: mode.dissemination.into(),
                    first: Seq(0),
                    last: Seq(0),
                    members: accepted.members,
                    holders: holders(engine, flow, role),
                    batch,
                };
                self.larges.insert(large, sending);
                let slow = self.slow.get(&flow).copied();
                let flow = large;
                self.done(Observation::Announced { flow, length });
                if let Some(SlowMembers::Evict { after }) = slow {
                    self.done(Observation::Evicts { flow, after });
                }
            }
            Sight::SentChunk { flow, chunk } => {
                self.sent_of_large(flow, Batch::single(chunk.clone(), None));
            }
            Sight::SentEnd { flow, complete } => {
                self.done(Observation::Ended { flow, complete });
                self.sent_of_large(flow, end(complete));
                self.larges.remove(&flow);
            }
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
            Sight::Hears(input) => self.hears(engine, input),
            Sight::Polled(output) => {
                self.says(engine.identity().id, output);
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

impl Sending {
    /// Whoever is left out is not meant from here on.
    fn go_on_without(&mut self, left_out: &[NodeId]) {
        if left_out.is_empty() {
            return;
        }
        let meant = self.holders.iter();
        let meant = meant.filter(|holder| !left_out.contains(&holder.node));
        self.holders = meant.copied().collect();
        self.members = self.holders.len();
    }
}

fn own_tenure(engine: &Engine, role: &RoleName) -> Option<Tenure> {
    holding(engine.record(), role)
}

/// The holders of a role in the engine's view, as it stamps what it sends in this flow.
fn holders(engine: &Engine, flow: FlowId, role: &RoleName) -> Arc<[Holder]> {
    let left_out = engine.left_out(flow);
    let members: BTreeMap<_, _> = engine
        .members()
        .into_iter()
        .map(|member| (member.record.identity.id, member.record))
        .collect();
    let nodes = engine.holders(role).into_iter();
    let nodes = nodes.filter(|node| !left_out.contains(node));
    let holders = nodes.filter_map(|node| {
        let record = members.get(&node)?;
        let (epoch, tenure) = (record.identity.epoch, holding(record, role)?);
        Some(Holder {
            node,
            epoch,
            tenure,
        })
    });
    holders.collect()
}
