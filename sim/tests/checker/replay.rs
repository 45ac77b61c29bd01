//! What was sent before an inbox began comes if it asked for it, is told to be past, and ends where the present begins.

use std::sync::Arc;

use rolecast_protocol::{Seq, Started};
use rolecast_sim::check::{Broken, Observation, check};

use crate::history::{
    FLOW, INBOX, consumed, delivered, history, origin, position, sent, settled, timed,
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

fn begins(first: u64, replayed: u64) -> Observation {
    let (origin, flow, first) = (origin(0), FLOW, Seq(first));
    Observation::Begun {
        inbox: INBOX,
        started: Started {
            origin,
            flow,
            first,
            replayed,
        },
    }
}

/// n2 comes when n0 has sent three messages, and asks for two.
pub(crate) fn later() -> Vec<(u32, Observation)> {
    let mut all = history();
    all.truncate(position(&all, |_, o| matches!(o, Observation::Sent(_))));
    let (inbox, messages) = (INBOX, 2);
    all.extend([
        (2, Observation::AsksForPast { inbox, messages }),
        (0, sent_to_one(1, &["a", "b", "c"])),
        (1, delivered(1, &["a", "b", "c"])),
        (0, sent(4, &["d"])),
        (1, delivered(4, &["d"])),
        (2, begins(2, 2)),
        (2, delivered(2, &["b", "c"])),
        (2, delivered(4, &["d"])),
        (1, consumed(4)),
        (2, consumed(4)),
        (0, settled(4)),
    ]);
    all
}

fn broken(alter: impl FnOnce(&mut Vec<(u32, Observation)>)) -> Option<Broken> {
    let mut altered = later();
    alter(&mut altered);
    check(timed(altered))
        .err()
        .map(|violation| violation.broken)
}

fn begin_otherwise(h: &mut [(u32, Observation)], otherwise: Observation) {
    let place = position(h, |_, o| matches!(o, Observation::Begun { .. }));
    h[place].1 = otherwise;
}

#[test]
fn the_past_is_what_was_asked_for_and_ends_where_the_present_begins() {
    assert_eq!(broken(|_| {}), None);
    for (first, replayed) in [(1, 3), (2, 3), (2, 1)] {
        let broken = broken(|h| begin_otherwise(h, begins(first, replayed)));
        let wrong = matches!(broken, Some(Broken::StartWrong { .. }));
        assert!(wrong, "{replayed} from {first} on: {broken:?}");
    }
    let unasked = broken(|h| h.retain(|(_, o)| !matches!(o, Observation::AsksForPast { .. })));
    assert!(
        matches!(unasked, Some(Broken::StartWrong { .. })),
        "{unasked:?}"
    );
}

#[test]
fn the_past_is_told_to_be_past_and_comes_whole_and_once() {
    let untold = broken(|h| begin_otherwise(h, begins(2, 0)));
    assert!(
        matches!(untold, Some(Broken::Misrouted { .. })),
        "{untold:?}"
    );
    let past = |p: u32, o: &Observation| {
        p == 2 && matches!(o, Observation::Delivered(r) if r.first == Seq(2))
    };
    let missing = broken(|h| drop(h.remove(position(h, past))));
    assert!(
        matches!(missing, Some(Broken::OutOfOrder { .. })),
        "{missing:?}"
    );
    let twice = broken(|h| h.insert(position(h, past) + 1, (2, delivered(3, &["c"]))));
    assert!(
        matches!(twice, Some(Broken::Duplicated { .. })),
        "{twice:?}"
    );
}
