//! What the command line says to what it does not understand: one sentence on standard error, nothing on standard output, and exit code 2.

use std::process::{Command, Output};

use rolecast_sim::exhaust::Exhaust;
use rolecast_sim::{Scenario, replay};

fn run(words: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_rolecast-sim"))
        .args(words)
        .output();
    command.expect("it was built for this test")
}

/// Refuses these words, with and without `--json`, and says this.
#[track_caller]
fn refuses(words: &[&str], says: &str) {
    let with_json: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    for words in [words, &with_json] {
        let output = run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
        assert!(said.starts_with("rolecast-sim: "), "{words:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{words:?}: {said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{words:?}");
    }
}

#[test]
fn a_scenario_that_nobody_knows_is_refused() {
    let says = "there is no such scenario; there are swarm, calm,";
    refuses(&["run", "--seed", "1", "--scenario", "storm"], says);
    refuses(&["sweep", "--seeds", "0..5", "--scenario", "storm"], says);
    refuses(&["report", "storm"], "invalid value 'storm'");
}

#[test]
fn a_mesh_that_cannot_be_is_refused() {
    for nodes in ["0", "5001", "70000", "-1", "many"] {
        let nodes = format!("--nodes={nodes}");
        let (run, sweep) = (["run", "--seed", "1"], ["sweep", "--seeds", "0..5"]);
        for command in [run, sweep] {
            let words: Vec<&str> = command.into_iter().chain([nodes.as_str()]).collect();
            refuses(&words, "'--nodes <NODES>'");
        }
    }
    for nodes in ["0", "1", "5", "60000"] {
        refuses(&["exhaust", "--nodes", nodes], "a mesh of 2, 3 or 4 nodes");
    }
}

#[test]
fn a_line_that_cannot_be_replayed_is_refused() {
    let good = replay::encode(&Exhaust::of(2).expect("two are few").scenario(0));
    let cut = &good[..good.len() - 7];
    let mut foreign = Scenario::draw(1, Some(3));
    foreign.nodes = 4;
    let (foreign, unknown) = (replay::encode(&foreign), {
        let mut planted = Scenario::draw(1, Some(3));
        planted.canary = Some("NoSuchBug".to_string());
        replay::encode(&planted)
    });
    let lines = [
        ("", "starts with \"v1:\""),
        ("seed 17", "starts with \"v1:\""),
        (
            "v2:abc",
            "has version 2, and this rolecast-sim reads version 1 only",
        ),
        ("v1:", "damaged"),
        ("v1:abc", "damaged"),
        (cut, "damaged"),
        ("v1:@/nowhere/at/all", "cannot be read"),
        (&foreign, "cannot be run: there are 4 nodes, but 3 starts"),
        (&unknown, "plants the bug \"NoSuchBug\""),
    ];
    for (line, says) in lines {
        refuses(&["replay", line], says);
        refuses(&["shrink", line], says);
        refuses(&["show", line, "--html", "/nowhere/at/all.html"], says);
    }
    let says = "/nowhere/at/all.html cannot be written";
    refuses(&["show", &good, "--html", "/nowhere/at/all.html"], says);
}

#[test]
fn words_that_mean_nothing_are_refused() {
    refuses(&["run"], "'--seed <SEED>'".trim_matches('\''));
    refuses(&["run", "--seed", "x"], "invalid value 'x'");
    refuses(
        &["run", "--seed", "1", "--level", "udp"],
        "the levels are engine and quic",
    );
    refuses(
        &["run", "--sed", "1"],
        "a similar argument exists: '--seed'",
    );
    refuses(&["sweep", "--seeds", "5..5"], "no seed lies in 5..5");
    refuses(
        &["sweep", "--seeds", "0..5", "--budget", "soon"],
        "a budget is a whole number",
    );
    refuses(
        &["sweep", "--seeds", "0..5", "--jobs", "0"],
        "'--jobs <JOBS>'",
    );
    refuses(
        &["sweep", "--seeds", "0..5", "--level", "udp"],
        "the levels are engine and quic",
    );
    refuses(&["bench", "--fast"], "unexpected argument '--fast'");
    refuses(&["scenarios", "swarm"], "unexpected argument 'swarm'");
    refuses(&["frobnicate"], "unrecognized subcommand 'frobnicate'");
}

#[test]
fn whole_nodes_are_swept_too() {
    let output = run(&[
        "sweep", "--level", "quic", "--seeds", "70..72", "--jobs", "1", "--json",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(summary["failures"].as_array().map(Vec::len), Some(0));
    assert_eq!(
        (&summary["ran_again"], &summary["not_repeated"]),
        (&1.into(), &serde_json::json!([]))
    );
    // The seeds, and before them those that once failed.
    let before = rolecast_sim::regressions().len() as u64;
    assert_eq!(summary["runs"], before + 2);
}
