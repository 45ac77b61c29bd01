//! A short history written by hand, and what it is made of.

use std::sync::Arc;

use bytes::Bytes;
use rolecast_membership::{
    Epoch, Event as MembershipEvent, Identity, NodeId, RoleName, Tenure, Time,
};
use rolecast_protocol::{
    Answer, Batch, BatchBuilder, CallId, CallKind, Dissemination, Event, FlowId, Gap, InboxId,
    Origin, Pick, Refusal, ReplyTo, Seq, Target,
};
use rolecast_sim::check::{
    Broken, Called, Callee, Calling, Holder, Name, Observation, ProcessId, Receiving, Recorded,
    Sending, Violation, check,
};

pub(crate) const FLOW: FlowId = FlowId(1);
pub(crate) const INBOX: InboxId = InboxId(1);
pub(crate) const CALL: CallId = CallId(1);
pub(crate) const ONE_WAY: CallId = CallId(2);

pub(crate) fn node(number: u32) -> NodeId {
    NodeId::from_bytes([number as u8 + 1; 32])
}

pub(crate) fn identity(number: u32, epoch: u64) -> Identity {
    let addr = ([10, 0, 0, number as u8], 7400).into();
    Identity {
        id: node(number),
        epoch: Epoch(epoch),
        addr,
    }
}

pub(crate) fn origin(number: u32) -> Origin {
    Origin {
        node: node(number),
        epoch: Epoch(1),
    }
}

pub(crate) fn role() -> RoleName {
    "r".parse().expect("a role name")
}

pub(crate) fn batch(payloads: &[&'static str]) -> Batch {
    let mut builder = BatchBuilder::new();
    payloads
        .iter()
        .for_each(|payload| builder.push(payload.as_bytes(), None));
    builder.take().expect("not empty")
}

pub(crate) fn sent(first: u64, payloads: &[&'static str]) -> Observation {
    let holders: Arc<[Holder]> = [1, 2]
        .map(|number| Holder {
            node: node(number),
            epoch: Epoch(1),
            tenure: Tenure(2),
        })
        .into();
    Observation::Sent(Sending {
        flow: FLOW,
        role: role(),
        mode: Dissemination::Eager.into(),
        first: Seq(first),
        last: Seq(first + payloads.len() as u64 - 1),
        members: 2,
        holders,
        batch: batch(payloads),
    })
}

pub(crate) fn delivered(first: u64, payloads: &[&'static str]) -> Observation {
    let (inbox, flow, first) = (INBOX, FLOW, Seq(first));
    let batch = batch(payloads);
    Observation::Delivered(Receiving {
        inbox,
        origin: origin(0),
        flow,
        first,
        batch,
    })
}

pub(crate) fn consumed(upto: u64) -> Observation {
    Observation::Consumed {
        inbox: INBOX,
        origin: origin(0),
        flow: FLOW,
        upto,
    }
}

pub(crate) fn settled(upto: u64) -> Observation {
    Observation::Told(Event::Settled {
        flow: FLOW,
        upto: Seq(upto),
    })
}

pub(crate) fn answered(call: CallId, number: u32, answer: Answer) -> Observation {
    Observation::Told(Event::Answered {
        call,
        node: Some(node(number)),
        answer,
        last: true,
    })
}

pub(crate) fn reply_to(call: CallId) -> ReplyTo {
    ReplyTo {
        origin: origin(0),
        call,
    }
}

pub(crate) fn asks(call: CallId, kind: CallKind) -> Observation {
    let target = Target::Any(role(), Pick::RoundRobin);
    let payload = Bytes::from_static(b"question");
    let deadline = Time::from_millis(10_000);
    Observation::Calls(Calling {
        call,
        to: Callee::One {
            target,
            kind,
            payload,
        },
        deadline,
    })
}

pub(crate) fn called(call: CallId, wants_reply: bool) -> Observation {
    let payload = Bytes::from_static(b"question");
    Observation::Called(Called {
        inbox: INBOX,
        from: reply_to(call),
        wants_reply,
        payload,
    })
}

pub(crate) fn replies(answer: Result<&'static str, Refusal>) -> Observation {
    let answer = answer.map(|text| Bytes::from_static(text.as_bytes()));
    Observation::Replies {
        to: reply_to(CALL),
        answer,
    }
}

/// n0 sends three messages to n1 and n2 and asks two questions, and all goes well.
pub(crate) fn history() -> Vec<(u32, Observation)> {
    let started = |number: u32| Observation::Started {
        name: Name {
            slot: number as u16,
            incarnation: 0,
        },
        identity: identity(number, 1),
    };
    let took_up = || Observation::TookUp {
        inbox: INBOX,
        role: role(),
        tenure: Tenure(2),
    };
    vec![
        (0, started(0)),
        (1, started(1)),
        (2, started(2)),
        (1, took_up()),
        (2, took_up()),
        (0, sent(1, &["a", "b"])),
        (0, sent(3, &["c"])),
        (1, delivered(1, &["a", "b"])),
        (1, delivered(3, &["c"])),
        (2, delivered(1, &["a"])),
        (2, delivered(2, &["b"])),
        (2, delivered(3, &["c"])),
        (1, consumed(3)),
        (2, consumed(3)),
        (0, settled(3)),
        (0, asks(CALL, CallKind::Request)),
        (1, called(CALL, true)),
        (1, replies(Ok("answer"))),
        (
            0,
            answered(CALL, 1, Answer::Reply(Bytes::from_static(b"answer"))),
        ),
        (0, asks(ONE_WAY, CallKind::OneWay)),
        (2, called(ONE_WAY, false)),
        (0, answered(ONE_WAY, 2, Answer::Taken)),
    ]
}

/// One observation a millisecond.
pub(crate) fn timed(history: Vec<(u32, Observation)>) -> Vec<Recorded> {
    let places = (1..).zip(history);
    places
        .map(|(millis, (process, observation))| Recorded {
            at: Time::from_millis(millis),
            process: ProcessId(process),
            observation,
        })
        .collect()
}

pub(crate) fn position(
    of: &[(u32, Observation)],
    fits: impl Fn(u32, &Observation) -> bool,
) -> usize {
    of.iter()
        .position(|(process, observation)| fits(*process, observation))
        .expect("it is there")
}

pub(crate) fn nth_delivery(history: &[(u32, Observation)], process: u32, nth: usize) -> usize {
    let delivered = history.iter().enumerate().filter(|(_, (p, observation))| {
        *p == process && matches!(observation, Observation::Delivered(_))
    });
    delivered
        .map(|(index, _)| index)
        .nth(nth)
        .expect("it is there")
}

pub(crate) fn down(number: u32) -> Observation {
    Observation::Told(Event::Membership(Box::new(MembershipEvent::Down(
        identity(number, 1),
    ))))
}

pub(crate) fn range_gap(first: u64, last: u64) -> Observation {
    let (first, last) = (Seq(first), Seq(last));
    Observation::Gapped {
        inbox: INBOX,
        gap: Gap::Range {
            origin: origin(0),
            flow: FLOW,
            first,
            last,
        },
    }
}

#[track_caller]
pub(crate) fn refused(
    alter: impl FnOnce(&mut Vec<(u32, Observation)>),
    fits: impl Fn(&Broken) -> bool,
) {
    let mut altered = history();
    alter(&mut altered);
    match check(timed(altered)) {
        Err(Violation { broken, .. }) if fits(&broken) => {}
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn accepted(alter: impl FnOnce(&mut Vec<(u32, Observation)>)) {
    let mut altered = history();
    alter(&mut altered);
    assert_eq!(check(timed(altered)), Ok(()));
}

pub(crate) fn receiving(observation: &mut Observation) -> &mut Receiving {
    match observation {
        Observation::Delivered(receiving) => receiving,
        other => panic!("{other:?} is no delivery"),
    }
}

/// Removes the last delivery of n2 and whatever depends on it.
pub(crate) fn lose_last_of_n2(h: &mut Vec<(u32, Observation)>) {
    h.remove(nth_delivery(h, 2, 2));
    h.retain(|(_, o)| !matches!(o, Observation::Told(Event::Settled { .. })));
    let taken = position(h, |p, o| {
        p == 2 && matches!(o, Observation::Consumed { .. })
    });
    h[taken].1 = consumed(2);
}
