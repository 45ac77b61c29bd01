//! Nobody lags, or is evicted, for whom there is room: in the window of the flow and on every way to it.

use std::sync::Arc;

use rolecast_protocol::{CallKind, Event, FlowId, Limits, Seq};
use rolecast_sim::check::{Broken, Ghost, Observation, Sending};

use crate::history::{
    CALL, FLOW, INBOX, asks, batch, history, node, position, replies, sent, timed,
};

/// What goes along with a batch or a call at most.
const WORDS_BYTES: usize = 1 << 10;
const OTHER: FlowId = FlowId(2);

fn sending(first: u64, payloads: &[&'static str]) -> Sending {
    match sent(first, payloads) {
        Observation::Sent(sending) => sending,
        other => unreachable!("{other:?} was sent"),
    }
}

/// Messages to n1 and n2, of another flow.
fn elsewhere(payloads: &[&'static str]) -> Observation {
    let flow = OTHER;
    Observation::Sent(Sending {
        flow,
        ..sending(1, payloads)
    })
}

/// The same to n1 only.
fn to_another(payloads: &[&'static str]) -> Observation {
    let sending = sending(1, payloads);
    let holders = Arc::new([sending.holders[0]]);
    Observation::Sent(Sending {
        flow: OTHER,
        members: 1,
        holders,
        ..sending
    })
}

fn lags(upto: u64) -> Observation {
    Observation::Told(Event::Lags {
        flow: FLOW,
        node: node(2),
        after: Seq(0),
        upto: Seq(upto),
    })
}

/// What is counted for messages that were sent together.
fn bytes(payloads: &[&'static str]) -> usize {
    batch(payloads).cost_bytes() + WORDS_BYTES
}

/// What is wrong when n2 lags behind n0 that sent it "a", after something else happened, where a flow and a way have so much room.
fn lagging(
    before: impl IntoIterator<Item = (u32, Observation)>,
    (flow_window_bytes, session_bytes_max): (usize, usize),
) -> Option<&'static str> {
    let mut all = history();
    all.truncate(position(&all, |_, o| matches!(o, Observation::Sent(_))));
    all.push((0, Observation::KeepsLast { flow: FLOW }));
    all.extend(before);
    all.extend([(0, sent(1, &["a"])), (0, lags(1))]);
    let limits = Limits {
        flow_window_bytes,
        session_bytes_max,
        ..Limits::default()
    };
    let mut ghost = Ghost::with_limits(&limits);
    let mut broken = timed(all).into_iter().filter_map(|recorded| {
        let observed = ghost.observe(recorded.at, recorded.process, recorded.observation);
        observed.err().map(|violation| violation.broken)
    });
    match broken.next()? {
        Broken::EvictedWrongly { what, .. } => Some(what),
        other => panic!("{other:?}"),
    }
}

const AMPLE: usize = 1 << 20;
const OPEN: Option<&str> = Some("its window is open");

#[test]
fn a_member_lags_as_soon_as_the_window_is_full_and_no_sooner() {
    let used = batch(&["a"]).cost_bytes();
    assert_eq!(lagging([], (used, AMPLE)), None);
    assert_eq!(lagging([], (used + 1, AMPLE)), OPEN);
}

#[test]
fn what_else_was_sent_to_a_member_may_be_on_the_same_way() {
    let used = bytes(&["a"]) + bytes(&["b", "c"]);
    for from in [0, 1] {
        let other = || [(from, elsewhere(&["b", "c"]))];
        assert_eq!(lagging(other(), (AMPLE, used - 1)), None, "by n{from}");
        assert_eq!(lagging(other(), (AMPLE, used)), OPEN, "by n{from}");
    }
    let other = [(0, to_another(&["b", "c"]))];
    assert_eq!(lagging(other, (AMPLE, used - 1)), OPEN, "not to n2");
}

#[test]
fn calls_and_answers_may_be_on_the_way_too() {
    let asked = || [(0, asks(CALL, CallKind::Request))];
    let used = bytes(&["a"]) + b"question".len() + WORDS_BYTES;
    assert_eq!(lagging(asked(), (AMPLE, used - 1)), None);
    assert_eq!(lagging(asked(), (AMPLE, used)), OPEN);
    let answered = || asked().into_iter().chain([(1, replies(Ok("answer")))]);
    let used = used + b"answer".len() + WORDS_BYTES;
    assert_eq!(lagging(answered(), (AMPLE, used - 1)), None);
    assert_eq!(lagging(answered(), (AMPLE, used)), OPEN);
}

#[test]
fn what_was_sent_before_a_member_came_is_on_its_way_if_it_asked_for_it() {
    let (inbox, messages) = (INBOX, 2);
    let before = || {
        let sending = sending(1, &["b", "c"]);
        let holders = Arc::new([sending.holders[0]]);
        let sent = Observation::Sent(Sending {
            flow: OTHER,
            members: 1,
            holders,
            ..sending
        });
        [(0, sent), (2, Observation::AsksForPast { inbox, messages })]
    };
    let used = bytes(&["a"]) + bytes(&["b", "c"]);
    assert_eq!(lagging(before(), (AMPLE, used - 1)), None);
    assert_eq!(lagging(before(), (AMPLE, used)), OPEN);
}

#[test]
fn whoever_was_sent_nothing_lags_only_if_there_is_no_room_on_the_way() {
    let early = |max: usize| {
        let mut all = history();
        all.truncate(position(&all, |_, o| matches!(o, Observation::Sent(_))));
        all.push((0, Observation::KeepsLast { flow: FLOW }));
        all.push((0, elsewhere(&["b"])));
        all.push((0, lags(0)));
        let limits = Limits {
            session_bytes_max: max,
            ..Limits::default()
        };
        let mut ghost = Ghost::with_limits(&limits);
        let observed = timed(all)
            .into_iter()
            .map(|recorded| ghost.observe(recorded.at, recorded.process, recorded.observation));
        observed.collect::<Result<Vec<_>, _>>().is_ok()
    };
    let used = bytes(&["b"]);
    assert!(early(used - 1));
    assert!(!early(used));
}
