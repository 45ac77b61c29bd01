//! Five hundred seeds, and before them those that once failed.
//!
//! The seeds are dealt out to several tests, so that they run on several cores.

use rolecast_protocol::Limits;
use rolecast_sim::probe::Probe;
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
