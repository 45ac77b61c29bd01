//! What two nodes have to tell each other.
//!
//! A digest of everything is compared first; if it differs, one side answers with digests of ranges of ids, and the other one with finer ones of those that differ, until a range is so small that one side lists what it has of it.
//! The other one sends what is missing there and asks for what is missing here (Demers et al., section 1.3, "checksum" and "push-pull"; the ranges are those of range-based set reconciliation, Meyer: "Range-Based Set Reconciliation", 2023).
//! So what an exchange costs depends on how much differs, and only by a logarithm on how large the mesh is.
//! The lists also repair SWIM's view: a member that a live node has a record of is alive in its view.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::NodeId;
use crate::frame::{Frame, Range};
use crate::registry::{Entry, Registry};

/// All ids that there are.
pub(crate) const EVERYBODY: RangeInclusive<NodeId> =
    NodeId::from_bytes([0; 32])..=NodeId::from_bytes([0xff; 32]);
/// So many entries or less are listed.
const LIST_MAX: usize = 32;
/// Into so many ranges more than that are split.
const RANGES: usize = 32;

/// The difference between what is known here and a list from elsewhere.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Known here and missing or older there.
    pub(crate) ours: Vec<NodeId>,
    /// Known there and missing or older here.
    pub(crate) theirs: Vec<Entry>,
}

/// The frame that says what this node knows of these nodes: all of it, or, if that is much, in short range by range.
pub(crate) fn tell(registry: &Registry, ids: RangeInclusive<NodeId>) -> Bytes {
    let entries: Vec<Entry> = registry.entries(ids.clone()).collect();
    let (from, to) = ids.into_inner();
    if entries.len() <= LIST_MAX {
        return Frame::Have { from, to, entries }.encode();
    }
    let pieces: Vec<&[Entry]> = entries.chunks(entries.len().div_ceil(RANGES)).collect();
    let range = |index: usize| {
        // Together the ranges cover all ids, so that what lies between two pieces is not overlooked.
        let first = if index == 0 {
            from
        } else {
            pieces[index][0].id
        };
        let to = pieces.get(index + 1).map_or(to, |next| before(next[0].id));
        let digest = registry.digest_of(first..=to);
        Range { to, digest }
    };
    let ranges = (0..pieces.len()).map(range).collect();
    Frame::Ranges { from, ranges }.encode()
}

/// The frames that say what this node knows of those of these ranges of which it knows something else.
pub(crate) fn answer(registry: &Registry, from: NodeId, ranges: &[Range]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut first = Some(from);
    for Range { to, digest } in ranges {
        // Nobody can have one range looked at twice.
        let Some(from) = first.filter(|from| from <= to) else {
            break;
        };
        if registry.digest_of(from..=*to) != *digest {
            frames.push(tell(registry, from..=*to));
        }
        first = after(*to);
    }
    frames
}

/// Compares a list with what is known here.
pub(crate) fn compare(
    registry: &Registry,
    from: NodeId,
    to: NodeId,
    entries: &[Entry],
) -> Difference {
    let mut difference = Difference::default();
    let mut listed = entries.iter().peekable();
    for ours in registry.entries(from..=to) {
        while let Some(unknown) = listed.next_if(|theirs| theirs.id < ours.id) {
            difference.theirs.push(*unknown);
        }
        match listed.next_if(|theirs| theirs.id == ours.id) {
            Some(theirs) if theirs.stamp > ours.stamp => difference.theirs.push(*theirs),
            Some(theirs) if theirs.stamp == ours.stamp => {}
            _ => difference.ours.push(ours.id),
        }
    }
    difference.theirs.extend(listed);
    difference
}

/// The id just below another one that is not the lowest.
fn before(id: NodeId) -> NodeId {
    let mut bytes = *id.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (less, borrow) = byte.overflowing_sub(1);
        *byte = less;
        if !borrow {
            break;
        }
    }
    NodeId::from_bytes(bytes)
}

/// The id just above another one, unless that is the highest.
fn after(id: NodeId) -> Option<NodeId> {
    let mut bytes = *id.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (more, carry) = byte.overflowing_add(1);
        *byte = more;
        if !carry {
            return Some(NodeId::from_bytes(bytes));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::registry::Digest;
    use crate::{Epoch, Identity, Record};

    fn record(id: u16, version: u64) -> Record {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        let addr = ([127, 0, 0, 1], 1).into();
        let mut record = Record::new(Identity {
            id: NodeId::from_bytes(bytes),
            epoch: Epoch(1),
            addr,
        });
        record.version = version;
        record
    }

    fn registry(records: &[(u16, u64)]) -> Registry {
        let mut records = records.iter().map(|(id, version)| record(*id, *version));
        let own = records.next().expect("the own record comes first");
        let mut registry = Registry::new(own, Bytes::new());
        for record in records {
            registry.put(record, Bytes::new());
        }
        registry
    }

    /// What two nodes say to each other until neither has more to say: what each finds that the other lacks, how many bytes that took, and in how many turns.
    fn exchange(a: &Registry, b: &Registry) -> ([BTreeSet<u16>; 2], usize, usize) {
        let mut missing = [BTreeSet::new(), BTreeSet::new()];
        let (mut bytes, mut turns) = (0, 0);
        let mut said = vec![tell(a, EVERYBODY)];
        while !said.is_empty() {
            turns += 1;
            let (here, there) = if turns % 2 == 1 { (b, 1) } else { (a, 0) };
            let mut answers = Vec::new();
            for frame in &said {
                bytes += frame.len();
                match Frame::decode(frame) {
                    Some(Frame::Ranges { from, ranges }) => {
                        answers.extend(answer(here, from, &ranges));
                    }
                    Some(Frame::Have { from, to, entries }) => {
                        let difference = compare(here, from, to, &entries);
                        let theirs = difference.theirs.iter().map(|entry| entry.id);
                        missing[there].extend(theirs.map(number));
                        missing[1 - there].extend(difference.ours.into_iter().map(number));
                    }
                    other => panic!("{other:?}"),
                }
            }
            said = answers;
        }
        (missing, bytes, turns)
    }

    fn number(id: NodeId) -> u16 {
        u16::from_be_bytes([id.as_bytes()[0], id.as_bytes()[1]])
    }

    #[test]
    fn both_sides_of_a_difference_are_found() {
        let a = registry(&[(5, 1), (1, 1), (2, 2), (3, 1), (9, 1)]);
        let b = registry(&[(4, 1), (1, 1), (2, 1), (3, 2), (7, 1)]);
        let ([a_lacks, b_lacks], _, turns) = exchange(&a, &b);
        assert_eq!(a_lacks, BTreeSet::from([3, 4, 7]));
        assert_eq!(b_lacks, BTreeSet::from([2, 5, 9]));
        assert_eq!(turns, 1, "a short list is told at once");
        let ([a_lacks, b_lacks], ..) = exchange(&a, &a);
        assert!(a_lacks.is_empty() && b_lacks.is_empty());
    }

    #[test]
    fn one_difference_among_a_thousand_is_found_in_few_bytes() {
        let same: Vec<(u16, u64)> = (1..=1_000).map(|id| (id * 7, 1)).collect();
        let mut other = same.clone();
        other[500].1 = 2;
        let ([a_lacks, b_lacks], bytes, turns) = exchange(&registry(&same), &registry(&other));
        assert_eq!(
            (a_lacks, b_lacks),
            (BTreeSet::from([501 * 7]), BTreeSet::new())
        );
        assert!(bytes < 3_000, "{bytes} bytes, where a list takes 35,000");
        assert_eq!(turns, 2);
    }

    #[test]
    fn the_neighbours_of_an_id_are_found() {
        let id = |bytes: [u8; 32]| NodeId::from_bytes(bytes);
        assert_eq!(before(id([1; 32])).as_bytes()[30..], [1, 0]);
        assert_eq!(after(before(id([1; 32]))), Some(id([1; 32])));
        assert_eq!(after(id([0xff; 32])), None);
        let mut high = [0xff; 32];
        high[0] = 3;
        let next = after(id(high)).expect("it is not the highest");
        assert_eq!(next.as_bytes()[..2], [4, 0]);
        assert_eq!(before(next), id(high));
    }

    #[test]
    fn ranges_that_lie_over_each_other_are_not_answered() {
        let many: Vec<(u16, u64)> = (1..=1_000).map(|id| (id, 1)).collect();
        let wrong = Range {
            to: *EVERYBODY.end(),
            digest: Digest::default(),
        };
        let asked = [wrong; 1_000];
        assert_eq!(
            answer(&registry(&many), *EVERYBODY.start(), &asked).len(),
            1
        );
    }

    proptest! {
        /// However two views differ, an exchange finds all of it and nothing else, and ends.
        #[test]
        fn an_exchange_finds_every_difference(
            views in vec((any::<u16>(), 0u64..3, 0u64..3), 2..600),
            sparse in any::<bool>(),
        ) {
            // Either most differ, or few do.
            let views: BTreeMap<u16, (u64, u64)> = views
                .into_iter()
                .map(|(id, one, other)| (id, if sparse && id % 50 != 0 { (1, 1) } else { (one, other) }))
                .collect();
            let side = |of: fn(&(u64, u64)) -> u64| {
                let known = views.iter().map(|(id, both)| (*id, of(both)));
                registry(&known.filter(|(_, version)| *version > 0).collect::<Vec<_>>())
            };
            prop_assume!(views.values().any(|both| both.0 > 0) && views.values().any(|both| both.1 > 0));
            let ([a_lacks, b_lacks], ..) = exchange(&side(|both| both.0), &side(|both| both.1));
            let newer = |than: fn(&(u64, u64)) -> bool| {
                let found = views.iter().filter(|(_, both)| than(both));
                found.map(|(id, _)| *id).collect::<BTreeSet<u16>>()
            };
            prop_assert_eq!(a_lacks, newer(|both| both.1 > both.0));
            prop_assert_eq!(b_lacks, newer(|both| both.0 > both.1));
        }
    }
}
