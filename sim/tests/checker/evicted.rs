//! Flows that go on without slow members: they do so in time, and tell both ends.

use std::sync::Arc;
use std::time::Duration;

use rolecast_protocol::{Event, LagReason, Lagged, Seq};
use rolecast_sim::check::{Broken, Observation, check};

use crate::history::{
    FLOW, INBOX, consumed, delivered, history, node, origin, position, sent, settled, timed,
};

/// Messages that are meant for n1 only.
fn sent_to_one(first: u64, payloads: &[&'static str]) -> Observation {
    let Observation::Sent(mut sending) = sent(first, payloads) else {
        unreachable!("it was sent");
    };
    sending.holders = Arc::new([sending.holders[0]]);
    sending.members = 1;
    Observation::Sent(sending)
}

fn evicted(after: u64, upto: u64) -> Observation {
    Observation::Told(Event::Evicted {
        flow: FLOW,
        node: node(2),
        after: Seq(after),
        upto: Seq(upto),
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
            reason: LagReason::Evicted,
        },
    }
}

/// After four milliseconds n0 goes on without n2, which takes what it had, misses a message and comes back.
pub(crate) fn evicting() -> Vec<(u32, Observation)> {
    let mut all = history();
    all.truncate(position(&all, |_, o| matches!(o, Observation::Sent(_))));
    let after = Duration::from_millis(4);
    all.extend([
        (0, Observation::Evicts { flow: FLOW, after }),
        (0, sent(1, &["a", "b"])),
        (0, Observation::Refused { flow: FLOW }),
        (1, delivered(1, &["a", "b"])),
        (2, delivered(1, &["a"])),
        (1, consumed(2)),
        (0, evicted(0, 2)),
        (0, settled(2)),
        (0, Observation::Told(Event::Writable(FLOW))),
        (0, sent_to_one(3, &["c"])),
        (1, delivered(3, &["c"])),
        (2, delivered(2, &["b"])),
        (2, consumed(2)),
        (
            0,
            Observation::Told(Event::Readmitted {
                flow: FLOW,
                node: node(2),
                start: Seq(4),
            }),
        ),
        (0, sent(4, &["d"])),
        (2, lagged(3, 3)),
        (1, delivered(4, &["d"])),
        (2, delivered(4, &["d"])),
        (1, consumed(4)),
        (2, consumed(4)),
        (0, settled(4)),
    ]);
    all
}

fn broken(alter: impl FnOnce(&mut Vec<(u32, Observation)>)) -> Option<Broken> {
    let mut altered = evicting();
    alter(&mut altered);
    check(timed(altered))
        .err()
        .map(|violation| violation.broken)
}

#[test]
fn whoever_is_too_slow_is_gone_on_without() {
    assert_eq!(broken(|_| {}), None);
}

#[test]
fn nobody_is_evicted_before_its_time() {
    let early = broken(|h| {
        let at = position(h, |_, o| matches!(o, Observation::Evicts { .. }));
        let after = Duration::from_millis(40);
        h[at].1 = Observation::Evicts { flow: FLOW, after };
    });
    assert!(
        matches!(early, Some(Broken::EvictedWrongly { .. })),
        "{early:?}"
    );
}

#[test]
fn nobody_waits_for_longer_than_it_said() {
    let late = broken(|h| {
        let at = position(h, |_, o| matches!(o, Observation::Refused { .. })) + 1;
        // An observation takes a millisecond.
        let waiting = (0..400).map(|_| (1, Observation::AtRest));
        h.splice(at..at, waiting);
    });
    assert!(matches!(late, Some(Broken::HeldUp { .. })), "{late:?}");
    let never = broken(|h| {
        h.truncate(position(h, |_, o| matches!(o, Observation::Refused { .. })) + 1);
        h.extend([
            (1, delivered(1, &["a", "b"])),
            (2, delivered(1, &["a", "b"])),
            (1, consumed(2)),
            (2, consumed(2)),
            (0, settled(2)),
        ]);
        h.extend((0..400).map(|_| (1, Observation::AtRest)));
    });
    assert!(matches!(never, Some(Broken::HeldUp { .. })), "{never:?}");
}

#[test]
fn what_it_missed_it_is_told_and_it_comes_back() {
    let untold = broken(|h| h.retain(|(_, o)| !matches!(o, Observation::Lagged { .. })));
    assert!(
        matches!(untold, Some(Broken::LagUntold { .. })),
        "{untold:?}"
    );
    let wrong = broken(|h| {
        let at = position(h, |_, o| matches!(o, Observation::Lagged { .. }));
        h[at].1 = lagged(3, 4);
    });
    assert!(
        matches!(wrong, Some(Broken::LaggedWrong { .. })),
        "{wrong:?}"
    );
    let out = broken(|h| {
        h.truncate(position(h, |_, o| {
            matches!(o, Observation::Told(Event::Readmitted { .. }))
        }));
        h.extend([(1, consumed(3)), (0, settled(3))]);
    });
    assert!(
        matches!(out, Some(Broken::NeverReadmitted { .. })),
        "{out:?}"
    );
}
