//! A second oracle, as simple as can be, to be compared with the one that judges runs.
//!
//! Each promise is a sentence about the whole history, and is looked up in it from the start, for every observation and every message anew.
//! Nothing is kept from one observation to the next: no cursors, no table of lives, no receipts, which is what the other oracle is fast by, and where it could be wrong.
//! So the time is the square of the length of a history, and more.

mod calls;
mod lives;
mod multicasts;
mod slow;

use std::collections::BTreeSet;

use rolecast_membership::Time;
use rolecast_protocol::{Event, Gap};
use rolecast_sim::check::{Observation, ProcessId, Recorded};

use calls::Answering;

/// A promise, by the word with which the sentence about it begins.
pub(crate) type Promise = &'static str;

/// What happened before a moment.
#[derive(Clone, Copy)]
pub(crate) struct History<'a>(&'a [Recorded]);

/// The first observation that breaks a promise, and all those that it breaks; the end counts as one observation more.
pub(crate) fn judge(run: &[Recorded]) -> Option<(usize, BTreeSet<Promise>)> {
    let within = (0..run.len()).map(|index| (index, History(&run[..index]).broken_by(&run[index])));
    let end = std::iter::once_with(|| (run.len(), History(run).owed()));
    let mut all = within.chain(end);
    all.find(|(_, broken)| !broken.is_empty())
}

impl<'a> History<'a> {
    /// What this observation breaks, after this history.
    fn broken_by(self, next: &Recorded) -> BTreeSet<Promise> {
        let Recorded {
            at,
            process,
            observation,
        } = next;
        let process = *process;
        match observation {
            Observation::Renewed { identity, tenures } => self.renews(process, identity, tenures),
            Observation::TookUp {
                inbox,
                role,
                tenure,
            } => self.takes_up(process, *inbox, role, *tenure),
            Observation::Sent(sending) => self.sends(*at, process, sending),
            Observation::Delivered(receiving) => {
                let mut broken = self.receives(process, receiving);
                broken.extend(self.gathers(process, receiving));
                broken
            }
            Observation::Gapped { inbox, gap } => match *gap {
                Gap::DeclaredDown { epoch } => self.hears_of_renewal(process, *inbox, epoch),
                Gap::Range {
                    origin,
                    flow,
                    first,
                    last,
                } => self.gives_up(process, *inbox, (origin, flow), (first.0, last.0)),
            },
            Observation::Begun { inbox, started } => self.begins(process, *inbox, *started),
            Observation::Calls(calling) => self.calls_again(process, calling.call),
            Observation::Called(called) => self.is_called(process, called),
            Observation::Told(Event::Settled { flow, upto }) => {
                self.settles(process, *flow, upto.0)
            }
            Observation::Told(
                Event::Lost { flow, upto, .. }
                | Event::Stable { flow, upto }
                | Event::Unstable { flow, upto, .. },
            ) => self.hears_of_sent(process, *flow, upto.0),
            Observation::Told(Event::Membership(event)) => self.sees(process, event),
            Observation::Told(Event::Cancelled(to)) => self.hears_of_cancel(process, *to),
            Observation::Told(Event::Violation { .. }) => BTreeSet::from(["protocol"]),
            Observation::Told(Event::Answered {
                call,
                node,
                answer,
                last,
            }) => self.is_answered(
                *at,
                process,
                &Answering {
                    call: *call,
                    node: *node,
                    answer,
                    last: *last,
                },
            ),
            Observation::Lagged { inbox, lagged } => self.lags_behind(process, *inbox, *lagged),
            Observation::Told(event) => self.hears_of_slow(*at, process, event),
            Observation::AtRest => self.rests(process),
            Observation::Started { .. }
            | Observation::Crashed
            | Observation::Left { .. }
            | Observation::Resumed
            | Observation::ClockSet { .. }
            | Observation::Dropped { .. }
            | Observation::AsksForPast { .. }
            | Observation::Consumed { .. }
            | Observation::Cancels { .. }
            | Observation::Refused { .. }
            | Observation::Evicts { .. }
            | Observation::KeepsLast { .. }
            | Observation::Replies { .. } => BTreeSet::new(),
            // No history that is drawn for the comparison has large payloads.
            Observation::Announced { .. }
            | Observation::Ended { .. }
            | Observation::LargeEnded { .. } => BTreeSet::from(["large payloads"]),
        }
    }

    /// What a sender hears of members that are too slow.
    fn hears_of_slow(self, at: Time, process: ProcessId, event: &Event) -> BTreeSet<Promise> {
        match *event {
            Event::Evicted {
                flow,
                node,
                after,
                upto,
            } => self.evicts(at, (process, flow), node, (after.0, upto.0)),
            Event::Lags { flow, node, .. } => self.lags(process, flow, node),
            Event::Superseded { flow, node, .. } => self.supersedes(process, flow, node),
            Event::Readmitted { flow, node, .. } => self.takes_back(process, flow, node),
            Event::Writable(flow) => self.reopens(at, process, flow),
            _ => BTreeSet::new(),
        }
    }

    /// What is broken if nothing happens any more.
    fn owed(self) -> BTreeSet<Promise> {
        let mut broken = self.undelivered();
        broken.extend(self.unsettled());
        broken.extend(self.overdue());
        broken.extend(self.never_back());
        broken
    }

    /// What this process did and saw, each with its place in the history.
    fn of(self, process: ProcessId) -> impl DoubleEndedIterator<Item = (usize, &'a Recorded)> {
        let all = self.0.iter().enumerate();
        all.filter(move |(_, recorded)| recorded.process == process)
    }
}

/// This promise, if it is broken.
fn if_broken(broken: bool, promise: Promise) -> BTreeSet<Promise> {
    broken.then_some(promise).into_iter().collect()
}
