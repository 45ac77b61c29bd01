//! Members that were too slow: who is gone on without, what it does not get, and that it comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{NodeId, Time};
use rolecast_protocol::{Event, FlowId, InboxId, LagReason, Lagged, Origin};
use rolecast_sim::check::{Observation, ProcessId};

use super::lives::{Goes, Seat};
use super::multicasts::Why;
use super::{History, Promise, if_broken};

const SLOW: Promise = "slow receivers";
/// Who is evicted is so about when its time is up.
const EVICTED_IN: Duration = Duration::from_millis(300);

/// A member was left out of a flow, for as long as it lags or for good.
struct LeftOut {
    seat: Seat,
    /// It had acknowledged everything up to here, and was sent everything up to there.
    after: u64,
    upto: u64,
    lags: bool,
    /// From which message on it was meant again.
    back: Option<u64>,
}

impl<'a> History<'a> {
    /// What a process was told in this life about one of its flows.
    fn told(self, origin: Origin, flow: FlowId) -> Vec<(usize, &'a Event)> {
        let of = |event: &Event| match event {
            Event::Evicted { flow, .. }
            | Event::Lags { flow, .. }
            | Event::Superseded { flow, .. }
            | Event::Readmitted { flow, .. } => Some(*flow),
            _ => None,
        };
        let told = self.0.iter().enumerate().filter_map(|(index, recorded)| {
            let Observation::Told(event) = &recorded.observation else {
                return None;
            };
            let life = || History(&self.0[..index]).present(recorded.process);
            let by =
                |life: super::lives::Life| (life.node, life.epoch) == (origin.node, origin.epoch);
            (of(event) == Some(flow) && by(life())).then_some((index, event))
        });
        told.collect()
    }

    /// The holding of a node that was meant by what was sent last in a flow.
    fn last_meant(self, origin: Origin, flow: FlowId, node: NodeId) -> Option<Seat> {
        let sent = self.flow(origin, flow);
        let last = sent.last()?;
        let mut meant = last.sending.holders.iter();
        let holder = meant.find(|holder| holder.node == node)?;
        let role = &sent.first()?.sending.role;
        let mut seats = self.seats().into_iter().rev();
        seats.find(|seat| seat.is(holder, role))
    }

    /// Everybody who was left out of a flow.
    fn all_left_out(self, origin: Origin, flow: FlowId) -> Vec<LeftOut> {
        let mut all: Vec<LeftOut> = Vec::new();
        for (index, event) in self.told(origin, flow) {
            let (node, after, upto, lags) = match *event {
                Event::Evicted {
                    node, after, upto, ..
                } => (node, after, upto, false),
                Event::Lags {
                    node, after, upto, ..
                } => (node, after, upto, true),
                Event::Readmitted { node, start, .. } => {
                    let last = |lags| {
                        let mut of_node = (0..all.len()).rev();
                        of_node.find(|&n| all[n].seat.node == node && all[n].lags == lags)
                    };
                    let open = |n: &usize| all[*n].back.is_none();
                    let out = last(true).filter(open).or_else(|| last(false).filter(open));
                    if let Some(out) = out {
                        all[out].back = Some(start.0);
                    }
                    continue;
                }
                _ => continue,
            };
            let then = History(&self.0[..index]);
            all.extend(then.last_meant(origin, flow, node).map(|seat| LeftOut {
                seat,
                after: after.0,
                upto: upto.0,
                lags,
                back: None,
            }));
        }
        all
    }

    /// How often and when this holding was left out of a flow.
    fn left_out(self, seat: &Seat, origin: Origin, flow: FlowId) -> Vec<LeftOut> {
        let mut all = self.all_left_out(origin, flow);
        let same = |a: &Seat| {
            (a.process, a.inbox, a.node, a.epoch, a.tenure)
                == (seat.process, seat.inbox, seat.node, seat.epoch, seat.tenure)
        };
        all.retain(|out| same(&out.seat));
        all
    }

    /// Whether a member was evicted before it had acknowledged a message that was sent to it.
    pub(super) fn was_evicted(self, seat: &Seat, origin: Origin, flow: FlowId, seq: u64) -> bool {
        let out = self.left_out(seat, origin, flow);
        out.iter()
            .any(|out| !out.lags && (out.after + 1..=out.upto).contains(&seq))
    }

    pub(super) fn was_ever_evicted(self, seat: &Seat, origin: Origin, flow: FlowId) -> bool {
        let out = self.left_out(seat, origin, flow);
        out.iter().any(|out| !out.lags)
    }

    /// Whether a member lagged when a message was on its way to it, or was sent to the others.
    pub(super) fn lagged(self, seat: &Seat, origin: Origin, flow: FlowId, seq: u64) -> bool {
        let out = self.left_out(seat, origin, flow);
        out.iter()
            .any(|out| out.lags && out.after < seq && out.back.is_none_or(|back| seq < back))
    }

    /// Whether the sender was told that a holding does not get a message.
    pub(super) fn is_left_out(self, seat: &Seat, origin: Origin, flow: FlowId, seq: u64) -> bool {
        self.told(origin, flow).iter().any(|&(index, event)| {
            let &Event::Superseded {
                node, first, last, ..
            } = event
            else {
                return false;
            };
            let then = History(&self.0[..index]).last_meant(origin, flow, node);
            let same = then.is_some_and(|then| {
                (then.process, then.inbox, then.epoch) == (seat.process, seat.inbox, seat.epoch)
                    && then.tenure == seat.tenure
            });
            same && (first.0..=last.0).contains(&seq)
        })
    }

    /// How long a flow of a process may be shut before it goes on without whoever shuts it.
    fn patience(self, process: ProcessId, flow: FlowId) -> Option<Duration> {
        let mut said =
            self.of(process)
                .rev()
                .filter_map(|(_, recorded)| match recorded.observation {
                    Observation::Evicts { flow: of, after } if of == flow => Some(after),
                    _ => None,
                });
        said.next()
    }

    /// The sender goes on without a member.
    pub(super) fn evicts(
        self,
        now: Time,
        (process, flow): (ProcessId, FlowId),
        node: NodeId,
        (after, upto): (u64, u64),
    ) -> BTreeSet<Promise> {
        let origin = self.present(process).origin();
        let seat = self.last_meant(origin, flow, node);
        let Some((patience, seat)) = self.patience(process, flow).zip(seat) else {
            return BTreeSet::from([SLOW]);
        };
        let mut due = self.due(&seat, origin, flow).into_iter();
        let first = due.find(|seq| (after + 1..=upto).contains(seq));
        let sent = self.flow(origin, flow);
        let bytes_of = |from: u64, to: u64| -> usize {
            let within = sent
                .iter()
                .filter(|s| s.sending.last.0 >= from && s.sending.first.0 <= to);
            within.map(|sent| sent.sending.batch.cost_bytes()).sum()
        };
        let asks = self.asked(seat.process, seat.inbox).is_some();
        let holders = |s: &super::multicasts::Sent<'_>| s.sending.holders.clone();
        let role = sent.first().map(|first| first.sending.role.clone());
        let meant = |s: &super::multicasts::Sent<'_>| {
            role.as_ref()
                .is_some_and(|role| holders(s).iter().any(|h| seat.is(h, role)))
        };
        let mut earlier = sent.iter().filter(|s| s.sending.first.0 <= after);
        let past = match asks && earlier.all(|sent| !meant(sent)) {
            true => bytes_of(1, after),
            false => 0,
        };
        let nothing = first.is_none() && past + bytes_of(after + 1, upto) == 0;
        let early = first.is_some_and(|first| {
            let of_first = sent.iter().find(|sent| sent.positions().contains(&first));
            let clock = self.clock(process);
            let sent_at = of_first.map(|sent| clock.at(sent.at));
            sent_at.is_some_and(|sent_at| {
                self.resumed(process) < sent_at && clock.at(now).since(sent_at) < patience
            })
        });
        let out = self.left_out(&seat, origin, flow);
        let already = out.iter().any(|out| !out.lags && out.back.is_none());
        let mut broken = if_broken(nothing || early || already, SLOW);
        if after < upto {
            broken.extend(self.hears_of_sent(process, flow, upto));
        }
        broken
    }

    /// The sender goes on without a member, for which it keeps the last of each key.
    pub(super) fn lags(self, process: ProcessId, flow: FlowId, node: NodeId) -> BTreeSet<Promise> {
        let origin = self.present(process).origin();
        let member = self.last_meant(origin, flow, node).is_some();
        let mut said = self.of(process);
        let keeps = said.any(|(_, recorded)| {
            matches!(recorded.observation, Observation::KeepsLast { flow: of } if of == flow)
        });
        if_broken(!member || !keeps, SLOW)
    }

    /// The sender hears that a member does not get something.
    pub(super) fn supersedes(
        self,
        process: ProcessId,
        flow: FlowId,
        node: NodeId,
    ) -> BTreeSet<Promise> {
        let origin = self.present(process).origin();
        let seat = self.last_meant(origin, flow, node);
        let lags = seat.is_some_and(|seat| {
            let out = self.left_out(&seat, origin, flow);
            out.iter().any(|out| out.lags)
        });
        if_broken(!lags, SLOW)
    }

    /// The sender takes a member back.
    pub(super) fn takes_back(
        self,
        process: ProcessId,
        flow: FlowId,
        node: NodeId,
    ) -> BTreeSet<Promise> {
        let origin = self.present(process).origin();
        let out = self.all_left_out(origin, flow);
        let last = |lags| {
            let mut of_node = out.iter().rev();
            of_node.find(|out| out.seat.node == node && out.lags == lags)
        };
        let open = |out: &&LeftOut| out.back.is_none();
        let out = last(true).filter(open).or_else(|| last(false).filter(open));
        if_broken(out.is_none(), SLOW)
    }

    /// An inbox hears what it does not get because its program was too slow.
    pub(super) fn lags_behind(
        self,
        process: ProcessId,
        inbox: InboxId,
        lagged: Lagged,
    ) -> BTreeSet<Promise> {
        let Some(seat) = self.open_seat(process, inbox) else {
            return BTreeSet::from(["inboxes"]);
        };
        let (origin, flow) = (lagged.origin, lagged.flow);
        let (first, last) = (lagged.first.0, lagged.last.0);
        let sent = self.flow(origin, flow);
        let Some(sent_upto) = sent.last().map(|sent| sent.sending.last.0) else {
            return BTreeSet::from([SLOW]);
        };
        let impossible = first > last
            || last > sent_upto
            || self.has_come_to(&seat, origin, flow, (first, last));
        let due = self.due(&seat, origin, flow).into_iter();
        let due: Vec<u64> = due.filter(|seq| (first..=last).contains(seq)).collect();
        let out = self.left_out(&seat, origin, flow);
        let justified = match lagged.reason {
            LagReason::Superseded => {
                let lags = out.iter().any(|out| out.lags && out.upto < first);
                let known = |seq: &u64| {
                    self.has_successor(origin, flow, *seq)
                        && self.is_left_out(&seat, origin, flow, *seq)
                };
                lags && due.iter().all(known)
            }
            LagReason::Evicted => {
                let evicted = out.iter().any(|out| !out.lags && out.after < first);
                evicted
                    && due
                        .iter()
                        .all(|&seq| self.was_evicted(&seat, origin, flow, seq))
            }
        };
        let mut broken = if_broken(impossible || !justified, SLOW);
        let ordered = self.is_ordered(origin, flow);
        let pending = self.pending(&seat, origin, flow, first);
        broken.extend(if_broken(ordered && !pending.is_empty(), "order"));
        broken
    }

    /// Whether a later message was sent with the same key.
    fn has_successor(self, origin: Origin, flow: FlowId, seq: u64) -> bool {
        let sent = self.flow(origin, flow);
        let key_of = |seq: u64| -> Bytes {
            let of = sent.iter().find(|sent| sent.positions().contains(&seq));
            let key = of.and_then(|sent| {
                let index = usize::try_from(seq - sent.sending.first.0).ok()?;
                sent.sending.batch.keys().get(index).cloned()
            });
            key.unwrap_or_default()
        };
        let last = sent.last().map_or(0, |sent| sent.sending.last.0);
        (seq + 1..=last).any(|later| key_of(later) == key_of(seq))
    }

    /// Whether something comes to one that was left out before, and was not told what was sent in between, or is sent to one that is not to get it.
    pub(super) fn comes_untold(self, seat: &Seat, origin: Origin, flow: FlowId, seq: u64) -> bool {
        let out = self.left_out(seat, origin, flow);
        let due = self.due(seat, origin, flow);
        let put = self.put_into(seat, origin, flow);
        let untold = out.iter().filter(|out| !out.lags).any(|out| {
            let next = out.upto + 1;
            let told = put
                .iter()
                .any(|put| put.why != Why::Came && put.positions.contains(&next));
            next < seq && !due.contains(&next) && !told
        });
        untold || self.is_left_out(seat, origin, flow, seq)
    }

    /// A flow that goes on without slow members has room again, or something was sent in it: was that in time?
    pub(super) fn reopens(self, now: Time, process: ProcessId, flow: FlowId) -> BTreeSet<Promise> {
        if_broken(self.is_held_up(now, process, flow), SLOW)
    }

    fn is_held_up(self, now: Time, process: ProcessId, flow: FlowId) -> bool {
        let Some(patience) = self.patience(process, flow) else {
            return false;
        };
        let mut since = None;
        for (index, recorded) in self.of(process) {
            let then = History(&self.0[..index]);
            match &recorded.observation {
                Observation::Refused { flow: of }
                    if *of == flow && then.patience(process, flow).is_some() =>
                {
                    since.get_or_insert(then.clock(process).at(recorded.at));
                }
                Observation::Told(Event::Writable(of)) if *of == flow => since = None,
                Observation::Sent(sending) if sending.flow == flow => since = None,
                _ => {}
            }
        }
        let shown = self.clock(process).at(now);
        since.is_some_and(|since| {
            self.resumed(process) < since && shown.since(since) > patience + EVICTED_IN
        })
    }

    /// Members that were left out and are there, and were never taken back, and senders that wait for one that they are to go on without.
    pub(super) fn never_back(self) -> BTreeSet<Promise> {
        let now = self.0.last().map_or(Time::ZERO, |last| last.at);
        let flows: BTreeSet<(ProcessId, Origin, FlowId)> = self
            .sent()
            .map(|sent| (sent.process, sent.origin, sent.sending.flow))
            .collect();
        let stays = |origin: Origin| self.is_correct(origin.node, origin.epoch, Time::ZERO);
        let out = flows.iter().any(|&(_, origin, flow)| {
            self.all_left_out(origin, flow).iter().any(|out| {
                let present = self.seat(out.seat.process, out.seat.inbox);
                let open = present
                    .is_some_and(|present| present.is_open() && present.from == out.seat.from);
                let holder = Origin {
                    node: out.seat.node,
                    epoch: out.seat.epoch,
                };
                out.back.is_none() && open && stays(holder) && stays(origin)
            })
        });
        let refused = self
            .0
            .iter()
            .filter_map(|recorded| match recorded.observation {
                Observation::Refused { flow } => Some((recorded.process, flow)),
                _ => None,
            });
        let refused: BTreeSet<(ProcessId, FlowId)> = refused.collect();
        let held_up = refused.into_iter().any(|(process, flow)| {
            self.present(process).goes == Goes::On && self.is_held_up(now, process, flow)
        });
        if_broken(out || held_up, SLOW)
    }
}
