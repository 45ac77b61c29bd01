//! The demo: that it succeeds, that it can fail, and that it leaves nothing behind.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::process::{Place, Running, eventually, is_running};

/// Runs on a busy machine take longer than a person would wait.
const PATIENT: [&str; 2] = ["--deadline", "50s"];

fn demo(args: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let place = Place::new();
    let ended = place.run(&[&["demo", "--json"], args, &PATIENT].concat());
    (ended.code, ended.objects(), ended.stderr)
}

fn start_demo(place: &Place) -> (Running, Vec<u64>) {
    let demo = Running::spawn(place.command(&[&["demo", "--json"][..], &PATIENT].concat()));
    let start = demo.event_where("act", |act| act["act"] == "start");
    let pids = start["pids"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    (demo, pids)
}

#[test]
fn every_promise_is_kept() {
    let (code, objects, stderr) = demo(&[]);
    assert_eq!(code, Some(0), "{stderr}\n{objects:#?}");
    let acts: Vec<&str> = objects
        .iter()
        .filter_map(|object| object["act"].as_str())
        .collect();
    assert_eq!(
        acts,
        [
            "start", "roles", "know", "stream", "ask one", "ask all", "move", "kill", "down",
            "compare", "leave"
        ]
    );
    let promises: Vec<&Value> = objects.iter().filter(|o| o["event"] == "promise").collect();
    assert_eq!(promises.len(), 7);
    assert!(
        promises.iter().all(|promise| promise["held"] == true),
        "{promises:#?}"
    );
    let delivered = |by: &str, from: &str| {
        let mut found = objects
            .iter()
            .filter(|o| o["event"] == "delivered" && o["role"] == "feed");
        found.find(|o| o["by"] == by && o["from"] == from).unwrap()["deliveries"].clone()
    };
    let from_the_dead = delivered("n1", "n5");
    assert!(
        from_the_dead.as_u64().unwrap() > 10_000,
        "something of the stream in which it died has arrived"
    );
    assert_eq!(delivered("n4", "n5"), from_the_dead);
    let pids = objects[1]["pids"].as_array().unwrap();
    assert_eq!(pids.len(), 5);
    assert!(
        pids.iter().all(|pid| !is_running(pid.as_u64().unwrap())),
        "nobody is left"
    );
}

#[test]
fn three_nodes_are_enough() {
    let (code, objects, stderr) = demo(&["--nodes", "3"]);
    assert_eq!(code, Some(0), "{stderr}\n{objects:#?}");
}

#[test]
fn a_dozen_nodes_come_in_the_order_of_their_numbers() {
    let (code, objects, stderr) = demo(&["--nodes", "12"]);
    assert_eq!(code, Some(0), "{stderr}\n{objects:#?}");
    let delivered = objects.iter().filter(|o| o["event"] == "delivered");
    let feed = delivered.filter(|o| o["role"] == "feed" && o["from"] == "n12");
    let by: Vec<u64> = feed
        .filter_map(|o| o["by"].as_str()?.strip_prefix('n')?.parse().ok())
        .collect();
    assert_eq!(by, (1..=11).collect::<Vec<u64>>(), "the twelfth was killed");
}

#[test]
fn a_broken_promise_is_found_and_named() {
    for (fault, promise, what) in [
        (
            "drop",
            "agreement",
            "n2 did not deliver message 10,001 from n5 to feed",
        ),
        (
            "duplicate",
            "no duplication",
            "n2 delivered message 10,001 from n5 to feed twice",
        ),
    ] {
        let (code, objects, stderr) = demo(&["--plant", fault]);
        assert_eq!(code, Some(1), "{fault}: {objects:#?}");
        assert!(
            stderr.contains(&format!("broken: {promise}; {what}")),
            "{fault}: {stderr}"
        );
        let broken: Vec<&Value> = objects.iter().filter(|o| o["held"] == false).collect();
        assert_eq!(broken[0]["name"], promise, "{broken:#?}");
        assert_eq!(broken[1]["event"], "end", "{broken:#?}");
    }
}

#[test]
fn nobody_is_left_when_it_is_interrupted() {
    let place = Place::new();
    let (mut demo, pids) = start_demo(&place);
    assert!(pids.iter().all(|&pid| is_running(pid)));
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.wait(), Some(1));
    assert!(!pids.iter().any(|&pid| is_running(pid)));
}

#[test]
fn nobody_is_left_when_it_is_killed() {
    let place = Place::new();
    let (mut demo, pids) = start_demo(&place);
    demo.signal(Signal::SIGKILL);
    demo.wait();
    eventually("the end of every node", || {
        !pids.iter().any(|&pid| is_running(pid))
    });
}
