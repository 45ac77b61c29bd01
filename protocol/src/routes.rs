//! The shortest working way to a member that cannot be reached over a link of one's own.
//!
//! Every record says which members its node cannot reach, and two members count as linked unless one of them says otherwise: links come up on demand, so that there is none says nothing.
//! A search in breadth from this node, over its own links, finds the ways with the fewest links to all members at once; which one of them is taken follows from the ends, so that it is the same every time, and others between other ends.

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

    /// Whether everything may be tried.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, from: NodeId, to: NodeId) -> bool {
        self.0.contains_key(&(from, to))
    }
}

/// What is known of the links of the mesh.
pub(crate) struct Map<'a> {
    pub(crate) me: NodeId,
    /// The members that this node has a link to.
    pub(crate) linked: BTreeSet<NodeId>,
    /// Of every other live member, whom it says that it cannot reach.
    pub(crate) members: BTreeMap<NodeId, &'a BTreeSet<NodeId>>,
}

/// The shortest ways from this node to all members that have one, from one search.
pub(crate) struct Ways<'a> {
    map: &'a Map<'a>,
    avoided: &'a Avoided,
    /// How many links away each of them is.
    links: BTreeMap<NodeId, usize>,
    /// Those that may pass on, by how many links they are away, from one on.
    between: Vec<Vec<NodeId>>,
}

impl<'a> Map<'a> {
    /// Looks for the shortest ways to all members.
    ///
    /// Whoever is reached is looked at no more, so that this takes as long as there are members, and links that are denied.
    pub(crate) fn search(&'a self, avoided: &'a Avoided) -> Ways<'a> {
        let mut unseen: BTreeSet<NodeId> = self.members.keys().copied().collect();
        let linked = |node: &NodeId| self.linked.contains(node) && !avoided.has(self.me, *node);
        let mut edge: Vec<NodeId> = unseen.iter().copied().filter(linked).collect();
        for node in &edge {
            unseen.remove(node);
        }
        let mut links: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut between = Vec::new();
        for away in 2..=HOPS_MAX {
            let mut next = Vec::new();
            for &node in &edge {
                unseen.retain(|&other| {
                    let reached = self.works(avoided, node, other);
                    if reached {
                        next.push(other);
                    }
                    !reached
                });
            }
            links.extend(next.iter().map(|&node| (node, away)));
            between.push(std::mem::replace(&mut edge, next));
        }
        Ways {
            map: self,
            avoided,
            links,
            between,
        }
    }

    /// Whether a link between two others is worth trying.
    fn works(&self, avoided: &Avoided, from: NodeId, to: NodeId) -> bool {
        #[cfg(test)]
        tests::LOOKED_AT.set(tests::LOOKED_AT.get() + 1);
        let denies = |one: NodeId, other: NodeId| {
            let said = self.members.get(&one);
            said.is_some_and(|unreachable| unreachable.contains(&other))
        };
        !denies(from, to) && !denies(to, from) && !avoided.has(from, to)
    }
}

impl Ways<'_> {
    /// The nodes of the shortest way over others to a member, both ends included; none if there is no way, or none that is short enough.
    pub(crate) fn to(&self, to: NodeId) -> Option<Vec<NodeId>> {
        let me = self.map.me;
        let links = *self.links.get(&to)?;
        let mut route = vec![to];
        for nodes in self.between[..links - 1].iter().rev() {
            let last = route[route.len() - 1];
            let before = nodes.iter().copied();
            let before = before.filter(|&node| self.map.works(self.avoided, node, last));
            // Of several ways of the same length, the one over the node that weighs most for these two ends.
            let heaviest = before.max_by_key(|&node| (weight(me, to, node), node));
            route.push(heaviest.expect("it was reached from there"));
        }
        route.push(me);
        route.reverse();
        if planted!(RouteWithLoop) && route.len() <= HOPS_MAX {
            route.insert(1, to);
        }
        Some(route)
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
    use std::cell::Cell;

    use super::*;
    use crate::wire::strategies::id;

    thread_local! {
        /// How many links between others were looked at.
        pub(super) static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
    }

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
        };
        let route = map.search(&tried).to(id(to))?;
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
    fn a_search_looks_at_each_link_between_the_halves_of_a_mesh_once() {
        // 500 nodes in halves of 250, of which each names those of the other half that a record has room for.
        let node = |n: u16| {
            let mut bytes = [0; 32];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            NodeId::from_bytes(bytes)
        };
        let halves: [BTreeSet<NodeId>; 2] =
            [(0..250).map(node).collect(), (250..500).map(node).collect()];
        let bridge = node(249);
        let nobody = BTreeSet::new();
        for bridged in [false, true] {
            let denies = |n: u16| match (n < 250, bridged && node(n) == bridge) {
                (_, true) => &nobody,
                (true, false) => &halves[1],
                (false, false) => &halves[0],
            };
            let mut members: BTreeMap<NodeId, &BTreeSet<NodeId>> =
                (1..500).map(|n| (node(n), denies(n))).collect();
            let mut without_bridge = halves[0].clone();
            without_bridge.remove(&bridge);
            if bridged {
                for n in 250..500 {
                    members.insert(node(n), &without_bridge);
                }
            }
            let mut linked = halves[0].clone();
            linked.remove(&node(0));
            let map = Map {
                me: node(0),
                linked,
                members,
            };
            let nothing = Avoided::default();
            LOOKED_AT.set(0);
            let ways = map.search(&nothing);
            let over: BTreeSet<Option<NodeId>> = (250..500)
                .map(|n| ways.to(node(n)).map(|route| route[1]))
                .collect();
            let expected = bridged.then_some(bridge);
            assert_eq!(over, BTreeSet::from([expected]));
            // Each pair of the halves once for the search, and once more for each way that there is.
            let pairs = 250 * 250;
            let most = if bridged { 2 * pairs } else { pairs };
            assert!(LOOKED_AT.get() <= most, "{} links", LOOKED_AT.get());
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
