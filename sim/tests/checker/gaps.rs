//! Gaps, lives and inboxes: what is not delivered is said not to be, for a reason, and to those whom it concerns.

use rolecast_membership::{Epoch, Event as MembershipEvent, Tenure};
use rolecast_protocol::{Event, Gap, InboxId, Seq};
use rolecast_sim::check::{Broken, Observation};

use crate::history::{
    FLOW, INBOX, accepted, consumed, delivered, down, identity, lose_last_of_n2, node,
    nth_delivery, position, range_gap, receiving, refused, role, settled,
};

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
    // Nobody has it, and one of two members hears of it.
    refused(
        |h| {
            lose_last_of_n2(h);
            h.remove(nth_delivery(h, 1, 1));
            let taken = position(h, |p, o| {
                p == 1 && matches!(o, Observation::Consumed { .. })
            });
            h[taken].1 = consumed(2);
            h.push((0, Observation::Crashed));
            h.push((1, range_gap(3, 3)));
        },
        |b| matches!(b, Broken::Untold { .. }),
    );
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
