//! How far the members of a flow are, told to its origin: together with what else is due, or around it if there is no link.

use rand::seq::IndexedRandom;
use rolecast_membership::{Epoch, NodeId, Time};

use super::{ACK_DELAY, Engine};
use crate::api::FlowId;
use crate::canary::planted;
use crate::wire::{FlowAck, FlowKey, ViaAck};

/// How many members pass on an acknowledgement whose origin is not linked.
const ACK_HELPERS: usize = 3;

impl Engine {
    pub(super) fn ack_later(&mut self, now: Time, key: FlowKey) {
        self.acks.flows.insert(key);
        self.acks.at.get_or_insert(now + ACK_DELAY);
    }

    /// What an origin is to know, of the flows for which something is due.
    pub(super) fn take_flow_acks(&mut self, origin: NodeId) -> Vec<FlowAck> {
        let linked = self.peers.get(origin).and_then(|peer| {
            peer.link.as_ref().filter(|link| link.hello.is_some())?;
            Some(peer.session.as_ref()?.peer_epoch)
        });
        let due: Vec<FlowKey> = self.due_flows_of(origin).collect();
        let mut acks = Vec::new();
        for key in due {
            self.acks.flows.remove(&key);
            let Some(flow) = self.flows_in.get_mut(&key) else {
                continue;
            };
            if let Some(upto) = flow.take_acknowledgement()
                && linked == Some(key.epoch)
            {
                flow.acked_directly = upto;
                acks.push(FlowAck {
                    flow: key.flow,
                    tenure: flow.tenure(),
                    upto,
                });
            }
        }
        acks
    }

    fn due_flows_of(&self, origin: NodeId) -> impl Iterator<Item = FlowKey> + '_ {
        let first = FlowKey {
            origin,
            epoch: Epoch(0),
            flow: FlowId(0),
        };
        let all = self.acks.flows.range(first..).copied();
        all.take_while(move |key| key.origin == origin)
    }

    /// Tells a peer again, over a link that has just come up, what came of its frames and how far its flows are.
    pub(super) fn repeat_acks(&mut self, origin: NodeId, epoch: Epoch) {
        let first = FlowKey {
            origin,
            epoch,
            flow: FlowId(0),
        };
        let last = FlowKey {
            origin,
            epoch,
            flow: FlowId(u32::MAX),
        };
        let mut acks = Vec::new();
        if planted!(AckNotRepeated) {
            return;
        }
        for (key, flow) in self.flows_in.range_mut(first..=last) {
            flow.acked_directly = flow.acked();
            acks.push(FlowAck {
                flow: key.flow,
                tenure: flow.tenure(),
                upto: flow.acked(),
            });
        }
        let session = self
            .peers
            .get(origin)
            .and_then(|peer| peer.session.as_ref());
        // Frames that overtook the hello could not be acknowledged when they came.
        if !acks.is_empty() || session.is_some_and(|session| session.received() != [0, 0]) {
            self.send_acks(origin, acks, Vec::new());
        }
    }

    /// Sends acknowledgements around origins to which there is no link.
    pub(super) fn send_acks_around(&mut self) {
        let mut via = Vec::new();
        for (key, flow) in &self.flows_in {
            if flow.acked() <= flow.acked_directly
                || flow.dead_since.is_some()
                || self.peers.is_linked(key.origin)
            {
                continue;
            }
            let Some(known) = flow.newest_dest_set() else {
                continue;
            };
            let linked: Vec<NodeId> = known
                .set
                .members
                .iter()
                .map(|member| member.node)
                .filter(|&node| node != self.me.id && self.peers.is_linked(node))
                .collect();
            let ack = ViaAck {
                origin: key.origin,
                epoch: key.epoch,
                member: self.me.id,
                member_epoch: self.me.epoch,
                ack: FlowAck {
                    flow: key.flow,
                    tenure: flow.tenure(),
                    upto: flow.acked(),
                },
            };
            for &helper in linked.sample(&mut self.rng, ACK_HELPERS) {
                via.push((helper, ack));
            }
        }
        for (helper, ack) in via {
            self.send_acks(helper, Vec::new(), vec![ack]);
        }
    }

    /// A member of this node's flows says how far it is.
    pub(super) fn on_flow_acks(&mut self, now: Time, node: NodeId, epoch: Epoch, acks: &[FlowAck]) {
        for ack in acks {
            if let Some(flow) = self.flows_out.get_mut(&ack.flow)
                && flow.acknowledge(node, epoch, ack.tenure, ack.upto)
            {
                flow.on_taken_by_other(ack.upto);
                self.settle_flow(ack.flow);
                self.follow_own_safety(now, ack.flow);
            }
        }
    }

    /// Acknowledgements that took a way around: for this node's flows, or to be passed on.
    pub(super) fn on_acks_around(&mut self, now: Time, from: NodeId, acks: Vec<ViaAck>) {
        for via in acks {
            if via.origin == self.me.id {
                if via.epoch == self.me.epoch {
                    self.on_flow_acks(now, via.member, via.member_epoch, &[via.ack]);
                }
            } else if via.member == from {
                self.send_acks(via.origin, Vec::new(), vec![via]);
            }
        }
    }
}
