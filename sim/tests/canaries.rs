//! Bugs planted on purpose are found: the checks can fail.

#![cfg(feature = "canaries")]

use rolecast_protocol::Canary;
use rolecast_sim::canary::{self, RARE, SOON};
use rolecast_sim::check::{Broken, Violation};
use rolecast_sim::{Family, Scenario, run};

/// The first violation that fits within so many seeds, and at which seed.
fn find(canary: Canary, seeds: u64, fits: impl Fn(&Broken) -> bool) -> Option<(u64, Violation)> {
    (0..seeds).find_map(|seed| {
        let scenario = Scenario {
            canary: Some(canary::name(canary)),
            ..Scenario::draw(seed, None)
        };
        let violation = run(&scenario).violation?;
        fits(&violation.broken).then_some((seed, violation))
    })
}

#[test]
fn every_bug_but_the_rare_ones_is_found_soon() {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let all = Canary::ALL.iter().filter(|canary| !RARE.contains(canary));
    let missed: Vec<String> = all
        .map(|&canary| canary::search(canary, SOON, jobs, || {}))
        .filter(|search| search.found.is_none())
        .map(|search| search.canary)
        .collect();
    assert_eq!(missed, [] as [String; 0], "not found within {SOON} seeds");
}

#[test]
fn a_bug_has_a_name_a_sentence_and_a_line_in_the_list() {
    let list = include_str!("../../docs/canaries.md");
    for &canary in Canary::ALL {
        let name = canary::name(canary);
        assert_eq!(canary::named(&name.to_lowercase()), Some(canary));
        let line = format!("| `{name}` | {} |", canary.about().trim_end_matches('.'));
        assert!(list.contains(&line), "docs/canaries.md has no {line:?}");
    }
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
fn ignored_order_is_found_within_a_hundred_seeds_of_relays() {
    let eager = Family::named("eager").expect("there is one");
    let order = |seed| {
        let scenario = Scenario {
            canary: Some(canary::name(Canary::OrderIgnored)),
            ..Scenario::draw_from(eager, seed, None)
        };
        let violation = run(&scenario).violation;
        violation.is_some_and(|v| matches!(v.broken, Broken::OutOfOrder { .. }))
    };
    assert!((0..100).any(order));
}

#[test]
fn a_forgotten_repetition_is_found_within_a_hundred_seeds() {
    let found = find(Canary::ResendForgotten, 100, |_| true);
    assert!(found.is_some());
}
