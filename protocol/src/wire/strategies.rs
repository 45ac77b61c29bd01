//! What the properties and attacks draw: heads and frames in which every field may have any value, mostly one that means something.

use std::net::SocketAddr;

use bytes::Bytes;
use proptest::prelude::*;
use rolecast_membership::{Epoch, NodeId, Tenure};

use super::relay::{Failed, ROUTE_MAX, RelayHead, Relayed, WayClass, WayFrame};
use super::{
    Acks, Claim, Control, DataHead, Dep, DestEvicted, DestMember, DestSet, FlowAck, FlowDigest,
    FlowKey, Gone, Heard, Hello, LargeHead, Owed, Pull, Span, ViaAck, Why, WireAnswer,
    encode_control, encode_head,
};
use crate::api::{Class, FlowId, Refusal};
use crate::batch::{Batch, Note};
use crate::mode::{Dissemination, Mode, Order};

/// The node with this number.
pub(crate) fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

/// Where every node is.
pub(crate) fn addr() -> SocketAddr {
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
        prop_oneof![4 => Just(0), 1 => number()],
        proptest::collection::vec(owed(), 0..3),
    )
        .prop_map(|(node, epoch, tenure, start, replayed, owed)| DestMember {
            node,
            epoch,
            tenure: Tenure(tenure),
            start,
            replayed,
            owed,
        })
}

fn evicted() -> impl Strategy<Value = DestEvicted> {
    let lags = proptest::option::of(number());
    (node(), epoch(), number(), number(), number(), lags).prop_map(
        |(node, epoch, tenure, start, upto, lags)| DestEvicted {
            node,
            epoch,
            tenure: Tenure(tenure),
            start,
            upto,
            lags,
        },
    )
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

pub(crate) fn dest_set() -> impl Strategy<Value = DataHead> {
    let members = proptest::collection::vec(member(), 0..5);
    // Mostly what fits.
    let head = (
        prop_oneof![9 => Just(true), 1 => Just(false)],
        proptest::option::of(number()),
    );
    let sources = proptest::collection::vec(key(), 0..3);
    let evicted = proptest::collection::vec(evicted(), 0..2);
    (key(), 0u32..4, mode(), members, evicted, head, sources).prop_map(
        |(key, version, mode, mut members, evicted, (fits, length), sources)| {
            members.sort_by_key(|member| member.node);
            DataHead::DestSet(DestSet {
                key,
                version,
                role: "r".parse().expect("a role"),
                mode,
                born: Epoch(1),
                members,
                evicted,
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

/// The envelope of something relayed.
fn relay() -> impl Strategy<Value = RelayHead> {
    let class = prop_oneof![
        Just(WayClass::Control),
        Just(WayClass::Data),
        Just(WayClass::Bulk)
    ];
    let frame = (class, 0u64..4, 0u64..4, 0u64..3).prop_map(|(class, way, answers, number)| {
        Relayed::Frame(WayFrame {
            class,
            way,
            answers,
            number,
        })
    });
    let failed = (node(), 0u64..4, proptest::option::of(node()))
        .prop_map(|(to, way, beyond)| Relayed::Failed(Failed { to, way, beyond }));
    let what = prop_oneof![1 => Just(Relayed::Datagram), 4 => frame, 1 => failed];
    // Some routes go over the engine that hears them, from the node that says them, and others nowhere.
    let route = prop_oneof![
        3 => Just(vec![id(3), id(2), id(1)]),
        3 => Just(vec![id(2), id(1), id(3)]),
        1 => Just(vec![id(2), id(1)]),
        2 => proptest::collection::vec(node(), 0..=ROUTE_MAX),
    ];
    (route, 0u8..4, epoch(), what).prop_map(|(route, at, life, what)| RelayHead {
        route,
        at,
        life,
        what,
    })
}

/// The head of a frame of data.
pub(crate) fn data_head() -> impl Strategy<Value = DataHead> {
    let answer = prop_oneof![
        Just(WireAnswer::Taken),
        Just(WireAnswer::Reply),
        Just(WireAnswer::Refused(Refusal::NotHolder)),
    ];
    let dep = (0u32..4, number()).prop_map(|(source, upto)| Dep { source, upto });
    let deps = proptest::collection::vec(dep, 0..3);
    let skipped = proptest::collection::vec((key(), number()), 0..3);
    prop_oneof![
        2 => (epoch(), epoch(), number(), number())
            .prop_map(|(from, to, first, stretch)| DataHead::Resume { from, to, first, stretch }),
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
        1 => (flow(), number(), number()).prop_map(|(flow, tenure, upto)| {
            DataHead::Rejoin { flow, tenure: Tenure(tenure), upto }
        }),
        1 => (flow(), number(), number()).prop_map(|(flow, tenure, upto)| {
            DataHead::LeftOut { flow, tenure: Tenure(tenure), upto }
        }),
        1 => (key(), number()).prop_map(|(key, upto)| DataHead::GivenUp { key, upto }),
        3 => relay().prop_map(DataHead::Relay),
    ]
}

/// What may follow it.
fn body() -> impl Strategy<Value = Vec<u8>> {
    // A body of zeros is as many empty messages as it has bytes.
    prop_oneof![
        (0usize..4).prop_map(|len| vec![0; len]),
        proptest::collection::vec(any::<u8>(), 0..40),
        note().prop_map(|note| {
            let batch = Batch::note(note);
            let (head, body) = batch.parts();
            [&head[..], &body[..]].concat()
        }),
        Just(vec![4, 1, 2]),
    ]
}

/// A frame on the data or the bulk stream.
pub(crate) fn data_frame() -> impl Strategy<Value = Bytes> {
    (data_head(), body()).prop_map(|(head, body)| [&encode_head(&head)[..], &body].concat().into())
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

/// A frame on the control stream, but for those of the membership layer.
pub(crate) fn control() -> impl Strategy<Value = Control<'static>> {
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
    let numbers = (number(), number(), number());
    let span = (number(), number()).prop_map(|(first, last)| Span { first, last });
    let beyond = proptest::collection::vec(span, 0..3);
    let digest = (key(), 0u32..4, numbers, beyond, claim(), heard()).prop_map(
        |(key, version, (upto, aged, floor), beyond, claim, heard)| FlowDigest {
            key,
            version,
            upto,
            aged,
            beyond,
            floor,
            claim,
            heard,
        },
    );
    let why = prop_oneof![Just(Why::NotKept), Just(Why::NotMeant), Just(Why::LeftOut)];
    let flows = proptest::collection::vec(flow_ack(), 0..3);
    let vias = proptest::collection::vec(via, 0..3);
    let received = || (number(), number()).prop_map(<[u64; 2]>::from);
    let known = proptest::option::of((epoch(), received()));
    prop_oneof![
        2 => (epoch(), number(), known, number()).prop_map(|(epoch, window_bytes, known, ways_over)| {
            Control::Hello(Hello { epoch, addr: addr(), window_bytes, known, ways_over })
        }),
        2 => (epoch(), epoch(), received(), flows, vias).prop_map(|(from, to, received, flows, via)| {
            Control::Acks(Acks { from, to, received, flows, via })
        }),
        2 => proptest::collection::vec(digest, 0..3).prop_map(Control::Digest),
        1 => pull().prop_map(Control::Pull),
        1 => (epoch(), epoch()).prop_map(|(from, to)| Control::Rest { from, to }),
        1 => (pull(), why).prop_map(|(pull, why)| Control::Gone(Gone { pull, why })),
    ]
}

/// A frame on the control stream.
fn control_frame() -> impl Strategy<Value = Bytes> {
    let news = proptest::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        8 => control().prop_map(|control| encode_control(&control)),
        1 => news.prop_map(|bytes| encode_control(&Control::Membership(&bytes))),
    ]
}

/// A frame with its class: such as engines send, or rubbish.
pub(crate) fn frame() -> impl Strategy<Value = (Class, Bytes)> {
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
