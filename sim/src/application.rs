//! The application on one node: what it does with what its inboxes get, and what it still wants to send.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use rolecast_membership::{RoleName, Time};
use rolecast_protocol::{
    Batch, BatchBuilder, CallId, FlowId, InboxId, Mode, Origin, Refusal, ReplyTo, SlowMembers,
    Ticket,
};

use crate::check::Holder;
use crate::random::Stream;

/// One application.
#[derive(Debug)]
pub(crate) struct Application {
    stream: Stream,
    /// How fast it takes what comes.
    pace: Pace,
    pub(crate) inboxes: BTreeMap<InboxId, AppInbox>,
    pub(crate) flows: BTreeMap<(RoleName, Mode, SlowMembers), FlowId>,
    pub(crate) senders: BTreeMap<FlowId, Sender>,
    /// The large payloads that it is sending.
    pub(crate) larges: BTreeMap<FlowId, LargeSender>,
    /// How many chunks came of each large payload.
    pub(crate) chunks: BTreeMap<(InboxId, Origin, FlowId), u64>,
    /// Answers that it has thought of and not given yet.
    answers: BTreeMap<u32, Answering>,
    last_answer: u32,
    /// Its calls that may be outstanding, the oldest first.
    pub(crate) calls: VecDeque<CallId>,
    /// The inboxes, as the ghost sees them, for roles that are narrowed to the site in which the node is.
    pub(crate) narrowed: BTreeMap<(InboxId, RoleName), InboxId>,
    pub(crate) last_narrowed: u64,
}

/// How fast an application takes what comes, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Pace {
    low_us: u64,
    high_us: u64,
    /// How many of a thousand takings are followed by a long pause.
    pauses: u32,
}

/// An inbox as the application sees it.
#[derive(Debug)]
pub(crate) struct AppInbox {
    pub(crate) role: RoleName,
    items: VecDeque<Item>,
    taking: bool,
}

/// Something that waits in an inbox.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) ticket: Option<Ticket>,
    /// For multicasts: whose, of which flow, up to which position.
    pub(crate) upto: Option<(Origin, FlowId, u64)>,
    /// Into which inbox it came, as the ghost sees it.
    pub(crate) seen_in: InboxId,
    /// The requests among them.
    pub(crate) requests: Vec<ReplyTo>,
}

/// What an application sends in one flow.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) role: RoleName,
    pub(crate) mode: Mode,
    /// What it does when a holder is slow.
    pub(crate) slow: SlowMembers,
    /// Batches that wait for room.
    pub(crate) waiting: VecDeque<Batch>,
    /// Those that it goes on without.
    pub(crate) evicted: Vec<Holder>,
    /// Whether the flow refused a batch and has not said since that it takes batches again.
    pub(crate) blocked: bool,
}

/// A large payload that an application is sending.
#[derive(Debug)]
pub(crate) struct LargeSender {
    /// Those to whom it was announced.
    pub(crate) holders: Arc<[Holder]>,
    pub(crate) role: RoleName,
    pub(crate) mode: Mode,
    /// What is still to be sent.
    pub(crate) chunks: VecDeque<Bytes>,
    pub(crate) pause: Duration,
    pub(crate) complete: bool,
    /// How many chunks were sent.
    pub(crate) sent: u64,
}

/// An answer that an application will give.
#[derive(Clone, Debug)]
pub(crate) struct Answering {
    pub(crate) to: ReplyTo,
    pub(crate) answer: Result<Bytes, Refusal>,
}

/// Batches that an application keeps for a flow that has no room; what comes on top it does not send.
const WAITING_MAX: usize = 32;

impl Application {
    pub(crate) fn new(mut stream: Stream) -> Self {
        let (low_us, high_us) = *stream.pick(&[(1, 50), (1, 5_000), (200, 50_000)]);
        let pauses = *stream.pick(&[0, 0, 5, 30]);
        Application {
            stream,
            pace: Pace {
                low_us,
                high_us,
                pauses,
            },
            inboxes: BTreeMap::new(),
            flows: BTreeMap::new(),
            senders: BTreeMap::new(),
            larges: BTreeMap::new(),
            chunks: BTreeMap::new(),
            answers: BTreeMap::new(),
            last_answer: 0,
            calls: VecDeque::new(),
            narrowed: BTreeMap::new(),
            last_narrowed: 0,
        }
    }

    pub(crate) fn open_inbox(&mut self, inbox: InboxId, role: RoleName) {
        let entry = AppInbox {
            role,
            items: VecDeque::new(),
            taking: false,
        };
        self.inboxes.insert(inbox, entry);
    }

    /// Closes an inbox; what waited in it is never taken.
    pub(crate) fn close_inbox(&mut self, inbox: InboxId) -> Vec<Item> {
        self.inboxes
            .remove(&inbox)
            .map_or_else(Vec::new, |inbox| inbox.items.into())
    }

    pub(crate) fn inbox_of(&self, role: &RoleName) -> Option<InboxId> {
        self.inboxes
            .iter()
            .find(|(_, inbox)| inbox.role == *role)
            .map(|(&id, _)| id)
    }

    /// Something came; if the application has to be woken for it, says when.
    pub(crate) fn put(&mut self, now: Time, inbox: InboxId, item: Item) -> Option<Time> {
        let entry = self.inboxes.get_mut(&inbox)?;
        entry.items.push_back(item);
        if std::mem::replace(&mut entry.taking, true) {
            return None;
        }
        Some(now + self.delay())
    }

    /// Takes some of what waits; says when to come again.
    pub(crate) fn take(&mut self, now: Time, inbox: InboxId) -> (Vec<Item>, Option<Time>) {
        let Some(entry) = self.inboxes.get_mut(&inbox) else {
            return (Vec::new(), None);
        };
        // Some applications take one at a time, some all there is.
        let count = self.stream.between(1, 8) as usize;
        let count = count.min(entry.items.len());
        let taken = entry.items.drain(..count).collect();
        entry.taking = !entry.items.is_empty();
        let again = entry.taking;
        (taken, again.then(|| now + self.delay()))
    }

    /// Thinks about a request: an answer and when it is given, or nothing at all.
    pub(crate) fn think(&mut self, now: Time, to: ReplyTo) -> Option<(Time, u32)> {
        let answer = match self.stream.between(0, 99) {
            0..=79 => Ok(self.reply_payload()),
            80..=87 => Err(Refusal::Dropped),
            88..=93 => Err(Refusal::Busy),
            _ => return None,
        };
        self.last_answer += 1;
        self.answers
            .insert(self.last_answer, Answering { to, answer });
        Some((now + self.delay(), self.last_answer))
    }

    /// The answer thought of before; none if nobody awaits it any more.
    pub(crate) fn answer(&mut self, number: u32) -> Option<Answering> {
        self.answers.remove(&number)
    }

    /// Nobody awaits this answer any more; some applications stop working on it.
    pub(crate) fn forget_answer(&mut self, to: ReplyTo) {
        if self.stream.percent(50) {
            self.answers.retain(|_, answering| answering.to != to);
        }
    }

    /// Queues a batch for its flow; gives it back if it can be sent at once.
    pub(crate) fn queue(&mut self, flow: FlowId, batch: Batch) -> Option<Batch> {
        let sender = self.senders.get_mut(&flow)?;
        if !sender.blocked && sender.waiting.is_empty() {
            return Some(batch);
        }
        if sender.waiting.len() < WAITING_MAX {
            sender.waiting.push_back(batch);
        }
        None
    }

    /// Whether nothing is to be taken or answered.
    pub(crate) fn has_nothing_to_take(&self) -> bool {
        self.answers.is_empty() && self.inboxes.values().all(|inbox| inbox.items.is_empty())
    }

    /// Whether nothing waits for room.
    pub(crate) fn has_nothing_to_send(&self) -> bool {
        self.senders
            .values()
            .all(|sender| sender.waiting.is_empty())
            && self.larges.is_empty()
    }

    fn delay(&mut self) -> Duration {
        if self.pace.pauses > 0 && self.stream.between(0, 999) < u64::from(self.pace.pauses) {
            return self.stream.micros(500_000, 4_000_000);
        }
        self.stream.micros(self.pace.low_us, self.pace.high_us)
    }

    fn reply_payload(&mut self) -> Bytes {
        let (mark, bytes) = (
            self.stream.between(0, u64::MAX),
            self.stream.magnitude(8, 512),
        );
        payload(mark, u32::try_from(bytes).expect("at most 512"))
    }
}

/// A payload of this length that no other mark gives; at least eight bytes long.
pub(crate) fn payload(mark: u64, bytes: u32) -> Bytes {
    let len = bytes.max(8) as usize;
    let mut out = BytesMut::with_capacity(len + 8);
    let mut word = mark;
    while out.len() < len {
        out.put_u64(word);
        word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ mark;
    }
    out.truncate(len);
    out.freeze()
}

/// What stands for a large payload in the place where it is announced.
pub(crate) fn announcement(large: FlowId) -> Batch {
    Batch::single(Bytes::copy_from_slice(&large.0.to_be_bytes()), None)
}

/// What stands for the end of a large payload, behind its last chunk.
pub(crate) fn end(complete: bool) -> Batch {
    Batch::single(Bytes::copy_from_slice(&[u8::from(complete)]), None)
}

/// So many messages of this length, each unlike any other of the run, with one of so many keys; the first key is to have none.
pub(crate) fn batch(mark: u64, count: u8, bytes: u32, keys: u8) -> Batch {
    if count <= 1 {
        return Batch::single(payload(mark << 8, bytes), None).keyed(key(mark, 0, keys));
    }
    let mut builder = BatchBuilder::new();
    for number in 0..count {
        let payload = payload(mark << 8 | u64::from(number), bytes);
        builder.push_keyed(&payload, key(mark, number, keys));
    }
    builder.take().expect("at least two messages were pushed")
}

/// The key of a message, one of so many; the first key is to have none.
pub(crate) fn key(mark: u64, number: u8, keys: u8) -> Bytes {
    match (mark + u64::from(number)).checked_rem(keys.into()) {
        None | Some(0) => Bytes::new(),
        Some(key) => Bytes::copy_from_slice(&key.to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_differ_and_have_their_length() {
        assert_eq!(payload(7, 20).len(), 20);
        assert_ne!(payload(7, 20), payload(8, 20));
        assert_eq!(payload(7, 0).len(), 8);
        let messages: Vec<_> = batch(1, 5, 100, 0).into_messages().collect();
        assert_eq!(messages.len(), 5);
        assert!(
            messages
                .windows(2)
                .all(|two| two[0].payload != two[1].payload)
        );
    }
}
