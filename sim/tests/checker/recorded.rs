//! Histories recorded from runs, altered at drawn places.

use bytes::Bytes;
use rolecast_protocol::{Batch, InboxId};
use rolecast_sim::check::{Ghost, Observation, Recorded};
use rolecast_sim::random::{Purpose, Stream};
use rolecast_sim::{Scenario, run_recorded};

use crate::history::{node, receiving};

/// A way to break a recorded run at the delivery with this index; `false` if it cannot be applied there.
type Alteration = fn(&mut Vec<Recorded>, usize, &mut Stream) -> bool;

/// The next delivery of the same flow into the same inbox.
fn follower(run: &[Recorded], index: usize) -> Option<usize> {
    let key = |recorded: &Recorded| match &recorded.observation {
        Observation::Delivered(r) => Some((recorded.process, r.inbox, r.origin, r.flow)),
        _ => None,
    };
    let wanted = key(&run[index]);
    (index + 1..run.len()).find(|&later| key(&run[later]) == wanted)
}

const ALTERATIONS: [(&str, Alteration); 8] = [
    ("twice", |run, index, _| {
        run.insert(index + 1, run[index].clone());
        true
    }),
    ("left out", |run, index, _| {
        let followed = follower(run, index).is_some();
        if followed {
            run.remove(index);
        }
        followed
    }),
    ("swapped", |run, index, _| match follower(run, index) {
        Some(other) => {
            let later = run[other].observation.clone();
            run[other].observation = std::mem::replace(&mut run[index].observation, later);
            true
        }
        None => false,
    }),
    ("forged", |run, index, _| {
        let receiving = receiving(&mut run[index].observation);
        let forged = Batch::single(Bytes::from_static(b"forged"), None);
        receiving.batch = forged;
        true
    }),
    ("of another origin", |run, index, _| {
        receiving(&mut run[index].observation).origin.node = node(99);
        true
    }),
    ("of another life", |run, index, _| {
        receiving(&mut run[index].observation).origin.epoch.0 += 1_000_000_000;
        true
    }),
    ("at another position", |run, index, stream| {
        receiving(&mut run[index].observation).first.0 += stream.between(1, 5);
        true
    }),
    ("in another inbox", |run, index, _| {
        receiving(&mut run[index].observation).inbox = InboxId(1_000_000);
        true
    }),
];

#[test]
fn recorded_runs_are_accepted_and_refused_once_altered() {
    let mut applied = [0; ALTERATIONS.len()];
    for seed in 1_000..1_025 {
        let scenario = Scenario::draw(seed, None);
        let check = |run: Vec<Recorded>| {
            let ghost = Ghost::with_limits(&scenario.limits);
            ghost.with_core(scenario.core.clone()).check(run)
        };
        let outcome = run_recorded(&scenario);
        assert_eq!(outcome.violation, None, "seed {seed}");
        let run = outcome.observations;
        assert_eq!(check(run.clone()), Ok(()), "seed {seed}");
        let deliveries: Vec<usize> = run
            .iter()
            .enumerate()
            .filter(|(_, r)| matches!(r.observation, Observation::Delivered(_)))
            .map(|(index, _)| index)
            .collect();
        if deliveries.is_empty() {
            continue;
        }
        let mut stream = Stream::new(seed, Purpose::Application, 7);
        for (number, (name, alter)) in ALTERATIONS.iter().enumerate() {
            let index = *stream.pick(&deliveries);
            let mut altered = run.clone();
            if alter(&mut altered, index, &mut stream) {
                applied[number] += 1;
                assert!(check(altered).is_err(), "seed {seed}: {name} at {index}");
            }
        }
    }
    assert!(applied.iter().all(|&times| times >= 5), "{applied:?}");
}
