//! Senders that are killed in the middle of multicasts.

use rolecast_tests::mesh::{Member, Mesh};

use crate::senders::Sender;

const SURVIVORS: usize = 4;
const ROUNDS: usize = 4;

/// Agreement, order and no duplicates, whatever happens to the sender.
#[test]
fn survivors_of_a_killed_sender_agree_on_what_it_sent() {
    let mut mesh = Mesh::new();
    let survivors: Vec<Member> = (0..SURVIVORS)
        .map(|_| mesh.member(&["node", "--role", "log"]))
        .collect();
    for member in &survivors {
        for other in survivors.iter().filter(|other| other.id != member.id) {
            member.wait_until_joined(&other.id);
        }
    }
    for round in 0..ROUNDS {
        let sender = Sender::start(&mesh, "log", &format!("round-{round}"));
        let origin = wait_for_messages(&survivors[round % SURVIVORS], &sender, 500);
        let expected = |number| format!("round-{round}-{number}");
        let fed = sender.kill();
        let first = agreed_messages(&survivors, &origin);
        assert!(first.len() as u64 <= fed + 1, "nothing was made up");
        for (index, (seq, payload)) in first.iter().enumerate() {
            let number = index as u64 + 1;
            assert_eq!((*seq, payload), (number, &expected(number)));
        }
    }
    for survivor in &survivors {
        let gaps = survivor.process.objects();
        let gap = gaps.iter().find(|object| object["event"] == "gap");
        assert_eq!(gap, None, "{survivor:?}");
    }
}

/// Waits until so many messages of the sender have arrived; gives its node's id.
fn wait_for_messages(at: &Member, sender: &Sender, count: u64) -> String {
    let last = sender.payload(count);
    at.process.wait_for("messages of the sender", |objects| {
        let arrived = objects
            .iter()
            .rfind(|object| object["payload"] == last.as_str())?;
        arrived["origin"].as_str().map(str::to_owned)
    })
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
