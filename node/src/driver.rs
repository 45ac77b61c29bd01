//! The one task that owns a node's engine.
//!
//! In every turn it takes in everything that is ready, in a fixed order, and then carries out what the engine asks for: what happened in the transport (urgent events first), tickets, commands, outboxes, and the deadline.
//! It gives way to other tasks after every turn that moved much, so that the transport can send what was queued while the application queues more.
//! Nothing here decides anything about messages: roles, orders and routes live in the engine.

mod calls;
mod commands;
mod downloads;
mod flows;
mod inboxes;
mod links;
mod mesh;
mod shutdown;
mod uploads;
mod witnessed;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rolecast_membership::{NodeId, RoleName, Time};
use rolecast_protocol::{Engine, Event, Input, LinkId, Output};
use rolecast_transport::{Events, Link, Transport, TransportEvent};
use tokio::time::Sleep;
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::counters::Counters;
use crate::driver::calls::Calls;
use crate::driver::downloads::Downloads;
use crate::driver::flows::Flows;
use crate::driver::inboxes::Inboxes;
use crate::driver::shutdown::Phase;
use crate::driver::uploads::Uploads;
use crate::error::ClosedReason;
use crate::members::WatchQueue;
use crate::outcomes::HolderOutcome;
use crate::shared::{Shared, Work};
use crate::simulation::Sight;
use crate::state_dir::StateDir;

pub(crate) use witnessed::Witnessed;

pub(crate) struct Driver {
    shared: Arc<Shared>,
    engine: Engine,
    clock: Clock,
    /// The time of the present turn.
    now: Time,
    /// `None` once it is closed.
    transport: Option<Transport>,
    events: Events,
    address_matters: bool,
    state: Option<StateDir>,
    links: BTreeMap<LinkId, Link>,
    inboxes: Inboxes,
    downloads: Downloads,
    flows: Flows,
    uploads: Uploads,
    calls: Calls,
    watchers: Vec<Arc<WatchQueue>>,
    counters: Counters,
    phase: Phase,
    /// The node that the engine found to be gone last, and how: what it says of holders that are lost comes right behind that.
    departed: Option<(NodeId, HolderOutcome)>,
    witnessed: Witnessed,
}

/// What a node sends and hears through.
pub(crate) struct Network {
    pub(crate) transport: Transport,
    pub(crate) events: Events,
    /// Whether the address was asked for, so that another node may be waiting for it.
    pub(crate) address_matters: bool,
    /// Who sees what passes between the driver and the engine.
    pub(crate) witnessed: Witnessed,
}

/// What is ready in one turn; the lists keep their room from turn to turn.
#[derive(Default)]
struct Ready {
    happened: Vec<TransportEvent>,
    work: Work,
    due: bool,
    transport_ended: bool,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        mut engine: Engine,
        clock: Clock,
        mut network: Network,
        state: Option<StateDir>,
    ) -> Self {
        let now = clock.now();
        let everyone = engine
            .take_up(now, RoleName::everyone())
            .expect("a node that holds nothing can take up a role");
        let counters = Counters::new(shared.id);
        network
            .witnessed
            .saw(&engine, || Sight::Started { everyone });
        Driver {
            shared,
            engine,
            clock,
            now,
            transport: Some(network.transport),
            events: network.events,
            address_matters: network.address_matters,
            state,
            links: BTreeMap::new(),
            inboxes: Inboxes::new(everyone),
            downloads: Downloads::default(),
            flows: Flows::default(),
            uploads: Uploads::default(),
            calls: Calls::default(),
            watchers: Vec::new(),
            counters,
            phase: Phase::Running,
            departed: None,
            witnessed: network.witnessed,
        }
    }

    /// Starts the task, where the transport's tasks run.
    pub(crate) fn spawn(self) {
        let span = tracing::info_span!("node", id = %self.shared.id);
        let tasks = self.transport.as_ref().map(Transport::tasks);
        let tasks = tasks.expect("a transport that was just opened is open");
        tasks.spawn(self.run().instrument(span));
    }

    async fn run(mut self) {
        let identity = self.engine.identity();
        tracing::info!(addr = %identity.addr, epoch = %identity.epoch, "the node is up");
        let mut ready = Ready::default();
        let mut sleep = Box::pin(tokio::time::sleep_until(self.clock.instant(self.now)));
        self.carry_out();
        let mut turns_at_once = 0;
        loop {
            self.arm(sleep.as_mut());
            poll_fn(|cx| {
                let polled = self.poll_ready(cx, sleep.as_mut(), &mut ready);
                if polled.is_pending() {
                    turns_at_once = 0;
                }
                polled
            })
            .await;
            self.now = self.clock.now();
            let bulk = self.turn(&mut ready);
            if let Some(reason) = self.finished() {
                self.stop(reason).await;
                return;
            }
            turns_at_once += 1;
            if bulk || turns_at_once == TURNS_AT_ONCE_MAX {
                turns_at_once = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Sets the deadline, unless one that comes earlier is set: to wake too early costs less than to set it.
    fn arm(&self, sleep: Pin<&mut Sleep>) {
        let engine = self.engine.poll_timeout();
        let wanted = engine.into_iter().chain(self.deadline()).min();
        let wanted = self.clock.instant(wanted.unwrap_or(self.now + IDLE_WAIT));
        if sleep.is_elapsed() || wanted < sleep.deadline() {
            sleep.reset(wanted);
        }
    }

    fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        sleep: Pin<&mut Sleep>,
        ready: &mut Ready,
    ) -> Poll<()> {
        let happened = match self
            .events
            .poll_recv_many(cx, &mut ready.happened, DATA_FRAMES_MAX)
        {
            Poll::Ready(more) => {
                ready.transport_ended = !more;
                true
            }
            Poll::Pending => false,
        };
        let work = self.shared.poll_work(cx, &mut ready.work).is_ready();
        ready.due = sleep.poll(cx).is_ready() || self.clock.was_set();
        if happened || work || ready.due {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Takes in everything that is ready, and carries out what follows; says whether that was much.
    fn turn(&mut self, ready: &mut Ready) -> bool {
        let bulk = !ready.work.outboxes.is_empty() || ready.happened.len() >= BULK_EVENTS_MIN;
        for event in ready.happened.drain(..) {
            self.on_transport(event);
        }
        // What was taken from an inbox before its role was dropped counts as taken.
        for ticket in ready.work.tickets.drain(..) {
            self.witnessed
                .saw(&self.engine, || Sight::Consumed { ticket });
            self.engine.handle(self.now, Input::Consumed { ticket });
        }
        for command in ready.work.commands.drain(..) {
            self.on_command(command);
        }
        for outbox in ready.work.outboxes.drain(..) {
            self.send_outbox(&outbox);
        }
        for upload in ready.work.uploads.drain(..) {
            self.send_upload(&upload);
        }
        if ready.due {
            self.engine.handle(self.now, Input::Timeout);
        }
        if ready.transport_ended {
            self.phase = Phase::Over(ClosedReason::Transport);
        }
        self.carry_out();
        bulk
    }

    /// Carries out everything that the engine asks for.
    fn carry_out(&mut self) {
        loop {
            while let Some(output) = self.engine.poll_output() {
                self.on_output(output);
            }
            // What became writable fills up again, which may ask for more.
            if !self.send_writable() {
                break;
            }
        }
        self.witnessed.saw(&self.engine, || Sight::AtRest);
        self.note_slowest();
        self.note_acknowledged();
        if let Some(transport) = &self.transport {
            transport.flush();
        }
        self.counters
            .messages_relayed
            .absolute(self.engine.relayed());
    }

    fn on_output(&mut self, output: Output) {
        self.witnessed.saw(&self.engine, || Sight::Polled(&output));
        match output {
            Output::Frame {
                link,
                class,
                head,
                body,
            } => self.send_frame(link, class, head, body),
            Output::Datagram { link, bytes } => self.send_datagram(link, bytes),
            Output::Deliver { inbox, delivery } => self.deliver(inbox, delivery),
            Output::Dial { addr, peer } => self.dial(addr, peer),
            Output::Close { link, reason } => self.close_link(link, &reason),
            Output::Event(event) => self.on_event(event),
        }
    }

    fn on_event(&mut self, event: Event) {
        self.witnessed.saw(&self.engine, || Sight::Told(&event));
        match event {
            Event::Membership(event) => {
                self.departed = mesh::departed(&event);
                self.on_membership(*event);
            }
            Event::Holders(role) => self.on_holders(&role),
            Event::Answered {
                call,
                node,
                answer,
                last,
            } => {
                self.on_answered(call, node, answer, last);
            }
            Event::Writable(flow) => self.flows.writable(flow),
            Event::LargeRefused { flow, node } => self.uploads.refused(flow, node),
            Event::LargeOver { flow } => self.uploads.over(flow),
            Event::Lost { flow, node, .. } if flow.is_large() => {
                self.uploads.lost(flow, node, self.why_lost(node));
            }
            Event::Evicted { flow, node, .. } if flow.is_large() => {
                self.uploads.evicted(flow, node);
            }
            Event::Settled { flow, upto } => self.flows.settled(flow, upto),
            Event::Lost {
                flow,
                node,
                after,
                upto,
            } => {
                let why = self.why_lost(node);
                self.flows.lost(flow, (node, why), after, upto);
            }
            Event::Evicted {
                flow,
                node,
                after,
                upto,
            } => self.flows.evicted(flow, node, after, upto),
            Event::Lags {
                flow,
                node,
                after,
                upto,
            } => self.flows.lags(flow, node, after, upto),
            Event::Superseded {
                flow,
                node,
                first,
                last,
            } => self.flows.superseded(flow, node, first, last),
            Event::Readmitted { flow, node, start } => self.flows.readmitted(flow, node, start),
            Event::Stable { flow, upto } => self.flows.stable(flow, upto),
            Event::Unstable { flow, first, upto } => self.flows.unstable(flow, first, upto),
            Event::Cancelled(to) => self.calls.cancelled(to),
            Event::Answerable(node) => self.on_answerable(node),
            Event::Drained => self.on_drained(),
            Event::Violation { peer, what } => {
                self.counters.violations.increment(1);
                tracing::warn!(%peer, what, "a peer broke the protocol");
            }
        }
    }
}

/// Whatever ends the task, also the end of the runtime, fails what waits for it.
impl Drop for Driver {
    fn drop(&mut self) {
        let reason = self.phase.reason().unwrap_or(ClosedReason::Transport);
        self.close_everything(reason);
    }
}

/// So many received data frames are taken in before other work has its turn.
const DATA_FRAMES_MAX: usize = 256;
/// A turn with so many events is followed by a pause for other tasks; a lone request is not held up by one.
const BULK_EVENTS_MIN: usize = 8;
/// After so many turns other tasks have theirs in any case.
const TURNS_AT_ONCE_MAX: usize = 16;
/// How long the task sleeps when nothing has a deadline.
const IDLE_WAIT: Duration = Duration::from_secs(60);
