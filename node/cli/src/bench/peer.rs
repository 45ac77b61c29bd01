//! One of many nodes that all send to all.

use bytes::Bytes;
use rolecast::{Channel, Inbox, InboxItem, NodeId, Receipt};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use crate::bench::part::Desk;
use crate::bench::payload::{Payloads, Sequence, Stray};
use crate::bench::plan::{Plan, Scenario};
use crate::bench::usage::{Usage, now_ns};
use crate::bench::words::{Order, Tally, Word};
use crate::failure::Failure;

/// Sends and receives the warm-up, and on order what is measured.
pub(crate) async fn run(
    channel: &Channel,
    inbox: &mut Inbox,
    plan: &Plan,
    desk: &mut Desk,
) -> Result<(), Failure> {
    let Scenario::Mesh { secs, .. } = plan.scenario else {
        return Err(Failure::failed("only a mesh has peers"));
    };
    let mut payloads = Payloads::new(plan.size, false);
    let mut arrivals = Arrivals::default();
    let warm = plan.warm_up();
    let (_, expected) = watch::channel(Some(warm * plan.subs() as u64));
    let (sent, taken) = tokio::join!(
        send_count(channel, &mut payloads, warm),
        arrivals.take_all(inbox, expected)
    );
    sent.and(taken)?;
    desk.say(&Word::Warm)?;
    desk.begin().await;

    let before = Usage::of_this_process()?;
    let began_ns = now_ns();
    let delivered_before = arrivals.delivered();
    let (expect, expected) = watch::channel(None);
    let (sent, taken) = tokio::join!(
        send_for(
            channel,
            &mut payloads,
            Duration::from_secs(secs),
            desk,
            &expect,
            delivered_before
        ),
        arrivals.take_all(inbox, expected)
    );
    let expected = sent?;
    taken?;
    let delivered = arrivals.delivered() - delivered_before;
    desk.say(&Word::Done(Box::new(Tally {
        began_ns,
        ended_ns: arrivals.last_ns,
        delivered,
        lost: expected.saturating_sub(delivered),
        usage: Usage::of_this_process()?.since(before),
        ..Tally::default()
    })))
}

/// Sends so many messages, and waits until all have taken them.
async fn send_count(channel: &Channel, payloads: &mut Payloads, count: u64) -> Result<(), Failure> {
    let mut last = None;
    for _ in 0..count {
        last = Some(send(channel, payloads.next(0)).await?);
    }
    settle(last).await
}

/// Sends for so long, waits until all have taken it, and learns how much all sent together, which it passes on and gives.
async fn send_for(
    channel: &Channel,
    payloads: &mut Payloads,
    time: Duration,
    desk: &mut Desk,
    expect: &watch::Sender<Option<u64>>,
    before: u64,
) -> Result<u64, Failure> {
    let ends = Instant::now() + time;
    let mut last = None;
    let mut sent = 0;
    while Instant::now() < ends {
        for _ in 0..SENT_BETWEEN_LOOKS {
            last = Some(send(channel, payloads.next(0)).await?);
        }
        sent += SENT_BETWEEN_LOOKS;
    }
    settle(last).await?;
    desk.say(&Word::Sent(sent))?;
    loop {
        if let Order::Expect(count) = desk.order().await {
            expect.send_replace(Some(before + count));
            return Ok(count);
        }
    }
}

async fn send(channel: &Channel, payload: Bytes) -> Result<Receipt, Failure> {
    let sent = channel.multicast(payload).await;
    sent.map_err(|error| Failure::failed(error.to_string()))
}

async fn settle(last: Option<Receipt>) -> Result<(), Failure> {
    let Some(receipt) = last else {
        return Ok(());
    };
    let outcome = receipt.acked().await;
    let outcome = outcome.map_err(|error| Failure::failed(error.to_string()))?;
    match outcome.is_complete() {
        true => Ok(()),
        false => Err(Failure::failed(format!(
            "{} nodes went away in the middle of the measurement",
            outcome.lost.len()
        ))),
    }
}

/// What came from each node.
#[derive(Default)]
struct Arrivals {
    from: Vec<(NodeId, Sequence)>,
    /// When the last message arrived.
    last_ns: u64,
}

impl Arrivals {
    fn delivered(&self) -> u64 {
        self.from
            .iter()
            .map(|(_, sequence)| sequence.delivered)
            .sum()
    }

    /// Takes messages until as many were accounted for as are expected, once that is known.
    async fn take_all(
        &mut self,
        inbox: &mut Inbox,
        mut expected: watch::Receiver<Option<u64>>,
    ) -> Result<(), Failure> {
        let mut items = Vec::with_capacity(ITEMS_AT_ONCE);
        loop {
            let known = *expected.borrow_and_update();
            let seen: u64 = self.from.iter().map(|(_, sequence)| sequence.seen()).sum();
            if known.is_some_and(|all| seen >= all) {
                return Ok(());
            }
            tokio::select! {
                biased;
                _ = inbox.next_many(&mut items, ITEMS_AT_ONCE) => self.note(&mut items)?,
                changed = expected.changed(), if known.is_none() => {
                    changed.map_err(|_| Failure::failed("the sender has stopped"))?;
                }
                // All have acknowledged everything, so that what is not here does not come.
                () = tokio::time::sleep(PATIENCE), if known.is_some() => return Ok(()),
            }
        }
    }

    fn note(&mut self, items: &mut Vec<InboxItem>) -> Result<(), Failure> {
        let mut place = 0;
        for item in items.drain(..) {
            match item {
                InboxItem::Message(message) => {
                    if self
                        .from
                        .get(place)
                        .is_none_or(|(from, _)| *from != message.origin())
                    {
                        place = self.place_of(message.origin());
                    }
                    let taken = self.from[place].1.take(message.payload());
                    taken.map_err(|stray: Stray| {
                        Failure::failed(format!("a promise was broken: {stray}"))
                    })?;
                }
                InboxItem::Closed(reason) => return Err(Failure::failed(reason.to_string())),
                // What is missing shows in the numbers of what follows, or at the end.
                _ => {}
            }
        }
        self.last_ns = now_ns();
        Ok(())
    }

    fn place_of(&mut self, node: NodeId) -> usize {
        let known = self.from.iter().position(|(from, _)| *from == node);
        known.unwrap_or_else(|| {
            self.from.push((node, Sequence::new(false)));
            self.from.len() - 1
        })
    }
}

/// How many messages are sent before the clock is looked at.
const SENT_BETWEEN_LOOKS: u64 = 64;
/// How many messages are taken out of the inbox at once.
const ITEMS_AT_ONCE: usize = 256;
/// How long nothing may arrive, after all was sent, before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
