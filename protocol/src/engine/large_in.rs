//! Large payloads that this node receives: chunk by chunk, up to what it takes, and until somebody said how it ended.

use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Identity, NodeId, Time};

use super::{Engine, FLOWS_IN_MAX};
use crate::api::{Delivery, FlowId, LargeEnd, Origin, Ticket, TicketKind};
use crate::batch::{Batch, Note};
use crate::canary::planted;
use crate::flow_in::{FlowIn, Ready};
use crate::large::{Incoming, Stage};
use crate::session::Cargo;
use crate::spread;
use crate::wire::{DataHead, DestMember, DestSet, FlowKey};

/// How long a large payload that is over is kept in mind for other members that ask about it, unless there are too many.
const LINGER: Duration = Duration::from_secs(5);
/// No payload has more bytes than this.
const LENGTH_MAX: u64 = 1 << 62;

impl Engine {
    /// Whether a destination set may be what it says; of a large payload, whether it fits what is known of that.
    pub(super) fn check_large(&self, set: &DestSet) -> Result<(), &'static str> {
        let Some(head) = &set.large else {
            return match set.key.flow.is_large() {
                true => Err("a large payload of which nothing is said"),
                false => Ok(()),
            };
        };
        if !set.key.flow.is_large() || !head.oldest.is_large() || head.oldest > set.key.flow {
            return Err("a large payload with an impossible number");
        }
        if set.mode != spread::mode_of_large(set.mode) {
            return Err("a large payload whose chunks are not in order, or wait to be safe");
        }
        if head.length.is_some_and(|length| length > LENGTH_MAX) {
            return Err("a large payload of an impossible length");
        }
        let known = self.flows_in.get(&set.key);
        match known.and_then(|flow| flow.large.as_ref()) {
            Some(large) if large.length != head.length => {
                Err("a large payload that was announced with another length")
            }
            _ => Ok(()),
        }
    }

    /// A large payload was announced: it is taken, unless it is too large or nobody reads it.
    pub(super) fn on_large_announced(&mut self, now: Time, key: FlowKey, length: Option<u64>) {
        let Some(flow) = self.flows_in.get_mut(&key) else {
            return;
        };
        if flow.large.is_some() {
            return;
        }
        let mut large = Incoming::new(now, length);
        if flow.inbox().is_none() {
            large.stage = Stage::Closed;
        }
        let open = large.stage == Stage::Open;
        flow.large = Some(large);
        if open && length.is_some_and(|length| self.is_too_large(length)) {
            self.refuse_large(key);
        }
    }

    /// Everybody has all large payloads of this origin before this one: what is kept of them for others goes.
    ///
    /// So what is kept of small ones that follow each other is no more than may be on the way, though members seldom tell each other how far they are.
    pub(super) fn let_go_before(&mut self, key: FlowKey, oldest: FlowId) {
        let first = FlowId::large(0).expect("it is the first of them");
        let [first, oldest] = [first, oldest].map(|flow| FlowKey { flow, ..key });
        let before = (first < oldest).then(|| self.flows_in.range_mut(first..oldest));
        let before = before.into_iter().flatten().rev().map(|(_, flow)| flow);
        for flow in before.take_while(|flow| !flow.retained.is_empty()) {
            flow.retained.agree(flow.watermark());
        }
    }

    /// A message has announced a large payload, of which something may have come already, or nothing may ever come.
    pub(super) fn expect_large(
        &mut self,
        now: Time,
        parent: FlowKey,
        key: FlowKey,
        length: Option<u64>,
    ) {
        let over = self.finished.contains(key) || self.forgotten.contains(key);
        if self.flows_in.contains_key(&key) || over {
            return;
        }
        let Some(parent) = self.flows_in.get(&parent) else {
            return;
        };
        let member = DestMember {
            node: self.me.id,
            epoch: parent.own_epoch(),
            tenure: parent.tenure(),
            start: 1,
            replayed: 0,
            owed: Vec::new(),
        };
        let mode = spread::mode_of_large(parent.mode);
        let (inbox, dead_since) = (parent.inbox(), parent.dead_since);
        let role = parent.role().cloned();
        let announcer = parent.announcer;
        if self.may_announce(announcer, key) != Ok(true) {
            if let Some(inbox) = inbox {
                let (origin, flow) = (origin_of(key), key.flow);
                let end = LargeEnd::CutShort;
                self.deliver(inbox, Delivery::LargeEnd { origin, flow, end });
            }
            return;
        }
        let mut flow = FlowIn::new(key, mode, &member, 1);
        flow.announcer = announcer;
        if let Some(role) = role {
            flow.bind(&role, inbox);
        }
        flow.dead_since = dead_since;
        self.flows_in.insert(key, flow);
        self.on_large_announced(now, key, length);
    }

    /// Whether a batch of a large payload is one that may come.
    pub(super) fn check_chunk(
        &self,
        from: NodeId,
        key: FlowKey,
        first: u64,
        batch: &Batch,
    ) -> Result<(), &'static str> {
        let large = self.flows_in.get(&key).and_then(|flow| flow.large.as_ref());
        let Some(large) = large else {
            return match batch.noted() {
                Some(Note::End { .. }) => Err("the end of a large payload in another flow"),
                Some(Note::Large { flow, .. }) if !flow.is_large() => {
                    Err("a large payload with an impossible number")
                }
                _ => Ok(()),
            };
        };
        if matches!(batch.noted(), Some(Note::Large { .. })) || !batch.is_lone_message() {
            return Err("something other than a chunk in a large payload");
        }
        // Whoever passes it on may not know what came before.
        let next = self.flows_in[&key].watermark() + 1;
        let chunk = match batch.noted() {
            None => batch.clone().into_chunk().len() as u64,
            Some(_) => 0,
        };
        let beyond = large.length.is_some_and(|l| large.bytes + chunk > l);
        if from == key.origin && first == next && beyond {
            return Err("more of a large payload than was announced");
        }
        Ok(())
    }

    /// Delivers what has come of a large payload, in order.
    pub(super) fn deliver_chunks(&mut self, now: Time, key: FlowKey) {
        while let Some(flow) = self.flows_in.get_mut(&key)
            && flow.large.as_ref().is_some_and(|l| l.stage == Stage::Open)
            && let Some(Ready { last, batch, .. }) = flow.pop_ready(now)
        {
            match batch.noted() {
                Some(Note::End { complete }) => self.on_end(key, *complete),
                _ => self.deliver_chunk(now, key, last, batch),
            }
            self.ack_later(now, key);
        }
        self.report_finished(key);
    }

    fn deliver_chunk(&mut self, now: Time, key: FlowKey, last: u64, batch: Batch) {
        let chunk = batch.into_chunk();
        let Some(flow) = self.flows_in.get_mut(&key) else {
            return;
        };
        let (inbox, large) = (flow.inbox(), flow.large.as_mut());
        let (Some(inbox), Some(large)) = (inbox, large) else {
            return;
        };
        let bytes = large.bytes + chunk.len() as u64;
        if large.length.is_some_and(|length| bytes > length) {
            flow.refuse_from(last);
            self.end_incoming(key, LargeEnd::CutShort);
            return;
        }
        large.bytes = bytes;
        large.progress_at = now;
        if self.is_too_large(bytes) {
            let flow = self.flows_in.get_mut(&key).expect("it was just found");
            flow.refuse_from(last);
            self.refuse_large(key);
            return;
        }
        let flow = self.flows_in.get_mut(&key).expect("it was just found");
        flow.await_taking(last, last, chunk.len());
        let kind = TicketKind::Flow {
            key,
            upto: last,
            bytes: chunk.len(),
        };
        let delivery = Delivery::Chunk {
            origin: origin_of(key),
            flow: key.flow,
            chunk,
            ticket: Ticket { kind },
        };
        self.deliver(inbox, delivery);
    }

    /// The origin says how it ended.
    fn on_end(&mut self, key: FlowKey, complete: bool) {
        let large = self.flows_in.get(&key).and_then(|flow| flow.large.as_ref());
        let whole = large.is_some_and(|l| l.length.is_none_or(|length| l.bytes == length));
        let end = match complete && whole {
            true => LargeEnd::Complete,
            false => LargeEnd::CutShort,
        };
        self.end_incoming(key, end);
    }

    /// Tells the reader how it ended.
    pub(super) fn end_incoming(&mut self, key: FlowKey, end: LargeEnd) {
        let Some(flow) = self.flows_in.get_mut(&key) else {
            return;
        };
        let inbox = flow.inbox();
        let Some(large) = &mut flow.large else {
            return;
        };
        if large.stage != Stage::Open {
            return;
        }
        large.stage = match end {
            LargeEnd::TooLarge => Stage::Refused,
            LargeEnd::Complete | LargeEnd::CutShort | LargeEnd::Lagged => Stage::Ended,
        };
        flow.give_up_early();
        if let Some(inbox) = inbox {
            let (origin, flow) = (origin_of(key), key.flow);
            self.deliver(inbox, Delivery::LargeEnd { origin, flow, end });
        }
    }

    /// It is more than this node takes: the reader hears of it, and so does the origin.
    fn refuse_large(&mut self, key: FlowKey) {
        self.end_incoming(key, LargeEnd::TooLarge);
        self.report(key, true);
    }

    /// Tells the origin when this member needs nothing more.
    ///
    /// It goes in the session, which loses nothing, so that the flow may be forgotten here.
    pub(super) fn report_finished(&mut self, key: FlowKey) {
        let Some(flow) = self.flows_in.get(&key) else {
            return;
        };
        let ended = |large: &Incoming| large.stage == Stage::Ended && !large.reported;
        let taken = flow.acknowledgeable() >= flow.watermark();
        if flow.large.as_ref().is_some_and(ended) && taken {
            self.report(key, false);
        }
    }

    /// It is said again as long as there is no session with the life that it is said to: of that, others may have told this node first.
    fn report(&mut self, key: FlowKey, refused: bool) {
        let Some(flow) = self.flows_in.get(&key) else {
            return;
        };
        let head = DataHead::Finished {
            flow: key.flow,
            tenure: flow.tenure(),
            refused,
        };
        let to = (key.origin, key.epoch);
        let present = flow.own_epoch() == self.me.epoch;
        if present && self.push(to, &head, Bytes::new(), Cargo::Plain).is_none() {
            return;
        }
        let flow = self.flows_in.get_mut(&key);
        if let Some(large) = flow.and_then(|flow| flow.large.as_mut()) {
            large.reported = true;
        }
    }

    /// Tells the origins of large payloads what they could not be told when it was so.
    pub(super) fn report_unreported(&mut self) {
        let over = |flow: &FlowIn| {
            let large = flow.large.as_ref().filter(|large| !large.reported)?;
            Some((flow.key, large.stage))
        };
        let over: Vec<(FlowKey, Stage)> = self.flows_in.values().filter_map(over).collect();
        for (key, stage) in over {
            match stage {
                Stage::Refused => self.report(key, true),
                Stage::Ended => self.report_finished(key),
                Stage::Open | Stage::Closed => {}
            }
        }
    }

    /// This node goes on in another life: what its readers have not got of the large payloads for the former one will not come.
    pub(super) fn cut_all_short(&mut self) {
        let open = |flow: &&FlowIn| flow.large.as_ref().is_some_and(|l| l.stage == Stage::Open);
        let open: Vec<FlowKey> = self.flows_in.values().filter(open).map(|f| f.key).collect();
        for key in open {
            self.end_incoming(key, LargeEnd::CutShort);
        }
    }

    /// Ends the large payloads whose origin is dead and of which nothing more can come.
    pub(super) fn cut_short_orphans(&mut self, now: Time) {
        let gap_after = self.limits.gap_after;
        let orphaned = |flow: &FlowIn| {
            let large = flow.large.as_ref().filter(|l| l.stage == Stage::Open);
            let since = large.and_then(|l| Some(flow.dead_since?.max(l.progress_at)));
            since.is_some_and(|since| since + gap_after <= now)
        };
        let flows = self.flows_in.values();
        let keys: Vec<FlowKey> = flows
            .filter(|flow| orphaned(flow) && !self.may_come_yet(now, flow))
            .map(|flow| flow.key)
            .collect();
        for key in keys {
            self.cut_short(key);
        }
    }

    /// Nobody will hear how this one went on.
    pub(super) fn cut_short(&mut self, key: FlowKey) {
        let end = match planted!(LargeCutIsComplete) {
            true => LargeEnd::Complete,
            false => LargeEnd::CutShort,
        };
        if !planted!(LargeCutUnreported) {
            self.end_incoming(key, end);
        }
    }

    /// Forgets the large payloads that are over and that nobody has asked about for a while.
    pub(super) fn forget_finished(&mut self, now: Time) {
        let linger = match self.flows_in.len() > FLOWS_IN_MAX / 2 {
            true => Duration::ZERO,
            false => LINGER,
        };
        let mut finished = Vec::new();
        for flow in self.flows_in.values_mut() {
            let at_rest = flow.is_at_rest();
            let Some(large) = &mut flow.large else {
                continue;
            };
            if large.stage == Stage::Open || !at_rest {
                large.idle_since = None;
            } else if *large.idle_since.get_or_insert(now) + linger <= now {
                finished.push(flow.key);
            }
        }
        for key in finished {
            self.flows_in.remove(&key);
            self.finished.insert(key);
            self.peers.forget_flow(key);
        }
        let after = self.limits.forget_after;
        let over = |node: NodeId, epoch| {
            let member = self.membership.member(node);
            let present = |Identity { epoch: present, .. }| present == epoch;
            !member.is_some_and(|member| present(member.record.identity))
        };
        for (node, epoch) in self.finished.forget(now, after, over) {
            self.forgotten.insert_life(node, epoch);
        }
    }
}

fn origin_of(key: FlowKey) -> Origin {
    Origin {
        node: key.origin,
        epoch: key.epoch,
    }
}
