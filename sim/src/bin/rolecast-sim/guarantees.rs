//! `report guarantees`: what each way of spreading costs and how fast it is, with nothing broken and when the sender dies in the middle.
//!
//! Node 0 sends, and n others hold the role; every path takes one millisecond, and nothing else takes time, so that times are hops.
//! What the mesh costs without multicasts is measured in a run of its own and taken off.

mod causal;
mod gossip;

use std::io;

use rolecast_membership::{Profile, Time};
use rolecast_protocol::{Dissemination, Limits, Mode, Order};
use rolecast_sim::plan::{Breakage, CutShape, Fault, FaultPlan, Manner, Slot, Span};
use rolecast_sim::workload::{Ask, Operation, Workload};
use rolecast_sim::{Family, NetworkShape, Scenario, Statistics, run};

use crate::figures::{Figure, Goal, Printer};

/// How a measured sender sends.
#[derive(Clone, Copy)]
struct Traffic {
    mode: Mode,
    /// How many multicasts, of one message each.
    messages: u32,
    /// How far apart.
    every_us: u64,
}

pub(crate) fn print(printer: &mut Printer) -> io::Result<()> {
    for holders in [5, 20, 100] {
        let idle = measure(&scenario(holders, None, FaultPlan::default()));
        for mode in MODES {
            costs(printer, holders, mode, &idle)?;
        }
        for mode in [SPREAD, EAGER] {
            printer.print(&after_crash(holders, mode))?;
        }
    }
    causal::print(printer)?;
    gossip::print(printer)
}

/// What a multicast costs while nothing is broken.
fn costs(printer: &mut Printer, holders: Slot, mode: Mode, idle: &Statistics) -> io::Result<()> {
    let name = |what: &str| format!("{} to {holders}: {what}", title(mode));
    let n = f64::from(holders);
    for (messages, every_us, rate) in [(10, 1_000_000, "1/s"), (1_000, 1_000, "1,000/s")] {
        let traffic = Traffic {
            mode,
            messages,
            every_us,
        };
        let statistics = measure(&scenario(holders, Some(traffic), FaultPlan::default()));
        let multicasts = u64::from(messages);
        let each = |value: u64| value as f64 / f64::from(messages);
        assert_eq!(
            statistics.deliveries,
            multicasts * u64::from(holders),
            "all holders were known before the first multicast"
        );
        let copies = each(statistics.payload_bytes_sent) / f64::from(PAYLOAD_BYTES);
        let copies = Figure::new(
            name(&format!("payload copies for each holder, {rate}")),
            multicasts,
            copies / n,
            "copies",
        );
        printer.print(&match mode.dissemination {
            Dissemination::Eager => copies.with(Goal::AtMost(1.02 * n)),
            Dissemination::Gossip { fanout } => copies.with(Goal::AtMost(f64::from(fanout) + 1.0)),
            _ => copies.with(Goal::AtMost(1.02)),
        })?;
        let all = statistics.frame_bytes + statistics.datagram_bytes;
        let rest = idle.frame_bytes + idle.datagram_bytes + statistics.payload_bytes_sent;
        let control = each(all.saturating_sub(rest)) / n;
        printer.print(&Figure::new(
            name(&format!(
                "other bytes for each holder and multicast, {rate}"
            )),
            multicasts,
            control,
            "bytes",
        ))?;
        printer.print(&Figure::new(
            name(&format!("frames for each holder and multicast, {rate}")),
            multicasts,
            each(statistics.frames.saturating_sub(idle.frames)) / n,
            "frames",
        ))?;
        for (what, bytes) in [
            ("most kept for one member", statistics.session_bytes_max),
            (
                "most kept for others by one node",
                statistics.retained_bytes_max,
            ),
        ] {
            printer.print(&Figure::new(
                name(&format!("{what}, {rate}")),
                multicasts,
                bytes as f64 / 1024.0,
                "KiB",
            ))?;
        }
        let latency = statistics.latency;
        for (what, us) in [("median", latency.p50_us), ("slowest", latency.max_us)] {
            printer.print(&Figure::new(
                name(&format!("delivery, {what}, {rate}")),
                statistics.deliveries,
                us as f64 / HOP_US as f64,
                "hops",
            ))?;
        }
    }
    Ok(())
}

/// How long after the first survivor the last one has a message whose sender reached only one of them, and died.
///
/// Nobody notices the death meanwhile: probes are patient, and links are silent for long before they are given up.
fn after_crash(holders: Slot, mode: Mode) -> Figure {
    let traffic = Traffic {
        mode,
        messages: 1,
        every_us: 0,
    };
    let crashed_us = FROM_US + HOP_US + HOP_US / 2;
    let cut = Breakage::Cut {
        shape: CutShape::Partial,
        manner: Manner::Drop,
        spans: vec![Span {
            after_us: 0,
            for_us: 1_000_000,
            ways: (2..=holders).map(|place| (0, place)).collect(),
        }],
    };
    let crash = Breakage::Crash {
        node: 0,
        restart: None,
    };
    let fault = |id, at_us, what| Fault { id, at_us, what };
    let plan = FaultPlan {
        faults: vec![
            fault(0, FROM_US - HOP_US / 2, cut),
            fault(1, crashed_us, crash),
        ],
    };
    let mut scenario = scenario(holders, Some(traffic), plan);
    scenario.profile = Profile::Wan;
    let statistics = measure(&scenario);
    assert_eq!(
        statistics.deliveries,
        u64::from(holders),
        "every survivor has it in the end"
    );
    let last_us = FROM_US + statistics.latency.max_us;
    let noticed_us = statistics.first_down_us.unwrap_or(u64::MAX);
    assert!(
        last_us < noticed_us,
        "nobody needs to hear of the death: all have it at {last_us}, and the death is known at {noticed_us}"
    );
    let figure = Figure::new(
        format!(
            "{} to {holders}: last survivor after the first, sender dead",
            title(mode)
        ),
        u64::from(holders),
        statistics.latency.max_us.saturating_sub(HOP_US) as f64 / 1e3,
        "ms",
    );
    let hop_ms = HOP_US as f64 / 1e3;
    match mode.dissemination {
        // Two round trips and a tick, once for each time that nine times as many have it.
        Dissemination::Digest => {
            let rounds = f64::from((holders - 1).ilog(TOLD_AT_ONCE) + 1);
            figure.with(Goal::AtMost(rounds * (4.0 * hop_ms + TICK_MS)))
        }
        _ => figure.with(Goal::AtMost(hop_ms)),
    }
}

fn measure(scenario: &Scenario) -> Statistics {
    let outcome = run(scenario);
    assert!(
        outcome.violation.is_none(),
        "a promise was broken: {:?}",
        outcome.violation
    );
    outcome.statistics
}

/// A mesh in which node 0 sends to all others.
fn scenario(holders: Slot, traffic: Option<Traffic>, plan: FaultPlan) -> Scenario {
    let multicast = |traffic: Traffic| {
        (0..traffic.messages).map(move |id| Operation {
            id,
            at_us: FROM_US + u64::from(id) * traffic.every_us,
            node: 0,
            ask: Ask::Multicast {
                role: 0,
                mode: traffic.mode,
                count: 1,
                bytes: PAYLOAD_BYTES,
            },
        })
    };
    let mut operations: Vec<Operation> = traffic.into_iter().flat_map(multicast).collect();
    // All runs last equally long, so that what a mesh costs by itself can be taken off.
    operations.push(Operation {
        id: u32::MAX,
        at_us: UNTIL_US,
        node: 1,
        ask: Ask::Cancel,
    });
    let nodes = holders + 1;
    let held = (0..nodes).map(|place| if place == 0 { vec![] } else { vec![0] });
    let calm = Family::named("calm").expect("it exists");
    Scenario {
        starts_us: vec![Some(0); usize::from(nodes)],
        profile: Profile::Local,
        limits: Limits::default(),
        network: NetworkShape {
            latency_us: (HOP_US, HOP_US),
            jitter_us: 0,
            idle_us: 5_000_000,
            keep_alive_us: 1_000_000,
            dial_us: 1_000_000,
            written_us: 0,
            timer_us: 1,
        },
        plan,
        workload: Workload {
            roles: 1,
            held: held.collect(),
            operations,
            evict_after_us: Vec::new(),
            keep_last_keys: Vec::new(),
            replays: Vec::new(),
            sites: Vec::new(),
        },
        core: None,
        ..Scenario::draw_from(calm, 1, Some(nodes))
    }
}

fn title(mode: Mode) -> String {
    let spread = mode.dissemination;
    match (mode.k_safe, mode.order) {
        (1, Order::Fifo) => spread.to_string(),
        (1, Order::Causal) => format!("{spread}, causal,"),
        (1, Order::Unordered) => format!("{spread}, unordered,"),
        (k, _) => format!("{spread}, {k}-safe,"),
    }
}

const SPREAD: Mode = in_mode(Dissemination::Digest, 1);
const EAGER: Mode = in_mode(Dissemination::Eager, 1);
const GOSSIP: Mode = in_mode(Dissemination::gossip(), 1);
/// What is measured.
const MODES: [Mode; 8] = [
    SPREAD,
    Mode {
        order: Order::Unordered,
        ..SPREAD
    },
    Mode {
        order: Order::Causal,
        ..SPREAD
    },
    EAGER,
    GOSSIP,
    in_mode(Dissemination::BestEffort, 1),
    in_mode(Dissemination::Digest, 2),
    in_mode(Dissemination::Digest, 4),
];

const fn in_mode(dissemination: Dissemination, k_safe: u8) -> Mode {
    Mode {
        dissemination,
        k_safe,
        order: Order::Fifo,
    }
}

/// One way, from any node to any other.
const HOP_US: u64 = 1_000;
/// The payload of every message.
const PAYLOAD_BYTES: u32 = 1_024;
/// When the first multicast is sent: all have long known all.
const FROM_US: u64 = Time::from_millis(15_000).as_micros();
/// When a run ends, long after the last delivery.
const UNTIL_US: u64 = Time::from_millis(30_000).as_micros();
/// From something new to the digest that asks for it to be fetched.
const TICK_MS: f64 = 10.0;
/// So many have heard of a message when whoever had it alone has told as many others as it tells at once.
const TOLD_AT_ONCE: Slot = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survivors_need_two_round_trips_and_a_tick_and_no_word_of_the_death() {
        for holders in [5, 20, 100] {
            for mode in [SPREAD, EAGER] {
                let figure = after_crash(holders, mode);
                assert!(figure.holds(), "{figure:?}");
            }
        }
    }

    #[test]
    fn gossip_in_a_stream_is_about_as_fast_as_alone() {
        let slowest = |messages| {
            let traffic = Traffic {
                mode: GOSSIP,
                messages,
                every_us: 1_000,
            };
            let statistics = measure(&scenario(60, Some(traffic), FaultPlan::default()));
            statistics.latency.max_us / HOP_US
        };
        let (alone, stream) = (slowest(1), slowest(200));
        assert!(
            stream <= alone + 20,
            "{alone} hops alone, {stream} in a stream"
        );
    }

    #[test]
    fn gossip_says_once_who_is_meant() {
        let (holders, messages) = (60, 10);
        let traffic = Traffic {
            mode: GOSSIP,
            messages,
            every_us: 1_000_000,
        };
        let bytes = |traffic| {
            let statistics = measure(&scenario(holders, traffic, FaultPlan::default()));
            let all = statistics.frame_bytes + statistics.datagram_bytes;
            all - statistics.payload_bytes_sent
        };
        let control = bytes(Some(traffic)) - bytes(None);
        let each = control / u64::from(holders) / u64::from(messages);
        // The destination set alone has 2.7 KB: said again for each message by whoever finds somebody behind, it makes 4,200.
        assert!(each < 3_200, "{each} bytes for each holder and multicast");
    }
}
