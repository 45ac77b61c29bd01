//! The records: the own one and those of the live members.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::ops::RangeInclusive;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::packet::Side;
use crate::{Epoch, Liveness, Member, NodeId, Record};

/// How new a record is: a later life wins over everything, then the version.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct Stamp {
    pub(crate) epoch: Epoch,
    pub(crate) version: u64,
}

impl Stamp {
    pub(crate) fn of(record: &Record) -> Self {
        Stamp {
            epoch: record.identity.epoch,
            version: record.version,
        }
    }
}

/// Which record of which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: NodeId,
    pub(crate) stamp: Stamp,
}

impl Entry {
    fn of(record: &Record) -> Self {
        Entry {
            id: record.identity.id,
            stamp: Stamp::of(record),
        }
    }

    /// The entry's part of the digest.
    fn hash(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        hasher.write(self.id.as_bytes());
        hasher.write(&self.stamp.epoch.0.to_le_bytes());
        hasher.write(&self.stamp.version.to_le_bytes());
        hasher.finish()
    }
}

/// A record with its encoding, which is passed on as it came.
struct Held {
    member: Member,
    encoded: Bytes,
    /// The entry's part of every digest that covers it.
    hash: u64,
}

impl Held {
    fn new(record: Record, encoded: Bytes, liveness: Liveness) -> Self {
        let hash = Entry::of(&record).hash();
        let member = Member { record, liveness };
        Held {
            member,
            encoded,
            hash,
        }
    }

    fn entry(&self) -> Entry {
        Entry::of(&self.member.record)
    }
}

/// What is known of some of the nodes, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    /// The wrapping sum of the hashes of their entries.
    pub(crate) sum: u64,
    /// How many entries there are.
    pub(crate) count: u32,
}

impl Digest {
    fn add(self, hash: u64) -> Self {
        Digest {
            sum: self.sum.wrapping_add(hash),
            count: self.count.saturating_add(1),
        }
    }
}

/// What is known of the mesh.
///
/// Its size is bounded by who adds to it: only records of members that SWIM holds for alive are put in.
pub(crate) struct Registry {
    own: Held,
    members: BTreeMap<NodeId, Held>,
    /// The wrapping sum of the hashes of all entries, the own one included.
    sum: u64,
}

impl Registry {
    pub(crate) fn new(record: Record, encoded: Bytes) -> Self {
        let own = Held::new(record, encoded, Liveness::Alive);
        let sum = own.hash;
        Registry {
            own,
            members: BTreeMap::new(),
            sum,
        }
    }

    pub(crate) fn own(&self) -> &Record {
        &self.own.member.record
    }

    pub(crate) fn own_encoded(&self) -> &Bytes {
        &self.own.encoded
    }

    /// Replaces the own record.
    pub(crate) fn set_own(&mut self, record: Record, encoded: Bytes) {
        self.sum = self.sum.wrapping_sub(self.own.hash);
        self.own = Held::new(record, encoded, Liveness::Alive);
        self.sum = self.sum.wrapping_add(self.own.hash);
    }

    pub(crate) fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.get(&id).map(|held| &held.member)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(|held| &held.member)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Puts in a member's record, and gives the one it replaces.
    pub(crate) fn put(&mut self, record: Record, encoded: Bytes) -> Option<Record> {
        let id = record.identity.id;
        let same_life =
            |held: &&mut Held| held.member.record.identity.epoch == record.identity.epoch;
        let liveness = match self.members.get_mut(&id).filter(same_life) {
            Some(held) => held.member.liveness,
            None => Liveness::Alive,
        };
        let held = Held::new(record, encoded, liveness);
        self.sum = self.sum.wrapping_add(held.hash);
        let before = self.members.insert(id, held)?;
        self.sum = self.sum.wrapping_sub(before.hash);
        Some(before.member.record)
    }

    pub(crate) fn remove(&mut self, id: NodeId) -> Option<Record> {
        let held = self.members.remove(&id)?;
        self.sum = self.sum.wrapping_sub(held.hash);
        Some(held.member.record)
    }

    /// Sets whether a member answers; says whether that is a change.
    pub(crate) fn set_liveness(&mut self, id: NodeId, liveness: Liveness) -> bool {
        self.members
            .get_mut(&id)
            .is_some_and(|held| std::mem::replace(&mut held.member.liveness, liveness) != liveness)
    }

    /// How new the record of this node is, the own one included.
    pub(crate) fn stamp(&self, id: NodeId) -> Option<Stamp> {
        self.held(id).map(|held| held.entry().stamp)
    }

    /// The encoded record of this node, the own one included.
    pub(crate) fn encoded(&self, id: NodeId) -> Option<&Bytes> {
        self.held(id).map(|held| &held.encoded)
    }

    /// The entries of these nodes in the order of their ids, that of the own one included.
    pub(crate) fn entries(&self, ids: RangeInclusive<NodeId>) -> impl Iterator<Item = Entry> {
        self.range(ids).map(Held::entry)
    }

    /// What is known of these nodes, in short, the own one included.
    pub(crate) fn digest_of(&self, ids: RangeInclusive<NodeId>) -> Digest {
        let hashes = self.range(ids).map(|held| held.hash);
        hashes.fold(Digest::default(), Digest::add)
    }

    fn range(&self, ids: RangeInclusive<NodeId>) -> impl Iterator<Item = &Held> {
        let (first, last) = ids.into_inner();
        let own = self.own.entry().id;
        let is_own_in = (first..=last).contains(&own);
        // The own one has its place between those before it and those after it.
        let (before, after) = match is_own_in {
            true => (Some((first, own)), Some((own, last))),
            false => (Some((first, last)).filter(|_| first <= last), None),
        };
        let members = |ids: Option<(NodeId, NodeId)>| {
            let held = ids.map(|(first, last)| self.members.range(first..=last));
            held.into_iter().flatten().map(|(_, held)| held)
        };
        members(before)
            .chain(is_own_in.then_some(&self.own))
            .chain(members(after))
    }

    /// What is known of all nodes, in short.
    pub(crate) fn digest(&self) -> Digest {
        Digest {
            sum: self.sum,
            count: u32::try_from(self.members.len() + 1).unwrap_or(u32::MAX),
        }
    }

    /// This node's part of the mesh.
    pub(crate) fn side(&self) -> Side {
        let own = self.own().identity.id;
        let lowest = self
            .members
            .first_key_value()
            .map_or(own, |(id, _)| own.min(*id));
        Side::new(self.members.len() + 1, lowest)
    }

    fn held(&self, id: NodeId) -> Option<&Held> {
        if id == self.own().identity.id {
            Some(&self.own)
        } else {
            self.members.get(&id)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::antientropy::EVERYBODY;
    use crate::{Identity, Time};

    fn record(number: u8, epoch: u64, version: u64) -> Record {
        let _ = Time::ZERO;
        let mut record = Record::new(Identity {
            id: NodeId::from_bytes([number; 32]),
            epoch: Epoch(epoch),
            addr: ([127, 0, 0, 1], 7400).into(),
        });
        record.version = version;
        record
    }

    #[test]
    fn equal_knowledge_has_equal_digests_whatever_the_order() {
        let mut a = Registry::new(record(5, 1, 1), Bytes::new());
        let mut b = Registry::new(record(3, 1, 2), Bytes::new());
        assert_ne!(a.digest(), b.digest());
        a.put(record(3, 1, 1), Bytes::new());
        a.put(record(9, 1, 1), Bytes::new());
        a.put(record(3, 1, 2), Bytes::new());
        b.put(record(5, 1, 1), Bytes::new());
        b.put(record(7, 4, 4), Bytes::new());
        b.put(record(9, 1, 1), Bytes::new());
        assert_ne!(a.digest(), b.digest());
        assert_eq!(
            b.remove(NodeId::from_bytes([7; 32])).map(|r| r.version),
            Some(4)
        );
        assert_eq!(a.digest(), b.digest());
        a.set_own(record(5, 2, 1), Bytes::new());
        assert_ne!(a.digest(), b.digest());
        let ids: Vec<u8> = b
            .entries(EVERYBODY)
            .map(|entry| entry.id.as_bytes()[0])
            .collect();
        assert_eq!(ids, [3, 5, 9]);
    }

    proptest! {
        /// Whatever happened on the way, a registry is what it would be if it had been told the end at once.
        #[test]
        fn only_the_end_counts(
            steps in proptest::collection::vec((0u8..4, 1u8..6, 1u64..4, 1u64..4), 0..60),
        ) {
            let mut own = (1, 1);
            let mut known = BTreeMap::new();
            let mut registry = Registry::new(record(9, 1, 1), Bytes::new());
            for (what, number, epoch, version) in steps {
                let id = NodeId::from_bytes([number; 32]);
                match what {
                    0 => {
                        let before = registry.remove(id).map(|r| (r.identity.epoch.0, r.version));
                        prop_assert_eq!(before, known.remove(&number));
                    }
                    1 => {
                        own = (epoch, version);
                        registry.set_own(record(9, epoch, version), Bytes::new());
                    }
                    _ => {
                        let before = registry.put(record(number, epoch, version), Bytes::new());
                        let before = before.map(|r| (r.identity.epoch.0, r.version));
                        prop_assert_eq!(before, known.insert(number, (epoch, version)));
                    }
                }
            }
            let mut told = Registry::new(record(9, own.0, own.1), Bytes::new());
            for (&number, &(epoch, version)) in known.iter().rev() {
                told.put(record(number, epoch, version), Bytes::new());
            }
            prop_assert_eq!(registry.digest(), told.digest());
            prop_assert_eq!(registry.len(), known.len());
            let entries: Vec<Entry> = registry.entries(EVERYBODY).collect();
            prop_assert_eq!(registry.digest_of(EVERYBODY), registry.digest());
            for middle in 0..=9 {
                let id = |number| NodeId::from_bytes([number; 32]);
                let lower = registry.digest_of(id(0)..=id(middle));
                let upper = registry.digest_of(id(middle + 1)..=id(0xff));
                let sum = lower.sum.wrapping_add(upper.sum);
                prop_assert_eq!((sum, lower.count + upper.count), (registry.sum, told.digest().count));
            }
            prop_assert_eq!(entries, told.entries(EVERYBODY).collect::<Vec<Entry>>());
        }
    }

    #[test]
    fn suspicion_outlives_an_update_but_not_a_life() {
        let mut registry = Registry::new(record(5, 1, 1), Bytes::new());
        let id = NodeId::from_bytes([3; 32]);
        registry.put(record(3, 1, 1), Bytes::new());
        assert!(registry.set_liveness(id, Liveness::Suspect));
        assert!(!registry.set_liveness(id, Liveness::Suspect));
        registry.put(record(3, 1, 2), Bytes::new());
        assert_eq!(
            registry.member(id).map(|m| m.liveness),
            Some(Liveness::Suspect)
        );
        registry.put(record(3, 2, 1), Bytes::new());
        assert_eq!(
            registry.member(id).map(|m| m.liveness),
            Some(Liveness::Alive)
        );
    }
}
