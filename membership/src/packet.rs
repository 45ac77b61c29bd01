//! The datagram: an envelope around SWIM's packet, with news of records behind it.
//!
//! ```text
//! kind 1 | live 2 | low 8 | swim length 2 | swim | (news length 2 | news)*
//! ```
//!
//! `live` and `low` say how large the sender's part of the mesh is; they settle who comes back with a new epoch when two parts that took each other for down meet again.

use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::registry::Entry;
use crate::suspicion::Doubt;
use crate::tempo::DATAGRAM_BYTES_MAX;

/// What a datagram has beside SWIM's packet and the news.
pub(crate) const ENVELOPE_BYTES: usize = 13;
const KIND: u8 = 2;

/// A part of the mesh, as one of its nodes sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// How many nodes are alive in it.
    pub(crate) live: u16,
    /// The head of the lowest node id in it.
    pub(crate) low: u64,
}

impl Side {
    pub(crate) fn new(live: usize, lowest: NodeId) -> Self {
        Side {
            live: u16::try_from(live).unwrap_or(u16::MAX),
            low: lowest.head(),
        }
    }

    /// Whether this side keeps its lives when both took each other for down: the larger does, and of two equals the one with the lower id.
    ///
    /// Both sides come to the same answer, or to no answer if they are one side.
    pub(crate) fn outweighs(&self, other: &Side) -> bool {
        (self.live, other.low) > (other.live, self.low)
    }
}

/// A record, or a hint that there is one.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum News<'a> {
    /// An encoded record.
    Record(#[serde(serialize_with = "crate::blob::one")] &'a [u8]),
    /// A record that is too large for a datagram is pulled from whoever hints at it.
    Hint(Entry),
    /// Who suspects a member by its own probes.
    Doubt(Doubt),
    /// The sender was asked to probe a member for the receiver, in the probe with this number.
    Asked(u8),
}

impl News<'_> {
    pub(crate) fn encode(&self) -> Bytes {
        postcard::to_stdvec(self)
            .expect("records and hints can be encoded")
            .into()
    }
}

/// A datagram taken apart.
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) side: Side,
    pub(crate) swim: &'a [u8],
    pub(crate) news: Vec<News<'a>>,
}

impl<'a> Packet<'a> {
    /// Takes a datagram apart; `None` if it is malformed anywhere outside SWIM's packet.
    pub(crate) fn decode(mut bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > DATAGRAM_BYTES_MAX || bytes.try_get_u8().ok()? != KIND {
            return None;
        }
        let live = bytes.try_get_u16().ok()?;
        let low = bytes.try_get_u64().ok()?;
        let swim = take_block(&mut bytes)?;
        let mut news = Vec::new();
        while !bytes.is_empty() {
            news.push(postcard::from_bytes(take_block(&mut bytes)?).ok()?);
        }
        Some(Packet {
            side: Side { live, low },
            swim,
            news,
        })
    }
}

fn take_block<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::from(bytes.try_get_u16().ok()?);
    let (block, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(block)
}

/// A datagram being put together.
pub(crate) struct PacketBuilder {
    bytes: Vec<u8>,
}

impl PacketBuilder {
    /// Begins with SWIM's packet, which may be empty.
    pub(crate) fn new(side: Side, swim: &[u8]) -> Self {
        debug_assert!(swim.len() <= crate::tempo::SWIM_BYTES_MAX);
        let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + swim.len());
        bytes.put_u8(KIND);
        bytes.put_u16(side.live);
        bytes.put_u64(side.low);
        put_block(&mut bytes, swim);
        PacketBuilder { bytes }
    }

    /// Adds encoded news; says whether there was room.
    pub(crate) fn add(&mut self, news: &[u8]) -> bool {
        let fits = self.bytes.len() + 2 + news.len() <= DATAGRAM_BYTES_MAX;
        if fits {
            self.bytes.reserve(DATAGRAM_BYTES_MAX - self.bytes.len());
            put_block(&mut self.bytes, news);
        }
        fits
    }

    /// Whether nothing but the envelope is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == ENVELOPE_BYTES
    }

    pub(crate) fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

fn put_block(bytes: &mut Vec<u8>, block: &[u8]) {
    bytes.put_u16(u16::try_from(block.len()).expect("a block is smaller than a datagram"));
    bytes.put_slice(block);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::Epoch;
    use crate::registry::Stamp;

    proptest! {
        #[test]
        fn every_datagram_comes_back(
            (live, low) in any::<(u16, u64)>(),
            swim in vec(any::<u8>(), 0..300),
            records in vec(vec(any::<u8>(), 0..100), 0..5),
            (id, epoch, version) in any::<([u8; 32], u64, u64)>(),
        ) {
            let side = Side { live, low };
            let hint = Entry {
                id: NodeId::from_bytes(id),
                stamp: Stamp { epoch: Epoch(epoch), version },
            };
            let mut builder = PacketBuilder::new(side, &swim);
            for record in &records {
                prop_assert!(builder.add(&News::Record(record).encode()));
            }
            prop_assert!(builder.add(&News::Hint(hint).encode()));
            let bytes = builder.finish();
            let packet = Packet::decode(&bytes).expect("it is whole");
            prop_assert_eq!((packet.side, packet.swim), (side, &swim[..]));
            let news = records.iter().map(|record| News::Record(record));
            prop_assert!(packet.news.into_iter().eq(news.chain([News::Hint(hint)])));
        }
    }

    #[test]
    fn a_datagram_survives_the_way_through_bytes_and_no_cut_of_it_panics() {
        let side = Side { live: 3, low: 77 };
        let entry = Entry {
            id: NodeId::from_bytes([9; 32]),
            stamp: Stamp {
                epoch: Epoch(300),
                version: 4,
            },
        };
        let mut builder = PacketBuilder::new(side, b"swim");
        assert!(builder.add(&News::Record(b"record").encode()));
        assert!(builder.add(&News::Hint(entry).encode()));
        assert!(!builder.add(&[0; DATAGRAM_BYTES_MAX]));
        let bytes = builder.finish();
        let packet = Packet::decode(&bytes).expect("it is whole");
        assert_eq!((packet.side, packet.swim), (side, &b"swim"[..]));
        assert_eq!(packet.news, [News::Record(b"record"), News::Hint(entry)]);
        for end in 0..bytes.len() {
            let _ = Packet::decode(&bytes[..end]);
        }
        assert_eq!(PacketBuilder::new(side, b"").finish().len(), ENVELOPE_BYTES);
    }

    #[test]
    fn of_two_sides_exactly_one_outweighs_the_other() {
        let side = |live, low| Side { live, low };
        let all: Vec<Side> = (1..4)
            .flat_map(|live| (0..3).map(move |low| side(live, low)))
            .collect();
        for a in &all {
            for b in &all {
                assert_eq!(
                    a.outweighs(b) as u8 + b.outweighs(a) as u8,
                    u8::from(a != b)
                );
            }
        }
        assert!(side(2, 9).outweighs(&side(1, 0)));
        assert!(side(2, 0).outweighs(&side(2, 9)));
    }
}
