//! Anycasts, unicasts, requests and scatter-gathers that await their end.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, RoleName, Time};
use siphasher::sip::SipHasher13;

use crate::api::{CallId, CallKind, Pick, Target};

/// The calls of this node that are outstanding.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// Boxed, because the map's nodes have room for eleven.
    by_id: BTreeMap<CallId, Box<Call>>,
    by_deadline: BTreeSet<(Time, CallId)>,
    /// How many answers each node owes, among them some that owe none.
    owed: BTreeMap<NodeId, u32>,
    last_id: u64,
    /// Where the next round-robin choice of each role starts.
    turns: BTreeMap<RoleName, NodeId>,
}

/// One outstanding call.
#[derive(Debug)]
pub(crate) struct Call {
    deadline: Time,
    pub(crate) kind: Kind,
}

/// What differs between a call to one and a question to all.
#[derive(Debug)]
pub(crate) enum Kind {
    /// One holder is to answer.
    One(One),
    /// Every one of these is to answer.
    All { waiting: BTreeMap<NodeId, Epoch> },
}

/// A call that one holder is to answer.
#[derive(Debug)]
pub(crate) struct One {
    pub(crate) target: Target,
    pub(crate) kind: CallKind,
    pub(crate) payload: Bytes,
    /// The holder that has it, in which life.
    pub(crate) at: (NodeId, Epoch),
    /// The number of its frame in that holder's session; `None` if the holder is this node itself.
    pub(crate) frame: Option<u64>,
    /// Holders that refused it or could not be reached.
    pub(crate) tried: BTreeSet<NodeId>,
}

impl Call {
    /// From which life of a node an answer is awaited, if from any.
    fn awaited_from(&self, node: NodeId) -> Option<Epoch> {
        match &self.kind {
            Kind::One(one) => (one.at.0 == node).then_some(one.at.1),
            Kind::All { waiting } => waiting.get(&node).copied(),
        }
    }
}

impl Calls {
    /// A number for the next call.
    pub(crate) fn next_id(&mut self) -> CallId {
        self.last_id += 1;
        CallId(self.last_id)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn insert_one(&mut self, id: CallId, one: One, deadline: Time) {
        self.owe(one.at.0, 1);
        self.by_deadline.insert((deadline, id));
        let kind = Kind::One(one);
        self.by_id.insert(id, Box::new(Call { deadline, kind }));
    }

    pub(crate) fn insert_all(
        &mut self,
        id: CallId,
        waiting: BTreeMap<NodeId, Epoch>,
        deadline: Time,
    ) {
        for &node in waiting.keys() {
            self.owe(node, 1);
        }
        self.by_deadline.insert((deadline, id));
        let kind = Kind::All { waiting };
        self.by_id.insert(id, Box::new(Call { deadline, kind }));
    }

    /// Takes a call out.
    pub(crate) fn remove(&mut self, id: CallId) -> Option<Box<Call>> {
        let call = self.by_id.remove(&id)?;
        self.by_deadline.remove(&(call.deadline, id));
        match &call.kind {
            Kind::One(one) => self.owe(one.at.0, -1),
            Kind::All { waiting } => {
                for &node in waiting.keys() {
                    self.owe(node, -1);
                }
            }
        }
        Some(call)
    }

    /// Takes out a call to one whose answer has to come from this node; puts nothing in its place.
    pub(crate) fn remove_one_at(&mut self, id: CallId, at: NodeId) -> Option<(One, Time)> {
        match &self.by_id.get(&id)?.kind {
            Kind::One(one) if one.at.0 == at => {}
            _ => return None,
        }
        let Call { deadline, kind } = *self.remove(id)?;
        match kind {
            Kind::One(one) => Some((one, deadline)),
            Kind::All { .. } => None,
        }
    }

    /// Notes one holder's answer to a question to all; says whether it was the last one, or `None` if none was awaited from it.
    pub(crate) fn answer_of_many(&mut self, id: CallId, node: NodeId) -> Option<bool> {
        let Kind::All { waiting } = &mut self.by_id.get_mut(&id)?.kind else {
            return None;
        };
        waiting.remove(&node)?;
        let last = waiting.is_empty();
        self.owe(node, -1);
        if last {
            self.remove(id);
        }
        Some(last)
    }

    /// Whether a call awaits an answer from this life of a node.
    pub(crate) fn awaits(&self, id: CallId, node: NodeId, epoch: Epoch) -> bool {
        self.by_id
            .get(&id)
            .is_some_and(|call| call.awaited_from(node) == Some(epoch))
    }

    /// The nodes from which a call awaits an answer.
    pub(crate) fn awaited(&self, id: CallId) -> Vec<NodeId> {
        match self.by_id.get(&id).map(|call| &call.kind) {
            Some(Kind::One(one)) => vec![one.at.0],
            Some(Kind::All { waiting }) => waiting.keys().copied().collect(),
            None => Vec::new(),
        }
    }

    /// The calls that await an answer from a life of a node before this one.
    pub(crate) fn awaiting_before(&self, node: NodeId, epoch: Epoch) -> Vec<CallId> {
        if self.owed_by(node) == 0 {
            return Vec::new();
        }
        let awaits = |call: &Call| call.awaited_from(node).is_some_and(|from| from < epoch);
        self.by_id
            .iter()
            .filter(|(_, call)| awaits(call))
            .map(|(&id, _)| id)
            .collect()
    }

    /// Takes out a call whose deadline has passed.
    pub(crate) fn pop_expired(&mut self, now: Time) -> Option<(CallId, Box<Call>)> {
        let &(_, id) = self
            .by_deadline
            .first()
            .filter(|(deadline, _)| *deadline <= now)?;
        self.remove(id).map(|call| (id, call))
    }

    /// When the next deadline passes.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.by_deadline.first().map(|&(deadline, _)| deadline)
    }

    /// Chooses one of the holders, which come sorted by node.
    pub(crate) fn choose(
        &mut self,
        role: &RoleName,
        pick: &Pick,
        holders: impl Iterator<Item = (NodeId, Epoch)> + Clone,
    ) -> Option<(NodeId, Epoch)> {
        match pick {
            Pick::RoundRobin => self.next_in_turn(role, holders),
            Pick::LeastOutstanding => holders.min_by_key(|(node, _)| self.owed_by(*node)),
            Pick::Sticky(key) => holders.max_by_key(|(node, _)| weight(key, node)),
        }
    }

    fn next_in_turn(
        &mut self,
        role: &RoleName,
        mut holders: impl Iterator<Item = (NodeId, Epoch)> + Clone,
    ) -> Option<(NodeId, Epoch)> {
        let first = holders.clone().next()?;
        let Some(turn) = self.turns.get_mut(role) else {
            if self.turns.len() >= TURNS_MAX {
                self.turns.clear();
            }
            self.turns.insert(role.clone(), first.0);
            return Some(first);
        };
        let chosen = holders.find(|(node, _)| node > turn).unwrap_or(first);
        *turn = chosen.0;
        Some(chosen)
    }

    /// How many answers a node owes.
    fn owed_by(&self, node: NodeId) -> u32 {
        self.owed.get(&node).copied().unwrap_or(0)
    }

    fn owe(&mut self, node: NodeId, change: i32) {
        if self.owed.len() > OWED_MAX {
            self.owed.retain(|_, owed| *owed > 0);
        }
        let owed = self.owed.entry(node).or_default();
        *owed = owed.saturating_add_signed(change);
    }
}

/// Nodes of which it is kept that they owe nothing, because they will owe something again.
const OWED_MAX: usize = 1_024;
/// Roles whose turn is remembered.
const TURNS_MAX: usize = 4_096;

/// The weight of a node for a key: rendezvous hashing takes the node with the greatest (Thaler, Ravishankar: "Using Name-Based Mappings to Increase Hit Rates", 1998).
fn weight(key: &[u8], node: &NodeId) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(node.as_bytes());
    hasher.write(key);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders(count: u8) -> Vec<(NodeId, Epoch)> {
        (0..count)
            .map(|n| (NodeId::from_bytes([n; 32]), Epoch(1)))
            .collect()
    }

    #[test]
    fn round_robin_gives_each_its_turn_also_when_holders_change() {
        let (mut calls, role) = (Calls::default(), "r".parse().expect("a role"));
        let mut turn = |holders: &[(NodeId, Epoch)]| {
            calls
                .choose(&role, &Pick::RoundRobin, holders.iter().copied())
                .map(|(node, _)| node.as_bytes()[0])
        };
        let three = holders(3);
        assert_eq!(
            [0; 4].map(|_| turn(&three)),
            [Some(0), Some(1), Some(2), Some(0)]
        );
        assert_eq!(turn(&three[2..]), Some(2));
        assert_eq!(turn(&three), Some(0));
        assert_eq!(turn(&[]), None);
    }

    #[test]
    fn sticky_moves_only_the_keys_of_the_holder_that_went() {
        let (mut calls, role) = (Calls::default(), "r".parse().expect("a role"));
        let all = holders(5);
        let mut moved = 0;
        for key in 0..200u32 {
            let pick = Pick::Sticky(Bytes::copy_from_slice(&key.to_le_bytes()));
            let mut choose = |holders: &[_]| calls.choose(&role, &pick, holders.iter().copied());
            let before = choose(&all).expect("there are holders");
            let after = choose(&all[1..]).expect("there are holders");
            if before == all[0] {
                moved += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!(
            (20..60).contains(&moved),
            "about a fifth of the keys move: {moved}"
        );
    }
}
