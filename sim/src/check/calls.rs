//! Calls: each ends once and in time, and what the caller is told is what happened.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rolecast_membership::{NodeId, RoleName, Time};
use rolecast_protocol::{Answer, CallId, CallKind, InboxId, Refusal, ReplyTo, Target};

use super::lives::{Lives, ProcessId};
use super::violation::{Broken, CallName, Violation};
use crate::clock::Clock;

/// A call that an engine accepted.
#[derive(Clone, Debug)]
pub struct Calling {
    /// Its number.
    pub call: CallId,
    /// To whom.
    pub to: Callee,
    /// When it is to end at the latest, by the caller's own clock.
    pub deadline: Time,
}

impl Calling {
    /// How much is sent, beyond what is sent as a multicast.
    pub(super) fn len_bytes(&self) -> usize {
        match &self.to {
            Callee::One { payload, .. } => payload.len(),
            Callee::All(_) => 0,
        }
    }
}

/// To whom a call goes.
#[derive(Clone, Debug)]
pub enum Callee {
    /// To one holder.
    One {
        /// How it is addressed.
        target: Target,
        /// What the holder is to do.
        kind: CallKind,
        /// What it is given.
        payload: Bytes,
    },
    /// To all holders in the sender's view, as a multicast.
    All(Vec<NodeId>),
}

/// A call that was put into an inbox.
#[derive(Clone, Debug)]
pub struct Called {
    /// Into which inbox.
    pub inbox: InboxId,
    /// Who made it.
    pub from: ReplyTo,
    /// Whether an answer is awaited.
    pub wants_reply: bool,
    /// What was delivered.
    pub payload: Bytes,
}

/// How one call, or one holder's part of a scatter-gather, ended for the caller.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) call: CallId,
    pub(crate) node: Option<NodeId>,
    pub(crate) answer: Answer,
    /// Whether the call ends with it.
    pub(crate) last: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    Ended(Answer),
    Cancelled,
}

#[derive(Debug)]
struct Call {
    to: Callee,
    deadline: Time,
    state: State,
    /// The applications that have it, in the order in which they got it.
    seen: Vec<ProcessId>,
    /// What the applications said.
    replies: Vec<(ProcessId, Result<Bytes, Refusal>)>,
    /// Whose answers came (scatter-gather only).
    answered: BTreeMap<NodeId, Answer>,
}

/// All calls of a run.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    calls: BTreeMap<(ProcessId, CallId), Call>,
    open: BTreeSet<(ProcessId, CallId)>,
}

/// How late a call may end: timers of a driver are no finer than this.
const SLACK_US: u64 = 50_000;

impl Calls {
    pub(crate) fn make(&mut self, process: ProcessId, calling: Calling) -> Result<(), Broken> {
        let Calling { call, to, deadline } = calling;
        let entry = Call {
            to,
            deadline,
            state: State::Open,
            seen: Vec::new(),
            replies: Vec::new(),
            answered: BTreeMap::new(),
        };
        self.open.insert((process, call));
        match self.calls.insert((process, call), entry) {
            None => Ok(()),
            Some(_) => Err(Broken::CallReused {
                call: name(&Lives::default(), process, call),
            }),
        }
    }

    pub(crate) fn cancel(&mut self, process: ProcessId, call: CallId) {
        if let Some(entry) = self.calls.get_mut(&(process, call))
            && entry.state == State::Open
        {
            entry.state = State::Cancelled;
            self.open.remove(&(process, call));
        }
    }

    /// A process ended: nobody waits for its calls any more.
    pub(crate) fn end_process(&mut self, process: ProcessId) {
        let own = (process, CallId(0))..=(process, CallId(u64::MAX));
        let open: Vec<_> = self.open.range(own).copied().collect();
        for key in open {
            self.cancel(key.0, key.1);
        }
    }

    pub(crate) fn deliver(
        &mut self,
        lives: &mut Lives,
        process: ProcessId,
        called: &Called,
    ) -> Result<(), Broken> {
        let Called {
            inbox,
            from,
            wants_reply,
            payload,
        } = called;
        let (_, role) = lives.inbox(process, *inbox, || format!("{from:?}"))?;
        let nowhere = || Broken::CallFromNowhere {
            what: format!("{from:?}"),
        };
        let caller = lives.find(from.origin).ok_or_else(nowhere)?;
        let caller = lives.life(caller).process;
        let entry = self
            .calls
            .get_mut(&(caller, from.call))
            .ok_or_else(nowhere)?;
        let call = name(lives, caller, from.call);
        let Callee::One {
            target,
            kind,
            payload: sent,
        } = &entry.to
        else {
            return Err(nowhere());
        };
        if sent != payload || *wants_reply != (*kind == CallKind::Request) {
            return Err(Broken::CallAltered { call });
        }
        if !is_addressed(lives, process, target, &role) {
            return Err(Broken::CallMisrouted { call });
        }
        if entry.seen.contains(&process) {
            return Err(Broken::CallTwice { call });
        }
        if let Some(&first) = entry
            .seen
            .iter()
            .find(|&&other| !entry.was_refused_by(other))
        {
            return Err(Broken::CallAtTwo {
                call,
                first: lives.name(first),
            });
        }
        if let State::Ended(answer @ (Answer::NotSent | Answer::Refused(_))) = &entry.state {
            return Err(Broken::CallSeen {
                call,
                answer: answer.clone(),
            });
        }
        entry.seen.push(process);
        Ok(())
    }

    /// A scatter-gather's message was put into an inbox.
    pub(crate) fn deliver_gather(
        &mut self,
        lives: &Lives,
        process: ProcessId,
        from: ReplyTo,
    ) -> Result<(), Broken> {
        let nowhere = || Broken::CallFromNowhere {
            what: format!("{from:?}"),
        };
        let caller = lives.find(from.origin).ok_or_else(nowhere)?;
        let caller = lives.life(caller).process;
        let entry = self
            .calls
            .get_mut(&(caller, from.call))
            .ok_or_else(nowhere)?;
        let node = lives.node_of(process);
        if let Some(answer @ (Answer::NotSent | Answer::Refused(_))) = entry.answered.get(&node) {
            let call = name(lives, caller, from.call);
            return Err(Broken::CallSeen {
                call,
                answer: answer.clone(),
            });
        }
        entry.seen.push(process);
        Ok(())
    }

    /// A holder's application answers.
    pub(crate) fn reply(
        &mut self,
        lives: &Lives,
        process: ProcessId,
        to: ReplyTo,
        answer: Result<Bytes, Refusal>,
    ) {
        let caller = lives.find(to.origin).map(|life| lives.life(life).process);
        if let Some(entry) = caller.and_then(|caller| self.calls.get_mut(&(caller, to.call))) {
            entry.replies.push((process, answer));
        }
    }

    /// A holder was told that nobody awaits its answer.
    pub(crate) fn told_cancelled(
        &mut self,
        lives: &Lives,
        process: ProcessId,
        to: ReplyTo,
    ) -> Result<(), Broken> {
        let Some(life) = lives.find(to.origin) else {
            return Err(Broken::CallFromNowhere {
                what: format!("{to:?}"),
            });
        };
        let caller = lives.life(life).process;
        let open = self.open.contains(&(caller, to.call));
        // A holder that goes on in another life has nobody who awaits what it was asked in the former one.
        let holder = lives.life_of(process);
        let excused =
            lives.is_blemished(life) || lives.is_blemished(holder) || lives.has_renewed(process);
        if open && !excused {
            return Err(Broken::CancelledWrongly {
                call: name(lives, caller, to.call),
            });
        }
        Ok(())
    }

    /// The caller is told how a call ended; `resumed` is when its process last came out of a pause, both by its own clock.
    pub(crate) fn answer(
        &mut self,
        lives: &Lives,
        now: Time,
        resumed: Time,
        process: ProcessId,
        answered: Answered,
    ) -> Result<(), Broken> {
        let Answered {
            call: id,
            node,
            answer,
            last,
        } = answered;
        let call = name(lives, process, id);
        let Some(entry) = self.calls.get_mut(&(process, id)) else {
            return Err(Broken::AnsweredAfterEnd { call, answer });
        };
        if entry.state != State::Open {
            return Err(Broken::AnsweredAfterEnd { call, answer });
        }
        let latest = entry.deadline.max(resumed).as_micros() + SLACK_US;
        if now.as_micros() > latest {
            return Err(Broken::CallLate {
                call,
                deadline: entry.deadline,
            });
        }
        if answer == Answer::TimedOut && now < entry.deadline {
            return Err(Broken::CallEarly {
                call,
                deadline: entry.deadline,
            });
        }
        entry.check_answer(lives, call, node, &answer)?;
        let ends = match &entry.to {
            Callee::One { .. } => last,
            Callee::All(members) => {
                let fresh =
                    node.is_none_or(|node| entry.answered.insert(node, answer.clone()).is_none());
                let complete = entry.answered.len() == members.len();
                if !fresh || last != complete {
                    return Err(Broken::GatherIncomplete {
                        call,
                        answered: entry.answered.len(),
                        members: members.len(),
                    });
                }
                complete
            }
        };
        if !ends {
            return if matches!(entry.to, Callee::One { .. }) {
                Err(Broken::AnswerUnfit { call, answer })
            } else {
                Ok(())
            };
        }
        entry.state = State::Ended(answer);
        self.open.remove(&(process, id));
        Ok(())
    }

    /// A call that should have ended by `now`.
    pub(crate) fn overdue(&self, lives: &Lives, clocks: &[Clock], now: Time) -> Option<Violation> {
        self.open.iter().find_map(|key| {
            let deadline = self.calls[key].deadline;
            let shown = clocks[key.0.0 as usize].at(now);
            let late = shown.as_micros() > deadline.as_micros() + SLACK_US;
            (late && lives.is_core(key.0)).then(|| Violation {
                at: now,
                node: lives.name(key.0),
                broken: Broken::CallLate {
                    call: name(lives, key.0, key.1),
                    deadline,
                },
            })
        })
    }

    /// Whether a program has the call, the last one of those that had it, and says nothing to it.
    pub(crate) fn is_left_lying(&self, process: ProcessId, call: CallId) -> bool {
        let call = self.calls.get(&(process, call));
        let has_it = call.and_then(|call| Some((call, call.seen.last()?)));
        has_it.is_some_and(|(call, holder)| call.replies.iter().all(|(by, _)| by != holder))
    }

    /// How many calls have not ended.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }
}

impl Call {
    fn was_refused_by(&self, process: ProcessId) -> bool {
        self.replies
            .iter()
            .any(|(who, answer)| *who == process && answer.is_err())
    }

    fn check_answer(
        &self,
        lives: &Lives,
        call: CallName,
        node: Option<NodeId>,
        answer: &Answer,
    ) -> Result<(), Broken> {
        let unfit = || {
            Err(Broken::AnswerUnfit {
                call,
                answer: answer.clone(),
            })
        };
        let gather = match &self.to {
            Callee::One {
                target: Target::Node(to, _),
                ..
            } if node.is_some_and(|n| n != *to) => {
                return unfit();
            }
            Callee::One { kind, .. } => {
                if matches!(
                    (kind, answer),
                    (CallKind::OneWay, Answer::Reply(_)) | (CallKind::Request, Answer::Taken)
                ) {
                    return unfit();
                }
                false
            }
            Callee::All(members) => {
                let member = match node {
                    Some(node) => members.contains(&node),
                    None => members.is_empty(),
                };
                if !member || matches!(answer, Answer::Taken) {
                    return unfit();
                }
                true
            }
        };
        let at_node = |process: &&ProcessId| node == Some(lives.node_of(**process));
        match answer {
            Answer::Taken if self.seen.iter().find(at_node).is_none() => Err(Broken::CallUnseen {
                call,
                answer: answer.clone(),
            }),
            Answer::Reply(payload) => {
                let given = self.replies.iter().any(|(who, said)| {
                    at_node(&who) && said.as_ref().is_ok_and(|said| said == payload)
                });
                if given {
                    Ok(())
                } else {
                    Err(Broken::AnswerForged {
                        call,
                        answer: answer.clone(),
                    })
                }
            }
            Answer::Refused(Refusal::Dropped) => {
                let given = self
                    .replies
                    .iter()
                    .any(|(who, said)| at_node(&who) && *said == Err(Refusal::Dropped));
                if given {
                    Ok(())
                } else {
                    Err(Broken::AnswerForged {
                        call,
                        answer: answer.clone(),
                    })
                }
            }
            Answer::NotSent | Answer::Refused(_) => {
                let seen = self.seen.iter().find(|process| {
                    let part = !gather || at_node(process);
                    part && !self.was_refused_by(**process)
                });
                match seen {
                    None => Ok(()),
                    Some(_) => Err(Broken::CallSeen {
                        call,
                        answer: answer.clone(),
                    }),
                }
            }
            Answer::Taken | Answer::Unknown | Answer::TimedOut => Ok(()),
        }
    }
}

fn is_addressed(lives: &Lives, process: ProcessId, target: &Target, role: &RoleName) -> bool {
    match target {
        Target::Any(wanted, _) | Target::Near { role: wanted, .. } => wanted == role,
        Target::Node(node, wanted) => wanted == role && lives.node_of(process) == *node,
    }
}

fn name(lives: &Lives, caller: ProcessId, call: CallId) -> CallName {
    CallName {
        caller: lives.name(caller),
        call,
    }
}
