//! Messages on their way together.
//!
//! A batch is what a sender's messages are put into as they come, what goes over every link of the destination set as the same bytes, what a receiver relays as it came, and what an inbox takes apart.
//! Inside, each message is a varint `length << 1 | is_request`, for a request a varint call number, and the payload.
//! No call has the number 0: what bears it is a note from engine to engine, alone in its batch.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::api::{CallId, FlowId};

/// One or more messages of one flow, in order.
///
/// However it was made, a `Batch` holds exactly `count` well-formed messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    count: u32,
    /// Whether there may be questions among the messages.
    asks: bool,
    /// The prefix of a single message whose payload is kept apart, so as not to copy it; else empty.
    head: Bytes,
    body: Bytes,
    /// What its only message says, if that is a note.
    note: Option<Note>,
    /// The messages' keys, if there are any; they stay with the sender.
    keys: Option<Arc<[Bytes]>>,
}

/// What one engine tells another in the place of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Note {
    /// Here a large payload belongs, which is a flow of its own.
    Large { flow: FlowId, length: Option<u64> },
    /// Here the large payload ends whose flow this is.
    End { complete: bool },
}

/// One message of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchMessage {
    /// The payload.
    pub payload: Bytes,
    /// The call to which the sender awaits a reply, if it does.
    pub call: Option<CallId>,
}

/// Gathers messages into batches.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    count: u32,
    asks: bool,
    body: BytesMut,
    /// The keys of the messages, from the first one on that has one.
    keys: Vec<Bytes>,
    /// The length of the batch before: what the next one is likely to need.
    expected: usize,
}

/// Takes a batch apart, message by message.
#[derive(Clone, Debug)]
pub struct Messages {
    left: u32,
    head: Bytes,
    body: Bytes,
}

/// A payload from this size on is not copied into a batch but travels in one of its own.
pub const SINGLE_BYTES_MIN: usize = 16 << 10;
/// The call number that no call has.
const NOTE: CallId = CallId(0);
/// Two numbers of at most ten bytes each.
const PREFIX_BYTES_MAX: usize = 20;
/// What a batch takes in memory beside its messages; an empty message in a batch of its own was measured at 170 bytes in an inbox.
pub(crate) const BATCH_OVERHEAD_BYTES: usize = 192;
/// A batch is full when it has this many bytes.
pub const BATCH_BYTES_FULL: usize = 64 << 10;

impl Batch {
    /// A batch of one message, whose payload is not copied.
    #[must_use]
    pub fn single(payload: Bytes, call: Option<CallId>) -> Self {
        let prefix = Prefix::new(payload.len(), call);
        Batch {
            count: 1,
            asks: call.is_some(),
            head: Bytes::copy_from_slice(prefix.as_slice()),
            body: payload,
            note: None,
            keys: None,
        }
    }

    /// The same with a key for its only message.
    #[must_use]
    pub fn keyed(self, key: Bytes) -> Self {
        debug_assert_eq!(self.count, 1, "each message has a key of its own");
        let keys = (!key.is_empty()).then(|| [key].into());
        Batch { keys, ..self }
    }

    /// The keys of the messages, in order; the last ones may be missing, which have none.
    /// A batch that came from a peer has none.
    #[must_use]
    pub fn keys(&self) -> &[Bytes] {
        self.keys.as_deref().unwrap_or_default()
    }

    /// A batch of one note.
    pub(crate) fn note(note: Note) -> Self {
        let said = postcard::to_extend(&note, Vec::new()).expect("a note always encodes");
        let prefix = Prefix::new(said.len(), Some(NOTE));
        Batch {
            count: 1,
            asks: false,
            head: Bytes::copy_from_slice(prefix.as_slice()),
            body: said.into(),
            note: Some(note),
            keys: None,
        }
    }

    /// What it says, if it is a note.
    pub(crate) fn noted(&self) -> Option<&Note> {
        self.note.as_ref()
    }

    /// Whether it has messages only, which ask nothing and announce nothing.
    pub(crate) fn is_replayable(&self) -> bool {
        self.note.is_none() && !self.asks
    }

    /// Whether it has one message, which asks nothing.
    pub(crate) fn is_lone_message(&self) -> bool {
        self.count == 1 && !self.asks
    }

    /// The only message's payload.
    pub(crate) fn into_chunk(self) -> Bytes {
        let message = self.into_messages().next();
        message.map(|message| message.payload).unwrap_or_default()
    }

    /// Checks bytes that came from a peer; `None` if they are not exactly `count` messages.
    pub(crate) fn parse(count: u32, body: Bytes) -> Option<Self> {
        let mut rest: &[u8] = &body;
        let mut asks = false;
        let mut note = None;
        for _ in 0..count {
            let (len, call) = take_prefix(&mut rest)?;
            if rest.len() < len {
                return None;
            }
            if call == Some(NOTE) {
                note = Some(take_note(&rest[..len]).filter(|_| count == 1)?);
            } else {
                asks |= call.is_some();
            }
            rest.advance(len);
        }
        (count > 0 && rest.is_empty()).then_some(Batch {
            count,
            asks,
            head: Bytes::new(),
            body,
            note,
            keys: None,
        })
    }

    /// How many messages there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The calls to which the sender awaits replies.
    pub(crate) fn questions(&self) -> impl Iterator<Item = CallId> {
        let messages = self.asks.then(|| self.clone().into_messages());
        let calls = messages.into_iter().flatten().map(|message| message.call);
        calls.flatten()
    }

    /// How many bytes it takes on a link, without the frame's header.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// How much of a window it uses up, in bytes: what it takes in memory while it waits.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        self.len_bytes() + BATCH_OVERHEAD_BYTES
    }

    /// The messages, in order.
    #[must_use]
    pub fn into_messages(self) -> Messages {
        Messages {
            left: self.count,
            head: self.head,
            body: self.body,
        }
    }

    /// The batch without its first `count` messages, of which there are more.
    pub(crate) fn without_first(self, count: u32) -> Self {
        if count == 0 {
            return self;
        }
        debug_assert!(count < self.count, "a batch holds at least one message");
        let (left, asks) = (self.count - count, self.asks);
        let keys = self.keys().get(count as usize..).map(Into::into);
        let mut messages = self.into_messages();
        messages.by_ref().take(count as usize).for_each(drop);
        Batch {
            count: left,
            asks,
            head: messages.head,
            body: messages.body,
            note: None,
            keys,
        }
    }

    /// The two parts that follow each other on a link.
    pub(crate) fn parts(&self) -> (&Bytes, &Bytes) {
        (&self.head, &self.body)
    }
}

impl BatchBuilder {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        BatchBuilder::default()
    }

    /// Appends a message, copying its payload.
    pub fn push(&mut self, payload: &[u8], call: Option<CallId>) {
        let prefix = Prefix::new(payload.len(), call);
        if self.count == 0 {
            // One allocation instead of a series of ever larger ones.
            self.body.reserve(self.expected);
        }
        self.body.extend_from_slice(prefix.as_slice());
        self.body.extend_from_slice(payload);
        self.count += 1;
        self.asks |= call.is_some();
    }

    /// The same with a key, which is empty if the message has none.
    pub fn push_keyed(&mut self, payload: &[u8], key: Bytes) {
        if !key.is_empty() {
            // Those before it without a key have an empty one.
            self.keys.resize(self.count as usize, Bytes::new());
            self.keys.push(key);
        }
        self.push(payload, None);
    }

    /// How many messages there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes the batch would have.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.body.len()
    }

    /// Takes out what was gathered; `None` if that is nothing.
    pub fn take(&mut self) -> Option<Batch> {
        let count = std::mem::take(&mut self.count);
        let asks = std::mem::take(&mut self.asks);
        let keys = std::mem::take(&mut self.keys);
        (count > 0).then(|| {
            self.expected = self.body.len();
            Batch {
                count,
                asks,
                head: Bytes::new(),
                body: self.body.split().freeze(),
                note: None,
                keys: (!keys.is_empty()).then(|| keys.into()),
            }
        })
    }
}

impl Iterator for Messages {
    type Item = BatchMessage;

    #[inline]
    fn next(&mut self) -> Option<BatchMessage> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        if !self.head.is_empty() {
            let (_, call) = take_prefix(&mut &self.head[..])?;
            return Some(BatchMessage {
                payload: std::mem::take(&mut self.body),
                call,
            });
        }
        let mut rest: &[u8] = &self.body;
        let (len, call) = take_prefix(&mut rest)?;
        let prefix = self.body.len() - rest.len();
        self.body.advance(prefix);
        let payload = self.body.split_to(len);
        Some(BatchMessage { payload, call })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Messages {}

/// What stands before a payload, put together on the stack so that the batch grows once for all of it.
struct Prefix {
    bytes: [u8; PREFIX_BYTES_MAX],
    len: usize,
}

impl Prefix {
    #[inline]
    fn new(payload_bytes: usize, call: Option<CallId>) -> Self {
        let mut prefix = Prefix {
            bytes: [0; PREFIX_BYTES_MAX],
            len: 0,
        };
        prefix.put_varint((payload_bytes as u64) << 1 | u64::from(call.is_some()));
        if let Some(CallId(call)) = call {
            prefix.put_varint(call);
        }
        prefix
    }

    /// Appends an unsigned LEB128 number.
    #[inline]
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes[self.len] = value as u8 | 0x80;
            self.len += 1;
            value >>= 7;
        }
        self.bytes[self.len] = value as u8;
        self.len += 1;
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A note, if these bytes are one and nothing more.
fn take_note(bytes: &[u8]) -> Option<Note> {
    match postcard::take_from_bytes(bytes) {
        Ok((note, [])) => Some(note),
        _ => None,
    }
}

#[inline]
fn take_prefix(rest: &mut &[u8]) -> Option<(usize, Option<CallId>)> {
    let head = take_varint(rest)?;
    let call = if head & 1 == 1 {
        Some(CallId(take_varint(rest)?))
    } else {
        None
    };
    Some((usize::try_from(head >> 1).ok()?, call))
}

/// Takes an unsigned LEB128 number off the front; `None` if it is cut short or above 64 bits.
#[inline]
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            messages in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), proptest::option::of(1u64..)), 1..40),
        ) {
            let mut builder = BatchBuilder::new();
            for (payload, call) in &messages {
                builder.push(payload, call.map(CallId));
            }
            let batch = builder.take().expect("something was pushed");
            let (head, body) = batch.parts();
            prop_assert!(head.is_empty());
            let parsed = Batch::parse(batch.count(), body.clone());
            prop_assert_eq!(parsed.as_ref(), Some(&batch));
            prop_assert_eq!(Batch::parse(batch.count() + 1, body.clone()), None);
            let asked: Vec<_> = messages.iter().filter_map(|(_, call)| call.map(CallId)).collect();
            prop_assert_eq!(batch.questions().collect::<Vec<_>>(), asked);
            let out: Vec<_> = batch.into_messages().map(|m| (m.payload.to_vec(), m.call.map(|c| c.0))).collect();
            prop_assert_eq!(out, messages);
        }

        #[test]
        fn any_bytes_are_refused_or_taken_apart_whole(count in 0u32..50, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(batch) = Batch::parse(count, body.into()) {
                prop_assert_eq!(batch.into_messages().count(), count as usize);
            }
        }
    }

    #[test]
    fn a_note_stands_alone() {
        let note = Note::Large {
            flow: FlowId(1 << 31),
            length: Some(1 << 40),
        };
        let batch = Batch::note(note);
        let (head, body) = batch.parts();
        let wire: Bytes = [&head[..], &body[..]].concat().into();
        let received = Batch::parse(1, wire.clone()).expect("well-formed");
        assert_eq!(received.noted(), Some(&note));
        assert_eq!(received.questions().count(), 0);
        let twice: Bytes = [&wire[..], &wire[..]].concat().into();
        assert_eq!(Batch::parse(2, twice), None);
        let tail: Bytes = [&[wire[0] + 2], &wire[1..], &[0]].concat().into();
        assert_eq!(Batch::parse(1, tail), None);
    }

    #[test]
    fn a_single_reads_the_same_on_both_sides() {
        let batch = Batch::single(Bytes::from_static(b"large"), Some(CallId(7)));
        let (head, body) = batch.parts();
        let wire: Bytes = [&head[..], &body[..]].concat().into();
        let received = Batch::parse(1, wire).expect("well-formed");
        assert!(received.into_messages().eq(batch.into_messages()));
    }
}
