//! Views: once everything works, every node sees what is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use rolecast_membership::{Epoch, NodeId, RoleName};

/// What one node sees: who lives, in which life, and who holds what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The members with their lives.
    pub members: BTreeMap<NodeId, Epoch>,
    /// The holders of every role asked for.
    pub holders: BTreeMap<RoleName, BTreeSet<NodeId>>,
}

impl View {
    /// The view with nothing in it of these nodes.
    pub(super) fn without(&self, nodes: &BTreeSet<NodeId>) -> View {
        let members = self
            .members
            .iter()
            .filter(|(node, _)| !nodes.contains(node));
        let holders = self.holders.iter().map(|(role, seen)| {
            let seen = seen.difference(nodes).copied().collect();
            (role.clone(), seen)
        });
        View {
            members: members.map(|(&node, &epoch)| (node, epoch)).collect(),
            holders: holders.collect(),
        }
    }
}

/// What a view says and what is true, at the first point where they differ.
pub(super) fn difference(
    truth: &BTreeMap<NodeId, (Epoch, BTreeSet<RoleName>)>,
    view: &View,
) -> Option<(String, String)> {
    let lives: BTreeMap<NodeId, Epoch> = truth
        .iter()
        .map(|(&node, &(epoch, _))| (node, epoch))
        .collect();
    if lives != view.members {
        return Some((members(&view.members), members(&lives)));
    }
    view.holders.iter().find_map(|(role, seen)| {
        let held = truth.iter().filter(|(_, (_, roles))| roles.contains(role));
        let held: BTreeSet<NodeId> = held.map(|(&node, _)| node).collect();
        (held != *seen).then(|| (holders(role, seen), holders(role, &held)))
    })
}

fn members(lives: &BTreeMap<NodeId, Epoch>) -> String {
    let mut text = format!("{} members:", lives.len());
    for (node, epoch) in lives {
        // Writing to a string cannot fail.
        let _ = write!(text, " {node} in life {epoch}");
    }
    text
}

fn holders(role: &RoleName, nodes: &BTreeSet<NodeId>) -> String {
    let mut text = format!("{} holders of {role:?}:", nodes.len());
    for node in nodes {
        // Writing to a string cannot fail.
        let _ = write!(text, " {node}");
    }
    text
}
