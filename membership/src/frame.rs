//! The frames of membership, which travel on the reliable control stream.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::lives::Lived;
use crate::record::RECORD_BYTES_MAX;
use crate::registry::{Digest, Entry};
use crate::{Epoch, Identity, NodeId};

/// The largest frame, in bytes.
pub(crate) const FRAME_BYTES_MAX: usize = 256 * 1024;
/// How many records one [`Frame::Pull`] asks for, and how many lives one [`Frame::Ask`] asks about.
pub(crate) const PULL_MAX: usize = 1_024;
/// How many bytes of records one peer gets between two exchanges; the next one brings the rest.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a frame has beside its records: a tag, a count, and a length per record.
const OVERHEAD: usize = 8;

/// One message between two memberships.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame<'a> {
    /// What the sender knows of all nodes, in short; whoever knows something else says what.
    Digest(Digest),
    /// All entries the sender has from one id to another.
    Have {
        /// The first id of the range.
        from: NodeId,
        /// The last id of the range.
        to: NodeId,
        /// In the order of their ids.
        entries: Vec<Entry>,
    },
    /// A single entry, whatever else the sender has.
    Hint(Entry),
    /// Asks for the records of these nodes.
    Pull(Vec<NodeId>),
    /// Encoded records.
    #[serde(borrow, serialize_with = "crate::blob::many")]
    Records(Vec<&'a [u8]>),
    /// The sender leaves.
    Farewell(Identity),
    /// Lives that the receiver listed and the sender holds for down.
    Gone(Vec<Gone>),
    /// What the sender knows of some of the nodes, range by range; whoever knows something else of one of them says what.
    Ranges {
        /// The first id of the first range; every other one begins behind the one before it.
        from: NodeId,
        /// In the order of their ids.
        ranges: Vec<Range>,
    },
    /// Asks whether there have been these lives.
    Ask(Vec<Lived>),
    /// Of the lives that the receiver asked about, those of which the sender knows.
    Known(Vec<Lived>),
}

/// What the sender knows of the nodes of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    /// The last id of the range.
    pub(crate) to: NodeId,
    pub(crate) digest: Digest,
}

/// A life that is down in the sender's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gone {
    pub(crate) id: NodeId,
    pub(crate) epoch: Epoch,
    /// It went by its own will, which is no opinion.
    pub(crate) left: bool,
}

impl<'a> Frame<'a> {
    pub(crate) fn encode(&self) -> Bytes {
        let room = match self {
            Frame::Have { entries, .. } => 80 + entries.len() * size_of::<Entry>(),
            Frame::Ranges { ranges, .. } => 40 + ranges.len() * size_of::<Range>(),
            Frame::Ask(lives) | Frame::Known(lives) => 8 + lives.len() * size_of::<Lived>(),
            Frame::Records(records) => {
                let bytes = records.iter().map(|record| record.len() + OVERHEAD);
                bytes.sum::<usize>() + OVERHEAD
            }
            _ => 64,
        };
        postcard::to_extend(self, Vec::with_capacity(room))
            .expect("a frame can be encoded")
            .into()
    }

    /// Reads a frame; `None` if it is too large, malformed or has something behind it.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > FRAME_BYTES_MAX {
            return None;
        }
        match postcard::take_from_bytes(bytes) {
            Ok((frame, [])) => Some(frame),
            _ => None,
        }
    }

    /// The frames that carry these records, each at most [`FRAME_BYTES_MAX`] long, as far as there is room for them.
    pub(crate) fn records(
        records: impl Iterator<Item = &'a Bytes>,
        room: &mut usize,
    ) -> Vec<Bytes> {
        const { assert!(RECORD_BYTES_MAX + 2 * OVERHEAD <= FRAME_BYTES_MAX) };
        let mut frames = Vec::new();
        let mut batch: Vec<&[u8]> = Vec::new();
        let mut bytes = OVERHEAD;
        for record in records {
            let cost = record.len() + OVERHEAD;
            match room.checked_sub(cost) {
                Some(rest) => *room = rest,
                None => break,
            }
            if bytes + cost > FRAME_BYTES_MAX {
                frames.push(Frame::Records(std::mem::take(&mut batch)).encode());
                bytes = OVERHEAD;
            }
            batch.push(record);
            bytes += cost;
        }
        if !batch.is_empty() {
            frames.push(Frame::Records(batch).encode());
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::registry::Stamp;

    fn node() -> impl Strategy<Value = NodeId> {
        any::<[u8; 32]>().prop_map(NodeId::from_bytes)
    }

    fn entry() -> impl Strategy<Value = Entry> {
        (node(), any::<u64>(), any::<u64>()).prop_map(|(id, epoch, version)| Entry {
            id,
            stamp: Stamp {
                epoch: Epoch(epoch),
                version,
            },
        })
    }

    fn digest() -> impl Strategy<Value = Digest> {
        (any::<u64>(), any::<u32>()).prop_map(|(sum, count)| Digest { sum, count })
    }

    fn frame() -> impl Strategy<Value = Frame<'static>> {
        let range = (node(), digest()).prop_map(|(to, digest)| Range { to, digest });
        let gone = (node(), any::<u64>(), any::<bool>()).prop_map(|(id, epoch, left)| Gone {
            id,
            epoch: Epoch(epoch),
            left,
        });
        let identity = (node(), any::<u64>(), any::<(std::net::IpAddr, u16)>()).prop_map(
            |(id, epoch, addr)| Identity {
                id,
                epoch: Epoch(epoch),
                addr: addr.into(),
            },
        );
        let lived = || {
            (node(), any::<u64>()).prop_map(|(id, epoch)| Lived {
                id,
                epoch: Epoch(epoch),
            })
        };
        prop_oneof![
            vec(lived(), 0..5).prop_map(Frame::Ask),
            vec(lived(), 0..5).prop_map(Frame::Known),
            digest().prop_map(Frame::Digest),
            (node(), node(), vec(entry(), 0..5)).prop_map(|(from, to, entries)| Frame::Have {
                from,
                to,
                entries
            }),
            entry().prop_map(Frame::Hint),
            vec(node(), 0..5).prop_map(Frame::Pull),
            identity.prop_map(Frame::Farewell),
            vec(gone, 0..5).prop_map(Frame::Gone),
            (node(), vec(range, 0..5)).prop_map(|(from, ranges)| Frame::Ranges { from, ranges }),
        ]
    }

    proptest! {
        #[test]
        fn every_frame_comes_back(frame in frame(), tail in any::<u8>()) {
            let encoded = frame.encode();
            for end in 0..encoded.len() {
                prop_assert_eq!(Frame::decode(&encoded[..end]), None, "cut at {}", end);
            }
            let longer = [&encoded[..], &[tail]].concat();
            prop_assert_eq!(Frame::decode(&longer), None);
            prop_assert_eq!(Frame::decode(&encoded), Some(frame));
        }

        #[test]
        fn every_bundle_of_records_comes_back(records in vec(vec(any::<u8>(), 0..60), 0..5)) {
            let frame = Frame::Records(records.iter().map(Vec::as_slice).collect());
            let encoded = frame.encode();
            prop_assert_eq!(Frame::decode(&encoded), Some(frame));
        }
    }

    #[test]
    fn frames_survive_the_way_through_bytes() {
        let frames = [
            Frame::Digest(Digest {
                sum: u64::MAX,
                count: 3,
            }),
            Frame::Pull(vec![NodeId::from_bytes([1; 32]); 3]),
            Frame::Records(vec![b"one", b"", b"three"]),
            Frame::Gone(vec![Gone {
                id: NodeId::from_bytes([1; 32]),
                epoch: Epoch(2),
                left: true,
            }]),
        ];
        for frame in frames {
            let mut bytes = frame.encode().to_vec();
            assert_eq!(Frame::decode(&bytes), Some(frame));
            for end in 0..bytes.len() {
                assert_eq!(Frame::decode(&bytes[..end]), None);
            }
            bytes.push(0);
            assert_eq!(Frame::decode(&bytes), None, "nothing may follow a frame");
        }
    }

    #[test]
    fn records_are_spread_over_frames_that_are_small_enough() {
        let records = vec![Bytes::from(vec![7; 100_000]); 5];
        let frames = Frame::records(records.iter(), &mut ANSWER_BYTES_MAX.clone());
        assert_eq!(frames.len(), 3);
        let count = |frame: &Bytes| match Frame::decode(frame) {
            Some(Frame::Records(records)) => records.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(frames.iter().map(count).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(frames.iter().all(|frame| frame.len() <= FRAME_BYTES_MAX));
        let many = vec![Bytes::from(vec![7; RECORD_BYTES_MAX]); 100];
        let mut room = ANSWER_BYTES_MAX;
        let sent = Frame::records(many.iter(), &mut room);
        assert!(sent.iter().map(Bytes::len).sum::<usize>() <= ANSWER_BYTES_MAX);
        assert!(Frame::records(many.iter(), &mut room).is_empty());
    }
}
