//! Five hundred seeds, and before them those that once failed.
//!
//! The seeds are dealt out to several tests, so that they run on several cores.

use std::time::Duration;

use rolecast_membership::Profile;
use rolecast_protocol::{Limits, Mode};
use rolecast_sim::plan::{Breakage, Fault, Restart, Slot};
use rolecast_sim::probe::Probe;
use rolecast_sim::workload::{Ask, Choice, Operation};
use rolecast_sim::{Family, Outcome, Scenario, regressions, replay, run, run_recorded};

fn hold(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let scenario = Scenario::draw(seed, None);
        assert_holds(&scenario, &run(&scenario));
    }
}

fn assert_holds(scenario: &Scenario, outcome: &Outcome) {
    if let Some(violation) = &outcome.violation {
        panic!("{violation}\nreplay: {}", replay::command(scenario));
    }
}

#[test]
fn a_what_once_failed_holds() {
    let scenarios = regressions();
    assert!(!scenarios.is_empty());
    for scenario in scenarios {
        assert_holds(&scenario, &run(&scenario));
    }
}

#[test]
fn seeds_0_to_124_hold() {
    hold(0..125);
}

#[test]
fn seeds_125_to_249_hold() {
    hold(125..250);
}

#[test]
fn seeds_250_to_374_hold() {
    hold(250..375);
}

#[test]
fn seeds_375_to_499_hold() {
    hold(375..500);
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in 500..520 {
        let (one, other) = (
            run(&Scenario::draw(seed, None)),
            run(&Scenario::draw(seed, None)),
        );
        assert_eq!(one.hash, other.hash, "seed {seed}");
        assert_eq!(
            one.statistics.events, other.statistics.events,
            "seed {seed}"
        );
    }
}

#[test]
fn other_seeds_give_other_runs() {
    assert_ne!(
        run(&Scenario::draw(1, Some(3))).hash,
        run(&Scenario::draw(2, Some(3))).hash
    );
}

#[test]
fn larger_meshes_hold() {
    for (seed, nodes) in [(1, 16), (2, 24), (3, 32), (4, 32)] {
        let scenario = Scenario::draw(seed, Some(nodes));
        assert_holds(&scenario, &run(&scenario));
    }
}

#[test]
fn thirty_percent_of_two_hundred_nodes_restart_within_a_minute_under_traffic() {
    let scenario = restarts();
    let outcome = run(&scenario);
    assert_holds(&scenario, &outcome);
    let statistics = &outcome.statistics;
    assert_eq!(statistics.renewals, 0, "nobody is held for down");
    assert_eq!(statistics.messages, 300);
    // At all holders that were up, and so at least at those that never went.
    assert!(statistics.deliveries > 300 * 16, "{statistics:?}");
}

/// A mesh of 200 in which 60 nodes restart with their keys, one each second, while five messages a second go to 25 of all, and now and then a request to any one of these.
fn restarts() -> Scenario {
    let idle = Family::named("idle").expect("there is one");
    let mut scenario = Scenario::draw_from(idle, 1, Some(200));
    let from_us = 6_000_000;
    scenario.plan.faults = (0..60)
        .map(|id| Fault {
            id,
            at_us: from_us + u64::from(id) * 1_000_000,
            what: Breakage::Crash {
                node: Slot::try_from(3 * id).expect("below 200"),
                restart: Some(Restart {
                    after_us: 100_000,
                    same_key: true,
                    same_addr: true,
                }),
            },
        })
        .collect();
    let workload = &mut scenario.workload;
    workload.roles = 1;
    workload.held = (0..200)
        .map(|node| if node % 8 == 0 { vec![0] } else { vec![] })
        .collect();
    workload.operations = (0..330)
        .map(|id| {
            let ask = match id % 11 {
                10 => Ask::Anycast {
                    role: 0,
                    choice: Choice::RoundRobin,
                    request: true,
                    bytes: 64,
                    within_us: 5_000_000,
                },
                _ => Ask::Multicast {
                    role: 0,
                    mode: Mode::default(),
                    count: 1,
                    bytes: 64,
                },
            };
            Operation {
                id,
                at_us: from_us + u64::from(id) * 182_000,
                // Of those that never restart.
                node: Slot::try_from(3 * (id % 60) + 1).expect("below 200"),
                ask,
            }
        })
        .collect();
    scenario
}

#[test]
fn links_that_nobody_uses_rest_and_nobody_is_the_worse_for_it() {
    for (seed, profile) in [(1, Profile::Lan), (2, Profile::Local)] {
        let idle = Family::named("idle").expect("there is one");
        let mut scenario = Scenario::draw_from(idle, seed, Some(48));
        scenario.profile = profile;
        scenario.limits = Limits {
            links_max: 4,
            link_idle: Duration::from_secs(1),
            ..Limits::default()
        };
        let workload = &mut scenario.workload;
        workload.roles = 1;
        workload.held = (0..48)
            .map(|node| if node % 8 == 0 { vec![0] } else { vec![] })
            .collect();
        // Now and then each node has something to say to holders to which its links rest.
        workload.operations = (0..48)
            .map(|id| Operation {
                id,
                at_us: 10_000_000 + u64::from(id) * 1_200_000,
                node: Slot::try_from(id).expect("below 48"),
                ask: Ask::Multicast {
                    role: 0,
                    mode: Mode::default(),
                    count: 1,
                    bytes: 64,
                },
            })
            .collect();
        let outcome = run(&scenario);
        assert_holds(&scenario, &outcome);
        assert_eq!(outcome.statistics.renewals, 0, "nobody is held for down");
        assert_eq!(outcome.statistics.deliveries, 48 * 6);
        assert!(outcome.reached.count(Probe::LinkRested) > 100, "{seed}");
        assert!(outcome.reached.count(Probe::LinkWoken) > 100, "{seed}");
    }
}

#[test]
fn what_was_recorded_passes_when_it_is_checked_again() {
    // What is written down does not say who is in the core, so there is none, nor what is too large.
    let family = Family::named("churn").expect("there is one");
    for seed in 520..540 {
        let scenario = Scenario {
            limits: Limits::default(),
            ..Scenario::draw_from(family, seed, None)
        };
        let outcome = run_recorded(&scenario);
        assert_holds(&scenario, &outcome);
        assert_eq!(
            rolecast_sim::check::check(outcome.observations),
            Ok(()),
            "seed {seed}"
        );
    }
}

#[test]
fn what_was_passed_on_came_over_more_than_one_link() {
    let family = Family::named("eager").expect("there is one");
    let mut passed_on = 0;
    for seed in 0..20 {
        let outcome = run(&Scenario::draw_from(family, seed, None));
        let (statistics, relayed) = (
            &outcome.statistics,
            outcome.reached.count(Probe::RelayFirst) > 0,
        );
        assert_eq!(statistics.last_hop_max > 1, relayed, "seed {seed}");
        let frames = statistics.frames_per_delivery * statistics.deliveries as f64;
        assert_eq!(frames.round() as u64, statistics.frames, "seed {seed}");
        passed_on += u32::from(relayed);
    }
    assert!(passed_on > 5, "{passed_on}");
}
