//! The publisher of a fan-out.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::bench::ends::Sink;
use crate::bench::part::Desk;
use crate::bench::payload::Payloads;
use crate::bench::plan::{Plan, Scenario};
use crate::bench::usage::{Usage, now_ns};
use crate::bench::words::{Tally, Word};
use crate::failure::Failure;

/// Sends the warm-up, and on order what is measured.
pub(crate) async fn run(sink: &mut impl Sink, plan: &Plan, desk: &mut Desk) -> Result<(), Failure> {
    let mut payloads = Payloads::new(plan.size, plan.is_stamped());
    for _ in 0..plan.warm_up() {
        sink.send(payloads.next(now_ns())).await?;
    }
    sink.flush().await?;
    sink.settle().await?;
    desk.say(&Word::Warm)?;
    desk.begin().await;

    let before = Usage::of_this_process()?;
    let began_ns = now_ns();
    match plan.scenario {
        Scenario::Latency { rate, .. } => {
            send_at(sink, &mut payloads, plan.count(), rate, desk).await?;
        }
        _ => send_all(sink, &mut payloads, plan.count(), desk).await?,
    }
    sink.settle().await?;
    desk.say(&Word::Done(Box::new(Tally {
        began_ns,
        ended_ns: now_ns(),
        usage: Usage::of_this_process()?.since(before),
        ..Tally::default()
    })))
}

/// Sends as fast as the subscribers take it.
async fn send_all(
    sink: &mut impl Sink,
    payloads: &mut Payloads,
    count: u64,
    desk: &Desk,
) -> Result<(), Failure> {
    let mut sent = 0;
    let mut progress_at = Instant::now();
    while sent < count {
        let upto = count.min(sent + SENT_BETWEEN_LOOKS);
        for _ in sent..upto {
            sink.send(payloads.next(0)).await?;
        }
        sent = upto;
        report_progress(&mut progress_at, sent, desk)?;
    }
    sink.flush().await
}

/// Sends at a rate.
///
/// A message is stamped with the moment at which it was due; only what the timer is late does not count, since that is not the mesh's doing.
/// So when flow control holds the publisher back, the messages that become due meanwhile show how long they waited.
async fn send_at(
    sink: &mut impl Sink,
    payloads: &mut Payloads,
    count: u64,
    rate: u64,
    desk: &Desk,
) -> Result<(), Failure> {
    let (start, start_ns) = (Instant::now(), now_ns());
    let mut progress_at = start;
    let mut sent = 0;
    while sent < count {
        sleep_until(start + Duration::from_nanos(due_ns(sent, rate))).await;
        let awake_ns = now_ns();
        while sent < count && start_ns + due_ns(sent, rate) <= now_ns() {
            let stamp_ns = awake_ns.max(start_ns + due_ns(sent, rate));
            sink.send(payloads.next(stamp_ns)).await?;
            sent += 1;
        }
        sink.flush().await?;
        report_progress(&mut progress_at, sent, desk)?;
    }
    Ok(())
}

/// When a message is due, in nanoseconds after the first.
fn due_ns(number: u64, rate: u64) -> u64 {
    (u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64
}

pub(crate) fn report_progress(at: &mut Instant, sent: u64, desk: &Desk) -> Result<(), Failure> {
    let now = Instant::now();
    if now < *at {
        return Ok(());
    }
    *at = now + PROGRESS_EVERY;
    desk.say(&Word::Progress(sent))
}

/// How many messages are sent before the clock is looked at.
const SENT_BETWEEN_LOOKS: u64 = 1_024;
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_millis(250);
