//! Members that a flow goes on without: nobody who is in time, nothing lost in silence, and never for good.

use std::time::Duration;

use rolecast_membership::{NodeId, Time};
use rolecast_protocol::{FlowId, InboxId, Lagged, Seq};

use super::super::lives::{Lives, ProcessId, SeatId};
use super::super::violation::{Broken, Violation};
use super::keep_last::is_superseded;
use super::{Flow, Flows};
use crate::clock::Clock;

/// A member that was evicted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evicted {
    seat: SeatId,
    /// It had acknowledged everything up to here.
    after: u64,
    /// The last message that was sent to it.
    upto: u64,
    /// Whether it was taken back.
    back: bool,
}

/// The clock of a process, and when it was last set, or the process last stood still, by that clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnTime {
    pub(crate) clock: Clock,
    pub(crate) resumed: Time,
}

impl Flows {
    /// A process has opened a flow that goes on without members that keep its window shut for so long.
    pub(crate) fn evicts(&mut self, process: ProcessId, flow: FlowId, after: Duration) {
        self.patience.insert((process, flow), after);
    }

    /// A flow has no room for what its application wants to send.
    pub(crate) fn refused(
        &mut self,
        (now, own): (Time, OwnTime),
        process: ProcessId,
        flow: FlowId,
    ) {
        let name = (process, flow);
        if self.patience.contains_key(&name) {
            self.shut.entry(name).or_insert(own.clock.at(now));
        }
    }

    /// A flow has room, in time.
    pub(crate) fn reopened(
        &mut self,
        (now, own): (Time, OwnTime),
        process: ProcessId,
        flow: FlowId,
    ) -> Result<(), Broken> {
        let late = self.waits_for_too_long((now, own), (process, flow));
        self.shut.remove(&(process, flow));
        late.map_or(Ok(()), Err)
    }

    /// A flow of this process that has had no room for too long.
    pub(crate) fn held_up(
        &self,
        (now, own): (Time, OwnTime),
        process: ProcessId,
    ) -> Option<Broken> {
        let (first, last) = ((process, FlowId(0)), (process, FlowId(u32::MAX)));
        let mut shut = self.shut.range(first..=last);
        shut.find_map(|(&name, _)| self.waits_for_too_long((now, own), name))
    }

    /// Whether a flow has had no room for longer than it is to have none.
    /// Who stood still, or whose clock was set, hears the others first.
    fn waits_for_too_long(
        &self,
        (now, own): (Time, OwnTime),
        name: (ProcessId, FlowId),
    ) -> Option<Broken> {
        let (&since, &patience) = (self.shut.get(&name)?, self.patience.get(&name)?);
        let waited = own.clock.at(now).since(since);
        let late = own.resumed < since && waited > patience + EVICTED_IN;
        late.then_some(Broken::HeldUp {
            flow: name.1.0,
            patience,
            waited,
        })
    }

    /// The sender goes on without a member.
    pub(crate) fn evicted(
        &mut self,
        lives: &Lives,
        (now, own): (Time, OwnTime),
        (process, id): (ProcessId, FlowId),
        node: NodeId,
        (after, upto): (Seq, Seq),
    ) -> Result<(), Broken> {
        let patience = self.patience.get(&(process, id)).copied();
        let calm = self.calm;
        let name = (lives.life_of(process), id);
        let wrong = |what| Broken::EvictedWrongly {
            node: node.to_string(),
            flow: id.0,
            what,
        };
        let patience = patience.ok_or_else(|| wrong("the flow evicts nobody"))?;
        let flow = self.flows.get(&name);
        let Some((flow, seat)) = flow.and_then(|flow| Some((flow, flow.seat_of(lives, node)?)))
        else {
            let may = self.leave_out_early(lives, (process, id), node, (after, upto));
            return may.then_some(()).ok_or_else(|| wrong("it is no member"));
        };
        let full = self.may_be_full(lives, process, node);
        let mut before = flow.evicted.iter().filter(|evicted| evicted.seat == seat);
        if before.any(|evicted| !evicted.back) {
            return Err(wrong("it was before, and was not taken back"));
        }
        let holds_large = self.holds_large(flow, seat);
        let full = full || holds_large;
        let first = flow.due(seat, after.0 + 1, upto.0).next();
        if first.is_none() && !full && self.on_the_way(lives, flow, seat, (after, upto)) == 0 {
            return Err(wrong("nothing is due to it"));
        }
        let sent_at = first.map(|first| own.clock.at(flow.sent_at(first)));
        let early = |sent_at| own.clock.at(now).since(sent_at) < patience;
        // Before its clock was set, it showed other times than it would have.
        if !holds_large && sent_at.is_some_and(|sent_at| own.resumed < sent_at && early(sent_at)) {
            return Err(wrong("it had more time"));
        }
        if calm && !full && flow.had_all_long_before(seat, now) {
            return Err(wrong("it has taken everything"));
        }
        if after < upto {
            self.lost(process, id, node, (after, upto))?;
        }
        let flow = self.flows.get_mut(&name).expect("it was just found");
        if !holds_large {
            self.opening.insert((process, id));
        }
        flow.evicted.push(Evicted {
            seat,
            after: after.0,
            upto: upto.0,
            back: false,
        });
        Ok(())
    }

    /// Whether a member has not taken all of a large payload that was announced in a flow like this one and has come to its end: it keeps others from beginning.
    fn holds_large(&self, flow: &Flow, seat: SeatId) -> bool {
        let larges = self.flows.values().filter(|large| large.is_ending());
        let mut like = larges.filter(|l| (l.origin, &l.role) == (flow.origin, &flow.role));
        like.any(|large| {
            let last = large.due(seat, 1, large.last).last();
            let cursor = large.cursors.get(&seat);
            let consumed = cursor.map_or(0, |cursor| cursor.consumed);
            last.is_some_and(|last| consumed < last)
        })
    }

    /// The engine has said all it had to say: whoever was evicted holds no window any more.
    pub(crate) fn at_rest(&mut self, process: ProcessId) -> Result<(), Broken> {
        let first = (process, FlowId(0));
        let last = (process, FlowId(u32::MAX));
        let opening: Vec<_> = self.opening.range(first..=last).copied().collect();
        for name in opening {
            self.opening.remove(&name);
            let used = self.receipts.get(&name).map_or(0, |r| r.bytes_on_the_way());
            if let Some(limit) = self.window_bytes
                && used >= limit
            {
                let what = "bytes of a flow on the way after its slow members were evicted";
                return Err(Broken::Bound { what, used, limit });
            }
        }
        Ok(())
    }

    /// The sender takes a member back.
    pub(crate) fn readmitted(
        &mut self,
        lives: &Lives,
        (process, id): (ProcessId, FlowId),
        node: NodeId,
        start: Seq,
    ) -> Result<(), Broken> {
        let name = (lives.life_of(process), id);
        if self.caught_up(lives, (process, id), node, start) || self.take_back_early(name, node) {
            return Ok(());
        }
        let flow = self.flows.get_mut(&name);
        let evicted = flow.and_then(|flow| {
            let mut evicted = flow.evicted.iter_mut().rev();
            evicted.find(|e| lives.life(lives.seat(e.seat).life).identity.id == node)
        });
        match evicted {
            Some(evicted) if !evicted.back => {
                evicted.back = true;
                Ok(())
            }
            _ => Err(Broken::EvictedWrongly {
                node: node.to_string(),
                flow: id.0,
                what: "it was taken back, and was a member",
            }),
        }
    }

    /// An inbox was told that it was too slow for some messages.
    pub(crate) fn lag(
        &mut self,
        lives: &mut Lives,
        process: ProcessId,
        inbox: InboxId,
        lagged: Lagged,
    ) -> Result<(), Broken> {
        let (seat, _) = lives.inbox(process, inbox, || format!("{lagged:?}"))?;
        let wrong = Broken::LaggedWrong { lagged };
        let Some(life) = lives.find(lagged.origin) else {
            return Err(wrong);
        };
        let (first, last) = (lagged.first.0, lagged.last.0);
        let name = (life, lagged.flow);
        let early = self.was_left_out_early(name, lives.node_of(process), first);
        let Some(flow) = self.flows.get_mut(&name) else {
            return Err(wrong);
        };
        if is_superseded(lagged) {
            Flows::check_superseded(flow, seat, lagged)?;
            flow.give_up(lives, seat, (first, last))?;
            let cursor = flow.cursors.entry(seat).or_default();
            cursor.superseded.push((first, last));
            return Ok(());
        }
        let told = flow.was_told_of(seat, first, last) || first > last || last > flow.last;
        let mut evictions = flow.evicted.iter().filter(|e| e.seat == seat);
        let justified = (early || evictions.any(|e| e.after < first))
            && flow
                .due(seat, first, last)
                .all(|seq| flow.was_evicted(seat, seq));
        if told || !justified {
            return Err(wrong);
        }
        flow.give_up(lives, seat, (first, last))
    }

    /// A member that was evicted, is there and in reach, and was never taken back.
    pub(crate) fn never_readmitted(&self, lives: &Lives, now: Time) -> Option<Violation> {
        let mut flows = self.flows.values();
        flows.find_map(|flow| {
            // Who was left out of a large payload is so for good.
            let out = flow.evicted.iter().filter(|_| flow.large.is_none());
            let evicted = out.filter(|evicted| !evicted.back);
            let evicted = evicted.map(|evicted| (evicted.seat, evicted.upto));
            let lags = flow.lags.iter().filter(|lag| lag.back.is_none());
            let mut out = evicted.chain(lags.map(|lag| (lag.seat, lag.upto)));
            let (seat, upto) = out.find(|&(seat, _)| {
                let seat = lives.seat(seat);
                let sound = |life| lives.is_due(life, Time::ZERO);
                seat.open && sound(seat.life) && sound(flow.origin)
            })?;
            Some(Violation {
                at: now,
                node: lives.name_of_seat(seat),
                broken: Broken::NeverReadmitted {
                    message: flow.name(lives, upto),
                },
            })
        })
    }
}

impl Flow {
    /// Whether a seat was evicted before it had acknowledged a message that was due to it.
    pub(super) fn was_evicted(&self, seat: SeatId, seq: u64) -> bool {
        let mut evicted = self.evicted.iter().filter(|e| e.seat == seat);
        evicted.any(|e| e.after < seq && seq <= e.upto)
    }

    /// Whether a seat was ever evicted.
    pub(super) fn was_ever_evicted(&self, seat: SeatId) -> bool {
        self.evicted.iter().any(|e| e.seat == seat)
    }

    /// Something was put into an inbox that was evicted before: what was sent in between it has been told not to get.
    pub(super) fn check_lag(&self, lives: &Lives, seat: SeatId, seq: u64) -> Result<(), Broken> {
        for evicted in self.evicted.iter().filter(|e| e.seat == seat) {
            let next = evicted.upto + 1;
            let meant = self.due(seat, next, next).next().is_some();
            if next < seq && !meant && !self.was_given_up(seat, next) {
                return Err(Broken::LagUntold {
                    message: self.name(lives, seq),
                    missing: next,
                });
            }
        }
        Ok(())
    }

    /// Whether a seat had taken everything that is due to it long before this moment.
    fn had_all_long_before(&self, seat: SeatId, now: Time) -> bool {
        let last = self.due(seat, 1, self.last).last();
        let cursor = self.cursors.get(&seat);
        cursor.zip(last).is_some_and(|(cursor, last)| {
            self.is_ordered()
                && cursor.consumed >= last
                && now.since(cursor.consumed_at) > ACKNOWLEDGED_IN
        })
    }
}

/// Who is evicted is so about when its time is up.
const EVICTED_IN: Duration = Duration::from_millis(300);
/// Where nothing is broken, the sender knows after so long what was taken.
const ACKNOWLEDGED_IN: Duration = Duration::from_secs(1);
