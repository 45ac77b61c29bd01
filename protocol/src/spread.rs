//! Who is sent what: the one place that knows how a multicast spreads.
//!
//! A [`Strategy`] decides what is sent on at the six moments at which something can be: when a batch is sent first, when a member receives it first, at each round of digests, when another member says how far it is, when it asks for what it misses, and when it is found to be down.
//! Everything else about a flow is the same for all strategies: numbers, windows, acknowledgements, gaps, order.
//! Each strategy is a file of its own below this one, and one more is such a file, a name in [`Dissemination`], and a line in [`of`].

mod best_effort;
mod digest;
mod eager;
mod gossip;

use std::ops::Deref;

use rand::Rng;
use rand::seq::index;

use crate::mode::{Dissemination, Mode};
use crate::wire::{DestMember, DestSet};
use best_effort::BestEffort;
use digest::Digest;
use eager::Eager;
use gossip::Gossip;

/// What a way of spreading decides.
pub(crate) trait Strategy {
    /// Origination: to which members of the destination set the origin sends a batch.
    fn on_origination(&self) -> Audience {
        Audience::All
    }

    /// First receipt: to which of the others a member passes on a batch that it has not seen before.
    fn on_first_receipt(&self) -> Audience {
        Audience::Nobody
    }

    /// Round of digests: how many others a member tells how far it is, of those flows of which it keeps something.
    fn on_round(&self) -> usize {
        ROUND_MAX
    }

    /// Digest: what a member does that hears that another one has everything that it has itself.
    fn on_equal_digest(&self) -> Interest {
        Interest::Kept
    }

    /// Pull: who keeps what others may miss, and sends it to those who ask for it.
    fn on_pull(&self) -> Keepers;

    /// Member down: whether what was passed on to a member holds back an acknowledgement until it has arrived, or the member is out of reach.
    fn awaits_relays(&self) -> bool {
        false
    }

    /// Whether there can be a flow that spreads so.
    fn is_possible(&self) -> bool {
        true
    }

    /// Whether all members that stay up get what one of them got.
    fn agrees(&self) -> bool {
        true
    }

    /// Whether what a message depends on is sure to come, or to be known for lost, wherever that message comes.
    fn allows_causal(&self) -> bool {
        self.agrees()
    }

    /// How the large payloads of such a flow spread, if not in the same way.
    fn for_large(&self) -> Option<Dissemination> {
        None
    }
}

/// To whom something goes unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// To nobody.
    Nobody,
    /// To all who are meant and cannot have it yet.
    All,
    /// To so many of them, drawn by lot among those with a link.
    Some(usize),
}

/// Who keeps what was sent until everybody has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keepers {
    /// Nobody.
    Nobody,
    /// All members: what the origin sends, it sends to all of them over sessions that lose nothing.
    Members,
    /// All members, and the origin too, which did not send it to all of them.
    MembersAndOrigin,
}

/// Whether a member goes on telling the others how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// It does.
    Kept,
    /// Once in so many times it loses interest.
    LostOnceIn(u32),
}

/// The strategy of one flow.
pub(crate) enum Chosen {
    Digest(Digest),
    Eager(Eager),
    BestEffort(BestEffort),
    Gossip(Gossip),
}

/// The strategy that does what a flow's mode asks for.
pub(crate) fn of(mode: Mode) -> Chosen {
    match mode.dissemination {
        Dissemination::Digest => Chosen::Digest(Digest),
        Dissemination::Eager => Chosen::Eager(Eager),
        Dissemination::BestEffort => Chosen::BestEffort(BestEffort),
        Dissemination::Gossip { fanout } => Chosen::Gossip(Gossip { fanout }),
    }
}

impl Deref for Chosen {
    type Target = dyn Strategy;

    fn deref(&self) -> &(dyn Strategy + 'static) {
        match self {
            Chosen::Digest(digest) => digest,
            Chosen::Eager(eager) => eager,
            Chosen::BestEffort(best_effort) => best_effort,
            Chosen::Gossip(gossip) => gossip,
        }
    }
}

/// Whether a member keeps what it received for those who may miss it.
/// What somebody may wait for is kept by all members, however it spreads.
pub(crate) fn keeps(mode: Mode) -> bool {
    mode.holds_back() || of(mode).on_pull() != Keepers::Nobody
}

/// Whether the origin keeps what it sent for those who may miss it.
pub(crate) fn origin_keeps(mode: Mode) -> bool {
    of(mode).on_pull() == Keepers::MembersAndOrigin
}

/// The mode of the large payloads that a flow announces: what is announced is ordered, and waits until it is safe, and the chunks of it need not wait again.
pub(crate) fn mode_of_large(mode: Mode) -> Mode {
    let spread = of(mode).for_large();
    spread.unwrap_or(mode.dissemination).into()
}

impl Audience {
    /// Those members of a destination set to whom something goes, of all that are `meant`; of those that are drawn, only ones that are within reach.
    pub(crate) fn choose<'a>(
        self,
        set: &'a DestSet,
        meant: impl Fn(&DestMember) -> bool,
        is_linked: impl Fn(&DestMember) -> bool,
        rng: &mut impl Rng,
    ) -> Vec<&'a DestMember> {
        let members = &set.members;
        let count = match self {
            Audience::Nobody => return Vec::new(),
            Audience::All => return members.iter().filter(|member| meant(member)).collect(),
            Audience::Some(count) => count,
        };
        // Most are within reach: of so many, enough are.
        let drawn = index::sample(rng, members.len(), members.len().min(4 * count + SMALL));
        let drawn = drawn.into_iter().map(|index| &members[index]);
        let drawn = drawn.filter(|member| meant(member) && is_linked(member));
        drawn.take(count).collect()
    }
}

/// The most members that are told how far one is at one time.
pub(crate) const ROUND_MAX: usize = 8;
/// Of a destination set with no more members than this, lots are drawn among all.
const SMALL: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;
    use rolecast_membership::{Epoch, NodeId, Tenure};

    use super::*;
    use crate::api::FlowId;
    use crate::wire::FlowKey;

    fn set(count: u8) -> DestSet {
        let node = |number| NodeId::from_bytes([number; 32]);
        let member = |number| DestMember {
            node: node(number),
            epoch: Epoch(1),
            tenure: Tenure(1),
            start: 1,
            replayed: 0,
            owed: Vec::new(),
        };
        DestSet {
            key: FlowKey {
                origin: node(0),
                epoch: Epoch(1),
                flow: FlowId(1),
            },
            version: 1,
            role: "r".parse().expect("a role"),
            mode: Mode::default(),
            born: Epoch(1),
            evicted: Vec::new(),
            members: (1..=count).map(member).collect(),
            large: None,
            sources: Vec::new(),
        }
    }

    #[test]
    fn lots_fall_on_everybody_alike_and_on_nobody_twice() {
        let (set, draws) = (set(100), 10_000);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let excluded = set.members[40].node;
        let unlinked = set.members[41].node;
        let mut hits: BTreeMap<NodeId, u32> = BTreeMap::new();
        for _ in 0..draws {
            let audience = Audience::Some(5);
            let meant = |member: &DestMember| member.node != excluded;
            let linked = |member: &DestMember| member.node != unlinked;
            let mut chosen = audience.choose(&set, meant, linked, &mut rng);
            assert_eq!(chosen.len(), 5);
            chosen.sort_by_key(|member| member.node);
            chosen.dedup();
            assert_eq!(chosen.len(), 5);
            for member in chosen {
                *hits.entry(member.node).or_default() += 1;
            }
        }
        assert_eq!(hits.len(), 98);
        let mean = draws * 5 / 98;
        let alike = |&hits: &u32| hits > mean * 3 / 4 && hits < mean * 5 / 4;
        assert!(hits.values().all(alike), "{hits:?}");
    }

    #[test]
    fn who_is_out_of_reach_is_passed_over_as_long_as_others_are_left() {
        let set = set(10);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let linked = |member: &DestMember| member.node == set.members[3].node;
        let mut choose =
            |audience: Audience| audience.choose(&set, |_| true, linked, &mut rng).len();
        assert_eq!(choose(Audience::Some(4)), 1);
        assert_eq!(choose(Audience::All), 10);
        assert_eq!(choose(Audience::Nobody), 0);
    }

    #[test]
    fn what_waits_for_several_members_is_kept_however_it_spreads() {
        for dissemination in Dissemination::ALL {
            let mode = Mode::from(dissemination);
            assert!(keeps(Mode { k_safe: 2, ..mode }));
            assert_eq!(keeps(mode), of(mode).on_pull() != Keepers::Nobody);
        }
    }
}
