//! Flows that keep the last message of each key for slow members: what they leave out has a successor, and both ends know of it.

use bytes::Bytes;
use rolecast_protocol::{BatchBuilder, Event, LagReason, Lagged, Seq};
use rolecast_sim::check::{Broken, Observation, Recorded, check};

use crate::history::{
    FLOW, INBOX, consumed, delivered, history, node, origin, position, range_gap, sent, settled,
    timed,
};

/// Messages with a key each, which is the first letter.
fn keyed(first: u64, payloads: &[&'static str]) -> Observation {
    let Observation::Sent(mut sending) = sent(first, payloads) else {
        unreachable!("it was sent");
    };
    let mut builder = BatchBuilder::new();
    for payload in payloads {
        builder.push_keyed(
            payload.as_bytes(),
            Bytes::from_static(&payload.as_bytes()[..1]),
        );
    }
    sending.batch = builder.take().expect("not empty");
    Observation::Sent(sending)
}

fn lags(after: u64, upto: u64) -> Observation {
    Observation::Told(Event::Lags {
        flow: FLOW,
        node: node(2),
        after: Seq(after),
        upto: Seq(upto),
    })
}

fn left_out(first: u64, last: u64) -> Observation {
    Observation::Told(Event::Superseded {
        flow: FLOW,
        node: node(2),
        first: Seq(first),
        last: Seq(last),
    })
}

fn lagged(first: u64, last: u64) -> Observation {
    Observation::Lagged {
        inbox: INBOX,
        lagged: Lagged {
            origin: origin(0),
            flow: FLOW,
            first: Seq(first),
            last: Seq(last),
            reason: LagReason::Superseded,
        },
    }
}

fn back(start: u64) -> Observation {
    Observation::Told(Event::Readmitted {
        flow: FLOW,
        node: node(2),
        start: Seq(start),
    })
}

/// n0 sends five messages with two keys; n2 lags after the first one, and gets the last two.
pub(crate) fn lagging() -> Vec<(u32, Observation)> {
    let mut all = history();
    all.truncate(position(&all, |_, o| matches!(o, Observation::Sent(_))));
    all.extend([
        (0, Observation::KeepsLast { flow: FLOW }),
        (0, keyed(1, &["a1"])),
        (0, keyed(2, &["a2", "b1"])),
        (0, lags(0, 1)),
        (0, keyed(4, &["b2", "a3"])),
        (1, delivered(1, &["a1", "a2", "b1", "b2", "a3"])),
        (2, delivered(1, &["a1"])),
        (2, consumed(1)),
        (0, left_out(2, 3)),
        (0, back(6)),
        (2, lagged(2, 3)),
        (2, delivered(4, &["b2", "a3"])),
        (1, consumed(5)),
        (2, consumed(5)),
        (0, settled(5)),
    ]);
    all
}

fn run(alter: impl FnOnce(&mut Vec<(u32, Observation)>)) -> Option<Broken> {
    let mut altered = lagging();
    alter(&mut altered);
    let run: Vec<Recorded> = timed(altered);
    check(run).err().map(|violation| violation.broken)
}

fn replace(h: &mut [(u32, Observation)], fits: fn(&Observation) -> bool, by: Observation) {
    let place = h.iter().rposition(|(_, o)| fits(o)).expect("it is there");
    h[place].1 = by;
}

#[test]
fn what_is_superseded_may_be_left_out_and_nothing_else() {
    assert_eq!(run(|_| {}), None);
    // The last of a key.
    let broken = run(|h| {
        replace(
            h,
            |o| matches!(o, Observation::Told(Event::Superseded { .. })),
            left_out(2, 4),
        );
        replace(h, |o| matches!(o, Observation::Lagged { .. }), lagged(2, 4));
    });
    assert!(
        matches!(broken, Some(Broken::LaggedWrong { .. })),
        "{broken:?}"
    );
    // One that had not lagged yet.
    let broken = run(|h| h.retain(|(_, o)| !matches!(o, Observation::Told(Event::Lags { .. }))));
    assert!(
        matches!(broken, Some(Broken::EvictedWrongly { .. })),
        "{broken:?}"
    );
    // As if it were lost.
    let broken = run(|h| {
        replace(
            h,
            |o| matches!(o, Observation::Lagged { .. }),
            range_gap(2, 3),
        );
    });
    assert!(
        matches!(broken, Some(Broken::GapUnjustified { .. })),
        "{broken:?}"
    );
}

#[test]
fn what_is_left_out_is_known_at_both_ends() {
    let broken =
        run(|h| h.retain(|(_, o)| !matches!(o, Observation::Told(Event::Superseded { .. }))));
    assert!(
        matches!(broken, Some(Broken::SupersededUntold { .. })),
        "{broken:?}"
    );
    let broken = run(|h| h.retain(|(_, o)| !matches!(o, Observation::Lagged { .. })));
    assert!(
        matches!(broken, Some(Broken::OutOfOrder { .. })),
        "{broken:?}"
    );
    let broken = run(|h| {
        replace(
            h,
            |o| matches!(o, Observation::Lagged { .. }),
            delivered(2, &["a2", "b1"]),
        );
    });
    assert!(
        matches!(broken, Some(Broken::SupersededCame { .. })),
        "{broken:?}"
    );
}

#[test]
fn nobody_lags_for_good() {
    let broken = run(|h| {
        h.retain(|(_, o)| !matches!(o, Observation::Told(Event::Readmitted { .. })));
    });
    assert!(
        matches!(broken, Some(Broken::NeverReadmitted { .. })),
        "{broken:?}"
    );
}
