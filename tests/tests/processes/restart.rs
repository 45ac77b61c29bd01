//! Processes that come back with the same key.

use std::process::Command;
use std::time::Instant;

use rolecast::SendError;
use rolecast_tests::PATIENCE;
use rolecast_tests::mesh::{Member, Mesh};

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_and_restarted_with_its_key_is_usable_at_once() {
    let mut mesh = Mesh::new();
    let asker = mesh.node().await;
    let state = mesh.path("state");
    let state = state.to_str().expect("temporary paths are text");
    let arguments = ["listen", "db", "--reply", "here", "--state-dir", state];
    let mut former = mesh.member(&arguments);
    let channel = asker.channel("db");
    channel
        .wait_for_holders(1)
        .timeout(PATIENCE)
        .await
        .expect("it joins");
    let reply = channel.request("who?").await.expect("it answers");
    assert_eq!(reply.node.to_hex(), former.id);
    let epoch = epoch_of(&asker, &former).await;

    former.process.kill();
    let again = mesh.member(&arguments);
    assert_eq!(again.id, former.id);
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "nobody answers: {again:?}");
        match channel.request("who?").await {
            Ok(reply) => {
                assert_eq!(reply.node.to_hex(), again.id);
                break;
            }
            Err(SendError::NotSent(_) | SendError::Unknown(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
    println!(
        "answers {} ms after the restart",
        start.elapsed().as_millis()
    );
    assert!(epoch_of(&asker, &again).await > epoch);
    asker.shutdown().await;
}

async fn epoch_of(node: &rolecast::Node, member: &Member) -> rolecast::Epoch {
    let members = node.members().await;
    let found = members.iter().find(|known| known.id.to_hex() == member.id);
    found.expect("it is a member").epoch
}

#[test]
fn of_two_processes_with_one_key_the_earlier_life_stops_and_says_why() {
    let mut mesh = Mesh::new();
    let witness = mesh.member(&["node"]);
    let (one, two) = (mesh.path("one"), mesh.path("two"));
    let text = |path: &std::path::Path| path.to_str().expect("temporary paths are text").to_owned();
    let mut first = mesh.member(&["node", "--state-dir", &text(&one)]);
    witness.wait_until_joined(&first.id);
    first.wait_until_joined(&witness.id);
    let copied = Command::new("cp")
        .args([&text(&one), &text(&two)])
        .arg("-r")
        .status();
    assert!(copied.expect("there is a cp").success());

    let second = mesh.member(&["node", "--state-dir", &text(&two)]);
    assert_eq!(second.id, first.id);
    let status = first.process.wait();
    assert_eq!(status.code(), Some(1), "{first:?}");
    first
        .process
        .wait_for_complaint("another process runs with this node's key");
    // The later life goes on.
    second.wait_until_joined(&witness.id);
    let third = mesh.member(&["node"]);
    third.wait_until_joined(&second.id);
}
