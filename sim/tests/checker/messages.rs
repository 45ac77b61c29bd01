//! Multicasts: nothing invented, nothing twice, nothing out of order, nothing lost in silence.

use bytes::Bytes;
use rolecast_membership::Epoch;
use rolecast_protocol::{Batch, Event, FlowId, InboxId, Seq};
use rolecast_sim::check::{Broken, Observation, Receiving};

use crate::history::{
    CALL, FLOW, INBOX, accepted, batch, down, lose_last_of_n2, node, nth_delivery, origin,
    receiving, refused, settled,
};

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
