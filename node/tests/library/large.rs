//! Payloads that are too large to travel in one piece.

use std::io;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rolecast::{
    Bytes, CutShort, Dissemination, Inbox, InboxItem, LargeMessage, Limits, MeshSecret,
    PayloadError, SendError, TypedItem,
};
use tokio::io::AsyncReadExt as _;

use crate::mesh::{mesh, mesh_of, message, register_on, within};

/// The next item, which is large.
async fn large(inbox: &mut Inbox) -> LargeMessage {
    match inbox.next().await {
        Some(InboxItem::Large(large)) => large,
        other => panic!("a large message was expected, not {other:?}"),
    }
}

/// Bytes of which each says where it stands, more or less.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ at >> 8) as u8).collect()
}

#[tokio::test]
async fn every_holder_gets_it_whole_in_its_place() {
    within(async {
        let mesh = mesh(3).await;
        let mut inboxes = register_on(&mesh, &[0, 1, 2], "films").await;
        for dissemination in Dissemination::ALL {
            let channel = mesh[0].channel("films").dissemination(dissemination);
            let payload = pattern(3 << 20);
            let sending = async {
                channel
                    .multicast("before")
                    .await
                    .expect("there are holders");
                let receipt = channel.multicast(payload.clone()).await;
                channel
                    .multicast("behind")
                    .await
                    .expect("there are holders");
                receipt.expect("there are holders")
            };
            let reading = inboxes.iter_mut().map(|inbox| async {
                assert_eq!(message(inbox).await.payload(), "before");
                let large = large(inbox).await;
                assert_eq!(large.length(), Some(3 << 20));
                assert_eq!(large.origin(), mesh[0].id());
                let seq = large.seq();
                assert!(large.into_bytes().await.expect("it is complete") == payload);
                assert_eq!(message(inbox).await.payload(), "behind");
                seq
            });
            let reading = futures_util::future::join_all(reading);
            let (receipt, seqs) = tokio::join!(sending, reading);
            assert_eq!(seqs, [Some(receipt.seq()); 3]);
            let outcome = receipt.acked().await.expect("the node is not closed");
            assert_eq!((outcome.acknowledged, outcome.is_complete()), (3, true));
        }
    })
    .await;
}

#[tokio::test]
async fn it_is_read_before_it_is_complete_and_others_pass_it() {
    within(async {
        let mesh = mesh(2).await;
        let mut inbox = register_on(&mesh, &[1], "films").await.remove(0);
        let channel = mesh[0].channel("films");
        let (chunks, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
        let source = stream::unfold(receiver, async |mut receiver| {
            Some((receiver.recv().await?, receiver))
        });
        let sending = async { channel.multicast_stream(source).await };
        let reading = async {
            let send = async |text: &'static str| {
                let sent = chunks.send(Ok(text.into())).await;
                sent.expect("it is awaited");
            };
            send("first").await;
            let film = large(&mut inbox).await;
            assert_eq!(film.length(), None);
            let mut film = film.into_reader();
            assert_eq!(
                film.chunk().await.expect("it goes on"),
                Some("first".into())
            );
            // What is small does not wait for the end of what is large.
            channel.multicast("small").await.expect("there is a holder");
            assert_eq!(message(&mut inbox).await.payload(), "small");
            send("second").await;
            drop(chunks);
            let rest = film
                .next()
                .await
                .expect("there is more")
                .expect("it goes on");
            assert_eq!(rest, "second");
            assert!(film.next().await.is_none());
        };
        let (sent, ()) = tokio::join!(sending, reading);
        let outcome = sent.expect("it was sent").acked().await;
        assert_eq!(outcome.expect("the node is not closed").acknowledged, 1);
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_stops_holds_up_its_own_payload_alone() {
    within(async {
        let limits = Limits {
            flow_window_bytes: 256 << 10,
            ..Limits::default()
        };
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 2, |builder| builder.limits(limits.clone())).await;
        let mut inbox = register_on(&mesh, &[1], "films").await.remove(0);
        let channel = mesh[0].channel("films");
        let held_up = tokio::spawn({
            let channel = channel.clone();
            async move {
                channel
                    .multicast_reader(tokio::io::repeat(7))
                    .await
                    .map(drop)
            }
        });
        let _not_read = large(&mut inbox).await;
        // Another payload and small messages go past it, to the same role.
        let second = pattern(2 << 20);
        let (sent, read) = tokio::join!(channel.multicast(second.clone()), async {
            let film = large(&mut inbox).await;
            film.into_bytes().await
        });
        assert!(read.expect("it is complete") == second);
        channel.multicast("small").await.expect("there is a holder");
        assert_eq!(message(&mut inbox).await.payload(), "small");
        let outcome = sent.expect("it was sent").acked().await;
        assert!(outcome.expect("the node is not closed").is_complete());
        assert!(!held_up.is_finished());
        held_up.abort();
    })
    .await;
}

#[tokio::test]
async fn what_is_broken_off_is_cut_short_for_its_readers() {
    within(async {
        let mesh = mesh(2).await;
        let mut inbox = register_on(&mesh, &[1], "films").await.remove(0);
        let channel = mesh[0].channel("films");

        let broken = [
            Ok("some".into()),
            Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        ];
        let sent = channel.multicast_stream(stream::iter(broken)).await;
        let error = sent.expect_err("its source failed");
        assert!(!error.may_have_arrived());
        let SendError::CutShort(CutShort::Source { kind, .. }) = error else {
            panic!("{error}");
        };
        assert_eq!(kind, io::ErrorKind::BrokenPipe);
        let cut = large(&mut inbox).await.into_bytes().await;
        assert_eq!(cut, Err(PayloadError::CutShort));

        // As is one that nobody waits for any more.
        let dropped = tokio::time::timeout(
            Duration::from_millis(50),
            channel
                .multicast_reader(tokio::io::repeat(7))
                .length(1 << 32),
        );
        assert!(dropped.await.is_err());
        let mut reader = large(&mut inbox).await.into_reader();
        let mut bytes = Vec::new();
        let error = reader.read_to_end(&mut bytes).await.expect_err("it is cut");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(bytes.iter().all(|&byte| byte == 7));

        for (length, announced) in [(4u64, 3), (4, 5)] {
            let source = tokio::io::repeat(7).take(length);
            let sent = channel.multicast_reader(source).length(announced).await;

            assert_eq!(
                sent.expect_err("it has another length"),
                SendError::CutShort(CutShort::Length {
                    announced,
                    sent: length
                })
            );
        }
        // What has more is found out before any of it is sent.
        let cut = large(&mut inbox).await.into_bytes().await;
        assert_eq!(cut, Err(PayloadError::CutShort));
    })
    .await;
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_the_receipt_says_by_whom() {
    within(async {
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 3, |builder| builder).await;
        let limits = Limits {
            large_bytes_max: 1 << 20,
            ..Limits::default()
        };
        let builder = crate::mesh::builder(&secret).seeds([mesh[0].addr()]);
        let picky = builder.limits(limits).start().await;
        let picky = picky.expect("a node starts on loopback");
        let mut refusing = picky.register("films").await.expect("the role is free");
        let mut taking = register_on(&mesh[1..2], &[0], "films").await.remove(0);
        mesh[0].wait_for("films", 2).await.expect("it is open");
        let channel = mesh[0].channel("films");
        let payload = pattern(2 << 20);
        for announced in [true, false] {
            let source = stream::iter([Ok::<_, io::Error>(Bytes::from(payload.clone()))]);
            let sending = channel.multicast_stream(source);
            let sending = match announced {
                true => sending.length(2 << 20),
                false => sending,
            };
            let (sent, taken, refused) = tokio::join!(
                sending,
                async { large(&mut taking).await.into_bytes().await },
                async { large(&mut refusing).await.into_bytes().await },
            );
            assert!(taken.expect("it is complete") == payload);
            assert_eq!(refused, Err(PayloadError::TooLarge { max: 1 << 20 }));
            let outcome = sent.expect("it was sent").acked().await;
            let outcome = outcome.expect("the node is not closed");
            assert_eq!(outcome.acknowledged, 1);
            assert_eq!(
                (outcome.too_large, outcome.lost),
                (vec![picky.id()], vec![])
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_reader_is_cut_short_when_its_role_is_dropped() {
    within(async {
        let mesh = mesh(2).await;
        let mut inbox = register_on(&mesh, &[1], "films").await.remove(0);
        let channel = mesh[0].channel("films");
        let sending =
            tokio::spawn(async move { channel.multicast_reader(tokio::io::repeat(7)).await });
        let film = large(&mut inbox).await;
        inbox.unregister().await.expect("the node is not closed");
        assert_eq!(film.into_bytes().await, Err(PayloadError::CutShort));
        // With nobody left to read, the sender stops, and its receipt says who went.
        let receipt = sending
            .await
            .expect("no panic")
            .expect("it was sent to somebody");
        let outcome = receipt.acked().await.expect("the node is not closed");
        assert_eq!(
            (outcome.acknowledged, outcome.lost),
            (0, vec![mesh[1].id()])
        );
    })
    .await;
}

#[tokio::test]
async fn large_values_come_whole_and_in_order() {
    within(async {
        let mesh = mesh(2).await;
        let mut inbox = mesh[1]
            .register_of::<Vec<u32>>("numbers")
            .await
            .expect("the role is free");
        let channel = mesh[0].channel_of::<Vec<u32>>("numbers");
        mesh[0].wait_for("numbers", 1).await.expect("it is open");
        let values = [vec![1], (0..100_000).collect(), vec![2]];
        let sending = async {
            for value in &values {
                channel.multicast(value).await.expect("there is a holder");
            }
        };
        let reading = async {
            for value in &values {
                match inbox.next().await {
                    Some(TypedItem::Message(message)) => assert!(message.value == *value),
                    other => panic!("a value was expected, not {other:?}"),
                }
            }
        };
        tokio::join!(sending, reading);
    })
    .await;
}
