//! A fault plan on the simulated network: which rules each fault puts in force, and when they are lifted.

use super::rule::{Dice, Effect, Rule, RuleId};
use crate::plan::{Breakage, FOREVER_US, Fault, Manner, Paths, Span, Way};

/// A rule that a fault puts in force for a while.
#[derive(Clone, Debug)]
pub(crate) struct Imposed {
    pub(crate) id: RuleId,
    /// How long after the fault's beginning.
    pub(crate) after_us: u64,
    /// For how long; for good if not given.
    pub(crate) for_us: Option<u64>,
    ways: Option<Vec<Way>>,
    effect: Effect,
    dice: Dice,
}

impl Imposed {
    /// The rule, with its own dice.
    pub(crate) fn rule(&self) -> Rule {
        let ways = self.ways.as_ref();
        let ways = ways.map(|ways| ways.iter().copied().collect());
        Rule::new(ways, self.effect, self.dice)
    }
}

/// The rules that follow from a fault of the plan.
pub(crate) fn rules_of(seed: u64, fault: &Fault) -> Vec<Imposed> {
    let rule = |part: u32, (after_us, for_us): (u64, u64), ways, effect| Imposed {
        id: RuleId(u64::from(fault.id) << 32 | u64::from(part)),
        after_us,
        for_us: (for_us != FOREVER_US).then_some(for_us),
        ways,
        effect,
        dice: Dice {
            seed,
            fault: fault.id,
            part,
        },
    };
    let on = |paths: &Paths| match paths {
        Paths::All => None,
        Paths::Of(ways) => Some(ways.clone()),
    };
    match &fault.what {
        Breakage::Cut { manner, spans, .. } => {
            let effect = match *manner {
                Manner::Drop => Effect::Cut,
                Manner::Jam => Effect::Jam,
                Manner::Slow(extra_us) => Effect::Slow {
                    extra_us,
                    jitter_us: 0,
                },
            };
            let parts = (0..).zip(spans);
            let of_span = |(part, span): (u32, &Span)| {
                let time = (span.after_us, span.for_us);
                rule(part, time, Some(span.ways.clone()), effect)
            };
            parts.map(of_span).collect()
        }
        Breakage::Packets {
            paths,
            harm,
            for_us,
        } => vec![rule(0, (0, *for_us), on(paths), Effect::Harm(*harm))],
        &Breakage::Slow {
            ref paths,
            extra_us,
            jitter_us,
            for_us,
        } => {
            let effect = Effect::Slow {
                extra_us,
                jitter_us,
            };
            vec![rule(0, (0, for_us), on(paths), effect)]
        }
        &Breakage::Narrow {
            ref paths,
            bytes_per_s,
            queue_bytes,
            for_us,
        } => {
            let effect = Effect::Narrow {
                bytes_per_s,
                queue_bytes,
            };
            vec![rule(0, (0, for_us), on(paths), effect)]
        }
        Breakage::Reset { .. }
        | Breakage::Crash { .. }
        | Breakage::Leave { .. }
        | Breakage::Join { .. }
        | Breakage::Pause { .. }
        | Breakage::Drift { .. }
        | Breakage::Jump { .. } => Vec::new(),
    }
}
