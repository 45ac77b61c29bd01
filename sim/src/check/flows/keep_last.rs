//! Flows that keep the last message of each key for slow members: they never wait, leave out nothing but what a later message supersedes, and say so at both ends.

use bytes::Bytes;
use rolecast_membership::NodeId;
use rolecast_protocol::{FlowId, LagReason, Lagged, Seq};

use super::super::lives::{Lives, ProcessId, SeatId};
use super::super::violation::Broken;
use super::{Flow, FlowName, Flows};

/// A member that lags.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lag {
    pub(super) seat: SeatId,
    /// It had acknowledged everything up to here.
    after: u64,
    /// The last message that was sent to it.
    pub(super) upto: u64,
    /// From which message on it was sent everything again.
    pub(super) back: Option<u64>,
}

impl Flows {
    /// A process has opened a flow that keeps the last message of each key for slow members.
    pub(crate) fn keeps_last(&mut self, process: ProcessId, flow: FlowId) {
        self.keeping.insert((process, flow));
    }

    /// The sender goes on without a member, and keeps for it what is the last of its key.
    pub(crate) fn lags(
        &mut self,
        lives: &Lives,
        (process, id): (ProcessId, FlowId),
        node: NodeId,
        (after, upto): (Seq, Seq),
    ) -> Result<(), Broken> {
        let keeps = self.keeping.contains(&(process, id));
        let window = self.window_bytes.unwrap_or(0);
        let wrong = |what| Broken::EvictedWrongly {
            node: node.to_string(),
            flow: id.0,
            what,
        };
        if !keeps {
            return Err(wrong("everything is kept for it"));
        }
        let name = (lives.life_of(process), id);
        let flow = self.flows.get(&name);
        let Some(seat) = flow.and_then(|flow| flow.seat_of(lives, node)) else {
            let may = self.leave_out_early(lives, (process, id), node, (after, upto));
            return may.then_some(()).ok_or_else(|| wrong("it is no member"));
        };
        let shut = flow.map(|flow| self.on_the_way(lives, flow, seat, (after, upto)));
        if shut < Some(window) && !self.may_be_full(lives, process, node) {
            return Err(wrong("its window is open"));
        }
        let flow = self.flows.get_mut(&name).expect("it was just found");
        flow.lags.push(Lag {
            seat,
            after: after.0,
            upto: upto.0,
            back: None,
        });
        Ok(())
    }

    /// Something was sent: those that lagged before anything was meant for them are members from here on.
    pub(super) fn lag_from_the_first(&mut self, lives: &Lives, name: FlowName) {
        for (node, after) in self.left_out_early(name) {
            let flow = self.flows.get_mut(&name).expect("something was sent");
            let Some(seat) = flow.seat_of(lives, node) else {
                continue;
            };
            flow.lags.push(Lag {
                seat,
                after,
                upto: after,
                back: None,
            });
            self.take_back_early(name, node);
        }
    }

    /// The sender sends everything to a member again that lagged; says whether there was one.
    pub(super) fn caught_up(
        &mut self,
        lives: &Lives,
        (process, id): (ProcessId, FlowId),
        node: NodeId,
        start: Seq,
    ) -> bool {
        let flow = self.flows.get_mut(&(lives.life_of(process), id));
        let lag = flow.and_then(|flow| {
            let mut lags = flow.lags.iter_mut().rev();
            lags.find(|lag| lives.life(lives.seat(lag.seat).life).identity.id == node)
        });
        match lag {
            Some(lag) if lag.back.is_none() => {
                lag.back = Some(start.0);
                true
            }
            _ => false,
        }
    }

    /// The sender was told that a member does not get these messages.
    pub(crate) fn superseded(
        &mut self,
        lives: &Lives,
        (process, id): (ProcessId, FlowId),
        node: NodeId,
        (first, last): (Seq, Seq),
    ) -> Result<(), Broken> {
        let wrong = |what| Broken::EvictedWrongly {
            node: node.to_string(),
            flow: id.0,
            what,
        };
        let flow = self.flows.get_mut(&(lives.life_of(process), id));
        let flow = flow.ok_or_else(|| wrong("nothing was sent"))?;
        let lags = |seat: &SeatId| flow.lags.iter().any(|lag| lag.seat == *seat);
        let seat = flow.seat_of(lives, node).filter(lags);
        let seat = seat.ok_or_else(|| wrong("something is left out for one that does not lag"))?;
        flow.left_out.push((seat, first.0, last.0));
        Ok(())
    }

    /// An inbox was told that later messages have the same keys as these, and that it does not get these.
    pub(super) fn check_superseded(
        flow: &Flow,
        seat: SeatId,
        lagged: Lagged,
    ) -> Result<(), Broken> {
        let (first, last) = (lagged.first.0, lagged.last.0);
        let wrong = Err(Broken::LaggedWrong { lagged });
        let told = flow.was_told_of(seat, first, last) || first > last || last > flow.last;
        let mut lags = flow.lags.iter().filter(|lag| lag.seat == seat);
        if told || !lags.any(|lag| lag.upto < first) {
            return wrong;
        }
        let due: Vec<u64> = flow.due(seat, first, last).collect();
        if !due.iter().all(|&seq| flow.has_successor(seq)) {
            return wrong;
        }
        if !due.iter().all(|&seq| flow.was_left_out(seat, seq)) {
            return Err(Broken::SupersededUntold { lagged });
        }
        Ok(())
    }
}

impl Flow {
    /// The holding of a node that was last meant.
    pub(super) fn seat_of(&self, lives: &Lives, node: NodeId) -> Option<SeatId> {
        let members = self.sent.last()?.members.iter();
        let mut members = members.copied();
        members.find(|&seat| lives.life(lives.seat(seat).life).identity.id == node)
    }

    fn key_of(&self, seq: u64) -> Option<&Bytes> {
        let sent = &self.sent[self.batch_of(seq)?];
        sent.keys.get((seq - sent.first) as usize)
    }

    /// Whether a later message was sent with the same key.
    fn has_successor(&self, seq: u64) -> bool {
        let key = self.key_of(seq);
        (seq + 1..=self.last)
            .any(|later| self.key_of(later).unwrap_or(&NO_KEY) == key.unwrap_or(&NO_KEY))
    }

    /// Whether the sender was told that a seat does not get a message.
    pub(super) fn was_left_out(&self, seat: SeatId, seq: u64) -> bool {
        let mut left_out = self.left_out.iter();
        left_out.any(|&(of, first, last)| of == seat && (first..=last).contains(&seq))
    }

    /// Whether an inbox was told that a message is superseded.
    pub(super) fn was_superseded(&self, seat: SeatId, seq: u64) -> bool {
        let cursor = self.cursors.get(&seat);
        let superseded = cursor.map_or(&[][..], |cursor| &cursor.superseded);
        superseded.iter().any(|&(a, b)| (a..=b).contains(&seq))
    }

    /// Whether a seat lagged when a message was on its way to it, or was sent to the others.
    pub(super) fn lagged(&self, seat: SeatId, seq: u64) -> bool {
        let mut lags = self.lags.iter().filter(|lag| lag.seat == seat);
        lags.any(|lag| lag.after < seq && lag.back.is_none_or(|back| seq < back))
    }

    /// Whether the last thing that a seat was told of the flow is that something is lost.
    pub(super) fn ends_with_gap(&self, seat: SeatId) -> bool {
        self.cursors.get(&seat).is_some_and(|cursor| {
            let ends = |&(_, last): &(u64, u64)| last == cursor.passed;
            cursor.gaps.last().is_some_and(ends) && !cursor.superseded.last().is_some_and(ends)
        })
    }
}

/// Whether it says that later messages came in the place of these.
pub(super) fn is_superseded(lagged: Lagged) -> bool {
    lagged.reason == LagReason::Superseded
}

static NO_KEY: Bytes = Bytes::new();
