//! Requests and replies.

use std::cell::{Cell, RefCell};

use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::bench::ends::{Caller, Replier};
use crate::bench::histogram::Histogram;
use crate::bench::part::Desk;
use crate::bench::payload::Payloads;
use crate::bench::plan::Plan;
use crate::bench::publish::{PROGRESS_EVERY, report_progress};
use crate::bench::usage::{Usage, now_ns};
use crate::bench::words::{Tally, Word};
use crate::failure::Failure;

/// Sends requests, each caller one after the other and all callers at once.
pub(crate) async fn ask<C: Caller>(
    callers: &mut [C],
    plan: &Plan,
    desk: &mut Desk,
) -> Result<(), Failure> {
    let run = Run::new(plan, plan.warm_up());
    run.go(callers, None).await?;
    desk.say(&Word::Warm)?;
    desk.begin().await;

    let before = Usage::of_this_process()?;
    let run = Run::new(plan, plan.count());
    let began_ns = now_ns();
    run.go(callers, Some(desk)).await?;
    desk.say(&Word::Done(Box::new(Tally {
        began_ns,
        ended_ns: now_ns(),
        delivered: run.answered.get(),
        lost: plan.count() - run.answered.get(),
        times: run.times.into_inner(),
        usage: Usage::of_this_process()?.since(before),
        ..Tally::default()
    })))
}

/// Answers until the process is ended; says what it used when all was asked.
pub(crate) async fn answer(replier: impl Replier, desk: &mut Desk) -> Result<(), Failure> {
    desk.say(&Word::Warm)?;
    let served = async { replier.serve().await };
    let measured = async {
        desk.begin().await;
        let before = Usage::of_this_process()?;
        desk.say(&Word::Begun)?;
        desk.order().await;
        desk.say(&Word::Done(Box::new(Tally {
            usage: Usage::of_this_process()?.since(before),
            ..Tally::default()
        })))
    };
    tokio::try_join!(served, measured).map(|_| ())
}

/// A number of requests, shared by all callers.
struct Run {
    left: Cell<u64>,
    answered: Cell<u64>,
    payloads: RefCell<Payloads>,
    times: RefCell<Histogram>,
    progress_at: Cell<Instant>,
}

impl Run {
    fn new(plan: &Plan, count: u64) -> Self {
        Run {
            left: Cell::new(count),
            answered: Cell::new(0),
            payloads: RefCell::new(Payloads::new(plan.size, false)),
            times: RefCell::default(),
            progress_at: Cell::new(Instant::now() + PROGRESS_EVERY),
        }
    }

    async fn go<C: Caller>(&self, callers: &mut [C], desk: Option<&Desk>) -> Result<(), Failure> {
        let each = callers.iter_mut().map(|caller| self.ask(caller, desk));
        try_join_all(each).await.map(|_| ())
    }

    async fn ask(&self, caller: &mut impl Caller, desk: Option<&Desk>) -> Result<(), Failure> {
        while let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            let payload = self.payloads.borrow_mut().next(0);
            let asked_ns = now_ns();
            caller.call(payload).await?;
            self.times.borrow_mut().record(now_ns() - asked_ns);
            self.answered.set(self.answered.get() + 1);
            if let Some(desk) = desk
                && self.answered.get().is_multiple_of(ANSWERS_BETWEEN_LOOKS)
            {
                let mut at = self.progress_at.get();
                report_progress(&mut at, self.answered.get(), desk)?;
                self.progress_at.set(at);
            }
        }
        Ok(())
    }
}

/// How many requests are answered before the clock is looked at.
const ANSWERS_BETWEEN_LOOKS: u64 = 256;
