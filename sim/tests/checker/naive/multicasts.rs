//! Multicasts: what was sent, to whom it was due, and who got it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use rolecast_membership::{Epoch, NodeId, RoleName, Time};
use rolecast_protocol::{
    Dissemination, Event, FlowId, Gap, InboxId, LagReason, Order, Origin, Started,
};
use rolecast_sim::check::{Holder, Observation, ProcessId, Receiving, Recorded, Sending};

use super::lives::{Goes, Seat};
use super::{History, Promise, if_broken};

/// A batch that somebody sent.
pub(super) struct Sent<'a> {
    pub(super) index: usize,
    pub(super) process: ProcessId,
    pub(super) origin: Origin,
    pub(super) at: Time,
    pub(super) sending: &'a Sending,
}

impl Sent<'_> {
    pub(super) fn positions(&self) -> RangeInclusive<u64> {
        self.sending.first.0..=self.sending.last.0
    }
}

impl<'a> History<'a> {
    pub(super) fn sent(self) -> impl DoubleEndedIterator<Item = Sent<'a>> {
        let all = self.0.iter().enumerate();
        all.filter_map(move |(index, recorded)| {
            let Observation::Sent(sending) = &recorded.observation else {
                return None;
            };
            let life = History(&self.0[..index]).present(recorded.process);
            Some(Sent {
                index,
                process: recorded.process,
                origin: Origin {
                    node: life.node,
                    epoch: life.epoch,
                },
                at: recorded.at,
                sending,
            })
        })
    }

    /// What one life sent in one of its flows.
    pub(super) fn flow(self, origin: Origin, flow: FlowId) -> Vec<Sent<'a>> {
        let all = self.sent();
        all.filter(|sent| sent.origin == origin && sent.sending.flow == flow)
            .collect()
    }

    fn last_sent_by(self, process: ProcessId, flow: FlowId) -> Option<u64> {
        let mut own = self
            .sent()
            .filter(|sent| sent.process == process && sent.sending.flow == flow);
        own.next_back().map(|sent| sent.sending.last.0)
    }

    /// What was put into this inbox in this life, of this flow: the positions that came, and those that were given up.
    pub(super) fn put_into(self, seat: &Seat, origin: Origin, flow: FlowId) -> Vec<Put> {
        let span = self.of(seat.process);
        let span = span.filter(|(index, _)| (seat.from..seat.until).contains(index));
        span.filter_map(|(index, recorded)| {
            let (inbox, from, of, positions, why) = match &recorded.observation {
                Observation::Delivered(r) => {
                    let last = r.first.0 + u64::from(r.batch.count()) - 1;
                    (r.inbox, r.origin, r.flow, r.first.0..=last, Why::Came)
                }
                Observation::Lagged { inbox, lagged } => {
                    let why = match lagged.reason {
                        LagReason::Evicted => Why::GivenUp,
                        LagReason::Superseded => Why::Superseded,
                    };
                    let positions = lagged.first.0..=lagged.last.0;
                    (*inbox, lagged.origin, lagged.flow, positions, why)
                }
                &Observation::Gapped {
                    inbox,
                    gap:
                        Gap::Range {
                            origin,
                            flow,
                            first,
                            last,
                        },
                } => (inbox, origin, flow, first.0..=last.0, Why::GivenUp),
                _ => return None,
            };
            let wanted = (inbox, from, of) == (seat.inbox, origin, flow);
            wanted.then_some(Put {
                index,
                positions,
                why,
            })
        })
        .collect()
    }

    pub(super) fn was_delivered(self, seat: &Seat, origin: Origin, flow: FlowId, seq: u64) -> bool {
        let put = self.put_into(seat, origin, flow);
        put.iter()
            .any(|put| put.came() && put.positions.contains(&seq))
    }

    /// The positions before this one that are due to a seat, and neither came nor were given up.
    pub(super) fn pending(
        self,
        seat: &Seat,
        origin: Origin,
        flow: FlowId,
        before: u64,
    ) -> Vec<u64> {
        let put = self.put_into(seat, origin, flow);
        let done = |seq: &u64| put.iter().any(|put| put.positions.contains(seq));
        let mut due = self.due(seat, origin, flow);
        due.retain(|seq| *seq < before && !done(seq));
        due
    }

    /// Whether something of these positions was put into an inbox already.
    pub(super) fn has_come_to(
        self,
        seat: &Seat,
        origin: Origin,
        flow: FlowId,
        (first, last): (u64, u64),
    ) -> bool {
        let ordered = self.is_ordered(origin, flow);
        self.put_into(seat, origin, flow).iter().any(|put| {
            let (from, to) = (*put.positions.start(), *put.positions.end());
            to >= first && (ordered || from <= last)
        })
    }

    /// How many messages that were sent before an inbox asked for.
    pub(super) fn asked(self, process: ProcessId, inbox: InboxId) -> Option<u64> {
        let mut all = self.of(process).rev();
        all.find_map(|(_, recorded)| match recorded.observation {
            Observation::AsksForPast {
                inbox: of,
                messages,
            } if of == inbox => Some(messages.into()),
            _ => None,
        })
    }

    /// What was sent before a seat began and is due to it, because it asked for it and was told so.
    fn past(self, seat: &Seat, origin: Origin, flow: FlowId) -> Option<RangeInclusive<u64>> {
        let span = self.of(seat.process);
        let mut span = span.filter(|(index, _)| (seat.from..seat.until).contains(index));
        span.find_map(|(_, recorded)| match &recorded.observation {
            Observation::Begun { inbox, started } if started.replayed > 0 => {
                let (first, of) = (started.first.0, (started.origin, started.flow));
                let wanted = (*inbox, of) == (seat.inbox, (origin, flow));
                wanted.then(|| first..=first + started.replayed - 1)
            }
            _ => None,
        })
    }

    fn is_past(self, seat: &Seat, origin: Origin, flow: FlowId, seq: u64) -> bool {
        let past = self.past(seat, origin, flow);
        past.is_some_and(|past| past.contains(&seq))
    }

    /// The positions whose destination sets name this seat, and those that it asked for.
    pub(super) fn due(self, seat: &Seat, origin: Origin, flow: FlowId) -> Vec<u64> {
        let sent = self.flow(origin, flow);
        let Some(role) = sent.first().map(|first| first.sending.role.clone()) else {
            return Vec::new();
        };
        let named = |sent: &Sent<'_>| sent.sending.holders.iter().any(|h| seat.is(h, &role));
        let past = self.past(seat, origin, flow);
        let asked = |seq: &u64| past.as_ref().is_some_and(|past| past.contains(seq));
        let due = sent.iter().flat_map(|sent| {
            let named = named(sent);
            sent.positions().filter(move |seq| named || asked(seq))
        });
        due.collect()
    }

    pub(super) fn sends(
        self,
        at: Time,
        process: ProcessId,
        sending: &Sending,
    ) -> BTreeSet<Promise> {
        let before = self.last_sent_by(process, sending.flow).unwrap_or(0);
        let count = u64::from(sending.batch.count());
        let numbered = sending.first.0 == before + 1 && sending.last.0 == before + count;
        let mut broken = if_broken(!numbered, "numbering");
        let counted = sending.members == sending.holders.len();
        broken.extend(if_broken(!counted, "destination set"));
        broken.extend(self.reopens(at, process, sending.flow));
        let life = self.present(process);
        let origin = Origin {
            node: life.node,
            epoch: life.epoch,
        };
        let flow = self.flow(origin, sending.flow);
        let role = flow
            .first()
            .map_or(&sending.role, |first| &first.sending.role);
        let seats = self.seats();
        let held = |holder| seats.iter().any(|seat| seat.is(holder, role));
        broken.extend(if_broken(!sending.holders.iter().all(held), "routing"));
        broken
    }

    pub(super) fn receives(self, process: ProcessId, receiving: &Receiving) -> BTreeSet<Promise> {
        let Receiving {
            inbox,
            origin,
            flow,
            first,
            batch,
        } = receiving;
        let Some(seat) = self.open_seat(process, *inbox) else {
            return BTreeSet::from(["inboxes"]);
        };
        let sent = self.flow(*origin, *flow);
        let due = self.due(&seat, *origin, *flow);
        let put = self.put_into(&seat, *origin, *flow);
        let mut broken = BTreeSet::new();
        for (seq, message) in (first.0..).zip(batch.clone().into_messages()) {
            let batch = sent.iter().find(|sent| sent.positions().contains(&seq));
            let original = batch.and_then(|sent| {
                let mut messages = sent.sending.batch.clone().into_messages();
                messages.nth(usize::try_from(seq - sent.sending.first.0).ok()?)
            });
            let genuine = original
                .is_some_and(|sent| sent.payload == message.payload && sent.call == message.call);
            broken.extend(if_broken(!genuine, "no creation"));
            broken.extend(if_broken(genuine && !due.contains(&seq), "routing"));
            let untold = self.comes_untold(&seat, *origin, *flow, seq);
            broken.extend(if_broken(untold, "slow receivers"));
            let before = |came| {
                let mut put = put.iter().filter(|put| put.came() == came);
                put.any(|put| put.positions.contains(&seq))
            };
            broken.extend(if_broken(before(true), "no duplication"));
            broken.extend(if_broken(before(false), "once or Gap"));
            let pending = self.pending(&seat, *origin, *flow, seq);
            let ordered = self.is_ordered(*origin, *flow);
            let overtaken = ordered && pending.iter().any(|missing| *missing < first.0);
            broken.extend(if_broken(overtaken, "order"));
        }
        let batch = sent.iter().find(|s| s.positions().contains(&first.0));
        let untimely = batch.is_some_and(|sent| self.is_untimely(&seat, sent, &put));
        broken.extend(if_broken(untimely, "causal order"));
        let untold = self.begins_untold(&seat, *origin, *flow, first.0);
        broken.extend(if_broken(untold, "beginnings"));
        broken
    }

    /// An inbox hears from which message on it gets a flow.
    pub(super) fn begins(
        self,
        process: ProcessId,
        inbox: InboxId,
        started: Started,
    ) -> BTreeSet<Promise> {
        let Some(seat) = self.open_seat(process, inbox) else {
            return BTreeSet::from(["inboxes"]);
        };
        let Started {
            origin,
            flow,
            first,
            replayed,
        } = started;
        let pending = self.pending(&seat, origin, flow, first.0);
        let known = self.life_of(origin).is_some();
        let wrong = replayed > 0 && {
            let past = (first.0 + replayed).saturating_sub(1);
            let due = self.due(&seat, origin, flow);
            let sent = self.flow(origin, flow);
            let sent_upto = sent.last().map_or(0, |sent| sent.sending.last.0);
            let next = due.iter().find(|seq| **seq > past);
            replayed > self.asked(process, inbox).unwrap_or(0)
                || past > sent_upto
                || due.iter().any(|seq| *seq <= past)
                || next.is_some_and(|next| *next > past + 1)
                || self.past(&seat, origin, flow).is_some()
        };
        if_broken(!known || wrong || !pending.is_empty(), "beginnings")
    }

    /// Whether an inbox never heard that it begins in the middle of a flow, and nothing of what was sent before was due to it.
    fn begins_untold(self, seat: &Seat, origin: Origin, flow: FlowId, first: u64) -> bool {
        let process_of = |origin| self.life_of(origin).map(|life| life.process);
        let sender = process_of(origin);
        let told = self.of(seat.process).any(|(_, recorded)| {
            let (inbox, from, of) = match &recorded.observation {
                Observation::Begun { inbox, started } => (*inbox, started.origin, started.flow),
                // Whoever was delivered something has begun.
                Observation::Delivered(r) => (r.inbox, r.origin, r.flow),
                _ => return false,
            };
            (inbox, of) == (seat.inbox, flow) && process_of(from) == sender
        });
        let seats = self.seats().into_iter();
        let mut seats =
            seats.filter(|other| (other.process, other.inbox) == (seat.process, seat.inbox));
        let lives: BTreeSet<Origin> = self
            .sent()
            .filter(|sent| Some(sent.process) == sender)
            .map(|sent| sent.origin)
            .collect();
        let due_before = |other: &Seat| {
            let mut due = lives.iter().flat_map(|&life| self.due(other, life, flow));
            due.any(|seq| seq < first)
        };
        first > 1 && sender.is_some() && !told && !seats.any(|other| due_before(&other))
    }

    /// Whether something on which a batch depends in causal order is due to a seat and was not put into it.
    fn is_untimely(self, seat: &Seat, batch: &Sent<'_>, put: &[Put]) -> bool {
        let (origin, own) = (batch.origin, batch.sending.flow);
        let causal = |flow: &[Sent<'_>]| {
            let first = flow.first();
            first.is_some_and(|first| first.sending.mode.order == Order::Causal)
        };
        let flow = self.flow(origin, own);
        if !causal(&flow) || put.iter().any(|put| !put.came()) {
            return false;
        }
        let role = self.role_of(origin, own);
        let then = History(&self.0[..batch.index]);
        let mut seats = then.seats().into_iter();
        let sender = seats.find(|s| s.process == batch.process && s.is_open() && s.role == role);
        let all: BTreeSet<(Origin, FlowId)> = then
            .sent()
            .map(|sent| (sent.origin, sent.sending.flow))
            .collect();
        all.into_iter().any(|(from, of)| {
            let other = then.flow(from, of);
            let same = causal(&other) && self.role_of(from, of) == role;
            if !same || (from, of) == (origin, own) {
                return false;
            }
            let doubted = |node, epoch| self.was_declared_down(node, epoch, Time::ZERO);
            if doubted(from.node, from.epoch)
                || doubted(origin.node, origin.epoch)
                || doubted(seat.node, seat.epoch)
            {
                return false;
            }
            let given = sender
                .as_ref()
                .map(|sender| then.put_into(sender, from, of));
            let given = given.into_iter().flatten();
            let upto = given.map(|put| *put.positions.end()).max();
            let pending = self.pending(seat, from, of, upto.unwrap_or(0) + 1);
            !pending.is_empty()
        })
    }

    pub(super) fn gives_up(
        self,
        process: ProcessId,
        inbox: InboxId,
        (origin, flow): (Origin, FlowId),
        (first, last): (u64, u64),
    ) -> BTreeSet<Promise> {
        let Some(seat) = self.open_seat(process, inbox) else {
            return BTreeSet::from(["inboxes"]);
        };
        let sent = self.flow(origin, flow);
        let range = first..=last;
        let due = self.due(&seat, origin, flow);
        let named = due.iter().find(|seq| range.contains(seq));
        let ordered = self.is_ordered(origin, flow);
        let told_before = self.has_come_to(&seat, origin, flow, (first, last));
        let sent_upto = sent.last().map_or(0, |sent| sent.sending.last.0);
        let never_sent = first < 1 || last > sent_upto;
        // Of causal messages that died with their origin, nobody may be left who knows for whom they were.
        let batch = sent.iter().find(|sent| sent.positions().contains(&last));
        let unsure = batch.is_some_and(|sent| {
            let causal = sent.sending.mode.order == Order::Causal;
            causal && !self.is_correct(origin.node, origin.epoch, sent.at)
        });
        // What it was left out of, it may be told so too, when the sender is gone.
        let left_out = self.was_ever_evicted(&seat, origin, flow);
        let nobody = named.is_none() && !unsure && !left_out;
        let mut broken = if_broken(nobody || told_before || never_sent, "gaps");
        let pending = self.pending(&seat, origin, flow, first);
        broken.extend(if_broken(ordered && !pending.is_empty(), "order"));
        if let Some(seq) = named {
            let batch = sent.iter().find(|sent| sent.positions().contains(seq));
            let at = batch.map(|sent| sent.at).expect("what is due was sent");
            let short = batch.is_some_and(|sent| self.is_short(sent));
            let excused = short
                || self.was_evicted(&seat, origin, flow, *seq)
                || !self.is_correct(origin.node, origin.epoch, at)
                || !self.is_correct(seat.node, seat.epoch, at);
            broken.extend(if_broken(!excused, "gaps"));
        }
        broken
    }

    /// The sender hears that everybody has taken everything up to here.
    pub(super) fn settles(self, process: ProcessId, flow: FlowId, upto: u64) -> BTreeSet<Promise> {
        let sent = self.last_sent_by(process, flow);
        if sent.is_none_or(|last| upto > last) {
            return BTreeSet::from(["receipts"]);
        }
        let settled = self.settled(process, flow);
        let seats = self.seats();
        let own = self
            .sent()
            .filter(|sent| sent.process == process && sent.sending.flow == flow);
        let early = own
            .flat_map(|sent| {
                let role = self.role_of(sent.origin, flow);
                let fresh = sent
                    .positions()
                    .filter(|seq| (settled + 1..=upto).contains(seq));
                let fresh: Vec<u64> = fresh.collect();
                let holders = sent.sending.holders.iter();
                let members = holders
                    .filter_map(|h| seats.iter().rev().find(|seat| seat.is(h, &role)).cloned());
                let members: Vec<Seat> = members.collect();
                members.into_iter().flat_map(move |seat| {
                    let fresh = fresh.clone().into_iter();
                    fresh.map(move |seq| (sent.origin, seat.clone(), seq))
                })
            })
            .any(|(origin, seat, seq)| {
                !self.has_taken(&seat, origin, flow, seq)
                    && !self.is_lost(process, flow, seat.node, seq)
            });
        if_broken(early, "receipts")
    }

    fn role_of(self, origin: Origin, flow: FlowId) -> RoleName {
        let sent = self.flow(origin, flow);
        let first = sent.first().expect("somebody sent in it");
        first.sending.role.clone()
    }

    /// Whether a member is done with a message: its program has taken it or knows that it is lost, or it is no member any more by its own will.
    fn has_taken(self, seat: &Seat, origin: Origin, flow: FlowId, seq: u64) -> bool {
        let life = self.life(seat.node, seat.epoch);
        let gone = life.is_some_and(|l| matches!(l.goes, Goes::Renewed | Goes::Left { .. }));
        if seat.dropped || gone {
            return true;
        }
        let ordered = self.is_ordered(origin, flow);
        let put = self.put_into(seat, origin, flow);
        let given_up = put.iter().filter(|put| !put.came());
        let given_up = given_up
            .map(|put| put.positions.clone())
            .any(|gone| gone.contains(&seq) || (ordered && *gone.end() >= seq));
        let sent = self.flow(origin, flow);
        let batch = sent.iter().find(|sent| sent.positions().contains(&seq));
        let end = batch.map_or(seq, |sent| sent.sending.last.0);
        let taken = self.of(seat.process).any(|(index, recorded)| {
            let &Observation::Consumed {
                inbox,
                origin: from,
                flow: of,
                upto,
            } = &recorded.observation
            else {
                return false;
            };
            let open = (seat.from..seat.closed.unwrap_or(seat.until)).contains(&index);
            let after = put.iter().any(|put| put.index < index);
            let fits = (inbox, from, of) == (seat.inbox, origin, flow);
            fits && open && after && (if ordered { upto >= seq } else { upto == end })
        });
        given_up || taken
    }

    /// Whether the sender was told that this node lost it.
    fn is_lost(self, process: ProcessId, flow: FlowId, node: NodeId, seq: u64) -> bool {
        self.of(process).any(|(_, recorded)| {
            matches!(
                &recorded.observation,
                Observation::Told(
                    Event::Lost { flow: of, node: who, upto, .. }
                    | Event::Evicted { flow: of, node: who, upto, .. },
                ) if (*of, *who) == (flow, node) && upto.0 >= seq
            )
        })
    }

    /// The sender hears something of what it sent up to here.
    pub(super) fn hears_of_sent(
        self,
        process: ProcessId,
        flow: FlowId,
        upto: u64,
    ) -> BTreeSet<Promise> {
        let sent = self.last_sent_by(process, flow);
        if_broken(sent.is_none_or(|last| upto > last), "receipts")
    }

    fn settled(self, process: ProcessId, flow: FlowId) -> u64 {
        let told = self.of(process).filter_map(|(_, recorded)| match recorded {
            Recorded {
                observation: Observation::Told(Event::Settled { flow: of, upto }),
                ..
            } if *of == flow => Some(upto.0),
            _ => None,
        });
        told.max().unwrap_or(0)
    }

    /// Flows of which the sender never heard that they are settled.
    pub(super) fn unsettled(self) -> BTreeSet<Promise> {
        let mut sent = self.sent();
        let stuck = sent.any(|sent| {
            let up = self.present(sent.process).goes == Goes::On;
            up && self.settled(sent.process, sent.sending.flow) < sent.sending.last.0
        });
        if_broken(stuck, "liveness")
    }

    /// Messages that somebody who should have them does not have.
    pub(super) fn undelivered(self) -> BTreeSet<Promise> {
        let seats = self.seats();
        let mut broken = BTreeSet::new();
        for sent in self.sent() {
            let flow = sent.sending.flow;
            let role = self.role_of(sent.origin, flow);
            let find = |h| seats.iter().rev().find(|seat| seat.is(h, &role));
            let members: Vec<&Seat> = sent.sending.holders.iter().filter_map(find).collect();
            let stays = |node: NodeId, epoch: Epoch| self.is_correct(node, epoch, sent.at);
            let asked = |seat: &&Seat, seq| self.is_past(seat, sent.origin, flow, seq);
            for seq in sent.positions() {
                let others = seats.iter().filter(|seat| asked(seat, seq));
                let all: Vec<&Seat> = members.iter().copied().chain(others).collect();
                for seat in all {
                    if !seat.is_open() || !stays(seat.node, seat.epoch) {
                        continue;
                    }
                    let has = |seat: &Seat| self.was_delivered(seat, sent.origin, flow, seq);
                    if !has(seat) {
                        let missed = self.missed(&sent, seat, seq, &members);
                        broken.extend(self.excuse(&sent, seq, missed));
                    }
                }
            }
        }
        broken
    }

    /// What became of a message that did not come to one to whom it is due.
    fn missed(self, sent: &Sent<'_>, seat: &Seat, seq: u64, members: &[&Seat]) -> Missed {
        let (origin, flow) = (sent.origin, sent.sending.flow);
        let stays = |node: NodeId, epoch: Epoch| self.is_correct(node, epoch, sent.at);
        let put = self.put_into(seat, origin, flow);
        let given_up: Vec<&Put> = put.iter().filter(|put| !put.came()).collect();
        let told = |why| {
            let mut told = given_up.iter().filter(|put| why == put.why);
            told.any(|put| put.positions.contains(&seq))
        };
        let others = || {
            let has = |other: &&&Seat| self.was_delivered(other, origin, flow, seq);
            members.iter().filter(has)
        };
        let of_the_past = self.is_past(seat, origin, flow, seq);
        let gapped = told(Why::GivenUp) || told(Why::Superseded);
        let slow = gapped && self.was_evicted(seat, origin, flow, seq);
        let ends_with_gap = put.last().is_some_and(|put| put.why == Why::GivenUp);
        Missed {
            untold: self.is_untold(members, seat, sent, seq),
            gapped,
            by_any: others().next().is_some(),
            by_staying: others().any(|o| stays(o.node, o.epoch)),
            slow: slow || told(Why::Superseded),
            alone: of_the_past || self.lagged(seat, origin, flow, seq),
            silent: !gapped && !ends_with_gap,
        }
    }

    pub(super) fn is_ordered(self, origin: Origin, flow: FlowId) -> bool {
        let flow = self.flow(origin, flow);
        flow.first()
            .is_none_or(|first| first.sending.mode.order != Order::Unordered)
    }

    /// How many of those to whom a batch was sent do not stay.
    fn failures(self, sent: &Sent<'_>) -> usize {
        let holders = sent.sending.holders.iter();
        holders
            .filter(|h| !self.is_correct(h.node, h.epoch, sent.at))
            .count()
    }

    /// How many were to hold what is sent in this flow.
    fn k_safe(self, sent: &Sent<'_>) -> usize {
        let flow = self.flow(sent.origin, sent.sending.flow);
        flow.first()
            .map_or(1, |first| first.sending.mode.k_safe.into())
    }

    /// Whether several were to hold a batch, and fewer stay that hold the role.
    fn is_short(self, sent: &Sent<'_>) -> bool {
        let k = self.k_safe(sent);
        let seats = self.seats();
        let dropped = |holder: &Holder| {
            let mut held = seats
                .iter()
                .filter(|seat| seat.is(holder, &sent.sending.role));
            held.any(|seat| seat.dropped)
        };
        let holders = sent.sending.holders.iter();
        let stay = holders.filter(|h| self.is_correct(h.node, h.epoch, sent.at) && !dropped(h));
        k > 1 && stay.count() < k
    }

    /// Whether the sender was told, in the life in which it sent it, that enough members hold a message.
    fn was_stable(self, sent: &Sent<'_>, seq: u64) -> bool {
        let flow = sent.sending.flow;
        let told = self.of(sent.process).filter_map(|(index, recorded)| {
            let Observation::Told(event) = &recorded.observation else {
                return None;
            };
            let life = History(&self.0[..index]).present(sent.process);
            let then = (life.node, life.epoch) == (sent.origin.node, sent.origin.epoch);
            then.then_some(event)
        });
        let told: Vec<&Event> = told.collect();
        let stable = |event: &&&Event| matches!(event, Event::Stable { flow: of, upto } if *of == flow && upto.0 >= seq);
        let unstable = |event: &&&Event| {
            matches!(event, Event::Unstable { flow: of, first, upto }
                if *of == flow && (first.0..=upto.0).contains(&seq))
        };
        told.iter().any(|event| stable(&event)) && !told.iter().any(|event| unstable(&event))
    }

    /// Which promise is broken by it that a message did not come to one who stays.
    fn excuse(self, sent: &Sent<'_>, seq: u64, missed: Missed) -> Option<Promise> {
        let Origin { node, epoch } = sent.origin;
        let goes = self.life(node, epoch)?.goes;
        let doubted = self.was_declared_down(node, epoch, sent.at);
        if missed.slow {
            return None;
        }
        let how = self.flow(sent.origin, sent.sending.flow);
        let mode = how.first()?.sending.mode;
        let short = missed.gapped && self.is_short(sent);
        let k = self.k_safe(sent);
        let uniform = k > 1 && self.failures(sent) < k;
        match goes {
            Goes::On if !doubted && !short => Some("validity"),
            Goes::Left { drained: true } if !doubted && !short => Some("drain"),
            _ if mode.dissemination == Dissemination::BestEffort => None,
            // What was kept for one member alone is lost with the sender, and only others that tell of it can say so.
            _ if missed.alone
                && !(missed.silent && mode.dissemination == Dissemination::Digest) =>
            {
                None
            }
            _ if uniform && self.was_stable(sent, seq) => Some("stability"),
            _ if uniform && missed.by_any => Some("uniform agreement"),
            _ if missed.by_staying => Some("agreement"),
            _ => missed.untold.then_some("once or Gap"),
        }
    }

    /// Whether another member that stays was told that a message is lost, and this one was not.
    fn is_untold(self, members: &[&Seat], seat: &Seat, sent: &Sent<'_>, seq: u64) -> bool {
        let told = |seat: &Seat| {
            let put = self.put_into(seat, sent.origin, sent.sending.flow);
            put.iter()
                .any(|put| !put.came() && put.positions.contains(&seq))
        };
        let (of, flow) = (sent.origin, sent.sending.flow);
        let slow =
            |seat: &Seat| self.was_evicted(seat, of, flow, seq) || self.lagged(seat, of, flow, seq);
        let origin = self.life(sent.origin.node, sent.origin.epoch);
        let gone =
            origin.is_some_and(|life| matches!(life.goes, Goes::Crashed | Goes::Left { .. }));
        let simple = self.k_safe(sent) <= 1;
        let stays = |other: &Seat| self.is_correct(other.node, other.epoch, sent.at);
        let told_another = || {
            let mut others = members.iter();
            others.any(|other| stays(other) && told(other) && !slow(other))
        };
        gone && simple && !told(seat) && told_another()
    }
}

/// What became of a message that did not come to one who stays.
struct Missed {
    /// Whether its inbox was told.
    gapped: bool,
    /// Whether it was not, while another one was that stays.
    untold: bool,
    /// Whether it came to another one, or to one who stays.
    by_any: bool,
    by_staying: bool,
    /// Whether it was told that it was too slow for it.
    slow: bool,
    /// Whether it was kept for this one alone, which lagged or came later.
    alone: bool,
    /// Whether it was not told that anything is lost since something came.
    silent: bool,
}

/// Something that was put into an inbox.
pub(super) struct Put {
    index: usize,
    pub(super) positions: RangeInclusive<u64>,
    pub(super) why: Why,
}

/// Why something was put into an inbox.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The messages came.
    Came,
    /// They will not come.
    GivenUp,
    /// Later ones came in their place.
    Superseded,
}

impl Put {
    fn came(&self) -> bool {
        self.why == Why::Came
    }
}
