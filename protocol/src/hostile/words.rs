//! Words that no honest peer says, one by one.

use bytes::Bytes;
use rolecast_membership::{Epoch, Tenure};

use super::{Linked, deliveries, key, reason, resume, role, violations};
use crate::api::{Class, FlowId, Input, LinkId};
use crate::batch::Batch;
use crate::config::Limits;
use crate::mode::{Dissemination, Mode, Order};
use crate::wire::relay::{Failed, RelayHead, Relayed, WayClass, WayFrame};
use crate::wire::strategies::{addr, id};
use crate::wire::{
    Control, DataHead, Dep, DestSet, Hello, LargeHead, SEQ_MAX, encode_control, encode_head,
};

const FLOW: FlowId = FlowId(1);

impl Linked {
    /// As [`Linked::new`], with a flow of node 2 in this order.
    fn ordered(order: Order) -> Self {
        let mut peer = Linked::new(Limits::default());
        let mode = Mode {
            order,
            ..Dissemination::Digest.into()
        };
        let set = peer.set(FLOW, mode);
        assert_eq!(peer.announce(&set), None);
        peer
    }

    fn depend(&mut self, upto: u64) -> Option<&'static str> {
        let batch = Batch::single(Bytes::from_static(b"x"), None);
        let head = encode_head(&DataHead::Batch {
            key: key(FLOW),
            version: 1,
            first: 1,
            count: 1,
            floor: 0,
            deps: vec![Dep { source: 0, upto }],
        });
        let (front, payload) = batch.parts();
        self.say(Class::Data, [&head[..], front, payload].concat().into())
    }

    fn leave_out(&mut self, upto: u64) -> Option<&'static str> {
        let word = DataHead::LeftOut {
            flow: FLOW,
            tenure: Tenure(0),
            upto,
        };
        self.say(Class::Data, encode_head(&word))
    }

    fn greet(&mut self, window_bytes: u64) -> Option<&'static str> {
        self.say(Class::Control, hello(1, window_bytes))
    }

    fn relay(&mut self, stream: Class, what: Relayed, body: &[u8]) -> Option<&'static str> {
        self.say(stream, relayed(what, body))
    }
}

fn hello(epoch: u64, window_bytes: u64) -> Bytes {
    encode_control(&Control::Hello(Hello {
        epoch: Epoch(epoch),
        addr: addr(),
        window_bytes,
        known: None,
        ways_over: 0,
    }))
}

/// Something that node 3 sends to the engine over node 2.
fn relayed(what: Relayed, body: &[u8]) -> Bytes {
    let head = RelayHead {
        route: vec![id(3), id(2), id(1)],
        at: 2,
        life: Epoch(1),
        what,
    };
    [&head.encode()[..], body].concat().into()
}

fn failed() -> Relayed {
    Relayed::Failed(Failed {
        to: id(4),
        way: 1,
        beyond: None,
    })
}

#[test]
fn each_of_them_closes_the_link_for_its_own_reason() {
    type Word = fn() -> Option<&'static str>;
    let words: [(&str, Word); 12] = [
        ("a batch that depends on no flow that there is", || {
            Linked::ordered(Order::Causal).depend(1)
        }),
        (
            "a batch that depends on others, of a flow that does not",
            || Linked::ordered(Order::Fifo).depend(1),
        ),
        ("a flow that leaves something out and must not", || {
            Linked::ordered(Order::Unordered).leave_out(1)
        }),
        ("a word about impossible messages", || {
            Linked::ordered(Order::Fifo).leave_out(SEQ_MAX + 1)
        }),
        ("a hello that allows no message", || {
            Linked::new(Limits::default()).greet(0)
        }),
        ("a session that resumes at an impossible frame", || {
            Linked::new(Limits::default()).say(Class::Data, resume((1 << 62) + 1))
        }),
        ("a word about an impossible number of frames", || {
            let count = (1 << 62) + 1;
            let flows = Vec::new();
            let word = encode_head(&DataHead::Skipped { count, flows });
            Linked::new(Limits::default()).say(Class::Data, word)
        }),
        ("a failure with something behind it", || {
            Linked::new(Limits::default()).relay(Class::Data, failed(), b"x")
        }),
        ("a relayed datagram that is longer than one", || {
            let mut peer = Linked::new(Limits::default());
            peer.relay(Class::Data, Relayed::Datagram, &[7; 1_201])
        }),
        ("a relayed frame on the wrong stream", || {
            Linked::new(Limits::default()).relay(Class::Bulk, Relayed::Datagram, b"x")
        }),
        (
            "a large payload whose chunks are not in order, or wait to be safe",
            || {
                let mut peer = Linked::new(Limits::default());
                let flow = FlowId::large(1).expect("few");
                let large = Some(LargeHead {
                    length: None,
                    oldest: flow,
                });
                let mode = Mode {
                    order: Order::Unordered,
                    ..Dissemination::Digest.into()
                };
                let set = peer.set(flow, mode);
                peer.announce(&DestSet { large, ..set })
            },
        ),
        ("it calls and does not acknowledge the answers", || {
            let limits = Limits {
                session_bytes_max: 1_000,
                ..Limits::default()
            };
            let mut peer = Linked::new(limits);
            (1..1_000).find_map(|call| {
                let role = "nobody:holds:this".parse().expect("a role");
                let wants_reply = true;
                let head = DataHead::Call {
                    call,
                    role,
                    wants_reply,
                };
                peer.say(Class::Data, encode_head(&head))
            })
        }),
    ];
    for (expected, word) in words {
        assert_eq!(word(), Some(expected));
    }
}

/// What comes over others is said by its source: that is cut off, and whoever passed it on is not.
#[test]
fn a_hello_of_another_life_than_its_way_is_counted_against_its_source() {
    let mut peer = Linked::new(Limits::default());
    peer.introduce(3, 1);
    let frame = Relayed::Frame(WayFrame {
        class: WayClass::Control,
        way: 1,
        answers: 0,
        number: 0,
    });
    let outputs = peer.hear(Class::Data, relayed(frame, &hello(2, 1)));
    let words = "a hello of another life than that of its way";
    assert_eq!(violations(&outputs, id(3)), [words]);
    assert_eq!((reason(&outputs), deliveries(&outputs)), (None, 0));
}

#[test]
fn a_link_to_a_node_with_the_same_key_is_closed() {
    let mut peer = Linked::new(Limits::default());
    let (link, own, addr) = (LinkId(9), id(1), addr());
    let up = Input::LinkUp {
        link,
        peer: own,
        addr,
    };
    let outputs = peer.handle(peer.now, up);
    let words = "this node itself, or another with its key";
    assert_eq!(reason(&outputs), Some(words));
    assert_eq!(peer.engine.holders(&role()), [id(1)]);
}
