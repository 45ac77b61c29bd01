//! Futures of the library that are dropped before they resolve: after each number of polls, what their documentation says holds.

use std::future::{Future as _, IntoFuture, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rolecast::{
    Bytes, Inbox, InboxItem, Limits, MeshEvent, MeshSecret, Node, PayloadError, SendError,
    TypedItem, WaitError,
};

use crate::mesh::{builder, mesh, mesh_of, message, register_on, within};

/// Polls a future, lets others run and polls it again, so many times, and drops it; gives what it resolved to, if it did.
pub(crate) async fn dropped_after<F: IntoFuture>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future.into_future());
    for _ in 0..polls {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    match polled {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// So often is a future polled in vain at most before it is dropped.
pub(crate) const POLLS_MAX: usize = 4;

/// Gives other tasks, such as the node's, time to see that a future was dropped, or that one was not.
pub(crate) async fn others_run() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A node, another one that holds a role, and its inbox.
async fn pair(role: &str) -> (Vec<Node>, Inbox) {
    let mesh = mesh(2).await;
    let inbox = register_on(&mesh, &[1], role).await.remove(0);
    (mesh, inbox)
}

#[tokio::test]
async fn a_start_that_is_dropped_leaves_the_address_free() {
    within(async {
        let secret = MeshSecret::generate();
        let node = builder(&secret).start().await.expect("it starts");
        let addr = node.addr();
        node.shutdown().await;
        for polls in 0..POLLS_MAX {
            drop(dropped_after(polls, builder(&secret).listen(addr).start()).await);
            loop {
                // What has started is stopped by its drop, which takes a moment.
                if let Ok(again) = builder(&secret).listen(addr).start().await {
                    again.shutdown().await;
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_role_is_free_after_its_registration_was_dropped_or_its_inbox_given_up() {
    within(async {
        let mesh = mesh(2).await;
        for polls in 0..POLLS_MAX {
            let free = async || mesh[1].register("role").await.expect("it is free");
            drop(dropped_after(polls, mesh[1].register("role")).await);
            let mut inbox = free().await;
            mesh[0].wait_for("role", 1).await.expect("it is not closed");
            // To give it up cannot be called off.
            let _ = dropped_after(polls, inbox.unregister()).await;
            let closed = inbox.next().await;
            assert!(matches!(closed, Some(InboxItem::Closed(_))), "{closed:?}");
            assert!(inbox.next().await.is_none());
            let gone = async {
                while mesh[0].members().await.iter().any(|m| m.holds("role")) {
                    tokio::task::yield_now().await;
                }
            };
            gone.await;
            let mut typed = mesh[1].register_of::<u32>("role").await.expect("free");
            let _ = dropped_after(polls, typed.unregister()).await;
            assert!(matches!(typed.next().await, Some(TypedItem::Closed(_))));
            drop(dropped_after(polls, mesh[1].register_of::<u32>("role")).await);
            drop(free().await);
        }
    })
    .await;
}

#[tokio::test]
async fn the_inbox_of_broadcasts_is_free_after_a_future_of_it_was_dropped() {
    within(async {
        let mesh = mesh(1).await;
        let node = &mesh[0];
        for polls in 0..POLLS_MAX {
            // The node's task answers between the last poll and the drop.
            {
                let mut asking = pin!(node.broadcasts());
                poll_fn(|cx| Poll::Ready(asking.as_mut().poll(cx).is_ready())).await;
                if polls > 0 {
                    others_run().await;
                }
            }
            drop(dropped_after(polls, node.broadcasts()).await);
            others_run().await;
            let mut inbox = node.broadcasts().await.expect("nobody has it");
            node.broadcast("news").await.expect("it is sent");
            assert_eq!(message(&mut inbox).await.payload(), "news");
            drop(inbox);
            others_run().await;
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_by_whoever_looks_at_it_and_goes_away() {
    within(async {
        let (mesh, mut inbox) = pair("role").await;
        let mut events = mesh[0].watch();
        let channel = mesh[0].channel("role");
        let mut heard = Vec::new();
        for number in 0..50_u32 {
            let sent = channel.multicast(number.to_string()).await;
            let receipt = sent.expect("there is a holder");
            let polls = number as usize % POLLS_MAX;
            let _ = dropped_after(polls, receipt.acked()).await;
            let _ = dropped_after(polls, receipt.stable()).await;
            let _ = dropped_after(polls, mesh[0].members()).await;
            let _ = dropped_after(polls, mesh[0].closed()).await;
            let _ = dropped_after(polls, mesh[0].wait_for("role", 9)).await;
            let _ = dropped_after(polls, channel.wait_for_holders(9)).await;
            if number % 2 == 0 {
                let item = dropped_after(polls, inbox.next()).await;
                heard.extend(item.flatten().and_then(InboxItem::into_message));
            } else {
                let mut items = Vec::new();
                let _ = dropped_after(polls, inbox.next_many(&mut items, 2)).await;
                heard.extend(items.into_iter().filter_map(InboxItem::into_message));
            }
            if number == 49 {
                while heard.len() < 50 {
                    heard.push(message(&mut inbox).await);
                }
                let outcome = receipt.acked().await.expect("the node is not closed");
                assert_eq!(outcome.acknowledged, 1);
                receipt.stable().await.expect("a holder has it");
            }
        }
        for (number, message) in heard.iter().enumerate() {
            assert_eq!(message.payload(), number.to_string().as_bytes());
        }
        assert_eq!(mesh[0].wait_for("role", 1).await, Ok::<_, WaitError>(1));

        // As long as it is held: a role that is taken up and dropped in one breath is never heard of.
        let _another = mesh[1].register("another").await.expect("it is free");
        let updated = async {
            let mut polls = 0;
            loop {
                polls = (polls + 1) % POLLS_MAX;
                let event = dropped_after(polls, events.next()).await;
                if let Some(Some(MeshEvent::Updated(member))) = event
                    && member.holds("another")
                {
                    return member.id;
                }
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(updated.await, mesh[1].id());
    })
    .await;
}

#[tokio::test]
async fn a_multicast_that_is_dropped_sends_nothing_and_takes_no_room() {
    within(async {
        let limits = Limits {
            flow_window_bytes: 64 << 10,
            ..Limits::default()
        };
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 2, |builder| builder.limits(limits.clone())).await;
        let mut inbox = register_on(&mesh, &[1], "slow").await.remove(0);
        let channel = mesh[0].channel("slow");
        let typed = mesh[0].channel_of::<Vec<u8>>("slow");
        let brief = Duration::from_millis(200);
        let mut sent = 0_u64;
        while let Ok(receipt) = channel.multicast(vec![1; 8_000]).timeout(brief).await {
            sent = receipt.seq().0;
        }
        for polls in 0..POLLS_MAX {
            let pending = dropped_after(0, channel.multicast(vec![2; 8_000])).await;
            assert!(pending.is_none(), "there is no room: {polls}");
            assert!(dropped_after(0, channel.reserve(8_000)).await.is_none());
            let value = vec![2; 8_000];
            assert!(dropped_after(0, typed.multicast(&value)).await.is_none());
        }
        for _ in 0..sent {
            assert_eq!(message(&mut inbox).await.payload()[0], 1);
        }
        let permit = channel.reserve(4).await.expect("there is room");
        let receipt = permit.send("last").expect("there is a holder");
        assert_eq!(receipt.seq().0, sent + 1, "what was dropped has no number");
        assert_eq!(message(&mut inbox).await.payload(), "last");
    })
    .await;
}

/// A payload whose source gives a first chunk and then nothing.
fn stuck() -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send {
    stream::once(async { Ok(Bytes::from_static(b"first")) }).chain(stream::pending())
}

#[tokio::test]
async fn a_large_payload_that_is_dropped_is_cut_short_and_gives_its_place_back() {
    within(async {
        let (mesh, mut inbox) = pair("films").await;
        let channel = mesh[0].channel("films");
        // More than may be on their way at once.
        for round in 0..24 {
            let sending = channel.multicast_stream(stuck());
            let reading = async {
                let Some(InboxItem::Large(film)) = inbox.next().await else {
                    panic!("a large payload was expected");
                };
                let mut film = film.into_reader();
                // Nothing is lost by whoever looks and goes away.
                let first = loop {
                    let polls = round % POLLS_MAX;
                    if let Some(chunk) = dropped_after(polls, film.chunk()).await {
                        break chunk;
                    }
                };
                assert_eq!(first, Ok(Some("first".into())));
                film
            };
            let sending = sending.into_future();
            let mut film = tokio::select! {
                biased;
                film = reading => film,
                sent = sending => panic!("the source has no end: {sent:?}"),
            };
            assert_eq!(film.chunk().await, Err(PayloadError::CutShort));
        }
        // Dropped at its first poll, or before: no holder is left with a part of anything.
        for polls in 0..POLLS_MAX {
            drop(channel.multicast_stream(stuck()));
            assert!(
                dropped_after(polls.min(1), channel.multicast_stream(stuck()))
                    .await
                    .is_none()
            );
            let whole = vec![7; 1 << 20];
            drop(dropped_after(polls, channel.multicast(whole)).await);
        }
        channel
            .multicast("behind")
            .await
            .expect("there is a holder");
        loop {
            match inbox.next().await {
                Some(InboxItem::Large(film)) => {
                    let read = film.into_bytes().await;
                    let whole = read.as_ref().is_ok_and(|bytes| bytes.len() == 1 << 20);
                    assert!(whole || read == Err(PayloadError::CutShort), "{read:?}");
                }
                Some(InboxItem::Message(message)) => {
                    assert_eq!(message.payload(), "behind");
                    break;
                }
                other => panic!("not this: {other:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_stops_gathering_a_large_payload_holds_nobody_up() {
    within(async {
        let (mesh, mut inbox) = pair("films").await;
        let channel = mesh[0].channel("films");
        for polls in 0..POLLS_MAX {
            let sending = async { channel.multicast(vec![7; 6 << 20]).await };
            let reading = async {
                let Some(InboxItem::Large(film)) = inbox.next().await else {
                    panic!("a large payload was expected");
                };
                if polls % 2 == 0 {
                    drop(dropped_after(polls, film.into_bytes()).await);
                } else {
                    drop(dropped_after(polls, film.into_message()).await);
                }
            };
            let (sent, ()) = tokio::join!(sending, reading);
            let outcome = sent.expect("there is a holder").acked().await;
            assert!(outcome.expect("the node is not closed").is_complete());
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_dropped_arrives_once_at_most_and_its_holder_is_told() {
    within(async {
        let (mesh, mut inbox) = pair("calls").await;
        let channel = mesh[0].channel("calls");
        let typed = mesh[0].channel_of::<u32>("calls");
        let holder = mesh[1].id();
        for polls in 0..POLLS_MAX {
            assert!(dropped_after(polls, channel.request("?")).await.is_none());
            assert!(
                dropped_after(polls, typed.request::<u32>(&7))
                    .await
                    .is_none()
            );
            let all = dropped_after(polls, channel.request_all("?")).await;
            if let Some(Ok(mut answers)) = all {
                assert!(dropped_after(polls, answers.next()).await.is_none());
                assert!(dropped_after(polls, answers.collect()).await.is_none());
            }
            drop(dropped_after(polls, typed.request_all::<u32>(&7)).await);
            drop(dropped_after(polls, channel.anycast("one")).await);
            drop(dropped_after(polls, channel.unicast(holder, "one")).await);
            drop(dropped_after(polls, typed.anycast(&7)).await);
            drop(dropped_after(polls, typed.unicast(holder, &7)).await);
        }
        let last = async { channel.request("last").await };
        let answering = async {
            let mut requests = 0;
            loop {
                let request = message(&mut inbox).await;
                if request.payload() == "last" {
                    // It only waits.
                    assert!(dropped_after(1, request.cancelled()).await.is_none());
                    let (_, responder) = request.into_parts();
                    let responder = responder.expect("it is a request");
                    assert!(dropped_after(1, responder.cancelled()).await.is_none());
                    responder.reply("yes").await.expect("it is awaited");
                    return requests;
                }
                if request.is_request() {
                    requests += 1;
                    request.cancelled().await;
                }
            }
        };
        let (reply, requests) = tokio::join!(last, answering);
        assert_eq!(reply.expect("it is answered").payload, "yes");
        assert!(requests <= 4 * POLLS_MAX, "{requests} of {}", 4 * POLLS_MAX);
    })
    .await;
}

#[tokio::test]
async fn answers_are_given_once_at_most_and_none_is_lost_by_looking() {
    within(async {
        let (mesh, mut inbox) = pair("calls").await;
        tokio::spawn(async move {
            let mut number = 0;
            while let Some(item) = inbox.next().await {
                let request = item.into_message().expect("only requests come");
                number += 1;
                if number % 2 == 0 {
                    let _ = dropped_after(0, request.reply("dropped")).await;
                } else {
                    request.reply("awaited").await.expect("somebody waits");
                }
            }
        });
        let channel = mesh[0].channel("calls");
        for number in 1..=2 * POLLS_MAX {
            let answers = channel.request_all("?").await.expect("there is a holder");
            let mut answers = answers;
            let mut got = Vec::new();
            loop {
                // However often it is looked at.
                match dropped_after(number % POLLS_MAX, answers.next()).await {
                    Some(Some(answer)) => got.push(answer.result),
                    Some(None) => break,
                    None => tokio::task::yield_now().await,
                }
            }
            let expected = if number % 2 == 0 {
                "dropped"
            } else {
                "awaited"
            };
            assert_eq!(got, [Ok(Bytes::from_static(expected.as_bytes()))]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_description_that_is_dropped_after_one_poll_is_made() {
    within(async {
        let mesh = mesh(1).await;
        // Each is polled once more than it says.
        for polls in 0..POLLS_MAX {
            let site = format!("site-{polls}");
            if let Some(described) = dropped_after(polls, mesh[0].describe().site(&site)).await {
                described.expect("the node runs");
            }
            assert_eq!(mesh[0].members().await[0].site, site);
        }
        drop(mesh[0].describe().site("nowhere"));
        assert_ne!(mesh[0].members().await[0].site, "nowhere");
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_that_is_dropped_goes_on() {
    within(async {
        for polls in 0..POLLS_MAX {
            let mesh = mesh(2).await;
            if polls % 2 == 0 {
                let _ = dropped_after(polls, mesh[0].shutdown()).await;
            } else {
                let patience = Duration::from_secs(5);
                let _ = dropped_after(polls, mesh[0].shutdown_within(patience)).await;
            }
            mesh[0].closed().await;
            let sent = mesh[0].broadcast("too late").await;
            assert!(matches!(sent, Err(SendError::NotSent(_))));
            assert_eq!(mesh[1].members().await.len(), 1);
        }
    })
    .await;
}
