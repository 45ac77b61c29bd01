//! Flows whose messages wait until enough members hold them: telling the others how far one is, and what follows from what they tell.
//!
//! A member tells the origin and up to eight others at once when it holds more or knows more to be safe, at most once a millisecond; the origin tells all members how far the flow is safe.
//! What is told and does not arrive is in the digests that everybody gives who is not through.

use std::collections::BTreeSet;

use rolecast_membership::{Epoch, Identity, Membership, NodeId, Time};

use super::Engine;
use crate::api::{Delivery, Event, FlowId, Gap, Origin, Seq};
use crate::canary::planted;
use crate::flow_in::FlowIn;
use crate::mode::Order;
use crate::safety::Safety;
use crate::spread::ROUND_MAX;
use crate::wire::{Control, DestSet, FlowDigest, FlowKey};

/// What is to be told of which flow, and when; an entry counts as long as there is something to tell.
#[derive(Debug, Default)]
pub(super) struct DueTells(BTreeSet<(Time, FlowKey)>);

impl DueTells {
    /// When something is due.
    pub(super) fn at(&self) -> Option<Time> {
        self.0.first().map(|&(at, _)| at)
    }
}

/// Whether a life of a node goes on, as far as this node knows.
fn is_alive(me: Identity, membership: &Membership, node: NodeId, epoch: Epoch) -> bool {
    let other = membership.member(node).map(|m| m.record.identity);
    let identity = if node == me.id { Some(me) } else { other };
    identity.is_some_and(|identity| identity.epoch == epoch)
}

impl Engine {
    /// Delivers what has become deliverable of a flow, and tells the others what is news.
    pub(super) fn follow_safety(&mut self, now: Time, key: FlowKey) {
        let Some(safety) = self.flows_in.get_mut(&key).and_then(|f| f.safety.as_mut()) else {
            return;
        };
        let (me, membership) = (self.me, &self.membership);
        if safety.advance(|node, epoch| is_alive(me, membership, node, epoch)) {
            self.deliver_ready(now, key);
        }
        self.tell_later(now, key);
        if self.flows_in[&key].mode.order == Order::Causal {
            self.follow_causality(now, key);
        }
    }

    /// Delivers to this node what has become deliverable of its own flow, and tells the members and the program what is news.
    pub(super) fn follow_own_safety(&mut self, now: Time, id: FlowId) {
        let (me, membership) = (self.me, &self.membership);
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return;
        };
        if let Some(own) = &mut flow.safety {
            own.safety
                .advance(|node, epoch| is_alive(me, membership, node, epoch));
        }
        if let Some(upto) = flow.take_stable()
            && !id.is_large()
        {
            let upto = Seq(upto);
            self.event(Event::Stable { flow: id, upto });
        }
        while let Some(flow) = self.flows_out.get_mut(&id)
            && let Some((first, last, batch)) = flow.take_deliverable(self.me.id)
        {
            self.deliver_own(id, first, last, batch);
        }
        self.wake_waiting(now, self.own_key(id));
        self.tell_later(now, self.own_key(id));
    }

    fn safety_of(&self, key: FlowKey) -> Option<&Safety> {
        if key.origin != self.me.id {
            return self.flows_in.get(&key)?.safety.as_deref();
        }
        let flow = self.flows_out.get(&key.flow)?;
        let present = key.epoch == self.me.epoch;
        flow.safety
            .as_ref()
            .filter(|_| present)
            .map(|own| &own.safety)
    }

    fn tell_later(&mut self, now: Time, key: FlowKey) {
        match self.safety_of(key).and_then(|safety| safety.tell_at(now)) {
            Some(at) if at <= now => self.tell(now, key),
            Some(at) => _ = self.tells.0.insert((at, key)),
            None => {}
        }
    }

    /// Tells what is due.
    pub(super) fn send_due_tells(&mut self, now: Time) {
        while let Some(&(at, key)) = self.tells.0.first()
            && at <= now
        {
            self.tells.0.pop_first();
            self.tell_later(now, key);
        }
    }

    fn tell(&mut self, now: Time, key: FlowKey) {
        let Some((digest, targets)) = self.tale(now, key) else {
            return;
        };
        for (node, start) in targets {
            let digest = digest.clone().since(start);
            self.send_control_to(node, &Control::Digest(vec![digest]));
        }
    }

    /// Asks the members of an own flow how far they are, if something waits that long: what they told may have been lost with a link.
    fn ask_members(&mut self, now: Time, key: FlowKey) {
        if self.safety_of(key).is_none_or(|safety| safety.is_done()) {
            return;
        }
        let Some((mut digest, targets)) = self.tale(now, key) else {
            return;
        };
        digest.upto = self.flows_out[&key.flow].next() - 1;
        digest.aged = digest.upto;
        for (node, _) in targets {
            self.send_control_to(node, &Control::Digest(vec![digest.clone()]));
        }
    }

    /// What is told of a flow, and to whom: nodes with the first message that is meant for each.
    fn tale(&mut self, now: Time, key: FlowKey) -> Option<(FlowDigest, Vec<(NodeId, u64)>)> {
        let me = self.me.id;
        let peers = &self.peers;
        let linked = |sets: [Option<&DestSet>; 2]| {
            let members = sets.into_iter().flatten().flat_map(|set| &set.members);
            let others = members.filter(|m| ![me, key.origin].contains(&m.node));
            let others = others.filter(|m| peers.is_linked(m.node));
            let mut nodes: Vec<(NodeId, u64)> = others.map(|m| (m.node, m.start)).collect();
            nodes.sort_unstable();
            // Of two starts the earlier one counts.
            nodes.dedup_by_key(|(node, _)| *node);
            nodes
        };
        if key.origin == me {
            let flow = self.flows_out.get_mut(&key.flow)?;
            let present = flow.dest_set(key);
            let settled = flow.settled();
            let safety = &mut flow.safety.as_mut()?.safety;
            safety.on_told(now);
            let digest = safety.digest((key, present.version), 0, settled);
            let first = safety.first_set().map(|set| &**set);
            return Some((digest, linked([Some(&present), first])));
        }
        let flow = self.flows_in.get_mut(&key)?;
        let newest = flow.newest_dest_set().map(|known| known.set.clone());
        let safety = flow.safety.as_mut()?;
        safety.on_told(now);
        let first = safety.first_set().map(|set| &**set);
        let reachable = linked([newest.as_deref(), first]);
        let version = newest.as_ref().map_or(0, |set| set.version);
        let digest = safety.digest((key, version), safety.held(), flow.retained.agreed());
        let own = reachable.partition_point(|&(node, _)| node < me);
        let mut targets = flow.retained.take_turns(own, &reachable, ROUND_MAX);
        targets.extend(peers.is_linked(key.origin).then_some((key.origin, 1)));
        Some((digest, targets))
    }

    /// A member says how far it holds a flow of this node, and what it knows.
    pub(super) fn on_own_claim(&mut self, now: Time, from: (NodeId, Epoch), digest: &FlowDigest) {
        let id = digest.key.flow;
        if digest.key.epoch == self.me.epoch
            && let Some(claim) = digest.claim
            && let Some(flow) = self.flows_out.get_mut(&id)
        {
            flow.on_said(now, from, digest.upto, claim);
            flow.on_heard(&digest.heard);
            self.follow_own_safety(now, id);
        }
    }

    /// Frames with batches of this node's flows arrived at a peer, which holds them from there on.
    pub(super) fn on_own_arrived(
        &mut self,
        now: Time,
        to: (NodeId, Epoch),
        arrived: &[(FlowId, u64)],
    ) {
        for &(id, upto) in arrived {
            if let Some(flow) = self.flows_out.get_mut(&id) {
                flow.on_arrived(now, to, upto);
                self.follow_own_safety(now, id);
            }
        }
    }

    /// Looks after what waits to be safe: somebody may be alive no longer.
    pub(super) fn look_after_safety(&mut self, now: Time) {
        let waits = |flow: &&FlowIn| flow.safety.is_some() && flow.held() > flow.watermark();
        let keys: Vec<FlowKey> = self
            .flows_in
            .values()
            .filter(waits)
            .map(|flow| flow.key)
            .collect();
        for key in keys {
            self.follow_safety(now, key);
            while let Some(last) = self.hopeless(now, key)
                && self.give_up_held(now, key, Some(last))
            {}
        }
        let flows = self.flows_out.values();
        let waits = flows.filter(|flow| flow.safety.is_some());
        for id in waits.map(|flow| flow.id).collect::<Vec<_>>() {
            self.follow_own_safety(now, id);
            self.ask_members(now, self.own_key(id));
            while let Some(last) = self.hopeless(now, self.own_key(id)) {
                self.give_up_own(id, last);
            }
        }
    }

    fn hopeless(&mut self, now: Time, key: FlowKey) -> Option<u64> {
        let safety = match key.origin == self.me.id {
            true => &mut self.flows_out.get_mut(&key.flow)?.safety.as_mut()?.safety,
            false => self.flows_in.get_mut(&key)?.safety.as_mut()?,
        };
        let patience = (self.limits.gap_after, self.limits.forget_after);
        let (me, membership) = (self.me, &self.membership);
        safety.hopeless(now, patience, |node, epoch| {
            is_alive(me, membership, node, epoch)
        })
    }

    /// Gives up the batch that would be delivered next but is not safe; says whether there was one.
    pub(super) fn give_up_held(&mut self, now: Time, key: FlowKey, ends: Option<u64>) -> bool {
        let flow = self.flows_in.get_mut(&key);
        let missed = flow.and_then(|flow| flow.give_up_held(ends));
        if missed.is_none() {
            return false;
        }
        self.report_missed(key, missed);
        self.deliver_ready(now, key);
        self.follow_safety(now, key);
        self.ack_later(now, key);
        self.rejoin_if_done(key);
        true
    }

    /// Gives up messages of this node's own flow that cannot become safe.
    fn give_up_own(&mut self, id: FlowId, last: u64) {
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return;
        };
        let (first, own) = flow.give_up(last, self.me.id);
        let (first, upto) = (Seq(first), Seq(last));
        self.event(Event::Unstable {
            flow: id,
            first,
            upto,
        });
        let inbox = self.holding(&self.flows_out[&id].role);
        let Some((inbox, (first, last))) = inbox.map(|held| held.inbox).zip(own) else {
            return;
        };
        let origin = Origin {
            node: self.me.id,
            epoch: self.me.epoch,
        };
        let gap = Gap::Range {
            origin,
            flow: id,
            first: Seq(first),
            last: Seq(last),
        };
        if !planted!(GapUnreported) {
            self.deliver(inbox, Delivery::Gap(gap));
        }
        self.on_own_taken(id, last);
    }
}
