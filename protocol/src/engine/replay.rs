//! What was sent before a member came, for those that ask for it.
//!
//! Whoever takes up a role says in its record how many messages it wants of each sender.
//! A sender that keeps its last messages ([`Limits::replay_bytes`](crate::Limits::replay_bytes)) lets such a member begin that much earlier: the destination set names the first of them as its start, and they go into its session before whatever is sent next.
//! So order, acknowledgements and gaps are those of all messages.

use rolecast_membership::{NodeId, Record, RoleName};

use super::Engine;
use crate::api::FlowId;
use crate::canary::planted;

impl Engine {
    /// Sends what they ask for to members that have just come.
    pub(super) fn replay_to_newcomers(&mut self, id: FlowId) {
        let flow = self.flows_out.get_mut(&id).expect("it is open");
        let newcomers = flow.take_newcomers();
        if newcomers.is_empty() {
            return;
        }
        let role = flow.role.clone();
        for node in newcomers {
            let wanted = self.wanted_by(node, &role);
            if wanted > 0 {
                self.replay_to(id, node, wanted);
            }
        }
    }

    /// How many former messages a node wants that holds a role.
    fn wanted_by(&self, node: NodeId, role: &RoleName) -> u32 {
        let base = role.base();
        let wanted = |record: &Record| {
            let held = *record.roles.get(&base)?;
            // Whoever came to a place later has an inbox that began elsewhere, and may have been sent what was sent here.
            let begins = role.place().tenure(record, held) == Some(held) || planted!(MoveReplays);
            record.replays.get(&base).copied().filter(|_| begins)
        };
        self.record_of(node).and_then(wanted).unwrap_or(0)
    }

    fn replay_to(&mut self, id: FlowId, node: NodeId, wanted: u32) {
        // What follows at once may fill another window.
        let window = self.window_with(node) / 2;
        let key = self.own_key(id);
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return;
        };
        let Some((epoch, runs)) = flow.replay(node, wanted, window) else {
            return;
        };
        let (version, announcement) = flow.announcement(key);
        if node != self.me.id {
            self.announce((node, epoch), key, version, &announcement);
        }
        for run in runs {
            if !planted!(ReplayUnsent) {
                self.send_kept(id, (node, epoch), version, run);
            }
        }
    }

    /// Bytes of a flow that may be on the way to a member.
    pub(super) fn window_with(&self, node: NodeId) -> usize {
        let theirs = self.peers.get(node).and_then(|peer| peer.window_bytes);
        let own = self.limits.flow_window_bytes;
        theirs.map_or(own, |theirs| theirs.min(own))
    }
}
