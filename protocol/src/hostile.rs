//! Whatever a peer sends, an engine neither panics nor keeps without bound.

use std::net::SocketAddr;

use bytes::Bytes;
use proptest::prelude::*;
use rolecast_membership::{Epoch, Identity, NodeId, Profile, Record, Tenure, Time};

use crate::api::{
    CallKind, Class, CloseReason, Delivery, FlowId, Input, LinkId, Output, Pick, Refusal, Target,
};
use crate::batch::{Batch, Note};
use crate::config::{Config, Limits};
use crate::engine::Engine;
use crate::mode::{Dissemination, Mode, Order};
use crate::wire::{
    Acks, Claim, Control, DataHead, Dep, DestMember, DestSet, FlowAck, FlowDigest, FlowKey, Heard,
    Hello, LargeHead, Owed, Pull, ViaAck, WireAnswer, encode_control, encode_head,
};

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn addr() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7400))
}

/// Numbers near the ones that mean something, and a few that cannot be.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..6, 1 => Just(u64::MAX), 1 => Just(1 << 62), 1 => any::<u64>()]
}

fn node() -> impl Strategy<Value = NodeId> {
    (1u8..5).prop_map(id)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    number().prop_map(Epoch)
}

/// Of multicasts, and of large payloads.
fn flow() -> impl Strategy<Value = FlowId> {
    prop_oneof![
        (0u32..3).prop_map(FlowId),
        (0u32..3).prop_map(|number| FlowId(FlowId::LARGE_FIRST.0 + number))
    ]
}

fn key() -> impl Strategy<Value = FlowKey> {
    (node(), epoch(), flow()).prop_map(|(origin, epoch, flow)| FlowKey {
        origin,
        epoch,
        flow,
    })
}

fn owed() -> impl Strategy<Value = Owed> {
    (epoch(), number(), number()).prop_map(|(epoch, first, last)| Owed { epoch, first, last })
}

fn member() -> impl Strategy<Value = DestMember> {
    (
        node(),
        epoch(),
        number(),
        number(),
        proptest::collection::vec(owed(), 0..3),
    )
        .prop_map(|(node, epoch, tenure, start, owed)| DestMember {
            node,
            epoch,
            tenure: Tenure(tenure),
            start,
            owed,
        })
}

/// One mode for each flow number, or another one now and then.
fn mode() -> impl Strategy<Value = Mode> {
    let dissemination = proptest::sample::select(&Dissemination::ALL[..]);
    let k_safe = prop_oneof![4 => Just(1u8), 3 => Just(2), 1 => any::<u8>()];
    let order = proptest::sample::select(&Order::ALL[..]);
    (dissemination, order, k_safe).prop_map(|(dissemination, order, k_safe)| Mode {
        dissemination,
        order,
        k_safe,
    })
}

fn dest_set() -> impl Strategy<Value = DataHead> {
    let members = proptest::collection::vec(member(), 0..5);
    // Mostly what fits.
    let head = (
        prop_oneof![9 => Just(true), 1 => Just(false)],
        proptest::option::of(number()),
    );
    let sources = proptest::collection::vec(key(), 0..3);
    (key(), 0u32..4, mode(), members, head, sources).prop_map(
        |(key, version, mode, mut members, (fits, length), sources)| {
            members.sort_by_key(|member| member.node);
            DataHead::DestSet(DestSet {
                key,
                version,
                role: "r".parse().expect("a role"),
                mode,
                born: Epoch(1),
                members,
                sources,
                large: (key.flow.is_large() == fits).then_some(LargeHead {
                    length,
                    oldest: FlowId::LARGE_FIRST,
                }),
            })
        },
    )
}

fn note() -> impl Strategy<Value = Note> {
    prop_oneof![
        any::<bool>().prop_map(|complete| Note::End { complete }),
        (flow(), proptest::option::of(number()))
            .prop_map(|(flow, length)| Note::Large { flow, length }),
    ]
}

fn data_frame() -> impl Strategy<Value = Bytes> {
    let answer = prop_oneof![
        Just(WireAnswer::Taken),
        Just(WireAnswer::Reply),
        Just(WireAnswer::Refused(Refusal::NotHolder)),
    ];
    let dep = (0u32..4, number()).prop_map(|(source, upto)| Dep { source, upto });
    let deps = proptest::collection::vec(dep, 0..3);
    let skipped = proptest::collection::vec((key(), number()), 0..3);
    let head = prop_oneof![
        2 => (epoch(), epoch(), number())
            .prop_map(|(from, to, first)| DataHead::Resume { from, to, first }),
        3 => dest_set(),
        4 => (key(), 0u32..4, number(), 0u32..4, number(), deps)
            .prop_map(|(key, version, first, count, floor, deps)| {
                DataHead::Batch { key, version, first, count, floor, deps }
            }),
        1 => (number(), skipped)
            .prop_map(|(count, flows)| DataHead::Skipped { count, flows }),
        1 => (number(), any::<bool>()).prop_map(|(call, wants_reply)| DataHead::Call {
            call,
            role: "r".parse().expect("a role"),
            wants_reply,
        }),
        1 => (number(), answer).prop_map(|(call, answer)| DataHead::Answer { call, answer }),
        1 => number().prop_map(|call| DataHead::Cancel { call }),
        1 => (flow(), number(), any::<bool>()).prop_map(|(flow, tenure, refused)| {
            DataHead::Finished { flow, tenure: Tenure(tenure), refused }
        }),
    ];
    // A body of zeros is as many empty messages as it has bytes.
    let body = prop_oneof![
        (0usize..4).prop_map(|len| vec![0; len]),
        proptest::collection::vec(any::<u8>(), 0..40),
        note().prop_map(|note| {
            let batch = Batch::note(note);
            let (head, body) = batch.parts();
            [&head[..], &body[..]].concat()
        }),
        Just(vec![4, 1, 2]),
    ];
    (head, body).prop_map(|(head, body)| [&encode_head(&head)[..], &body].concat().into())
}

fn claim() -> impl Strategy<Value = Option<Claim>> {
    let claim = (number(), number()).prop_map(|(from, safe)| Claim { from, safe });
    proptest::option::of(claim)
}

fn heard() -> impl Strategy<Value = Vec<Heard>> {
    let heard = (node(), epoch(), number(), claim()).prop_map(|(node, epoch, held, claim)| Heard {
        node,
        epoch,
        held,
        claim: claim.unwrap_or_default(),
    });
    proptest::collection::vec(heard, 0..3)
}

fn control_frame() -> impl Strategy<Value = Bytes> {
    let flow_ack = || {
        (flow(), number(), number()).prop_map(|(flow, tenure, upto)| FlowAck {
            flow,
            tenure: Tenure(tenure),
            upto,
        })
    };
    let via = (node(), epoch(), node(), epoch(), flow_ack()).prop_map(
        |(origin, epoch, member, member_epoch, ack)| ViaAck {
            origin,
            epoch,
            member,
            member_epoch,
            ack,
        },
    );
    let pull =
        || (key(), number(), number()).prop_map(|(key, first, last)| Pull { key, first, last });
    let digest = (key(), number(), number(), number(), claim(), heard()).prop_map(
        |(key, upto, aged, floor, claim, heard)| FlowDigest {
            key,
            upto,
            aged,
            floor,
            claim,
            heard,
        },
    );
    let flows = proptest::collection::vec(flow_ack(), 0..3);
    let vias = proptest::collection::vec(via, 0..3);
    let received = || (number(), number()).prop_map(<[u64; 2]>::from);
    let known = proptest::option::of((epoch(), received()));
    prop_oneof![
        2 => (epoch(), number(), known).prop_map(|(epoch, window_bytes, known)| {
            let hello = Hello { epoch, addr: addr(), window_bytes, known };
            encode_control(&Control::Hello(hello))
        }),
        2 => (epoch(), epoch(), received(), flows, vias).prop_map(|(from, to, received, flows, via)| {
            encode_control(&Control::Acks(Acks { from, to, received, flows, via }))
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..60)
            .prop_map(|bytes| encode_control(&Control::Membership(&bytes))),
        2 => proptest::collection::vec(digest, 0..3)
            .prop_map(|digests| encode_control(&Control::Digest(digests))),
        1 => pull().prop_map(|pull| encode_control(&Control::Pull(pull))),
        1 => pull().prop_map(|pull| encode_control(&Control::Gone(pull))),
    ]
}

fn frame() -> impl Strategy<Value = (Class, Bytes)> {
    prop_oneof![
        6 => (data_frame(), any::<bool>()).prop_map(|(bytes, bulk)| {
            (if bulk { Class::Bulk } else { Class::Data }, bytes)
        }),
        3 => control_frame().prop_map(|bytes| (Class::Control, bytes)),
        1 => (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)).prop_map(
            |(control, bytes)| {
                (if control { Class::Control } else { Class::Data }, bytes.into())
            }
        ),
    ]
}

/// An engine that holds a role, sends to it, and asks.
fn engine(limits: Limits) -> Engine {
    let identity = Identity {
        id: id(1),
        epoch: Epoch(1),
        addr: addr(),
    };
    let config = Config {
        record: Record::new(identity),
        seeds: Vec::new(),
        profile: Profile::Local,
        limits,
        #[cfg(feature = "canaries")]
        canary: None,
    };
    let mut engine = Engine::new(config, 1, Time::ZERO);
    let role: rolecast_membership::RoleName = "r".parse().expect("a role");
    engine
        .take_up(Time::ZERO, role.clone())
        .expect("it is not held");
    let flow = engine
        .open_flow(Time::ZERO, role.clone(), Dissemination::Eager)
        .expect("few flows");
    let batch = Batch::single(Bytes::from_static(b"x"), None);
    engine
        .multicast(Time::ZERO, flow, batch)
        .expect("there is room");
    let target = Target::Any(role, Pick::RoundRobin);
    engine
        .call(
            Time::ZERO,
            target,
            CallKind::Request,
            Bytes::new(),
            Time::from_millis(50),
        )
        .expect("this node holds it");
    engine
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_frames_of_two_peers_are_survived(
        frames in proptest::collection::vec((0u8..2, frame(), any::<bool>()), 0..60),
    ) {
        let limits = Limits {
            flow_window_bytes: 64,
            session_bytes_max: 256,
            ..Limits::default()
        };
        let mut engine = engine(limits.clone());
        let mut now = Time::ZERO;
        let mut links: [Option<LinkId>; 2] = [None, None];
        let mut last_link = 0;
        for (peer, (class, bytes), consume) in frames {
            now = Time::from_micros(now.as_micros() + 20_000);
            let link = *links[peer as usize].get_or_insert_with(|| {
                last_link += 1;
                let link = LinkId(last_link);
                engine.handle(now, Input::LinkUp { link, peer: id(2 + peer), addr: addr() });
                let hello = Hello { epoch: Epoch(1), addr: addr(), window_bytes: 64, known: None };
                let bytes = encode_control(&Control::Hello(hello));
                engine.handle(now, Input::Frame { link, class: Class::Control, bytes });
                link
            });
            engine.handle(now, Input::Frame { link, class, bytes });
            engine.handle(now, Input::Timeout);
            while let Some(output) = engine.poll_output() {
                match output {
                    Output::Close { link, .. } => {
                        for known in &mut links {
                            known.take_if(|known| *known == link);
                        }
                    }
                    Output::Deliver {
                        delivery: Delivery::Messages { ticket, batch, .. }, ..
                    } => {
                        prop_assert_eq!(batch.count() as usize, batch.into_messages().count());
                        if consume {
                            engine.handle(now, Input::Consumed { ticket });
                        }
                    }
                    Output::Deliver {
                        delivery: Delivery::Large { ticket, .. } | Delivery::Chunk { ticket, .. },
                        ..
                    } if consume => engine.handle(now, Input::Consumed { ticket }),
                    _ => {}
                }
            }
            // What waits to be safe counts as what waits to be taken.
            prop_assert!(engine.usage().early_bytes_max <= 4 * (limits.flow_window_bytes + (16 << 20) + 32));
        }
    }
}

/// An engine that holds a role, linked to node 2, whose frames come with their link.
fn linked(limits: Limits) -> (Engine, impl FnMut(&mut Engine, Class, Bytes) -> Vec<Output>) {
    let mut engine = engine(limits);
    let link = LinkId(1);
    let peer = id(2);
    engine.handle(
        Time::ZERO,
        Input::LinkUp {
            link,
            peer,
            addr: addr(),
        },
    );
    let give = move |engine: &mut Engine, class, bytes| {
        engine.handle(Time::ZERO, Input::Frame { link, class, bytes });
        std::iter::from_fn(|| engine.poll_output()).collect()
    };
    (engine, give)
}

#[test]
fn an_origin_that_minds_no_window_loses_its_link_and_fills_no_inbox() {
    let limits = Limits {
        flow_window_bytes: 1_000,
        payload_bytes_max: 1_000,
        ..Limits::default()
    };
    let bytes_max = 5 * (limits.flow_window_bytes + (128 << 10) + 32);
    let (mut engine, mut give) = linked(limits);
    let role: rolecast_membership::RoleName = "r".parse().expect("a role");
    let key = FlowKey {
        origin: id(2),
        epoch: Epoch(1),
        flow: FlowId(1),
    };
    let member = DestMember {
        node: id(1),
        epoch: Epoch(1),
        tenure: engine.members()[0].record.roles[&role],
        start: 1,
        owed: Vec::new(),
    };
    let set = DestSet {
        key,
        version: 1,
        role,
        mode: Dissemination::BestEffort.into(),
        born: Epoch(1),
        members: vec![member],
        sources: Vec::new(),
        large: None,
    };
    let hello = Hello {
        epoch: Epoch(1),
        addr: addr(),
        window_bytes: 1 << 20,
        known: None,
    };
    let resume = DataHead::Resume {
        from: Epoch(1),
        to: Epoch(1),
        first: 1,
    };
    let hello = encode_control(&Control::Hello(hello));
    give(&mut engine, Class::Control, hello);
    give(&mut engine, Class::Data, encode_head(&resume));
    give(
        &mut engine,
        Class::Data,
        encode_head(&DataHead::DestSet(set)),
    );
    let mut delivered = 0;
    let closed = (1..10_000).find(|&first| {
        let head = encode_head(&DataHead::Batch {
            key,
            version: 1,
            first,
            count: 1,
            floor: 0,
            deps: Vec::new(),
        });
        let batch = Batch::single(vec![7; 1_000].into(), None);
        let (front, payload) = batch.parts();
        let frame = [&head[..], front, payload].concat().into();
        let outputs = give(&mut engine, Class::Data, frame);
        delivered += outputs
            .iter()
            .filter(|output| matches!(output, Output::Deliver { .. }))
            .count();
        outputs
            .iter()
            .any(|output| matches!(output, Output::Close { .. }))
    });
    assert!(closed.is_some(), "{delivered} were delivered");
    let untaken = engine.usage().untaken_bytes_max;
    assert!((4_000..=bytes_max).contains(&untaken), "{untaken} bytes");
}

/// Hands a frame of a class to an engine, and gives what comes of it.
type Give = dyn FnMut(&mut Engine, Class, Bytes) -> Vec<Output>;

/// What node 2 says of a large payload, of four bytes as it was announced, to an engine that takes up to eight.
struct Liar {
    engine: Engine,
    give: Box<Give>,
    set: DestSet,
}

impl Liar {
    fn new() -> Self {
        let limits = Limits {
            large_bytes_max: 8,
            ..Limits::default()
        };
        let (mut engine, mut give) = linked(limits);
        let role: rolecast_membership::RoleName = "r".parse().expect("a role");
        let member = DestMember {
            node: id(1),
            epoch: Epoch(1),
            tenure: engine.members()[0].record.roles[&role],
            start: 1,
            owed: Vec::new(),
        };
        let key = FlowKey {
            origin: id(2),
            epoch: Epoch(1),
            flow: FlowId::large(5).expect("few"),
        };
        let set = DestSet {
            key,
            version: 1,
            role,
            mode: Dissemination::BestEffort.into(),
            born: Epoch(1),
            members: vec![member],
            sources: Vec::new(),
            large: Some(LargeHead {
                length: Some(4),
                oldest: key.flow,
            }),
        };
        let hello = Hello {
            epoch: Epoch(1),
            addr: addr(),
            window_bytes: 1 << 20,
            known: None,
        };
        let resume = encode_head(&DataHead::Resume {
            from: Epoch(1),
            to: Epoch(1),
            first: 1,
        });
        let hello = encode_control(&Control::Hello(hello));
        give(&mut engine, Class::Control, hello);
        give(&mut engine, Class::Data, resume.clone());
        give(&mut engine, Class::Bulk, resume);
        Liar {
            engine,
            give: Box::new(give),
            set,
        }
    }

    /// Says something; gives why the link is closed, if it is.
    fn say(&mut self, class: Class, bytes: Bytes) -> Option<&'static str> {
        let outputs = (self.give)(&mut self.engine, class, bytes);
        outputs.into_iter().find_map(|output| match output {
            Output::Close {
                reason: CloseReason::Violation(what),
                ..
            } => Some(what),
            _ => None,
        })
    }

    fn announce(&mut self, set: &DestSet) -> Option<&'static str> {
        self.say(Class::Bulk, encode_head(&DataHead::DestSet(set.clone())))
    }

    fn announce_as(&mut self, length: Option<u64>, oldest: u32) -> Option<&'static str> {
        let oldest = FlowId(oldest);
        let large = Some(LargeHead { length, oldest });
        let set = self.set.clone();
        self.announce(&DestSet { large, ..set })
    }

    fn batch(&mut self, flow: FlowId, first: u64, batch: &Batch) -> Option<&'static str> {
        let head = encode_head(&DataHead::Batch {
            key: FlowKey {
                flow,
                ..self.set.key
            },
            version: 1,
            first,
            count: batch.count(),
            floor: 0,
            deps: Vec::new(),
        });
        let (front, payload) = batch.parts();
        let class = crate::lane::LaneName::of_flow(flow).class();
        self.say(class, [&head[..], front, payload].concat().into())
    }

    fn chunk(&mut self, first: u64, chunk: &'static [u8]) -> Option<&'static str> {
        let flow = self.set.key.flow;
        self.batch(flow, first, &Batch::single(Bytes::from_static(chunk), None))
    }
}

#[test]
fn what_nobody_says_of_a_large_payload_closes_the_link() {
    type Lie = fn(&mut Liar) -> Option<&'static str>;
    let lies: [(&str, Lie); 10] = [
        ("an impossible length", |liar| {
            liar.announce_as(Some(1 << 63), FlowId::LARGE_FIRST.0)
        }),
        ("an impossible number", |liar| {
            liar.announce_as(Some(4), liar.set.key.flow.0 + 1)
        }),
        ("an impossible number", |liar| liar.announce_as(Some(4), 1)),
        ("nothing is said", |liar| {
            let large = None;
            let set = liar.set.clone();
            liar.announce(&DestSet { large, ..set })
        }),
        ("another length", |liar| {
            let set = liar.set.clone();
            assert_eq!(liar.announce(&set), None);
            liar.announce_as(Some(3), set.key.flow.0)
        }),
        ("the wrong stream", |liar| {
            let set = DataHead::DestSet(liar.set.clone());
            liar.say(Class::Data, encode_head(&set))
        }),
        ("more of a large payload than was announced", |liar| {
            let set = liar.set.clone();
            assert_eq!(liar.announce(&set), None);
            assert_eq!(liar.chunk(1, b"abc"), None);
            liar.chunk(2, b"de")
        }),
        ("something other than a chunk", |liar| {
            let set = liar.set.clone();
            assert_eq!(liar.announce(&set), None);
            let question = Batch::single(Bytes::new(), Some(crate::api::CallId(1)));
            liar.batch(set.key.flow, 1, &question)
        }),
        ("something other than a chunk", |liar| {
            let set = liar.set.clone();
            assert_eq!(liar.announce(&set), None);
            let (flow, length) = (set.key.flow, None);
            liar.batch(flow, 1, &Batch::note(Note::Large { flow, length }))
        }),
        ("in another flow", |liar| {
            let flow = FlowId(1);
            let key = FlowKey {
                flow,
                ..liar.set.key
            };
            let large = None;
            let set = liar.set.clone();
            let head = DataHead::DestSet(DestSet { key, large, ..set });
            assert_eq!(liar.say(Class::Data, encode_head(&head)), None);
            liar.batch(flow, 1, &Batch::note(Note::End { complete: true }))
        }),
    ];
    for (words, lie) in lies {
        let what = lie(&mut Liar::new());
        assert!(
            what.is_some_and(|what| what.contains(words)),
            "{words}: {what:?}"
        );
    }
}

#[test]
fn chunks_of_nothing_and_of_what_is_too_large_are_dropped() {
    let mut liar = Liar::new();
    assert_eq!(liar.chunk(1, b"abc"), None);
    assert_eq!(liar.announce_as(Some(1 << 60), liar.set.key.flow.0), None);
    for first in 1..100 {
        assert_eq!(liar.chunk(first, &[0; 1_000]), None);
    }
    let usage = liar.engine.usage();
    assert_eq!(
        (usage.untaken_bytes_max, usage.early_bytes_max),
        (0, 0),
        "nothing is kept"
    );
    assert_eq!(usage.retained_bytes_max, 0);
}

#[test]
fn a_session_of_more_frames_than_there_can_be_costs_the_link() {
    let (mut engine, mut give) = linked(Limits::default());
    let hello = Hello {
        epoch: Epoch(1),
        addr: addr(),
        window_bytes: 1,
        known: None,
    };
    give(
        &mut engine,
        Class::Control,
        encode_control(&Control::Hello(hello)),
    );
    let resume = |first| {
        encode_head(&DataHead::Resume {
            from: Epoch(1),
            to: Epoch(1),
            first,
        })
    };
    give(&mut engine, Class::Data, resume(1 << 62));
    let skipped = DataHead::Skipped {
        count: 1 << 62,
        flows: Vec::new(),
    };
    let outputs = give(&mut engine, Class::Data, encode_head(&skipped));
    let closed = |outputs: &[Output]| {
        outputs
            .iter()
            .any(|output| matches!(output, Output::Close { .. }))
    };
    assert!(closed(&outputs));
    // Whatever it says after that is nobody's word.
    give(&mut engine, Class::Data, resume(1));
}
