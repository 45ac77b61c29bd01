//! The engine: what one node does with messages.
//!
//! The work is divided by subject: [`links`] brings links up and moves frames over them, [`rest`] has those rest that nobody uses, [`ways`] goes over others where there is none, [`send`], [`receive`], [`relay`], [`missing`], [`acknowledge`] and [`evict`] are what becomes of a multicast, [`large_out`] and [`large_in`] of a large one, [`call`] does what is addressed to one holder or awaits replies, [`mesh`] follows who is alive and holds what, [`place`] which of them are where, [`vouch`] minds whose word is heard, [`view`] says what this node knows, and [`usage`] and [`budget`] tell and bound how much is kept.

mod acknowledge;
mod budget;
mod call;
mod causal;
mod digest;
mod evict;
mod keep_last;
mod large_in;
mod large_out;
mod links;
mod mesh;
mod missing;
mod own_digest;
mod place;
mod receive;
mod relay;
mod replay;
mod rest;
mod safe;
mod send;
mod usage;
mod view;
mod vouch;
mod ways;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rolecast_membership::{
    Config as MembershipConfig, Epoch, Identity, Membership, NodeId, RoleName, Tenure, Time,
};

use crate::api::{
    CallId, CallKind, Delivery, Event, FlowId, InboxId, Input, Output, Refusal, ReplyTo, Seq,
    Target, Ticket, TicketKind,
};
use crate::batch::Batch;
use crate::calls::Calls;
use crate::canary::planted;
use crate::config::{Config, Limits};
use crate::error::{CallError, ChunkError, MulticastError, OpenFlowError, ReplyError, TakeUpError};
use crate::flow_in::FlowIn;
use crate::flow_out::FlowOut;
use crate::forgotten::Forgotten;
use crate::large::{Finished, Untold};
use crate::mode::Mode;
use crate::peers::Peers;
use crate::questions::Questions;
use crate::routes::Avoided;
use crate::slow::SlowMembers;
use crate::spread;
use crate::wire::FlowKey;
use causal::Causality;
use digest::DueDigests;
use evict::DueEvictions;
pub use large_out::LARGE_OPEN_MAX;
use safe::DueTells;
use vouch::Words;

pub use usage::Usage;

/// What one node does with messages.
///
/// After every call of a method that takes `now`, drain [`Engine::poll_output`] to `None`, carry out what it says, and ask [`Engine::poll_timeout`] when to call [`Engine::handle`] with [`Input::Timeout`] at the latest.
/// The same calls with the same arguments give the same outputs on every machine.
///
/// A method panics only on a bug: no peer's bytes and no order of calls make it.
pub struct Engine {
    me: Identity,
    limits: Limits,
    rng: ChaCha8Rng,
    membership: Membership,
    peers: Peers,
    /// The roles that this node holds.
    roles: BTreeMap<RoleName, Holding>,
    inboxes: BTreeMap<InboxId, Inbox>,
    last_inbox: u64,
    /// Who holds what among the live members and this node.
    holders: BTreeMap<RoleName, BTreeMap<NodeId, (Epoch, Tenure)>>,
    flows_out: BTreeMap<FlowId, FlowOut>,
    flows_by_role: BTreeMap<(RoleName, Mode, SlowMembers), FlowId>,
    flows_in: BTreeMap<FlowKey, FlowIn>,
    forgotten: Forgotten,
    /// The number of the large payload sent last.
    last_large: u32,
    finished: Finished,
    untold: Untold,
    calls: Calls,
    questions: Questions,
    acks: DueAcks,
    digests: DueDigests,
    tells: DueTells,
    evictions: DueEvictions,
    causality: Causality,
    avoided: Avoided,
    words: Words,
    tick_at: Time,
    /// See [`Engine::relayed`].
    relayed: u64,
    draining: bool,
    drained: bool,
    out: VecDeque<Output>,
}

/// A role that this node holds.
#[derive(Clone, Copy, Debug)]
struct Holding {
    inbox: InboxId,
    tenure: Tenure,
}

/// Where a holding's deliveries go.
#[derive(Debug)]
struct Inbox {
    role: RoleName,
    /// Bytes of calls that the application has not taken.
    call_bytes: usize,
}

/// Acknowledgements that are to be sent.
#[derive(Debug, Default)]
struct DueAcks {
    flows: BTreeSet<FlowKey>,
    peers: BTreeSet<NodeId>,
    at: Option<Time>,
}

/// A batch that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The position of its first message.
    pub first: Seq,
    /// The position of its last message.
    pub last: Seq,
    /// How many members its destination set has.
    pub members: usize,
}

/// How often what has no deadline of its own is looked after.
const TICK: Duration = Duration::from_millis(500);
/// How long an acknowledgement may wait for company.
const ACK_DELAY: Duration = Duration::from_millis(5);
/// The most flows that a node sends.
const FLOWS_OUT_MAX: usize = 4_096;
/// The most flows that a node receives.
const FLOWS_IN_MAX: usize = 65_536;

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// A node with this configuration, whose every random choice follows from `seed`.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Time) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let membership = MembershipConfig {
            record: config.record.clone(),
            seeds: config.seeds,
            profile: config.profile,
        };
        #[cfg(feature = "canaries")]
        crate::canary::plant(config.canary);
        let limits = config.limits.at_least_one_message();
        let peers = Peers::new(limits.link_bytes_max);
        let mut engine = Engine {
            me: config.record.identity,
            limits,
            membership: Membership::new(membership, rng.random(), now),
            rng,
            peers,
            roles: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            last_inbox: 0,
            holders: BTreeMap::new(),
            flows_out: BTreeMap::new(),
            flows_by_role: BTreeMap::new(),
            flows_in: BTreeMap::new(),
            forgotten: Forgotten::default(),
            last_large: 0,
            finished: Finished::default(),
            untold: Untold::default(),
            calls: Calls::default(),
            questions: Questions::default(),
            acks: DueAcks::default(),
            digests: DueDigests::default(),
            tells: DueTells::default(),
            evictions: DueEvictions::default(),
            causality: Causality::default(),
            avoided: Avoided::default(),
            words: Words::default(),
            tick_at: now + TICK,
            relayed: 0,
            draining: false,
            drained: false,
            out: VecDeque::new(),
        };
        engine.follow_membership(now);
        engine
    }

    /// Takes in what happened; whatever it is, this does not fail.
    pub fn handle(&mut self, now: Time, input: Input) {
        if self.tick_at < now && !self.needs_tick() {
            self.tick_at = self.tick_at.in_step(TICK, now);
        }
        self.peers.now = now;
        match input {
            Input::LinkUp {
                link,
                peer,
                addr: _,
            } => self.on_link_up(now, link, peer),
            Input::LinkDown { link } => self.on_link_down(now, link),
            Input::DialFailed { addr } => {
                for node in self.peers.dial_failed(now, addr, &mut self.rng) {
                    self.end_rest(now, node);
                }
            }
            Input::Datagram { link, bytes } => self.on_datagram(now, link, bytes),
            Input::Frame { link, class, bytes } => self.on_frame(now, link, class, &bytes),
            Input::Written { link, class, bytes } => self.on_written(link, class, bytes),
            Input::Consumed { ticket } => self.on_consumed(now, ticket),
            Input::Timeout => self.on_timeout(now),
        }
        self.follow_membership(now);
        self.take_up_vouched(now);
        self.check_drained();
    }

    /// What is to be done next; `None` when that is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// How many outputs wait to be polled.
    #[must_use]
    pub fn outputs_waiting(&self) -> usize {
        self.out.len()
    }

    /// When to call [`Engine::handle`] with [`Input::Timeout`] at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let deadlines = [
            self.needs_tick().then_some(self.tick_at),
            self.membership.poll_timeout(),
            self.acks.at,
            self.digests.at(),
            self.tells.at(),
            self.evictions.at(),
            self.calls.next_deadline(),
            self.peers.next_dial(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Takes up a role: what is sent to it from here on is delivered to the inbox.
    ///
    /// # Errors
    /// [`TakeUpError`]: the role was not taken up and nothing has changed.
    pub fn take_up(&mut self, now: Time, role: RoleName) -> Result<InboxId, TakeUpError> {
        self.take_up_with(now, role, 0)
    }

    /// Takes up a role, and asks whoever sends to it for up to so many messages of each flow that were sent before, as far as they are kept ([`Limits::replay_bytes`]).
    ///
    /// # Errors
    /// [`TakeUpError`]: the role was not taken up and nothing has changed.
    pub fn take_up_with(
        &mut self,
        now: Time,
        role: RoleName,
        replay: u32,
    ) -> Result<InboxId, TakeUpError> {
        if self.draining {
            return Err(TakeUpError::Leaving);
        }
        if self.roles.contains_key(&role) {
            return Err(TakeUpError::Held);
        }
        let tenure = self.membership.take_up_with(now, role.clone(), replay)?;
        self.last_inbox += 1;
        let inbox = InboxId(self.last_inbox);
        self.inboxes.insert(
            inbox,
            Inbox {
                role: role.clone(),
                call_bytes: 0,
            },
        );
        self.roles.insert(role.clone(), Holding { inbox, tenure });
        self.hold(self.me.id, (self.me.epoch, tenure), &role);
        self.follow_membership(now);
        Ok(inbox)
    }

    /// Drops the role of this inbox; nothing is delivered to it from here on.
    pub fn drop_role(&mut self, now: Time, inbox: InboxId) {
        let Some(Inbox { role, .. }) = self.inboxes.remove(&inbox) else {
            return;
        };
        self.roles.remove(&role);
        self.close_flows_into(now, inbox);
        self.membership.drop_role(now, &role);
        self.unhold(self.me.id, &role);
        self.follow_membership(now);
    }

    /// Opens a flow of multicasts to the holders of a role; the same role and mode give the same flow.
    ///
    /// # Errors
    /// [`OpenFlowError`]: no flow was opened.
    pub fn open_flow(
        &mut self,
        now: Time,
        role: RoleName,
        mode: impl Into<Mode>,
    ) -> Result<FlowId, OpenFlowError> {
        self.open_flow_for(now, role, mode, SlowMembers::Wait)
    }

    /// The same, of a flow that does this with members that keep its window shut; flows that do not do the same are not the same.
    ///
    /// # Errors
    /// [`OpenFlowError`]: no flow was opened.
    pub fn open_flow_for(
        &mut self,
        now: Time,
        role: RoleName,
        mode: impl Into<Mode>,
        slow: SlowMembers,
    ) -> Result<FlowId, OpenFlowError> {
        if role.is_pattern() {
            return Err(OpenFlowError::Pattern);
        }
        let mode: Mode = mode.into();
        let mode = Mode {
            k_safe: mode.k_safe.max(1),
            ..mode
        };
        let key = (role, mode, slow);
        if let Some(&flow) = self.flows_by_role.get(&key) {
            return Ok(flow);
        }
        if self.flows_by_role.len() >= FLOWS_OUT_MAX {
            return Err(OpenFlowError::TooMany { max: FLOWS_OUT_MAX });
        }
        if !spread::of(mode).is_possible() {
            return Err(OpenFlowError::NoFanout);
        }
        if !mode.is_possible() {
            return Err(match spread::of(mode).agrees() {
                true => OpenFlowError::NotCausal,
                false => OpenFlowError::NotKept,
            });
        }
        if !slow.goes_with(mode) {
            return Err(OpenFlowError::NotKeepLast);
        }
        let number = u32::try_from(self.flows_by_role.len()).expect("flows are few") + 1;
        let id = FlowId(number);
        let mut flow = FlowOut::new(id, key.0.clone(), mode, (self.me.id, self.me.epoch));
        flow.treat_slow(slow);
        self.flows_out.insert(id, flow);
        self.refresh_flow(id);
        self.flows_by_role.insert(key, id);
        self.follow_membership(now);
        Ok(id)
    }

    /// Sends a batch to all holders of the flow's role as seen at this moment, possibly none.
    ///
    /// # Errors
    /// [`MulticastError`]: nothing was sent and no number was taken.
    pub fn multicast(
        &mut self,
        now: Time,
        flow: FlowId,
        batch: Batch,
    ) -> Result<Accepted, MulticastError> {
        let accepted = self.send_batch(now, flow, batch)?;
        self.follow_membership(now);
        Ok(accepted)
    }

    /// The member because of which a flow has no room, if one is: it has taken least of what was sent, or too much is on its way to it.
    #[must_use]
    pub fn slowest(&self, flow: FlowId) -> Option<NodeId> {
        self.slowest_member(flow)
    }

    /// The nodes that a flow goes on without, because they were too slow; those that lag behind it are not among them.
    #[must_use]
    pub fn left_out(&self, flow: FlowId) -> Vec<NodeId> {
        let flow = self.flows_out.get(&flow).into_iter();
        flow.flat_map(FlowOut::left_out).collect()
    }

    /// Announces a large payload to all holders of the flow's role as seen at this moment, possibly none, in its place in the flow; gives the number of its own flow, for its chunks.
    ///
    /// [`Event::LargeOver`] ends it.
    ///
    /// # Errors
    /// [`MulticastError`]: nothing was sent and no number was taken.
    pub fn open_large(
        &mut self,
        now: Time,
        flow: FlowId,
        length: Option<u64>,
    ) -> Result<(FlowId, Accepted), MulticastError> {
        let opened = self.begin_large(now, flow, length)?;
        self.follow_membership(now);
        Ok(opened)
    }

    /// Something waits until another large payload may begin in a flow.
    ///
    /// While [`LARGE_OPEN_MAX`] of them are on their way, a flow that goes on without slow members does so too if none of them comes to its end, as when a payload is refused with [`MulticastError::Full`].
    pub fn await_large(&mut self, now: Time, flow: FlowId) {
        if self.is_full_of_larges(flow) {
            self.note_shut_to_larges(now, flow);
        }
    }

    /// Sends the next chunk of a large payload.
    ///
    /// # Errors
    /// [`ChunkError`]: the chunk was not sent.
    pub fn send_chunk(&mut self, now: Time, large: FlowId, chunk: Bytes) -> Result<(), ChunkError> {
        self.peers.now = now;
        self.push_chunk(now, large, chunk)?;
        self.follow_membership(now);
        Ok(())
    }

    /// Ends a large payload: it is complete, or what was sent of it is all that will come.
    /// The window does not hold this back.
    ///
    /// # Errors
    /// [`ChunkError`]: it goes on.
    pub fn end_large(
        &mut self,
        now: Time,
        large: FlowId,
        complete: bool,
    ) -> Result<(), ChunkError> {
        self.finish_large(now, large, complete)?;
        self.follow_membership(now);
        self.check_drained();
        Ok(())
    }

    /// Asks all holders, as one multicast of the flow.
    /// Every one's answer comes as [`Event::Answered`], the last with `last` set.
    ///
    /// # Errors
    /// [`MulticastError`]: nothing was sent and no number was taken.
    pub fn gather(
        &mut self,
        now: Time,
        flow: FlowId,
        payload: Bytes,
        deadline: Time,
    ) -> Result<(CallId, Accepted), MulticastError> {
        let asked = self.ask_all(now, flow, payload, deadline)?;
        self.follow_membership(now);
        Ok(asked)
    }

    /// Sends to one holder; the end comes as [`Event::Answered`].
    ///
    /// # Errors
    /// [`CallError`]: nothing was sent.
    pub fn call(
        &mut self,
        now: Time,
        target: Target,
        kind: CallKind,
        payload: Bytes,
        deadline: Time,
    ) -> Result<CallId, CallError> {
        let call = self.ask_one(target, kind, payload, deadline)?;
        self.follow_membership(now);
        Ok(call)
    }

    /// Gives up a call: no answer will be reported.
    pub fn cancel(&mut self, now: Time, call: CallId) {
        self.cancel_call(call);
        self.follow_membership(now);
    }

    /// Answers a request, with a payload or with a refusal; this can be done once.
    ///
    /// # Errors
    /// [`ReplyError`]: nothing was sent, and unless it is [`ReplyError::Gone`], the request may still be answered.
    pub fn reply(
        &mut self,
        now: Time,
        to: ReplyTo,
        answer: Result<Bytes, Refusal>,
    ) -> Result<(), ReplyError> {
        self.answer_call(to, answer)?;
        self.follow_membership(now);
        Ok(())
    }

    /// Whether an answer to this request, which was delivered here, is still awaited.
    #[must_use]
    pub fn is_awaited(&self, to: ReplyTo) -> bool {
        self.questions.contains(&to)
    }

    /// The nodes whose answers to this call are still awaited.
    #[must_use]
    pub fn awaited(&self, call: CallId) -> Vec<NodeId> {
        self.calls.awaited(call)
    }

    /// Looks for the mesh at these addresses instead of the former seeds; at most [`SEEDS_MAX`](crate::membership::SEEDS_MAX) of them count.
    pub fn set_seeds(&mut self, now: Time, seeds: Vec<SocketAddr>) {
        self.membership.set_seeds(now, seeds);
        self.follow_membership(now);
    }

    /// Refuses new work from here on; [`Event::Drained`] follows when all that was sent has been acknowledged or given up.
    pub fn drain(&mut self, now: Time) {
        self.draining = true;
        self.follow_membership(now);
        self.check_drained();
    }

    /// Tells the mesh that this node leaves; the driver closes the links when the farewell has gone out.
    pub fn leave(&mut self, now: Time) {
        self.draining = true;
        self.membership.leave(now);
        self.follow_membership(now);
    }

    /// The application has taken a delivery.
    fn on_consumed(&mut self, now: Time, ticket: Ticket) {
        match ticket.kind {
            TicketKind::Own { flow, upto } => self.on_own_taken(flow, upto),
            TicketKind::Flow { key, upto, bytes } => self.on_taken(now, key, upto, bytes),
            TicketKind::Call { inbox, bytes } => {
                if let Some(inbox) = self.inboxes.get_mut(&inbox) {
                    inbox.call_bytes = inbox.call_bytes.saturating_sub(bytes);
                }
            }
        }
    }

    fn on_timeout(&mut self, now: Time) {
        if self.membership.poll_timeout().is_some_and(|at| at <= now) {
            self.membership
                .handle(now, rolecast_membership::Input::Timeout);
            self.follow_membership(now);
        }
        self.expire_calls(now);
        if self.acks.at.is_some_and(|at| at <= now) {
            self.send_due_acks();
        }
        if self.digests.at().is_some_and(|at| at <= now) {
            self.send_due_digests(now);
        }
        self.send_due_tells(now);
        self.evict_slow(now);
        if self.tick_at <= now && self.needs_tick() {
            self.tick_at = now + TICK;
            self.tick(now);
        }
        self.peers.dial_due(now, &mut self.out);
    }

    /// Whether there is anything that has no deadline of its own and may have to be looked after.
    fn needs_tick(&self) -> bool {
        let flows = !self.flows_in.is_empty() || !self.flows_out.is_empty();
        let links = self.peers.are_all_linked() && self.record().unreachable.is_empty();
        let parked = !self.words.parked.is_empty();
        let surplus = self.peers.surplus(self.limits.links_max) > 0;
        flows || !links || parked || surplus || self.questions.has_doubts()
    }

    /// Looks after what has no deadline of its own.
    fn tick(&mut self, now: Time) {
        self.look_after_ways(now);
        self.rest_idle_links(now);
        self.look_after_unknown(now);
        self.look_after_safety(now);
        self.look_after_causality(now);
        self.give_up_missing(now);
        self.cut_short_orphans(now);
        self.forget_dead_flows(now);
        self.report_unreported();
        self.forget_finished(now);
        self.bound_flows();
        self.count_announced();
        self.forget_doubtful_peers(now);
        self.send_acks_around();
    }

    fn check_drained(&mut self) {
        if !self.draining || self.drained {
            return;
        }
        let settled = self.calls.len() == 0
            && self
                .flows_out
                .values()
                .all(|flow| flow.is_settled() && flow.large.is_none())
            && self.flows_in.values().all(|flow| flow.retained.is_empty())
            && self
                .peers
                .iter()
                .all(|(_, peer)| peer.session.as_ref().is_none_or(|s| s.is_settled()));
        if settled || planted!(DrainedEarly) {
            self.drained = true;
            self.event(Event::Drained);
        }
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn deliver(&mut self, inbox: InboxId, delivery: Delivery) {
        let (origin, asked) = match &delivery {
            Delivery::Messages { origin, batch, .. } => (*origin, batch.questions().collect()),
            Delivery::Call {
                from,
                wants_reply: true,
                ..
            } => (from.origin, vec![from.call]),
            Delivery::Call { .. }
            | Delivery::Large { .. }
            | Delivery::Chunk { .. }
            | Delivery::LargeEnd { .. }
            | Delivery::Gap(_)
            | Delivery::Started(_)
            | Delivery::Lagged(_) => {
                self.out.push_back(Output::Deliver { inbox, delivery });
                return;
            }
        };
        self.out.push_back(Output::Deliver { inbox, delivery });
        for call in asked {
            self.on_question(ReplyTo { origin, call });
        }
    }
}
