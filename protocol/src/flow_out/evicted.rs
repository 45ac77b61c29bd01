//! Members that a flow goes on without, because they kept its window shut for too long.
//!
//! What was sent to them before stays theirs; what is sent while they are left out is not meant for them.
//! They come back when they have taken what they have.

use std::time::Duration;

use rolecast_membership::{Epoch, NodeId, Tenure, Time};

use super::{FlowOut, Holder, LostMember, MemberOut};
use crate::canary::planted;
use crate::wire::DestEvicted;

/// When members are evicted, and which ones are.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    /// How long the window may be shut; for ever, if not given.
    after: Option<Duration>,
    /// When those that keep it shut are evicted, while it is shut.
    at: Option<Time>,
    members: std::collections::BTreeMap<NodeId, EvictedOut>,
}

/// A member that is left out.
#[derive(Clone, Debug)]
struct EvictedOut {
    member: MemberOut,
    /// The last message that was sent to it.
    upto: u64,
}

impl FlowOut {
    /// Evicts members that keep the window shut for so long.
    pub(crate) fn evict_after(&mut self, after: Option<Duration>) {
        self.eviction.after = after;
    }

    /// How long the window may be shut.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.eviction.after
    }

    /// There is no room; gives when whoever is to blame is evicted, if that is news.
    pub(crate) fn shut(&mut self, now: Time) -> Option<Time> {
        let after = self.eviction.after?;
        if self.eviction.at.is_some() {
            return None;
        }
        let after = match planted!(EvictedTooSoon) {
            true => after / 2,
            false => after,
        };
        self.eviction.at = Some(now + after);
        self.eviction.at
    }

    /// There is room again.
    pub(crate) fn reopen(&mut self) {
        self.eviction.at = None;
    }

    /// When whoever keeps the window shut is evicted.
    pub(crate) fn evicts_at(&self) -> Option<Time> {
        self.eviction.at
    }

    /// That comes at another time.
    pub(crate) fn put_eviction_off(&mut self, at: Time) {
        self.eviction.at = Some(at);
    }

    /// The members without which the window would be open.
    pub(crate) fn blockers(&self, window_bytes: usize) -> Vec<NodeId> {
        if self.has_room(window_bytes) {
            return Vec::new();
        }
        let mut left = self.in_flight_bytes;
        let needed = self.in_flight.iter().find_map(|&(last, bytes)| {
            left -= bytes;
            (left < window_bytes).then_some(last)
        });
        let needed = needed.unwrap_or(self.next - 1);
        let blockers = self.members.iter().filter(|(_, m)| m.acked < needed);
        blockers.map(|(&node, _)| node).collect()
    }

    /// Goes on without a member; gives what it has not acknowledged.
    pub(crate) fn evict(&mut self, node: NodeId) -> Option<LostMember> {
        let upto = self.next - 1;
        let member = self.members.remove(&node)?;
        let after = member.acked;
        self.eviction
            .members
            .insert(node, EvictedOut { member, upto });
        self.on_set_changed();
        Some(LostMember { node, after, upto })
    }

    /// Takes a member back that was evicted, as soon as the holders are looked at next; gives the last message that was sent to it before.
    pub(crate) fn readmit(
        &mut self,
        (node, epoch): (NodeId, Epoch),
        tenure: Tenure,
    ) -> Option<u64> {
        let holder = Holder {
            node,
            epoch,
            tenure,
        };
        if !self.is_evicted(&holder) {
            return None;
        }
        let EvictedOut { member, upto } = self.eviction.members.remove(&node)?;
        // What it is owed of former lives it is owed yet.
        self.gone.insert(node, member);
        Some(upto)
    }

    /// How far those are that are left out, if a planted bug has them counted.
    pub(super) fn acked_by_evicted(&self) -> impl Iterator<Item = u64> {
        let counted = planted!(EvictedStillHoldsWindow);
        let evicted = self.eviction.members.values().filter(move |_| counted);
        evicted.map(|evicted| evicted.member.acked)
    }

    /// The last message that was sent to a node before it was evicted.
    pub(crate) fn evicted_upto(&self, node: NodeId) -> Option<u64> {
        let evicted = self.eviction.members.get(&node)?;
        Some(evicted.upto)
    }

    /// The holding of the role that something up to this message was meant for, if it was evicted.
    pub(super) fn evicted_tenure(&self, node: NodeId) -> Option<Tenure> {
        let evicted = self.eviction.members.get(&node)?;
        Some(evicted.member.tenure)
    }

    /// Whether something up to this message was meant for a life of a node that was evicted.
    pub(super) fn was_meant(&self, (node, epoch): (NodeId, Epoch), upto: u64) -> bool {
        let evicted = self.eviction.members.get(&node);
        evicted.is_some_and(|e| e.member.epoch == epoch && e.member.start <= upto)
    }

    /// Whether a holding of the role is left out.
    pub(super) fn is_evicted(&self, holder: &Holder) -> bool {
        let evicted = self.eviction.members.get(&holder.node);
        evicted.is_some_and(|e| (e.member.epoch, e.member.tenure) == (holder.epoch, holder.tenure))
    }

    /// Forgets those that do not hold the role any longer; says whether there were any.
    pub(super) fn forget_evicted(&mut self, holders: &[Holder]) -> bool {
        let mut members = std::mem::take(&mut self.eviction.members);
        let before = members.len();
        let stays = |node: &NodeId, evicted: &EvictedOut| {
            let same = |h: &Holder| {
                (h.node, h.epoch, h.tenure) == (*node, evicted.member.epoch, evicted.member.tenure)
            };
            holders.iter().any(same)
        };
        let left: Vec<NodeId> = members
            .iter()
            .filter(|(node, evicted)| !stays(node, evicted))
            .map(|(&node, _)| node)
            .collect();
        for node in left {
            if let Some(EvictedOut { mut member, .. }) = members.remove(&node) {
                member.owe(self.epoch, self.next - 1);
                self.gone.insert(node, member);
            }
        }
        self.eviction.members = members;
        self.eviction.members.len() < before
    }

    /// In another life of this node all are members again, and what they missed is owed to them; gives which ones were left out.
    pub(super) fn renew_evicted(&mut self) -> Vec<NodeId> {
        self.eviction.at = None;
        let evicted = std::mem::take(&mut self.eviction.members);
        let nodes = evicted.keys().copied().collect();
        let members = evicted.into_iter();
        self.members
            .extend(members.map(|(node, evicted)| (node, evicted.member)));
        nodes
    }

    /// Those that are left out, as the destination set names them.
    pub(super) fn describe_evicted(&self) -> Vec<DestEvicted> {
        let evicted = self.eviction.members.iter();
        evicted
            .map(|(&node, EvictedOut { member, upto })| DestEvicted {
                node,
                epoch: member.epoch,
                tenure: member.tenure,
                start: member.start,
                upto: *upto,
            })
            .collect()
    }
}
