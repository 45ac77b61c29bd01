//! Numbers, origins and lives that cannot be, and members by the million.

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId};

use super::{Linked, batch_frame, key};
use crate::api::{Class, FlowId, Output};
use crate::batch::Batch;
use crate::config::Limits;
use crate::mode::Dissemination;
use crate::wire::strategies::id;
use crate::wire::{
    Acks, Control, DataHead, DestMember, DestSet, FlowAck, FlowDigest, FlowKey, Gone, Pull,
    SEQ_MAX, Why, decode_control, encode_control, encode_head,
};

/// A flow of node 2 that the engine was told of.
const FLOW: FlowId = FlowId(1);

impl Linked {
    /// As [`Linked::new`], with a flow that node 2 has begun.
    fn with_flow() -> Self {
        let mut linked = Linked::new(Limits::default());
        let set = linked.set(FLOW, Dissemination::Digest);
        assert_eq!(linked.announce(&set), None);
        linked
    }

    fn batch(&mut self, first: u64, count: u32, floor: u64) -> Option<&'static str> {
        let head = DataHead::Batch {
            key: key(FLOW),
            version: 1,
            first,
            count,
            floor,
            deps: Vec::new(),
        };
        let frame = [&encode_head(&head)[..], &[0]].concat();
        self.say(Class::Data, frame.into())
    }

    fn digest(&mut self, key: FlowKey, upto: u64, aged: u64, floor: u64) -> Option<&'static str> {
        let digest = FlowDigest {
            key,
            version: 1,
            upto,
            aged,
            beyond: Vec::new(),
            floor,
            claim: None,
            heard: Vec::new(),
        };
        self.tell(&Control::Digest(vec![digest]))
    }

    fn pull(&mut self, first: u64, last: u64) -> Option<&'static str> {
        let key = key(FLOW);
        self.tell(&Control::Pull(Pull { key, first, last }))
    }

    fn tell(&mut self, control: &Control<'_>) -> Option<&'static str> {
        self.say(Class::Control, encode_control(control))
    }

    /// The flow that the engine sends.
    fn own(&self) -> FlowKey {
        FlowKey {
            origin: id(1),
            ..key(FlowId(1))
        }
    }

    fn member(&self, change: impl FnOnce(&mut DestMember)) -> DestSet {
        let mut set = self.set(FLOW, Dissemination::Digest);
        change(&mut set.members[0]);
        set
    }
}

#[test]
fn what_cannot_be_closes_the_link() {
    type Lie = fn(&mut Linked) -> Option<&'static str>;
    let lies: [(&str, Lie); 16] = [
        ("an impossible number", |peer| peer.batch(0, 1, 0)),
        ("an impossible number", |peer| peer.batch(SEQ_MAX + 1, 1, 0)),
        ("an impossible number", |peer| peer.batch(1, 0, 0)),
        // Nobody has acknowledged what is being sent.
        ("an impossible number", |peer| peer.batch(1, 1, 1)),
        ("a malformed batch", |peer| peer.batch(1, u32::MAX, 0)),
        ("a malformed destination set", |peer| {
            let set = peer.member(|member| member.start = 0);
            peer.announce(&set)
        }),
        ("a malformed destination set", |peer| {
            let set = peer.member(|member| member.start = SEQ_MAX + 1);
            peer.announce(&set)
        }),
        ("changes its mode", |peer| {
            let set = peer.set(FLOW, Dissemination::Eager);
            peer.announce(&set)
        }),
        // A life of its own in which it does not speak.
        ("a life that has not begun", |peer| {
            let set = peer.set(FLOW, Dissemination::Digest);
            let epoch = Epoch(2);
            let key = FlowKey { epoch, ..set.key };
            peer.announce(&DestSet { key, ..set })
        }),
        ("impossible messages", |peer| {
            peer.digest(key(FLOW), SEQ_MAX + 1, 0, 0)
        }),
        ("impossible messages", |peer| {
            peer.digest(key(FLOW), 1, 2, 0)
        }),
        ("more than was sent", |peer| {
            let own = peer.own();
            peer.digest(own, 1_000, 1_000, 0)
        }),
        ("more than was sent", |peer| {
            let own = peer.own();
            peer.digest(own, 0, 0, 2)
        }),
        ("a pull of impossible messages", |peer| peer.pull(0, 1)),
        ("a pull of impossible messages", |peer| peer.pull(5, 4)),
        ("a pull of impossible messages", |peer| {
            peer.pull(1, SEQ_MAX + 1)
        }),
    ];
    for (number, (words, lie)) in lies.into_iter().enumerate() {
        let mut peer = Linked::with_flow();
        let what = lie(&mut peer);
        assert!(
            what.is_some_and(|what| what.contains(words)),
            "{number}, {words}: {what:?}"
        );
    }
}

impl Linked {
    /// Node 2 acknowledges, in the session between the present lives.
    fn acknowledge(&mut self, received: [u64; 2], upto: u64) -> Option<&'static str> {
        let ack = FlowAck {
            flow: FlowId(1),
            tenure: rolecast_membership::Tenure(0),
            upto,
        };
        self.tell(&Control::Acks(Acks {
            from: Epoch(1),
            to: Epoch(1),
            received,
            flows: vec![ack],
            via: Vec::new(),
        }))
    }
}

#[test]
fn whoever_acknowledges_what_was_not_sent_loses_its_link() {
    const WORDS: Option<&str> = Some("an acknowledgement of more than was sent");
    // The engine has sent one message, to itself, and nothing to node 2.
    assert_eq!(Linked::with_flow().acknowledge([0, 0], 1), None);
    for received in [[1, 0], [0, 1], [u64::MAX; 2]] {
        assert_eq!(Linked::with_flow().acknowledge(received, 0), WORDS);
    }
}

#[test]
fn whoever_acknowledges_more_of_a_flow_than_was_sent_is_taken_at_what_was() {
    // Another member may have told it of messages in this node's name.
    for upto in [2, SEQ_MAX, u64::MAX] {
        assert_eq!(Linked::with_flow().acknowledge([0, 0], upto), None);
    }
}

#[test]
fn a_digest_of_a_flow_of_this_node_that_was_never_opened_costs_the_link() {
    let mut peer = Linked::with_flow();
    let large = FlowId::large(1).expect("few");
    for flow in [FlowId(77), large] {
        let never = FlowKey { flow, ..peer.own() };
        assert_eq!(peer.digest(never, 0, 0, 0), None, "nothing is said of it");
        let why = Linked::with_flow().digest(never, 1, 0, 0);
        assert_eq!(why, Some("a digest of more than was sent"), "{flow:?}");
    }
}

#[test]
fn a_digest_or_a_pull_of_another_life_of_this_node_is_nobodys_business() {
    let mut peer = Linked::with_flow();
    let before = peer.engine.usage();
    for epoch in [Epoch(0), Epoch(2), Epoch(u64::MAX)] {
        for flow in [FlowId(1), FlowId(77)] {
            let forged = FlowKey {
                epoch,
                flow,
                ..peer.own()
            };
            assert_eq!(peer.digest(forged, 1_000, 1_000, 1_000), None);
            let (key, first, last) = (forged, 1, SEQ_MAX);
            let pull = Control::Pull(Pull { key, first, last });
            let outputs = peer.hear(Class::Control, encode_control(&pull));
            assert!(outputs.is_empty(), "{outputs:?}");
        }
    }
    assert_eq!(peer.engine.usage(), before);
}

/// It may be true, so that it costs nobody a link; it is asked for, and that is all.
#[test]
fn a_digest_that_claims_too_much_of_a_third_nodes_flow_is_asked_for_and_reaches_no_inbox() {
    let mut peer = Linked::with_flow();
    for epoch in [Epoch(0), Epoch(1), Epoch(u64::MAX)] {
        let origin = id(3);
        let third = FlowKey {
            origin,
            epoch,
            ..key(FLOW)
        };
        let digest = FlowDigest {
            key: third,
            version: u32::MAX,
            upto: SEQ_MAX,
            aged: SEQ_MAX,
            beyond: Vec::new(),
            floor: SEQ_MAX,
            claim: None,
            heard: Vec::new(),
        };
        let digest = encode_control(&Control::Digest(vec![digest]));
        for _ in 0..100 {
            for output in peer.hear(Class::Control, digest.clone()) {
                let Output::Frame { head, .. } = output else {
                    panic!("{output:?}");
                };
                let said = decode_control(&head);
                assert!(matches!(said, Some(Control::Pull(_))), "{said:?}");
            }
        }
        assert_eq!(peer.engine.usage().flows, 1, "nothing came of it");
    }
}

/// Of what was never sent nothing comes, and of what is gone the answer says so; whoever asks may have been told wrongly, and keeps its link.
#[test]
fn a_pull_for_what_was_never_sent_brings_nothing() {
    let mut peer = Linked::with_flow();
    let before = peer.engine.usage();
    for flow in [FlowId(1), FlowId(77), FlowId::large(1).expect("few")] {
        for (first, last) in [(1, 1), (2, SEQ_MAX), (SEQ_MAX, SEQ_MAX)] {
            let key = FlowKey { flow, ..peer.own() };
            let pull = Control::Pull(Pull { key, first, last });
            for output in peer.hear(Class::Control, encode_control(&pull)) {
                let Output::Frame { head, .. } = output else {
                    panic!("{output:?}");
                };
                let said = decode_control(&head);
                assert!(matches!(said, Some(Control::Gone(_))), "{said:?}");
            }
        }
    }
    assert_eq!(peer.engine.usage(), before);
}

#[test]
fn a_batch_of_an_origin_that_nobody_announced_leaves_nothing_behind() {
    let mut peer = Linked::with_flow();
    let before = peer.engine.usage();
    for origin in 3..200 {
        for epoch in [Epoch(0), Epoch(1), Epoch(u64::MAX)] {
            let unknown = FlowKey {
                origin: id(origin),
                epoch,
                flow: FLOW,
            };
            let batch = Batch::single(Bytes::from_static(b"forged"), None);
            let outputs = peer.hear(Class::Data, batch_frame(unknown, 1, &batch));
            let delivered = |output: &Output| matches!(output, Output::Deliver { .. });
            assert!(!outputs.iter().any(delivered), "{outputs:?}");
        }
    }
    assert_eq!(peer.engine.usage(), before);
}

#[test]
fn a_forged_life_of_this_node_reaches_no_inbox() {
    let mut peer = Linked::with_flow();
    for epoch in [Epoch(0), Epoch(2), Epoch(u64::MAX)] {
        let set = peer.set(FlowId(2), Dissemination::Eager);
        let mut member = set.members[0].clone();
        member.epoch = epoch;
        let set = DestSet {
            key: key(FlowId(2 + epoch.0 as u32 % 7)),
            members: vec![member],
            ..set
        };
        assert_eq!(peer.announce(&set), None);
        let batch = Batch::single(Bytes::from_static(b"forged"), None);
        let outputs = peer.hear(Class::Data, batch_frame(set.key, 1, &batch));
        let delivered = |output: &Output| matches!(output, Output::Deliver { .. });
        assert!(!outputs.iter().any(delivered), "{outputs:?}");
    }
    // Nor does it acknowledge in the name of one.
    let ack = FlowAck {
        flow: FlowId(1),
        tenure: rolecast_membership::Tenure(0),
        upto: u64::MAX,
    };
    for (from, to) in [(Epoch(1), Epoch(9)), (Epoch(9), Epoch(1))] {
        let acks = Acks {
            from,
            to,
            received: [u64::MAX; 2],
            flows: vec![ack],
            via: Vec::new(),
        };
        let outputs = peer.hear(Class::Control, encode_control(&Control::Acks(acks)));
        assert!(outputs.is_empty(), "{outputs:?}");
    }
}

#[test]
fn a_destination_set_of_a_million_members_is_refused() {
    let mut peer = Linked::new(Limits::default());
    let set = peer.set(FLOW, Dissemination::Eager);
    let members = (0..1_000_000u32).map(|number| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        DestMember {
            node: NodeId::from_bytes(bytes),
            ..set.members[0].clone()
        }
    });
    let members = members.collect();
    let why = peer.announce(&DestSet { members, ..set });
    assert_eq!(why, Some("a malformed destination set"));
    assert_eq!(peer.engine.usage().flows, 0);
}

#[test]
fn a_claim_of_a_million_members_in_a_few_bytes_is_refused() {
    let mut peer = Linked::new(Limits::default());
    let set = peer.set(FLOW, Dissemination::Eager);
    let frame = encode_head(&DataHead::DestSet(set));
    // The count of members stands before the first of them, whose id is the only run of ones.
    let first = frame
        .windows(32)
        .position(|window| window == [1; 32])
        .expect("the member is there");
    let million = [0xc0, 0x84, 0x3d];
    let forged = [&frame[..first - 1], &million, &frame[first..]].concat();
    let why = peer.say(Class::Data, forged.into());
    assert_eq!(why, Some("a malformed data frame"));
}

#[test]
fn a_pull_for_what_is_gone_harms_nobody() {
    let mut peer = Linked::with_flow();
    let before = peer.engine.usage();
    let unknown = FlowKey {
        origin: id(9),
        ..key(FLOW)
    };
    for (key, first, last) in [
        (key(FLOW), 1, 5),
        (key(FLOW), SEQ_MAX, SEQ_MAX),
        (unknown, 1, SEQ_MAX),
        (peer.own(), 1, SEQ_MAX),
    ] {
        let pull = Pull { key, first, last };
        // It is told so, or left without an answer; and nobody had asked it for what it says is gone.
        let gone = [Why::NotKept, Why::NotMeant, Why::LeftOut];
        let gone = gone.map(|why| Control::Gone(Gone { pull, why }));
        for control in std::iter::once(Control::Pull(pull)).chain(gone) {
            for output in peer.hear(Class::Control, encode_control(&control)) {
                let Output::Frame { head, .. } = output else {
                    panic!("{pull:?}: {output:?}");
                };
                let said = decode_control(&head);
                assert!(matches!(said, Some(Control::Gone(_))), "{pull:?}: {said:?}");
            }
        }
    }
    assert_eq!(peer.engine.usage(), before);
}
