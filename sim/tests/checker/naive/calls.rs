//! Calls: who made them, who got them, and what was said.

use std::collections::BTreeSet;

use rolecast_membership::{NodeId, RoleName, Time};
use rolecast_protocol::{Answer, CallId, CallKind, Event, Refusal, ReplyTo, Target};
use rolecast_sim::Clock;
use rolecast_sim::check::{Called, Callee, Calling, Observation, ProcessId, Receiving, Recorded};

use super::{History, Promise, if_broken};

/// How a call, or one holder's part of it, ends for the caller.
#[derive(Clone, Copy)]
pub(super) struct Answering<'a> {
    pub(super) call: CallId,
    pub(super) node: Option<NodeId>,
    pub(super) answer: &'a Answer,
    pub(super) last: bool,
}

impl<'a> History<'a> {
    /// A call that a process made, and where.
    fn call(self, caller: ProcessId, call: CallId) -> Option<(usize, &'a Calling)> {
        let mut own = self.of(caller);
        own.find_map(|(index, recorded)| match &recorded.observation {
            Observation::Calls(calling) if calling.call == call => Some((index, calling)),
            _ => None,
        })
    }

    fn caller(self, from: ReplyTo) -> Option<ProcessId> {
        Some(self.life_of(from.origin)?.process)
    }

    /// Whether this is an answer of that call, by whoever answers.
    fn answers(self, caller: ProcessId, call: CallId) -> Vec<Answering<'a>> {
        let told = self.of(caller).filter_map(|(_, recorded)| {
            let Observation::Told(Event::Answered {
                call,
                node,
                answer,
                last,
            }) = &recorded.observation
            else {
                return None;
            };
            Some(Answering {
                call: *call,
                node: *node,
                answer,
                last: *last,
            })
        });
        told.filter(|answering| answering.call == call).collect()
    }

    /// Whether somebody still waits for this call to end.
    fn is_open(self, caller: ProcessId, call: CallId) -> bool {
        let Some((made, _)) = self.call(caller, call) else {
            return false;
        };
        let given_up = self.of(caller).any(|(index, recorded)| {
            let ends = match &recorded.observation {
                Observation::Crashed | Observation::Left { .. } => true,
                Observation::Cancels { call: which } => *which == call,
                _ => false,
            };
            ends && index > made
        });
        !given_up && !self.answers(caller, call).iter().any(|answer| answer.last)
    }

    /// The applications that have a call, each once.
    fn seen_by(self, caller: ProcessId, call: CallId) -> BTreeSet<ProcessId> {
        let named = |to: ReplyTo| to.call == call && self.caller(to) == Some(caller);
        let has = |recorded: &&Recorded| match &recorded.observation {
            Observation::Called(called) => named(called.from),
            Observation::Delivered(receiving) => {
                let origin = receiving.origin;
                let mut messages = receiving.batch.clone().into_messages();
                messages.any(|m| m.call.is_some_and(|call| named(ReplyTo { origin, call })))
            }
            _ => false,
        };
        self.0
            .iter()
            .filter(has)
            .map(|recorded| recorded.process)
            .collect()
    }

    /// What a holder said to a call.
    fn said(
        self,
        holder: impl Fn(ProcessId) -> bool,
        caller: ProcessId,
        call: CallId,
    ) -> Vec<&'a Result<bytes::Bytes, Refusal>> {
        let made = self.call(caller, call).map_or(usize::MAX, |(made, _)| made);
        let all = self.0.iter().enumerate().skip(made);
        all.filter(|(_, recorded)| holder(recorded.process))
            .filter_map(|(index, recorded)| match &recorded.observation {
                Observation::Replies { to, answer } => {
                    // Whoever is answered has lived by then.
                    let known = History(&self.0[..index]).caller(*to) == Some(caller);
                    (to.call == call && known).then_some(answer)
                }
                _ => None,
            })
            .collect()
    }

    fn refused_by(self, holder: ProcessId, caller: ProcessId, call: CallId) -> bool {
        let said = self.said(|process| process == holder, caller, call);
        said.iter().any(|said| said.is_err())
    }

    fn is_at(self, node: Option<NodeId>) -> impl Fn(ProcessId) -> bool {
        move |process| Some(self.present(process).node) == node
    }

    pub(super) fn calls_again(self, process: ProcessId, call: CallId) -> BTreeSet<Promise> {
        if_broken(self.call(process, call).is_some(), "calls")
    }

    pub(super) fn is_called(self, process: ProcessId, called: &Called) -> BTreeSet<Promise> {
        let Some(seat) = self.open_seat(process, called.inbox) else {
            return BTreeSet::from(["inboxes"]);
        };
        let call = called.from.call;
        let caller = self.caller(called.from);
        let made = caller.and_then(|caller| Some((caller, self.call(caller, call)?.1)));
        let Some((
            caller,
            Calling {
                to:
                    Callee::One {
                        target,
                        kind,
                        payload,
                    },
                ..
            },
        )) = made
        else {
            return BTreeSet::from(["no creation"]);
        };
        let genuine =
            *payload == called.payload && called.wants_reply == (*kind == CallKind::Request);
        let mut broken = if_broken(!genuine, "no creation");
        let meant = is_meant(target, seat.node, &seat.role);
        broken.extend(if_broken(!meant, "routing"));
        let seen = self.seen_by(caller, call);
        let kept = seen
            .iter()
            .any(|first| !self.refused_by(*first, caller, call));
        let given_back = self
            .answers(caller, call)
            .iter()
            .any(|answering| matches!(answering.answer, Answer::NotSent | Answer::Refused(_)));
        let again = seen.contains(&process) || kept || given_back;
        broken.extend(if_broken(again, "calls"));
        broken
    }

    /// Requests to all that are among messages.
    pub(super) fn gathers(self, process: ProcessId, receiving: &Receiving) -> BTreeSet<Promise> {
        let origin = receiving.origin;
        let node = self.present(process).node;
        let mut broken = BTreeSet::new();
        let messages = receiving.batch.clone().into_messages();
        for call in messages.filter_map(|message| message.call) {
            let caller = self.caller(ReplyTo { origin, call });
            let made = caller.filter(|caller| self.call(*caller, call).is_some());
            let Some(caller) = made else {
                broken.insert("no creation");
                continue;
            };
            let given_back = self.answers(caller, call).iter().any(|answering| {
                answering.node == Some(node)
                    && matches!(answering.answer, Answer::NotSent | Answer::Refused(_))
            });
            broken.extend(if_broken(given_back, "calls"));
        }
        broken
    }

    pub(super) fn hears_of_cancel(self, process: ProcessId, to: ReplyTo) -> BTreeSet<Promise> {
        let Some(life) = self.life_of(to.origin) else {
            return BTreeSet::from(["no creation"]);
        };
        let excused = self.is_blemished(life)
            || self.is_blemished(self.present(process))
            || self.ever_renewed(process);
        if_broken(self.is_open(life.process, to.call) && !excused, "calls")
    }

    pub(super) fn is_answered(
        self,
        at: Time,
        process: ProcessId,
        answering: &Answering<'_>,
    ) -> BTreeSet<Promise> {
        let Some((_, calling)) = self.call(process, answering.call) else {
            return BTreeSet::from(["calls"]);
        };
        if !self.is_open(process, answering.call) {
            return BTreeSet::from(["calls"]);
        }
        let now = self.clock(process).at(at);
        let resumed = self.resumed(process);
        let late = now.as_micros() > calling.deadline.max(resumed).as_micros() + SLACK_US;
        let early = *answering.answer == Answer::TimedOut && now < calling.deadline;
        let mut broken = if_broken(late || early, "deadlines");
        let fits = match &calling.to {
            Callee::One { target, kind, .. } => {
                let asked = match target {
                    Target::Node(wanted, _) => answering.node.is_none_or(|node| node == *wanted),
                    Target::Any(..) | Target::Near { .. } => true,
                };
                let of_kind = !matches!(
                    (kind, answering.answer),
                    (CallKind::OneWay, Answer::Reply(_)) | (CallKind::Request, Answer::Taken)
                );
                asked && of_kind && answering.last
            }
            Callee::All(members) => self.fits_gather(process, answering, members),
        };
        let true_ = self.is_true(process, answering, matches!(calling.to, Callee::All(_)));
        broken.extend(if_broken(!fits || !true_, "calls"));
        broken
    }

    /// Whether this is one more answer of a request to all, and says rightly whether it is the last.
    fn fits_gather(
        self,
        process: ProcessId,
        answering: &Answering<'_>,
        members: &[NodeId],
    ) -> bool {
        let before = self.answers(process, answering.call);
        let mut named: BTreeSet<NodeId> = before.iter().filter_map(|answer| answer.node).collect();
        let fresh = match answering.node {
            Some(node) => members.contains(&node) && named.insert(node),
            None => members.is_empty(),
        };
        let complete = named.len() == members.len();
        fresh && answering.last == complete && *answering.answer != Answer::Taken
    }

    /// Whether what the caller is told is what happened.
    fn is_true(self, process: ProcessId, answering: &Answering<'_>, to_all: bool) -> bool {
        let call = answering.call;
        let there = self.is_at(answering.node);
        let seen = self.seen_by(process, call);
        let said = |wanted: &Result<bytes::Bytes, Refusal>| {
            let said = self.said(&there, process, call);
            said.contains(&wanted)
        };
        match answering.answer {
            Answer::Taken => seen.iter().any(|holder| there(*holder)),
            Answer::Reply(payload) => said(&Ok(payload.clone())),
            Answer::Refused(Refusal::Dropped) => said(&Err(Refusal::Dropped)),
            Answer::NotSent | Answer::Refused(_) => {
                let mut concerned = seen.iter().filter(|holder| !to_all || there(**holder));
                concerned.all(|holder| self.refused_by(*holder, process, call))
            }
            Answer::Unknown | Answer::TimedOut => true,
        }
    }

    /// Calls that should have ended.
    pub(super) fn overdue(self) -> BTreeSet<Promise> {
        let Some(Recorded { at: now, .. }) = self.0.last() else {
            return BTreeSet::new();
        };
        let late = self.0.iter().any(|recorded| {
            let Observation::Calls(calling) = &recorded.observation else {
                return false;
            };
            let shown = self.clock(recorded.process).at(*now).as_micros();
            let late = shown > calling.deadline.as_micros() + SLACK_US;
            late && self.is_open(recorded.process, calling.call)
        });
        if_broken(late, "deadlines")
    }

    pub(super) fn clock(self, process: ProcessId) -> Clock {
        let mut last = self.of(process).rev();
        let set = last.find_map(|(_, recorded)| match recorded.observation {
            Observation::ClockSet { clock } => Some(clock),
            _ => None,
        });
        set.unwrap_or_default()
    }

    /// When a process last had reason to be late, by its own clock.
    pub(super) fn resumed(self, process: ProcessId) -> Time {
        let mut last = self.of(process).rev();
        let (index, recorded) = last
            .find(|(_, recorded)| {
                matches!(
                    recorded.observation,
                    Observation::Started { .. }
                        | Observation::Resumed
                        | Observation::ClockSet { .. }
                )
            })
            .expect("it started");
        History(&self.0[..=index]).clock(process).at(recorded.at)
    }
}

fn is_meant(target: &Target, node: NodeId, role: &RoleName) -> bool {
    match target {
        Target::Any(wanted, _) | Target::Near { role: wanted, .. } => wanted == role,
        Target::Node(who, wanted) => wanted == role && *who == node,
    }
}

/// How late a call may end.
const SLACK_US: u64 = 50_000;
