//! Sending to every holder.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use rolecast::{ClosedReason, Dissemination, InboxItem, NotSent, Order, Origin, SendError, Seq};

use crate::mesh::{mesh, message, payloads, register_on, within};

#[tokio::test]
async fn every_holder_gets_every_message_in_order() {
    within(async {
        let mesh = mesh(4).await;
        let mut inboxes = register_on(&mesh, &[1, 2, 3], "news").await;
        let senders = [mesh[0].channel("news"), mesh[1].channel("news")];
        let mut receipts = Vec::new();
        for number in 0..500u32 {
            for channel in &senders {
                let receipt = channel.multicast(number.to_string()).await;
                receipts.push(receipt.expect("there are holders"));
            }
        }
        for inbox in &mut inboxes {
            let mut taken = BTreeMap::new();
            for _ in 0..1_000 {
                let message = message(inbox).await;
                let count: &mut u64 = taken.entry(message.origin()).or_default();
                assert_eq!(message.payload(), count.to_string().as_bytes());
                *count += 1;
                assert_eq!(message.seq(), Some(Seq(*count)));
            }
            assert!(taken.values().all(|count| *count == 500), "{taken:?}");
        }
        for receipt in receipts.split_off(998) {
            assert_eq!((receipt.seq(), receipt.holders()), (Seq(500), 3));
            let outcome = receipt.acked().await.expect("the node is not closed");
            assert_eq!((outcome.acknowledged, outcome.is_complete()), (3, true));
        }
    })
    .await;
}

#[tokio::test]
async fn a_holder_that_sends_gets_its_own_messages_too() {
    within(async {
        let mesh = mesh(2).await;
        let mut inboxes = register_on(&mesh, &[0, 1], "chat").await;
        let receipt = mesh[0]
            .channel("chat")
            .multicast("hello")
            .await
            .expect("there are holders");
        for inbox in &mut inboxes {
            let message = message(inbox).await;
            assert_eq!(message.payload(), "hello");
            assert_eq!(
                (message.origin(), message.epoch()),
                (mesh[0].id(), mesh[0].epoch())
            );
            assert_eq!(message.role().as_str(), "chat");
            assert!(!message.is_request());
        }
        assert_eq!(receipt.acked().await.expect("not closed").acknowledged, 2);
    })
    .await;
}

#[tokio::test]
async fn payloads_of_all_sizes_arrive_unchanged_and_in_order() {
    within(async {
        let mesh = mesh(2).await;
        let mut inboxes = register_on(&mesh, &[1], "sink").await;
        for dissemination in Dissemination::ALL {
            let channel = mesh[0].channel("sink").dissemination(dissemination);
            let sizes = [
                0, 1, 127, 128, 5_000, 16_383, 16_384, 16_385, 70_000, 3_000_000, 1, 0,
            ];
            let sent: Vec<Vec<u8>> = sizes
                .iter()
                .map(|&size| (0..size).map(|byte| byte as u8).collect())
                .collect();
            for payload in sent.clone() {
                channel.multicast(payload).await.expect("there is a holder");
            }
            assert!(payloads(&mut inboxes[0], sent.len()).await == sent);
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_holder_nothing_is_sent() {
    within(async {
        let mesh = mesh(2).await;
        let channel = mesh[0].channel("nobody");
        let error = channel.multicast("x").await.expect_err("nobody holds it");
        assert_eq!(
            error,
            SendError::NotSent(NotSent::NoHolder {
                role: "nobody".into()
            })
        );
        assert!(!error.may_have_arrived());
        let inboxes = register_on(&mesh, &[1], "nobody").await;
        let first = channel.multicast("x").await.expect("there is a holder");
        assert_eq!(first.seq(), Seq(1));
        drop(inboxes);
    })
    .await;
}

#[tokio::test]
async fn broadcasts_reach_every_node_that_takes_them_and_are_acknowledged_by_the_others() {
    within(async {
        let mesh = mesh(3).await;
        let mut taken = mesh[2].broadcasts().await.expect("nobody has it");
        assert!(mesh[2].broadcasts().await.is_none());
        let receipt = mesh[0].broadcast("all").await.expect("there are nodes");
        assert_eq!(message(&mut taken).await.payload(), "all");
        assert_eq!(receipt.acked().await.expect("not closed").acknowledged, 3);
        drop(taken);
        let receipt = mesh[0]
            .broadcast("discarded")
            .await
            .expect("there are nodes");
        assert_eq!(receipt.acked().await.expect("not closed").acknowledged, 3);
        let mut taken = mesh[2].broadcasts().await.expect("it was given back");
        mesh[1].broadcast("again").await.expect("there are nodes");
        assert_eq!(message(&mut taken).await.payload(), "again");
    })
    .await;
}

#[tokio::test]
async fn a_role_given_up_amid_traffic_ends_its_inbox_after_what_was_delivered() {
    within(async {
        let mesh = mesh(3).await;
        let mut inboxes = register_on(&mesh, &[1, 2], "work").await;
        let channel = mesh[0].channel("work");
        let sender = tokio::spawn({
            let channel = channel.clone();
            async move {
                for number in 0..20_000u64 {
                    channel
                        .multicast(number.to_be_bytes().to_vec())
                        .await
                        .expect("one stays");
                }
            }
        });
        let mut moving = inboxes.pop().expect("there are two");
        let mut next = 0u64;
        let check = |payload: &[u8], next: &mut u64| {
            assert_eq!(payload, next.to_be_bytes());
            *next += 1;
        };
        while next < 1_000 {
            check(message(&mut moving).await.payload(), &mut next);
        }
        moving.unregister().await.expect("the node is not closed");
        let end = loop {
            match moving.next().await {
                Some(InboxItem::Message(message)) => check(message.payload(), &mut next),
                other => break other,
            }
        };
        let unregistered = ClosedReason::Unregistered;
        assert!(
            matches!(end, Some(InboxItem::Closed(reason)) if reason == unregistered),
            "{end:?}"
        );
        assert!(moving.next().await.is_none());
        let mut staying = 0u64;
        while staying < 20_000 {
            check(message(&mut inboxes[0]).await.payload(), &mut staying);
        }
        sender.await.expect("every message was sent");
        mesh[2]
            .register("work")
            .await
            .expect("the role is free again");
    })
    .await;
}

#[tokio::test]
async fn a_role_moves_from_node_to_node() {
    within(async {
        let mesh = mesh(3).await;
        let channel = mesh[0].channel("master");
        for (round, holder) in [1, 2, 1].into_iter().enumerate() {
            let mut inboxes = register_on(&mesh, &[holder], "master").await;
            channel
                .multicast(round.to_string())
                .await
                .expect("there is a holder");
            assert_eq!(
                message(&mut inboxes[0]).await.payload(),
                round.to_string().as_bytes()
            );
            inboxes[0]
                .unregister()
                .await
                .expect("the node is not closed");
            let mut watch = mesh[0].watch();
            while mesh[0]
                .members()
                .await
                .iter()
                .any(|member| member.holds("master"))
            {
                watch.next().await.expect("the node is not closed");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_many_threads_send_at_once_and_nothing_is_lost() {
    const TASKS: u64 = 4;
    const EACH: u64 = 5_000;
    within(async {
        let mesh = mesh(3).await;
        let inboxes = register_on(&mesh, &[0, 1, 2], "busy").await;
        let mut tasks = tokio::task::JoinSet::new();
        for node in &mesh {
            for _ in 0..TASKS {
                let channel = node.channel("busy");
                tasks.spawn(async move {
                    for _ in 0..EACH {
                        let receipt = channel.multicast("x".repeat(40)).await;
                        receipt.expect("there are holders");
                    }
                });
            }
        }
        for mut inbox in inboxes {
            tasks.spawn(async move {
                let mut last: BTreeMap<_, u64> = BTreeMap::new();
                let mut items = Vec::new();
                while last.values().sum::<u64>() < 3 * TASKS * EACH {
                    inbox.next_many(&mut items, 500).await;
                    for item in items.drain(..) {
                        let InboxItem::Message(message) = item else {
                            panic!("{item:?}")
                        };
                        let last = last.entry(message.origin()).or_default();
                        *last += 1;
                        assert_eq!(message.seq(), Some(Seq(*last)));
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("no panic");
        }
    })
    .await;
}

#[tokio::test]
async fn an_inbox_is_a_stream() {
    within(async {
        let mesh = mesh(1).await;
        let inbox = mesh[0].register("sink").await.expect("the role is free");
        let channel = mesh[0].channel("sink");
        for number in 0..3 {
            channel
                .multicast(number.to_string())
                .await
                .expect("there is a holder");
        }
        let messages = inbox.filter_map(|item| std::future::ready(item.into_message()));
        let payloads: Vec<_> = messages
            .take(3)
            .map(|message| message.payload().clone())
            .collect()
            .await;
        assert_eq!(payloads, ["0", "1", "2"]);
    })
    .await;
}

#[tokio::test]
async fn whoever_comes_later_is_told_where_it_begins() {
    within(async {
        let mesh = mesh(2).await;
        let mut inboxes = register_on(&mesh, &[0], "news").await;
        let channel = mesh[0].channel("news");
        channel.multicast("old").await.expect("there is a holder");
        let first = inboxes[0].next().await;
        let first = first.and_then(InboxItem::into_message);
        let first = first.expect("what begins at the beginning needs no word");
        assert_eq!(first.payload(), "old");
        let mut late = mesh[1].register("news").await.expect("the role is free");
        mesh[0]
            .wait_for("news", 2)
            .await
            .expect("the node is not closed");
        channel.multicast("new").await.expect("there are holders");
        let origin = Origin {
            node: mesh[0].id(),
            epoch: mesh[0].epoch(),
        };
        match late.next().await {
            Some(InboxItem::Started(started)) => {
                assert_eq!((started.origin, started.first), (origin, Seq(2)));
            }
            other => panic!("it begins in the middle: {other:?}"),
        }
        assert_eq!(message(&mut late).await.payload(), "new");
        assert_eq!(message(&mut inboxes[0]).await.payload(), "new");

        // The same goes for what a node sends to itself, and for a role that is taken up again.
        inboxes[0]
            .unregister()
            .await
            .expect("the node is not closed");
        match inboxes[0].next().await {
            Some(InboxItem::Closed(ClosedReason::Unregistered)) => {}
            other => panic!("the inbox ends: {other:?}"),
        }
        assert!(inboxes[0].next().await.is_none());
        let mut again = mesh[0].register("news").await.expect("the role is free");
        channel.multicast("third").await.expect("there are holders");
        match again.next().await {
            Some(InboxItem::Started(started)) => {
                assert_eq!((started.origin, started.first), (origin, Seq(3)));
            }
            other => panic!("it begins in the middle: {other:?}"),
        }
        assert_eq!(message(&mut again).await.payload(), "third");
        assert_eq!(message(&mut late).await.payload(), "third");
        drop(mesh);
    })
    .await;
}

#[tokio::test]
async fn gossip_that_cannot_be_is_refused() {
    within(async {
        let mesh = mesh(2).await;
        let mut inboxes = register_on(&mesh, &[1], "rumours").await;
        let channel = |spread| mesh[0].channel("rumours").dissemination(spread);

        let nowhere = channel(Dissemination::Gossip { fanout: 0 });
        let error = nowhere.multicast("x").await.expect_err("it goes to nobody");
        assert_eq!(error, SendError::NotSent(NotSent::NoFanout));

        let causal = channel(Dissemination::gossip()).order(Order::Causal);
        let error = causal
            .multicast("x")
            .await
            .expect_err("it has no such order");
        assert_eq!(error, SendError::NotSent(NotSent::NotCausal));

        let receipt = channel(Dissemination::gossip()).multicast("psst").await;
        assert_eq!(payloads(&mut inboxes[0], 1).await, [b"psst".to_vec()]);
        let receipt = receipt.expect("there is a holder");
        receipt.stable().await.expect("the holder has it");
        assert_eq!(receipt.acked().await.expect("not closed").acknowledged, 1);
    })
    .await;
}
