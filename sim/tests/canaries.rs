//! Bugs planted on purpose are found: the checks can fail.

#![cfg(feature = "canaries")]

use rolecast_protocol::Canary;
use rolecast_sim::check::{Broken, Violation};
use rolecast_sim::{Scenario, run};

/// The first violation that fits within so many seeds, and at which seed.
fn find(canary: Canary, seeds: u64, fits: impl Fn(&Broken) -> bool) -> Option<(u64, Violation)> {
    (0..seeds).find_map(|seed| {
        let scenario = Scenario {
            canary: Some(rolecast_sim::canary::name(canary)),
            ..Scenario::draw(seed, None)
        };
        let violation = run(&scenario).violation?;
        fits(&violation.broken).then_some((seed, violation))
    })
}

#[test]
fn a_forgotten_relay_breaks_agreement_within_a_hundred_seeds() {
    let found = find(Canary::RelayForgotten, 100, |b| {
        matches!(b, Broken::Agreement { .. })
    });
    let (seed, violation) = found.expect("agreement is broken");
    println!("seed {seed}: {violation}");
}

#[test]
fn a_second_delivery_is_found_within_ten_seeds() {
    let found = find(Canary::DuplicateDelivered, 10, |b| {
        matches!(b, Broken::Duplicated { .. })
    });
    assert!(found.is_some());
}

#[test]
fn ignored_order_is_found_within_three_hundred_seeds() {
    let found = find(Canary::OrderIgnored, 300, |b| {
        matches!(b, Broken::OutOfOrder { .. })
    });
    assert!(found.is_some());
}

#[test]
fn a_forgotten_repetition_is_found_within_a_hundred_seeds() {
    let found = find(Canary::ResendForgotten, 100, |_| true);
    assert!(found.is_some());
}
