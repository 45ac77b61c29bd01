//! How fast gossip reaches everybody, and at what cost, with nothing broken and with a quarter of all links dead.
//!
//! A hop takes five milliseconds, which is also how far two rounds of digests are apart at least, so that both count as one round.
//! Of all pairs of nodes a quarter is drawn by lot, and whatever these send to each other is lost from before the multicast until long after the last delivery: the links stay up, as far as anybody can tell, and what is sent again over them is lost too.

use std::io;

use rolecast_protocol::{Dissemination, Mode, Order};
use rolecast_sim::Scenario;
use rolecast_sim::plan::{Breakage, CutShape, Fault, FaultPlan, Manner, Slot, Span, Way};
use rolecast_sim::random::{Purpose, Stream};

use super::{FROM_US, PAYLOAD_BYTES, Traffic, measure, scenario};
use crate::figures::{Figure, Goal, Printer};

/// What came of one multicast by gossip.
struct Epidemic {
    /// Payloads sent for each holder.
    copies: f64,
    /// From the multicast to the median delivery, and to the last.
    rounds: (f64, f64),
    /// Over how many links it came to whoever was furthest away.
    hops: u64,
}

pub(super) fn print(printer: &mut Printer) -> io::Result<()> {
    for holders in [100, 1_000] {
        for lost_percent in [0, 25] {
            figures(printer, holders, lost_percent)?;
        }
    }
    Ok(())
}

fn figures(printer: &mut Printer, holders: Slot, lost_percent: u32) -> io::Result<()> {
    let Epidemic {
        copies,
        rounds: (median, last),
        hops,
    } = epidemic(holders, lost_percent);
    let Mode { dissemination, .. } = MODE;
    let figure = |what: &str, value, unit| {
        let metric = match lost_percent {
            0 => format!("{dissemination}, of {holders} holders: {what}"),
            _ => format!(
                "{dissemination}, of {holders} holders, {lost_percent} % of links dead: {what}"
            ),
        };
        Figure::new(metric, u64::from(holders), value, unit)
    };
    printer.print(&figure("payload copies for each holder", copies, "copies"))?;
    printer.print(&figure("delivery, median", median, "rounds"))?;
    let slowest = figure("delivery, slowest", last, "rounds");
    printer.print(&slowest.with(Goal::AtMost(ROUNDS_MAX)))?;
    printer.print(&figure(
        "links to whoever was furthest",
        hops as f64,
        "hops",
    ))
}

/// One multicast to so many holders, of which everybody gets it.
fn epidemic(holders: Slot, lost_percent: u32) -> Epidemic {
    let traffic = Traffic {
        mode: MODE,
        messages: 1,
        every_us: 0,
    };
    let plan = dead_links(holders + 1, lost_percent);
    let mut scenario: Scenario = scenario(holders, Some(traffic), plan);
    scenario.network.latency_us = (ROUND_US, ROUND_US);
    // Nothing is taken off here, so that the run need not last as long as others do.
    scenario.workload.operations.truncate(1);
    let statistics = measure(&scenario);
    assert_eq!(
        statistics.deliveries,
        u64::from(holders),
        "all holders were known, and all have it in the end"
    );
    let sent = statistics.payload_bytes_sent as f64;
    let rounds = |us: u64| us as f64 / ROUND_US as f64;
    let latency = statistics.latency;
    Epidemic {
        copies: sent / f64::from(PAYLOAD_BYTES) / f64::from(holders),
        rounds: (rounds(latency.p50_us), rounds(latency.max_us)),
        hops: statistics.last_hop_max,
    }
}

/// So many of a hundred links, drawn by lot, lose everything around the multicast.
fn dead_links(nodes: Slot, percent: u32) -> FaultPlan {
    let mut lots = Stream::new(1, Purpose::Faults, 0);
    let links = (0..nodes).flat_map(|one| (0..one).map(move |other| (one, other)));
    let dead = links.filter(|_| lots.percent(percent));
    let ways: Vec<Way> = dead.flat_map(|(a, b)| [(a, b), (b, a)]).collect();
    if ways.is_empty() {
        return FaultPlan::default();
    }
    let span = Span {
        after_us: 0,
        for_us: DEAD_US,
        ways,
    };
    let cut = Breakage::Cut {
        shape: CutShape::Partial,
        manner: Manner::Drop,
        spans: vec![span],
    };
    FaultPlan {
        faults: vec![Fault {
            id: 0,
            at_us: FROM_US - 1,
            what: cut,
        }],
    }
}

const MODE: Mode = Mode {
    dissemination: Dissemination::gossip(),
    order: Order::Fifo,
    k_safe: 1,
};
/// One hop, and the least time between two digests.
const ROUND_US: u64 = 5_000;
/// Everybody is to have it after so many of them.
const ROUNDS_MAX: f64 = 13.0;
/// How long links are dead: longer than a multicast takes, and too short for anybody to be taken for dead.
const DEAD_US: u64 = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gossip_reaches_everybody_in_thirteen_rounds_though_a_quarter_of_the_links_is_dead() {
        let Epidemic {
            copies,
            rounds: (median, last),
            hops,
        } = epidemic(150, 25);
        assert!(last <= ROUNDS_MAX, "{last} rounds");
        assert!(median <= 6.0, "{median} rounds for half of them");
        // What is sent over dead links counts too.
        assert!(copies < 4.5 && copies > 3.0, "{copies} copies");
        assert!((3..=13).contains(&hops), "{hops} hops");
    }
}
