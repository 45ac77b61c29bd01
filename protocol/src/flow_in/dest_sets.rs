//! The versions of a flow's destination set that batches may still refer to.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DestMember, DestSet};

/// A version of the destination set, and the frame that announces it.
#[derive(Clone, Debug)]
pub(crate) struct KnownDestSet {
    pub(crate) set: Arc<DestSet>,
    pub(crate) encoded: Bytes,
}

impl KnownDestSet {
    /// Bytes that it takes, as a frame and taken apart.
    pub(crate) fn len_bytes(&self) -> usize {
        self.encoded.len() + self.set.members.len() * std::mem::size_of::<DestMember>()
    }
}

/// The destination sets of one flow, by version.
#[derive(Debug, Default)]
pub(super) struct DestSets {
    by_version: BTreeMap<u32, KnownDestSet>,
    bytes: usize,
}

/// Destination sets kept for each flow, of which batches that are still missing may refer to all but the newest.
const DEST_SETS_MAX: usize = 1_024;
/// Bytes of the destination sets of one flow, beside the newest.
const DEST_SETS_BYTES_MAX: usize = 16 << 20;

impl DestSets {
    /// Keeps one; the oldest make room.
    pub(super) fn insert(&mut self, set: DestSet, encoded: Bytes) {
        let version = set.version;
        let known = self.by_version.get(&version);
        if known.is_some_and(|known| known.encoded == encoded) {
            // Whatever refers to it goes on sharing it.
            return;
        }
        let set = set.into();
        let known = KnownDestSet { set, encoded };
        self.bytes += known.len_bytes();
        if let Some(before) = self.by_version.insert(version, known) {
            self.bytes -= before.len_bytes();
        }
        while self.by_version.len() > DEST_SETS_MAX
            || self.by_version.len() > 1 && self.bytes > DEST_SETS_BYTES_MAX
        {
            self.forget_oldest();
        }
    }

    /// No batch that is still to come refers to a version before this one.
    pub(super) fn forget_before(&mut self, version: u32) {
        while let Some((&first, _)) = self.by_version.first_key_value()
            && first < version
        {
            self.forget_oldest();
        }
    }

    /// Forgets the oldest until no more than this is kept.
    pub(super) fn shrink_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, known)) = self.by_version.pop_first() {
            self.bytes -= known.len_bytes();
        }
    }

    pub(super) fn get(&self, version: u32) -> Option<&KnownDestSet> {
        self.by_version.get(&version)
    }

    pub(super) fn newest(&self) -> Option<&KnownDestSet> {
        self.by_version.last_key_value().map(|(_, set)| set)
    }

    /// All that are kept, the newest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &KnownDestSet> {
        self.by_version.values().rev()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use rolecast_membership::{Epoch, NodeId};

    use super::*;
    use crate::api::FlowId;
    use crate::mode::Dissemination;
    use crate::wire::FlowKey;

    #[test]
    fn destination_sets_are_bounded_in_bytes() {
        let key = FlowKey {
            origin: NodeId::from_bytes([1; 32]),
            epoch: Epoch(1),
            flow: FlowId(1),
        };
        let set = |version| DestSet {
            key,
            version,
            role: "r".parse().expect("a role"),
            mode: Dissemination::Eager.into(),
            born: Epoch(1),
            members: Vec::new(),
            evicted: Vec::new(),
            large: None,
            sources: Vec::new(),
        };
        let frame = Bytes::from(vec![0; DEST_SETS_BYTES_MAX / 2]);
        let mut sets = DestSets::default();
        for version in 1..=3 {
            sets.insert(set(version), frame.clone());
        }
        assert!(sets.get(1).is_none() && sets.get(2).is_some());
        sets.shrink_to(DEST_SETS_BYTES_MAX / 2);
        assert!(sets.get(2).is_none() && sets.get(3).is_some());
        assert_eq!(sets.bytes(), frame.len());
    }
}
