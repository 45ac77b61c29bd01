//! Two oracles judge random histories, and agree: on whether a promise is broken, at which observation, and which.
//!
//! The histories are the one written by hand and such as were recorded from runs with cuts and crashes, each altered at random in one to three ways.

mod alter;

use std::collections::BTreeMap;

use rolecast_sim::check::{Ghost, Recorded};
use rolecast_sim::exhaust::Exhaust;
use rolecast_sim::random::{Purpose, Stream};
use rolecast_sim::workload::Ask;
use rolecast_sim::{Family, Scenario, run_recorded};

use crate::evicted::evicting;
use crate::history::{history, timed};
use crate::keep_last::lagging;
use crate::naive::{self, Promise};
use crate::replay::later;

/// The verdict of the oracle that judges runs: the first observation that it refuses, and the word with which its sentence begins.
fn judge(run: &[Recorded]) -> Option<(usize, String)> {
    let mut ghost = Ghost::new();
    let promise = |sentence: String| {
        let word = sentence.split(':').next();
        word.expect("there is a first part").to_string()
    };
    for (index, recorded) in run.iter().enumerate() {
        let Recorded {
            at,
            process,
            observation,
        } = recorded.clone();
        if let Err(violation) = ghost.observe(at, process, observation) {
            return Some((index, promise(violation.broken.to_string())));
        }
    }
    let end = run.last().map_or_else(Default::default, |last| last.at);
    let owed = ghost.owed(end)?;
    Some((run.len(), promise(owed.broken.to_string())))
}

/// Compares what the two say of a history, and gives the promise that it breaks.
fn agreed(run: &[Recorded], how: &dyn std::fmt::Display) -> Option<String> {
    let (one, other) = (judge(run), naive::judge(run));
    let agree = match (&one, &other) {
        (None, None) => true,
        (Some((at, promise)), Some((where_, broken))) => {
            at == where_ && broken.iter().any(|b| b == promise)
        }
        _ => false,
    };
    assert!(
        agree,
        "{how}: {one:?} and {other:?}{}",
        around(run, &one, &other)
    );
    one.map(|(_, promise)| promise)
}

/// What happened just before either oracle found fault.
fn around(
    run: &[Recorded],
    one: &Option<(usize, String)>,
    other: &Option<(usize, std::collections::BTreeSet<Promise>)>,
) -> String {
    let ends = [
        one.as_ref().map(|(at, _)| *at),
        other.as_ref().map(|(at, _)| *at),
    ];
    let end = ends.into_iter().flatten().min().unwrap_or(run.len());
    let shown = run
        .iter()
        .enumerate()
        .take(end + 1)
        .skip(end.saturating_sub(12));
    shown
        .map(|(index, r)| format!("\n  {index} {} {:?} {:?}", r.at, r.process, r.observation))
        .collect()
}

/// Histories of small meshes in which all promises are kept.
fn recorded() -> Vec<(String, Vec<Recorded>)> {
    let mut all = vec![
        ("the one written by hand".to_string(), timed(history())),
        ("the one that evicts".to_string(), timed(evicting())),
        ("the one that keeps the last".to_string(), timed(lagging())),
        ("the one that comes later".to_string(), timed(later())),
    ];
    let exhaust = Exhaust::of(3).expect("three nodes are few");
    for index in (7..exhaust.count()).step_by(97) {
        let run = run_recorded(&exhaust.scenario(index)).observations;
        all.push((format!("exhaust {index}"), run));
    }
    for name in ["churn", "partitions", "crash-mid-multicast", "clocks"] {
        let family = Family::named(name).expect("there is one");
        for seed in 0..3 {
            let mut scenario = Scenario::draw_from(family, seed, Some(3));
            // Of large payloads the simple oracle knows nothing.
            let operations = &mut scenario.workload.operations;
            operations.retain(|operation| !matches!(operation.ask, Ask::Large { .. }));
            all.push((
                format!("{name} {seed}"),
                run_recorded(&scenario).observations,
            ));
        }
    }
    all
}

#[test]
fn what_runs_leave_behind_is_accepted_by_both() {
    for (name, run) in recorded() {
        assert_eq!(agreed(&run, &name), None, "{name}");
    }
}

#[test]
fn random_histories_get_one_verdict() {
    let mut verdicts: BTreeMap<String, u32> = BTreeMap::new();
    let mut histories = recorded();
    // What takes the square of its length is for short ones.
    histories.retain(|(_, run)| run.len() <= SHORT);
    assert!(histories.len() > 5);
    for number in 0..HISTORIES {
        let mut stream = Stream::new(number, Purpose::Application, 11);
        // Four of five are of the histories written by hand, which are short and have everything.
        let which = if stream.percent(80) {
            *stream.pick(&[0, 0, 0, 1, 2, 3])
        } else {
            stream.index(histories.len())
        };
        let (name, run) = &histories[which];
        let mut altered = run.clone();
        let times = stream.between(1, 3);
        let ways: Vec<&str> = (0..times)
            .map(|_| alter::alter(&mut altered, &mut stream))
            .collect();
        let how = format!("history {number}, {name}, altered by {ways:?}");
        let verdict = agreed(&altered, &how).unwrap_or_else(|| "held".to_string());
        *verdicts.entry(verdict).or_default() += 1;
    }
    println!("{verdicts:?}");
    // Every promise that a history can break was broken, and many kept.
    for promise in PROMISES {
        let times = verdicts.get(promise).copied().unwrap_or(0);
        assert!(times >= 2, "{promise}: {verdicts:?}");
    }
}

const HISTORIES: u64 = 5_000;
const SHORT: usize = 420;

const PROMISES: [&str; 22] = [
    "held",
    "agreement",
    "beginnings",
    "calls",
    "commands",
    "deadlines",
    "destination set",
    "drain",
    "epochs",
    "gaps",
    "inboxes",
    "liveness",
    "membership",
    "no creation",
    "no duplication",
    "numbering",
    "once or Gap",
    "order",
    "receipts",
    "routing",
    "slow receivers",
    "validity",
];
