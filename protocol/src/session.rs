//! A perfect point-to-point channel between two lives.
//!
//! The textbook builds its broadcasts on links that lose, duplicate and invent nothing (Cachin, Guerraoui, Rodrigues: "Introduction to Reliable and Secure Distributed Programming", 2011, module 2.3).
//! QUIC streams are that only while a connection lives.
//! A session makes them so across connections: data frames are numbered from 1, kept until the peer acknowledges them, and sent again from where the peer stands when a link comes back.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rolecast_membership::Epoch;

use crate::api::CallId;
use crate::wire::{DataHead, FlowKey, encode_head};

/// The session with one life of a peer: both directions.
#[derive(Debug)]
pub(crate) struct Session {
    /// The peer's life.
    pub(crate) peer_epoch: Epoch,
    /// Frames that the peer has not acknowledged, in order.
    queue: VecDeque<OutFrame>,
    /// The number of the first frame in the queue.
    first: u64,
    /// The number of the next frame for the present link.
    next: u64,
    /// The number after the highest frame that was ever handed to a link.
    handed: u64,
    /// Bytes in the queue.
    bytes: usize,
    /// Frames before this number cannot be skipped any more, or were.
    skip_from: u64,
    /// The version of each flow's destination set that was last announced in this session.
    announced: BTreeMap<FlowKey, u32>,
    /// How many frames of the peer were received.
    received: u64,
    /// Bytes received since the last acknowledgement.
    unacknowledged_bytes: usize,
}

/// One frame on its way to the peer.
#[derive(Clone, Debug)]
pub(crate) struct OutFrame {
    pub(crate) head: Bytes,
    pub(crate) body: Bytes,
    pub(crate) cargo: Cargo,
}

/// What has to be known of a frame when it is acknowledged or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cargo {
    /// Nothing.
    Plain,
    /// A relayed batch.
    Relay {
        key: FlowKey,
        upto: u64,
        /// Whether the flow's acknowledgement waits for it.
        awaited: bool,
    },
    /// A call of this node.
    Call(CallId),
}

impl OutFrame {
    /// Bytes it takes on a link.
    pub(crate) fn len_bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

impl Session {
    pub(crate) fn new(peer_epoch: Epoch) -> Self {
        Session {
            peer_epoch,
            queue: VecDeque::new(),
            first: 1,
            next: 1,
            handed: 1,
            bytes: 0,
            skip_from: 1,
            announced: BTreeMap::new(),
            received: 0,
            unacknowledged_bytes: 0,
        }
    }

    /// Appends a frame and gives its number.
    pub(crate) fn push(&mut self, frame: OutFrame) -> u64 {
        self.bytes += frame.len_bytes();
        self.queue.push_back(frame);
        self.first + self.queue.len() as u64 - 1
    }

    /// The next frame for the present link, if there is one.
    pub(crate) fn next_frame(&mut self) -> Option<&OutFrame> {
        let index = usize::try_from(self.next - self.first).expect("the queue fits in memory");
        let frame = self.queue.get(index)?;
        self.next += 1;
        self.handed = self.handed.max(self.next);
        Some(frame)
    }

    /// Starts over on another link: everything that is not acknowledged goes again.
    pub(crate) fn rewind(&mut self) -> u64 {
        self.next = self.first;
        self.first
    }

    /// Starts on another link as if nothing had been lost.
    #[cfg(feature = "canaries")]
    pub(crate) fn forget_unacknowledged(&mut self) -> u64 {
        self.next = self.handed;
        self.next
    }

    /// The peer has this many frames; gives those that were not known to have arrived.
    pub(crate) fn acknowledge(&mut self, received: u64) -> impl Iterator<Item = Cargo> + use<> {
        // A peer cannot have what was never handed to a link.
        let upto = received.min(self.handed - 1);
        let count = usize::try_from((upto + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut done = Vec::with_capacity(count.min(self.queue.len()));
        for frame in self.queue.drain(..count.min(self.queue.len())) {
            self.bytes -= frame.len_bytes();
            self.first += 1;
            done.push(frame.cargo);
        }
        self.next = self.next.max(self.first);
        done.into_iter()
    }

    /// Whether a frame with this number was ever handed to a link.
    pub(crate) fn was_handed(&self, number: u64) -> bool {
        number < self.handed
    }

    /// Blanks a frame that was never handed to a link; says whether that could be done.
    pub(crate) fn withdraw(&mut self, number: u64) -> bool {
        if self.was_handed(number) || number < self.first {
            return false;
        }
        let index = usize::try_from(number - self.first).expect("the queue fits in memory");
        let Some(frame) = self.queue.get_mut(index) else {
            return false;
        };
        self.bytes -= frame.len_bytes();
        // The number stays taken: an answer to no call is ignored by its receiver.
        frame.head = encode_head(&DataHead::Answer {
            call: 0,
            answer: crate::wire::WireAnswer::Taken,
        });
        frame.body = Bytes::new();
        frame.cargo = Cargo::Plain;
        self.bytes += frame.len_bytes();
        true
    }

    /// No acknowledgement shall wait any longer for what is in the queue; gives what did.
    pub(crate) fn release_relays(&mut self) -> Vec<(FlowKey, u64)> {
        let mut released = Vec::new();
        for frame in &mut self.queue {
            if let Cargo::Relay { key, upto, awaited } = &mut frame.cargo
                && std::mem::take(awaited)
            {
                released.push((*key, *upto));
            }
        }
        released
    }

    /// Replaces the oldest relayed batches by a word about them until the queue has at most `bytes_max` bytes, or has none left.
    /// Gives those whose acknowledgement somebody waited for.
    pub(crate) fn skip_relays(&mut self, bytes_max: usize) -> Vec<(FlowKey, u64)> {
        let mut released = Vec::new();
        self.skip_from = self.skip_from.max(self.first);
        while self.bytes > bytes_max {
            let index = usize::try_from(self.skip_from - self.first).expect("it fits in memory");
            let Some(frame) = self.queue.get_mut(index) else {
                break;
            };
            self.skip_from += 1;
            let Cargo::Relay { key, upto, awaited } = frame.cargo else {
                continue;
            };
            self.bytes -= frame.len_bytes();
            frame.head = encode_head(&DataHead::Skipped { key, upto });
            frame.body = Bytes::new();
            frame.cargo = Cargo::Plain;
            self.bytes += frame.len_bytes();
            if awaited {
                released.push((key, upto));
            }
        }
        released
    }

    /// Notes which version of a destination set the peer is about to know; says whether it has to be sent.
    pub(crate) fn announce(&mut self, key: FlowKey, version: u32) -> bool {
        self.announced.insert(key, version) != Some(version)
    }

    /// Forgets a flow.
    pub(crate) fn forget_flow(&mut self, key: FlowKey) {
        self.announced.remove(&key);
    }

    /// Everything that was not acknowledged, with whether it was ever handed to a link.
    pub(crate) fn into_unacknowledged(self) -> impl Iterator<Item = (Cargo, bool)> {
        let (first, handed) = (self.first, self.handed);
        let numbered = (first..).zip(self.queue);
        numbered.map(move |(number, frame)| (frame.cargo, number < handed))
    }

    /// The peer goes on with frame `first`.
    pub(crate) fn resume_received(&mut self, first: u64) -> ResumeAt {
        match (self.received + 1).cmp(&first) {
            std::cmp::Ordering::Less => {
                self.received = first - 1;
                ResumeAt { repeated: 0 }
            }
            _ => ResumeAt {
                repeated: self.received + 1 - first,
            },
        }
    }

    /// A frame of the peer was taken in.
    pub(crate) fn on_received(&mut self, bytes: usize) {
        self.received += 1;
        self.unacknowledged_bytes += bytes;
    }

    /// How many frames of the peer were received; they count as acknowledged from here on.
    pub(crate) fn take_received(&mut self) -> u64 {
        self.unacknowledged_bytes = 0;
        self.received
    }

    /// How many frames of the peer were received.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Bytes received since the last acknowledgement.
    pub(crate) fn unacknowledged_bytes(&self) -> usize {
        self.unacknowledged_bytes
    }

    /// Bytes kept for the peer.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the peer has acknowledged everything.
    pub(crate) fn is_settled(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Where the peer's stream takes up the session again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResumeAt {
    /// So many frames come that were received before.
    pub(crate) repeated: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &'static str) -> OutFrame {
        OutFrame {
            head: Bytes::new(),
            body: Bytes::from_static(body.as_bytes()),
            cargo: Cargo::Plain,
        }
    }

    fn drain(session: &mut Session) -> Vec<Bytes> {
        std::iter::from_fn(|| session.next_frame().map(|frame| frame.body.clone())).collect()
    }

    #[test]
    fn a_link_that_comes_back_gets_what_was_not_acknowledged() {
        let mut session = Session::new(Epoch(1));
        for body in ["a", "b", "c"] {
            session.push(frame(body));
        }
        assert_eq!(drain(&mut session), ["a", "b", "c"]);
        assert_eq!(session.acknowledge(1).count(), 1);
        session.push(frame("d"));
        assert_eq!(drain(&mut session), ["d"]);
        assert_eq!(session.rewind(), 2);
        assert_eq!(drain(&mut session), ["b", "c", "d"]);
        assert_eq!(session.acknowledge(4).count(), 3);
        assert!(session.is_settled() && session.bytes() == 0);
    }

    #[test]
    fn a_peer_cannot_acknowledge_what_it_was_not_sent() {
        let mut session = Session::new(Epoch(1));
        session.push(frame("a"));
        assert_eq!(session.acknowledge(u64::MAX).count(), 0);
        assert_eq!(drain(&mut session), ["a"]);
        assert_eq!(session.acknowledge(u64::MAX).count(), 1);
        assert_eq!(session.push(frame("b")), 2);
    }

    #[test]
    fn repeated_frames_are_counted_and_skipped_ones_accepted() {
        let mut session = Session::new(Epoch(1));
        assert_eq!(session.resume_received(1).repeated, 0);
        session.on_received(1);
        session.on_received(1);
        assert_eq!(session.resume_received(1).repeated, 2);
        assert_eq!(session.resume_received(3).repeated, 0);
        assert_eq!(session.resume_received(10).repeated, 0);
        assert_eq!(session.take_received(), 9);
    }

    #[test]
    fn only_what_was_never_handed_over_can_be_withdrawn() {
        let mut session = Session::new(Epoch(1));
        let (a, b) = (session.push(frame("a")), session.push(frame("b")));
        session.next_frame();
        assert!(!session.withdraw(a));
        assert!(session.withdraw(b));
        assert!(drain(&mut session)[0].is_empty());
    }
}
