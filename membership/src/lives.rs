//! Which lives there have been, beside those of members and of those that are down: lives that were met and went before they were members, and lives that another one vouches for.
//!
//! Whoever passes on what a third node said asks others to believe that there is, or was, such a node.
//! Rumours tell a node of all that live, and of all that die while it lives; but who was cut off for a moment may have missed that one lived at all, so that it asks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{Epoch, Identity, NodeId};

/// The most nodes of which a life is remembered.
const NODES_MAX: usize = 16_384;
/// The most lives that are asked for at a time.
const ASKED_MAX: usize = 16_384;

/// One life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Lived {
    pub(crate) id: NodeId,
    pub(crate) epoch: Epoch,
}

impl Lived {
    pub(crate) fn of(identity: Identity) -> Self {
        let Identity { id, epoch, .. } = identity;
        Lived { id, epoch }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    /// The latest life of each node.
    latest: BTreeMap<NodeId, Epoch>,
    /// The nodes in the order in which they were first heard of.
    order: VecDeque<NodeId>,
    /// Lives that others were asked about.
    asked: BTreeSet<Lived>,
    /// How often something was learned here or elsewhere.
    pub(crate) learned: u64,
}

impl Lives {
    /// There has been this life.
    pub(crate) fn note(&mut self, Lived { id, epoch }: Lived) {
        self.learned += 1;
        if let Some(known) = self.latest.get_mut(&id) {
            *known = epoch.max(*known);
            return;
        }
        if self.order.len() == NODES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.latest.remove(&oldest);
        }
        self.order.push_back(id);
        self.latest.insert(id, epoch);
    }

    /// The latest life of a node that was noted.
    pub(crate) fn latest(&self, id: NodeId) -> Option<Epoch> {
        self.latest.get(&id).copied()
    }

    /// Others are asked about this life.
    pub(crate) fn ask(&mut self, life: Lived) {
        self.asked.insert(life);
        while self.asked.len() > ASKED_MAX {
            self.asked.pop_first();
        }
    }

    /// Nobody is asked about this life any more.
    pub(crate) fn forget_question(&mut self, life: Lived) {
        self.asked.remove(&life);
    }

    /// Another one says that there has been this life, which counts if it was asked.
    pub(crate) fn on_known(&mut self, life: Lived) {
        if self.asked.remove(&life) {
            self.note(life);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(number: u32, epoch: u64) -> Lived {
        let mut id = [0; 32];
        // The order of the ids is not the order in which they come.
        id[..4].copy_from_slice(&(!number).to_be_bytes());
        Lived {
            id: NodeId::from_bytes(id),
            epoch: Epoch(epoch),
        }
    }

    #[test]
    fn only_what_was_asked_is_believed_and_only_once() {
        let mut lives = Lives::default();
        lives.on_known(life(1, 1));
        assert_eq!((lives.latest(life(1, 1).id), lives.learned), (None, 0));
        lives.ask(life(1, 3));
        lives.on_known(life(1, 4));
        assert_eq!(lives.latest(life(1, 1).id), None);
        lives.on_known(life(1, 3));
        lives.on_known(life(1, 3));
        assert_eq!(lives.latest(life(1, 1).id), Some(Epoch(3)));
        assert_eq!(lives.learned, 1);
        lives.ask(life(2, 1));
        lives.forget_question(life(2, 1));
        lives.on_known(life(2, 1));
        assert_eq!(lives.latest(life(2, 1).id), None);
    }

    #[test]
    fn the_node_that_was_heard_of_first_makes_room() {
        let mut lives = Lives::default();
        let last = NODES_MAX as u32;
        for number in 0..=last {
            lives.note(life(number, 2));
        }
        // A life before the one that is known says nothing.
        lives.note(life(last, 1));
        let latest = |number| lives.latest(life(number, 0).id);
        assert_eq!([latest(0), latest(1)], [None, Some(Epoch(2))]);
        assert_eq!(latest(last), Some(Epoch(2)));
        for number in 0..=ASKED_MAX as u32 {
            lives.ask(life(number, 1));
        }
        assert_eq!(lives.asked.len(), ASKED_MAX);
    }
}
