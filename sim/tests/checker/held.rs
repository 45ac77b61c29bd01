//! What several members are to hold before anybody delivers it, and before its sender is told so.

use rolecast_protocol::{Event, Seq};
use rolecast_sim::check::{Broken, Ghost, Observation, ProcessId, Recorded, Violation};

use crate::history::{FLOW, delivered, history, origin, position, timed};

/// The history in which n1 and n2 are both to hold what they are sent; `arrivals` says what came to whom, just before which observation.
fn judge(
    alter: impl FnOnce(&mut Vec<(u32, Observation)>),
    arrivals: &[(usize, u32, (u64, u64))],
) -> Result<(), Violation> {
    let mut altered = history();
    for (_, observation) in &mut altered {
        if let Observation::Sent(sending) = observation {
            sending.mode.k_safe = 2;
        }
    }
    alter(&mut altered);
    let mut ghost = Ghost::new().with_arrivals();
    for (index, recorded) in timed(altered).into_iter().enumerate() {
        for &(_, to, (first, last)) in arrivals.iter().filter(|(at, ..)| *at == index) {
            ghost.arrived(ProcessId(to), (origin(0), FLOW), (Seq(first), Seq(last)));
        }
        let Recorded {
            at,
            process,
            observation,
        } = recorded;
        ghost.observe(at, process, observation)?;
    }
    Ok(())
}

#[track_caller]
fn too_few(judged: Result<(), Violation>, seq: u64, had: usize) {
    match judged {
        Err(Violation {
            broken: Broken::HeldByTooFew { message, held, k },
            ..
        }) => assert_eq!((message.seq, held, k), (Seq(seq), had, 2)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_delivered_before_enough_have_it() {
    let first = position(&history(), |_, o| matches!(o, Observation::Delivered(_)));
    let all = [(first, 1, (1, 3)), (first, 2, (1, 3))];
    assert_eq!(judge(|_| (), &all), Ok(()));
    too_few(judge(|_| (), &[(first, 1, (1, 3))]), 2, 1);
    // Of the batch in which it comes, the second member has a part only.
    too_few(
        judge(|_| (), &[(first, 1, (1, 3)), (first, 2, (1, 1))]),
        2,
        1,
    );
    // It comes to the second member after the first one has delivered it.
    too_few(
        judge(|_| (), &[(first, 1, (1, 3)), (first + 1, 2, (1, 3))]),
        2,
        1,
    );
}

#[test]
fn what_came_to_another_life_does_not_count() {
    let first = position(&history(), |_, o| matches!(o, Observation::Delivered(_)));
    let arrivals = [(first, 1, (1, 3)), (first + 2, 2, (1, 3))];
    let restarts = |h: &mut Vec<(u32, Observation)>| {
        h.truncate(first);
        h.push((2, Observation::Crashed));
        let started = h.iter().find(|(process, _)| *process == 2).cloned();
        let (_, mut started) = started.expect("it started");
        if let Observation::Started { identity, .. } = &mut started {
            identity.epoch.0 += 1;
        }
        h.push((3, started));
        h.push((1, delivered(1, &["a", "b"])));
    };
    too_few(
        judge(restarts, &[arrivals[0], (first + 2, 3, (1, 3))]),
        2,
        1,
    );
    assert_eq!(judge(restarts, &[arrivals[0], (first, 2, (1, 3))]), Ok(()));
}

#[test]
fn a_sender_is_not_told_so_before_enough_have_it() {
    let first = position(&history(), |_, o| matches!(o, Observation::Delivered(_)));
    let told = |h: &mut Vec<(u32, Observation)>| {
        let stable = Event::Stable {
            flow: FLOW,
            upto: Seq(3),
        };
        h.insert(first, (0, Observation::Told(stable)));
    };
    let one = [(first, 1, (1, 3)), (first, 2, (1, 2))];
    too_few(judge(told, &one), 3, 1);
    assert_eq!(judge(told, &[one[0], (first, 2, (1, 3))]), Ok(()));
}
