//! What an origin says and answers about its own flows, as far as it does not come by itself.
//!
//! As a rule the origin sends everything to every member, over sessions that lose nothing, and has only the floor to tell.
//! If the flow spreads so that the origin sends to some members only, it keeps what it sent until all have acknowledged it, tells those who have not how far it is, and answers those who ask.

use rolecast_membership::{Epoch, NodeId, Time};

use super::Engine;
use crate::api::FlowId;
use crate::canary::planted;
use crate::spread;
use crate::wire::{Control, FlowDigest, FlowKey, Gone, Pull, SEQ_MAX, Why};

impl Engine {
    /// One round of digests of a flow of this node, to some of those who have not acknowledged everything.
    pub(super) fn put_own_digests_of(
        &mut self,
        now: Time,
        key: FlowKey,
        digests: &mut Vec<(NodeId, FlowDigest)>,
    ) {
        let flow = &self.flows_out[&key.flow];
        let behind = flow.behind().filter(|&(node, epoch, _)| {
            node != self.me.id && self.peers.is_linked(node) && !self.is_over(node, epoch)
        });
        let behind: Vec<(NodeId, u64)> = behind.map(|(node, _, start)| (node, start)).collect();
        let own = behind.partition_point(|&(node, _)| node < self.me.id);
        let flow = self.flows_out.get_mut(&key.flow).expect("it is due");
        let (upto, floor) = (flow.next() - 1, flow.settled());
        let version = flow.version();
        let count = spread::of(flow.mode).on_round();
        let targets = flow.retained.take_turns(own, &behind, count);
        let digest = FlowDigest {
            key,
            version,
            upto,
            aged: flow.retained.begin_round(now, (upto, upto)).0,
            beyond: Vec::new(),
            floor,
            claim: flow.safety.as_ref().map(|own| own.safety.claim()),
            heard: Vec::new(),
        };
        if planted!(OriginSilent) {
            return;
        }
        let targets = targets.into_iter();
        digests.extend(targets.map(|(node, start)| (node, digest.clone().since(start))));
    }

    /// A link came up: whoever is there may miss something that was not sent to it.
    pub(super) fn own_digests_to(&mut self, now: Time, node: NodeId) {
        let keeping = self.flows_out.values_mut();
        let keeping = keeping.filter(|flow| !flow.retained.is_empty());
        let mut concerned = Vec::new();
        for flow in keeping.filter(|flow| flow.tenure_of(node).is_some()) {
            flow.retained.on_news(now);
            concerned.push(flow.id);
        }
        for id in concerned {
            self.digest_later(self.own_key(id));
        }
    }

    /// What a member is to know that keeps messages which no batch is following.
    pub(super) fn answer_as_origin(&self, digest: &FlowDigest) -> Option<FlowDigest> {
        let present = digest.key.epoch == self.me.epoch;
        let Some(flow) = self.flows_out.get(&digest.key.flow) else {
            let over = digest.key.flow.is_large() && digest.key.flow.0 <= self.last_large_flow();
            // Of a large payload that is over, everybody has everything.
            return (present && over && digest.aged > 0).then(|| FlowDigest {
                key: digest.key,
                version: 0,
                upto: 0,
                aged: 0,
                beyond: Vec::new(),
                floor: SEQ_MAX,
                claim: None,
                heard: Vec::new(),
            });
        };
        let claim = flow.safety.as_ref().map(|own| own.safety.claim());
        // Whoever gives a digest of what is to be safe may wait for what this node knows.
        let waits = claim.is_some() && digest.aged > 0;
        let more = digest.floor < flow.settled() || waits;
        let heard = || flow.safety.as_ref().map(|own| own.safety.hearsay());
        (present && more).then(|| FlowDigest {
            key: digest.key,
            version: flow.version(),
            upto: 0,
            aged: 0,
            beyond: Vec::new(),
            floor: flow.settled(),
            claim,
            heard: heard().filter(|_| waits).unwrap_or_default(),
        })
    }

    /// The number of the flow of the large payload that was sent last.
    pub(super) fn last_large_flow(&self) -> u32 {
        FlowId::large(self.last_large).map_or(u32::MAX, |flow| flow.0)
    }

    /// A peer asks for what this node sent: that comes anyway, unless it is kept for those to whom it was not sent.
    pub(super) fn answer_own_pull(&mut self, now: Time, to: (NodeId, Epoch), pull: &Pull) {
        let present = pull.key.epoch == self.me.epoch;
        let may_answer = self.may_answer_pull(to.0, pull.key);
        let flow = self.flows_out.get_mut(&pull.key.flow);
        let Some(flow) = flow.filter(|_| present) else {
            return;
        };
        let is_meant = flow.is_meant(to, pull.last);
        let mut gone = !is_meant;
        let mut wanted = Vec::new();
        if spread::origin_keeps(flow.mode) {
            if !may_answer || planted!(PullUnanswered) {
                return;
            }
            // Whoever dropped the role since may yet be one of those who are to hold it.
            let held = flow.next() - 1;
            let kept = flow.retained.take_wanted(now, to, pull, held);
            let Some((first, kept)) = kept else { return };
            gone = !is_meant && kept.is_empty() && first == pull.first;
            wanted = kept;
            self.digest_later(pull.key);
        }
        if gone {
            let why = Why::NotMeant;
            self.send_control_to(to.0, &Control::Gone(Gone { pull: *pull, why }));
        }
        for batch in wanted {
            self.send_retained(to, pull.key, batch);
        }
    }
}
