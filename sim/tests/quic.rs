//! Whole nodes in virtual time: the same verdict as at the level of engines, and the same packets every time.

use std::ops::Range;
use std::process::Command;

use rolecast_sim::{Level, Outcome, Scenario, run};

/// The scenario of a seed, with whole nodes.
fn whole(seed: u64) -> Scenario {
    Scenario {
        level: Level::Quic,
        ..Scenario::draw(seed, None)
    }
}

/// Both levels say the same of every seed: that every promise holds.
fn agree(seeds: Range<u64>) {
    for seed in seeds {
        let verdict = |outcome: Outcome| outcome.violation.map(|broken| broken.to_string());
        let engines = verdict(run(&Scenario::draw(seed, None)));
        assert_eq!(verdict(run(&whole(seed))), engines, "seed {seed}");
        assert_eq!(engines, None, "seed {seed}");
    }
}

#[test]
fn both_levels_agree_on_seeds_0_to_29() {
    agree(0..30);
}

#[test]
fn both_levels_agree_on_seeds_30_to_59() {
    agree(30..60);
}

#[test]
fn a_seed_gives_the_same_packets_every_time_and_another_seed_gives_others() {
    let hashes = |seeds: Range<u64>| -> Vec<_> {
        let outcomes = seeds.map(|seed| run(&whole(seed)));
        outcomes.map(|outcome| outcome.hash).collect()
    };
    let once = hashes(60..66);
    assert_eq!(once, hashes(60..66));
    let mut distinct: Vec<String> = once.iter().map(ToString::to_string).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), once.len());
}

/// What is printed of a seed, to be compared between processes.
fn line(seed: u64) -> String {
    let outcome = run(&whole(seed));
    let datagrams = outcome.statistics.datagrams;
    format!("seed {seed}: {datagrams} datagrams, {}", outcome.hash)
}

#[test]
fn another_process_sends_the_same_packets() {
    if let Ok(seed) = std::env::var(CHILD) {
        println!("{}", line(seed.parse().expect("it is a number")));
        return;
    }
    for seed in 66..70 {
        let child = Command::new(std::env::current_exe().expect("it runs"))
            .args([
                "--exact",
                "another_process_sends_the_same_packets",
                "--nocapture",
            ])
            .env(CHILD, seed.to_string())
            .output()
            .expect("it can run twice");
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(
            said.contains(&line(seed)),
            "{} is not in {said}",
            line(seed)
        );
    }
}

/// Says which seed the child is to run.
const CHILD: &str = "ROLECAST_SIM_TEST_CHILD";

/// Bugs that are planted in the engine are found through the public library too.
#[cfg(feature = "canaries")]
#[test]
fn planted_bugs_are_found() {
    let bugs = [
        ("DuplicateDelivered", 20),
        ("RelayForgotten", 200),
        ("EvictedUntold", 200),
        ("FirstKept", 200),
        ("LargeEvictsNobody", 200),
        ("MoveUnnoticed", 50),
    ];
    for (canary, seeds) in bugs {
        let found = (0..seeds).find(|&seed| {
            let scenario = Scenario {
                canary: Some(canary.to_owned()),
                ..whole(seed)
            };
            run(&scenario).violation.is_some()
        });
        assert!(found.is_some(), "{canary} was not found in {seeds} seeds");
    }
}
