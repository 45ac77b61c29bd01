//! What the hostile peer says when it keeps to the protocol, so that what it says else meets flows that are under way.

use bytes::Bytes;
use rolecast_membership::{Epoch, Tenure};

use super::script::{Script, TENURE, role};
use crate::api::{Class, FlowId};
use crate::batch::{Batch, Note};
use crate::mode::{Dissemination, Mode, Order};
use crate::session::LaneName;
use crate::wire::strategies::id;
use crate::wire::{DataHead, DestMember, DestSet, FlowKey, LargeHead, encode_head};

/// The flows of the peer, and one that it passes on.
pub(super) struct Peer {
    streams: Vec<Stream>,
    /// How many large payloads it has begun.
    larges: u32,
}

/// One flow, in order.
struct Stream {
    key: FlowKey,
    mode: Mode,
    begun: bool,
    next: u64,
}

impl Peer {
    /// One with flows of its own, which are numbered from here on, and with one that it passes on.
    pub(super) fn new((own, first): (u8, u32), (other, flow, mode): (u8, FlowId, Mode)) -> Self {
        let unordered = Mode {
            order: Order::Unordered,
            ..Dissemination::BestEffort.into()
        };
        let safe = Mode {
            k_safe: 2,
            ..Dissemination::Digest.into()
        };
        let streams = [
            (own, FlowId(first), Dissemination::Eager.into()),
            (own, FlowId(first + 1), safe),
            (own, FlowId(first + 2), unordered),
            (other, flow, mode),
            (
                own,
                FlowId(FlowId::LARGE_FIRST.0 + 1),
                Dissemination::Eager.into(),
            ),
        ];
        Peer {
            streams: streams
                .map(|(origin, flow, mode)| Stream::new(origin, flow, mode))
                .into(),
            larges: 1,
        }
    }

    /// The next frame of one of the flows, or one that it has sent before.
    pub(super) fn next(&mut self, script: &mut Script<'_>) -> (Class, Bytes) {
        let place = usize::from(script.below(5));
        if place == LARGE && !self.streams[LARGE].begun {
            // What is small announces what is large, in its place among the messages.
            return match self.streams[0].begun && script.byte() < 128 {
                true => {
                    let (flow, length) = (self.streams[LARGE].key.flow, None);
                    let note = Batch::note(Note::Large { flow, length });
                    self.streams[0].batch(&note)
                }
                false => self.streams[LARGE].begin(),
            };
        }
        let stream = &mut self.streams[place];
        match script.byte() {
            _ if !stream.begun => stream.begin(),
            0..=15 => stream.begin(),
            16..=79 => stream.repeat(u64::from(script.below(4))),
            80..=95 if place == LARGE => {
                let end = stream.batch(&Batch::note(Note::End { complete: true }));
                self.larges += 1;
                let flow = FlowId(FlowId::LARGE_FIRST.0 + self.larges);
                stream.restart(flow);
                end
            }
            _ => stream.batch(&stream.message(stream.next)),
        }
    }
}

impl Stream {
    fn new(origin: u8, flow: FlowId, mode: Mode) -> Self {
        let key = FlowKey {
            origin: id(origin),
            epoch: Epoch(1),
            flow,
        };
        Stream {
            key,
            mode,
            begun: false,
            next: 1,
        }
    }

    /// Another flow takes its place.
    fn restart(&mut self, flow: FlowId) {
        self.key.flow = flow;
        self.begun = false;
        self.next = 1;
    }

    /// The destination set: node 1, and the honest peer.
    fn begin(&mut self) -> (Class, Bytes) {
        self.begun = true;
        let member = |number| DestMember {
            node: id(number),
            epoch: Epoch(1),
            tenure: Tenure(TENURE),
            start: 1,
            replayed: 0,
            owed: Vec::new(),
        };
        let set = DestSet {
            key: self.key,
            version: 1,
            role: role(),
            mode: self.mode,
            born: Epoch(1),
            evicted: Vec::new(),
            members: vec![member(1), member(3)],
            large: self.key.flow.is_large().then_some(LargeHead {
                length: None,
                oldest: FlowId::LARGE_FIRST,
            }),
            sources: Vec::new(),
        };
        self.frame(&DataHead::DestSet(set), &Bytes::new(), &Bytes::new())
    }

    /// The message with this number, which is the same whenever it is sent.
    fn message(&self, number: u64) -> Batch {
        let mut payload = number.to_le_bytes().to_vec();
        let length = match number % 4 {
            // So long that a few of them are more than a window.
            3 => 50_000,
            _ => 8 + (number as usize * 97) % 1_500,
        };
        payload.resize(length, self.key.flow.0 as u8);
        Batch::single(payload.into(), None)
    }

    fn batch(&mut self, batch: &Batch) -> (Class, Bytes) {
        self.next += 1;
        self.numbered(self.next - 1, batch)
    }

    /// One of the last messages again; a note may come as a message, which is a lie.
    fn repeat(&self, back: u64) -> (Class, Bytes) {
        let number = self.next.saturating_sub(1 + back).max(1);
        self.numbered(number, &self.message(number))
    }

    fn numbered(&self, first: u64, batch: &Batch) -> (Class, Bytes) {
        let head = DataHead::Batch {
            key: self.key,
            version: 1,
            first,
            count: batch.count(),
            floor: 0,
            deps: Vec::new(),
        };
        let (front, payload) = batch.parts();
        self.frame(&head, front, payload)
    }

    fn frame(&self, head: &DataHead, front: &Bytes, payload: &Bytes) -> (Class, Bytes) {
        let class = LaneName::of_flow(self.key.flow).class();
        let frame = [&encode_head(head)[..], front, payload].concat();
        (class, frame.into())
    }
}

/// Which of the flows is that of a large payload.
const LARGE: usize = 4;
