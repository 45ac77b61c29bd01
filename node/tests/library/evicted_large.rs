//! Large payloads of a sender that goes on without whoever stops reading them.

use std::future::IntoFuture as _;
use std::time::Duration;

use rolecast::{
    Channel, Inbox, InboxItem, LargeMessage, Limits, MeshSecret, Node, PayloadError, SlowReceivers,
};

use crate::mesh::{mesh_of, message, register_on, within};

const AFTER: Duration = Duration::from_millis(200);

/// Three nodes with windows of 256 KiB, the inboxes of the last two, and the first one's channel.
async fn films() -> (Vec<Node>, Vec<Inbox>, Channel) {
    let limits = Limits {
        flow_window_bytes: 256 << 10,
        ..Limits::default()
    };
    let secret = MeshSecret::generate();
    let mesh = mesh_of(&secret, 3, |builder| builder.limits(limits.clone())).await;
    let inboxes = register_on(&mesh, &[1, 2], "films").await;
    let evict = SlowReceivers::Evict { after: AFTER };
    let channel = mesh[0].channel("films").slow_receivers(evict);
    (mesh, inboxes, channel)
}

async fn film(inbox: &mut Inbox) -> LargeMessage {
    match inbox.next().await {
        Some(InboxItem::Large(film)) => film,
        other => panic!("a film is announced: {other:?}"),
    }
}

#[tokio::test]
async fn a_reader_that_stops_is_gone_on_without_and_is_meant_again_by_what_follows() {
    within(async {
        let (mesh, mut inboxes, channel) = films().await;
        let sending = channel.multicast(vec![7; 4 << 20]).into_future();
        let (mut reads, mut stops) = (inboxes.remove(0), inboxes.remove(0));
        let reading = async { film(&mut reads).await.into_bytes().await };
        let stopping = async {
            let mut reader = film(&mut stops).await.into_reader();
            let first = reader.chunk().await.expect("it has begun").expect("more");
            assert!(!first.is_empty());
            reader
        };
        let (sent, read, mut reader) = tokio::join!(sending, reading, stopping);
        assert_eq!(read.expect("it was read to its end").len(), 4 << 20);
        let outcome = sent.expect("one reads").acked().await.expect("not closed");
        assert_eq!(outcome.evicted, [mesh[2].id()]);
        assert_eq!((outcome.acknowledged, outcome.lost.len()), (1, 0));

        // Whoever stopped reading learns it when it goes on, and not before what it got is clear.
        let error = loop {
            match reader.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("nobody takes a part for the whole"),
                Err(error) => break error,
            }
        };
        assert_eq!(error, PayloadError::Lagged);
        channel
            .multicast("the next one")
            .await
            .expect("two hold it");
        for inbox in [&mut reads, &mut stops] {
            assert_eq!(message(inbox).await.payload(), "the next one");
        }
    })
    .await;
}

#[tokio::test]
async fn payloads_that_nobody_takes_keep_no_others_from_beginning() {
    const FILMS: usize = 20;
    within(async {
        let (mesh, mut inboxes, channel) = films().await;
        let (mut reads, mut stops) = (inboxes.remove(0), inboxes.remove(0));
        let reading = tokio::spawn(async move {
            for _ in 0..FILMS {
                let whole = film(&mut reads).await.into_bytes().await;
                assert_eq!(whole.expect("it comes whole").len(), 100 << 10);
            }
            reads
        });
        // Each of them fits into a window, and sixteen may be under way.
        let mut receipts = Vec::new();
        for _ in 0..FILMS {
            let sent = channel.multicast(vec![7; 100 << 10]).await;
            receipts.push(sent.expect("there is a holder"));
        }
        let _reads = reading.await.expect("no panic");
        let first = receipts[0].acked().await.expect("not closed");
        assert_eq!(first.evicted, [mesh[2].id()]);
        assert_eq!(first.acknowledged, 1);
        let mut had = 0;
        let lagged = loop {
            match stops.next().await.expect("the node is not closed") {
                InboxItem::Large(_) => had += 1,
                InboxItem::Lagged(lagged) => break lagged,
                other => panic!("it is a film, or too late for one: {other:?}"),
            }
        };
        assert_eq!(lagged.first.0, had + 1);
        assert_eq!(lagged.last.0, FILMS as u64);
    })
    .await;
}
