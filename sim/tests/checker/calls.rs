//! Calls: each ends once and in time, with what the holder said.

use bytes::Bytes;
use rolecast_membership::{Tenure, Time};
use rolecast_protocol::{Answer, CallId, CallKind, Event, InboxId, Refusal};
use rolecast_sim::check::{Broken, Called, Observation, ProcessId, Recorded, Violation, check};

use crate::history::{
    CALL, ONE_WAY, accepted, answered, asks, called, history, position, refused, replies, reply_to,
    timed,
};

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
