//! Links that nobody uses rest while there are too many of them.
//!
//! The end that has too many asks, and the other one closes: so both know that the link is not broken.
//! [`crate::peers`] has the states that a link goes through.

use rolecast_membership::{Epoch, Input as MembershipInput, Liveness, NodeId, Time};

use super::Engine;
use crate::api::{CloseReason, FlowId, Output};
use crate::way::Carrier;
use crate::wire::{Control, FlowKey};

impl Engine {
    /// Asks whether links may rest, as long as there are too many.
    pub(super) fn rest_idle_links(&mut self, now: Time) {
        let surplus = self.peers.surplus(self.limits.links_max);
        if surplus == 0 {
            return;
        }
        let idle = self.peers.idle(now, self.limits.link_idle);
        let asked = idle.into_iter().filter_map(|node| {
            let life = self.life_to_rest(node)?;
            Some((node, life))
        });
        for (node, to) in asked.take(surplus).collect::<Vec<_>>() {
            let from = self.me.epoch;
            if let Some(link) = self.peers.direct(node) {
                self.send_control_over(link, &Control::Rest { from, to });
                self.peers.on_asked_to_rest(now, node);
            }
        }
    }

    /// A peer has no use for its link at this moment: it is closed if this node has none either.
    pub(super) fn on_asked_to_rest(
        &mut self,
        now: Time,
        (node, carrier): (NodeId, Carrier),
        (from, to): (Epoch, Epoch),
    ) {
        let Carrier::Link(link) = carrier else {
            return;
        };
        let agreed = self.peers.direct(node) == Some(link)
            && to == self.me.epoch
            && self.life_to_rest(node) == Some(from)
            && self.peers.is_quiet(now, node, self.limits.link_idle / 2);
        if agreed && self.peers.rest(now, node).is_some() {
            let reason = CloseReason::Idle;
            self.out.push_back(Output::Close { link, reason });
            self.on_rest(now, node);
        }
    }

    /// The link to a peer rests from here on.
    pub(super) fn on_rest(&mut self, now: Time, node: NodeId) {
        self.membership
            .handle(now, MembershipInput::PeerRests(node));
        self.lose_ways_over(now, node);
        // It may have been needed since this node asked.
        self.peers.pump(self.me.epoch, node, &mut self.out);
    }

    /// A link that rests is none any more: it was needed and did not come up, or its peer is not what it was.
    pub(super) fn end_rest(&mut self, now: Time, node: NodeId) {
        let Some(waking) = self.peers.end_rest(node) else {
            return;
        };
        self.on_link_lost(now, node);
        // Whoever is needed is being dialled.
        let member = self.membership.member(node).filter(|_| waking.is_none());
        if let Some(addr) = member.map(|member| member.record.identity.addr) {
            self.peers.want(node, addr, now);
        }
    }

    /// No link rests any more: this node goes on in another life.
    pub(super) fn end_all_rest(&mut self, now: Time) {
        for node in self.peers.resting(|_| true) {
            self.end_rest(now, node);
        }
    }

    /// The life of a peer in which this node has no use for the link to it: nothing is under way, nothing is owed, and nothing goes on from there.
    fn life_to_rest(&self, node: NodeId) -> Option<Epoch> {
        let life = self.peers.idle_life(node)?;
        let member = self.membership.member(node)?;
        let well = member.liveness == Liveness::Alive && member.record.identity.epoch == life;
        let flow = FlowId(0);
        let first = FlowKey {
            origin: node,
            epoch: Epoch(0),
            flow,
        };
        let owed = self.acks.flows.range(first..).next();
        let owes = self.acks.peers.contains(&node) || owed.is_some_and(|key| key.origin == node);
        let told = self.record().unreachable.contains(&node);
        let passes_on = self.peers.ways().any(|(_, way)| way.relay() == node);
        (well && !owes && !told && !passes_on && !self.draining).then_some(life)
    }
}
