//! One process of a benchmark.

use std::io::{self, BufRead as _, Write as _};
use std::process;
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::bench::plan::System;
use crate::bench::words::{Order, Word};
use crate::bench::{ceiling, mesh};
use crate::failure::Failure;

/// Takes part in a benchmark as the orders on standard input say; does not return before the coordinator closes it.
pub(crate) fn run() -> Result<(), Failure> {
    let mut orders = listen_to_orders();
    let Some(Order::Job(job)) = orders.blocking_recv() else {
        return Err(Failure::usage(
            "only `rolecast bench` itself can start a part of a benchmark; see `rolecast bench --help`",
        ));
    };
    let mut desk = Desk { orders };
    runtime(job.plan.threads)?.block_on(async {
        let worked = match job.plan.system {
            System::Rolecast => mesh::run(&job, &mut desk).await,
            System::Ceiling => ceiling::run(&job, &mut desk).await,
        };
        if let Err(failure) = worked {
            desk.say(&Word::Failed(failure.to_string()))?;
        }
        std::future::pending().await
    })
}

fn runtime(threads: usize) -> Result<Runtime, Failure> {
    let mut builder = match threads {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime cannot be started: {error}")))
}

/// Reads orders in a thread of its own, which ends the process with its input: however the coordinator dies, nothing is left running.
fn listen_to_orders() -> UnboundedReceiver<Order> {
    let (sender, orders) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let mut any = false;
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            // An order that is none means that there is no coordinator.
            let Ok(order) = serde_json::from_str(&line) else {
                break;
            };
            any |= sender.send(order).is_ok();
        }
        // Without any order there is no work to be ended, and somebody to be told how to do it better.
        if any {
            process::exit(0);
        }
    });
    orders
}

/// Where a process hears from its coordinator and answers.
pub(crate) struct Desk {
    orders: UnboundedReceiver<Order>,
}

impl Desk {
    /// Tells the coordinator something.
    pub(crate) fn say(&self, word: &Word) -> Result<(), Failure> {
        let line = serde_json::to_string(word).expect("words can be written");
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")
            .and_then(|()| stdout.flush())
            .map_err(|_| Failure::OutputClosed)
    }

    /// The next order. Cancel safe.
    pub(crate) async fn order(&mut self) -> Order {
        match self.orders.recv().await {
            Some(order) => order,
            // The process is about to end.
            None => std::future::pending().await,
        }
    }

    /// Waits for the start of the measurement.
    pub(crate) async fn begin(&mut self) {
        while !matches!(self.order().await, Order::Begin) {}
    }
}
