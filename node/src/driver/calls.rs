//! Calls that await their end, and requests whose askers may lose interest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use rolecast_membership::NodeId;
use rolecast_protocol::{
    Answer as EngineAnswer, CallError, CallId, CallKind, Refusal, ReplyError as EngineReplyError,
    ReplyTo, Target,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Driver;
use crate::answers::Answer;
use crate::call::{CallEnd, CallSlot, CallState};
use crate::error::{NoAnswer, NotSent, ReplyError, Unknown};
use crate::simulation::Sight;

#[derive(Default)]
pub(super) struct Calls {
    outstanding: BTreeMap<CallId, CallSlot>,
    /// Requests whose holders wait to hear that nobody wants the answer.
    watched: BTreeMap<ReplyTo, Vec<oneshot::Sender<()>>>,
    /// Requests of which nobody wants the answer, for holders that ask later.
    unwanted: BTreeSet<ReplyTo>,
    unwanted_order: VecDeque<ReplyTo>,
}

impl Calls {
    /// Whoever asked no longer wants the answer.
    pub(super) fn cancelled(&mut self, to: ReplyTo) {
        for done in self.watched.remove(&to).into_iter().flatten() {
            let _ = done.send(());
        }
        if self.unwanted.insert(to) {
            self.unwanted_order.push_back(to);
        }
        if self.unwanted_order.len() > UNWANTED_MAX
            && let Some(oldest) = self.unwanted_order.pop_front()
        {
            self.unwanted.remove(&oldest);
        }
    }

    /// Says when whoever asked no longer wants the answer.
    pub(super) fn watch(&mut self, to: ReplyTo, done: oneshot::Sender<()>) {
        if self.unwanted.contains(&to) {
            let _ = done.send(());
            return;
        }
        let watchers = self.watched.entry(to).or_default();
        watchers.retain(|watcher| !watcher.is_closed());
        watchers.push(done);
    }

    /// The request was answered.
    fn answered(&mut self, to: &ReplyTo) {
        self.watched.remove(to);
        self.unwanted.remove(to);
    }

    /// Drops all calls, which tells whoever waits.
    pub(super) fn close(&mut self) {
        for slot in std::mem::take(&mut self.outstanding).into_values() {
            if let CallEnd::Many { queue, .. } = slot.end {
                queue.close();
            }
        }
        self.watched.clear();
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
            Target::Any(role, _) | Target::Node(_, role) => role.clone(),
        };
        let deadline = self.clock.time(deadline);
        let watched = self.witnessed.is_watched();
        let shown = watched.then(|| (target.clone(), payload.clone()));
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

    pub(super) fn reply(
        &mut self,
        to: ReplyTo,
        answer: Result<Bytes, Refusal>,
        done: Option<oneshot::Sender<Result<(), ReplyError>>>,
    ) {
        self.calls.answered(&to);
        let sight = || Sight::Replies {
            to,
            answer: &answer,
        };
        self.witnessed.saw(&self.engine, sight);
        let replied = self.engine.reply(self.now, to, answer);
        if let Some(done) = done {
            let _ = done.send(replied.map_err(|error| match error {
                EngineReplyError::Full => ReplyError::Full,
                EngineReplyError::TooLarge { bytes, max } => ReplyError::TooLarge { bytes, max },
                _ => ReplyError::Gone,
            }));
        }
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

/// So many requests that nobody waits for are remembered for holders that ask about them later.
const UNWANTED_MAX: usize = 4_096;
