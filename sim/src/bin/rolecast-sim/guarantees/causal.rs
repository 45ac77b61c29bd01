//! What causal order adds to each batch, for each flow that changed since the batch of the same sender before.
//!
//! All holders of a role send to it in turn, far enough apart for each to have been given everything before it sends.
//! So every batch but the first names all the others, and the same run in FIFO order names none.

use std::io;

use rolecast_protocol::{Dissemination, Mode, Order};
use rolecast_sim::Statistics;
use rolecast_sim::plan::{FaultPlan, Slot};
use rolecast_sim::workload::{Ask, Operation};

use super::{FROM_US, HOP_US, PAYLOAD_BYTES, measure, scenario};
use crate::figures::{Figure, Goal, Printer};

pub(super) fn print(printer: &mut Printer) -> io::Result<()> {
    for holders in [5, 20] {
        let changed = changed_origins(holders);
        let metric = format!("causal order among {holders} holders: bytes for each changed origin");
        let figure = Figure::new(metric, changed, bytes_for_each(holders), "bytes");
        printer.print(&figure.with(Goal::AtMost(CHANGED_BYTES_MAX)))?;
    }
    Ok(())
}

/// How often a batch that goes to a holder names another one's flow.
fn changed_origins(holders: Slot) -> u64 {
    let others = u64::from(holders) - 1;
    let batches = u64::from(ROUNDS) * u64::from(holders);
    // In the first round, each names only those who sent before it.
    let missing = u64::from(holders) * others / 2;
    (batches * others - missing) * others
}

/// By how much the heads of batches are longer in causal order, for each flow that they name.
fn bytes_for_each(holders: Slot) -> f64 {
    let causal = in_order(holders, Order::Causal).data_head_bytes;
    let fifo = in_order(holders, Order::Fifo).data_head_bytes;
    (causal - fifo) as f64 / changed_origins(holders) as f64
}

fn in_order(holders: Slot, order: Order) -> Statistics {
    let mut scenario = scenario(holders, None, FaultPlan::default());
    let mode = Mode {
        dissemination: Dissemination::Digest,
        order,
        k_safe: 1,
    };
    let sent = (0..ROUNDS).flat_map(|round| (1..=holders).map(move |node| (round, node)));
    let operations = sent.zip(0..).map(|((_, node), id)| Operation {
        id,
        at_us: FROM_US + u64::from(id) * APART_US,
        node,
        ask: Ask::Multicast {
            role: 0,
            mode,
            count: 1,
            bytes: PAYLOAD_BYTES,
        },
    });
    scenario.workload.operations.splice(0..0, operations);
    let statistics = measure(&scenario);
    let expected = u64::from(ROUNDS) * u64::from(holders) * u64::from(holders);
    assert_eq!(statistics.deliveries, expected, "nothing is broken");
    statistics
}

/// How often each holder sends.
const ROUNDS: u32 = 20;
/// From one multicast to the next, of all holders.
const APART_US: u64 = 10 * HOP_US;
/// What one changed flow is to add to a batch at most.
const CHANGED_BYTES_MAX: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_origin_takes_a_few_bytes() {
        let bytes = bytes_for_each(5);
        println!("{bytes} bytes");
        assert!(bytes > 1.0 && bytes <= CHANGED_BYTES_MAX, "{bytes}");
    }
}
