//! Flows: sending, receiving, relaying and acknowledging multicasts.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::seq::IndexedRandom;
use rolecast_membership::{Epoch, NodeId, Time};

use super::{ACK_DELAY, Accepted, Engine, FLOWS_IN_MAX, TICK};
use crate::api::{
    CallId, Delivery, Event, FlowId, Gap, InboxId, Origin, Refusal, Seq, Ticket, TicketKind,
};
use crate::batch::Batch;
use crate::error::MulticastError;
use crate::flow_in::{Arrival, FlowIn, Ready};
use crate::flow_out::LostMember;
use crate::session::{Cargo, OutFrame};
use crate::spread;
use crate::wire::{DataHead, DestMember, DestSet, FlowAck, FlowKey, ViaAck};

/// How many members pass on an acknowledgement whose origin is not linked.
const ACK_HELPERS: usize = 3;
/// No message has a number above this.
const SEQ_MAX: u64 = 1 << 62;
/// Of a window, the part after which an acknowledgement is sent at once.
const WINDOW_PARTS: usize = 8;

/// The head of a batch: flow, version of the destination set, first message, number of messages.
type BatchHead = (FlowKey, u32, u64, u32);

// Sending.
impl Engine {
    fn own_key(&self, flow: FlowId) -> FlowKey {
        FlowKey {
            origin: self.me.id,
            epoch: self.me.epoch,
            flow,
        }
    }

    /// Numbers a batch and puts it into the session of every member.
    pub(super) fn send_batch(
        &mut self,
        id: FlowId,
        batch: Batch,
    ) -> Result<Accepted, MulticastError> {
        self.check_room(id, batch.len_bytes())?;
        let key = self.own_key(id);
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        let count = batch.count();
        let first = flow.push(count, batch.len_bytes());
        let last = first + u64::from(count) - 1;
        let (version, announcement) = flow.announcement(key);
        let members: Vec<(NodeId, Epoch)> = flow.members().collect();
        let head = crate::wire::encode_head(&DataHead::Batch {
            key,
            version,
            first,
            count,
        });
        let (prefix, body) = batch.parts();
        let head: Bytes = match prefix.is_empty() {
            true => head,
            false => [&head[..], &prefix[..]].concat().into(),
        };
        for &member in &members {
            if member.0 == self.me.id {
                continue;
            }
            self.announce(member, key, version, &announcement);
            let frame = OutFrame {
                head: head.clone(),
                body: body.clone(),
                cargo: Cargo::Own {
                    flow: id,
                    upto: last,
                },
            };
            self.peers.push(self.me.epoch, member, frame, &mut self.out);
        }
        if members.iter().any(|(node, _)| *node == self.me.id) {
            self.deliver_own(id, first, last, batch);
        } else if members.is_empty() {
            self.settle_flow(id);
        }
        Ok(Accepted {
            first: Seq(first),
            last: Seq(last),
            members: members.len(),
        })
    }

    fn check_room(&mut self, id: FlowId, bytes: usize) -> Result<(), MulticastError> {
        if self.draining {
            return Err(MulticastError::Leaving);
        }
        let max = self.limits.payload_bytes_max;
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return Err(MulticastError::UnknownFlow);
        };
        if bytes > max.max(2 * crate::batch::BATCH_BYTES_FULL) + 32 {
            return Err(MulticastError::TooLarge { bytes, max });
        }
        let has_room = flow.has_room(self.limits.flow_window_bytes);
        let members: Vec<NodeId> = flow.members().map(|(node, _)| node).collect();
        if has_room && members.into_iter().all(|node| self.session_has_room(node)) {
            return Ok(());
        }
        self.flows_out
            .get_mut(&id)
            .expect("it was just found")
            .refused = true;
        Err(MulticastError::Full)
    }

    /// Whether a session has room for another batch, if need be after dropping what may be dropped.
    fn session_has_room(&mut self, node: NodeId) -> bool {
        let max = self.limits.session_bytes_max;
        self.bound_session(node, max);
        let session = self.peers.get(node).and_then(|peer| peer.session.as_ref());
        session.is_none_or(|session| session.bytes() <= max)
    }

    /// Makes sure that a peer knows a destination set before it gets a batch that refers to it.
    fn announce(
        &mut self,
        (node, epoch): (NodeId, Epoch),
        key: FlowKey,
        version: u32,
        announcement: &Bytes,
    ) {
        if let Some(session) = self.peers.session(node, epoch)
            && session.announce(key, version)
        {
            let (head, body, cargo) = (announcement.clone(), Bytes::new(), Cargo::Plain);
            let frame = OutFrame { head, body, cargo };
            self.peers
                .push(self.me.epoch, (node, epoch), frame, &mut self.out);
        }
    }

    fn deliver_own(&mut self, id: FlowId, first: u64, last: u64, batch: Batch) {
        let role = &self.flows_out[&id].role;
        let Some(inbox) = self.roles.get(role).map(|holding| holding.inbox) else {
            return;
        };
        let ticket = Ticket {
            kind: TicketKind::Own {
                flow: id,
                upto: last,
            },
        };
        let origin = Origin {
            node: self.me.id,
            epoch: self.me.epoch,
        };
        self.deliver(
            inbox,
            Delivery::Messages {
                origin,
                flow: id,
                first: Seq(first),
                batch,
                ticket,
            },
        );
    }

    /// The application has taken messages that this node sent to itself.
    pub(super) fn on_own_taken(&mut self, id: FlowId, upto: u64) {
        let (node, epoch) = (self.me.id, self.me.epoch);
        if let Some(flow) = self.flows_out.get_mut(&id)
            && let Some(tenure) = flow.tenure_of(node)
            && flow.acknowledge(node, epoch, tenure, upto)
        {
            self.settle_flow(id);
        }
    }

    /// Sends a question to all members.
    pub(super) fn ask_all(
        &mut self,
        id: FlowId,
        payload: Bytes,
        deadline: Time,
    ) -> Result<(CallId, Accepted), MulticastError> {
        let max = self.limits.calls_max;
        if self.calls.len() >= max {
            return Err(MulticastError::TooManyCalls { max });
        }
        let (bytes, max) = (payload.len(), self.limits.payload_bytes_max);
        if bytes > max {
            return Err(MulticastError::TooLarge { bytes, max });
        }
        let flow = self.flows_out.get(&id).ok_or(MulticastError::UnknownFlow)?;
        if flow.member_count() == 0 {
            return Err(MulticastError::NoHolder);
        }
        let waiting: BTreeMap<NodeId, Epoch> = flow.members().collect();
        let call = self.calls.next_id();
        let accepted = self.send_batch(id, Batch::single(payload, Some(call)))?;
        self.calls.insert_all(call, waiting, deadline);
        Ok((call, accepted))
    }

    /// Takes over who holds a flow's role.
    pub(super) fn refresh_flow(&mut self, id: FlowId) {
        let holders = self.holders_of(&self.flows_out[&id].role);
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        let lost = flow.set_holders(&holders);
        self.report_lost(id, lost);
        self.announce_debts(id);
        self.settle_flow(id);
    }

    /// Starts every flow over in this node's present life.
    pub(super) fn renew_flows(&mut self, former: Epoch) {
        for id in self.flows_out.keys().copied().collect::<Vec<_>>() {
            let own = (self.me.id, self.me.epoch);
            let lost = self
                .flows_out
                .get_mut(&id)
                .expect("it is there")
                .renew(former, own);
            self.report_lost(id, lost);
            self.announce_debts(id);
            self.settle_flow(id);
        }
    }

    /// Tells the members that missed something in a former life of this node, without waiting for the next message.
    fn announce_debts(&mut self, id: FlowId) {
        let key = self.own_key(id);
        let flow = self.flows_out.get_mut(&id).expect("it is open");
        let debtors = flow.debtors();
        if debtors.is_empty() {
            return;
        }
        let (version, announcement) = flow.announcement(key);
        for member in debtors {
            self.announce(member, key, version, &announcement);
        }
    }

    fn report_lost(&mut self, flow: FlowId, lost: Vec<LostMember>) {
        for LostMember { node, after, upto } in lost {
            self.event(Event::Lost {
                flow,
                node,
                after: Seq(after),
                upto: Seq(upto),
            });
        }
    }

    fn settle_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return;
        };
        if let Some(upto) = flow.settle() {
            self.event(Event::Settled {
                flow: id,
                upto: Seq(upto),
            });
        }
        self.wake_refused_flow(id);
    }

    /// Flows that refused a batch and have room again take batches.
    pub(super) fn wake_refused_flows(&mut self) {
        let refused: Vec<FlowId> = self
            .flows_out
            .values()
            .filter(|flow| flow.refused)
            .map(|flow| flow.id)
            .collect();
        for id in refused {
            self.wake_refused_flow(id);
        }
    }

    fn wake_refused_flow(&mut self, id: FlowId) {
        if !self.flows_out.get(&id).is_some_and(|flow| flow.refused) {
            return;
        }
        if self.check_room(id, 0).is_ok() {
            self.flows_out
                .get_mut(&id)
                .expect("it was just found")
                .refused = false;
            self.event(Event::Writable(id));
        }
    }
}

// Receiving.
impl Engine {
    pub(super) fn on_dest_set(
        &mut self,
        now: Time,
        set: DestSet,
        frame: &Bytes,
    ) -> Result<(), &'static str> {
        let impossible = |member: &crate::wire::DestMember| member.start > SEQ_MAX;
        if !set.is_well_formed() || set.members.iter().any(impossible) {
            return Err("a malformed destination set");
        }
        let key = set.key;
        if key.origin == self.me.id || self.forgotten.contains(key) {
            return Ok(());
        }
        let own = set.member(self.me.id).copied();
        if let Some(member) = own {
            self.flow_in(key, &member, member.start)?;
        }
        let inbox = self.inbox_for(&set);
        let (born, before) = (set.born, set.epoch_before);
        let Some(flow) = self.flows_in.get_mut(&key) else {
            return Ok(());
        };
        flow.learn(set, frame.clone(), self.me.id);
        if let Some(member) = own
            && (flow.own_epoch(), flow.tenure()) == (member.epoch, member.tenure)
        {
            flow.bind(inbox);
        }
        if let Some(member) = own
            && inbox.is_some()
            && before < key.epoch
        {
            let earlier = FlowKey {
                epoch: before,
                ..key
            };
            self.miss_former_life(now, (born, earlier), &member, inbox)?;
        }
        Ok(())
    }

    /// What an origin's former life sent and this member did not acknowledge: it is here, comes yet over a relay, or is lost.
    fn miss_former_life(
        &mut self,
        now: Time,
        (born, earlier): (Epoch, FlowKey),
        member: &DestMember,
        inbox: Option<InboxId>,
    ) -> Result<(), &'static str> {
        let had = self.had_of_former_lives(born, earlier);
        let Some((from, upto)) = member.owed else {
            return Ok(());
        };
        let first = from.max(had + 1);
        if first > upto {
            return Ok(());
        }
        self.flow_in(earlier, member, first)?;
        if let Some(flow) = self.flows_in.get_mut(&earlier) {
            if (flow.own_epoch(), flow.tenure()) == (member.epoch, member.tenure) {
                flow.bind(inbox);
            }
            flow.know_upto(now, upto);
        }
        Ok(())
    }

    /// How far a flow had come here in these lives of its origin.
    fn had_of_former_lives(&self, born: Epoch, latest: FlowKey) -> u64 {
        if born > latest.epoch {
            return 0;
        }
        let first = FlowKey {
            epoch: born,
            flow: FlowId(0),
            ..latest
        };
        let known = self.flows_in.range(first..=latest);
        let known = known.filter(|(key, _)| key.flow == latest.flow);
        known
            .map(|(_, flow)| flow.watermark())
            .chain([self.forgotten.watermark(latest.origin, latest.flow, born)])
            .max()
            .unwrap_or(0)
    }

    /// Makes sure that there is a state for a flow, if there may be one more.
    fn flow_in(
        &mut self,
        key: FlowKey,
        member: &DestMember,
        start: u64,
    ) -> Result<(), &'static str> {
        if self.flows_in.len() >= FLOWS_IN_MAX && !self.flows_in.contains_key(&key) {
            return Err("one flow too many");
        }
        let &DestMember { epoch, tenure, .. } = member;
        self.flows_in
            .entry(key)
            .or_insert_with(|| FlowIn::new(key, epoch, tenure, start));
        Ok(())
    }

    /// Where messages to this destination set go, if it means the present holding of the role in this node's present life.
    fn inbox_for(&self, set: &DestSet) -> Option<InboxId> {
        let member = set.member(self.me.id)?;
        let holding = self.roles.get(&set.role)?;
        let present = (self.me.epoch, holding.tenure) == (member.epoch, member.tenure);
        present.then_some(holding.inbox)
    }

    pub(super) fn on_batch(
        &mut self,
        now: Time,
        from: NodeId,
        (key, version, first, count): BatchHead,
        head: &Bytes,
        body: &Bytes,
    ) -> Result<(), &'static str> {
        if first == 0 || first > SEQ_MAX || count == 0 {
            return Err("a batch with an impossible number");
        }
        let last = first + u64::from(count) - 1;
        let Some(flow) = self.flows_in.get_mut(&key) else {
            return Ok(());
        };
        if flow.is_duplicate(first, last) {
            #[cfg(feature = "canaries")]
            self.deliver_duplicate(key, first, count, body.clone());
            return Ok(());
        }
        let batch = Batch::parse(count, body.clone()).ok_or("a malformed batch")?;
        if first <= flow.watermark() + 1 {
            flow.forget_dest_sets_before(version);
        }
        let room = self.limits.flow_window_bytes;
        match flow.arrive(now, first, last, batch, room) {
            Arrival::Duplicate | Arrival::NoRoom => return Ok(()),
            Arrival::First => {}
        }
        self.relay(now, (key, version), from, (first, last), head, body);
        #[cfg(feature = "canaries")]
        if self.planted(crate::api::Canary::OrderIgnored) {
            let flow = self.flows_in.get_mut(&key).expect("it was just found");
            flow.give_up(now);
        }
        self.deliver_ready(now, key);
        Ok(())
    }

    #[cfg(feature = "canaries")]
    fn deliver_duplicate(&mut self, key: FlowKey, first: u64, count: u32, body: Bytes) {
        let inbox = self.flows_in.get(&key).and_then(|flow| flow.inbox());
        if let (true, Some(inbox), Some(batch)) = (
            self.planted(crate::api::Canary::DuplicateDelivered),
            inbox,
            Batch::parse(count, body),
        ) {
            let upto = first + u64::from(count) - 1;
            let ticket = Ticket {
                kind: TicketKind::Flow {
                    key,
                    upto,
                    bytes: 0,
                },
            };
            let origin = Origin {
                node: key.origin,
                epoch: key.epoch,
            };
            let first = Seq(first);
            let delivery = Delivery::Messages {
                origin,
                flow: key.flow,
                first,
                batch,
                ticket,
            };
            self.deliver(inbox, delivery);
        }
    }

    /// Passes a batch on that was received first.
    fn relay(
        &mut self,
        now: Time,
        (key, version): (FlowKey, u32),
        from: NodeId,
        (first, last): (u64, u64),
        head: &Bytes,
        body: &Bytes,
    ) {
        #[cfg(feature = "canaries")]
        if self.planted(crate::api::Canary::RelayForgotten) {
            return;
        }
        let Some(known) = self
            .flows_in
            .get(&key)
            .and_then(|flow| flow.dest_set(version))
        else {
            return;
        };
        let known = known.clone();
        let mut awaited_peers = 0;
        for member in spread::on_first_receipt(&known.set, self.me.id, from) {
            let to = (member.node, member.epoch);
            // The origin may know before this node that the member is in a later life.
            let ended = self.peers.enter_life(to.0, to.1);
            self.on_life_ended(now, to.0, to.1, ended);
            self.announce(to, key, version, &known.encoded);
            let awaited = self.peers.is_linked(member.node);
            let cargo = Cargo::Relay {
                key,
                upto: last,
                awaited,
            };
            let frame = OutFrame {
                head: head.clone(),
                body: body.clone(),
                cargo,
            };
            if self
                .peers
                .push(self.me.epoch, to, frame, &mut self.out)
                .is_some()
            {
                awaited_peers += u32::from(awaited);
            }
        }
        if let Some(flow) = self.flows_in.get_mut(&key) {
            flow.await_relays(first, last, awaited_peers);
        }
        for member in spread::on_first_receipt(&known.set, self.me.id, from) {
            self.bound_session(member.node, self.limits.session_bytes_max);
        }
    }

    /// Drops batches of a session that keeps more than `bytes_max` and may be dropped.
    pub(super) fn bound_session(&mut self, node: NodeId, bytes_max: usize) {
        let session = self
            .peers
            .get_mut(node)
            .and_then(|peer| peer.session.as_mut());
        let Some(session) = session.filter(|session| session.bytes() > bytes_max) else {
            return;
        };
        let flows = &self.flows_out;
        let acknowledged = |flow| {
            flows
                .get(&flow)
                .map_or(0, |flow| flow.acknowledged_by(node))
        };
        // Half of it goes, so that this is done seldom.
        for (key, upto) in session.skip(bytes_max / 2, acknowledged) {
            if let Some(flow) = self.flows_in.get_mut(&key) {
                flow.on_relayed(upto);
                self.acks.flows.insert(key);
                self.acks.at.get_or_insert(self.tick_at);
            }
        }
    }

    fn deliver_ready(&mut self, now: Time, key: FlowKey) {
        while let Some(flow) = self.flows_in.get_mut(&key)
            && let Some(Ready {
                first,
                last,
                batch,
                skip,
            }) = flow.pop_ready(now)
        {
            let origin = Origin {
                node: key.origin,
                epoch: key.epoch,
            };
            let (bytes, inbox) = (batch.len_bytes(), flow.inbox());
            let batch = batch.without_first(skip);
            match inbox {
                Some(inbox) => {
                    flow.await_taking(first, last);
                    let ticket = Ticket {
                        kind: TicketKind::Flow {
                            key,
                            upto: last,
                            bytes,
                        },
                    };
                    let (flow, first) = (key.flow, Seq(first));
                    let delivery = Delivery::Messages {
                        origin,
                        flow,
                        first,
                        batch,
                        ticket,
                    };
                    self.deliver(inbox, delivery);
                }
                None => self.refuse_questions(origin, batch),
            }
            self.ack_later(now, key);
        }
    }

    /// Answers the questions in a batch that no inbox takes.
    fn refuse_questions(&mut self, origin: Origin, batch: Batch) {
        for call in batch.into_messages().filter_map(|message| message.call) {
            self.refuse(origin, call, Refusal::NotHolder);
        }
    }

    /// A peer dropped what it had of these flows up to here; somebody else may have it.
    pub(super) fn on_skipped(&mut self, now: Time, flows: &[(FlowKey, u64)]) {
        for (key, upto) in flows {
            if let Some(flow) = self.flows_in.get_mut(key) {
                flow.know_upto(now, (*upto).min(SEQ_MAX));
            }
        }
    }

    /// The application has taken messages of a flow.
    pub(super) fn on_taken(&mut self, now: Time, key: FlowKey, upto: u64, bytes: usize) {
        if let Some(flow) = self.flows_in.get_mut(&key) {
            flow.on_taken(upto, bytes);
            let much = flow.unacked_bytes >= self.limits.flow_window_bytes / WINDOW_PARTS;
            self.ack_later(now, key);
            if much {
                self.send_acks_to(key.origin);
            }
        }
    }

    /// A relayed batch arrived at a peer, or will not.
    pub(super) fn on_relayed(&mut self, now: Time, key: FlowKey, upto: u64) {
        if let Some(flow) = self.flows_in.get_mut(&key) {
            flow.on_relayed(upto);
            self.ack_later(now, key);
        }
    }

    /// The flows into this inbox have nowhere to go any more.
    pub(super) fn close_flows_into(&mut self, now: Time, inbox: InboxId) {
        let into = self
            .flows_in
            .values_mut()
            .filter(|flow| flow.inbox() == Some(inbox));
        let closed: Vec<FlowKey> = into
            .map(|flow| {
                flow.close_inbox();
                flow.key
            })
            .collect();
        for key in closed {
            self.ack_later(now, key);
        }
    }

    /// Whether a live member that is out of reach may hold what is missing of a dead origin's flow, and there is time to wait for it.
    fn may_come_yet(&self, now: Time, flow: &FlowIn) -> bool {
        let forgotten_soon = flow
            .dead_since
            .is_none_or(|since| since + self.limits.forget_after <= now + 2 * TICK);
        let Some(known) = flow.newest_dest_set().filter(|_| !forgotten_soon) else {
            return false;
        };
        known.set.members.iter().any(|member| {
            let other = ![self.me.id, flow.key.origin].contains(&member.node);
            let alive = self.membership.member(member.node);
            let alive = alive.is_some_and(|alive| alive.record.identity.epoch == member.epoch);
            other && alive && !self.peers.is_linked(member.node)
        })
    }

    /// Gives up what has been missing for too long.
    pub(super) fn give_up_missing(&mut self, now: Time) {
        let gap_after = self.limits.gap_after;
        let overdue = |flow: &FlowIn| flow.gives_up_at(gap_after).is_some_and(|at| at <= now);
        let keys: Vec<FlowKey> = self
            .flows_in
            .values()
            .filter(|flow| overdue(flow) && !self.may_come_yet(now, flow))
            .map(|flow| flow.key)
            .collect();
        for key in keys {
            let flow = self.flows_in.get_mut(&key).expect("it was just found");
            let inbox = flow.inbox();
            if let (Some((first, last)), Some(inbox)) = (flow.give_up(now), inbox) {
                let origin = Origin {
                    node: key.origin,
                    epoch: key.epoch,
                };
                let (first, last) = (Seq(first), Seq(last));
                let gap = Gap::Range {
                    origin,
                    flow: key.flow,
                    first,
                    last,
                };
                self.deliver(inbox, Delivery::Gap(gap));
            }
            self.deliver_ready(now, key);
            self.ack_later(now, key);
        }
    }

    /// Forgets the flows of lives that have been over for long.
    pub(super) fn forget_dead_flows(&mut self, now: Time) {
        let mut forgotten = Vec::new();
        for flow in self.flows_in.values_mut() {
            let member = self.membership.member(flow.key.origin);
            if member.is_some_and(|member| member.record.identity.epoch == flow.key.epoch) {
                flow.dead_since = None;
            } else if *flow.dead_since.get_or_insert(now) + self.limits.forget_after <= now {
                forgotten.push(flow.key);
            }
        }
        for key in forgotten {
            if let Some(flow) = self.flows_in.remove(&key) {
                self.forgotten.insert(key, flow.watermark());
            }
            self.peers.forget_flow(key);
        }
    }
}

// Acknowledging.
impl Engine {
    fn ack_later(&mut self, now: Time, key: FlowKey) {
        self.acks.flows.insert(key);
        self.acks.at.get_or_insert(now + ACK_DELAY);
    }

    /// What an origin is to know, of the flows for which something is due.
    pub(super) fn take_flow_acks(&mut self, origin: NodeId) -> Vec<FlowAck> {
        let linked = self.peers.get(origin).and_then(|peer| {
            peer.link.as_ref().filter(|link| link.hello.is_some())?;
            Some(peer.session.as_ref()?.peer_epoch)
        });
        let due: Vec<FlowKey> = self.due_flows_of(origin).collect();
        let mut acks = Vec::new();
        for key in due {
            self.acks.flows.remove(&key);
            let Some(flow) = self.flows_in.get_mut(&key) else {
                continue;
            };
            if let Some(upto) = flow.take_acknowledgement()
                && linked == Some(key.epoch)
            {
                flow.acked_directly = upto;
                acks.push(FlowAck {
                    flow: key.flow,
                    tenure: flow.tenure(),
                    upto,
                });
            }
        }
        acks
    }

    fn due_flows_of(&self, origin: NodeId) -> impl Iterator<Item = FlowKey> + '_ {
        let first = FlowKey {
            origin,
            epoch: Epoch(0),
            flow: FlowId(0),
        };
        let all = self.acks.flows.range(first..).copied();
        all.take_while(move |key| key.origin == origin)
    }

    /// Tells a peer again, over a link that has just come up, what came of its frames and how far its flows are.
    pub(super) fn repeat_acks(&mut self, origin: NodeId, epoch: Epoch) {
        let first = FlowKey {
            origin,
            epoch,
            flow: FlowId(0),
        };
        let last = FlowKey {
            origin,
            epoch,
            flow: FlowId(u32::MAX),
        };
        let mut acks = Vec::new();
        for (key, flow) in self.flows_in.range_mut(first..=last) {
            flow.acked_directly = flow.acked();
            acks.push(FlowAck {
                flow: key.flow,
                tenure: flow.tenure(),
                upto: flow.acked(),
            });
        }
        let session = self
            .peers
            .get(origin)
            .and_then(|peer| peer.session.as_ref());
        // Frames that overtook the hello could not be acknowledged when they came.
        if !acks.is_empty() || session.is_some_and(|session| session.received() > 0) {
            self.send_acks(origin, acks, Vec::new());
        }
    }

    /// Sends acknowledgements around origins to which there is no link.
    pub(super) fn send_acks_around(&mut self) {
        let mut via = Vec::new();
        for (key, flow) in &self.flows_in {
            if flow.acked() <= flow.acked_directly
                || flow.dead_since.is_some()
                || self.peers.is_linked(key.origin)
            {
                continue;
            }
            let Some(known) = flow.newest_dest_set() else {
                continue;
            };
            let linked: Vec<NodeId> = known
                .set
                .members
                .iter()
                .map(|member| member.node)
                .filter(|&node| node != self.me.id && self.peers.is_linked(node))
                .collect();
            let ack = ViaAck {
                origin: key.origin,
                epoch: key.epoch,
                member: self.me.id,
                member_epoch: self.me.epoch,
                ack: FlowAck {
                    flow: key.flow,
                    tenure: flow.tenure(),
                    upto: flow.acked(),
                },
            };
            for &helper in linked.sample(&mut self.rng, ACK_HELPERS) {
                via.push((helper, ack));
            }
        }
        for (helper, ack) in via {
            self.send_acks(helper, Vec::new(), vec![ack]);
        }
    }

    /// A member of this node's flows says how far it is.
    pub(super) fn on_flow_acks(&mut self, node: NodeId, epoch: Epoch, acks: &[FlowAck]) {
        for ack in acks {
            if let Some(flow) = self.flows_out.get_mut(&ack.flow)
                && flow.acknowledge(node, epoch, ack.tenure, ack.upto)
            {
                self.settle_flow(ack.flow);
            }
        }
    }

    /// Acknowledgements that took a way around: for this node's flows, or to be passed on.
    pub(super) fn on_acks_around(&mut self, from: NodeId, acks: Vec<ViaAck>) {
        for via in acks {
            if via.origin == self.me.id {
                if via.epoch == self.me.epoch {
                    self.on_flow_acks(via.member, via.member_epoch, &[via.ack]);
                }
            } else if via.member == from {
                self.send_acks(via.origin, Vec::new(), vec![via]);
            }
        }
    }
}
