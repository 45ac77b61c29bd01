//! The right to answer: how it ends, and what becomes of an answer that cannot go out at once.

use std::collections::BTreeSet;
use std::time::Duration;

use rolecast::{
    ClosedReason, Limits, MeshSecret, NoAnswer, Node, Refusal, ReplyError, SendError, Unknown,
};
use tokio::task::JoinHandle;

use crate::mesh::{builder, mesh, mesh_of, message, register_on, within};

const LONG: Duration = Duration::from_secs(30);

/// Asks from a node of its own, in a runtime of its own, which dies without a word.
async fn ask_from_a_doomed_node(
    secret: &MeshSecret,
    seed: &Node,
) -> (tokio::runtime::Runtime, Node) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let start = builder(secret).seeds([seed.addr()]);
    let started = runtime.spawn(async move {
        let node = start.start().await.expect("it starts");
        let channel = node.channel("slow");
        channel.wait_for_holders(1).await.expect("it is not closed");
        tokio::spawn(async move { channel.request("x").timeout(LONG).await });
        node
    });
    let node = started.await.expect("no panic");
    (runtime, node)
}

#[tokio::test]
async fn a_request_is_cancelled_when_whoever_asked_dies() {
    within(async {
        let secret = MeshSecret::generate();
        let holder = builder(&secret).start().await.expect("it starts");
        let mut inbox = holder.register("slow").await.expect("the role is free");
        let (runtime, doomed) = ask_from_a_doomed_node(&secret, &holder).await;
        let request = message(&mut inbox).await;
        runtime.shutdown_background();
        request.cancelled().await;
        drop(doomed);
        assert_eq!(request.reply("late").await, Err(ReplyError::Gone));
    })
    .await;
}

#[tokio::test]
async fn a_request_is_cancelled_when_whoever_asked_leaves() {
    within(async {
        let mesh = mesh(2).await;
        let mut inboxes = register_on(&mesh, &[1], "slow").await;
        let channel = mesh[0].channel("slow");
        let asking = tokio::spawn(async move { channel.request("x").timeout(LONG).await });
        let request = message(&mut inboxes[0]).await;
        mesh[0].shutdown_within(Duration::ZERO).await;
        request.cancelled().await;
        let closed = Unknown::Closed(ClosedReason::Shutdown);
        let asked = asking.await.expect("no panic");
        assert_eq!(asked, Err(SendError::Unknown(closed)));
    })
    .await;
}

#[tokio::test]
async fn a_node_that_asked_itself_can_give_up() {
    within(async {
        let mesh = mesh(1).await;
        let mut inboxes = register_on(&mesh, &[0], "slow").await;
        let channel = mesh[0].channel("slow");
        let patience = Duration::from_millis(20);
        let asking = tokio::spawn(async move { channel.request("x").timeout(patience).await });
        let request = message(&mut inboxes[0]).await;
        request.cancelled().await;
        let asked = asking.await.expect("no panic");
        assert_eq!(asked, Err(SendError::Unknown(Unknown::TimedOut)));
    })
    .await;
}

#[tokio::test]
async fn answers_wait_for_room_and_all_arrive() {
    within(async {
        let limits = Limits {
            session_bytes_max: 100_000,
            ..Limits::default()
        };
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 2, |builder| builder.limits(limits.clone())).await;
        let mut inboxes = register_on(&mesh, &[1], "large").await;
        let asking: Vec<JoinHandle<_>> = (0..20)
            .map(|_| {
                let channel = mesh[0].channel("large");
                tokio::spawn(async move { channel.request("x").timeout(LONG).await })
            })
            .collect();
        let mut replying = tokio::task::JoinSet::new();
        let mut requests = Vec::new();
        for _ in 0..asking.len() {
            requests.push(message(&mut inboxes[0]).await);
        }
        // A refusal waits its turn as well.
        let refused = requests.pop().expect("there are twenty");
        for request in requests {
            replying.spawn(request.reply(vec![7; 90_000]));
        }
        tokio::task::yield_now().await;
        drop(refused);
        while let Some(replied) = replying.join_next().await {
            assert_eq!(replied.expect("no panic"), Ok(()));
        }
        let mut refusals = 0;
        for asked in asking {
            match asked.await.expect("no panic") {
                Ok(reply) => assert_eq!(reply.payload.len(), 90_000),
                Err(SendError::Refused { reason, .. }) => {
                    assert_eq!(reason, Refusal::Dropped);
                    refusals += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(refusals, 1);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_refuses_the_request() {
    within(async {
        let limits = Limits {
            payload_bytes_max: 1_000,
            ..Limits::default()
        };
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 2, |builder| builder.limits(limits.clone())).await;
        let mut inboxes = register_on(&mesh, &[1], "large").await;
        let channel = mesh[0].channel("large");
        let asking = tokio::spawn(async move { channel.request("x").timeout(LONG).await });
        let request = message(&mut inboxes[0]).await;
        let (bytes, max) = (1_001, 1_000);
        let replied = request.reply(vec![7; bytes]).await;
        assert_eq!(replied, Err(ReplyError::TooLarge { bytes, max }));
        let (node, reason) = (mesh[1].id(), Refusal::Dropped);
        let asked = asking.await.expect("no panic");
        assert_eq!(asked, Err(SendError::Refused { node, reason }));
    })
    .await;
}

#[tokio::test]
async fn holders_that_did_not_answer_are_named_when_the_node_closes() {
    within(async {
        let mesh = mesh(4).await;
        let mut inboxes = register_on(&mesh, &[1, 2, 3], "poll").await;
        let asking = mesh[0].channel("poll");
        let mut answers = asking
            .request_all("vote")
            .timeout(LONG)
            .await
            .expect("there are holders");
        let quick = message(&mut inboxes[0]).await;
        quick.reply("yes").await.expect("it is awaited");
        let first = answers.next().await.expect("one has answered");
        assert_eq!((first.node, first.result), (mesh[1].id(), Ok("yes".into())));
        mesh[0].shutdown_within(Duration::ZERO).await;

        let rest = answers.collect().await;
        let closed = NoAnswer::Unknown(Unknown::Closed(ClosedReason::Shutdown));
        assert!(rest.iter().all(|answer| answer.result == Err(closed)));
        let named: BTreeSet<_> = rest.iter().map(|answer| answer.node).collect();
        assert_eq!(
            (rest.len(), named),
            (2, mesh[2..].iter().map(Node::id).collect())
        );
    })
    .await;
}
