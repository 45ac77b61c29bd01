//! Members that a flow goes on without, because they kept its window shut for too long.
//!
//! What was sent to them before stays theirs; what is sent while they are left out is not meant for them.
//! They come back when they have taken what they have.

use std::collections::BTreeMap;
use std::time::Duration;

use rolecast_membership::{Epoch, NodeId, Tenure, Time};

use super::{FlowOut, Holder, LostMember, MemberOut};
use crate::canary::planted;
use crate::kept::KeptLast;
use crate::slow::SlowMembers;
use crate::wire::DestEvicted;

/// When members are evicted, and which ones are.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    pub(super) slow: SlowMembers,
    /// When those that keep it shut are evicted, while it is shut.
    at: Option<Time>,
    /// The same for those without which another large payload could begin, while none can.
    larges_at: Option<Time>,
    pub(super) members: BTreeMap<NodeId, EvictedOut>,
    /// What is kept for those that get it later.
    pub(super) kept: KeptLast,
}

/// A member that is left out.
#[derive(Clone, Debug)]
pub(super) struct EvictedOut {
    pub(super) member: MemberOut,
    /// The last message that was sent to it.
    pub(super) upto: u64,
    /// If it gets later what is kept, messages up to here are known to exist.
    pub(super) lags: Option<u64>,
}

impl FlowOut {
    /// What is done with members that keep the window shut.
    pub(crate) fn treat_slow(&mut self, slow: SlowMembers) {
        self.eviction.slow = slow;
    }

    /// What its own large payloads do with them: as it does.
    pub(crate) fn slow(&self) -> SlowMembers {
        self.eviction.slow
    }

    /// How long the window may be shut before somebody is evicted; for ever, if not given.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self.eviction.slow {
            SlowMembers::Evict { after } => Some(after),
            SlowMembers::Wait | SlowMembers::KeepLast => None,
        }
    }

    /// There is no room; gives when whoever is to blame is evicted, if that is news.
    pub(crate) fn shut(&mut self, now: Time) -> Option<Time> {
        let after = self.patience()?;
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

    /// Too many large payloads are on their way; gives when whoever is to blame is evicted, if that is news.
    pub(crate) fn shut_to_larges(&mut self, now: Time) -> Option<Time> {
        let after = self.patience()?;
        if self.eviction.larges_at.is_some() {
            return None;
        }
        self.eviction.larges_at = Some(now + after);
        self.eviction.larges_at
    }

    /// Another large payload may begin.
    pub(crate) fn reopen_to_larges(&mut self) {
        self.eviction.larges_at = None;
    }

    /// When whoever keeps large payloads from beginning is evicted.
    pub(crate) fn evicts_for_larges_at(&self) -> Option<Time> {
        self.eviction.larges_at
    }

    /// That comes at another time.
    pub(crate) fn put_eviction_for_larges_off(&mut self, at: Time) {
        self.eviction.larges_at = Some(at);
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
        let after = member.acked_live();
        // It is left out because there is something to send, which follows at once.
        let lags = self.keeps_last().then_some(upto + 1);
        let evicted = EvictedOut { member, upto, lags };
        self.eviction.members.insert(node, evicted);
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
        let EvictedOut { member, upto, .. } = self.eviction.members.remove(&node)?;
        // What it is owed of former lives it is owed yet.
        self.gone.insert(node, member);
        Some(upto)
    }

    /// Those that are left out, and do not lag.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = NodeId> + '_ {
        let out = self.eviction.members.iter();
        let out = out.filter(|(_, evicted)| evicted.lags.is_none());
        out.map(|(&node, _)| node)
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
    pub(crate) fn is_evicted(&self, holder: &Holder) -> bool {
        let evicted = self.eviction.members.get(&holder.node);
        evicted.is_some_and(|e| (e.member.epoch, e.member.tenure) == (holder.epoch, holder.tenure))
    }

    /// Forgets those that do not hold the role any longer, if there are any; of those that lag, gives what they had not acknowledged.
    pub(super) fn forget_evicted(&mut self, holders: &[Holder]) -> Option<Vec<LostMember>> {
        let upto = self.next - 1;
        let mut lost = Vec::new();
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
            if let Some(EvictedOut {
                mut member, lags, ..
            }) = members.remove(&node)
            {
                let after = member.acked_live();
                if lags.is_some() && after < upto {
                    lost.push(LostMember { node, after, upto });
                }
                member.owe(self.epoch, upto);
                self.gone.insert(node, member);
            }
        }
        self.eviction.members = members;
        self.forget_kept();
        (self.eviction.members.len() < before).then_some(lost)
    }

    /// In another life of this node all are members again, and what they missed is owed to them; gives which ones were left out.
    pub(super) fn renew_evicted(&mut self) -> Vec<NodeId> {
        self.eviction.at = None;
        self.eviction.larges_at = None;
        let evicted = std::mem::take(&mut self.eviction.members);
        self.eviction.kept = KeptLast::default();
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
            .map(|(&node, evicted)| DestEvicted {
                node,
                epoch: evicted.member.epoch,
                tenure: evicted.member.tenure,
                start: evicted.member.start,
                upto: evicted.upto,
                lags: evicted.lags,
            })
            .collect()
    }
}
