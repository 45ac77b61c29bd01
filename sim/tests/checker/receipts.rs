//! What senders are told of their flows, and how much may be on the way.

use rolecast_protocol::Event;
use rolecast_sim::check::{Broken, Ghost, Observation, Recorded, Violation};

use crate::history::{history, position, refused, sent, settled, timed};

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
fn a_window_that_is_full_takes_nothing_more() {
    let run = |window| {
        let mut ghost = Ghost::with_limits(&rolecast_protocol::Limits {
            flow_window_bytes: window,
            ..rolecast_protocol::Limits::default()
        });
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
