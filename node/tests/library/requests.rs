//! Sending to one holder, and asking one or all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rolecast::{NoAnswer, NotSent, Pick, Refusal, ReplyError, SendError, Unknown};

use crate::mesh::{answer, mesh, message, register_on, within};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_request_is_answered_by_one_holder_each_in_its_turn() {
    within(async {
        let mesh = mesh(4).await;
        for inbox in register_on(&mesh, &[1, 2, 3], "echo").await {
            answer(inbox, |payload| [b"echo ", payload].concat());
        }
        let channel = mesh[0].channel("echo");
        let mut by_node = BTreeMap::new();
        for number in 0..30 {
            let reply = channel.request(number.to_string()).timeout(LONG).await;
            let reply = reply.expect("it is answered");
            assert_eq!(reply.payload, format!("echo {number}"));
            *by_node.entry(reply.node).or_insert(0) += 1;
        }
        assert_eq!(by_node.values().copied().collect::<Vec<_>>(), [10, 10, 10]);
    })
    .await;
}

#[tokio::test]
async fn many_requests_are_outstanding_at_once() {
    within(async {
        let mesh = mesh(3).await;
        for inbox in register_on(&mesh, &[1, 2], "echo").await {
            answer(inbox, <[u8]>::to_vec);
        }
        let channel = mesh[0].channel("echo").pick(Pick::LeastOutstanding);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..1_000u32 {
            let channel = channel.clone();
            tasks.spawn(async move {
                let reply = channel.request(number.to_string()).timeout(LONG).await;
                assert_eq!(reply.expect("it is answered").payload, number.to_string());
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("every one is answered");
        }
    })
    .await;
}

#[tokio::test]
async fn sticky_and_unicast_choose_the_holder() {
    within(async {
        let mesh = mesh(4).await;
        for inbox in register_on(&mesh, &[1, 2, 3], "echo").await {
            answer(inbox, <[u8]>::to_vec);
        }
        let channel = mesh[0].channel("echo");
        let mut chosen = BTreeSet::new();
        for key in 0..20 {
            let mut nodes = BTreeSet::new();
            for _ in 0..3 {
                let request = channel
                    .request("x")
                    .sticky(format!("key {key}"))
                    .timeout(LONG);
                nodes.insert(request.await.expect("it is answered").node);
            }
            assert_eq!(nodes.len(), 1, "one key, one holder");
            chosen.extend(nodes);
        }
        assert!(chosen.len() > 1, "not all keys have the same holder");
        for node in &mesh[1..] {
            let reply = channel.request("x").to(node.id()).timeout(LONG).await;
            assert_eq!(reply.expect("it is answered").node, node.id());
        }
    })
    .await;
}

#[tokio::test]
async fn one_way_messages_say_who_has_them() {
    within(async {
        let mesh = mesh(3).await;
        let mut inboxes = register_on(&mesh, &[1, 2], "jobs").await;
        let channel = mesh[0].channel("jobs");
        let delivered = channel
            .unicast(mesh[2].id(), "for two")
            .await
            .expect("it holds the role");
        assert_eq!(delivered.node, mesh[2].id());
        let taken = message(&mut inboxes[1]).await;
        assert_eq!((&taken.payload()[..], taken.seq()), (&b"for two"[..], None));
        assert_eq!(taken.reply("no").await, Err(ReplyError::NotARequest));
        let first = channel
            .anycast("any")
            .timeout(LONG)
            .await
            .expect("there are holders")
            .node;
        let second = channel
            .anycast("any")
            .timeout(LONG)
            .await
            .expect("there are holders")
            .node;
        assert_ne!(first, second);
        let error = channel
            .unicast(mesh[0].id(), "x")
            .await
            .expect_err("it does not hold it");
        assert!(!error.may_have_arrived(), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_request_without_an_answer_says_why() {
    within(async {
        let mesh = mesh(2).await;
        let channel = mesh[0].channel("db");
        let error = channel.request("x").await.expect_err("nobody holds it");
        assert_eq!(
            error,
            SendError::NotSent(NotSent::NoHolder { role: "db".into() })
        );

        let mut inboxes = register_on(&mesh, &[1], "db").await;
        let silent = channel.request("x").timeout(Duration::from_millis(50));
        assert_eq!(silent.await, Err(SendError::Unknown(Unknown::TimedOut)));
        drop(message(&mut inboxes[0]).await);

        let dropped = tokio::spawn({
            let channel = channel.clone();
            async move { channel.request("x").timeout(LONG).await }
        });
        drop(message(&mut inboxes[0]).await);
        let (node, reason) = (mesh[1].id(), Refusal::Dropped);
        assert_eq!(
            dropped.await.expect("no panic"),
            Err(SendError::Refused { node, reason })
        );
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_given_up_is_cancelled_at_the_holder() {
    within(async {
        let mesh = mesh(2).await;
        let mut inboxes = register_on(&mesh, &[1], "slow").await;
        let channel = mesh[0].channel("slow");
        let asking = tokio::spawn({
            let channel = channel.clone();
            async move { channel.request("x").timeout(LONG).await }
        });
        let request = message(&mut inboxes[0]).await;
        assert!(request.is_request());
        asking.abort();
        request.cancelled().await;
        request.cancelled().await;
    })
    .await;
}

#[tokio::test]
async fn a_request_to_all_names_every_holder_once() {
    within(async {
        let mesh = mesh(4).await;
        let mut inboxes = register_on(&mesh, &[0, 1, 2, 3], "poll").await;
        let mut silent = inboxes.pop().expect("there are four");
        let mut dropping = inboxes.pop().expect("there are three");
        for inbox in inboxes {
            answer(inbox, <[u8]>::to_vec);
        }
        tokio::spawn(async move { while dropping.next().await.is_some() {} });
        let channel = mesh[0].channel("poll");
        let answers = channel
            .request_all("vote")
            .timeout(Duration::from_secs(1))
            .await;
        let answers = answers.expect("there are holders");
        assert_eq!(answers.holders(), 4);
        let answers = answers.collect().await;
        let by_node: BTreeMap<_, _> = answers
            .iter()
            .map(|answer| (answer.node, answer.result.clone()))
            .collect();
        assert_eq!((answers.len(), by_node.len()), (4, 4));
        assert_eq!(by_node[&mesh[0].id()], Ok("vote".into()));
        assert_eq!(by_node[&mesh[1].id()], Ok("vote".into()));
        assert_eq!(
            by_node[&mesh[2].id()],
            Err(NoAnswer::Refused(Refusal::Dropped))
        );
        assert_eq!(
            by_node[&mesh[3].id()],
            Err(NoAnswer::Unknown(Unknown::TimedOut))
        );
        drop(message(&mut silent).await);
    })
    .await;
}

#[tokio::test]
async fn requests_that_were_not_taken_out_are_refused_when_the_inbox_goes() {
    within(async {
        let mesh = mesh(2).await;
        let mut inboxes = register_on(&mesh, &[1], "db").await;
        let channel = mesh[0].channel("db");
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..5 {
            let channel = channel.clone();
            asking.spawn(async move { channel.request("x").timeout(LONG).await });
        }
        let first = message(&mut inboxes[0]).await;
        inboxes.clear();
        first.reply("kept").await.expect("it is still awaited");
        let mut kept = 0;
        while let Some(result) = asking.join_next().await {
            match result.expect("no panic") {
                Ok(reply) => {
                    assert_eq!(reply.payload, "kept");
                    kept += 1;
                }
                Err(SendError::Refused {
                    reason: Refusal::NotHolder,
                    ..
                }) => {}
                Err(SendError::NotSent(NotSent::NoHolder { .. })) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(kept, 1);
    })
    .await;
}
