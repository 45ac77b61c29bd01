//! What is missing of flows whose origin is dead: waiting for it, giving it up, and forgetting the flow in the end.

use bytes::Bytes;
use rolecast_membership::{Identity, NodeId, Time};

use super::{Engine, TICK};
use crate::canary::planted;
use crate::flow_in::{FlowIn, KnownDestSet};
use crate::session::Cargo;
use crate::spread::{self, ROUND_MAX};
use crate::wire::{DataHead, DestMember, FlowKey, SEQ_MAX};

/// Why messages are given up.
#[derive(Clone, Copy, Debug)]
enum Why {
    /// Nobody who is alive has them, as far as this node could find out.
    NobodyHasIt,
    /// Somebody may have them, and there is no time left to wait.
    OutOfTime,
}

/// A destination set, and those members of it whom something concerns, with the last message that is meant for each.
type Concerned<'a> = (&'a KnownDestSet, Vec<(&'a DestMember, u64)>);

impl Engine {
    /// Whether there is no time left to wait for what is missing of a dead origin's flow.
    fn is_out_of_time(&self, now: Time, flow: &FlowIn) -> bool {
        let since = flow.dead_since;
        since.is_none_or(|since| since + self.limits.forget_after <= now + 2 * TICK)
    }

    /// Whether a live node may yet pass on what is missing of a dead origin's flow, and there is time to wait for it.
    pub(super) fn may_come_yet(&self, now: Time, flow: &FlowIn) -> bool {
        !self.is_out_of_time(now, flow) && self.may_come(now, flow)
    }

    /// Whether a live node may yet pass on what is missing of a dead origin's flow.
    fn may_come(&self, now: Time, flow: &FlowIn) -> bool {
        if planted!(GivenUpTooSoon) {
            return false;
        }
        if flow.is_kept_by_origin() {
            return false;
        }
        if flow.is_given_up_by_others() {
            // They asked whoever they could, and who comes back from the dead with it comes too late for them.
            let concerned = self.concerned_by(flow);
            let mut members = concerned.into_iter().flat_map(|(_, members)| members);
            return members
                .any(|(member, _)| self.is_alive(member) && flow.is_told_by_member(member));
        }
        // The origin's next life has nothing of this one.
        let origin = flow.key.origin;
        let mut alive = self.membership.members().map(|alive| alive.record.identity);
        let is_awaited = alive.any(|Identity { id, .. }| {
            // Who was meant by the last messages is not always known here, so that it may be anybody.
            // Over others it may be in reach and say what it has too late.
            let out_of_reach = self.peers.direct(id).is_none();
            // Whoever says that it has them is waited for: over a link that is up, what one asks for may still take long.
            id != origin && (out_of_reach || flow.is_told_by(id))
        });
        // Whoever has just come, alive again or for the first time, has not had the time to say what it has; and whoever was lost may have passed it on just before, to somebody who has not had that time.
        let since = |at: Time| now < at + self.limits.gap_after;
        is_awaited || self.peers.changed_at(origin).is_some_and(since)
    }

    /// The other members whom missing messages of a flow concern, and the destination set that says so.
    /// If the origin went on in another life, that is the one in which it says what it owes: of what it sent last, nothing else may have come.
    fn concerned_by<'a>(&'a self, flow: &'a FlowIn) -> Option<Concerned<'a>> {
        let (key, upto) = (flow.key, flow.addressed_upto());
        let sets = self.flows_in.range(key..);
        let sets = sets.take_while(|(other, _)| other.origin == key.origin);
        let sets = sets.filter(|(other, _)| other.flow == key.flow);
        let sets = sets.filter_map(|(_, other)| other.newest_dest_set());
        let known = sets.filter(|known| known.set.born <= key.epoch).last()?;
        let meant_upto = |member: &DestMember| {
            let mut owed = member.owed.iter();
            match known.set.key == key {
                true => Some(upto).filter(|&upto| member.start <= upto),
                false => owed.find(|owed| owed.epoch == key.epoch).map(|o| o.last),
            }
        };
        let others = known.set.members.iter();
        let others = others.filter(|m| m.node != self.me.id && m.node != key.origin);
        let concerned = others.filter_map(|member| Some((member, meant_upto(member)?)));
        Some((known, concerned.collect()))
    }

    /// Whether the life that is meant goes on.
    fn is_alive(&self, member: &DestMember) -> bool {
        let known = self.membership.member(member.node);
        known.is_some_and(|known| known.record.identity.epoch == member.epoch)
    }

    /// Gives up what has been missing for too long.
    pub(super) fn give_up_missing(&mut self, now: Time) {
        let missing = self.flows_in.values();
        let missing = missing.filter(|flow| flow.missing_for(now).is_some());
        let keys: Vec<FlowKey> = missing.map(|flow| flow.key).collect();
        for key in keys {
            self.give_up_if_due(now, key);
        }
    }

    /// Gives up what has been missing of a flow for too long; says whether there was something.
    fn give_up_if_due(&mut self, now: Time, key: FlowKey) -> bool {
        let gap_after = self.limits.gap_after;
        let due = |flow: &&FlowIn| flow.gives_up_at(gap_after).is_some_and(|at| at <= now);
        // Of a large payload, what follows a missing part is of no use.
        let flow = self.flows_in.get(&key).filter(|flow| flow.large.is_none());
        let Some(flow) = flow.filter(due) else {
            return false;
        };
        let may_come = self.may_come(now, flow);
        if may_come && !self.is_out_of_time(now, flow) {
            return false;
        }
        // What the origin goes on without sending to this member is nothing that nobody has.
        let left_out = flow.dead_since.is_none() || flow.is_kept_by_origin();
        let why = match may_come || left_out {
            true => Why::OutOfTime,
            false => Why::NobodyHasIt,
        };
        self.give_up_first(now, key, why)
    }

    /// Gives up the first run of missing messages of a flow and delivers what waited behind it; says whether there was one.
    fn give_up_first(&mut self, now: Time, key: FlowKey, why: Why) -> bool {
        let Some(flow) = self.flows_in.get_mut(&key) else {
            return false;
        };
        let upto_max = match why {
            Why::NobodyHasIt => flow.gives_up_to(),
            Why::OutOfTime => u64::MAX,
        };
        let missed = flow.give_up(now, upto_max);
        self.report_missed(key, missed);
        if let Some((_, last)) = missed {
            self.tell_of_missed(key, last, why);
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
    fn tell_of_missed(&mut self, key: FlowKey, upto: u64, why: Why) {
        let Some(flow) = self.flows_in.get(&key) else {
            return;
        };
        let tells = spread::of(flow.mode).agrees();
        let Some((known, members)) = self.concerned_by(flow).filter(|_| tells) else {
            return;
        };
        let told = |m: &DestMember| flow.retained.told_by(m.node, m.epoch);
        let unaware = members.into_iter().map(|(m, meant)| (m, meant.min(upto)));
        let unaware = unaware.filter(|&(member, upto)| told(member) < upto);
        let unaware = unaware.filter(|(member, _)| self.is_alive(member));
        let unaware: Vec<_> = unaware.map(|(m, upto)| ((m.node, m.epoch), upto)).collect();
        let known = known.clone();
        let own = unaware.partition_point(|&((node, _), _)| node < self.me.id);
        let flow = self.flows_in.get_mut(&key).expect("it was just found");
        for (to, upto) in flow.retained.take_turns(own, &unaware, ROUND_MAX) {
            self.announce(to, known.set.key, known.set.version, &known.encoded);
            let word = match why {
                Why::NobodyHasIt => DataHead::GivenUp { key, upto },
                Why::OutOfTime => DataHead::Skipped {
                    count: 1,
                    flows: vec![(key, upto)],
                },
            };
            self.push(to, &word, Bytes::new(), Cargo::Plain);
        }
    }

    /// Another member has given up messages that nobody has who is alive: this node does so too, so that none of them is delivered here that is a gap there.
    /// Unless a member said that it has them: then the other one has asked too early.
    pub(super) fn on_given_up(&mut self, now: Time, node: NodeId, key: FlowKey, upto: u64) {
        let Some(flow) = self.flows_in.get_mut(&key) else {
            return;
        };
        flow.on_given_up(now, node, upto.min(SEQ_MAX));
        while self.give_up_if_due(now, key) {}
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
                while self.give_up_first(now, key, Why::OutOfTime)
                    || self.give_up_held(now, key, None)
                {
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
