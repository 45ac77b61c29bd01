//! Senders that are killed in the middle of multicasts.

use std::io::Write as _;
use std::ops::RangeInclusive;
use std::process::ChildStdin;

use nix::sys::signal::Signal;
use rolecast_tests::mesh::{Member, Mesh};

use crate::senders::Sender;

const SURVIVORS: usize = 4;
const ROUNDS: usize = 3;

/// Agreement, order and no duplicates, whatever happens to the sender.
#[test]
fn survivors_of_a_killed_sender_agree_on_what_it_sent() {
    let (mesh, survivors) = mesh_of_survivors();
    for round in 0..ROUNDS {
        let sender = Sender::start(&mesh, "log", &format!("round-{round}"));
        let last = sender.payload(500);
        let origin = wait_for_message(&survivors[round % SURVIVORS], &last);
        let expected = |number| format!("round-{round}-{number}");
        let fed = sender.kill();
        let first = agreed_messages(&survivors, &origin);
        assert!(first.len() as u64 <= fed + 1, "nothing was made up");
        for (index, (seq, payload)) in first.iter().enumerate() {
            let number = index as u64 + 1;
            assert_eq!((*seq, payload), (number, &expected(number)));
        }
    }
    assert_no_gaps(&survivors);
}

/// What one holder alone has got, it passes on to those that were held up until the sender was gone.
#[test]
fn what_reached_one_survivor_reaches_all() {
    let (mesh, survivors) = mesh_of_survivors();
    for round in 0..ROUNDS {
        let mut sender = mesh.process(&["send", "log", "--timeout", "60s"]);
        let mut lines = sender.take_stdin();
        // Little comes before the others stop, so that QUIC sends them little more before it waits for their word: their sockets keep what comes, and they read it later.
        let line = |number| format!("round-{round}-{number:0>LINE_BYTES$}");
        write_lines(&mut lines, 1..=FOR_ALL, line);
        for survivor in &survivors {
            wait_for_message(survivor, &line(FOR_ALL));
        }
        let witness = &survivors[round % SURVIVORS];
        let held_up: Vec<&Member> = survivors.iter().filter(|s| s.id != witness.id).collect();
        signal_all(&held_up, Signal::SIGSTOP);
        write_lines(&mut lines, FOR_ALL + 1..=FOR_ONE, line);
        let origin = wait_for_message(witness, &line(FOR_ONE));
        sender.kill();
        signal_all(&held_up, Signal::SIGCONT);
        let agreed = agreed_messages(&survivors, &origin);
        let numbers: Vec<u64> = agreed.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(numbers, (1..=FOR_ONE).collect::<Vec<_>>());
    }
    assert_no_gaps(&survivors);
}

/// A mesh of holders of the role `log` that all know each other.
fn mesh_of_survivors() -> (Mesh, Vec<Member>) {
    let mut mesh = Mesh::new();
    let survivors: Vec<Member> = (0..SURVIVORS)
        .map(|_| mesh.member(&["node", "--role", "log"]))
        .collect();
    for member in &survivors {
        for other in survivors.iter().filter(|other| other.id != member.id) {
            member.wait_until_joined(&other.id);
        }
    }
    (mesh, survivors)
}

/// Waits until this message of a sender has arrived; gives the sender's node.
fn wait_for_message(at: &Member, payload: &str) -> String {
    at.process.wait_for("messages of the sender", |objects| {
        let arrived = objects
            .iter()
            .rfind(|object| object["payload"] == payload)?;
        arrived["origin"].as_str().map(str::to_owned)
    })
}

fn write_lines(lines: &mut ChildStdin, numbers: RangeInclusive<u64>, line: impl Fn(u64) -> String) {
    for number in numbers {
        writeln!(lines, "{}", line(number)).expect("the sender reads");
    }
}

fn signal_all(members: &[&Member], signal: Signal) {
    for member in members {
        member.process.signal(signal);
    }
}

/// Waits until all have declared the sender down and have the same messages of it.
fn agreed_messages(survivors: &[Member], origin: &str) -> Vec<(u64, String)> {
    for survivor in survivors {
        survivor.process.wait_for_event("down", Some(origin));
    }
    let most = survivors
        .iter()
        .map(|survivor| survivor.multicasts_of(origin))
        .max_by_key(Vec::len)
        .expect("there are survivors");
    // What one of them has delivered, all of them deliver.
    let last = most.last().map(|(_, payload)| payload.as_str());
    for survivor in survivors {
        survivor
            .process
            .wait_for("what the others have", |objects| {
                let mut payloads = objects
                    .iter()
                    .rev()
                    .map(|object| object["payload"].as_str());
                payloads.any(|payload| payload == last).then_some(())
            });
    }
    for survivor in survivors {
        let messages = survivor.multicasts_of(origin);
        assert_eq!(messages, most, "{survivor:?}");
    }
    most
}

fn assert_no_gaps(survivors: &[Member]) {
    for survivor in survivors {
        let objects = survivor.process.objects();
        let gap = objects.iter().find(|object| object["event"] == "gap");
        assert_eq!(gap, None, "{survivor:?}");
    }
}

/// Digits of a message's number: with the others in the window of a flow (4 MiB), and far more in total than QUIC sends to somebody who does not answer.
const LINE_BYTES: usize = 4_000;
/// The messages that all have before all but one are held up.
const FOR_ALL: u64 = 10;
/// The last message that one of them gets alone.
const FOR_ONE: u64 = 500;
