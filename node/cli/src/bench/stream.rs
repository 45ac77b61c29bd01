//! One large payload to all subscribers.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use rolecast::{Channel, Inbox, InboxItem, PayloadReader};

use crate::bench::part::Desk;
use crate::bench::plan::Plan;
use crate::bench::usage::{Usage, now_ns};
use crate::bench::words::{Tally, Word};
use crate::failure::Failure;

/// Sends a short one, and on order the one that is measured.
pub(crate) async fn publish(
    channel: &Channel,
    plan: &Plan,
    desk: &mut Desk,
) -> Result<(), Failure> {
    send(channel, WARM_UP_BYTES).await?;
    desk.say(&Word::Warm)?;
    desk.begin().await;
    let before = Usage::of_this_process()?;
    let began_ns = now_ns();
    send(channel, plan.size as u64).await?;
    desk.say(&Word::Done(Box::new(Tally {
        began_ns,
        ended_ns: now_ns(),
        usage: Usage::of_this_process()?.since(before),
        ..Tally::default()
    })))
}

/// Sends so many bytes, and waits until all subscribers have read them.
pub(crate) async fn send(channel: &Channel, bytes: u64) -> Result<(), Failure> {
    let sent = channel.multicast_stream(Filler::new(bytes)).length(bytes);
    let receipt = sent
        .await
        .map_err(|error| Failure::failed(error.to_string()))?;
    let outcome = receipt
        .acked()
        .await
        .map_err(|error| Failure::failed(error.to_string()))?;
    match outcome.is_complete() {
        true => Ok(()),
        false => Err(Failure::failed(format!(
            "{} subscribers went away in the middle of the measurement",
            outcome.lost.len()
        ))),
    }
}

/// Reads both, chunk by chunk, and says what came.
pub(crate) async fn subscribe(
    inbox: &mut Inbox,
    plan: &Plan,
    desk: &mut Desk,
) -> Result<(), Failure> {
    read_next(inbox, WARM_UP_BYTES).await?;
    desk.say(&Word::Warm)?;
    desk.begin().await;
    let before = Usage::of_this_process()?;
    desk.say(&Word::Begun)?;
    let whole = read_next(inbox, plan.size as u64).await?;
    desk.say(&Word::Done(Box::new(Tally {
        ended_ns: now_ns(),
        delivered: u64::from(whole),
        lost: u64::from(!whole),
        usage: Usage::of_this_process()?.since(before),
        ..Tally::default()
    })))
}

/// Reads the next payload; says whether all of it came.
async fn read_next(inbox: &mut Inbox, bytes: u64) -> Result<bool, Failure> {
    loop {
        match inbox.next().await {
            Some(InboxItem::Large(large)) => return drain(large.into_reader(), bytes).await,
            Some(InboxItem::Closed(reason)) => return Err(Failure::failed(reason.to_string())),
            Some(_) => {}
            None => return Err(Failure::failed("the inbox was closed")),
        }
    }
}

/// Reads a payload to its end; says whether it was so long, and each byte what it should be.
pub(crate) async fn drain(mut reader: PayloadReader, bytes: u64) -> Result<bool, Failure> {
    let mut read = 0;
    while let Some(chunk) = reader
        .chunk()
        .await
        .map_err(|error| Failure::failed(error.to_string()))?
    {
        if chunk.iter().any(|&byte| byte != FILL) {
            return Err(Failure::failed(
                "a promise was broken: other bytes came than were sent",
            ));
        }
        read += chunk.len() as u64;
    }
    Ok(read == bytes)
}

/// So many bytes, of which only one chunk is ever in memory.
pub(crate) struct Filler {
    chunk: Bytes,
    left: u64,
}

impl Filler {
    pub(crate) fn new(bytes: u64) -> Self {
        Filler {
            chunk: Bytes::from(vec![FILL; CHUNK_BYTES]),
            left: bytes,
        }
    }
}

impl Stream for Filler {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let bytes = self.left.min(CHUNK_BYTES as u64);
        if bytes == 0 {
            return Poll::Ready(None);
        }
        self.left -= bytes;
        Poll::Ready(Some(Ok(self.chunk.slice(..bytes as usize))))
    }
}

/// What the payloads are made of.
const FILL: u8 = 0x5a;
const CHUNK_BYTES: usize = 128 << 10;
const WARM_UP_BYTES: u64 = 8 << 20;
