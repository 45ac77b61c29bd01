//! The destination set of what is sent, and what a batch depends on in causal order.

use std::sync::Arc;

use bytes::Bytes;
use rolecast_membership::Time;

use super::FlowOut;
use crate::flow_in::KnownDestSet;
use crate::retained::RetainedBatch;
use crate::wire::{
    DataHead, Dep, DestMember, DestSet, FlowKey, LargeHead, SOURCES_MAX, encode_head,
};

impl FlowOut {
    /// The present destination set's announcement, and its version.
    pub(crate) fn announcement(&mut self, key: FlowKey) -> (u32, Bytes) {
        if self.announcement.is_none() {
            let head = DataHead::DestSet(self.describe(key));
            self.announcement = Some(encode_head(&head));
        }
        let encoded = self.announcement.clone();
        (self.version, encoded.expect("it was just made"))
    }

    /// Keeps a batch that was just numbered, for those to whom it is not sent.
    pub(crate) fn keep(
        &mut self,
        now: Time,
        key: FlowKey,
        (first, last): (u64, u64),
        (head, body): (Bytes, Bytes),
    ) {
        let (version, encoded) = self.announcement(key);
        let set = self.dest_set(key);
        let batch = RetainedBatch {
            first,
            last,
            version,
            known: KnownDestSet { set, encoded },
            head,
            body,
        };
        // The window bounds what is kept here.
        self.retained.keep(now, batch, usize::MAX);
    }

    /// The present destination set.
    pub(crate) fn dest_set(&mut self, key: FlowKey) -> Arc<DestSet> {
        if self.set.is_none() {
            self.set = Some(self.describe(key).into());
        }
        self.set.clone().expect("it was just made")
    }

    pub(super) fn describe(&self, key: FlowKey) -> DestSet {
        let members = self.members.iter().map(|(&node, member)| DestMember {
            node,
            epoch: member.epoch,
            tenure: member.tenure,
            start: member.start,
            replayed: member.replayed,
            owed: member.owed.clone(),
        });
        DestSet {
            key,
            version: self.version,
            role: self.role.clone(),
            mode: self.mode,
            born: self.born,
            members: members.collect(),
            evicted: self.describe_evicted(),
            large: self.large.as_ref().map(|large| LargeHead {
                length: large.length,
                oldest: large.oldest,
            }),
            sources: self.sources_in_order(),
        }
    }

    pub(super) fn sources_in_order(&self) -> Vec<FlowKey> {
        let numbered = self.sources.iter();
        let mut numbered: Vec<(u32, FlowKey)> = numbered.map(|(&key, &(n, _))| (n, key)).collect();
        numbered.sort_unstable();
        numbered.into_iter().map(|(_, key)| key).collect()
    }

    /// Whether the present members were told before that what is sent to them comes after so much of a flow.
    pub(crate) fn has_named(&self, key: FlowKey, upto: u64) -> bool {
        let told = self.sources.get(&key);
        self.told_version == self.version && told.is_some_and(|&(_, told)| told >= upto)
    }

    /// Names what a batch depends on that is about to be sent: of what its sender was given, everything if the destination set is not the one of the batch before, and else what changed.
    pub(crate) fn depend_on(&mut self, given: Vec<(FlowKey, u64)>) -> Vec<Dep> {
        let news = given.iter().any(|(key, _)| !self.sources.contains_key(key));
        if news {
            if self.sources.len() + given.len() > SOURCES_MAX {
                self.sources.clear();
            }
            for &(key, _) in given.iter().take(SOURCES_MAX) {
                let source = u32::try_from(self.sources.len()).expect("sources are few");
                self.sources.entry(key).or_insert((source, 0));
            }
            self.on_set_changed();
        }
        let all = std::mem::replace(&mut self.told_version, self.version) != self.version;
        let mut deps = Vec::new();
        for (key, upto) in given {
            if let Some((source, told)) = self.sources.get_mut(&key)
                && (all || upto > *told)
            {
                *told = upto;
                deps.push(Dep {
                    source: *source,
                    upto,
                });
            }
        }
        deps
    }
}
