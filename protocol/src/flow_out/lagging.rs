//! Members that lag behind a flow which keeps the last message of each key for them.

use rolecast_membership::NodeId;

use super::evicted::{EvictedOut, Eviction};
use super::{FlowOut, Holder, MemberOut};
use crate::batch::Batch;
use crate::canary::planted;
use crate::kept::Run;
use crate::slow::SlowMembers;

/// What a member that lags is sent when it has taken what it had.
#[derive(Debug)]
pub(crate) struct CatchUp {
    /// The last message that it had.
    pub(crate) after: u64,
    /// What it gets of those that follow, in order.
    pub(crate) runs: Vec<Run>,
    /// Whether it has caught up with that.
    pub(crate) complete: bool,
}

impl Eviction {
    /// Those that lag.
    pub(super) fn lagging(&self) -> impl Iterator<Item = &MemberOut> {
        let lagging = self.members.values().filter(|e| e.lags.is_some());
        lagging.map(|evicted| &evicted.member)
    }

    /// The same, with their nodes.
    fn lagging_nodes(&self) -> impl Iterator<Item = (NodeId, &MemberOut)> {
        let lagging = self.members.iter().filter(|(_, e)| e.lags.is_some());
        lagging.map(|(&node, evicted)| (node, &evicted.member))
    }

    /// A node, if it lags.
    pub(super) fn lagging_one(&self, node: NodeId) -> Option<&MemberOut> {
        let evicted = self.members.get(&node)?;
        evicted.lags.map(|_| &evicted.member)
    }

    /// A node, if it lags.
    pub(super) fn lagging_mut(&mut self, node: NodeId) -> Option<&mut MemberOut> {
        let evicted = self.members.get_mut(&node)?;
        evicted.lags.map(|_| &mut evicted.member)
    }
}

impl FlowOut {
    /// Whether it keeps the last message of each key for those that lag.
    pub(crate) fn keeps_last(&self) -> bool {
        self.eviction.slow == SlowMembers::KeepLast
    }

    /// How many holders a message is for, with those that lag.
    pub(crate) fn meant_count(&self) -> usize {
        self.members.len() + self.eviction.lagging().count()
    }

    /// The holders a message is for, with those that lag, in the order of their ids, each with the last message that it acknowledged.
    pub(crate) fn meant(&self) -> Vec<(NodeId, u64)> {
        let acked = |(&node, member): (&NodeId, &MemberOut)| (node, member.acked);
        let members = self.members.iter().map(acked);
        let lagging = self
            .eviction
            .lagging_nodes()
            .map(|(node, m)| (node, m.acked));
        let mut meant: Vec<_> = members.chain(lagging).collect();
        meant.sort_unstable();
        meant
    }

    /// Keeps a batch that was just numbered for those that lag, if there are any.
    pub(crate) fn keep_last(&mut self, first: u64, batch: &Batch, bytes_max: usize) {
        if self.eviction.lagging().next().is_some() {
            self.eviction.kept.keep(first, batch, bytes_max);
        }
    }

    /// Bytes kept for those that lag.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.eviction.kept.bytes()
    }

    /// Lets go of what everybody who lags was sent.
    pub(super) fn forget_kept(&mut self) {
        let lagging = self.eviction.members.values().filter(|e| e.lags.is_some());
        let upto = lagging.map(|evicted| evicted.upto).min();
        self.eviction.kept.forget_upto(upto.unwrap_or(u64::MAX));
    }

    /// A holding of the role that lags has taken everything up to `upto`: takes out what it is sent next, a window of it at most.
    /// From here on that counts as sent.
    pub(crate) fn catch_up(
        &mut self,
        holder: Holder,
        upto: u64,
        window_bytes: usize,
    ) -> Option<CatchUp> {
        if !self.is_evicted(&holder) {
            return None;
        }
        let exists = self.next - 1;
        let EvictedOut {
            upto: sent, lags, ..
        } = self.eviction.members.get_mut(&holder.node)?;
        if *sent != upto || lags.is_none() {
            return None;
        }
        let mut runs = self.eviction.kept.runs(upto, window_bytes);
        if planted!(KeptUnsent) {
            runs.drain(..runs.len().saturating_sub(1));
        }
        let last = runs.last().map_or(exists, |run| run.last);
        *sent = last;
        *lags = Some(exists);
        self.on_set_changed();
        Some(CatchUp {
            after: upto,
            complete: !self.eviction.kept.has_after(last),
            runs,
        })
    }

    /// A member has caught up: what is sent from here on is sent to it at once; gives the first message of that.
    pub(crate) fn bring_back(&mut self, node: NodeId) -> Option<u64> {
        let EvictedOut { mut member, .. } = self.eviction.members.remove(&node)?;
        member.start = self.next;
        member.replayed = 0;
        self.members.insert(node, member);
        self.on_set_changed();
        self.forget_kept();
        Some(self.next)
    }
}
