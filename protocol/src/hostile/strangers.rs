//! Words in the name of nodes that nobody knows, and of lives that have not been.

use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{
    Config as MembershipConfig, Epoch, Identity, Input as MembershipInput, Membership,
    Output as MembershipOutput, Profile, Record, Time,
};

use super::{Linked, batch_frame, deliveries, key, reason, violations};
use crate::api::{Class, Delivery, FlowId, Input, LinkId, Output};
use crate::batch::Batch;
use crate::config::Limits;
use crate::engine::Engine;
use crate::mode::Dissemination;
use crate::wire::strategies::{addr, id};
use crate::wire::{
    Control, DataHead, DestSet, FlowKey, Hello, decode_control, encode_control, encode_head,
};

const FLOW: FlowId = FlowId(1);
const LATE: &str = "words of a life that nobody knows";

fn identity(node: u8, epoch: u64) -> Identity {
    Identity {
        id: id(node),
        epoch: Epoch(epoch),
        addr: addr(),
    }
}

fn of(node: u8, epoch: u64) -> FlowKey {
    FlowKey {
        origin: id(node),
        epoch: Epoch(epoch),
        ..key(FLOW)
    }
}

/// The membership of a node, which knows others.
fn membership(node: u8, epoch: u64, others: &[Identity]) -> Membership {
    let config = MembershipConfig {
        record: Record::new(identity(node, epoch)),
        seeds: Vec::new(),
        profile: Profile::Local,
    };
    let mut membership = Membership::new(config, 1, Time::ZERO);
    for &other in others {
        membership.handle(Time::ZERO, MembershipInput::PeerConnected(other));
    }
    membership
}

/// What it says to node 1 over the control stream.
fn said(membership: &mut Membership) -> Vec<Bytes> {
    let outputs = std::iter::from_fn(|| membership.poll_output());
    let frames = outputs.filter_map(|output| match output {
        MembershipOutput::Frame { to, bytes } if to == id(1) => {
            Some(encode_control(&Control::Membership(&bytes)))
        }
        _ => None,
    });
    frames.collect()
}

fn count(outputs: &[Output], is_one: impl Fn(&Output) -> bool) -> usize {
    outputs.iter().filter(|output| is_one(output)).count()
}

impl Linked {
    /// Node 2 says who is meant by this flow, and sends messages of it.
    fn pass_on(&mut self, key: FlowKey, messages: u64) -> Vec<Output> {
        let set = DestSet {
            key,
            ..self.set(FLOW, Dissemination::Eager)
        };
        let mut outputs = self.hear(Class::Data, encode_head(&DataHead::DestSet(set)));
        for first in 1..=messages {
            let batch = Batch::single(Bytes::from_static(b"forged"), None);
            outputs.extend(self.hear(Class::Data, batch_frame(key, first, &batch)));
        }
        outputs
    }

    /// Time passes, and whatever is due is done.
    fn wait(&mut self, time: Duration) -> Vec<Output> {
        let until = self.now + time;
        let mut outputs = Vec::new();
        while let Some(at) = self.engine.poll_timeout()
            && at <= until
        {
            outputs.extend(self.handle(at.max(self.now), Input::Timeout));
        }
        self.now = until;
        outputs
    }

    /// Node 2 introduces another one, in this life.
    pub(super) fn introduce(&mut self, node: u8, epoch: u64) -> Vec<Output> {
        let mut membership = membership(node, epoch, &[identity(1, 1)]);
        let frames = said(&mut membership);
        assert!(
            !frames.is_empty(),
            "it says its record to whom it is linked to"
        );
        let heard = frames.into_iter().map(|f| self.hear(Class::Control, f));
        heard.collect::<Vec<_>>().concat()
    }

    /// Node 2, who knows these, answers what it was asked.
    fn vouch(&mut self, asked: &[Output], others: &[Identity]) -> Vec<Output> {
        let mut membership = membership(2, 1, others);
        while membership.poll_output().is_some() {}
        for output in asked {
            if let Output::Frame {
                class: Class::Control,
                head,
                ..
            } = output
                && let Some(Control::Membership(bytes)) = decode_control(head)
            {
                let (from, bytes) = (id(1), Bytes::copy_from_slice(bytes));
                let frame = MembershipInput::Frame { from, bytes };
                membership.handle(Time::ZERO, frame);
            }
        }
        let frames = said(&mut membership);
        let heard = frames.into_iter().map(|f| self.hear(Class::Control, f));
        heard.collect::<Vec<_>>().concat()
    }
}

#[test]
fn what_is_said_of_an_origin_that_nobody_knows_is_delivered_to_nobody_and_costs_the_link() {
    let mut peer = Linked::new(Limits::default());
    let flows = peer.engine.usage().flows;
    let outputs = peer.pass_on(of(9, 1), 3);
    assert_eq!((deliveries(&outputs), reason(&outputs)), (0, None));
    assert!(peer.engine.usage().parked_bytes > 0);
    let outputs = peer.wait(Duration::from_secs(29));
    assert_eq!((deliveries(&outputs), reason(&outputs)), (0, None));
    let outputs = peer.wait(Duration::from_secs(2));
    assert_eq!((deliveries(&outputs), reason(&outputs)), (0, Some(LATE)));
    assert_eq!(violations(&outputs, id(2)), [LATE], "it is counted");
    let usage = peer.engine.usage();
    assert_eq!((usage.parked_bytes, usage.flows), (0, flows));
}

#[test]
fn what_is_said_of_a_life_that_a_member_has_not_begun_is_not_delivered() {
    let mut peer = Linked::new(Limits::default());
    peer.introduce(3, 5);
    assert!(peer.engine.other(id(3)).is_some(), "it is a member");
    for epoch in [6, u64::MAX] {
        assert_eq!(deliveries(&peer.pass_on(of(3, epoch), 1)), 0, "{epoch}");
    }
    assert_eq!(deliveries(&peer.pass_on(of(3, 5), 1)), 1);
    assert!(peer.engine.usage().parked_bytes > 0);
    // Once that life has begun, what was said in it counts, and nothing of a later one.
    assert_eq!(deliveries(&peer.introduce(3, 6)), 1);
    assert_eq!(
        violations(&peer.wait(Duration::from_secs(31)), id(2)),
        [LATE]
    );
}

#[test]
fn whoever_is_asked_and_knows_the_origin_makes_it_heard_from_the_first_message_on() {
    let mut peer = Linked::new(Limits::default());
    let asked = peer.pass_on(of(9, 1), 3);
    // Of a later life nothing is said by that, and of another node neither.
    assert_eq!(deliveries(&peer.vouch(&asked, &[identity(8, 1)])), 0);
    assert_eq!(deliveries(&peer.vouch(&asked, &[identity(9, 1)])), 3);
    assert_eq!(peer.engine.usage().parked_bytes, 0);
    assert_eq!(deliveries(&peer.pass_on(of(9, 2), 1)), 0);
    let outputs = peer.wait(Duration::from_secs(31));
    assert_eq!(violations(&outputs, id(2)), [LATE]);
}

#[test]
fn who_was_not_heard_is_asked_about_again() {
    let mut peer = Linked::new(Limits::default());
    peer.pass_on(of(9, 1), 1);
    let again = peer.wait(Duration::from_secs(1));
    assert_eq!(deliveries(&peer.vouch(&again, &[identity(9, 1)])), 1);
}

#[test]
fn what_finds_no_room_before_its_origin_is_known_is_a_gap_and_no_silence() {
    let limits = Limits {
        session_bytes_max: 8_000,
        ..Limits::default()
    };
    let mut peer = Linked::new(limits);
    let asked = peer.pass_on(of(9, 1), 100);
    let parked = peer.engine.usage().parked_bytes;
    assert!((1..=2_000).contains(&parked), "{parked} bytes");
    let mut outputs = peer.vouch(&asked, &[identity(9, 1)]);
    outputs.extend(peer.wait(Duration::from_secs(60)));
    let gap = |output: &Output| {
        matches!(
            output,
            Output::Deliver {
                delivery: Delivery::Gap(_),
                ..
            }
        )
    };
    assert!((1..100).contains(&deliveries(&outputs)));
    assert_eq!(count(&outputs, gap), 1, "{outputs:?}");
}

#[test]
fn nobody_brings_so_many_flows_that_others_find_no_room() {
    let mut peer = Linked::new(Limits::default());
    peer.introduce(3, 1);
    let flow = |origin, number| FlowKey {
        flow: FlowId(number),
        ..of(origin, 1)
    };
    let announce = |peer: &mut Linked, key| {
        let set = DestSet {
            key,
            ..peer.set(FLOW, Dissemination::BestEffort)
        };
        peer.announce(&set)
    };
    // In the name of another one it may go on for ever, and that is all.
    for number in (1..=70_000).rev() {
        assert_eq!(announce(&mut peer, flow(3, number)), None);
    }
    assert_eq!(peer.engine.usage().flows, 16_384);
    // Whoever else comes has room, and is not shut out in the other one's stead.
    let mut other = Other::join(&mut peer.engine);
    let set = DestSet {
        key: flow(4, 1),
        ..peer.set(FLOW, Dissemination::BestEffort)
    };
    let outputs = other.say(&mut peer.engine, &DataHead::DestSet(set));
    assert_eq!(reason(&outputs), None);
    assert_eq!(peer.engine.usage().flows, 16_385);
    // Of its own it may have as many, and no more.
    let mut own = Linked::new(Limits::default());
    for number in (2..=16_385).rev() {
        assert_eq!(announce(&mut own, flow(2, number)), None);
    }
    let why = announce(&mut own, flow(2, 1));
    assert_eq!(why, Some("one flow too many"));
}

/// Node 4, which is linked too.
struct Other(LinkId);

impl Other {
    fn join(engine: &mut Engine) -> Self {
        let (link, peer) = (LinkId(4), id(4));
        let up = Input::LinkUp {
            link,
            peer,
            addr: addr(),
        };
        engine.handle(Time::ZERO, up);
        let hello = Hello {
            epoch: Epoch(1),
            addr: addr(),
            window_bytes: 1 << 20,
            known: None,
            ways_over: 0,
        };
        let mut other = Other(link);
        other.hear(
            engine,
            Class::Control,
            encode_control(&Control::Hello(hello)),
        );
        other.hear(engine, Class::Data, super::resume(1));
        other
    }

    fn say(&mut self, engine: &mut Engine, head: &DataHead) -> Vec<Output> {
        self.hear(engine, Class::Data, encode_head(head))
    }

    fn hear(&mut self, engine: &mut Engine, class: Class, bytes: Bytes) -> Vec<Output> {
        let link = self.0;
        engine.handle(Time::ZERO, Input::Frame { link, class, bytes });
        std::iter::from_fn(|| engine.poll_output()).collect()
    }
}
