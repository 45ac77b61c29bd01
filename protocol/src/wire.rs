//! What engines say to each other.
//!
//! Control frames are one postcard value each.
//! A data frame is one postcard value, its head, followed by the payload, if there is one.
//! The transport bounds the length of a frame before it allocates it, and no field of a head can claim more than the frame holds.

pub(crate) mod relay;
#[cfg(test)]
pub(crate) mod strategies;

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, RoleName, Tenure};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::api::{FlowId, Origin, Refusal};
use crate::lane::Received;
use crate::mode::Mode;
use relay::RelayHead;

/// A frame on the control stream.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Control<'a> {
    /// First on every link, and again when the sender's life changes.
    Hello(Hello),
    /// What the sender has received and passed on.
    Acks(Acks),
    /// For the membership layer.
    #[serde(borrow, serialize_with = "bytes_at_once")]
    Membership(&'a [u8]),
    /// How far the sender has flows that spread by reference.
    Digest(Vec<FlowDigest>),
    /// The sender asks for what it misses.
    Pull(Pull),
    /// The sender was asked for this and has nothing of it.
    Gone(Gone),
    /// The sender has no use for this link at this moment, in its own life and this one of the receiver's, who may close it.
    Rest {
        /// The sender's life.
        from: Epoch,
        /// The receiver's life.
        to: Epoch,
    },
}

/// How far a member has a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FlowDigest {
    pub(crate) key: FlowKey,
    /// The newest destination set that it knows: to whom the messages go of which it speaks.
    pub(crate) version: u32,
    /// It has every message up to here.
    pub(crate) upto: u64,
    /// It had every message up to here when it gave the digest before: whoever misses one of these should ask for it.
    pub(crate) aged: u64,
    /// What it has behind messages that it misses, and had when it gave the digest before, as far as that is few runs.
    /// It will deliver these whether what is before them comes or is lost, so that whoever misses them should ask for them too.
    pub(crate) beyond: Vec<Span>,
    /// Everybody who is meant has every message up to here.
    pub(crate) floor: u64,
    /// If the flow waits for several members to hold a message, what the sender claims to know of that.
    pub(crate) claim: Option<Claim>,
    /// What others said of the same, for those who cannot hear them; left out as long as all goes well.
    pub(crate) heard: Vec<Heard>,
}

/// Messages that follow each other, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// What a member says of the messages from `from` up to how far it has the flow: what is before was given up, or never meant for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) from: u64,
    /// Of those up to here it knows that enough members hold them.
    pub(crate) safe: u64,
}

/// What a member said of a flow, in the words of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) node: NodeId,
    pub(crate) epoch: Epoch,
    /// How far it holds the flow.
    pub(crate) held: u64,
    pub(crate) claim: Claim,
}

impl Claim {
    fn is_impossible(&self) -> bool {
        self.safe > SEQ_MAX || self.from > SEQ_MAX + 1
    }
}

impl FlowDigest {
    /// Whether it speaks of messages that cannot be.
    pub(crate) fn is_impossible(&self) -> bool {
        let heard = |heard: &Heard| heard.held > SEQ_MAX || heard.claim.is_impossible();
        let mut before = self.upto;
        let follows = |span: &Span| {
            let follows = span.first > before && span.last >= span.first;
            before = span.last;
            follows
        };
        self.reach().max(self.floor) > SEQ_MAX
            || self.beyond.len() > BEYOND_MAX
            || !self.beyond.iter().all(follows)
            || self.aged > self.upto
            || self.claim.is_some_and(|claim| claim.is_impossible())
            || self.heard.len() > HEARD_MAX
            || self.heard.iter().any(heard)
    }

    /// The last message that it has.
    pub(crate) fn reach(&self) -> u64 {
        self.beyond.last().map_or(self.upto, |span| span.last)
    }

    /// What a member is told for which nothing after this message is meant.
    pub(crate) fn upto(mut self, last: u64) -> Self {
        self.beyond.retain(|span| span.last <= last);
        FlowDigest {
            upto: self.upto.min(last),
            aged: self.aged.min(last),
            ..self
        }
    }

    /// What a member for which messages from `start` on are meant is told: nothing, if there is none for it.
    pub(crate) fn since(mut self, start: u64) -> Self {
        self.beyond.retain(|span| span.last >= start);
        let due = |upto: u64| if upto < start { 0 } else { upto };
        FlowDigest {
            upto: due(self.upto),
            aged: due(self.aged),
            ..self
        }
    }
}

/// A member misses messages `first..=last` of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pull {
    pub(crate) key: FlowKey,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The sender has nothing of what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gone {
    pub(crate) pull: Pull,
    pub(crate) why: Why,
}

/// Why somebody has nothing of what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Why {
    /// It does not keep it any more, or never had it.
    NotKept,
    /// It had all of it, and knows no set of destinations with whoever asked.
    NotMeant,
    /// It had all of it, and whoever asked was left out of it.
    LeftOut,
}

/// Who speaks, and what it already has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The sender's life.
    pub(crate) epoch: Epoch,
    /// Where the sender is dialled.
    pub(crate) addr: SocketAddr,
    /// Bytes of one flow that the sender lets its origin have on the way.
    pub(crate) window_bytes: u64,
    /// The receiver's life as the sender knows it, and how many frames of its session the sender has.
    pub(crate) known: Option<(Epoch, Received)>,
    /// Over ways up to this number the sender does not come any more, whatever of them arrives yet.
    pub(crate) ways_over: u64,
}

/// Acknowledgements, gathered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acks {
    /// The sender's life.
    pub(crate) from: Epoch,
    /// The receiver's life.
    pub(crate) to: Epoch,
    /// How many frames of the session with the receiver's life the sender has.
    pub(crate) received: Received,
    /// Flows of the receiver's life of which the sender is a member.
    pub(crate) flows: Vec<FlowAck>,
    /// Acknowledgements of other origins' flows, or by other members, to be passed on.
    pub(crate) via: Vec<ViaAck>,
}

/// A member has taken a flow up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FlowAck {
    pub(crate) flow: FlowId,
    pub(crate) tenure: Tenure,
    pub(crate) upto: u64,
}

/// An acknowledgement on its way over a third node, because the member has no link to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ViaAck {
    pub(crate) origin: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) member: NodeId,
    pub(crate) member_epoch: Epoch,
    pub(crate) ack: FlowAck,
}

/// A flow, named so that every node understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct FlowKey {
    pub(crate) origin: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) flow: FlowId,
}

impl FlowKey {
    /// Who sends it.
    pub(crate) fn origin(self) -> Origin {
        Origin {
            node: self.origin,
            epoch: self.epoch,
        }
    }
}

/// The head of a frame on the data or the bulk stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DataHead {
    /// What follows on this stream is the session between these lives, from frame `first` on.
    /// The sender gives each stretch of a lane a greater number, so that whatever carries an earlier one and comes later is known to be over.
    Resume {
        from: Epoch,
        to: Epoch,
        first: u64,
        stretch: u64,
    },
    /// Who is meant by a flow's messages from here on.
    DestSet(DestSet),
    /// Messages `first ..` of a flow; the body is a batch.
    Batch {
        key: FlowKey,
        version: u32,
        first: u64,
        count: u32,
        /// Every member has acknowledged every message up to here, as the origin knew when it sent this.
        floor: u64,
        /// In causal order, how far the origin had been given other flows; only what changed since the batch before.
        #[serde(deserialize_with = "few::<SOURCES_MAX, _, _>")]
        deps: Vec<Dep>,
    },
    /// Stands for `count` frames that the sender dropped for want of room, and says how far they concerned each flow.
    Skipped {
        count: u64,
        flows: Vec<(FlowKey, u64)>,
    },
    /// An anycast, unicast or request; the body is the payload.
    Call {
        call: u64,
        role: RoleName,
        wants_reply: bool,
    },
    /// The end of a call; the body is the payload, if there is one.
    Answer { call: u64, answer: WireAnswer },
    /// The sender no longer wants the answer to this call of its own.
    /// In the session, so that it comes after the question, and whatever becomes of the link.
    Cancel { call: u64 },
    /// The sender needs nothing more of a large payload of the receiver: it has taken all of it, or refuses it.
    /// In the session, so that it comes whatever becomes of the link, and the flow can be forgotten.
    Finished {
        flow: FlowId,
        tenure: Tenure,
        refused: bool,
    },
    /// The sender was left out of a flow of the receiver, has taken all of it that it has, and wants to be meant again.
    Rejoin {
        flow: FlowId,
        tenure: Tenure,
        /// The last message that it has.
        upto: u64,
    },
    /// The receiver lags behind a flow of the sender: of the messages up to `upto` nothing more comes, because later ones have the same keys.
    /// In the session, so that it comes in its place before what follows.
    LeftOut {
        flow: FlowId,
        tenure: Tenure,
        upto: u64,
    },
    /// The sender has given up what it missed up to here of a flow whose origin is dead: nobody who is alive has it.
    GivenUp { key: FlowKey, upto: u64 },
    /// Something on its way over other members; the body is that.
    /// In no session: whoever passes it on takes no part.
    Relay(RelayHead),
}

/// How a call ended at its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WireAnswer {
    Taken,
    Reply,
    Refused(Refusal),
}

/// The destination set of a flow: one version of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DestSet {
    pub(crate) key: FlowKey,
    /// Rises with every change.
    pub(crate) version: u32,
    pub(crate) role: RoleName,
    pub(crate) mode: Mode,
    /// The life of the origin in which the flow's numbers begin; they go on in later lives of the same process.
    pub(crate) born: Epoch,
    /// Sorted by node.
    pub(crate) members: Vec<DestMember>,
    /// Holders that were too slow, without which the flow goes on, sorted by node.
    pub(crate) evicted: Vec<DestEvicted>,
    /// If it is the flow of a large payload, what is said of that.
    pub(crate) large: Option<LargeHead>,
    /// In causal order, the flows that batches may depend on.
    #[serde(deserialize_with = "few::<SOURCES_MAX, _, _>")]
    pub(crate) sources: Vec<FlowKey>,
}

/// What is known of a large payload from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LargeHead {
    /// Its length in bytes, if the origin knows it.
    pub(crate) length: Option<u64>,
    /// The large payloads of this life of the origin below this number were over when this one began.
    pub(crate) oldest: FlowId,
}

/// How far the origin of a batch had been given another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dep {
    /// The flow's place among the sources of the destination set.
    pub(crate) source: u32,
    pub(crate) upto: u64,
}

/// A list of at most `MAX` elements, for which no more is allocated.
fn few<'de, const MAX: usize, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Few<const MAX: usize, T>(PhantomData<T>);

    impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Few<MAX, T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(next) = seq.next_element()? {
                if all.len() == MAX {
                    return Err(A::Error::custom("too many elements"));
                }
                all.push(next);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_seq(Few::<MAX, T>(PhantomData))
}

/// So many flows a flow in causal order names as those that it depends on, at most.
pub(crate) const SOURCES_MAX: usize = 1_024;

/// A member of a destination set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DestMember {
    pub(crate) node: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) tenure: Tenure,
    /// The first message that is meant for it in this life of the origin.
    pub(crate) start: u64,
    /// How many messages from there on were sent before it was a member.
    pub(crate) replayed: u64,
    /// What the origin's former lives sent to it and it has not acknowledged, in the order of these lives.
    pub(crate) owed: Vec<Owed>,
}

/// A holder that is left out because it was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DestEvicted {
    pub(crate) node: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) tenure: Tenure,
    /// The first message that was meant for it in this life of the origin.
    pub(crate) start: u64,
    /// The last message that was meant for it.
    pub(crate) upto: u64,
    /// If the origin keeps what follows for it, as far as it is the last of its key, messages up to here exist.
    pub(crate) lags: Option<u64>,
}

/// Messages of one life of an origin that a member has not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    /// The life in which they were sent.
    pub(crate) epoch: Epoch,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl DestSet {
    /// The entry of a node.
    pub(crate) fn member(&self, node: NodeId) -> Option<&DestMember> {
        let index = self
            .members
            .binary_search_by_key(&node, |member| member.node)
            .ok()?;
        Some(&self.members[index])
    }

    /// The entry of a node that is left out.
    pub(crate) fn evicted(&self, node: NodeId) -> Option<&DestEvicted> {
        let mut evicted = self.evicted.iter();
        evicted.find(|evicted| evicted.node == node)
    }

    /// Why a life of a node is not sent messages `first..=last`, as far as this set says, by somebody who had them all.
    pub(crate) fn why_not(&self, (node, epoch): (NodeId, Epoch), (first, last): (u64, u64)) -> Why {
        let member = self.member(node).filter(|member| member.epoch == epoch);
        let evicted = self.evicted(node);
        match evicted.filter(|evicted| evicted.epoch == epoch) {
            Some(evicted) if evicted.upto < first => Why::LeftOut,
            Some(evicted) if evicted.start <= last => Why::NotKept,
            _ if member.is_some_and(|member| member.start <= last) => Why::NotKept,
            _ => Why::NotMeant,
        }
    }

    /// Whether those that are left out are in order, without doubles, no members, not too many, and meant by something that can be.
    fn are_evicted_well_formed(&self) -> bool {
        let possible = |evicted: &DestEvicted| {
            let (start, upto) = (evicted.start, evicted.upto);
            let known = evicted.lags.unwrap_or(upto);
            start >= 1 && upto <= known && known <= SEQ_MAX && start <= upto + 1
        };
        self.evicted.len() <= DEST_MEMBERS_MAX
            && self.evicted.is_sorted_by(|a, b| a.node < b.node)
            && self.evicted.iter().all(possible)
            && !self.evicted.iter().any(|e| self.member(e.node).is_some())
            && (self.large.is_none() || self.evicted.iter().all(|e| e.lags.is_none()))
    }

    /// Whether the mode is one that flows have, members are in order, without doubles, not too many, and no sequence is impossible.
    pub(crate) fn is_well_formed(&self) -> bool {
        self.mode.is_possible()
            && self.are_evicted_well_formed()
            && self.members.len() <= DEST_MEMBERS_MAX
            && self.members.is_sorted_by(|a, b| a.node < b.node)
            && self.members.iter().all(|m| {
                let possible =
                    |owed: &Owed| owed.first >= 1 && owed.first <= owed.last && owed.last < m.start;
                m.start >= 1
                    && m.replayed <= SEQ_MAX
                    && m.owed.len() <= OWED_MAX
                    && m.owed.iter().all(possible)
                    && m.owed
                        .is_sorted_by(|a, b| a.epoch < b.epoch && a.last < b.first)
                    && m.owed.last().is_none_or(|owed| owed.epoch < self.key.epoch)
            })
    }
}

/// One digest of a flow names so many runs of messages that follow a hole, at most.
pub(crate) const BEYOND_MAX: usize = 8;

/// Of so many members one digest of a flow passes on what they said, at most.
pub(crate) const HEARD_MAX: usize = 256;

/// No message has a number above this.
pub(crate) const SEQ_MAX: u64 = 1 << 62;

/// Writes what a slice of bytes is written as anyway, but not byte by byte.
fn bytes_at_once<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// The most members of a destination set: twice as many as a mesh may have.
const DEST_MEMBERS_MAX: usize = 16_384;
/// The most former lives of an origin of which a member is told what it missed; of earlier ones nobody keeps anything.
pub(crate) const OWED_MAX: usize = 16;

/// Encodes a control frame.
pub(crate) fn encode_control(control: &Control<'_>) -> Bytes {
    encode(control)
}

/// Encodes the head of a data frame.
pub(crate) fn encode_head(head: &DataHead) -> Bytes {
    encode(head)
}

/// Decodes a control frame; `None` if it is malformed.
pub(crate) fn decode_control(frame: &[u8]) -> Option<Control<'_>> {
    match postcard::take_from_bytes(frame) {
        Ok((control, [])) => Some(control),
        _ => None,
    }
}

/// Splits a data frame into head and body; `None` if it is malformed.
pub(crate) fn decode_data(frame: &Bytes) -> Option<(DataHead, Bytes)> {
    let (head, rest) = postcard::take_from_bytes::<DataHead>(frame).ok()?;
    Some((head, frame.slice(frame.len() - rest.len()..)))
}

fn encode<T: Serialize>(value: &T) -> Bytes {
    let mut usual = [0; USUAL_BYTES];
    match postcard::to_slice(value, &mut usual) {
        Ok(bytes) => Bytes::copy_from_slice(bytes),
        // It is longer than usual.
        Err(_) => postcard::to_extend(value, Vec::with_capacity(2 * USUAL_BYTES))
            .expect("these types always encode")
            .into(),
    }
}

/// What all but destination sets and long lists of acknowledgements fit into.
const USUAL_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::strategies::{control, data_head, frame};
    use super::*;

    proptest! {
        #[test]
        fn every_head_comes_back_with_its_body(head in data_head(), body in vec(any::<u8>(), 0..100)) {
            let encoded = encode_head(&head);
            for end in 0..encoded.len() {
                prop_assert_eq!(decode_data(&encoded.slice(..end)), None, "cut at {}", end);
            }
            let frame = [&encoded[..], &body].concat().into();
            prop_assert_eq!(decode_data(&frame), Some((head, Bytes::from(body))));
        }

        #[test]
        fn every_control_frame_comes_back(control in control(), tail in any::<u8>()) {
            let encoded = encode_control(&control);
            for end in 0..encoded.len() {
                prop_assert_eq!(decode_control(&encoded[..end]), None, "cut at {}", end);
            }
            let longer = [&encoded[..], &[tail]].concat();
            prop_assert_eq!(decode_control(&longer), None);
            prop_assert_eq!(decode_control(&encoded), Some(control));
        }

        #[test]
        fn news_of_the_membership_layer_comes_back(news in vec(any::<u8>(), 0..400)) {
            let control = Control::Membership(&news);
            let encoded = encode_control(&control);
            prop_assert_eq!(decode_control(&encoded), Some(control));
        }

        #[test]
        fn whatever_is_understood_can_be_said(
            (_, bytes) in frame(),
            damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut bytes = bytes.to_vec();
            for (place, value) in damage {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = value;
                }
            }
            if let Some(control) = decode_control(&bytes) {
                let again = encode_control(&control);
                prop_assert_eq!(decode_control(&again), Some(control));
            }
            if let Some((head, body)) = decode_data(&bytes.into()) {
                let again = [&encode_head(&head)[..], &body].concat().into();
                prop_assert_eq!(decode_data(&again), Some((head, body)));
            }
        }
    }

    #[test]
    fn a_data_frame_splits_where_its_head_ends() {
        let head = DataHead::Call {
            call: 300,
            role: "db:master".parse().expect("a role"),
            wants_reply: true,
        };
        let frame: Bytes = [&encode_head(&head)[..], b"payload"].concat().into();
        assert_eq!(
            decode_data(&frame),
            Some((head, Bytes::from_static(b"payload")))
        );
    }

    #[test]
    fn a_control_frame_with_a_tail_is_malformed() {
        let frame = encode_control(&Control::Membership(b"news"));
        assert_eq!(decode_control(&frame), Some(Control::Membership(b"news")));
        assert_eq!(decode_control(&[&frame[..], b"x"].concat()), None);
    }
}
