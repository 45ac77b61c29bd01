//! Calls that await their end, and requests whose askers may lose interest.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rolecast_membership::NodeId;
use rolecast_protocol::{
    Answer as EngineAnswer, CallError, CallId, CallKind, Engine, ReplyError as EngineReplyError,
    ReplyTo, Target,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Driver;
use crate::answers::Answer;
use crate::call::{CallEnd, CallSlot, CallState};
use crate::command::Reply;
use crate::error::{ClosedReason, NoAnswer, NotSent, ReplyError, Unknown};
use crate::simulation::Sight;

#[derive(Default)]
pub(super) struct Calls {
    outstanding: BTreeMap<CallId, CallSlot>,
    /// Requests whose holders wait to hear that nobody wants the answer.
    watched: BTreeMap<ReplyTo, Vec<oneshot::Sender<()>>>,
    /// Answers that wait for room on the way to whoever asked, in order; none of the lists is empty.
    waiting: BTreeMap<NodeId, VecDeque<Reply>>,
}

impl Calls {
    /// Nobody awaits the answer to this request any more.
    pub(super) fn cancelled(&mut self, to: ReplyTo) {
        for done in self.watched.remove(&to).into_iter().flatten() {
            let _ = done.send(());
        }
        let Entry::Occupied(mut waiting) = self.waiting.entry(to.origin.node) else {
            return;
        };
        if let Some(index) = waiting.get().iter().position(|reply| reply.to == to) {
            let reply = waiting.get_mut().remove(index);
            if let Some(done) = reply.and_then(|reply| reply.done) {
                let _ = done.send(Err(ReplyError::Gone));
            }
        }
        if waiting.get().is_empty() {
            waiting.remove();
        }
    }

    /// Whether no answer waits for room.
    pub(super) fn are_answered(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Drops all calls, which tells whoever waits; holders that did not answer a request to all are named.
    pub(super) fn close(&mut self, engine: &Engine, reason: ClosedReason) {
        for (id, slot) in std::mem::take(&mut self.outstanding) {
            let CallEnd::Many { queue, .. } = slot.end else {
                continue;
            };
            for node in engine.awaited(id) {
                let result = Err(NoAnswer::Unknown(Unknown::Closed(reason)));
                // Whoever asked may have gone in this very moment.
                let _ = queue.push(Answer { node, result });
            }
            queue.close();
        }
        self.watched.clear();
        self.waiting.clear();
    }
}

impl Driver {
    pub(super) fn call(
        &mut self,
        target: Target,
        kind: CallKind,
        payload: Bytes,
        deadline: Instant,
        slot: CallSlot,
    ) {
        if slot.state.is_cancelled() {
            return;
        }
        let role = match &target {
            Target::Any(role, _) | Target::Node(_, role) | Target::Near { role, .. } => {
                role.clone()
            }
        };
        let deadline = self.clock.time(deadline);
        let watched = self.witnessed.is_watched();
        let shown = watched.then(|| (target.clone(), payload.clone()));
        self.witnessed.saw(&self.engine, || Sight::Asks);
        match self.engine.call(self.now, target, kind, payload, deadline) {
            Ok(id) => {
                if let Some((target, payload)) = &shown {
                    let sight = || Sight::Calls {
                        call: id,
                        target,
                        kind,
                        payload,
                        deadline,
                    };
                    self.witnessed.saw(&self.engine, sight);
                }
                self.counters.calls.increment(1);
                self.begin_call(id, slot);
            }
            Err(CallError::Leaving) => slot.fail(NotSent::Closed(self.closing_reason())),
            Err(error) => slot.fail(NotSent::from_call(error, role.as_str())),
        }
    }

    /// Notes a call under the engine's number, or gives it up if nobody waits for it any more.
    pub(super) fn begin_call(&mut self, id: CallId, slot: CallSlot) {
        slot.state.numbered(id);
        if slot.state.is_cancelled() {
            self.cancel(id);
        } else {
            self.calls.outstanding.insert(id, slot);
        }
    }

    pub(super) fn cancel_call(&mut self, state: &CallState) {
        if let Some(id) = state.id()
            && self.calls.outstanding.remove(&id).is_some()
        {
            self.cancel(id);
        }
    }

    fn cancel(&mut self, call: CallId) {
        self.witnessed.saw(&self.engine, || Sight::Cancels { call });
        self.engine.cancel(self.now, call);
    }

    pub(super) fn on_answered(
        &mut self,
        id: CallId,
        node: Option<NodeId>,
        answer: EngineAnswer,
        last: bool,
    ) {
        let Some(slot) = self.calls.outstanding.get(&id) else {
            return;
        };
        if let (CallEnd::Many { queue, .. }, Some(node)) = (&slot.end, node) {
            // Whoever asked may have gone in this very moment.
            let _ = queue.push(Answer {
                node,
                result: result(answer.clone()),
            });
        }
        if !last {
            return;
        }
        let slot = self
            .calls
            .outstanding
            .remove(&id)
            .expect("it was just found");
        match slot.end {
            CallEnd::One(end) => drop(end.send(Ok((node, answer)))),
            CallEnd::Many { queue, .. } => queue.close(),
        }
    }

    /// Says when nobody awaits the answer to a request any more.
    pub(super) fn await_cancel(&mut self, to: ReplyTo, done: oneshot::Sender<()>) {
        if !self.engine.is_awaited(to) {
            // Whoever wanted to know may have gone.
            let _ = done.send(());
            return;
        }
        let watchers = self.calls.watched.entry(to).or_default();
        watchers.retain(|watcher| !watcher.is_closed());
        watchers.push(done);
    }

    /// Answers a request, behind the answers that wait for room on the same way.
    pub(super) fn reply(&mut self, reply: Reply) {
        let sight = || Sight::Replies {
            to: reply.to,
            answer: &reply.answer,
        };
        self.witnessed.saw(&self.engine, sight);
        let node = reply.to.origin.node;
        if let Some(waiting) = self.calls.waiting.get_mut(&node) {
            waiting.push_back(reply);
        } else if let Some(reply) = self.send_reply(reply) {
            self.calls.waiting.insert(node, VecDeque::from([reply]));
        }
    }

    /// There may be room for the answers that wait on the way to this node.
    pub(super) fn on_answerable(&mut self, node: NodeId) {
        let Some(mut waiting) = self.calls.waiting.remove(&node) else {
            return;
        };
        while let Some(reply) = waiting.pop_front() {
            if let Some(reply) = self.send_reply(reply) {
                waiting.push_front(reply);
                self.calls.waiting.insert(node, waiting);
                return;
            }
        }
    }

    /// Hands an answer to the engine; gives it back if there is no room.
    fn send_reply(&mut self, reply: Reply) -> Option<Reply> {
        let answer = reply.answer.clone();
        let sent = match self.engine.reply(self.now, reply.to, answer) {
            Err(EngineReplyError::Full) => return Some(reply),
            Err(EngineReplyError::TooLarge { bytes, max }) => {
                Err(ReplyError::TooLarge { bytes, max })
            }
            Err(_) => Err(ReplyError::Gone),
            Ok(()) => Ok(()),
        };
        self.calls.watched.remove(&reply.to);
        if let Some(done) = reply.done {
            // Whoever answered may not have waited.
            let _ = done.send(sent);
        }
        None
    }
}

/// One holder's part of a request to all.
fn result(answer: EngineAnswer) -> Result<Bytes, NoAnswer> {
    match answer {
        EngineAnswer::Reply(payload) => Ok(payload),
        EngineAnswer::Refused(refusal) => Err(NoAnswer::Refused(refusal)),
        EngineAnswer::NotSent => Err(NoAnswer::NotSent),
        EngineAnswer::TimedOut => Err(NoAnswer::Unknown(Unknown::TimedOut)),
        EngineAnswer::Unknown | EngineAnswer::Taken => Err(NoAnswer::Unknown(Unknown::HolderGone)),
    }
}
