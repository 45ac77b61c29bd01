//! What is missing of flows whose origin is dead: waiting for it, giving it up, and forgetting the flow in the end.

use bytes::Bytes;
use rolecast_membership::{Epoch, Identity, NodeId, Time};

use super::{Engine, TICK};
use crate::canary::planted;
use crate::flow_in::FlowIn;
use crate::session::Cargo;
use crate::spread::{self, ROUND_MAX};
use crate::wire::{DataHead, DestMember, FlowKey};

impl Engine {
    /// Whether a live member that is out of reach may hold what is missing of a dead origin's flow, and there is time to wait for it.
    pub(super) fn may_come_yet(&self, now: Time, flow: &FlowIn) -> bool {
        let forgotten_soon = flow
            .dead_since
            .is_none_or(|since| since + self.limits.forget_after <= now + 2 * TICK);
        if forgotten_soon || planted!(GivenUpTooSoon) {
            return false;
        }
        let mut alive = self.membership.members().map(|alive| alive.record.identity);
        alive.any(|Identity { id, .. }| {
            // Who was meant by the last messages is not always known here, so that it may be anybody.
            let out_of_reach = !self.peers.is_linked(id);
            // Whoever says that it has them is waited for: over a link that is up, what one asks for may still take long.
            // The origin's next life has nothing of this one.
            id != flow.key.origin && (out_of_reach || flow.is_told_by(id))
        })
    }

    /// Gives up what has been missing for too long.
    pub(super) fn give_up_missing(&mut self, now: Time) {
        let gap_after = self.limits.gap_after;
        let overdue = |flow: &FlowIn| flow.gives_up_at(gap_after).is_some_and(|at| at <= now);
        let keys: Vec<FlowKey> = self
            .flows_in
            .values()
            // Of a large payload, what follows a missing part is of no use.
            .filter(|flow| flow.large.is_none())
            .filter(|flow| overdue(flow) && !self.may_come_yet(now, flow))
            .map(|flow| flow.key)
            .collect();
        for key in keys {
            self.give_up_first(now, key);
        }
    }

    /// Gives up the first run of missing messages of a flow and delivers what waited behind it; says whether there was one.
    fn give_up_first(&mut self, now: Time, key: FlowKey) -> bool {
        let Some(flow) = self.flows_in.get_mut(&key) else {
            return false;
        };
        let missed = flow.give_up(now);
        self.report_missed(key, missed);
        if let Some((_, last)) = missed {
            self.tell_of_missed(key, last);
        }
        self.deliver_ready(now, key);
        self.follow_safety(now, key);
        self.ack_later(now, key);
        self.rejoin_if_done(key);
        missed.is_some()
    }

    /// Tells members that did not say that they are as far that messages up to here exist, which will never come.
    ///
    /// Whoever told this node of them may have died before it told the others, and they miss nothing of which they have not heard.
    /// They wait as long as this node did, and then tell others.
    fn tell_of_missed(&mut self, key: FlowKey, upto: u64) {
        let alive = |member: &DestMember| {
            let known = self.membership.member(member.node);
            known.is_some_and(|known| known.record.identity.epoch == member.epoch)
        };
        let Some(flow) = self.flows_in.get(&key) else {
            return;
        };
        let told = |m: &DestMember| flow.retained.told_by(m.node, m.epoch);
        let unaware = self
            .members_beside(key)
            .filter(|member| member.start <= upto && told(member) < upto && alive(member));
        let unaware: Vec<(NodeId, Epoch)> = unaware.map(|m| (m.node, m.epoch)).collect();
        let known = flow.newest_dest_set().cloned();
        let Some(known) = known.filter(|_| spread::of(flow.mode).agrees()) else {
            return;
        };
        let own = unaware.partition_point(|&(node, _)| node < self.me.id);
        let flow = self.flows_in.get_mut(&key).expect("it was just found");
        for to in flow.retained.take_turns(own, &unaware, ROUND_MAX) {
            self.announce(to, key, known.set.version, &known.encoded);
            let word = DataHead::Skipped {
                count: 1,
                flows: vec![(key, upto)],
            };
            self.push(to, &word, Bytes::new(), Cargo::Plain);
        }
    }

    /// Tells a flow's inbox which messages will never come.
    pub(super) fn report_missed(&mut self, key: FlowKey, missed: Option<(u64, u64)>) {
        let inbox = self.flows_in.get(&key).and_then(FlowIn::inbox);
        if let (Some((first, last)), Some(inbox)) = (missed, inbox) {
            let loss = self.loss(key, (first, last + u64::from(planted!(GapTooLong))));
            if !planted!(GapUnreported) {
                self.deliver(inbox, loss);
            }
        }
    }

    /// Forgets the flows of lives that have been over for long.
    pub(super) fn forget_dead_flows(&mut self, now: Time) {
        let mut forgotten = Vec::new();
        for flow in self.flows_in.values_mut() {
            let member = self.membership.member(flow.key.origin);
            if member.is_some_and(|member| member.record.identity.epoch == flow.key.epoch) {
                flow.dead_since = None;
                continue;
            }
            if planted!(RetainedGoesWithOrigin) {
                flow.retained.rise(flow.watermark());
            }
            if *flow.dead_since.get_or_insert(now) + self.limits.forget_after <= now {
                forgotten.push(flow.key);
            }
        }
        for key in forgotten {
            if key.flow.is_large() {
                self.cut_short(key);
            } else {
                self.let_go(now, key);
                while self.give_up_first(now, key) || self.give_up_held(now, key, None) {
                    self.let_go(now, key);
                }
            }
            if let Some(flow) = self.flows_in.remove(&key) {
                match key.flow.is_large() {
                    true => self.forgotten.insert_life(key.origin, key.epoch),
                    false => self.forgotten.insert(key, flow.watermark()),
                }
            }
            self.peers.forget_flow(key);
        }
    }
}
