//! What two nodes have to tell each other.
//!
//! A digest is compared first; if it differs, one side lists what it has, and the other one sends what is missing there and asks for what is missing here (Demers et al., section 1.3, "checksum" and "push-pull").
//! The lists also repair SWIM's view: a member that a live node has a record of is alive in its view.

use bytes::Bytes;

use crate::NodeId;
use crate::frame::{ENTRIES_MAX, Frame};
use crate::registry::{Entry, Registry};

/// The difference between what is known here and a list from elsewhere.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Known here and missing or older there.
    pub(crate) ours: Vec<NodeId>,
    /// Known there and missing or older here.
    pub(crate) theirs: Vec<Entry>,
}

/// The frames that list everything this node knows.
pub(crate) fn have(registry: &Registry) -> Vec<Bytes> {
    let entries: Vec<Entry> = registry.entries().collect();
    let chunks: Vec<&[Entry]> = entries.chunks(ENTRIES_MAX).collect();
    let last = chunks.len() - 1;
    let frame = |(index, chunk): (usize, &&[Entry])| {
        // Together the ranges cover all ids, so that what lies between two chunks is not overlooked.
        let from = if index == 0 {
            NodeId::from_bytes([0; 32])
        } else {
            chunk[0].id
        };
        let to = match chunks.get(index + 1) {
            Some(next) if index < last => before(next[0].id),
            _ => NodeId::from_bytes([0xff; 32]),
        };
        Frame::Have {
            from,
            to,
            entries: chunk.to_vec(),
        }
        .encode()
    };
    chunks.iter().enumerate().map(frame).collect()
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
    for ours in registry
        .entries()
        .filter(|entry| (from..=to).contains(&entry.id))
    {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Stamp;
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

    fn compare_with(registry: &Registry, frames: &[Bytes]) -> Difference {
        let mut all = Difference::default();
        for frame in frames {
            let Some(Frame::Have { from, to, entries }) = Frame::decode(frame) else {
                panic!("a list was expected")
            };
            let part = compare(registry, from, to, &entries);
            all.ours.extend(part.ours);
            all.theirs.extend(part.theirs);
        }
        all
    }

    #[test]
    fn both_sides_of_a_difference_are_found() {
        let a = registry(&[(5, 1), (1, 1), (2, 2), (3, 1), (9, 1)]);
        let b = registry(&[(4, 1), (1, 1), (2, 1), (3, 2), (7, 1)]);
        let ours = |ids: &[u16]| {
            ids.iter()
                .map(|id| record(*id, 1).identity.id)
                .collect::<Vec<_>>()
        };
        let difference = compare_with(&a, &have(&b));
        assert_eq!(difference.ours, ours(&[2, 5, 9]));
        let theirs: Vec<NodeId> = difference.theirs.iter().map(|entry| entry.id).collect();
        assert_eq!(theirs, ours(&[3, 4, 7]));
        assert_eq!(
            difference.theirs[0].stamp,
            Stamp {
                epoch: Epoch(1),
                version: 2
            }
        );
        assert_eq!(compare_with(&a, &have(&a)), Difference::default());
    }

    #[test]
    fn a_long_list_is_split_without_a_gap() {
        let many: Vec<(u16, u64)> = (1..=9_000).map(|id| (id * 2, 1)).collect();
        let frames = have(&registry(&many));
        assert_eq!(frames.len(), 3);
        let odd: Vec<(u16, u64)> = (1..=9_000).map(|id| (id * 2 + 1, 1)).collect();
        let difference = compare_with(&registry(&odd), &frames);
        assert_eq!(
            (difference.ours.len(), difference.theirs.len()),
            (9_000, 9_000)
        );
        assert_eq!(before(NodeId::from_bytes([1; 32])).as_bytes()[30..], [1, 0]);
    }
}
