//! Frames drawn from bytes: the first bytes say which, and what is in them, so that an input that changes a little means something that differs a little.

use bytes::Bytes;
use rolecast_membership::{Epoch, Tenure};

use crate::api::{Class, FlowId, Refusal};
use crate::batch::{Batch, Note};
use crate::mode::{Dissemination, Mode, Order};
use crate::session::LaneName;
use crate::wire::relay::{Failed, RelayHead, Relayed, WayClass, WayFrame};
use crate::wire::strategies::{addr, id};
use crate::wire::{
    Acks, Claim, Control, DataHead, Dep, DestMember, DestSet, FlowAck, FlowDigest, FlowKey, Gone,
    Heard, Hello, LargeHead, Owed, Pull, Span, ViaAck, Why, WireAnswer, encode_control,
    encode_head,
};

/// What is left of an input.
pub(super) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Script(input)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte; 0 at the end.
    pub(super) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    /// One of so many.
    pub(super) fn below(&mut self, count: u8) -> u8 {
        self.byte() % count
    }

    /// Mostly a number that may mean something, and else one that cannot be.
    pub(super) fn number(&mut self) -> u64 {
        match self.byte() {
            byte @ 0..=219 => u64::from(byte % 6),
            220..=227 => u64::MAX,
            228..=235 => 1 << 62,
            236..=243 => (1 << 62) + 1,
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> Bytes {
        Bytes::copy_from_slice(std::mem::take(&mut self.0))
    }

    /// A datagram of a few bytes.
    pub(super) fn datagram(&mut self) -> Bytes {
        let length = self.0.len().min(usize::from(self.byte()));
        let (datagram, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        Bytes::copy_from_slice(datagram)
    }

    pub(super) fn damaged_control(&mut self) -> Bytes {
        let frame = self.control();
        self.damage(frame)
    }

    pub(super) fn damaged_data(&mut self) -> Bytes {
        let frame = self.data().1;
        self.damage(frame)
    }

    /// A frame with its class; one of eight is damaged, and one of sixteen has another class.
    pub(super) fn frame(&mut self) -> (Class, Bytes) {
        let kind = self.byte();
        let (class, frame) = match kind % 4 {
            0 => (Class::Control, self.control()),
            _ => self.data(),
        };
        let class = match kind / 16 {
            0 => [Class::Control, Class::Data, Class::Bulk][usize::from(self.below(3))],
            _ => class,
        };
        match kind / 32 {
            7 => (class, self.damage(frame)),
            _ => (class, frame),
        }
    }

    /// Changes, cuts or lengthens a frame.
    fn damage(&mut self, frame: Bytes) -> Bytes {
        let mut frame = frame.to_vec();
        for _ in 0..self.below(4) {
            let place = usize::from(self.byte()) % (frame.len() + 1);
            match self.below(4) {
                0 => frame.truncate(place),
                1 => frame.insert(place, self.byte()),
                2 => frame.push(self.byte()),
                _ => {
                    if let Some(byte) = frame.get_mut(place) {
                        *byte = self.byte();
                    }
                }
            }
        }
        frame.into()
    }

    fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| one(self)).collect()
    }

    fn maybe<T>(&mut self, one: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.byte() % 2 == 1).then(|| one(self))
    }

    fn epoch(&mut self) -> Epoch {
        match self.byte() {
            0..=199 => Epoch(1),
            _ => Epoch(self.number()),
        }
    }

    fn node(&mut self) -> rolecast_membership::NodeId {
        id(1 + self.below(4))
    }

    fn flow(&mut self) -> FlowId {
        match self.byte() {
            byte @ 0..=159 => FlowId(u32::from(byte % 4)),
            // One of those that are under way.
            byte @ 160..=199 => FlowId(10 + u32::from(byte % 3)),
            byte => FlowId(FlowId::LARGE_FIRST.0 + u32::from(byte % 4)),
        }
    }

    fn key(&mut self) -> FlowKey {
        // Mostly a flow of the peer's own.
        let origin = match self.byte() {
            0..=159 => id(2),
            _ => self.node(),
        };
        FlowKey {
            origin,
            epoch: self.epoch(),
            flow: self.flow(),
        }
    }

    fn control(&mut self) -> Bytes {
        encode_control(&match self.below(8) {
            0 => Control::Hello(Hello {
                epoch: self.epoch(),
                addr: addr(),
                window_bytes: self.number(),
                // A later life of the engine's own key would make it stop.
                known: self.maybe(|s| (Epoch(s.number() % 2), [s.number(), s.number()])),
                ways_over: self.number(),
            }),
            1 | 2 => Control::Acks(Acks {
                from: self.epoch(),
                to: self.epoch(),
                received: [self.number(), self.number()],
                flows: self.many(Self::flow_ack),
                via: self.many(|s| ViaAck {
                    origin: s.node(),
                    epoch: s.epoch(),
                    member: s.node(),
                    member_epoch: s.epoch(),
                    ack: s.flow_ack(),
                }),
            }),
            3 => {
                let news = self.many(Self::byte);
                return encode_control(&Control::Membership(&news));
            }
            4 | 5 => Control::Digest(self.many(Self::digest)),
            6 => Control::Pull(self.pull()),
            _ => Control::Gone(self.gone()),
        })
    }

    fn flow_ack(&mut self) -> FlowAck {
        FlowAck {
            flow: self.flow(),
            tenure: Tenure(self.number()),
            upto: self.number(),
        }
    }

    fn pull(&mut self) -> Pull {
        Pull {
            key: self.key(),
            first: self.number(),
            last: self.number(),
        }
    }

    fn gone(&mut self) -> Gone {
        let pull = self.pull();
        let why = [Why::NotKept, Why::NotMeant, Why::LeftOut][usize::from(self.byte()) % 3];
        Gone { pull, why }
    }

    fn claim(&mut self) -> Claim {
        Claim {
            from: self.number(),
            safe: self.number(),
        }
    }

    fn digest(&mut self) -> FlowDigest {
        FlowDigest {
            key: self.key(),
            version: u32::from(self.below(4)),
            upto: self.number(),
            aged: self.number(),
            beyond: self.many(|s| Span {
                first: s.number(),
                last: s.number(),
            }),
            floor: self.number(),
            claim: self.maybe(Self::claim),
            heard: self.many(|s| Heard {
                node: s.node(),
                epoch: s.epoch(),
                held: s.number(),
                claim: s.claim(),
            }),
        }
    }

    /// A frame of a session, in the class in which it belongs.
    fn data(&mut self) -> (Class, Bytes) {
        let (head, body) = match self.below(19) {
            0 => {
                let (from, to, first) = (self.epoch(), self.epoch(), self.number());
                let head = DataHead::Resume {
                    from,
                    to,
                    first,
                    stretch: self.number(),
                };
                (head, Bytes::new())
            }
            1..=4 => (DataHead::DestSet(self.dest_set()), Bytes::new()),
            5..=10 => self.batch(),
            11 => {
                let flows = self.many(|s| (s.key(), s.number()));
                let count = self.number();
                (DataHead::Skipped { count, flows }, Bytes::new())
            }
            12 => {
                let (call, wants_reply) = (self.number(), self.byte() % 2 == 1);
                let role = role();
                let head = DataHead::Call {
                    call,
                    role,
                    wants_reply,
                };
                (head, self.payload())
            }
            13 => {
                let answers = [
                    WireAnswer::Taken,
                    WireAnswer::Reply,
                    WireAnswer::Refused(Refusal::NotHolder),
                    WireAnswer::Refused(Refusal::Busy),
                ];
                let answer = answers[usize::from(self.below(4))];
                let call = self.number();
                (DataHead::Answer { call, answer }, self.payload())
            }
            14 => {
                let call = self.number();
                (DataHead::Cancel { call }, Bytes::new())
            }
            15 => {
                let (key, upto) = (self.key(), self.number());
                (DataHead::GivenUp { key, upto }, Bytes::new())
            }
            16 | 17 => return self.relayed(),
            _ => {
                let head = DataHead::Finished {
                    flow: self.flow(),
                    tenure: Tenure(self.number()),
                    refused: self.byte() % 2 == 1,
                };
                (head, Bytes::new())
            }
        };
        let flow = match &head {
            DataHead::DestSet(set) => set.key.flow,
            DataHead::Batch { key, .. } => key.flow,
            _ => FlowId(0),
        };
        let class = LaneName::of_flow(flow).class();
        (class, [&encode_head(&head)[..], &body].concat().into())
    }

    /// Something that goes over others: to the node that hears it, over it, or nowhere.
    fn relayed(&mut self) -> (Class, Bytes) {
        let routes: [&[u8]; 6] = [
            &[4, 2, 1],
            &[2, 1, 3],
            &[5, 4, 2, 1],
            &[2, 1],
            &[2, 1, 2],
            &[6, 5, 4, 2, 1, 3],
        ];
        let route = routes[usize::from(self.below(6))];
        let at = match self.below(8) {
            0 => self.byte(),
            _ => route.iter().position(|&node| node == 1).unwrap_or(0) as u8,
        };
        let (what, inner) = match self.below(8) {
            0 => (Relayed::Datagram, self.datagram()),
            1 => {
                let (to, way) = (self.node(), self.number());
                let beyond = self.maybe(Self::node);
                (Relayed::Failed(Failed { to, way, beyond }), Bytes::new())
            }
            _ => {
                let (class, inner) = match self.below(3) {
                    0 => (WayClass::Data, self.frame().1),
                    _ => (WayClass::Control, self.control()),
                };
                let frame = WayFrame {
                    class,
                    way: self.number(),
                    answers: self.number(),
                    number: self.number(),
                };
                (Relayed::Frame(frame), inner)
            }
        };
        let head = RelayHead {
            route: route.iter().map(|&node| id(node)).collect(),
            at,
            life: self.epoch(),
            what,
        };
        let class = head.stream();
        (class, [&head.encode()[..], &inner].concat().into())
    }

    fn payload(&mut self) -> Bytes {
        Bytes::from(vec![self.byte(); usize::from(self.byte()) * 4])
    }

    fn batch(&mut self) -> (DataHead, Bytes) {
        let batch = match self.byte() {
            0..=199 => Batch::single(self.payload(), None),
            200..=219 => {
                let (flow, length) = (self.flow(), self.maybe(Self::number));
                Batch::note(Note::Large { flow, length })
            }
            220..=229 => Batch::note(Note::End {
                complete: self.byte() % 2 == 1,
            }),
            _ => Batch::single(self.payload(), Some(crate::api::CallId(self.number()))),
        };
        let count = match self.byte() {
            0..=239 => batch.count(),
            _ => u32::try_from(self.number()).unwrap_or(u32::MAX),
        };
        let head = DataHead::Batch {
            key: self.key(),
            version: u32::from(self.below(3)),
            first: self.number(),
            count,
            floor: match self.byte() {
                0..=199 => 0,
                _ => self.number(),
            },
            deps: match self.byte() {
                0..=199 => Vec::new(),
                _ => self.many(|s| Dep {
                    source: u32::from(s.below(4)),
                    upto: s.number(),
                }),
            },
        };
        let (front, payload) = batch.parts();
        (head, [&front[..], payload].concat().into())
    }

    fn dest_set(&mut self) -> DestSet {
        let key = self.key();
        let mode = Mode {
            dissemination: Dissemination::ALL[usize::from(self.byte()) % Dissemination::ALL.len()],
            order: Order::ALL[usize::from(self.byte()) % Order::ALL.len()],
            k_safe: match self.byte() {
                0..=179 => 1,
                byte => byte % 4,
            },
        };
        let mut members = vec![self.member(1)];
        for number in 2..5 {
            members.extend(self.maybe(|s| s.member(number)));
        }
        let described = key.flow.is_large() == (self.byte() < 240);
        DestSet {
            key,
            version: u32::from(self.below(3)),
            role: role(),
            mode,
            born: Epoch(1),
            evicted: Vec::new(),
            members,
            large: described.then(|| LargeHead {
                length: self.maybe(Self::number),
                oldest: FlowId::LARGE_FIRST,
            }),
            sources: match self.byte() {
                0..=199 => Vec::new(),
                _ => self.many(Self::key),
            },
        }
    }

    fn member(&mut self, number: u8) -> DestMember {
        let plain = self.byte() < 220;
        DestMember {
            node: id(number),
            epoch: self.epoch(),
            // The role that every engine here holds is the second that it took up.
            tenure: Tenure(if plain { TENURE } else { self.number() }),
            start: if plain { 1 } else { self.number() },
            replayed: if self.byte() < 220 { 0 } else { self.number() },
            owed: match self.byte() {
                0..=219 => Vec::new(),
                _ => self.many(|s| Owed {
                    epoch: Epoch(s.number()),
                    first: s.number(),
                    last: s.number(),
                }),
            },
        }
    }
}

/// The role that every engine here holds.
pub(super) fn role() -> rolecast_membership::RoleName {
    "r".parse().expect("a role")
}

/// The tenure in which engines that have just started hold their first role.
pub(super) const TENURE: u64 = 2;
