//! A thermometer that waits for nobody: a display that stands still loses readings, and is told which.
//!
//! Two displays show what the thermometer multicasts, and one of them does not read for a while.
//! The channel evicts a display that keeps it waiting for half a second: the other one sees every reading in time.
//! When the slow one reads again it gets what it had been sent before, then the word that it lagged behind, and then goes on with what is new.
//! A panel of dials does not want old readings at all: its channel keeps only the last one of each room for whoever is slow.
//!
//! `cargo run -p rolecast --example slow_receiver` shows it in one process.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use rolecast::{Inbox, InboxItem, Limits, MeshSecret, Node, SlowReceivers};
use tokio::sync::oneshot;

const ROLE: &str = "display";
const PANEL: &str = "panel";
const ROOMS: [&str; 2] = ["kitchen", "cellar"];
/// How much of a reading is the name of its room; the rest of the space stands for all that a real one says.
const ROOM_CHARS: usize = 100;
const READINGS: u32 = 2_000;

/// What a display has seen in the end.
#[derive(Debug, Default)]
struct Seen {
    readings: u32,
    lagged: u32,
}

/// Shows readings until the last one; says so when it is back after it lagged behind.
async fn show(mut inbox: Inbox, back: oneshot::Sender<()>) -> Seen {
    let mut seen = Seen::default();
    let mut back = Some(back);
    while let Some(item) = inbox.next().await {
        match item {
            InboxItem::Message(message) if message.payload() == "off" => break,
            InboxItem::Message(_) => {
                seen.readings += 1;
                if seen.lagged > 0
                    && let Some(back) = back.take()
                {
                    // The thermometer may have gone.
                    let _ = back.send(());
                }
            }
            InboxItem::Lagged(lagged) => {
                seen.lagged += 1;
                println!("the slow display goes on after {lagged:?}");
            }
            // Where a display begins, and where it goes on.
            InboxItem::Started(started) => println!("a display: {started:?}"),
            other => println!("a display: {other:?}"),
        }
    }
    seen
}

/// What the dials show when the panel has come to the last reading of every room.
async fn dials(panel: &mut Inbox) -> BTreeMap<String, String> {
    let (mut dials, mut superseded) = (BTreeMap::new(), 0);
    let last = format!(" {}", READINGS - 1);
    while dials.len() < ROOMS.len() || dials.values().any(|reading: &String| *reading != last) {
        match panel.next().await {
            Some(InboxItem::Message(message)) => {
                let reading = String::from_utf8_lossy(message.payload());
                let (room, reading) = reading.split_at(ROOM_CHARS);
                dials.insert(room.trim().to_owned(), reading.to_owned());
            }
            Some(InboxItem::Lagged(lagged)) => superseded += lagged.last.0 - lagged.first.0 + 1,
            Some(other) => println!("the panel: {other:?}"),
            None => break,
        }
    }
    println!("the panel was spared {superseded} readings that later ones had superseded");
    dials
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = MeshSecret::generate();
    // A small window, so that standing still shows soon.
    let limits = Limits {
        flow_window_bytes: 64 << 10,
        ..Limits::default()
    };
    let builder = || {
        let builder = Node::builder().secret(&secret).listen("127.0.0.1:0");
        builder.limits(limits.clone())
    };
    let thermometer = builder().start().await?;
    let seeds = [thermometer.addr()];
    let (quick, slow) = (
        builder().seeds(seeds).start().await?,
        builder().seeds(seeds).start().await?,
    );
    let (quick_inbox, slow_inbox) = (quick.register(ROLE).await?, slow.register(ROLE).await?);

    let patience = SlowReceivers::Evict {
        after: Duration::from_millis(500),
    };
    let displays = thermometer.channel(ROLE).slow_receivers(patience);
    let both = displays.wait_for_holders(2);
    both.timeout(Duration::from_secs(30)).await?;

    let quick_display = tokio::spawn(show(quick_inbox, oneshot::channel().0));
    let mut receipts = Vec::new();
    for number in 0..READINGS {
        let reading = format!("{number:>5}: 21 degrees, {:<100}", "as always");
        receipts.push(displays.multicast(reading).await?);
    }
    let mut untaken = 0;
    for receipt in receipts {
        untaken += receipt.acked().await?.evicted.len();
    }
    println!("{READINGS} readings were sent; a display was evicted before it had taken {untaken}");

    // Only now does the slow one look.
    let (back, mut is_back) = oneshot::channel();
    let slow_display = tokio::spawn(show(slow_inbox, back));
    while is_back.try_recv().is_err() {
        displays.multicast("22 degrees").await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    displays.multicast("off").await?;
    println!("the quick display: {:?}", quick_display.await?);
    println!("the slow display: {:?}", slow_display.await?);

    // Of what only the present matters, the last of each key is enough.
    let mut panel = slow.register(PANEL).await?;
    let dials_of = thermometer
        .channel(PANEL)
        .slow_receivers(SlowReceivers::KeepLast);
    let there = dials_of.wait_for_holders(1);
    there.timeout(Duration::from_secs(30)).await?;
    for number in 0..READINGS {
        for room in ROOMS {
            let reading = format!("{room:<ROOM_CHARS$} {number}");
            // It never waits, though nobody looks.
            dials_of.multicast(reading).key(room).await?;
        }
    }
    println!("the panel shows {:?}", dials(&mut panel).await);
    for node in [thermometer, quick, slow] {
        node.shutdown().await;
    }
    Ok(())
}
