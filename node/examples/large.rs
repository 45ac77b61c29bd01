//! A film to everybody who watches, larger than anybody's memory should be, with small messages beside it.
//!
//! `cargo run --release -p rolecast --example large` shows two viewers in one process: one reads as the film comes, the other one stops in the middle.
//! With a number of megabytes it sends as many: `cargo run --release -p rolecast --example large -- 1024`.

use std::error::Error;
use std::time::{Duration, Instant};

use rolecast::{Inbox, InboxItem, LargeMessage, Limits, MeshSecret, Node, PayloadError};
use tokio::io::AsyncReadExt as _;

const ROLE: &str = "cinema";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let megabytes: u64 = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 64,
    };
    let length = megabytes << 20;

    let secret = MeshSecret::generate();
    let builder = || Node::builder().secret(&secret).listen("127.0.0.1:0");
    let projector = builder().start().await?;
    let viewer = builder().seeds([projector.addr()]).start().await?;
    let leaver = builder().seeds([projector.addr()]).start().await?;
    // Takes nothing that is longer than a short film.
    let limits = Limits {
        large_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let picky = builder().seeds([projector.addr()]).limits(limits);
    let picky = picky.start().await?;

    let watching = tokio::spawn(watch(viewer.register(ROLE).await?));
    let leaving = tokio::spawn(watch_a_little(leaver.register(ROLE).await?));
    let refusing = tokio::spawn(refuse(picky.register(ROLE).await?));
    let cinema = projector.channel(ROLE);
    cinema.wait_for_holders(3).await?;

    // Any AsyncRead will do: a file, a socket, a pipe. No more of it is in memory at once than a few chunks.
    let film = tokio::io::repeat(7).take(length);
    let started = Instant::now();
    let sending = async { cinema.multicast_reader(film).length(length).await };
    let beside = async {
        // What is small does not wait behind the film.
        tokio::time::sleep(Duration::from_millis(20)).await;
        cinema.multicast("please switch off your phones").await
    };
    let (receipt, _) = tokio::try_join!(sending, beside)?;
    let outcome = receipt.acked().await?;
    println!(
        "{megabytes} MiB in {:?}: {} holders have taken it, {} refused it",
        started.elapsed(),
        outcome.acknowledged,
        outcome.too_large.len()
    );
    assert_eq!((outcome.acknowledged, outcome.too_large.len()), (2, 1));

    for node in [viewer, leaver, picky, projector] {
        node.shutdown().await;
    }
    println!("the viewer saw {} bytes", watching.await??);
    println!("the one who left saw {} bytes", leaving.await??);
    println!("the picky one says: {}", refusing.await??);
    Ok(())
}

/// Reads the film as it comes; says how many bytes it had.
async fn watch(mut inbox: Inbox) -> Result<usize, PayloadError> {
    let mut film = begin(&mut inbox).await.into_reader();
    // The inbox goes on meanwhile.
    let notes = tokio::spawn(async move {
        while let Some(item) = inbox.next().await {
            if let InboxItem::Message(note) = item {
                println!("on the screen: {}", String::from_utf8_lossy(note.payload()));
            }
        }
    });
    let mut bytes = 0;
    while let Some(chunk) = film.chunk().await? {
        bytes += chunk.len();
    }
    notes.abort();
    Ok(bytes)
}

/// Reads the first megabyte and leaves.
async fn watch_a_little(mut inbox: Inbox) -> Result<usize, PayloadError> {
    let mut film = begin(&mut inbox).await.into_reader();
    let mut bytes = 0;
    while bytes < 1 << 20
        && let Some(chunk) = film.chunk().await?
    {
        bytes += chunk.len();
    }
    // To drop the reader says that the rest is not wanted, which holds nobody back. The role is held until the node ends.
    drop(film);
    while inbox.next().await.is_some() {}
    Ok(bytes)
}

/// Waits for all of a film that is too long; gives the reason why it does not come.
async fn refuse(mut inbox: Inbox) -> Result<PayloadError, &'static str> {
    let whole = begin(&mut inbox).await.into_bytes().await;
    while inbox.next().await.is_some() {}
    whole.err().ok_or("a film that is too long was taken")
}

/// The next large message.
async fn begin(inbox: &mut Inbox) -> LargeMessage {
    loop {
        match inbox.next().await {
            Some(InboxItem::Large(film)) => return film,
            Some(_) => {}
            None => panic!("the inbox ended before the film began"),
        }
    }
}
