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

/// Who lives, and who holds what: what every view is to say.
#[derive(Debug, Default)]
pub struct Truth {
    lives: BTreeMap<NodeId, Epoch>,
    holders: BTreeMap<RoleName, BTreeSet<NodeId>>,
    /// Nodes of which a view may say anything.
    excused: BTreeSet<NodeId>,
}

impl Truth {
    pub(super) fn new(
        lives: impl Iterator<Item = (NodeId, Epoch, BTreeSet<RoleName>)>,
        excused: BTreeSet<NodeId>,
    ) -> Self {
        let mut truth = Truth {
            excused,
            ..Truth::default()
        };
        for (node, epoch, roles) in lives {
            truth.lives.insert(node, epoch);
            for role in roles {
                truth.holders.entry(role).or_default().insert(node);
            }
        }
        truth
    }

    /// What a view says and what is true, at the first point where they differ.
    #[must_use]
    pub fn differs(&self, view: &View) -> Option<(String, String)> {
        if self.excused.is_empty() {
            return self.difference(view);
        }
        self.difference(&view.without(&self.excused))
    }

    fn difference(&self, view: &View) -> Option<(String, String)> {
        if self.lives != view.members {
            return Some((members(&view.members), members(&self.lives)));
        }
        let nobody = BTreeSet::new();
        view.holders.iter().find_map(|(role, seen)| {
            let held = self.holders.get(role).unwrap_or(&nobody);
            (held != seen).then(|| (holders(role, seen), holders(role, held)))
        })
    }
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
