//! Calls: what is addressed to one holder, and the answers to questions.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, RoleName, Time};

use super::Engine;
use crate::api::{
    Answer, CallId, CallKind, Delivery, Event, Origin, Pick, Refusal, ReplyTo, Target, Ticket,
    TicketKind,
};
use crate::calls::{Kind, One};
use crate::canary::planted;
use crate::error::{CallError, ReplyError};
use crate::session::{Cargo, LaneName};
use crate::wire::{DataHead, WireAnswer};

/// What an inbox accounts for a call besides its payload, in bytes.
const CALL_OVERHEAD: usize = 64;

// Asking.
impl Engine {
    pub(super) fn ask_one(
        &mut self,
        target: Target,
        kind: CallKind,
        payload: Bytes,
        deadline: Time,
    ) -> Result<CallId, CallError> {
        if self.draining {
            return Err(CallError::Leaving);
        }
        let (bytes, max) = (payload.len(), self.limits.payload_bytes_max);
        if bytes > max {
            return Err(CallError::TooLarge { bytes, max });
        }
        let max = self.limits.calls_max;
        if self.calls.len() >= max && !planted!(CallsUnbounded) {
            return Err(CallError::TooManyCalls { max });
        }
        let at = self
            .choose(&target, &BTreeSet::new())
            .ok_or(CallError::NoHolder)?;
        let session = self.peers.get(at.0).and_then(|peer| peer.session.as_ref());
        let waiting = session.map_or(0, |session| session.lane(LaneName::Data).bytes());
        if waiting > 0 && waiting + bytes > self.limits.session_bytes_max {
            return Err(CallError::Full);
        }
        let call = self.calls.next_id();
        let tried = BTreeSet::new();
        self.place(
            call,
            One {
                target,
                kind,
                payload,
                at,
                frame: None,
                tried,
            },
            deadline,
        );
        Ok(call)
    }

    /// Chooses a holder that was not tried yet; one that is linked, if the choice is free and there is one.
    fn choose(&mut self, target: &Target, tried: &BTreeSet<NodeId>) -> Option<(NodeId, Epoch)> {
        let (role, pick) = match target {
            Target::Node(node, _) if tried.contains(node) => return None,
            // It has to be said in which role it is called.
            Target::Node(node, role) if role.is_pattern() => {
                let holders = self.holders_of(role).into_iter();
                let mut holders = holders.map(|holder| (holder.node, holder.epoch));
                return holders.find(|holder| holder.0 == *node);
            }
            Target::Node(node, _) if *node == self.me.id => return Some((*node, self.me.epoch)),
            Target::Node(node, _) => {
                let member = self.membership.member(*node)?;
                return Some((*node, member.record.identity.epoch));
            }
            Target::Any(role, pick) => (role, pick),
            Target::Near { role, first, pick } => {
                let near = Target::Any(first.clone(), pick.clone());
                let near = self.choose(&near, tried);
                let anywhere = || Target::Any(role.clone(), pick.clone());
                return near.or_else(|| self.choose(&anywhere(), tried));
            }
        };
        let holders = self.holders_of(role);
        let holders = holders.iter().map(|holder| (holder.node, holder.epoch));
        let untried = holders.filter(|(node, _)| !tried.contains(node));
        let (me, peers, calls) = (self.me.id, &self.peers, &mut self.calls);
        if !matches!(pick, Pick::Sticky(_)) {
            let reachable = |node: NodeId| node == me || peers.is_linked(node);
            let linked = untried.clone().filter(|(node, _)| reachable(*node));
            let chosen = calls.choose(role, pick, linked);
            if chosen.is_some() {
                return chosen;
            }
        }
        calls.choose(role, pick, untried)
    }

    /// Sends a call to the holder that was chosen and notes that it awaits its end.
    fn place(&mut self, call: CallId, mut one: One, deadline: Time) {
        let role = match &one.target {
            Target::Any(role, _) | Target::Node(_, role) | Target::Near { role, .. } => {
                role.clone()
            }
        };
        let role = self.role_at(one.at.0, &role);
        let wants_reply = one.kind == CallKind::Request;
        let (at, payload) = (one.at, one.payload.clone());
        if at.0 == self.me.id {
            self.calls.insert_one(call, one, deadline);
            let origin = Origin {
                node: self.me.id,
                epoch: self.me.epoch,
            };
            self.on_call(origin, call, &role, wants_reply, payload);
            return;
        }
        let head = DataHead::Call {
            call: call.0,
            role,
            wants_reply,
        };
        one.frame = self.push(at, &head, payload, Cargo::Call(call));
        let placed = one.frame.is_some();
        self.calls.insert_one(call, one, deadline);
        if !placed {
            self.retry(call, at.0, Answer::NotSent);
        }
    }

    /// Tries another holder after one that did nothing with the call; if there is none, that is the end.
    pub(super) fn retry(&mut self, call: CallId, node: NodeId, answer: Answer) {
        let Some((mut one, deadline)) = self.calls.remove_one_at(call, node) else {
            return;
        };
        one.tried.insert(node);
        match &one.target {
            Target::Any(..) | Target::Near { .. } => {
                match self.choose(&one.target.clone(), &one.tried) {
                    Some(at) => {
                        one.at = at;
                        one.frame = None;
                        self.place(call, one, deadline);
                    }
                    None => self.answered(call, node, answer, true),
                }
            }
            Target::Node(..) => self.answered(call, node, answer, true),
        }
    }

    pub(super) fn cancel_call(&mut self, call: CallId) {
        if planted!(CancelIgnored) {
            return;
        }
        match self.calls.remove(call).map(|call| call.kind) {
            Some(Kind::One(one)) => {
                let withdrawn = self.withdraw(&one);
                if !withdrawn {
                    self.say_cancelled(call, one.at);
                }
            }
            Some(Kind::All { waiting }) => {
                for at in waiting {
                    self.say_cancelled(call, at);
                }
            }
            None => {}
        }
    }

    /// Tells a holder that no answer is wanted any more.
    fn say_cancelled(&mut self, call: CallId, (node, epoch): (NodeId, Epoch)) {
        if node == self.me.id {
            let origin = Origin { node, epoch };
            self.on_cancel(ReplyTo { origin, call });
        } else {
            let head = DataHead::Cancel { call: call.0 };
            self.push((node, epoch), &head, Bytes::new(), Cargo::Plain);
        }
    }

    /// Takes a call back that was never handed to a link; says whether that could be done.
    fn withdraw(&mut self, one: &One) -> bool {
        let (node, epoch) = one.at;
        let session = self
            .peers
            .get_mut(node)
            .and_then(|peer| peer.session.as_mut());
        match (
            session.filter(|session| session.peer_epoch == epoch),
            one.frame,
        ) {
            (Some(session), Some(frame)) => session.lane_mut(LaneName::Data).withdraw(frame),
            _ => false,
        }
    }

    /// Ends the calls whose deadline has passed.
    pub(super) fn expire_calls(&mut self, now: Time) {
        while let Some((call, expired)) = self.calls.pop_expired(now) {
            if planted!(DeadlineSilent) {
                continue;
            }
            match expired.kind {
                Kind::One(one) => {
                    if self.withdraw(&one) {
                        self.answered(call, one.at.0, Answer::NotSent, true);
                    } else {
                        self.answered(call, one.at.0, Answer::TimedOut, true);
                        self.say_cancelled(call, one.at);
                    }
                }
                Kind::All { waiting } => {
                    let count = waiting.len();
                    for (index, &node) in waiting.keys().enumerate() {
                        self.answered(call, node, Answer::TimedOut, index + 1 == count);
                    }
                    // This node may be one of those that were asked: it hears last that the call has ended.
                    for at in waiting {
                        self.say_cancelled(call, at);
                    }
                }
            }
        }
    }

    /// Ends what was asked of lives of a node before `epoch`, but for the calls in `unsent`, which never reached a link.
    pub(super) fn end_sent_calls_to(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        unsent: &BTreeSet<CallId>,
    ) {
        for call in self.calls.awaiting_before(node, epoch) {
            if let Some(last) = self.calls.answer_of_many(call, node) {
                self.answered(call, node, Answer::Unknown, last);
            } else if unsent.contains(&call) {
                continue;
            } else if planted!(UnknownRetried) {
                self.retry(call, node, Answer::Unknown);
            } else if self.calls.remove_one_at(call, node).is_some() {
                self.answered(call, node, Answer::Unknown, true);
            }
        }
    }

    /// A holder's answer has come.
    pub(super) fn on_answer(
        &mut self,
        from: Origin,
        call: CallId,
        answer: WireAnswer,
        payload: Bytes,
    ) {
        if !self.calls.awaits(call, from.node, from.epoch) {
            return;
        }
        let answer = match answer {
            WireAnswer::Taken => Answer::Taken,
            WireAnswer::Reply => Answer::Reply(payload),
            WireAnswer::Refused(refusal) => Answer::Refused(refusal),
        };
        let elsewhere = matches!(answer, Answer::Refused(Refusal::NotHolder | Refusal::Busy));
        if let Some(last) = self.calls.answer_of_many(call, from.node) {
            self.answered(call, from.node, answer, last);
        } else if elsewhere {
            self.retry(call, from.node, answer);
        } else if self.calls.remove_one_at(call, from.node).is_some() {
            self.answered(call, from.node, answer, true);
        }
    }
}

// Answering.
impl Engine {
    /// A call has come.
    pub(super) fn on_call(
        &mut self,
        from: Origin,
        call: CallId,
        role: &RoleName,
        wants_reply: bool,
        payload: Bytes,
    ) {
        let any = self.roles.values().next().copied();
        let any = any.filter(|_| planted!(CallMisrouted));
        let Some(holding) = self.holding(role).or(any) else {
            self.refuse(from, call, Refusal::NotHolder);
            return;
        };
        let inbox = holding.inbox;
        let kept = self
            .inboxes
            .get_mut(&inbox)
            .expect("a holding has an inbox");
        let bytes = payload.len() + CALL_OVERHEAD;
        let full = kept.call_bytes + bytes > self.limits.inbox_bytes_max;
        if full && !planted!(InboxUnbounded) {
            self.refuse(from, call, Refusal::Busy);
            return;
        }
        kept.call_bytes += bytes;
        let ticket = Ticket {
            kind: TicketKind::Call { inbox, bytes },
        };
        let reply_to = ReplyTo { origin: from, call };
        self.deliver(
            inbox,
            Delivery::Call {
                from: reply_to,
                wants_reply,
                payload,
                ticket,
            },
        );
        if !wants_reply {
            self.send_answer(from, call, WireAnswer::Taken, Bytes::new());
        }
    }

    /// A question is about to be delivered.
    pub(super) fn on_question(&mut self, to: ReplyTo) {
        let Origin { node, epoch } = to.origin;
        let over = node != self.me.id && self.peers.is_over(node, epoch);
        if over || self.questions.take_withdrawn(&to) {
            // It came around a third node, after its sender had gone, or was held back for too long.
            self.event(Event::Cancelled(to));
        } else {
            self.questions.insert(to);
            if !self.goes_on_asking(to.origin) {
                self.questions.doubt(to.origin);
            }
        }
    }

    /// Whether whoever asks is this node, or there is a sign that it is there: then it is noticed when it goes.
    fn goes_on_asking(&self, Origin { node, epoch }: Origin) -> bool {
        let member = self.membership.member(node);
        let alive = member.is_some_and(|member| member.record.identity.epoch == epoch);
        node == self.me.id || alive
    }

    /// Ends what was asked by lives of which there has been no sign for so long, because they were over when it came.
    pub(super) fn end_doubted_questions(&mut self, now: Time, after: Duration) {
        let mut questions = std::mem::take(&mut self.questions);
        let given_up = questions.take_given_up(now, after, |asker| self.goes_on_asking(asker));
        self.questions = questions;
        for Origin { node, epoch } in given_up {
            self.end_questions_of(node, Epoch(epoch.0.saturating_add(1)));
        }
    }

    /// Whoever asked no longer wants the answer.
    pub(super) fn on_cancel(&mut self, to: ReplyTo) {
        if self.questions.remove(&to) {
            self.event(Event::Cancelled(to));
        } else {
            // It is held back, or comes yet over another node than its sender.
            self.questions.withdraw(to);
        }
    }

    /// Lives of a node before `epoch` are over: nobody awaits answers to what they asked.
    pub(super) fn end_questions_of(&mut self, node: NodeId, epoch: Epoch) {
        for to in self.questions.take_before(node, epoch) {
            self.event(Event::Cancelled(to));
        }
    }

    /// This node's own life is over, and with it what others asked it; what it asked itself never left it.
    pub(super) fn end_questions_of_others(&mut self) {
        for to in self.questions.take_all_but(self.me.id) {
            self.event(Event::Cancelled(to));
        }
    }

    /// There may be room in the session with this peer again.
    pub(super) fn wake_refused_answers(&mut self, node: NodeId) {
        if self.questions.take_full(node) {
            self.event(Event::Answerable(node));
        }
    }

    pub(super) fn answer_call(
        &mut self,
        to: ReplyTo,
        answer: Result<Bytes, Refusal>,
    ) -> Result<(), ReplyError> {
        if !self.questions.contains(&to) {
            return Err(ReplyError::Gone);
        }
        let (answer, payload) = match answer {
            Ok(payload) => (WireAnswer::Reply, payload),
            Err(refusal) => (WireAnswer::Refused(refusal), Bytes::new()),
        };
        let (bytes, max) = (payload.len(), self.limits.payload_bytes_max);
        if bytes > max {
            return Err(ReplyError::TooLarge { bytes, max });
        }
        let session = self
            .peers
            .get(to.origin.node)
            .and_then(|peer| peer.session.as_ref());
        let waiting = session.map_or(0, |session| session.lane(LaneName::Data).bytes());
        if waiting > 0 && waiting + bytes > self.limits.session_bytes_max {
            self.questions.note_full(to.origin.node);
            return Err(ReplyError::Full);
        }
        if !planted!(QuestionStaysOpen) {
            self.questions.remove(&to);
        }
        match self.send_answer(to.origin, to.call, answer, payload) {
            true => Ok(()),
            false => Err(ReplyError::Gone),
        }
    }

    /// Tells whoever asked that nothing was done.
    pub(super) fn refuse(&mut self, to: Origin, call: CallId, refusal: Refusal) {
        self.send_answer(to, call, WireAnswer::Refused(refusal), Bytes::new());
    }

    /// Sends the end of a call; says whether whoever asked is still in that life.
    fn send_answer(
        &mut self,
        to: Origin,
        call: CallId,
        answer: WireAnswer,
        payload: Bytes,
    ) -> bool {
        if to.node == self.me.id {
            // Also in a later life: what this node asks of itself never left it.
            self.on_answer(to, call, answer, payload);
            return true;
        }
        let head = DataHead::Answer {
            call: call.0,
            answer,
        };
        self.push((to.node, to.epoch), &head, payload, Cargo::Plain)
            .is_some()
    }
}
