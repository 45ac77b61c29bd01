//! Making what is left of a scenario plainer: shorter, rounder, usual.

use rolecast_membership::Profile;
use rolecast_protocol::{Dissemination, Limits};

use crate::plan::{Breakage, FOREVER_US, Fault, Paths, Slot, Span, Way};
use crate::scenario::{NetworkShape, Scenario};
use crate::workload::Ask;

/// One way to make a scenario plainer; says whether it changed anything.
pub(super) type Step = Box<dyn Fn(&mut Scenario) -> bool>;

/// All ways to make this scenario plainer.
pub(super) fn steps(scenario: &Scenario) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![
        Box::new(|scenario| replace(&mut scenario.profile, Profile::Local)),
        Box::new(|scenario| replace(&mut scenario.network, EVEN)),
        Box::new(|scenario| {
            let changed = format!("{:?}", scenario.limits) != format!("{:?}", Limits::default());
            scenario.limits = Limits::default();
            changed
        }),
        Box::new(|scenario| {
            let starts = scenario.starts_us.iter().map(|start| start.map(|_| 0));
            let starts = starts.collect();
            replace(&mut scenario.starts_us, starts)
        }),
    ];
    for number in 0..scenario.plan.faults.len() {
        for divisor in [16, 4, 2] {
            steps.push(Box::new(move |scenario| {
                shorten(&mut scenario.plan.faults[number], divisor)
            }));
        }
        for grain_us in GRAINS_US {
            steps.push(Box::new(move |scenario| {
                let at_us = &mut scenario.plan.faults[number].at_us;
                replace(at_us, *at_us / grain_us * grain_us)
            }));
        }
    }
    for number in 0..scenario.workload.operations.len() {
        steps.push(Box::new(move |scenario| {
            smallest(&mut scenario.workload.operations[number].ask)
        }));
        for grain_us in GRAINS_US {
            steps.push(Box::new(move |scenario| {
                let at_us = &mut scenario.workload.operations[number].at_us;
                replace(at_us, *at_us / grain_us * grain_us)
            }));
        }
    }
    steps
}

/// To what times are rounded, if the promise stays broken.
const GRAINS_US: [u64; 4] = [1_000_000, 100_000, 10_000, 1_000];

/// A network on which every packet takes a millisecond.
const EVEN: NetworkShape = NetworkShape {
    latency_us: (1_000, 1_000),
    jitter_us: 0,
    idle_us: 5_000_000,
    keep_alive_us: 1_000_000,
    dial_us: 3_000_000,
    written_us: 10,
    timer_us: 1,
};

/// All lists of paths in a fault.
pub(super) fn ways_of(fault: &mut Fault) -> Vec<&mut Vec<Way>> {
    match &mut fault.what {
        Breakage::Cut { spans, .. } => spans.iter_mut().map(|span| &mut span.ways).collect(),
        Breakage::Packets {
            paths: Paths::Of(ways),
            ..
        }
        | Breakage::Slow {
            paths: Paths::Of(ways),
            ..
        }
        | Breakage::Narrow {
            paths: Paths::Of(ways),
            ..
        } => vec![ways],
        _ => Vec::new(),
    }
}

/// The same scenario without the places that are not used: those that are get smaller numbers.
pub(super) fn closed_up(scenario: &Scenario) -> Scenario {
    let used: Vec<Slot> = (0..scenario.nodes)
        .filter(|&place| scenario.is_used(place))
        .collect();
    let renamed = |place: Slot| {
        let index = used.iter().position(|&other| other == place).unwrap_or(0);
        Slot::try_from(index).expect("fewer than before")
    };
    let mut closed = scenario.clone();
    closed.nodes = Slot::try_from(used.len()).expect("fewer than before");
    closed.starts_us.retain(Option::is_some);
    let held = used
        .iter()
        .map(|&place| scenario.workload.held[usize::from(place)].clone());
    closed.workload.held = held.collect();
    for operation in &mut closed.workload.operations {
        operation.node = renamed(operation.node);
        if let Ask::Unicast { to, .. } = &mut operation.ask {
            *to = renamed(*to);
        }
    }
    for fault in &mut closed.plan.faults {
        for ways in ways_of(fault) {
            for (from, to) in ways {
                (*from, *to) = (renamed(*from), renamed(*to));
            }
        }
        match &mut fault.what {
            Breakage::Crash { node, .. }
            | Breakage::Leave { node, .. }
            | Breakage::Join { node }
            | Breakage::Pause { node, .. }
            | Breakage::Drift { node, .. }
            | Breakage::Jump { node, .. } => *node = renamed(*node),
            Breakage::Reset { a, b } => (*a, *b) = (renamed(*a), renamed(*b)),
            _ => {}
        }
    }
    if let Some(core) = &mut closed.core {
        core.iter_mut().for_each(|place| *place = renamed(*place));
    }
    closed
}

fn replace<T: PartialEq>(place: &mut T, with: T) -> bool {
    let changed = *place != with;
    *place = with;
    changed
}

fn shorten(fault: &mut Fault, divisor: u64) -> bool {
    let shorter = |for_us: &mut u64| {
        let longer = *for_us != FOREVER_US && *for_us > 1_000;
        if longer {
            *for_us /= divisor;
        }
        longer
    };
    match &mut fault.what {
        Breakage::Pause { for_us, .. }
        | Breakage::Drift { for_us, .. }
        | Breakage::Packets { for_us, .. }
        | Breakage::Slow { for_us, .. }
        | Breakage::Narrow { for_us, .. } => shorter(for_us),
        Breakage::Crash {
            restart: Some(restart),
            ..
        }
        | Breakage::Leave {
            restart: Some(restart),
            ..
        } => shorter(&mut restart.after_us),
        Breakage::Cut { spans, .. } => spans.iter_mut().fold(false, |changed, span| {
            let Span {
                after_us, for_us, ..
            } = span;
            let sooner = shorter(after_us);
            shorter(for_us) || sooner || changed
        }),
        _ => false,
    }
}

/// One small message instead of several large ones, sent in the usual way.
fn smallest(ask: &mut Ask) -> bool {
    match ask {
        Ask::Multicast {
            mode, count, bytes, ..
        } => {
            let small = (Dissemination::Eager.into(), 1, SMALL);
            let changed = (*mode, *count, *bytes) != small;
            (*mode, *count, *bytes) = small;
            changed
        }
        Ask::Large {
            dissemination,
            chunks,
            bytes,
            pause_us,
            ..
        } => {
            let small = (Dissemination::Eager, (*chunks).min(2), SMALL, 0);
            let changed = (*dissemination, *chunks, *bytes, *pause_us) != small;
            (*dissemination, *chunks, *bytes, *pause_us) = small;
            changed
        }
        Ask::Gather { bytes, .. } | Ask::Anycast { bytes, .. } | Ask::Unicast { bytes, .. } => {
            replace(bytes, SMALL)
        }
        Ask::Cancel | Ask::TakeUp { .. } | Ask::Drop { .. } | Ask::Move { .. } => false,
    }
}

/// The length of a small payload.
const SMALL: u32 = 16;
