//! The trace hashes of fifty seeds, kept so that no run changes unnoticed.
//!
//! A change of the protocol changes them, and so does a change of the simulation; then `UPDATE_GOLDENS=1 cargo test -p rolecast-sim --test goldens` writes them anew, and the commit says why.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use rolecast_sim::{Scenario, run};

const SEEDS: u64 = 50;

#[test]
fn fifty_seeds_give_the_runs_that_they_gave_before() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("goldens.txt");
    let mut hashes = String::new();
    for seed in 0..SEEDS {
        let outcome = run(&Scenario::draw(seed, None));
        writeln!(hashes, "{seed} {}", outcome.hash).expect("strings take everything");
    }
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, &hashes).expect("the file can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let changed = kept.lines().zip(hashes.lines()).find(|(a, b)| a != b);
    assert_eq!(changed, None, "a run changed; see the head of goldens.rs");
    assert_eq!(kept.lines().count() as u64, SEEDS);
}
