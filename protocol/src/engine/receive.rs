//! Flows that this node receives: who is meant, what is new, and what the program has taken.

use std::collections::BTreeSet;

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, RoleName, Time};

use super::Engine;
use crate::api::{Delivery, FlowId, InboxId, Origin, Refusal, Seq, Ticket, TicketKind};
use crate::batch::{Batch, Note};
use crate::canary::planted;
use crate::flow_in::{Arrival, FlowIn, Ready};
use crate::large::Stage;
use crate::mode::Mode;
use crate::notice::Started;
use crate::spread;
use crate::wire::{Dep, DestEvicted, DestMember, DestSet, FlowKey, Owed, SEQ_MAX};

/// Of a window, the part after which an acknowledgement is sent at once.
const WINDOW_PARTS: usize = 8;
/// What the application is handed of a flow and has not taken, with what is held back, in windows with the batch that may go beyond.
/// One is what a member that minds the window may send; a member that was not seen to hold the role for a moment is sent as much again.
const UNTAKEN_WINDOWS: usize = 4;

/// The head of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchNumbers {
    pub(super) key: FlowKey,
    /// Of the destination set.
    pub(super) version: u32,
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) floor: u64,
}

impl Engine {
    pub(super) fn on_dest_set(
        &mut self,
        now: Time,
        from: Origin,
        set: DestSet,
        frame: &Bytes,
    ) -> Result<(), &'static str> {
        let impossible = |member: &crate::wire::DestMember| member.start > SEQ_MAX;
        if !set.is_well_formed() || set.members.iter().any(impossible) {
            return Err("a malformed destination set");
        }
        self.check_large(&set)?;
        let (key, large) = (set.key, set.large);
        if key.origin == self.me.id || self.forgotten.contains(key) {
            return Ok(());
        }
        if let Some(large) = &large {
            self.finished.raise(key, large.oldest);
            self.let_go_before(key, large.oldest);
            if self.finished.contains(key) {
                return Ok(());
            }
        }
        let evicted = set.evicted(self.me.id).copied();
        let own = meant_for(&set, self.me.id);
        let inbox = self.inbox_for(&set);
        let known = self.flows_in.contains_key(&key);
        if !known && own.is_some() && self.parks_set(now, from, key, frame) {
            return Ok(());
        }
        let goes_on = known || self.goes_on(&set, inbox);
        let unheard_of = !goes_on && self.had_of_former_lives(set.born, key) == 0;
        if let Some(member) = &own {
            self.flow_in(from.node, key, set.mode, member, member.start)?;
        }
        let (born, mode, role) = (set.born, set.mode, set.role.clone());
        let given_up = self.given_up_unknown(key);
        let Some(flow) = self.flows_in.get_mut(&key) else {
            return Ok(());
        };
        if flow.mode != mode {
            return Err("a flow that changes its mode");
        }
        if from.node == key.origin {
            flow.announcer = from.node;
        }
        let announcer = flow.announcer;
        let news = set.version > flow.newest_version();
        let restarted = flow.learn(set, frame.clone(), own.as_ref(), given_up);
        let Some(member) = own else {
            return Ok(());
        };
        let mine = (flow.own_epoch(), flow.tenure()) == (member.epoch, member.tenure);
        if mine {
            flow.bind(&role, inbox);
        }
        if let Some(large) = large {
            self.on_large_announced(now, key, large.length);
            if evicted.is_some() && mine {
                self.on_evicted_from_large(key);
            }
            return Ok(());
        }
        let (key_of_first, first, begins) = match member.owed.first() {
            None => {
                let first = (member.start, member.replayed);
                (key, first, restarted || !goes_on)
            }
            Some(&Owed { epoch, first, .. }) => (FlowKey { epoch, ..key }, (first, 0), unheard_of),
        };
        let replayed_upto = member.start + member.replayed - 1;
        if begins && member.replayed > 0 {
            flow.know_upto(now, replayed_upto);
        }
        if goes_on && !known && member.replayed > 0 {
            // An inbox that goes on from a former life of the origin did not ask for what that sent meanwhile.
            flow.pass_over(replayed_upto);
            self.ack_later(now, key);
        }
        if let Some(inbox) = inbox.filter(|_| begins) {
            self.report_start(inbox, key_of_first, first);
        }
        match evicted {
            Some(DestEvicted { upto, lags, .. }) if news && mine => {
                self.on_evicted(now, key, (upto, lags));
            }
            None if news && mine => self.on_readmitted(now, key, member.start),
            _ => {}
        }
        if inbox.is_some() {
            for owed in &member.owed {
                let flow = (announcer, born, key, mode);
                self.miss_former_life(now, flow, &member, owed, (&role, inbox))?;
            }
        }
        Ok(())
    }

    /// What an origin's former life sent and this member did not acknowledge: it is here, comes yet over a relay, or is lost.
    fn miss_former_life(
        &mut self,
        now: Time,
        (announcer, born, key, mode): (NodeId, Epoch, FlowKey, Mode),
        member: &DestMember,
        owed: &Owed,
        (role, inbox): (&RoleName, Option<InboxId>),
    ) -> Result<(), &'static str> {
        let epoch = owed.epoch;
        let earlier = FlowKey { epoch, ..key };
        let had = self.had_of_former_lives(born, earlier);
        let (first, upto) = (owed.first.max(had + 1), owed.last);
        if first > upto || self.forgotten.contains(earlier) {
            return Ok(());
        }
        self.flow_in(announcer, earlier, mode, member, first)?;
        // What was sent before that it is not owed: if it had been left out, it was taken back then.
        self.on_readmitted(now, earlier, owed.first);
        if let Some(flow) = self.flows_in.get_mut(&earlier) {
            if (flow.own_epoch(), flow.tenure()) == (member.epoch, member.tenure) {
                flow.bind(role, inbox);
            }
            flow.know_upto(now, upto);
        }
        Ok(())
    }

    /// Whether a flow went into this inbox in a former life of its origin.
    fn goes_on(&self, set: &DestSet, inbox: Option<InboxId>) -> bool {
        let first = FlowKey {
            epoch: set.born,
            flow: FlowId(0),
            ..set.key
        };
        let last = FlowKey {
            flow: FlowId(0),
            ..set.key
        };
        let former = (first < last).then(|| self.flows_in.range(first..last));
        let mut former = former.into_iter().flatten();
        inbox.is_some() && former.any(|(key, f)| key.flow == set.key.flow && f.inbox() == inbox)
    }

    /// Tells an inbox from which message on it gets a flow, if that is not the first one.
    /// Gives as well how many messages from there on were sent before the inbox began.
    pub(super) fn report_start(
        &mut self,
        inbox: InboxId,
        key: FlowKey,
        (start, replayed): (u64, u64),
    ) {
        if (start > 1 || replayed > 0) && !planted!(StartUnreported) {
            let replayed = match planted!(ReplayUntold) {
                true => 0,
                false => replayed + u64::from(planted!(ReplayOverLive) && replayed > 0),
            };
            let started = Started {
                origin: key.origin(),
                flow: key.flow,
                first: Seq(start),
                replayed,
            };
            self.deliver(inbox, Delivery::Started(started));
        }
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

    /// Makes sure that there is a state for a flow, if whoever announces it may bring one more.
    fn flow_in(
        &mut self,
        announcer: NodeId,
        key: FlowKey,
        mode: Mode,
        member: &DestMember,
        start: u64,
    ) -> Result<(), &'static str> {
        if self.flows_in.contains_key(&key) || !self.may_announce(announcer, key)? {
            return Ok(());
        }
        let start = start.max(self.given_up_unknown(key) + 1);
        let mut flow = FlowIn::new(key, mode, member, start);
        flow.announcer = announcer;
        self.flows_in.insert(key, flow);
        Ok(())
    }

    /// Where messages to this destination set go, if it means the present holding of the role in this node's present life.
    fn inbox_for(&self, set: &DestSet) -> Option<InboxId> {
        let member = meant_for(set, self.me.id)?;
        let holding = self.holding(&set.role)?;
        let present = (self.me.epoch, holding.tenure) == (member.epoch, member.tenure);
        present.then_some(holding.inbox)
    }

    pub(super) fn on_batch(
        &mut self,
        now: Time,
        from: NodeId,
        (numbers, deps): (BatchNumbers, &[Dep]),
        head: &Bytes,
        body: &Bytes,
    ) -> Result<(), &'static str> {
        let BatchNumbers {
            key,
            version,
            first,
            count,
            floor,
        } = numbers;
        if first == 0 || first > SEQ_MAX || count == 0 || floor >= first {
            return Err("a batch with an impossible number");
        }
        let last = first + u64::from(count) - 1;
        let untaken_bytes_max = self.untaken_bytes_max();
        self.on_floor(key, version, floor);
        let Some(flow) = self.flows_in.get_mut(&key) else {
            self.ask_for_set(now, from, key, last);
            return Ok(());
        };
        if flow.is_duplicate(first, last) {
            #[cfg(feature = "canaries")]
            if planted!(DuplicateDelivered) {
                self.deliver_duplicate(key, first, count, body.clone());
            }
            return Ok(());
        }
        if flow.dest_set(version).is_none() && spread::origin_keeps(flow.mode) {
            // Whoever is meant by it may not be this holding of the role.
            self.ask_for_set(now, from, key, last);
            return Ok(());
        }
        if flow.untaken_bytes() + flow.early_bytes() >= untaken_bytes_max {
            // Who passes on what the origin sent too much of has done nothing wrong.
            return match from == key.origin {
                true => Err("more than the window of a flow"),
                false => Ok(()),
            };
        }
        let batch = Batch::parse(count, body.clone()).ok_or("a malformed batch")?;
        self.check_chunk(from, key, first, &batch)?;
        if !key.flow.is_large() && batch.noted().is_none() {
            self.peers.on_small(now);
        }
        let flow = self.flows_in.get_mut(&key).expect("it was just found");
        if flow
            .large
            .as_ref()
            .is_some_and(|large| large.stage != Stage::Open)
        {
            return Ok(());
        }
        let Some(deps) = flow.resolve(version, deps)? else {
            return Ok(());
        };
        if first <= flow.held() + 1 {
            flow.forget_dest_sets_before(version);
        }
        let room = self.limits.flow_window_bytes;
        match flow.arrive(now, first, last, (version, deps), batch, room) {
            Arrival::Duplicate | Arrival::NoRoom => return Ok(()),
            Arrival::First => {}
        }
        self.pass_on(now, from, &numbers, head, body);
        if planted!(OrderIgnored) {
            let flow = self.flows_in.get_mut(&key).expect("it was just found");
            flow.give_up(now, u64::MAX);
        }
        self.deliver_ready(now, key);
        self.follow_safety(now, key);
        Ok(())
    }

    /// From here on nothing more of a flow is handed to an application that does not take it.
    fn untaken_bytes_max(&self) -> usize {
        UNTAKEN_WINDOWS * (self.limits.flow_window_bytes + self.limits.batch_bytes_max())
    }

    /// Delivers a batch that was delivered before.
    #[cfg(feature = "canaries")]
    fn deliver_duplicate(&mut self, key: FlowKey, first: u64, count: u32, body: Bytes) {
        let inbox = self.flows_in.get(&key).and_then(|flow| flow.inbox());
        if let (Some(inbox), Some(batch)) = (inbox, Batch::parse(count, body)) {
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

    pub(super) fn deliver_ready(&mut self, now: Time, key: FlowKey) {
        if key.flow.is_large() {
            self.deliver_chunks(now, key);
            return;
        }
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
            let (bytes, inbox) = (batch.cost_bytes(), flow.inbox());
            let batch = batch.without_first(skip);
            match inbox {
                Some(inbox) => {
                    flow.await_taking(first, last, bytes);
                    let ticket = Ticket {
                        kind: TicketKind::Flow {
                            key,
                            upto: last,
                            bytes,
                        },
                    };
                    let announced = batch.noted().copied();
                    let (flow, first) = (key.flow, Seq(first));
                    let delivery = match batch.noted() {
                        Some(&Note::Large {
                            flow: large,
                            length,
                        }) => Delivery::Large {
                            origin,
                            flow,
                            seq: first,
                            large,
                            length,
                            ticket,
                        },
                        _ => Delivery::Messages {
                            origin,
                            flow,
                            first,
                            batch,
                            ticket,
                        },
                    };
                    self.deliver(inbox, delivery);
                    if let Some(Note::Large { flow, length }) = announced {
                        self.expect_large(now, key, FlowKey { flow, ..key }, length);
                    }
                }
                None => self.refuse_questions(origin, batch),
            }
            self.ack_later(now, key);
        }
    }

    /// Answers the questions in a batch that no inbox takes.
    fn refuse_questions(&mut self, origin: Origin, batch: Batch) {
        for call in batch.questions() {
            self.refuse(origin, call, Refusal::NotHolder);
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
            self.report_finished(key);
            self.rejoin_if_done(key);
        }
    }

    /// The flows into this inbox have nowhere to go any more.
    /// Their origins hear at once how far they came, before they hear that the role was dropped and count this member as lost.
    pub(super) fn close_flows_into(&mut self, now: Time, inbox: InboxId) {
        let flows = self.flows_in.values();
        let into = flows.filter(|flow| flow.inbox() == Some(inbox));
        let into = into.map(|flow| flow.key).collect();
        self.close_flows(now, into);
    }

    /// These flows have nowhere to go any more.
    pub(super) fn close_flows(&mut self, now: Time, closed: Vec<FlowKey>) {
        if planted!(DroppedRoleDelivered) {
            return;
        }
        for &key in &closed {
            let flow = self.flows_in.get_mut(&key).expect("it was just found");
            flow.close_inbox();
            if let Some(large) = &mut flow.large
                && large.stage == Stage::Open
            {
                large.stage = Stage::Closed;
            }
            self.ack_later(now, key);
        }
        let origins: BTreeSet<NodeId> = closed.iter().map(|key| key.origin).collect();
        for origin in origins {
            self.send_acks_to(origin);
        }
    }
}

/// The entry of a node that something of a flow is or was meant for, whether it is left out or not.
fn meant_for(set: &DestSet, node: NodeId) -> Option<DestMember> {
    let evicted = set.evicted(node).map(|evicted| DestMember {
        node,
        epoch: evicted.epoch,
        tenure: evicted.tenure,
        start: evicted.start,
        replayed: 0,
        owed: Vec::new(),
    });
    set.member(node).cloned().or(evicted)
}
