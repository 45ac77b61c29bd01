//! Causal order: what a sender had been given before comes before what it sends.

use rolecast_protocol::Order;

use super::super::lives::{LifeId, Lives, ProcessId, SeatId};
use super::super::violation::Broken;
use super::{FlowName, Flows, Sending};

impl Flows {
    /// How far a process had been given the other causal flows to a role before it sends.
    pub(super) fn given_before(
        &self,
        lives: &Lives,
        process: ProcessId,
        name: FlowName,
        sending: &Sending,
    ) -> Vec<(FlowName, u64)> {
        let seat = lives.seat_of(process, &sending.role);
        let causal = self.flows.iter().filter(|(other, flow)| {
            let same = flow.role == sending.role && flow.mode.order == Order::Causal;
            same && **other != name
        });
        let given = causal.map(|(&other, flow)| {
            let cursor = seat.and_then(|seat| flow.cursors.get(&seat));
            let upto = cursor.map_or(0, |cursor| cursor.passed);
            (other, upto)
        });
        given.filter(|&(_, upto)| upto > 0).collect()
    }

    /// Whether something comes too early in causal order.
    /// What depended on messages that were given up depends on nothing that anybody here could know.
    pub(super) fn untimely(
        &self,
        lives: &Lives,
        seat: SeatId,
        name: FlowName,
        seq: u64,
    ) -> Option<Broken> {
        let flow = &self.flows[&name];
        let gapped = flow.cursors.get(&seat).is_some_and(|c| !c.gaps.is_empty());
        if flow.mode.order != Order::Causal || gapped {
            return None;
        }
        let sent = &flow.sent[flow.batch_of(seq)?];
        sent.after.iter().find_map(|&(before, upto)| {
            let before = &self.flows[&before];
            let missing = before.missing(seat, 1, upto).next()?;
            // Who was taken for dead while it lived is heard late or never, and nobody waits for it.
            let involved = [before.origin, flow.origin, lives.seat(seat).life];
            let doubted = |life: LifeId| lives.life(life).declared_down.is_some();
            if involved.into_iter().any(doubted) {
                return None;
            }
            Some(Broken::Causality {
                message: flow.name(lives, seq),
                missing: before.name(lives, missing),
            })
        })
    }
}
