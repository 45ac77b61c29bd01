//! What a sender can do about a holder that does not take what was sent to it.

use std::time::Duration;

use futures_util::StreamExt as _;
use rolecast::{
    Channel, CutShort, InboxItem, Limits, MeshSecret, Node, NotSent, PayloadError, SendError,
    SlowReceivers, TrySendError,
};

use crate::mesh::{mesh_of, message, register_on, within};

const WINDOW_BYTES: usize = 64 << 10;

/// A mesh whose flows have small windows.
async fn narrow(nodes: usize) -> Vec<Node> {
    let limits = Limits {
        flow_window_bytes: WINDOW_BYTES,
        ..Limits::default()
    };
    let secret = MeshSecret::generate();
    mesh_of(&secret, nodes, |builder| builder.limits(limits.clone())).await
}

/// Sends until there is no room; gives how many messages were sent and why the next one was not.
async fn fill(channel: &Channel) -> (u64, TrySendError) {
    drop(channel.reserve(0).await.expect("there is a holder"));
    let mut sent = 0;
    let error = fill_on(channel, &mut sent).await;
    (sent, error)
}

async fn fill_on(channel: &Channel, sent: &mut u64) -> TrySendError {
    loop {
        match channel.try_send(vec![7; 1_000]) {
            Ok(receipt) => {
                *sent += 1;
                assert_eq!(receipt.seq().0, *sent);
            }
            Err(TrySendError::Full { slowest: None, .. }) => tokio::task::yield_now().await,
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn whoever_keeps_the_window_shut_is_named_and_the_payload_comes_back() {
    within(async {
        let mesh = narrow(3).await;
        let mut inboxes = register_on(&mesh, &[1, 2], "news").await;
        let channel = mesh[0].channel("news");
        let mut reads = inboxes.remove(0);
        let reading = tokio::spawn(async move {
            let mut taken = 0;
            while message(&mut reads).await.payload() != "the last" {
                taken += 1;
            }
            taken
        });
        let (mut sent, mut error) = fill(&channel).await;
        // For a moment the one that reads may be behind too.
        while matches!(&error, TrySendError::Full { slowest, .. } if *slowest != Some(mesh[2].id()))
        {
            tokio::task::yield_now().await;
            match channel.try_send(error.into_payload()) {
                Ok(_) => sent += 1,
                Err(other) => {
                    error = other;
                    continue;
                }
            }
            error = fill_on(&channel, &mut sent).await;
        }
        match error {
            TrySendError::Full { slowest, payload } => {
                assert_eq!(slowest, Some(mesh[2].id()));
                assert_eq!(payload, vec![7; 1_000]);
            }
            other => panic!("a holder does not read: {other:?}"),
        }
        assert_eq!(channel.slowest(), Some(mesh[2].id()));

        // When it reads, there is room again, and whoever waits for it gets it.
        let (permit, ()) = tokio::join!(channel.reserve(8), async {
            for _ in 0..sent {
                assert_eq!(message(&mut inboxes[0]).await.payload().len(), 1_000);
            }
        });
        let last = permit.expect("there are holders").send("the last");
        let last = last.expect("there is room");
        assert_eq!(last.seq().0, sent + 1);
        assert_eq!(message(&mut inboxes[0]).await.payload(), "the last");
        assert_eq!(reading.await.expect("no panic"), sent);
        assert_eq!(last.acked().await.expect("not closed").acknowledged, 2);
        assert_eq!(channel.slowest(), None);
    })
    .await;
}

#[tokio::test]
async fn a_channel_that_waits_up_to_a_deadline_sends_nothing_after_it() {
    within(async {
        let mesh = narrow(2).await;
        let mut inboxes = register_on(&mesh, &[1], "news").await;
        let patience = Duration::from_millis(50);
        let channel = mesh[0].channel("news").slow_receivers(SlowReceivers::Wait {
            deadline: Some(patience),
        });
        let (sent, _) = fill(&channel).await;
        // Any message is too much, whichever way it is sent.
        let late = "x".repeat(1_000);
        let not_sent = SendError::NotSent(NotSent::TimedOut);
        assert_eq!(channel.multicast(late.clone()).await.err(), Some(not_sent));
        assert_eq!(channel.reserve(1_000).await.err(), Some(NotSent::TimedOut));

        for _ in 0..sent {
            assert_eq!(message(&mut inboxes[0]).await.payload().len(), 1_000);
        }
        channel.multicast("next").await.expect("there is room");
        let next = message(&mut inboxes[0]).await;
        assert_eq!(next.payload(), "next", "what failed was not sent");
        assert_eq!(next.seq().map(|seq| seq.0), Some(sent + 1));
    })
    .await;
}

#[tokio::test]
async fn a_large_payload_waits_as_long_for_each_part_and_is_cut_short() {
    within(async {
        let mesh = narrow(2).await;
        let mut inboxes = register_on(&mesh, &[1], "films").await;
        let patience = SlowReceivers::Wait {
            deadline: Some(Duration::from_millis(100)),
        };
        let channel = mesh[0].channel("films").slow_receivers(patience);
        let sending = channel.multicast(vec![1; 1 << 20]).into_future();
        let (sent, item) = tokio::join!(sending, inboxes[0].next());
        let error = sent.expect_err("nobody reads it");
        assert_eq!(error, SendError::CutShort(CutShort::TimedOut));
        let Some(InboxItem::Large(film)) = item else {
            panic!("it was announced: {item:?}");
        };
        assert_eq!(film.into_bytes().await, Err(PayloadError::CutShort));

        // Slow is not stuck: what is read bit by bit comes through, however long it takes.
        let sending = channel.multicast(vec![1; 1 << 20]).into_future();
        let reading = async {
            let Some(InboxItem::Large(film)) = inboxes[0].next().await else {
                panic!("it is announced");
            };
            let (mut bytes, mut reader) = (0, film.into_reader());
            while let Some(chunk) = reader.next().await {
                bytes += chunk.expect("it is not cut short").len();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            bytes
        };
        let (sent, read) = tokio::join!(sending, reading);
        sent.expect("it is on its way");
        assert_eq!(read, 1 << 20);
    })
    .await;
}

#[tokio::test]
async fn room_that_was_reserved_is_used_or_given_back() {
    within(async {
        let mesh = narrow(2).await;
        let mut inboxes = register_on(&mesh, &[1], "news").await;
        let channel = mesh[0].channel("news");
        let permit = channel.reserve(4).await.expect("there is a holder");
        let error = permit.send("12345").expect_err("one byte too many");
        assert_eq!(error, NotSent::TooLarge { bytes: 5, max: 4 }.into());
        let whole = channel.reserve(64 << 10).await.expect("it is one piece");
        drop(whole);
        let error = channel.reserve((64 << 10) + 1).await;
        assert!(matches!(error, Err(NotSent::TooLarge { .. })), "{error:?}");

        // All the room there is, over and over: what is dropped comes back.
        for _ in 0..100 {
            let one = channel.reserve(64 << 10).await.expect("there is a holder");
            drop(one);
        }
        let permit = channel.reserve(4).await.expect("there is a holder");
        channel.multicast("first").await.expect("there is a holder");
        let receipt = permit.send("next").expect("there is room");
        assert_eq!(receipt.seq().0, 2);
        for expected in ["first", "next"] {
            assert_eq!(message(&mut inboxes[0]).await.payload(), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_sent_at_once_says_why() {
    within(async {
        let mesh = narrow(2).await;
        let channel = mesh[0].channel("nobody");
        let error = channel.try_send("x").expect_err("nobody is known");
        assert!(matches!(error, TrySendError::NotReady { .. }), "{error:?}");
        // The node looks without being waited for.
        let error = loop {
            match channel.try_send("x") {
                Err(TrySendError::NotReady { .. }) => tokio::task::yield_now().await,
                other => break other.expect_err("nobody holds it"),
            }
        };
        let TrySendError::NotSent { why, payload } = error else {
            panic!("nobody holds it: {error:?}");
        };
        assert_eq!(
            (why, payload.len()),
            (
                NotSent::NoHolder {
                    role: "nobody".into()
                },
                1
            )
        );
        let large = channel.try_send(vec![0; 1 << 20]).expect_err("too large");
        assert_eq!(large.into_payload().len(), 1 << 20);
        mesh[0].clone().shutdown().await;
        let error = channel.try_send("x").expect_err("the node is closed");
        assert!(
            matches!(
                error,
                TrySendError::NotSent {
                    why: NotSent::Closed(_),
                    ..
                }
            ),
            "{error:?}"
        );
    })
    .await;
}
