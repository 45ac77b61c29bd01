//! The checks refuse every trace in which a promise is broken, and none in which all are kept.
//!
//! First a short history written by hand, altered in many ways; then histories recorded from runs, altered at drawn places.

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
    Broken, Called, Callee, Calling, Ghost, Holder, Name, Observation, ProcessId, Receiving,
    Recorded, Sending, Violation, check,
};
use rolecast_sim::random::{Purpose, Stream};
use rolecast_sim::{Scenario, run_recorded};

const FLOW: FlowId = FlowId(1);
const INBOX: InboxId = InboxId(1);
const CALL: CallId = CallId(1);
const ONE_WAY: CallId = CallId(2);

fn node(number: u32) -> NodeId {
    NodeId::from_bytes([number as u8 + 1; 32])
}

fn identity(number: u32, epoch: u64) -> Identity {
    let addr = ([10, 0, 0, number as u8], 7400).into();
    Identity {
        id: node(number),
        epoch: Epoch(epoch),
        addr,
    }
}

fn origin(number: u32) -> Origin {
    Origin {
        node: node(number),
        epoch: Epoch(1),
    }
}

fn role() -> RoleName {
    "r".parse().expect("a role name")
}

fn batch(payloads: &[&'static str]) -> Batch {
    let mut builder = BatchBuilder::new();
    payloads
        .iter()
        .for_each(|payload| builder.push(payload.as_bytes(), None));
    builder.take().expect("not empty")
}

fn sent(first: u64, payloads: &[&'static str]) -> Observation {
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
        dissemination: Dissemination::Eager,
        first: Seq(first),
        last: Seq(first + payloads.len() as u64 - 1),
        members: 2,
        holders,
        batch: batch(payloads),
    })
}

fn delivered(first: u64, payloads: &[&'static str]) -> Observation {
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

fn consumed(upto: u64) -> Observation {
    Observation::Consumed {
        inbox: INBOX,
        origin: origin(0),
        flow: FLOW,
        upto,
    }
}

fn settled(upto: u64) -> Observation {
    Observation::Told(Event::Settled {
        flow: FLOW,
        upto: Seq(upto),
    })
}

fn answered(call: CallId, number: u32, answer: Answer) -> Observation {
    Observation::Told(Event::Answered {
        call,
        node: Some(node(number)),
        answer,
        last: true,
    })
}

fn reply_to(call: CallId) -> ReplyTo {
    ReplyTo {
        origin: origin(0),
        call,
    }
}

fn asks(call: CallId, kind: CallKind) -> Observation {
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

fn called(call: CallId, wants_reply: bool) -> Observation {
    let payload = Bytes::from_static(b"question");
    Observation::Called(Called {
        inbox: INBOX,
        from: reply_to(call),
        wants_reply,
        payload,
    })
}

fn replies(answer: Result<&'static str, Refusal>) -> Observation {
    let answer = answer.map(|text| Bytes::from_static(text.as_bytes()));
    Observation::Replies {
        to: reply_to(CALL),
        answer,
    }
}

/// n0 sends three messages to n1 and n2 and asks two questions, and all goes well.
fn history() -> Vec<(u32, Observation)> {
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
fn timed(history: Vec<(u32, Observation)>) -> Vec<Recorded> {
    let places = (1..).zip(history);
    places
        .map(|(millis, (process, observation))| Recorded {
            at: Time::from_millis(millis),
            process: ProcessId(process),
            observation,
        })
        .collect()
}

fn position(of: &[(u32, Observation)], fits: impl Fn(u32, &Observation) -> bool) -> usize {
    of.iter()
        .position(|(process, observation)| fits(*process, observation))
        .expect("it is there")
}

fn nth_delivery(history: &[(u32, Observation)], process: u32, nth: usize) -> usize {
    let delivered = history.iter().enumerate().filter(|(_, (p, observation))| {
        *p == process && matches!(observation, Observation::Delivered(_))
    });
    delivered
        .map(|(index, _)| index)
        .nth(nth)
        .expect("it is there")
}

fn down(number: u32) -> Observation {
    Observation::Told(Event::Membership(Box::new(MembershipEvent::Down(
        identity(number, 1),
    ))))
}

fn range_gap(first: u64, last: u64) -> Observation {
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
fn refused(alter: impl FnOnce(&mut Vec<(u32, Observation)>), fits: impl Fn(&Broken) -> bool) {
    let mut altered = history();
    alter(&mut altered);
    match check(timed(altered)) {
        Err(Violation { broken, .. }) if fits(&broken) => {}
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn accepted(alter: impl FnOnce(&mut Vec<(u32, Observation)>)) {
    let mut altered = history();
    alter(&mut altered);
    assert_eq!(check(timed(altered)), Ok(()));
}

fn receiving(observation: &mut Observation) -> &mut Receiving {
    match observation {
        Observation::Delivered(receiving) => receiving,
        other => panic!("{other:?} is no delivery"),
    }
}

#[test]
fn what_goes_well_is_accepted() {
    accepted(|_| {});
}

#[test]
fn forged_messages_are_refused() {
    let change = |with: fn(&mut Receiving)| {
        move |h: &mut Vec<(u32, Observation)>| {
            let index = nth_delivery(h, 1, 0);
            with(receiving(&mut h[index].1));
        }
    };
    refused(change(|r| r.batch = batch(&["a", "x"])), |b| {
        matches!(b, Broken::Altered { .. })
    });
    refused(change(|r| r.batch = batch(&["b", "a"])), |b| {
        matches!(b, Broken::Altered { .. })
    });
    refused(
        change(|r| r.batch = Batch::single(Bytes::from_static(b"a"), Some(CALL))),
        |b| matches!(b, Broken::Altered { .. }),
    );
    refused(change(|r| r.first = Seq(9)), |b| {
        matches!(b, Broken::NeverSent { .. })
    });
    refused(change(|r| r.flow = FlowId(2)), |b| {
        matches!(b, Broken::FromNowhere { .. })
    });
    refused(change(|r| r.origin = origin(2)), |b| {
        matches!(b, Broken::FromNowhere { .. })
    });
    refused(change(|r| r.origin = origin(7)), |b| {
        matches!(b, Broken::FromNowhere { .. })
    });
    refused(change(|r| r.origin.epoch = Epoch(2)), |b| {
        matches!(b, Broken::FromNowhere { .. })
    });
    refused(change(|r| r.inbox = InboxId(9)), |b| {
        matches!(b, Broken::NoInbox { .. })
    });
}

#[test]
fn a_message_that_comes_twice_is_refused() {
    for (process, nth) in [(1, 0), (1, 1), (2, 0), (2, 2)] {
        refused(
            |h| {
                let index = nth_delivery(h, process, nth);
                h.insert(index + 1, h[index].clone());
            },
            |b| matches!(b, Broken::Duplicated { .. }),
        );
    }
}

#[test]
fn disorder_is_refused() {
    refused(
        |h| {
            let (one, other) = (nth_delivery(h, 1, 0), nth_delivery(h, 1, 1));
            h.swap(one, other);
        },
        |b| matches!(b, Broken::OutOfOrder { missing: 1, .. }),
    );
    refused(
        |h| {
            let (one, other) = (nth_delivery(h, 2, 1), nth_delivery(h, 2, 2));
            h.swap(one, other);
        },
        |b| matches!(b, Broken::OutOfOrder { missing: 2, .. }),
    );
    refused(
        |h| {
            h.remove(nth_delivery(h, 2, 1));
        },
        |b| matches!(b, Broken::OutOfOrder { missing: 2, .. }),
    );
}

/// Removes the last delivery of n2 and whatever depends on it.
fn lose_last_of_n2(h: &mut Vec<(u32, Observation)>) {
    h.remove(nth_delivery(h, 2, 2));
    h.retain(|(_, o)| !matches!(o, Observation::Told(Event::Settled { .. })));
    let taken = position(h, |p, o| {
        p == 2 && matches!(o, Observation::Consumed { .. })
    });
    h[taken].1 = consumed(2);
}

#[test]
fn a_message_that_never_comes_is_refused() {
    refused(lose_last_of_n2, |b| matches!(b, Broken::Validity { .. }));
    refused(
        |h| {
            lose_last_of_n2(h);
            h.push((0, Observation::Crashed));
        },
        |b| matches!(b, Broken::Agreement { .. }),
    );
    refused(
        |h| {
            lose_last_of_n2(h);
            h.push((0, Observation::Left { drained: true }));
        },
        |b| matches!(b, Broken::LostInLeaving { .. }),
    );
}

#[test]
fn nothing_is_owed_to_or_by_those_who_are_gone() {
    // The receiver died.
    accepted(|h| {
        lose_last_of_n2(h);
        h.push((2, Observation::Crashed));
        h.push((
            0,
            Observation::Told(Event::Lost {
                flow: FLOW,
                node: node(2),
                after: Seq(2),
                upto: Seq(3),
            }),
        ));
        h.push((0, settled(3)));
    });
    // It dropped the role.
    accepted(|h| {
        lose_last_of_n2(h);
        h.push((2, Observation::Dropped { inbox: INBOX }));
        h.push((0, settled(3)));
    });
    // It was declared down.
    accepted(|h| {
        lose_last_of_n2(h);
        h.push((1, down(2)));
        h.push((0, Observation::Crashed));
    });
    // The sender died, and so did the only one that had the message.
    accepted(|h| {
        lose_last_of_n2(h);
        h.push((0, Observation::Crashed));
        h.push((1, Observation::Crashed));
    });
}

#[test]
fn gaps_need_a_reason_and_name_what_is_lost() {
    let in_place_of_last = |gap: Observation, before: Option<Observation>| {
        move |h: &mut Vec<(u32, Observation)>| {
            lose_last_of_n2(h);
            h.extend(before.map(|before| (0, before)));
            h.push((2, gap));
        }
    };
    let crash = || Some(Observation::Crashed);
    refused(in_place_of_last(range_gap(3, 3), None), |b| {
        matches!(b, Broken::GapUnjustified { .. })
    });
    // With a reason, but another member has it.
    refused(in_place_of_last(range_gap(3, 3), crash()), |b| {
        matches!(b, Broken::Agreement { .. })
    });
    for (first, last) in [(2, 3), (3, 4), (4, 3), (1, 1)] {
        refused(in_place_of_last(range_gap(first, last), crash()), |b| {
            matches!(b, Broken::GapWrong { .. })
        });
    }
    // Nobody has it: the gap is right, and then the message must not come.
    let nobody = |h: &mut Vec<(u32, Observation)>| {
        lose_last_of_n2(h);
        h.push((0, Observation::Crashed));
        h.push((1, Observation::Crashed));
        h.push((2, range_gap(3, 3)));
    };
    accepted(nobody);
    refused(
        |h| {
            nobody(h);
            h.push((2, delivered(3, &["c"])));
        },
        |b| matches!(b, Broken::DeliveredAfterGap { .. }),
    );
}

#[test]
fn a_renewed_node_tells_its_inboxes_and_starts_afresh() {
    let renewed = |epoch| Observation::Renewed {
        identity: identity(2, epoch),
        tenures: vec![(INBOX, Tenure(2))],
    };
    let told = |epoch| Observation::Gapped {
        inbox: INBOX,
        gap: Gap::DeclaredDown {
            epoch: Epoch(epoch),
        },
    };
    let early = |h: &mut Vec<(u32, Observation)>, then: Vec<Observation>| {
        lose_last_of_n2(h);
        h.push((1, down(2)));
        h.extend(then.into_iter().map(|observation| (2, observation)));
        h.push((
            0,
            Observation::Told(Event::Lost {
                flow: FLOW,
                node: node(2),
                after: Seq(2),
                upto: Seq(3),
            }),
        ));
        h.push((0, settled(3)));
    };
    accepted(|h| early(h, vec![renewed(2), told(1), Observation::AtRest]));
    accepted(|h| early(h, vec![told(1), renewed(2), Observation::AtRest]));
    refused(
        |h| early(h, vec![renewed(2), Observation::AtRest]),
        |b| matches!(b, Broken::GapMissing { .. }),
    );
    refused(
        |h| early(h, vec![renewed(2), told(1), told(1)]),
        |b| matches!(b, Broken::GapWrong { .. }),
    );
    refused(
        |h| early(h, vec![told(5)]),
        |b| matches!(b, Broken::GapWrong { .. }),
    );
    refused(
        |h| early(h, vec![renewed(1)]),
        |b| matches!(b, Broken::EpochFell { .. }),
    );
    // What was meant for the former life must not come to the present one.
    refused(
        |h| early(h, vec![renewed(2), told(1), delivered(3, &["c"])]),
        |b| matches!(b, Broken::Misrouted { .. }),
    );
}

#[test]
fn closed_inboxes_and_strangers_get_nothing() {
    refused(
        |h| {
            let index = nth_delivery(h, 2, 2);
            h.insert(index, (2, Observation::Dropped { inbox: INBOX }));
        },
        |b| matches!(b, Broken::AfterDrop { .. }),
    );
    // An inbox that was opened after the destination set was stamped.
    refused(
        |h| {
            let inbox = InboxId(2);
            h.push((
                0,
                Observation::TookUp {
                    inbox,
                    role: role(),
                    tenure: Tenure(2),
                },
            ));
            let mut stray = delivered(1, &["a"]);
            receiving(&mut stray).inbox = inbox;
            h.push((0, stray));
        },
        |b| matches!(b, Broken::Misrouted { .. }),
    );
    refused(
        |h| {
            let index = position(h, |_, o| matches!(o, Observation::TookUp { .. }));
            h.remove(index);
        },
        |b| matches!(b, Broken::NeverHeld { .. }),
    );
}

#[test]
fn receipts_say_what_is() {
    refused(
        |h| {
            let index = position(h, |p, o| {
                p == 2 && matches!(o, Observation::Consumed { .. })
            });
            h.remove(index);
        },
        |b| matches!(b, Broken::SettledEarly { .. }),
    );
    refused(
        |h| h.push((0, settled(4))),
        |b| matches!(b, Broken::ReceiptWrong { .. }),
    );
    refused(
        |h| h.retain(|(_, o)| !matches!(o, Observation::Told(Event::Settled { .. }))),
        |b| matches!(b, Broken::NeverSettled { .. }),
    );
    for (first, payloads) in [(5, ["d"]), (3, ["d"]), (0, ["d"])] {
        refused(
            |h| h.push((0, sent(first, &payloads))),
            |b| matches!(b, Broken::Misnumbered { .. }),
        );
    }
}

#[test]
fn calls_end_once_with_what_the_holder_said() {
    let answer_at = |h: &[(u32, Observation)], nth: usize| {
        let answers = h
            .iter()
            .enumerate()
            .filter(|(_, (_, o))| matches!(o, Observation::Told(Event::Answered { .. })));
        answers
            .map(|(index, _)| index)
            .nth(nth)
            .expect("it is there")
    };
    let replaced = |nth: usize, with: Observation| {
        move |h: &mut Vec<(u32, Observation)>| {
            let index = answer_at(h, nth);
            h[index].1 = with;
        }
    };
    let reply = |text: &'static str| Answer::Reply(Bytes::from_static(text.as_bytes()));
    refused(replaced(0, answered(CALL, 1, reply("lie"))), |b| {
        matches!(b, Broken::AnswerForged { .. })
    });
    refused(replaced(0, answered(CALL, 2, reply("answer"))), |b| {
        matches!(b, Broken::AnswerForged { .. })
    });
    refused(replaced(0, answered(CALL, 1, Answer::Taken)), |b| {
        matches!(b, Broken::AnswerUnfit { .. })
    });
    refused(replaced(0, answered(CALL, 1, Answer::NotSent)), |b| {
        matches!(b, Broken::CallSeen { .. })
    });
    refused(
        replaced(0, answered(CALL, 1, Answer::Refused(Refusal::NotHolder))),
        |b| matches!(b, Broken::CallSeen { .. }),
    );
    refused(
        replaced(0, answered(CALL, 1, Answer::Refused(Refusal::Dropped))),
        |b| matches!(b, Broken::AnswerForged { .. }),
    );
    refused(replaced(0, answered(CALL, 1, Answer::TimedOut)), |b| {
        matches!(b, Broken::CallEarly { .. })
    });
    refused(replaced(1, answered(ONE_WAY, 1, Answer::Taken)), |b| {
        matches!(b, Broken::CallUnseen { .. })
    });
    refused(replaced(1, answered(ONE_WAY, 2, reply("x"))), |b| {
        matches!(b, Broken::AnswerUnfit { .. })
    });
    refused(replaced(1, answered(CALL, 2, Answer::Unknown)), |b| {
        matches!(b, Broken::AnsweredAfterEnd { .. })
    });
    refused(
        |h| {
            let index = answer_at(h, 0);
            h.insert(index + 1, h[index].clone());
        },
        |b| matches!(b, Broken::AnsweredAfterEnd { .. }),
    );
    refused(
        |h| h.push((0, asks(CALL, CallKind::OneWay))),
        |b| matches!(b, Broken::CallReused { .. }),
    );
    accepted(replaced(0, answered(CALL, 1, Answer::Unknown)));
}

#[test]
fn calls_reach_one_application_that_was_meant() {
    let at = |h: &[(u32, Observation)]| position(h, |_, o| matches!(o, Observation::Called(_)));
    refused(
        |h| h.insert(at(h) + 1, h[at(h)].clone()),
        |b| matches!(b, Broken::CallTwice { .. }),
    );
    refused(
        |h| h.insert(at(h) + 1, (2, called(CALL, true))),
        |b| matches!(b, Broken::CallAtTwo { .. }),
    );
    refused(
        |h| {
            let index = at(h);
            h[index].1 = called(CALL, false);
        },
        |b| matches!(b, Broken::CallAltered { .. }),
    );
    refused(
        |h| h.insert(at(h), (1, called(CallId(9), true))),
        |b| matches!(b, Broken::CallFromNowhere { .. }),
    );
    refused(
        |h| {
            let inbox = InboxId(2);
            let other = "other".parse().expect("a role name");
            let stray = Called {
                inbox,
                from: reply_to(CALL),
                wants_reply: true,
                payload: Bytes::from_static(b"question"),
            };
            let index = at(h);
            h[index].1 = Observation::Called(stray);
            h.insert(
                index,
                (
                    1,
                    Observation::TookUp {
                        inbox,
                        role: other,
                        tenure: Tenure(3),
                    },
                ),
            );
        },
        |b| matches!(b, Broken::CallMisrouted { .. }),
    );
    // Refused by the first, and so free to be handed to the second.
    accepted(|h| {
        let index = at(h);
        h[index + 1].1 = replies(Err(Refusal::Busy));
        h.insert(index + 2, (2, called(CALL, true)));
        h.insert(index + 3, (2, replies(Ok("answer"))));
        h[index + 4].1 = answered(CALL, 2, Answer::Reply(Bytes::from_static(b"answer")));
    });
}

#[test]
fn a_call_that_never_ends_is_refused() {
    let mut altered = history();
    altered.push((0, asks(CallId(3), CallKind::Request)));
    let mut altered = timed(altered);
    let late = Recorded {
        at: Time::from_millis(20_000),
        process: ProcessId(0),
        observation: Observation::AtRest,
    };
    altered.push(late);
    assert!(matches!(
        check(altered),
        Err(Violation {
            broken: Broken::CallLate { .. },
            ..
        })
    ));
}

#[test]
fn accusations_and_false_farewells_are_refused() {
    let violation = Event::Violation {
        peer: node(1),
        what: "nothing",
    };
    refused(
        |h| h.push((0, Observation::Told(violation))),
        |b| matches!(b, Broken::Accusation { .. }),
    );
    let left = Event::Membership(Box::new(MembershipEvent::Left(identity(1, 1))));
    refused(
        |h| h.push((0, Observation::Told(left))),
        |b| matches!(b, Broken::NeverLeft { .. }),
    );
    let gone = Event::Membership(Box::new(MembershipEvent::Superseded(identity(0, 9))));
    refused(
        |h| h.push((0, Observation::Told(gone))),
        |b| matches!(b, Broken::NeverSuperseded),
    );
}

/// A way to break a recorded run at the delivery with this index; `false` if it cannot be applied there.
type Alteration = fn(&mut Vec<Recorded>, usize, &mut Stream) -> bool;

/// The next delivery of the same flow into the same inbox.
fn follower(run: &[Recorded], index: usize) -> Option<usize> {
    let key = |recorded: &Recorded| match &recorded.observation {
        Observation::Delivered(r) => Some((recorded.process, r.inbox, r.origin, r.flow)),
        _ => None,
    };
    let wanted = key(&run[index]);
    (index + 1..run.len()).find(|&later| key(&run[later]) == wanted)
}

const ALTERATIONS: [(&str, Alteration); 8] = [
    ("twice", |run, index, _| {
        run.insert(index + 1, run[index].clone());
        true
    }),
    ("left out", |run, index, _| {
        let followed = follower(run, index).is_some();
        if followed {
            run.remove(index);
        }
        followed
    }),
    ("swapped", |run, index, _| match follower(run, index) {
        Some(other) => {
            let later = run[other].observation.clone();
            run[other].observation = std::mem::replace(&mut run[index].observation, later);
            true
        }
        None => false,
    }),
    ("forged", |run, index, _| {
        let receiving = receiving(&mut run[index].observation);
        let forged = Batch::single(Bytes::from_static(b"forged"), None);
        receiving.batch = forged;
        true
    }),
    ("of another origin", |run, index, _| {
        receiving(&mut run[index].observation).origin.node = node(99);
        true
    }),
    ("of another life", |run, index, _| {
        receiving(&mut run[index].observation).origin.epoch.0 += 1_000_000_000;
        true
    }),
    ("at another position", |run, index, stream| {
        receiving(&mut run[index].observation).first.0 += stream.between(1, 5);
        true
    }),
    ("in another inbox", |run, index, _| {
        receiving(&mut run[index].observation).inbox = InboxId(1_000_000);
        true
    }),
];

#[test]
fn recorded_runs_are_accepted_and_refused_once_altered() {
    let mut applied = [0; ALTERATIONS.len()];
    for seed in 1_000..1_025 {
        let outcome = run_recorded(&Scenario::draw(seed, None));
        assert_eq!(outcome.violation, None, "seed {seed}");
        let run = outcome.observations;
        assert_eq!(check(run.clone()), Ok(()), "seed {seed}");
        let deliveries: Vec<usize> = run
            .iter()
            .enumerate()
            .filter(|(_, r)| matches!(r.observation, Observation::Delivered(_)))
            .map(|(index, _)| index)
            .collect();
        if deliveries.is_empty() {
            continue;
        }
        let mut stream = Stream::new(seed, Purpose::Application, 7);
        for (number, (name, alter)) in ALTERATIONS.iter().enumerate() {
            let index = *stream.pick(&deliveries);
            let mut altered = run.clone();
            if alter(&mut altered, index, &mut stream) {
                applied[number] += 1;
                assert!(check(altered).is_err(), "seed {seed}: {name} at {index}");
            }
        }
    }
    assert!(applied.iter().all(|&times| times >= 5), "{applied:?}");
}

#[test]
fn a_window_that_is_full_takes_nothing_more() {
    let run = |window| {
        let mut ghost = Ghost::with_window(window);
        timed(history()).into_iter().try_for_each(
            |Recorded {
                 at,
                 process,
                 observation,
             }| { ghost.observe(at, process, observation).map(|_| ()) },
        )
    };
    assert_eq!(run(5), Ok(()));
    assert!(matches!(
        run(4),
        Err(Violation {
            broken: Broken::Bound {
                used: 4,
                limit: 4,
                ..
            },
            ..
        })
    ));
}
