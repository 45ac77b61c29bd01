//! A subscriber of a fan-out.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::bench::ends::Source;
use crate::bench::histogram::Histogram;
use crate::bench::part::Desk;
use crate::bench::payload::{Sequence, Stray, stamp_ns};
use crate::bench::plan::Plan;
use crate::bench::usage::{Usage, now_ns};
use crate::bench::words::{Order, Tally, Word};
use crate::failure::Failure;

/// Receives the warm-up and what is measured, and says what came of it.
pub(crate) async fn run(
    source: &mut impl Source,
    plan: &Plan,
    desk: &mut Desk,
) -> Result<(), Failure> {
    let mut arrivals = Arrivals {
        sequence: Sequence::new(plan.is_stamped()),
        times: plan.is_stamped().then(Histogram::default),
        last_ns: now_ns(),
    };
    let warm = plan.warm_up();
    arrivals.take_until(source, warm, desk).await?;
    desk.say(&Word::Warm)?;
    desk.begin().await;
    let before = Usage::of_this_process()?;
    desk.say(&Word::Begun)?;

    let lost_before = arrivals.sequence.lost;
    if let Some(times) = &mut arrivals.times {
        *times = Histogram::default();
    }
    let delivered_before = arrivals.sequence.delivered;
    arrivals
        .take_until(source, warm + plan.count(), desk)
        .await?;
    let delivered = arrivals.sequence.delivered - delivered_before;
    desk.say(&Word::Done(Box::new(Tally {
        began_ns: 0,
        ended_ns: arrivals.last_ns,
        delivered,
        lost: lost_before + plan.count().saturating_sub(delivered),
        times: arrivals.times.unwrap_or_default(),
        usage: Usage::of_this_process()?.since(before),
        ..Tally::default()
    })))
}

struct Arrivals {
    sequence: Sequence,
    times: Option<Histogram>,
    /// When the last message arrived.
    last_ns: u64,
}

impl Arrivals {
    /// Takes messages until so many are accounted for, or until nothing comes any more after all was sent.
    async fn take_until(
        &mut self,
        source: &mut impl Source,
        upto: u64,
        desk: &mut Desk,
    ) -> Result<(), Failure> {
        let mut patience_ends = None;
        while self.sequence.seen() < upto {
            tokio::select! {
                biased;
                taken = source.take(|payload| self.note(payload)) => {
                    taken?;
                    self.last_ns = now_ns();
                    if let Some(ends) = &mut patience_ends {
                        *ends = Instant::now() + PATIENCE;
                    }
                }
                order = desk.order(), if patience_ends.is_none() => {
                    if matches!(order, Order::End) {
                        patience_ends = Some(Instant::now() + PATIENCE);
                    }
                }
                () = until(patience_ends) => return Ok(()),
            }
        }
        Ok(())
    }

    #[inline]
    fn note(&mut self, payload: &[u8]) -> Result<(), Stray> {
        self.sequence.take(payload)?;
        if let Some(times) = &mut self.times {
            let sent_ns = stamp_ns(payload).ok_or(Stray::Size(payload.len()))?;
            times.record(now_ns().saturating_sub(sent_ns));
        }
        Ok(())
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// How long nothing may arrive, after all was sent, before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
