//! A member that the hostile peer says to speak for: what it relays comes in the right order on the way, so that it is heard, whatever it is.

use bytes::Bytes;
use rolecast_membership::Epoch;

use super::peer::Peer;
use super::script::Script;
use crate::api::{Class, FlowId};
use crate::mode::Dissemination;
use crate::wire::relay::{RelayHead, Relayed, WayClass, WayFrame};
use crate::wire::strategies::{addr, id};
use crate::wire::{Control, DataHead, Hello, encode_control, encode_head};

/// Node 4, which the victim knows as a member and reaches over others only.
pub(super) struct Far {
    /// The number of its way, and how many frames of each class went over it.
    way: u64,
    life: Epoch,
    sent: [u64; 3],
    open: bool,
    /// How many frames of its sessions the victim has, as that says.
    pub(super) received: [u64; 2],
    peer: Peer,
}

impl Far {
    /// The first of its own flows.
    pub(super) const FIRST_FLOW: u32 = 20;

    pub(super) fn new() -> Self {
        let passed_on = (2, FlowId(10), Dissemination::Eager.into());
        Far {
            way: 0,
            life: Epoch(1),
            sent: [0; 3],
            open: false,
            received: [0; 2],
            peer: Peer::new((4, Self::FIRST_FLOW), passed_on),
        }
    }

    /// Its way is heard no more.
    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// What is relayed for it next, as frames of the hostile peer.
    pub(super) fn next(&mut self, script: &mut Script<'_>) -> Vec<(Class, Bytes)> {
        let mut frames = Vec::new();
        if !self.open || script.byte() < 8 {
            frames.extend(self.begin(script));
        }
        let (class, frame) = match script.byte() {
            0..=15 => (Class::Data, Bytes::new()),
            16..=159 => self.peer.next(script),
            _ => script.frame(),
        };
        frames.push(self.relay(script, class, &frame));
        frames
    }

    /// Whether its way is heard, as far as anybody said.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Frames that begin a way in a life of which nobody knows.
    pub(super) fn unborn(&mut self) -> Vec<(Class, Bytes)> {
        self.life = Epoch(u64::MAX);
        let frames = self.begin(&mut Script::new(&[]));
        self.life = Epoch(1);
        self.open = false;
        frames
    }

    /// Frames that begin a way, and one with a relayed frame in it, whose tag is written in a longer way than it need be.
    pub(super) fn nested(&mut self) -> Vec<(Class, Bytes)> {
        let mut nothing = Script::new(&[]);
        let mut frames = self.begin(&mut nothing);
        let inner = RelayHead {
            route: [2, 4, 1].map(id).into(),
            at: 2,
            life: Epoch(1),
            what: Relayed::Datagram,
        };
        let inner = inner.encode();
        let inner = [&[inner[0] | 0x80, 0], &inner[1..]].concat().into();
        frames.push(self.relay(&mut nothing, Class::Data, &inner));
        frames
    }

    /// Begins a way, and the sessions over it.
    fn begin(&mut self, script: &mut Script<'_>) -> Vec<(Class, Bytes)> {
        self.open = true;
        self.way += 1;
        self.sent = [0; 3];
        let said = greeting(self.received, self.way, self.way - 1);
        said.map(|(class, frame)| self.relay(script, class, &frame))
            .into()
    }

    fn relay(&mut self, script: &mut Script<'_>, class: Class, frame: &Bytes) -> (Class, Bytes) {
        let sent = &mut self.sent[class as usize];
        let what = Relayed::Frame(WayFrame {
            class: WayClass::of(class),
            way: self.way,
            answers: u64::from(script.below(3)),
            number: *sent,
        });
        *sent += 1;
        let head = RelayHead {
            route: [4, 2, 1].map(id).into(),
            at: 2,
            life: self.life,
            what,
        };
        let class = head.stream();
        (class, [&head.encode()[..], frame].concat().into())
    }
}

/// What a node says first: hello, and where its sessions begin.
pub(super) fn greeting(received: [u64; 2], stretch: u64, ways_over: u64) -> [(Class, Bytes); 3] {
    let hello = Hello {
        epoch: Epoch(1),
        addr: addr(),
        window_bytes: 1 << 20,
        known: None,
        ways_over,
    };
    let [data, bulk] = received.map(|received| {
        encode_head(&DataHead::Resume {
            from: Epoch(1),
            to: Epoch(1),
            first: received + 1,
            stretch,
        })
    });
    [
        (Class::Control, encode_control(&Control::Hello(hello))),
        (Class::Data, data),
        (Class::Bulk, bulk),
    ]
}
