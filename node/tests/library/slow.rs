//! What a sender can do about a holder that does not take what was sent to it.

use std::future::{Future, IntoFuture as _, poll_fn};
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt as _;
use rolecast::{
    Channel, CutShort, Dissemination, Inbox, InboxItem, LagReason, Limits, MeshSecret, Node,
    NotSent, NotStable, Order, PayloadError, SendError, SlowReceivers, TrySendError,
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
            (taken, reads)
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
        // Whoever drops its inbox at once may not have said that it has taken the last message.
        let (taken, reads) = reading.await.expect("no panic");
        assert_eq!(taken, sent);
        assert_eq!(last.acked().await.expect("not closed").acknowledged, 2);
        assert_eq!(channel.slowest(), None);
        drop(reads);
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

/// Takes numbered messages that follow each other, up to the first item that is none.
async fn numbers_until_told(inbox: &mut Inbox) -> (Vec<u64>, InboxItem) {
    let mut numbers = Vec::new();
    loop {
        match inbox.next().await.expect("the node is not closed") {
            InboxItem::Message(message) => numbers.push(message.seq().expect("a multicast").0),
            other => return (numbers, other),
        }
    }
}

#[tokio::test]
async fn a_holder_that_is_too_slow_is_left_out_told_so_and_comes_back() {
    const MESSAGES: u64 = 400;
    within(async {
        let mesh = narrow(3).await;
        let mut inboxes = register_on(&mesh, &[1, 2], "ticks").await;
        let after = Duration::from_millis(100);
        let channel = mesh[0]
            .channel("ticks")
            .slow_receivers(SlowReceivers::Evict { after });
        let mut reads = inboxes.remove(0);
        let reading = tokio::spawn(async move {
            for seq in 1..=MESSAGES + 1 {
                assert_eq!(message(&mut reads).await.seq().map(|seq| seq.0), Some(seq));
            }
            reads
        });
        let mut receipts = Vec::new();
        for _ in 0..MESSAGES {
            receipts.push(channel.multicast(vec![7; 1_000]).await.expect("one reads"));
        }
        // The last one goes out when the slow holder is left out, and not before.
        let last = receipts.last().expect("there are many");
        last.acked().await.expect("not closed");
        let slow = &mut inboxes[0];
        let (had, told) = numbers_until_told(slow).await;
        assert!(had.iter().copied().eq(1..=had.len() as u64), "{had:?}");
        let InboxItem::Lagged(lagged) = told else {
            panic!("it was too slow: {told:?}");
        };
        assert_eq!(lagged.origin.node, mesh[0].id());
        assert_eq!(lagged.first.0, had.len() as u64 + 1);
        assert_eq!(lagged.last.0, MESSAGES, "it is back when all was sent");
        let last = channel.multicast("together again").await;
        let last = last.expect("there are holders");
        let (nothing, told) = numbers_until_told(slow).await;
        assert!(nothing.is_empty(), "{nothing:?}");
        let InboxItem::Started(started) = told else {
            panic!("it is told where it goes on: {told:?}");
        };
        assert_eq!(started.first.0, MESSAGES + 1);
        assert_eq!(message(slow).await.payload(), "together again");
        let outcome = last.acked().await.expect("not closed");
        assert_eq!((outcome.acknowledged, outcome.is_complete()), (2, true));

        // What it had got and not taken it is named for; what was sent meanwhile was not meant for it.
        for receipt in receipts {
            let outcome = receipt.acked().await.expect("not closed");
            let missed = receipt.seq() >= lagged.first;
            let evicted = !outcome.evicted.is_empty();
            assert_eq!(outcome.acknowledged, if missed || evicted { 1 } else { 2 });
            assert!(!(missed && evicted), "{outcome:?}");
            assert_eq!(outcome.is_complete(), !evicted);
            assert!(outcome.evicted.iter().all(|node| *node == mesh[2].id()));
            receipt.stable().await.expect("the other one has it");
        }
        reading.await.expect("no panic");
    })
    .await;
}

/// What a display of three values saw: the last value of each, the places that came, and those that were superseded.
#[derive(Default)]
struct Display {
    values: [u64; 3],
    came: Vec<u64>,
    superseded: Vec<u64>,
}

impl Display {
    async fn show_until(&mut self, inbox: &mut Inbox, last: u64) {
        while self.came.last() != Some(&last) {
            match inbox.next().await.expect("the node is not closed") {
                InboxItem::Message(message) => {
                    let text = String::from_utf8(message.payload().to_vec()).expect("it is text");
                    let (of, value) = text.trim().split_once(' ').expect("of what, and how much");
                    let of: usize = of.parse().expect("one of three");
                    self.values[of] = value.parse().expect("a number");
                    self.came.push(message.seq().expect("a multicast").0);
                }
                InboxItem::Lagged(lagged) => {
                    assert_eq!(lagged.reason, LagReason::Superseded);
                    self.superseded.extend(lagged.first.0..=lagged.last.0);
                }
                other => panic!("nothing is lost here: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_slow_holder_gets_the_last_of_each_key_and_holds_nobody_up() {
    const MESSAGES: u64 = 3_000;
    within(async {
        let mesh = narrow(3).await;
        let mut inboxes = register_on(&mesh, &[0, 1, 2], "state").await;
        let channel = mesh[0].channel("state");
        let channel = channel.slow_receivers(SlowReceivers::KeepLast);
        let mut own = inboxes.remove(0);
        let mut reads = inboxes.remove(0);
        let reading = tokio::spawn(async move {
            let mut display = Display::default();
            display.show_until(&mut reads, MESSAGES + 1).await;
            // Whoever drops its inbox at once may not have said that it has taken the last message.
            (display, reads)
        });
        let mut receipts = Vec::new();
        for number in 1..=MESSAGES {
            let of = number % 3;
            let reading = channel.multicast(format!("{of} {number:<900}"));
            receipts.push(reading.key(of.to_string()).await.expect("it never waits"));
        }
        // Neither the program here nor the one at the third node has read anything so far.
        for inbox in [&mut own, &mut inboxes[0]] {
            let mut slow = Display::default();
            slow.show_until(inbox, MESSAGES).await;
            assert_eq!(slow.values, [MESSAGES, MESSAGES - 2, MESSAGES - 1]);
            assert!(slow.superseded.len() > slow.came.len());
            let mut all = [slow.came, slow.superseded].concat();
            all.sort_unstable();
            assert!(
                all.into_iter().eq(1..=MESSAGES),
                "each once, or said not to come"
            );
        }
        let last = channel
            .multicast("0 0")
            .key("0")
            .await
            .expect("there are holders");
        for inbox in [&mut own, &mut inboxes[0]] {
            Display::default().show_until(inbox, MESSAGES + 1).await;
        }
        let outcome = last.acked().await.expect("not closed");
        assert_eq!((outcome.acknowledged, outcome.is_complete()), (3, true));
        let (display, _reads) = reading.await.expect("no panic");
        let (mut superseded, mut unstable) = (0, 0);
        for receipt in receipts {
            let outcome = receipt.acked().await.expect("not closed");
            assert_eq!(
                outcome.acknowledged + outcome.superseded.len(),
                3,
                "{outcome:?}"
            );
            superseded += u32::from(outcome.superseded.contains(&mesh[2].id()));
            let came = display.came.contains(&receipt.seq().0);
            assert_eq!(outcome.superseded.contains(&mesh[1].id()), !came);
            match receipt.stable().await {
                Ok(()) => {}
                Err(NotStable::Superseded) => unstable += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(superseded > 1_000, "{superseded} of {MESSAGES}");
        assert!(unstable <= superseded);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_left_out_is_refused() {
    within(async {
        let mesh = narrow(1).await;
        let _inbox = register_on(&mesh, &[0], "state").await;
        let keeps = || {
            let channel = mesh[0].channel("state");
            channel.slow_receivers(SlowReceivers::KeepLast)
        };
        for channel in [
            keeps().order(Order::Causal),
            keeps().order(Order::Unordered),
            keeps().k_safe(2),
            keeps().dissemination(Dissemination::gossip()),
        ] {
            let error = channel.multicast("x").await.expect_err("it makes no sense");
            assert_eq!(error, SendError::NotSent(NotSent::NotKeepLast));
        }
        let error = keeps()
            .multicast(vec![0; 1 << 20])
            .await
            .expect_err("it is large");
        assert!(
            matches!(error, SendError::NotSent(NotSent::TooLarge { .. })),
            "{error}"
        );
        let error = keeps()
            .multicast_reader(&[0; 9][..])
            .await
            .expect_err("it is large");
        assert_eq!(error, SendError::NotSent(NotSent::NotKeepLast));
        let error = keeps().request_all("x").await.err().expect("it asks all");
        assert_eq!(error, SendError::NotSent(NotSent::NotKeepLast));
        keeps().multicast("x").key("k").await.expect("this goes");
    })
    .await;
}

/// Polls a future a few times, now and then letting others work, and drops it half way.
async fn drop_half_way<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = std::pin::pin!(future);
    for _ in 0..polls {
        let once = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx)));
        if let Poll::Ready(done) = once.await {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn whatever_is_dropped_half_way_is_neither_lost_nor_sent_twice() {
    within(async {
        let mesh = narrow(2).await;
        let mut inboxes = register_on(&mesh, &[1], "news").await;
        let channel = mesh[0].channel("news");
        let mut inbox = inboxes.remove(0);
        let mut sent = Vec::new();
        let mut taken = Vec::new();
        let mut items = Vec::new();
        for round in 0..400usize {
            let payload = format!("{round:0>600}");
            // What resolved was sent, and what was dropped before was not.
            let resolved = match round % 3 {
                0 => drop_half_way(channel.multicast(payload.clone()).into_future(), round % 5)
                    .await
                    .map(|sent| sent.expect("there is a holder")),
                1 => drop_half_way(channel.reserve(payload.len()), round % 5)
                    .await
                    .map(|permit| permit.expect("there is a holder"))
                    .map(|permit| permit.send(payload.clone()).expect("there is room")),
                _ => channel.try_send(payload.clone()).ok(),
            };
            if let Some(receipt) = resolved {
                sent.push(payload);
                // To wait for what becomes of it changes nothing.
                drop_half_way(receipt.acked(), round % 3).await;
                drop_half_way(receipt.stable(), round % 2).await;
            }
            // A ready future wins the race now and then: the inbox keeps what it had.
            tokio::select! {
                biased;
                () = tokio::task::yield_now(), if round % 2 == 0 => {}
                item = inbox.next() => items.extend(item),
                () = std::future::ready(()) => {}
            }
            drop_half_way(inbox.next_many(&mut items, 3), round % 4).await;
        }
        channel.multicast("the end").await.expect("a holder reads");
        sent.push("the end".to_owned());
        loop {
            taken.extend(items.drain(..).map(|item| match item {
                InboxItem::Message(message) => {
                    String::from_utf8(message.payload().to_vec()).expect("it is text")
                }
                other => panic!("nothing is lost here: {other:?}"),
            }));
            if taken.last().is_some_and(|last| last == "the end") {
                break;
            }
            items.extend(inbox.next().await);
        }
        assert!(sent.len() > 100, "{} were sent", sent.len());
        assert!(taken == sent, "{} came of {}", taken.len(), sent.len());
    })
    .await;
}
