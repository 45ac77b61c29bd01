//! The shortest working way to a member that cannot be reached over a link of one's own.
//!
//! Every record says which members its node cannot reach, and two members count as linked unless one of them says otherwise: links come up on demand, so that there is none says nothing.
//! A search in breadth from this node, over its own links, finds the ways with the fewest links; which one of them is taken follows from the ends, so that it is the same every time, and others between other ends.

use std::collections::{BTreeMap, BTreeSet};

use rolecast_membership::{NodeId, Time};

use crate::canary::planted;
use crate::wire::relay::HOPS_MAX;

/// Links between others that did not work when they were tried.
#[derive(Debug, Default)]
pub(crate) struct Avoided(BTreeMap<(NodeId, NodeId), Time>);

/// So many of them are remembered.
const AVOIDED_MAX: usize = 1_024;

impl Avoided {
    /// The link did not work, and is not tried again before `until`.
    pub(crate) fn add(&mut self, now: Time, link: (NodeId, NodeId), until: Time) {
        self.0.retain(|_, until| *until > now);
        if self.0.len() < AVOIDED_MAX {
            self.0.insert(link, until);
        }
    }

    /// Forgets what may be tried again.
    pub(crate) fn expire(&mut self, now: Time) {
        self.0.retain(|_, until| *until > now);
    }

    fn has(&self, from: NodeId, to: NodeId) -> bool {
        self.0.contains_key(&(from, to))
    }
}

/// What is known of the links of the mesh.
pub(crate) struct Map<'a> {
    pub(crate) me: NodeId,
    /// The members that this node has a link to.
    pub(crate) linked: Vec<NodeId>,
    /// Of every other live member, whom it says that it cannot reach.
    pub(crate) members: BTreeMap<NodeId, &'a BTreeSet<NodeId>>,
    pub(crate) avoided: &'a Avoided,
}

impl Map<'_> {
    /// The nodes of the shortest way to a node, both ends included; none if there is no way, or none that is short enough.
    pub(crate) fn route_to(&self, to: NodeId) -> Option<Vec<NodeId>> {
        let mut before: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        let mut edge = self.linked.clone();
        edge.retain(|&node| {
            node != to && self.members.contains_key(&node) && !self.avoided.has(self.me, node)
        });
        for &node in &edge {
            before.insert(node, self.me);
        }
        let mut unseen: BTreeSet<NodeId> = self.members.keys().copied().collect();
        unseen.insert(to);
        unseen.retain(|node| !before.contains_key(node));
        for _ in 1..HOPS_MAX {
            // Of several ways of the same length, the one over the node that weighs most for these two ends.
            edge.sort_unstable_by_key(|&node| std::cmp::Reverse((weight(self.me, to, node), node)));
            let mut next = Vec::new();
            for &node in &edge {
                unseen.retain(|&other| {
                    let reached = self.works(node, other);
                    if reached {
                        before.insert(other, node);
                        next.push(other);
                    }
                    !reached
                });
            }
            if before.contains_key(&to) {
                return Some(self.unwind(&before, to));
            }
            edge = next;
        }
        None
    }

    fn unwind(&self, before: &BTreeMap<NodeId, NodeId>, to: NodeId) -> Vec<NodeId> {
        let mut route = vec![to];
        while let Some(&node) = before.get(&route[route.len() - 1]) {
            route.push(node);
        }
        route.reverse();
        debug_assert_eq!(route[0], self.me);
        if planted!(RouteWithLoop) && route.len() <= HOPS_MAX {
            route.insert(1, to);
        }
        route
    }

    /// Whether a link between two others is worth trying.
    fn works(&self, from: NodeId, to: NodeId) -> bool {
        let denies = |one: NodeId, other: NodeId| {
            let said = self.members.get(&one);
            said.is_some_and(|unreachable| unreachable.contains(&other))
        };
        !denies(from, to) && !denies(to, from) && !self.avoided.has(from, to)
    }
}

/// The weight of a node between two ends: as random as their keys, and the same in both directions (rendezvous hashing, as for sticky calls).
fn weight(one: NodeId, other: NodeId, between: NodeId) -> u64 {
    let word = |node: NodeId| {
        let bytes = node.as_bytes()[..8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    };
    let ends = word(one) ^ word(other);
    let mut mixed = ends.wrapping_mul(MIX) ^ word(between);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(MIX);
    mixed ^ mixed >> 29
}

/// An odd number without a pattern: the golden ratio in 64 bits.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::strategies::id;

    /// The route of node 0 to another one in a mesh of `nodes` in which these pairs have a link.
    fn route(nodes: u8, links: &[(u8, u8)], to: u8, avoided: &[(u8, u8)]) -> Option<Vec<u8>> {
        let linked = |a: u8, b: u8| links.contains(&(a.min(b), a.max(b)));
        let unreachable: BTreeMap<u8, BTreeSet<NodeId>> = (0..nodes)
            .map(|a| {
                let others = (0..nodes).filter(|&b| b != a && !linked(a, b));
                (a, others.map(id).collect())
            })
            .collect();
        let mut tried = Avoided::default();
        for &(from, to) in avoided {
            tried.add(Time::ZERO, (id(from), id(to)), Time::from_millis(1));
        }
        let map = Map {
            me: id(0),
            linked: (1..nodes).filter(|&node| linked(0, node)).map(id).collect(),
            members: (1..nodes)
                .map(|node| (id(node), &unreachable[&node]))
                .collect(),
            avoided: &tried,
        };
        let route = map.route_to(id(to))?;
        let number = |node: &NodeId| (0..nodes).find(|&n| id(n) == *node).expect("a member");
        Some(route.iter().map(number).collect())
    }

    #[test]
    fn the_shortest_way_is_taken_and_none_that_is_too_long() {
        let chain: Vec<(u8, u8)> = (0..5).map(|n| (n, n + 1)).collect();
        assert_eq!(route(6, &chain, 2, &[]), Some(vec![0, 1, 2]));
        assert_eq!(route(6, &chain, 4, &[]), Some(vec![0, 1, 2, 3, 4]));
        assert_eq!(route(6, &chain, 5, &[]), None);
        let ring: Vec<(u8, u8)> = chain.iter().copied().chain([(0, 5)]).collect();
        assert_eq!(route(6, &ring, 4, &[]), Some(vec![0, 5, 4]));
        assert_eq!(route(6, &ring, 4, &[(5, 4)]), Some(vec![0, 1, 2, 3, 4]));
        assert_eq!(route(6, &ring[..4], 5, &[]), None);
    }

    #[test]
    fn no_way_comes_to_a_node_twice_and_every_link_of_it_works() {
        // Every graph of five nodes.
        let pairs: Vec<(u8, u8)> = (0..5)
            .flat_map(|a| (a + 1..5).map(move |b| (a, b)))
            .collect();
        for mask in 0..1 << pairs.len() {
            let links = (0..pairs.len()).filter(|bit| mask >> bit & 1 == 1);
            let links: Vec<(u8, u8)> = links.map(|bit| pairs[bit]).collect();
            let mut reached = BTreeSet::from([0]);
            for _ in 0..5 {
                let more = links.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
                let more = more.filter(|(a, _)| reached.contains(a));
                let more: Vec<u8> = more.map(|(_, b)| b).collect();
                reached.extend(more);
            }
            for to in (1..5).filter(|&to| !links.contains(&(0, to))) {
                let route = route(5, &links, to, &[]);
                assert_eq!(route.is_some(), reached.contains(&to), "{links:?} to {to}");
                let Some(route) = route else { continue };
                let distinct: BTreeSet<u8> = route.iter().copied().collect();
                assert_eq!(distinct.len(), route.len());
                let works =
                    |pair: &[u8]| links.contains(&(pair[0].min(pair[1]), pair[0].max(pair[1])));
                assert!(route.windows(2).all(works), "{links:?} by {route:?}");
            }
        }
    }

    #[test]
    fn the_load_is_spread_over_those_between() {
        let to = 1;
        let links: Vec<(u8, u8)> = (2..8).flat_map(|n| [(0, n), (1, n)]).collect();
        let first = route(8, &links, to, &[]).expect("six of them")[1];
        let relays: BTreeSet<NodeId> = (8..60)
            .map(|end| {
                let between = (2..8).map(id);
                between
                    .max_by_key(|&node| weight(id(0), id(end), node))
                    .expect("six")
            })
            .collect();
        assert_eq!(relays.len(), 6);
        assert!((2..8).contains(&first));
        assert_eq!(weight(id(0), id(1), id(2)), weight(id(1), id(0), id(2)));
    }
}
