//! Narrowed roles, and patterns: which holders of a role are where, and which roles have names that begin alike.
//!
//! A narrowed role is a role like any other to its flows.
//! That a node moved is that it dropped some of them and took up others, in holdings of their own: the tenure of such a holding is the later of the version at which the node took up the role and the one at which it came to where it is.

use std::collections::BTreeMap;

use rand::RngExt;
use rolecast_membership::{Description, NodeId, Record, RecordError, RoleName, Time};

use super::{Engine, Holding};
use crate::canary::planted;
use crate::flow_out::Holder;

impl Engine {
    /// Says something else about this node from here on.
    ///
    /// Whatever is on its way to a role that is narrowed to where the node was is not meant for it any more, as if it had dropped that role.
    ///
    /// # Errors
    /// [`RecordError`]: nothing has changed.
    pub fn describe(&mut self, now: Time, description: Description) -> Result<(), RecordError> {
        let before = self.record().clone();
        if self.membership.describe(now, description)? {
            self.close_flows_elsewhere(now);
            let after = self.record().clone();
            self.follow_place(&before, &after);
        }
        self.follow_membership(now);
        Ok(())
    }

    /// A node says something else about itself: who holds the roles that are narrowed has changed.
    ///
    /// One that went elsewhere and came back is where it was, in other holdings.
    pub(super) fn follow_place(&mut self, before: &Record, after: &Record) {
        let same = before.placed == after.placed;
        if same && Description::of(before) == Description::of(after) || planted!(MoveUnnoticed) {
            return;
        }
        for role in after.roles.keys() {
            self.on_holders_changed(role);
        }
    }

    /// This node's holding of a role.
    pub(super) fn holding(&self, role: &RoleName) -> Option<Holding> {
        if !role.is_narrowed() {
            return self.roles.get(role).copied();
        }
        let Holding { inbox, tenure } = *self.roles.get(&role.base())?;
        let tenure = role.place().tenure(self.record(), tenure)?;
        Some(Holding { inbox, tenure })
    }

    /// Whether this node holds a role.
    #[must_use]
    pub fn is_holder(&self, role: &RoleName) -> bool {
        self.holding(role).is_some()
    }

    /// What a live node says of itself, be it this one.
    pub(super) fn record_of(&self, node: NodeId) -> Option<&Record> {
        if node == self.me.id {
            return Some(self.record());
        }
        self.membership.member(node).map(|member| &member.record)
    }

    /// The holders of a narrowed role.
    pub(super) fn holders_there(&self, role: &RoleName) -> Vec<Holder> {
        let place = role.place();
        let holders = self.holders.get(&role.base()).into_iter().flatten();
        let there = holders.filter_map(|(&node, &(epoch, held))| {
            let tenure = place.tenure(self.record_of(node)?, held)?;
            Some(Holder {
                node,
                epoch,
                tenure,
            })
        });
        there.collect()
    }

    /// The roles that a pattern stands for and somebody holds, narrowed as it is.
    #[must_use]
    pub fn matching(&self, pattern: &RoleName) -> Vec<RoleName> {
        let Some(prefix) = pattern.prefix() else {
            return vec![pattern.clone()];
        };
        let place = pattern.place();
        let known = self.roles_known_from(prefix);
        let known = known.filter_map(|role| role.narrowed(&place).ok());
        known
            .filter(|role| !self.holders_of(role).is_empty())
            .collect()
    }

    /// The roles that somebody holds whose names begin so.
    fn roles_known_from<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a RoleName> {
        let begin = move |role: &&RoleName| role.as_str().starts_with(prefix);
        let first = RoleName::new(prefix).expect("a pattern was checked");
        self.holders
            .range(first..)
            .map(|(role, _)| role)
            .take_while(begin)
    }

    /// Those that hold any of the roles that a pattern stands for, each once.
    pub(super) fn holders_of_any(&self, pattern: &RoleName) -> Vec<Holder> {
        let matching = self.matching(pattern);
        let holders = matching.iter().flat_map(|role| self.holders_of(role));
        let holders: BTreeMap<NodeId, Holder> = holders.map(|h| (h.node, h)).collect();
        holders.into_values().collect()
    }

    /// The role in which a node is called: one that it holds of those that a pattern stands for.
    pub(super) fn role_at(&mut self, node: NodeId, role: &RoleName) -> RoleName {
        if !role.is_pattern() {
            return role.clone();
        }
        let mut held = self.matching(role);
        held.retain(|role| self.holders_of(role).iter().any(|h| h.node == node));
        let one = self.rng.random_range(0..held.len());
        held.swap_remove(one)
    }

    /// The flows to roles that this node holds no longer because it moved have nowhere to go any more.
    fn close_flows_elsewhere(&mut self, now: Time) {
        let flows = self.flows_in.values();
        let elsewhere = flows.filter(|flow| {
            let role = flow.role().filter(|role| role.is_narrowed());
            role.is_some_and(|role| {
                let held = self.holding(role).map(|holding| holding.tenure);
                held != Some(flow.tenure())
            })
        });
        let elsewhere = elsewhere.map(|flow| flow.key).collect();
        self.close_flows(now, elsewhere);
    }
}
