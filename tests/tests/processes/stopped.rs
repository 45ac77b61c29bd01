//! A holder whose process is stopped: it holds up those who send to its role, and nobody else.

use std::time::Duration;

use nix::sys::signal::Signal;
use rolecast::{Channel, Dissemination, InboxItem, Node, TrySendError};
use rolecast_tests::mesh::Mesh;

/// So much of everything else has to go through while the window of one role is shut.
const ROUNDS: u64 = 100;
/// In so long: it takes well below a second if nothing holds it up.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_holder_holds_up_no_other_role_channel_member_or_request() {
    let mut mesh = Mesh::new();
    // The first one is the seed of the others, and has to be there when somebody joins.
    let sender = mesh.node().await;
    let stopped = mesh.member(&["node", "--role", "stuck"]);
    let other = mesh.node().await;
    answer_on(&other).await;
    let mut moving = other.register("moving").await.expect("it is free");
    for role in ["stuck", "moving", "asked"] {
        sender.wait_for(role, 1).await.expect("it is not closed");
    }
    let stuck = sender.channel("stuck");
    stopped.process.signal(Signal::SIGSTOP);
    let slowest = fill(&stuck).await;
    assert_eq!(slowest, stopped.id, "whoever is stopped is to blame");

    let everything_else = async {
        // Another role, and requests.
        let channel = sender.channel("moving");
        for number in 0..ROUNDS {
            let receipt = channel.multicast(number.to_string()).await;
            let item = moving.next().await.and_then(InboxItem::into_message);
            assert_eq!(
                item.expect("it comes").payload(),
                number.to_string().as_bytes()
            );
            let receipt = receipt.expect("there is a holder");
            assert_eq!(receipt.acked().await.expect("not closed").acknowledged, 1);
            let reply = sender.channel("asked").request("?").await;
            assert_eq!(reply.expect("it is answered").payload, "!");
        }
        // Another channel to the same role has a window of its own.
        let beside = stuck.clone().dissemination(Dissemination::BestEffort);
        beside.multicast("beside").await.expect("there is a holder");
        // Somebody joins.
        let third = mesh.node().await;
        third.wait_for("*", 3).await.expect("it is not closed");
        third
    };
    let third = tokio::time::timeout(SOON, everything_else).await;
    let third = third.expect("nothing else is held up");

    // It goes on: nothing is lost, unless it was taken for dead meanwhile, which it would be told.
    stopped.process.signal(Signal::SIGCONT);
    let last = tokio::time::timeout(SOON, stuck.multicast("the last").into_future()).await;
    last.expect("there is room again")
        .expect("there is a holder");
    stopped.process.wait_for("the last message", |objects| {
        let last = |o: &serde_json::Value| o["event"] == "message" && o["payload"] == "the last";
        objects.iter().any(last).then_some(())
    });
    // A node that closes waits for its peers to hear of it, which those that close too do not do one after the other.
    tokio::join!(third.shutdown(), other.shutdown(), sender.shutdown());
}

/// Answers requests to the role `asked`.
async fn answer_on(node: &Node) {
    let mut inbox = node.register("asked").await.expect("it is free");
    tokio::spawn(async move {
        while let Some(item) = inbox.next().await {
            if let Some(message) = item.into_message() {
                // Whoever asked may have gone.
                let _ = message.reply("!").await;
            }
        }
    });
}

/// Sends until somebody keeps the window shut; says who.
async fn fill(channel: &Channel) -> String {
    let filling = async {
        loop {
            match channel.try_send(vec![b'x'; 60 << 10]) {
                Err(TrySendError::Full {
                    slowest: Some(node),
                    ..
                }) => return node.to_hex(),
                Ok(_) => {}
                // It takes in what gathered, or looks who is there.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let filled = tokio::time::timeout(SOON, filling).await;
    filled.expect("a window has an end")
}
