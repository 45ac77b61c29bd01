//! Flows that this node sends: numbering batches, handing them to the members, and telling the program what came of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, Time};

use super::{Accepted, Engine};
use crate::api::{CallId, Delivery, Event, FlowId, LargeEnd, Origin, Seq, Ticket, TicketKind};
use crate::batch::{Batch, Note};
use crate::canary::planted;
use crate::error::MulticastError;
use crate::flow_out::{FlowOut, LostMember};
use crate::session::{Cargo, LaneName, OutFrame};
use crate::spread::{self, Audience};
use crate::wire::{DataHead, FlowKey};

/// To whom a batch goes.
struct Targets {
    members: Vec<(NodeId, Epoch)>,
    /// Whether whoever does not know the destination set is sent it before.
    with_set: bool,
    cargo: Cargo,
}

impl Engine {
    pub(super) fn own_key(&self, flow: FlowId) -> FlowKey {
        FlowKey {
            origin: self.me.id,
            epoch: self.me.epoch,
            flow,
        }
    }

    /// Numbers a batch and puts it into the session of every member.
    pub(super) fn send_batch(
        &mut self,
        now: Time,
        id: FlowId,
        batch: Batch,
    ) -> Result<Accepted, MulticastError> {
        self.check_room(now, id, batch.len_bytes())?;
        self.check_holders(id)?;
        Ok(self.spread(now, id, batch))
    }

    /// Numbers a batch of an open flow for which there is room, and puts it into the session of every member.
    pub(super) fn spread(&mut self, now: Time, id: FlowId, batch: Batch) -> Accepted {
        let key = self.own_key(id);
        if !id.is_large() && batch.noted().is_none() {
            self.peers.on_small(now);
        }
        let deps = self.depend_on_given(id);
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        let count = batch.count();
        let first = flow.push(count, batch.cost_bytes());
        let last = first + u64::from(count) - 1;
        let floor = flow.settled();
        let (version, announcement) = flow.announcement(key);
        let head = crate::wire::encode_head(&DataHead::Batch {
            key,
            version,
            first,
            count,
            floor,
            deps,
        });
        let (prefix, body) = batch.parts();
        let head: Bytes = match prefix.is_empty() {
            true => head,
            false => [&head[..], &prefix[..]].concat().into(),
        };
        let targets = self.originate(now, id, (first, last), (&head, body));
        for member in targets.members {
            if targets.with_set {
                self.announce(member, key, version, &announcement);
            }
            let frame = OutFrame {
                head: head.clone(),
                body: body.clone(),
                cargo: targets.cargo,
            };
            let to = (member.0, member.1, LaneName::of_flow(id));
            self.peers.push(self.me.epoch, to, frame, &mut self.out);
        }
        let flow = &self.flows_out[&id];
        let (members, is_own) = (flow.member_count(), flow.tenure_of(self.me.id).is_some());
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        flow.keep_last(first, &batch, self.limits.session_bytes_max);
        flow.remember(first, &batch, self.limits.replay_bytes);
        let meant = flow.meant_count();
        let waits = self.await_safety(now, id, (first, last), &batch);
        let large = self.flows_out.get(&id).and_then(|flow| flow.large.as_ref());
        let refused = large.is_some_and(|large| large.refused_here);
        if members == 0 {
            self.settle_flow(id);
        } else if !waits && !refused && is_own {
            self.deliver_own(id, first, last, batch);
        }
        Accepted {
            first: Seq(first),
            last: Seq(last),
            members: meant,
        }
    }

    /// To whom a batch goes that was just numbered; keeps it for the others, if there are any.
    fn originate(
        &mut self,
        now: Time,
        id: FlowId,
        (first, last): (u64, u64),
        (head, body): (&Bytes, &Bytes),
    ) -> Targets {
        let (key, me) = (self.own_key(id), self.me.id);
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        let audience = spread::of(flow.mode).on_origination();
        let others = |&(node, _): &(NodeId, Epoch)| node != me;
        if audience == Audience::All {
            return Targets {
                members: flow.members().filter(others).collect(),
                with_set: true,
                cargo: Cargo::Own {
                    flow: id,
                    upto: last,
                },
            };
        }
        if spread::origin_keeps(flow.mode) && !planted!(OriginKeepsNothing) {
            flow.keep(now, key, (first, last), (head.clone(), body.clone()));
        }
        let set = flow.dest_set(key);
        let with_set = flow.retained.pass_on_set(set.version);
        let chosen = audience.choose(
            &set,
            |member| member.node != me,
            |member| self.peers.is_linked(member.node),
            &mut self.rng,
        );
        let members = chosen.into_iter().map(|member| (member.node, member.epoch));
        let members = members.collect();
        self.digest_later(key);
        // That one of them has it says nothing about what was sent before.
        let cargo = Cargo::Relay {
            key,
            upto: last,
            awaited: false,
        };
        Targets {
            members,
            with_set,
            cargo,
        }
    }

    /// Notes that a batch has to become safe, if it has to; says whether that is so.
    fn await_safety(
        &mut self,
        now: Time,
        id: FlowId,
        (first, last): (u64, u64),
        batch: &Batch,
    ) -> bool {
        let (key, me) = (self.own_key(id), self.me.id);
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        let waits = flow.safety.is_some();
        if waits {
            flow.await_safety(key, me, (first, last), batch);
            self.follow_own_safety(now, id);
        }
        waits
    }

    /// Whether so many nodes hold the flow's role that its messages can become safe.
    fn check_holders(&self, id: FlowId) -> Result<(), MulticastError> {
        let flow = self.flows_out.get(&id).ok_or(MulticastError::UnknownFlow)?;
        let (holders, wanted) = (flow.member_count(), usize::from(flow.mode.k_safe));
        match wanted > 1 && holders < wanted {
            true => Err(MulticastError::TooFewHolders { holders, wanted }),
            false => Ok(()),
        }
    }

    fn check_room(&mut self, now: Time, id: FlowId, bytes: usize) -> Result<(), MulticastError> {
        if self.draining {
            return Err(MulticastError::Leaving);
        }
        let max = self.limits.payload_bytes_max;
        let batch_bytes_max = self.limits.batch_bytes_max();
        if !self.flows_out.contains_key(&id) {
            return Err(MulticastError::UnknownFlow);
        }
        if bytes > batch_bytes_max {
            return Err(MulticastError::TooLarge { bytes, max });
        }
        if self.has_room(id) || self.leave_behind(id) {
            let flow = self.flows_out.get_mut(&id).expect("it was just found");
            flow.reopen();
            return Ok(());
        }
        self.note_shut(now, id);
        Err(MulticastError::Full)
    }

    /// Whether a flow takes another batch; if not, it says so when it does.
    pub(super) fn has_room(&mut self, id: FlowId) -> bool {
        let window = self.window_of(id);
        let Some(flow) = self.flows_out.get(&id) else {
            return false;
        };
        let members: Vec<NodeId> = flow.members().map(|(node, _)| node).collect();
        let has_room = flow.has_room(window) || planted!(WindowIgnored);
        let lane = LaneName::of_flow(id);
        if has_room
            && members
                .into_iter()
                .all(|node| self.session_has_room(node, lane))
        {
            return true;
        }
        self.flows_out
            .get_mut(&id)
            .expect("it was just found")
            .refused = true;
        false
    }

    /// Bytes of a flow that may be on the way: the least that its members and this node allow.
    pub(super) fn window_of(&self, id: FlowId) -> usize {
        let members = self.flows_out.get(&id).into_iter();
        let members = members.flat_map(|flow| flow.members());
        let told = members.filter_map(|(node, _)| self.peers.get(node)?.window_bytes);
        let window = told.chain([self.limits.flow_window_bytes]).min();
        let window = window.expect("there is one at least");
        let keeps_last = self.flows_out.get(&id).is_some_and(FlowOut::keeps_last);
        match planted!(LagsTooSoon) && keeps_last {
            true => window / 2,
            false => window,
        }
    }

    /// The member because of which a flow has no room: the one to which most is on its way, if that is too much, and otherwise the one that has taken least.
    pub(super) fn slowest_member(&self, id: FlowId) -> Option<NodeId> {
        let flow = self.flows_out.get(&id)?;
        let max = self.limits.session_bytes_max;
        let waiting = flow.members().map(|(node, _)| {
            let session = self.peers.get(node).and_then(|peer| peer.session.as_ref());
            let bytes = session.map_or(0, |session| session.lane(LaneName::of_flow(id)).bytes());
            (bytes, node)
        });
        let fullest = waiting.max().filter(|&(bytes, _)| bytes > max);
        fullest.map(|(_, node)| node).or_else(|| flow.slowest())
    }

    /// Whether a lane of a session has room for another batch, if need be after dropping what may be dropped.
    pub(super) fn session_has_room(&mut self, node: NodeId, lane: LaneName) -> bool {
        let max = self.limits.session_bytes_max;
        self.bound_session(node, max);
        let session = self.peers.get(node).and_then(|peer| peer.session.as_ref());
        session.is_none_or(|session| session.lane(lane).bytes() <= max)
    }

    /// Makes sure that a peer knows a destination set before it gets a batch that refers to it.
    pub(super) fn announce(
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
            let to = (node, epoch, LaneName::of_flow(key.flow));
            self.peers.push(self.me.epoch, to, frame, &mut self.out);
        }
    }

    pub(super) fn deliver_own(&mut self, id: FlowId, first: u64, last: u64, batch: Batch) {
        if planted!(OwnDeliveryForgotten) {
            return;
        }
        let role = &self.flows_out[&id].role;
        let Some(inbox) = self.holding(role).map(|holding| holding.inbox) else {
            return;
        };
        let me = self.me.id;
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        if let (Some(&Note::End { .. }), Some(large)) = (batch.noted(), &mut flow.large) {
            large.over_here = true;
        }
        if let Some(start) = flow.begin_at(me).filter(|_| !id.is_large()) {
            self.report_start(inbox, self.own_key(id), start);
        }
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
        let delivery = match batch.noted() {
            Some(&Note::Large { flow, length }) => Delivery::Large {
                origin,
                flow: id,
                seq: Seq(first),
                large: flow,
                length,
                ticket,
            },
            Some(&Note::End { complete }) => Delivery::LargeEnd {
                origin,
                flow: id,
                end: match complete {
                    true => LargeEnd::Complete,
                    false => LargeEnd::CutShort,
                },
            },
            None if id.is_large() => Delivery::Chunk {
                origin,
                flow: id,
                chunk: batch.into_chunk(),
                ticket,
            },
            None => Delivery::Messages {
                origin,
                flow: id,
                first: Seq(first),
                batch,
                ticket,
            },
        };
        self.deliver(inbox, delivery);
    }

    /// The application has taken messages that this node sent to itself.
    pub(super) fn on_own_taken(&mut self, id: FlowId, upto: u64) {
        let (node, epoch) = (self.me.id, self.me.epoch);
        if let Some(flow) = self.flows_out.get_mut(&id)
            && let upto = flow.with_end(upto)
            && let Some(tenure) = flow.any_tenure_of(node)
            && flow.acknowledge(node, epoch, tenure, upto)
        {
            self.settle_flow(id);
        }
        let flow = self.flows_out.get(&id);
        if let Some(evicted) = flow.and_then(|flow| flow.evicted_upto(node))
            && upto >= evicted
            && !id.is_large()
        {
            self.readmit_own(id);
        }
    }

    /// Sends a question to all members.
    pub(super) fn ask_all(
        &mut self,
        now: Time,
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
        if flow.keeps_last() {
            return Err(MulticastError::NotKeepLast);
        }
        if flow.member_count() == 0 {
            return Err(MulticastError::NoHolder);
        }
        let waiting: BTreeMap<NodeId, Epoch> = flow.members().collect();
        let call = self.calls.next_id();
        let accepted = self.send_batch(now, id, Batch::single(payload, Some(call)))?;
        self.calls.insert_all(call, waiting, deadline);
        Ok((call, accepted))
    }

    /// Takes over who holds a flow's role.
    pub(super) fn refresh_flow(&mut self, id: FlowId) {
        if planted!(DestSetStale) && self.flows_out[&id].next() > 1 {
            return;
        }
        let mut holders = self.holders_of(&self.flows_out[&id].role);
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        if flow.large.is_some() {
            // Who came after its announcement does not know of it.
            holders.retain(|holder| {
                let meant = flow.names(holder.node, holder.epoch, holder.tenure);
                meant || flow.is_evicted(holder)
            });
        }
        let lost = flow.set_holders(&holders);
        self.report_lost(id, lost);
        self.replay_to_newcomers(id);
        self.announce_debts(id);
        self.settle_flow(id);
    }

    /// Starts every flow over in this node's present life.
    pub(super) fn renew_flows(&mut self) {
        if planted!(RenewalKeepsFlows) {
            return;
        }
        for id in self.flows_out.keys().copied().collect::<Vec<_>>() {
            let own = (self.me.id, self.me.epoch);
            let flow = self.flows_out.get_mut(&id).expect("it is there");
            let former = flow.epoch();
            let (lost, unstable) = (flow.renew(own), flow.abandon());
            if let Some((first, upto)) = unstable {
                let (first, upto) = (Seq(first), Seq(upto));
                self.event(Event::Unstable {
                    flow: id,
                    first,
                    upto,
                });
            }
            self.report_lost(id, lost);
            if id.is_large() {
                self.abandon_large(id, former);
                continue;
            }
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
        // There is no session with oneself: what this node had not taken of its own is in its gap.
        let own = self.me.id;
        for member in debtors.into_iter().filter(|(node, _)| *node != own) {
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

    pub(super) fn settle_flow(&mut self, id: FlowId) {
        if id.is_large() {
            self.settle_large(id);
            return;
        }
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

    pub(super) fn wake_refused_flow(&mut self, id: FlowId) {
        if !self.flows_out.get(&id).is_some_and(|flow| flow.refused) {
            return;
        }
        // A large payload that has begun may go on while the node leaves.
        if (id.is_large() || !self.draining) && self.has_room(id) {
            let flow = self.flows_out.get_mut(&id).expect("it was just found");
            flow.refused = false;
            flow.reopen();
            if !planted!(WritableForgotten) {
                self.event(Event::Writable(id));
            }
        }
    }
}
