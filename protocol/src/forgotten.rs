//! What is remembered of lives that are over for good: nothing of them is taken any more, and how far their flows had come.

use std::collections::{BTreeMap, VecDeque};

use rolecast_membership::{Epoch, NodeId};

use crate::api::FlowId;
use crate::wire::FlowKey;

/// Lives of origins whose flows were forgotten.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    by_node: BTreeMap<NodeId, Origin>,
    /// Nodes in the order in which something of them was forgotten first.
    order: VecDeque<NodeId>,
}

#[derive(Debug, Default)]
struct Origin {
    /// The latest life that is over.
    epoch: Epoch,
    /// The latest life of each flow, and its last message that was delivered, refused, or given up.
    watermarks: BTreeMap<FlowId, (Epoch, u64)>,
}

impl Forgotten {
    /// Forgets a flow, but for how far it had come.
    pub(crate) fn insert(&mut self, key: FlowKey, watermark: u64) {
        let origin = self.origin_mut(key.origin);
        origin.epoch = origin.epoch.max(key.epoch);
        let known = origin.watermarks.entry(key.flow).or_default();
        *known = (key.epoch, watermark).max(*known);
        while origin.watermarks.len() > FLOWS_MAX {
            origin.watermarks.pop_first();
        }
    }

    /// Forgets whatever there was of a life.
    pub(crate) fn insert_life(&mut self, node: NodeId, epoch: Epoch) {
        let origin = self.origin_mut(node);
        origin.epoch = origin.epoch.max(epoch);
    }

    fn origin_mut(&mut self, node: NodeId) -> &mut Origin {
        if !self.by_node.contains_key(&node) {
            if self.order.len() == ORIGINS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_node.remove(&oldest);
            }
            self.order.push_back(node);
        }
        self.by_node.entry(node).or_default()
    }

    /// Whether the flow belongs to a life that is over for good.
    pub(crate) fn contains(&self, key: FlowKey) -> bool {
        self.by_node
            .get(&key.origin)
            .is_some_and(|origin| key.epoch <= origin.epoch)
    }

    /// How far this flow had come in the lives that were forgotten, of those from `born` on.
    pub(crate) fn watermark(&self, node: NodeId, flow: FlowId, born: Epoch) -> u64 {
        let origin = self.by_node.get(&node);
        match origin.and_then(|origin| origin.watermarks.get(&flow)) {
            Some(&(epoch, watermark)) if epoch >= born => watermark,
            _ => 0,
        }
    }
}

/// The most nodes of which something is remembered.
const ORIGINS_MAX: usize = 16_384;
/// The most flows of one node that are remembered.
const FLOWS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_that_was_forgotten_first_makes_room() {
        let mut forgotten = Forgotten::default();
        let key = |node: u64, epoch| {
            let mut id = [0; 32];
            // The order of the ids is not the order of the forgetting.
            id[..8].copy_from_slice(&(!node).to_be_bytes());
            FlowKey {
                origin: NodeId::from_bytes(id),
                epoch: Epoch(epoch),
                flow: FlowId(1),
            }
        };
        for node in 0..=ORIGINS_MAX as u64 {
            forgotten.insert(key(node, 2), 7);
        }
        assert!(!forgotten.contains(key(0, 2)));
        assert!(forgotten.contains(key(1, 2)) && !forgotten.contains(key(1, 3)));
        let watermark =
            |flow, born| forgotten.watermark(key(1, 2).origin, FlowId(flow), Epoch(born));
        assert_eq!(
            [watermark(1, 1), watermark(1, 3), watermark(2, 1)],
            [7, 0, 0]
        );
    }
}
