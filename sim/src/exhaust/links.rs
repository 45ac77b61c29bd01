//! Every way in which the links of a small mesh can be cut without cutting anybody off.
//!
//! A link needs both directions, so a pair of nodes of which one direction is cut has no link.
//! A mesh is in one piece as long as the pairs that are left whole join all nodes; these are all the cuts that leave it so, those of single directions included.
//! Nobody dies, so whoever is declared down is a false alarm; and whatever is sent has to arrive and whatever is asked has to be answered while the cut lasts.

use rolecast_membership::Profile;
use rolecast_protocol::{Dissemination, Limits};

use super::NETWORK;
use crate::plan::{Breakage, CutShape, FOREVER_US, Fault, FaultPlan, Manner, Slot, Span, Way};
use crate::scenario::{Level, NetworkShape, Scenario};
use crate::workload::{Ask, Choice, Operation, Workload};

/// All scenarios of a mesh of this size.
#[derive(Clone, Debug)]
pub struct LinkCuts {
    nodes: Slot,
    /// How many cuts leave it in one piece.
    all: usize,
    /// Those that are run: of 5 nodes only one of those that are the same but for the names of the nodes.
    run: Vec<Cut>,
}

/// What a scenario of these is called.
pub(crate) const FAMILY: &str = "links";

/// What is cut between each pair of nodes, two bits a pair: from the lesser to the greater, and back.
type Cut = u32;

/// How long a cut lasts: for good, or long enough for every link to be given up and then to be taken back.
const LASTS_US: [u64; 2] = [FOREVER_US, 30_000_000];
/// When it is cut.
const CUT_US: u64 = 10_000_000;

impl LinkCuts {
    /// All scenarios of a mesh of 3 to 5 nodes; `None` for other sizes, which have too many or none.
    #[must_use]
    pub fn of(nodes: Slot) -> Option<Self> {
        (3..=5).contains(&nodes).then(|| {
            let pairs = pairs(nodes);
            let cuts = 1..1u32 << (2 * pairs.len());
            let whole = cuts.filter(|&cut| is_whole(nodes, &pairs, cut));
            let whole: Vec<Cut> = whole.collect();
            let run = match nodes {
                5 => one_of_each(nodes, &pairs, &whole),
                _ => whole.clone(),
            };
            let all = whole.len();
            LinkCuts { nodes, all, run }
        })
    }

    /// How many cuts leave the mesh in one piece.
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.all
    }

    /// How many of them are run; the others are the same but for the names of the nodes.
    #[must_use]
    pub fn run(&self) -> usize {
        self.run.len()
    }

    /// For how many times each is run, for good and to be mended.
    #[must_use]
    pub fn lasts(&self) -> usize {
        LASTS_US.len()
    }

    /// How many scenarios there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.run.len() * self.lasts()
    }

    /// One of them, from 0.
    #[must_use]
    pub fn scenario(&self, index: usize) -> Scenario {
        let for_us = LASTS_US[index % self.lasts()];
        let cut = self.run[index / self.lasts()];
        let what = Breakage::Cut {
            shape: CutShape::Partial,
            manner: Manner::Drop,
            spans: vec![Span {
                after_us: 0,
                for_us,
                ways: ways(&pairs(self.nodes), cut),
            }],
        };
        let (id, at_us) = (0, CUT_US);
        Scenario {
            family: FAMILY.to_string(),
            level: Level::Engine,
            seed: 0,
            nodes: self.nodes,
            starts_us: vec![Some(0); usize::from(self.nodes)],
            profile: Profile::Lan,
            limits: Limits::default(),
            // As patient as QUIC is in what people run.
            network: NetworkShape {
                idle_us: 10_000_000,
                keep_alive_us: 3_000_000,
                dial_us: 5_000_000,
                ..NETWORK
            },
            plan: FaultPlan {
                faults: vec![Fault { id, at_us, what }],
            },
            workload: workload(self.nodes),
            core: None,
            bound_us: 30_000_000,
            canary: None,
        }
    }
}

/// Everybody sends and asks: when nobody has noticed the cut, when some have, and when all is settled.
fn workload(nodes: Slot) -> Workload {
    let multicast = |dissemination: Dissemination| Ask::Multicast {
        role: 0,
        mode: dissemination.into(),
        count: 2,
        bytes: 64,
    };
    let request = |within_us| Ask::Anycast {
        role: 0,
        choice: Choice::RoundRobin,
        request: true,
        bytes: 64,
        within_us,
    };
    let mut operations = Vec::new();
    let mut put = |at_us, node, ask| {
        let id = u32::try_from(operations.len()).expect("a few");
        operations.push(Operation {
            id,
            at_us,
            node,
            ask,
        });
    };
    for (after_us, within_us) in [
        (500, 28_000_000),
        (11_000_000, 15_000_000),
        (22_000_000, 5_000_000),
    ] {
        for node in 0..nodes {
            let at_us = CUT_US + after_us + u64::from(node) * 50;
            put(at_us, node, multicast(Dissemination::Digest));
            put(at_us + 10, node, multicast(Dissemination::Eager));
            put(at_us + 20, node, multicast(Dissemination::BestEffort));
            // One for each other node.
            for other in 1..nodes {
                put(at_us + 20 + u64::from(other), node, request(within_us));
            }
        }
    }
    operations.sort_by_key(|operation| operation.at_us);
    Workload {
        roles: 1,
        held: vec![vec![0]; usize::from(nodes)],
        operations,
        evict_after_us: Vec::new(),
        keep_last_keys: Vec::new(),
        replays: Vec::new(),
        sites: Vec::new(),
    }
}

fn pairs(nodes: Slot) -> Vec<Way> {
    let pairs = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b)));
    pairs.collect()
}

/// The directed paths that are cut.
fn ways(pairs: &[Way], cut: Cut) -> Vec<Way> {
    let both = pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
    let cut = both.enumerate().filter(|(bit, _)| cut >> bit & 1 == 1);
    cut.map(|(_, way)| way).collect()
}

fn is_whole(nodes: Slot, pairs: &[Way], cut: Cut) -> bool {
    let whole = (0..pairs.len()).filter(|pair| cut >> (2 * pair) & 3 == 0);
    let whole: Vec<Way> = whole.map(|pair| pairs[pair]).collect();
    joins_all(nodes, &whole)
}

/// Whether these pairs join all nodes.
pub(crate) fn joins_all(nodes: Slot, pairs: &[Way]) -> bool {
    let mut reached = vec![false; usize::from(nodes)];
    reached[0] = true;
    for _ in 0..nodes {
        for &(a, b) in pairs {
            let either = reached[usize::from(a)] || reached[usize::from(b)];
            reached[usize::from(a)] |= either;
            reached[usize::from(b)] |= either;
        }
    }
    reached.into_iter().all(|node| node)
}

/// The first of each set of cuts that are the same but for the names of the nodes.
fn one_of_each(nodes: Slot, pairs: &[Way], cuts: &[Cut]) -> Vec<Cut> {
    let names = permutations(nodes);
    // For each permutation, where each bit goes.
    let moves: Vec<Vec<usize>> = names
        .iter()
        .map(|name| {
            let both = pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
            let moved = both.map(|(a, b)| {
                let (a, b) = (name[usize::from(a)], name[usize::from(b)]);
                let pair = pairs.iter().position(|&p| p == (a.min(b), a.max(b)));
                2 * pair.expect("a pair of nodes") + usize::from(a > b)
            });
            moved.collect()
        })
        .collect();
    let mut seen = vec![false; 1 << (2 * pairs.len())];
    let mut first = Vec::new();
    for &cut in cuts {
        if seen[cut as usize] {
            continue;
        }
        first.push(cut);
        for to in &moves {
            let bits = (0..to.len()).filter(|bit| cut >> bit & 1 == 1);
            let renamed = bits.fold(0, |renamed, bit| renamed | 1 << to[bit]);
            seen[renamed as usize] = true;
        }
    }
    first
}

fn permutations(nodes: Slot) -> Vec<Vec<Slot>> {
    let mut all = vec![Vec::new()];
    for _ in 0..nodes {
        let longer = all.iter().flat_map(|some: &Vec<Slot>| {
            let next = (0..nodes).filter(|node| !some.contains(node));
            next.map(|node| [&some[..], &[node]].concat())
        });
        all = longer.collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_that_leaves_the_mesh_whole_is_among_them() {
        // Of three nodes at most one pair may have no link, in three ways each.
        let three = LinkCuts::of(3).expect("three nodes are few");
        assert_eq!((three.cuts(), three.run()), (9, 9));
        let four = LinkCuts::of(4).expect("four nodes are few");
        assert_eq!(four.cuts(), four.run());
        // Each of the 38 connected graphs of four nodes, with three states for each pair that it leaves out.
        let graphs: u32 = [(16, 3), (15, 2), (6, 1)]
            .map(|(graphs, out)| graphs * 3u32.pow(out))
            .iter()
            .sum();
        assert_eq!(four.cuts() as u32, graphs);
        for index in 0..four.count() {
            assert_eq!(four.scenario(index).check(), Ok(()));
            assert!(four.scenario(index).stays_whole());
        }
        assert!(LinkCuts::of(2).is_none() && LinkCuts::of(6).is_none());
    }

    #[test]
    fn of_five_nodes_one_of_each_kind_is_run() {
        let five = LinkCuts::of(5).expect("five nodes are few");
        let graphs: [u32; 7] = [125, 222, 205, 120, 45, 10, 1];
        let cuts: u32 = (0..6).map(|n| graphs[n] * 3u32.pow(6 - n as u32)).sum();
        assert_eq!(five.cuts() as u32, cuts);
        assert!(five.run() * 100 < five.cuts() && five.run() * 120 > five.cuts());
        assert!(five.run.contains(&1), "one direction only");
    }
}
