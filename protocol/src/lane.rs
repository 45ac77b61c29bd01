//! One numbered lane of a session: frames in order, kept until the peer has them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rolecast_membership::Time;

use crate::api::{CallId, Class, FlowId};
use crate::canary::planted;
use crate::wire::{DataHead, FlowKey, WireAnswer, encode_head};

/// Which lane of a session: each has its own numbers, and a stream of its own on every link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneName {
    /// Messages, calls, and all that is small.
    Data,
    /// The parts of large payloads, which hold nothing else up.
    Bulk,
}

impl LaneName {
    /// Both, in the order in which they are served.
    pub(crate) const ALL: [LaneName; 2] = [LaneName::Data, LaneName::Bulk];

    /// The lane in which a flow's destination sets and batches travel.
    pub(crate) fn of_flow(flow: FlowId) -> Self {
        match flow.is_large() {
            true => LaneName::Bulk,
            false => LaneName::Data,
        }
    }

    /// The stream that carries it.
    pub(crate) fn class(self) -> Class {
        match self {
            LaneName::Data => Class::Data,
            LaneName::Bulk => Class::Bulk,
        }
    }

    /// The lane that a stream carries, if it carries one.
    pub(crate) fn of(class: Class) -> Option<Self> {
        LaneName::ALL.into_iter().find(|lane| lane.class() == class)
    }
}

/// How many frames were received in each lane, in the order of [`LaneName::ALL`].
pub(crate) type Received = [u64; 2];

/// One lane: both directions.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Frames that the peer has not acknowledged, in order.
    queue: VecDeque<Queued>,
    /// How many frames at the queue's front were handed to the present link.
    handed_now: usize,
    /// The number of the next frame to be appended.
    next: u64,
    /// The number after the highest frame that was ever handed to a link.
    handed: u64,
    /// Bytes in the queue.
    bytes: usize,
    /// How many frames of the peer were received.
    received: u64,
    /// When the latest of them was.
    received_at: Option<Time>,
    /// Bytes received since the last acknowledgement.
    unacknowledged_bytes: usize,
    /// Whether the peer turned out to have frames that were still to go again, so that the present link has to say anew where it is.
    jumped: bool,
    /// How often it was taken up by a link or another way.
    stretch: u64,
    /// The peer's latest stretch that was heard.
    heard_stretch: u64,
}

/// A frame with its place in its lane.
#[derive(Debug)]
struct Queued {
    /// Its number; of a run of skipped frames, the first one's.
    number: u64,
    /// How many numbers it stands for: more than one only for a run of skipped frames.
    count: u64,
    frame: OutFrame,
    /// Of a run of skipped frames, how far each flow is concerned.
    skipped: BTreeMap<FlowKey, u64>,
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
    /// A batch of this node's own flow.
    Own { flow: FlowId, upto: u64 },
    /// A relayed batch.
    Relay {
        key: FlowKey,
        upto: u64,
        /// Whether the flow's acknowledgement waits for it.
        awaited: bool,
    },
    /// A call of this node.
    Call(CallId),
    /// Relayed batches that were dropped for want of room.
    Skipped,
}

impl OutFrame {
    /// Bytes it takes on a link.
    pub(crate) fn len_bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

impl Lane {
    pub(crate) fn new() -> Self {
        Lane {
            queue: VecDeque::new(),
            handed_now: 0,
            next: 1,
            handed: 1,
            bytes: 0,
            received: 0,
            received_at: None,
            unacknowledged_bytes: 0,
            jumped: false,
            stretch: 0,
            heard_stretch: 0,
        }
    }

    /// Appends a frame and gives its number.
    pub(crate) fn push(&mut self, frame: OutFrame) -> u64 {
        let number = self.next;
        self.next += 1;
        self.bytes += frame.len_bytes();
        let skipped = BTreeMap::new();
        self.queue.push_back(Queued {
            number,
            count: 1,
            frame,
            skipped,
        });
        number
    }

    /// The number of the frame that was appended last.
    pub(crate) fn last_number(&self) -> u64 {
        self.next - 1
    }

    /// Whether the peer has all frames up to this one.
    pub(crate) fn is_settled_upto(&self, number: u64) -> bool {
        let first = self.queue.front().map(|queued| queued.number);
        first.is_none_or(|first| first > number)
    }

    /// The next frame for the present link, if there is one.
    pub(crate) fn next_frame(&mut self) -> Option<&OutFrame> {
        let queued = self.queue.get(self.handed_now)?;
        self.handed_now += 1;
        self.handed = self.handed.max(queued.number + queued.count);
        Some(&queued.frame)
    }

    /// Bytes that the present link was handed and that the peer has not acknowledged.
    pub(crate) fn on_the_way_bytes(&self) -> usize {
        let handed = self.queue.iter().take(self.handed_now);
        handed.map(|queued| queued.frame.len_bytes()).sum()
    }

    /// The number of the frame that would be handed over next, if there is one.
    pub(crate) fn next_number(&self) -> Option<u64> {
        self.queue.get(self.handed_now).map(|queued| queued.number)
    }

    /// Starts over on another link: everything that is not acknowledged goes again.
    /// Gives the number of the first frame that will, and that of this stretch.
    pub(crate) fn rewind(&mut self) -> (u64, u64) {
        self.stretch += 1;
        self.jumped = false;
        (self.rewind_queue(), self.stretch)
    }

    fn rewind_queue(&mut self) -> u64 {
        #[cfg(feature = "canaries")]
        if planted!(ResendForgotten) || planted!(ResumeOneLate) {
            return self.forget_unacknowledged();
        }
        self.handed_now = 0;
        self.queue.front().map_or(self.next, |queued| queued.number)
    }

    /// Starts on another link as if nothing, or only not the first frame, had been lost.
    #[cfg(feature = "canaries")]
    fn forget_unacknowledged(&mut self) -> u64 {
        let was_handed = |queued: &Queued| queued.number < self.handed;
        let lost = self.queue.iter().take_while(|queued| was_handed(queued));
        let forgotten = if planted!(ResumeOneLate) {
            1
        } else {
            usize::MAX
        };
        self.handed_now = lost.take(forgotten).count();
        let first = self.queue.get(self.handed_now);
        first.map_or(self.next, |queued| queued.number)
    }

    /// Whether a peer may have so many frames: none that was never handed to a link.
    pub(crate) fn may_have(&self, received: u64) -> bool {
        received < self.handed
    }

    /// The peer has this many frames; gives those that were not known to have arrived.
    pub(crate) fn acknowledge(&mut self, received: u64) -> Vec<Cargo> {
        let received = received.saturating_add(u64::from(planted!(SessionAckOneFar)));
        let upto = received.min(self.handed - 1);
        let mut arrived = Vec::new();
        while let Some(queued) = self.queue.front()
            && queued.number + queued.count - 1 <= upto
        {
            self.bytes -= queued.frame.len_bytes();
            arrived.push(queued.frame.cargo);
            self.queue.pop_front();
            match self.handed_now.checked_sub(1) {
                Some(left) => self.handed_now = left,
                None => self.jumped = true,
            }
        }
        arrived
    }

    /// Whether the next frame does not follow on the last one that the present link was handed.
    pub(crate) fn has_jumped(&self) -> bool {
        self.jumped && !planted!(JumpUntold)
    }

    /// Blanks a frame that was never handed to a link; says whether that could be done.
    pub(crate) fn withdraw(&mut self, number: u64) -> bool {
        if number < self.handed && !planted!(WithdrawnTooLate) {
            return false;
        }
        let found = self
            .queue
            .binary_search_by_key(&number, |queued| queued.number);
        let Some(queued) = found.ok().and_then(|index| self.queue.get_mut(index)) else {
            return false;
        };
        self.bytes -= queued.frame.len_bytes();
        // The number stays taken: an answer to no call is ignored by its receiver.
        let head = encode_head(&DataHead::Answer {
            call: 0,
            answer: WireAnswer::Taken,
        });
        queued.frame = OutFrame {
            head,
            body: Bytes::new(),
            cargo: Cargo::Plain,
        };
        self.bytes += queued.frame.len_bytes();
        true
    }

    /// No acknowledgement shall wait any longer for what is in the queue; gives what did.
    pub(crate) fn release_relays(&mut self) -> Vec<(FlowKey, u64)> {
        let mut released = Vec::new();
        for queued in &mut self.queue {
            if let Cargo::Relay { key, upto, awaited } = &mut queued.frame.cargo
                && std::mem::take(awaited)
            {
                released.push((*key, *upto));
            }
        }
        released
    }

    /// Drops the oldest batches until the queue has at most `bytes_max` bytes, or has none left that may be dropped.
    /// Those are relayed batches, for which a word about them goes instead, and own ones that the peer has got over another way, as `acknowledged` says of each flow.
    /// Runs of dropped frames become one.
    /// Gives the relayed batches for which an acknowledgement waited.
    pub(crate) fn skip(
        &mut self,
        bytes_max: usize,
        acknowledged: impl Fn(FlowId) -> u64,
    ) -> Vec<(FlowKey, u64)> {
        let mut released = Vec::new();
        let mut runs = Runs::default();
        // What the present link was handed stays apart from what it was not.
        let waiting = self.queue.split_off(self.handed_now);
        for part in [std::mem::take(&mut self.queue), waiting] {
            self.handed_now = runs.queue.len();
            for queued in part {
                let bytes = queued.frame.len_bytes();
                let dropped = match queued.frame.cargo {
                    Cargo::Skipped => true,
                    _ if self.bytes + runs.bytes <= bytes_max => false,
                    Cargo::Relay { .. } => true,
                    Cargo::Own { flow, upto } => {
                        upto <= acknowledged(flow) || planted!(OwnBatchesDropped)
                    }
                    Cargo::Plain | Cargo::Call(_) => false,
                };
                if !dropped {
                    runs.keep(queued);
                    continue;
                }
                if let Cargo::Relay {
                    key,
                    upto,
                    awaited: true,
                } = queued.frame.cargo
                {
                    released.push((key, upto));
                }
                self.bytes -= bytes;
                runs.drop_frame(queued);
            }
            runs.close();
        }
        self.bytes += runs.bytes;
        self.queue = runs.queue;
        released
    }

    /// Everything that was not acknowledged, with whether it was ever handed to a link.
    pub(crate) fn into_unacknowledged(self) -> impl Iterator<Item = (Cargo, bool)> {
        let handed = self.handed;
        self.queue
            .into_iter()
            .map(move |queued| (queued.frame.cargo, queued.number < handed))
    }

    /// The peer goes on with frame `first`; gives how many frames come that were received before.
    /// Nothing, if it has gone on with a later stretch already.
    pub(crate) fn resume_received(&mut self, first: u64, stretch: u64) -> Option<u64> {
        if stretch < self.heard_stretch {
            return None;
        }
        self.heard_stretch = stretch;
        self.received = self.received.max(first - 1);
        Some(self.received + 1 - first)
    }

    /// Frames of the peer were taken in.
    pub(crate) fn on_received(&mut self, now: Time, count: u64, bytes: usize) {
        self.received += count;
        self.received_at = Some(now);
        self.unacknowledged_bytes += bytes;
    }

    /// When a frame of the peer was taken in last.
    pub(crate) fn received_at(&self) -> Option<Time> {
        self.received_at
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

/// A queue being written anew, with runs of dropped frames as one frame each.
#[derive(Default)]
struct Runs {
    queue: VecDeque<Queued>,
    open: Option<Run>,
    /// Bytes of the runs' frames.
    bytes: usize,
}

/// Dropped frames that follow each other.
struct Run {
    number: u64,
    count: u64,
    flows: BTreeMap<FlowKey, u64>,
}

impl Runs {
    fn keep(&mut self, queued: Queued) {
        self.close();
        self.queue.push_back(queued);
    }

    fn drop_frame(&mut self, queued: Queued) {
        let Queued {
            number,
            count,
            frame,
            skipped,
        } = queued;
        let run = self.open.get_or_insert(Run {
            number,
            count: 0,
            flows: BTreeMap::new(),
        });
        run.count += count;
        let relayed = match frame.cargo {
            Cargo::Relay { key, upto, .. } => Some((key, upto)),
            _ => None,
        };
        for (key, upto) in skipped.into_iter().chain(relayed) {
            let known = run.flows.entry(key).or_default();
            *known = upto.max(*known);
        }
    }

    /// Ends the run of dropped frames, if there is one.
    fn close(&mut self) {
        let Some(Run {
            number,
            count,
            flows,
        }) = self.open.take()
        else {
            return;
        };
        let words = flows.iter().map(|(&key, &upto)| (key, upto)).collect();
        let head = encode_head(&DataHead::Skipped {
            count,
            flows: words,
        });
        self.bytes += head.len();
        let frame = OutFrame {
            head,
            body: Bytes::new(),
            cargo: Cargo::Skipped,
        };
        self.queue.push_back(Queued {
            number,
            count,
            frame,
            skipped: flows,
        });
    }
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

    fn drain(lane: &mut Lane) -> Vec<Bytes> {
        std::iter::from_fn(|| lane.next_frame().map(|frame| frame.body.clone())).collect()
    }

    #[test]
    fn a_link_that_comes_back_gets_what_was_not_acknowledged() {
        let mut lane = Lane::new();
        for body in ["a", "b", "c"] {
            lane.push(frame(body));
        }
        assert_eq!(drain(&mut lane), ["a", "b", "c"]);
        assert_eq!(lane.acknowledge(1).len(), 1);
        lane.push(frame("d"));
        assert_eq!(drain(&mut lane), ["d"]);
        assert_eq!(lane.rewind(), (2, 1));
        assert_eq!(drain(&mut lane), ["b", "c", "d"]);
        assert_eq!(lane.acknowledge(4).len(), 3);
        assert!(lane.is_settled() && lane.bytes() == 0);
    }

    #[test]
    fn what_arrived_over_the_link_before_and_is_acknowledged_late_is_jumped() {
        let mut lane = Lane::new();
        for body in ["a", "b", "c", "d"] {
            lane.push(frame(body));
        }
        assert_eq!(drain(&mut lane).len(), 4);
        assert_eq!(lane.rewind(), (1, 1));
        assert_eq!(lane.next_frame().expect("four frames").body, "a");
        assert_eq!(lane.acknowledge(1).len(), 1);
        assert!(!lane.has_jumped());
        assert_eq!(lane.acknowledge(3).len(), 2);
        assert!(
            lane.has_jumped(),
            "the other end takes the next frame for the second"
        );
        assert_eq!(lane.rewind(), (4, 2));
        assert!(!lane.has_jumped());
        assert_eq!(drain(&mut lane), ["d"]);
    }

    #[test]
    fn a_peer_cannot_acknowledge_what_it_was_not_sent() {
        let mut lane = Lane::new();
        lane.push(frame("a"));
        assert_eq!(lane.acknowledge(u64::MAX).len(), 0);
        assert_eq!(drain(&mut lane), ["a"]);
        assert_eq!(lane.acknowledge(u64::MAX).len(), 1);
        assert_eq!(lane.push(frame("b")), 2);
    }

    #[test]
    fn repeated_frames_are_counted_and_skipped_ones_accepted() {
        let mut lane = Lane::new();
        assert_eq!(lane.resume_received(1, 1), Some(0));
        lane.on_received(Time::ZERO, 1, 1);
        lane.on_received(Time::ZERO, 1, 1);
        assert_eq!(lane.resume_received(1, 3), Some(2));
        assert_eq!(lane.resume_received(3, 4), Some(0));
        assert_eq!(lane.resume_received(1, 2), None, "it comes too late");
        assert_eq!(lane.resume_received(10, 5), Some(0));
        assert_eq!(lane.take_received(), 9);
    }

    #[test]
    fn only_what_was_never_handed_over_can_be_withdrawn() {
        let mut lane = Lane::new();
        let (a, b) = (lane.push(frame("a")), lane.push(frame("b")));
        lane.next_frame();
        assert!(!lane.withdraw(a));
        assert!(lane.withdraw(b));
        assert!(drain(&mut lane)[0].is_empty());
    }

    fn relay(upto: u64) -> OutFrame {
        let origin = rolecast_membership::NodeId::from_bytes([1; 32]);
        let key = FlowKey {
            origin,
            epoch: rolecast_membership::Epoch(1),
            flow: FlowId(1),
        };
        let body = Bytes::from_static(&[0; 1_000]);
        OutFrame {
            head: Bytes::new(),
            body,
            cargo: Cargo::Relay {
                key,
                upto,
                awaited: true,
            },
        }
    }

    #[test]
    fn skipping_keeps_numbers_and_leaves_one_word_for_a_run() {
        let mut lane = Lane::new();
        for upto in 1..=4 {
            lane.push(relay(upto));
        }
        lane.next_frame();
        lane.push(frame("own"));
        lane.push(relay(5));
        assert_eq!(lane.skip(0, |_| 0).len(), 5);
        assert!(lane.bytes() < 300, "{} bytes are kept", lane.bytes());
        // The frame that was handed over is apart from the three that were not.
        let counts: Vec<u64> = lane.queue.iter().map(|queued| queued.count).collect();
        assert_eq!(counts, [1, 3, 1, 1]);
        assert_eq!(drain(&mut lane).len(), 3);
        assert_eq!(lane.acknowledge(3).len(), 1);
        assert_eq!(lane.rewind(), (2, 1));
        assert_eq!(lane.acknowledge(6).len(), 3);
        assert!(lane.is_settled() && lane.bytes() == 0);
        assert_eq!(lane.push(frame("next")), 7);
    }

    #[test]
    fn own_batches_are_dropped_only_when_the_peer_has_them() {
        let mut lane = Lane::new();
        for upto in 1..=3 {
            let cargo = Cargo::Own {
                flow: FlowId(1),
                upto,
            };
            lane.push(OutFrame {
                cargo,
                ..relay(upto)
            });
        }
        assert!(lane.skip(0, |_| 2).is_empty());
        let counts: Vec<u64> = lane.queue.iter().map(|queued| queued.count).collect();
        assert_eq!(counts, [2, 1]);
    }
}
