//! The promises, checked from what the protocol cannot see.
//!
//! The simulation tells the [`Ghost`] everything that happens at the edge of every engine as an [`Observation`].
//! The ghost knows what was really sent and who really lives, compares at every observation where it can, and says at the first broken promise which one it was, for which message, at which node.
//! It never looks into an engine, and a list of observations written by hand is checked the same way.

mod bounds;
mod calls;
mod flows;
mod lives;
mod views;
mod violation;

use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Event as MembershipEvent, Identity, NodeId, RoleName, Tenure, Time};
use rolecast_protocol::{
    Answer, CallId, Event, FlowId, Gap, InboxId, Lagged, LargeEnd, Limits, Origin, Refusal,
    ReplyTo, Seq, Started as FlowStart,
};

pub use bounds::{Bounds, check_link, check_usage, left_over};
pub use calls::{Called, Callee, Calling};
pub use flows::{Delivered, Receiving, Sending};
pub use lives::{Holder, ProcessId};
pub use views::{Truth, View};
pub use violation::{Broken, CallName, Instead, MessageName, Name, Violation};

use crate::clock::Clock;
use crate::plan::Slot;
use calls::{Answered, Calls};
use flows::{Arrivals, Flows, OwnTime};
use lives::{LifeState, Lives};

/// Something that happened at the edge of one engine.
#[derive(Clone, Debug)]
pub enum Observation {
    /// The process starts, as this node.
    Started {
        /// How reports call it.
        name: Name,
        /// Who it is.
        identity: Identity,
    },
    /// The process died.
    Crashed,
    /// The process left the mesh.
    Left {
        /// Whether it was told that everything it sent is acknowledged.
        drained: bool,
    },
    /// The process comes out of a pause.
    Resumed,
    /// The process's clock runs like this from here on.
    ClockSet {
        /// The clock.
        clock: Clock,
    },
    /// The process goes on in a later life, with these holdings.
    Renewed {
        /// Who it is from here on.
        identity: Identity,
        /// Its open inboxes and the tenures they have from here on.
        tenures: Vec<(InboxId, Tenure)>,
    },
    /// The process took up a role.
    TookUp {
        /// Its inbox.
        inbox: InboxId,
        /// The role.
        role: RoleName,
        /// This holding.
        tenure: Tenure,
    },
    /// An inbox that has just been opened asks for what was sent before.
    AsksForPast {
        /// Its inbox.
        inbox: InboxId,
        /// For how many messages of each flow.
        messages: u32,
    },
    /// The process dropped a role.
    Dropped {
        /// Its inbox.
        inbox: InboxId,
    },
    /// A batch was accepted.
    Sent(Sending),
    /// A large payload was announced, and has this flow of its own from here on.
    Announced {
        /// Its flow.
        flow: FlowId,
        /// Its length, if that was announced.
        length: Option<u64>,
    },
    /// The application sends the end of a large payload, which follows as the last batch of its flow.
    Ended {
        /// Its flow.
        flow: FlowId,
        /// Whether it is all of it.
        complete: bool,
    },
    /// Whoever reads a large payload was told how it ended.
    LargeEnded {
        /// In which inbox.
        inbox: InboxId,
        /// Whose it is.
        origin: Origin,
        /// Its flow.
        flow: FlowId,
        /// How it ended.
        end: LargeEnd,
    },
    /// A batch was put into an inbox.
    Delivered(Receiving),
    /// A gap was put into an inbox.
    Gapped {
        /// Which inbox.
        inbox: InboxId,
        /// What was lost.
        gap: Gap,
    },
    /// An inbox was told from which message on it gets a flow.
    Begun {
        /// Which inbox.
        inbox: InboxId,
        /// What it was told.
        started: FlowStart,
    },
    /// The application opened a flow that goes on without members that are too slow.
    Evicts {
        /// Which flow.
        flow: FlowId,
        /// How long its window may be shut.
        after: Duration,
    },
    /// A flow had no room for what its application wanted to send.
    Refused {
        /// Which flow.
        flow: FlowId,
    },
    /// The application opened a flow that keeps the last message of each key for slow members, and never waits for them.
    KeepsLast {
        /// Which flow.
        flow: FlowId,
    },
    /// An inbox was told what it does not get because its program was too slow.
    Lagged {
        /// Which inbox.
        inbox: InboxId,
        /// What it was told.
        lagged: Lagged,
    },
    /// The application took multicasts from an inbox.
    Consumed {
        /// Which inbox.
        inbox: InboxId,
        /// Whose.
        origin: Origin,
        /// Of which flow.
        flow: FlowId,
        /// Up to which position.
        upto: u64,
    },
    /// A call was accepted.
    Calls(Calling),
    /// The application gave a call up.
    Cancels {
        /// Which.
        call: CallId,
    },
    /// A call was put into an inbox.
    Called(Called),
    /// The application answers a request.
    Replies {
        /// Whose.
        to: ReplyTo,
        /// What it says.
        answer: Result<Bytes, Refusal>,
    },
    /// The engine told its application something.
    Told(Event),
    /// The engine has said everything that it had to say.
    AtRest,
}

/// An observation with its time and place.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When.
    pub at: Time,
    /// At which process.
    pub process: ProcessId,
    /// What.
    pub observation: Observation,
}

/// Checks a whole run that was recorded, or written by hand, to its end.
///
/// # Errors
/// The first broken promise.
pub fn check(run: impl IntoIterator<Item = Recorded>) -> Result<(), Violation> {
    Ghost::new().check(run)
}

/// What really happened.
#[derive(Debug, Default)]
pub struct Ghost {
    lives: Lives,
    flows: Flows,
    calls: Calls,
    /// The clock of each process, by which it keeps its deadlines.
    clocks: Vec<Clock>,
    /// When each process last came out of a pause, or its clock last jumped, by its own clock.
    resumed: Vec<Time>,
    /// Whether the mesh is in one piece all the time.
    whole: bool,
}

impl Ghost {
    /// A mesh in which nothing has happened.
    #[must_use]
    pub fn new() -> Self {
        Ghost::default()
    }

    /// As [`Ghost::new`], of engines with these limits.
    #[must_use]
    pub fn with_limits(limits: &Limits) -> Self {
        let mut ghost = Ghost::default();
        ghost.flows.window_bytes = Some(limits.flow_window_bytes);
        ghost.flows.large_bytes_max = Some(limits.large_bytes_max);
        ghost.flows.replay_bytes = Some(limits.replay_bytes);
        ghost.flows.ways.bytes_max = Some(limits.session_bytes_max);
        ghost
    }

    /// As it is, in a mesh in which nothing breaks: then whoever has taken something is known to have taken it.
    #[must_use]
    pub fn in_calm(mut self, calm: bool) -> Self {
        self.flows.calm = calm;
        self
    }

    /// As it is, in a mesh that is in one piece all the time: nobody is down, and whoever asks is answered.
    #[must_use]
    pub fn in_one_piece(mut self, whole: bool) -> Self {
        self.whole = whole;
        self
    }

    /// As it is, of a run of which it is told what comes to each engine, with [`Ghost::arrived`]: then nothing is delivered before so many members have it as are to hold it.
    #[must_use]
    pub fn with_arrivals(mut self) -> Self {
        self.flows.arrivals = Some(Arrivals::default());
        self
    }

    /// Whether it wants to be told of arrivals: only what several members are to hold matters.
    #[must_use]
    pub fn wants_arrivals(&self) -> bool {
        let arrivals = self.flows.arrivals.as_ref();
        arrivals.is_some_and(|arrivals| arrivals.are_wanted)
    }

    /// These messages of a flow came to the engine of a process, from the first to the last.
    pub fn arrived(&mut self, process: ProcessId, flow: (Origin, FlowId), messages: (Seq, Seq)) {
        let messages = (messages.0.0, messages.1.0);
        self.flows.arrived(&self.lives, process, flow, messages);
    }

    /// As it is, but in the end something is promised only among these places: whatever else there is stays broken for good.
    #[must_use]
    pub fn with_core(mut self, core: Option<impl IntoIterator<Item = Slot>>) -> Self {
        self.lives.core = core.map(|core| core.into_iter().collect());
        self
    }

    /// Takes in a recorded run, and looks at what is owed in the end.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn check(mut self, run: impl IntoIterator<Item = Recorded>) -> Result<(), Violation> {
        let mut now = Time::ZERO;
        for recorded in run {
            now = recorded.at;
            self.observe(now, recorded.process, recorded.observation)?;
        }
        self.owed(now).map_or(Ok(()), Err)
    }

    /// Takes in what happened at the edge of one engine; gives what a delivery was made of.
    ///
    /// # Errors
    /// The promise that is broken by it.
    pub fn observe(
        &mut self,
        now: Time,
        process: ProcessId,
        observation: Observation,
    ) -> Result<Delivered, Violation> {
        self.take_in(now, process, observation)
            .map_err(|broken| Violation {
                at: now,
                node: self.lives.name(process),
                broken,
            })
    }

    fn take_in(
        &mut self,
        now: Time,
        process: ProcessId,
        observation: Observation,
    ) -> Result<Delivered, Broken> {
        let lives = &mut self.lives;
        match observation {
            Observation::Started { name, identity } => {
                lives.start(process, name, identity);
                self.clocks.push(Clock::default());
                self.resumed.push(now);
            }
            Observation::Crashed => {
                lives.end(process, LifeState::Crashed);
                self.calls.end_process(process);
            }
            Observation::Left { drained } => {
                lives.end(process, LifeState::Left { drained });
                self.calls.end_process(process);
            }
            Observation::Resumed => {
                self.resumed[process.0 as usize] = self.clocks[process.0 as usize].at(now);
            }
            Observation::ClockSet { clock } => {
                self.clocks[process.0 as usize] = clock;
                self.resumed[process.0 as usize] = clock.at(now);
            }
            Observation::Renewed { identity, tenures } => {
                lives.renew(process, identity, &tenures)?;
            }
            Observation::TookUp {
                inbox,
                role,
                tenure,
            } => {
                lives.take_up(process, inbox, role, tenure)?;
            }
            Observation::AsksForPast { inbox, messages } => {
                self.flows.asks_for_past(lives, (process, inbox), messages);
            }
            Observation::Dropped { inbox } => lives.drop_role(process, inbox),
            Observation::Sent(sending) => {
                let own = self.own_time(process);
                self.flows.reopened((now, own), process, sending.flow)?;
                self.flows.accept(&self.lives, now, process, sending)?;
            }
            Observation::Refused { flow } => {
                let own = self.own_time(process);
                self.flows.refused((now, own), process, flow);
            }
            Observation::Announced { flow, length } => {
                self.flows.announce(lives, now, process, (flow, length));
            }
            Observation::Ended { flow, complete } => {
                self.flows.end(lives, process, flow, complete);
            }
            Observation::LargeEnded {
                inbox,
                origin,
                flow,
                end,
            } => {
                self.flows
                    .large_ended(lives, process, inbox, (origin, flow), end)?;
            }
            Observation::Delivered(receiving) => return self.deliver(process, receiving),
            Observation::Gapped {
                inbox,
                gap: Gap::DeclaredDown { epoch },
            } => {
                lives.tell(process, inbox, epoch)?;
            }
            Observation::Gapped { inbox, gap } => self.flows.gap(lives, process, inbox, gap)?,
            Observation::Evicts { flow, after } => self.flows.evicts(process, flow, after),
            Observation::KeepsLast { flow } => self.flows.keeps_last(process, flow),
            Observation::Lagged { inbox, lagged } => {
                self.flows.lag(lives, process, inbox, lagged)?;
            }
            Observation::Begun { inbox, started } => {
                self.flows.begin(lives, process, inbox, started)?;
            }
            Observation::Consumed {
                inbox,
                origin,
                flow,
                upto,
            } => {
                self.flows
                    .consume(lives, process, inbox, (origin, flow), upto, now);
            }
            Observation::Calls(calling) => {
                self.flows.note_call(calling.len_bytes());
                self.calls.make(process, calling)?;
            }
            Observation::Cancels { call } => self.calls.cancel(process, call),
            Observation::Called(called) => self.calls.deliver(lives, process, &called)?,
            Observation::Replies { to, answer } => {
                self.flows.note_call(answer.as_ref().map_or(0, Bytes::len));
                self.calls.reply(lives, process, to, answer);
            }
            Observation::Told(event) => self.told(now, process, event)?,
            Observation::AtRest => {
                self.flows.at_rest(process)?;
                lives.at_rest(process)?;
            }
        }
        Ok(Delivered::default())
    }

    fn deliver(&mut self, process: ProcessId, receiving: Receiving) -> Result<Delivered, Broken> {
        let origin = receiving.origin;
        let requests: Vec<CallId> = receiving
            .batch
            .clone()
            .into_messages()
            .filter_map(|message| message.call)
            .collect();
        let delivered = self.flows.deliver(&mut self.lives, process, receiving)?;
        for call in requests {
            self.calls
                .deliver_gather(&self.lives, process, ReplyTo { origin, call })?;
        }
        Ok(delivered)
    }

    fn told(&mut self, now: Time, process: ProcessId, event: Event) -> Result<(), Broken> {
        let lives = &mut self.lives;
        match event {
            Event::Membership(event) => match *event {
                MembershipEvent::Down(identity) if self.whole => Err(Broken::FalseAlarm {
                    who: lives.name_of(identity)?,
                }),
                MembershipEvent::Down(identity) => lives.declare_down(now, process, identity),
                MembershipEvent::Left(identity) => lives.seen_leaving(identity),
                MembershipEvent::Superseded(_) => lives.superseded(process),
                MembershipEvent::Joined(record)
                | MembershipEvent::Updated { after: record, .. }
                | MembershipEvent::Replaced { after: record, .. } => {
                    lives.notice(process, record.identity)
                }
                _ => Ok(()),
            },
            Event::Answered {
                call,
                node,
                answer,
                last,
            } => {
                let by_program = match answer {
                    Answer::Taken | Answer::Reply(_) | Answer::Refused(Refusal::Dropped) => true,
                    Answer::TimedOut => self.calls.is_left_lying(process, call),
                    _ => false,
                };
                if self.whole && !by_program {
                    return Err(Broken::Unanswered { answer });
                }
                let resumed = self.resumed[process.0 as usize];
                let now = self.clocks[process.0 as usize].at(now);
                let answered = Answered {
                    call,
                    node,
                    answer,
                    last,
                };
                self.calls.answer(lives, now, resumed, process, answered)
            }
            Event::Settled { flow, upto } => self.flows.settle(lives, process, flow, upto),
            Event::Stable { flow, upto } => self.flows.stable(lives, process, flow, upto),
            Event::Unstable { flow, first, upto } => {
                self.flows.unstable(lives, process, flow, (first, upto))
            }
            Event::Lost {
                flow,
                node,
                after,
                upto,
            } => self.flows.lost(process, flow, node, (after, upto)),
            Event::Evicted {
                flow,
                node,
                after,
                upto,
            } => {
                let own = self.own_time(process);
                let flow = (process, flow);
                let range = (after, upto);
                self.flows
                    .evicted(&self.lives, (now, own), flow, node, range)
            }
            Event::Writable(flow) => {
                let own = self.own_time(process);
                self.flows.reopened((now, own), process, flow)
            }
            Event::Lags {
                flow,
                node,
                after,
                upto,
            } => self.flows.lags(lives, (process, flow), node, (after, upto)),
            Event::Superseded {
                flow,
                node,
                first,
                last,
            } => {
                let range = (first, last);
                self.flows.superseded(lives, (process, flow), node, range)
            }
            Event::Readmitted { flow, node, start } => {
                self.flows.readmitted(lives, (process, flow), node, start)
            }
            Event::LargeRefused { flow, node } => {
                self.flows.large_refused(lives, process, flow, node)
            }
            Event::LargeOver { flow } => self.flows.large_over(process, flow),
            Event::Cancelled(to) => self.calls.told_cancelled(lives, process, to),
            Event::Violation { peer, what } => Err(Broken::Accusation {
                peer: peer.to_string(),
                what: what.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn own_time(&self, process: ProcessId) -> OwnTime {
        OwnTime {
            clock: self.clocks[process.0 as usize],
            resumed: self.resumed[process.0 as usize],
        }
    }

    /// What is owed to somebody if nothing breaks any more; `None` when every promise is kept.
    ///
    /// While something is still broken or on its way, an answer means nothing: time will tell.
    #[must_use]
    pub fn owed(&self, now: Time) -> Option<Violation> {
        self.calls
            .overdue(&self.lives, &self.clocks, now)
            .or_else(|| self.flows.owed(&self.lives, now))
            .or_else(|| {
                // A member that is half in reach for good may never acknowledge, and never be taken for dead; and it may hold what others wait for.
                let whole = self.lives.core.is_none();
                whole.then(|| {
                    let out = self.flows.never_readmitted(&self.lives, now);
                    let waiting = self.flows.never_ended(&self.lives, now);
                    let waiting = out.or(waiting).or_else(|| self.held_up(now));
                    waiting.or_else(|| self.flows.unsettled(&self.lives, now))
                })?
            })
    }

    /// A flow that goes on without slow members, and whose sender waits all the same.
    fn held_up(&self, now: Time) -> Option<Violation> {
        let up = self.clocks.iter().enumerate().map(|(process, _)| {
            let number = u32::try_from(process).expect("processes are few");
            ProcessId(number)
        });
        let mut up = up.filter(|process| self.lives.is_up(*process));
        up.find_map(|process| {
            let own = self.own_time(process);
            let broken = self.flows.held_up((now, own), process)?;
            Some(Violation {
                at: now,
                node: self.lives.name(process),
                broken,
            })
        })
    }

    /// How many calls have not ended.
    #[must_use]
    pub fn calls_open(&self) -> usize {
        self.calls.open()
    }

    /// What every node is to see.
    #[must_use]
    pub fn truth(&self) -> Truth {
        self.lives.truth()
    }

    /// Who this process is.
    #[must_use]
    pub fn node_of(&self, process: ProcessId) -> NodeId {
        self.lives.node_of(process)
    }

    /// How reports call this process.
    #[must_use]
    pub fn name(&self, process: ProcessId) -> Name {
        self.lives.name(process)
    }

    /// Whether this process runs.
    #[must_use]
    pub fn is_up(&self, process: ProcessId) -> bool {
        self.lives.is_up(process)
    }
}
