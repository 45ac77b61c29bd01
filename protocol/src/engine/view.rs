//! What this node knows of the mesh and of its own flows, for those who ask.

use rolecast_membership::{Identity, Member, NodeId, Record, RoleName};

use super::Engine;
use crate::api::{FlowId, LinkId, Seq};
use crate::flow_out::FlowOut;

impl Engine {
    /// The version of a flow's destination set; it rises whenever [`Engine::acknowledged`] names other nodes.
    #[must_use]
    pub fn destination_version(&self, flow: FlowId) -> u32 {
        self.flows_out.get(&flow).map_or(0, FlowOut::version)
    }

    /// The nodes that a message of a flow goes to at this moment, those that lag included, in the order of their ids, each with the last message that it acknowledged.
    #[must_use]
    pub fn acknowledged(&self, flow: FlowId) -> Vec<(NodeId, Seq)> {
        let meant = self.flows_out.get(&flow).map(FlowOut::meant);
        let meant = meant.into_iter().flatten();
        meant.map(|(node, upto)| (node, Seq(upto))).collect()
    }

    /// This node, in its present life.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.me
    }

    /// The live members as this node sees them; this node itself comes first.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let own = Member {
            record: self.record().clone(),
            liveness: rolecast_membership::Liveness::Alive,
        };
        std::iter::once(own).chain(self.others().cloned()).collect()
    }

    /// What this node says about itself.
    #[must_use]
    pub fn record(&self) -> &Record {
        self.membership.record()
    }

    /// The live members other than this node, as it sees them, in the order of their ids.
    pub fn others(&self) -> impl Iterator<Item = &Member> {
        self.membership.members()
    }

    /// The live member with this id, as this node sees it; this node itself is none.
    #[must_use]
    pub fn other(&self, node: NodeId) -> Option<&Member> {
        self.membership.member(node)
    }

    /// The live holders of a role as this node sees them, itself included, sorted.
    #[must_use]
    pub fn holders(&self, role: &RoleName) -> Vec<NodeId> {
        let holders = self.holders_of(role).into_iter();
        holders.map(|holder| holder.node).collect()
    }

    /// The link to this peer, if there is one.
    #[must_use]
    pub fn link_of(&self, peer: NodeId) -> Option<LinkId> {
        self.peers.get(peer)?.direct()
    }

    /// Multicasts that this node has passed on, each counted for every member to which it went.
    #[must_use]
    pub fn relayed(&self) -> u64 {
        self.relayed
    }
}
