//! Scenarios in words.

use std::fmt::{self, Display, Formatter};

use crate::plan::{Breakage, CutShape, FOREVER_US, Fault, Harm, Manner, Paths, Restart, Slot, Way};
use crate::scenario::Scenario;
use crate::workload::{Ask, Choice, Operation, RoleIndex, SITES};

/// A length of time in the unit that suits it.
#[derive(Clone, Copy, Debug)]
pub struct Lasting(pub u64);

impl Display for Lasting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            FOREVER_US => f.write_str("good"),
            us @ 0..1_000 => write!(f, "{us} µs"),
            us @ 1_000..1_000_000 => fraction(f, us, 1_000, "ms"),
            us => fraction(f, us, 1_000_000, "s"),
        }
    }
}

/// With as many of three decimals as are needed.
fn fraction(f: &mut Formatter<'_>, us: u64, unit: u64, name: &str) -> fmt::Result {
    let thousandths = us % unit * 1_000 / unit;
    let decimals = format!("{thousandths:03}");
    match decimals.trim_end_matches('0') {
        "" => write!(f, "{} {name}", us / unit),
        decimals => write!(f, "{}.{decimals} {name}", us / unit),
    }
}

/// What a scenario is, one sentence for each fault and operation, in the order of time.
#[must_use]
pub fn describe(scenario: &Scenario) -> Vec<String> {
    let used: Vec<Slot> = (0..scenario.nodes)
        .filter(|&place| scenario.is_used(place))
        .collect();
    let mut lines = vec![format!(
        "{} nodes ({}), profile {:?}",
        used.len(),
        places(used.iter().copied()),
        scenario.profile,
    )];
    for &place in &used {
        let held = &scenario.workload.held[usize::from(place)];
        if !held.is_empty() {
            let roles: Vec<String> = held.iter().map(|role| role_name(scenario, *role)).collect();
            lines.push(format!("n{place} holds {}", roles.join(", ")));
        }
    }
    if let Some(core) = &scenario.core {
        lines.push(format!(
            "in the end only {} have to be well",
            places(core.iter().copied())
        ));
    }
    if let Some(canary) = &scenario.canary {
        lines.push(format!("the bug {canary} is planted in every engine"));
    }
    let faults = scenario.plan.faults.iter();
    let faults = faults.map(|fault| (fault.at_us, fault.to_string()));
    let operations = scenario.workload.operations.iter();
    let operations = operations.map(|operation| (operation.at_us, asked(scenario, operation)));
    let mut events: Vec<(u64, String)> = faults.chain(operations).collect();
    events.sort_by_key(|(at_us, _)| *at_us);
    lines.extend(
        events
            .into_iter()
            .map(|(at_us, what)| format!("at {}: {what}", Lasting(at_us))),
    );
    lines
}

fn role_name(scenario: &Scenario, role: RoleIndex) -> String {
    let workload = &scenario.workload;
    let base = workload.base(role);
    let name = match base == workload.roles {
        true => "the role of everyone".to_string(),
        false => format!("\"r{base}\""),
    };
    match role.checked_sub(workload.roles + 1) {
        None => name,
        Some(narrowed) => format!("{name} in s{}", narrowed % SITES),
    }
}

fn asked(scenario: &Scenario, operation: &Operation) -> String {
    let node = operation.node;
    let role = |role: RoleIndex| role_name(scenario, role);
    match operation.ask {
        Ask::Multicast {
            role: to,
            mode,
            count,
            bytes,
        } => {
            let messages = match count {
                0 | 1 => "one message".to_string(),
                more => format!("{more} messages"),
            };
            let to = role(to);
            let spreads = mode.dissemination;
            let safe = match mode.k_safe {
                0 | 1 => String::new(),
                k => format!(", {k}-safe"),
            };
            let order = mode.order;
            format!(
                "n{node} multicasts {messages} of {bytes} bytes to {to} ({spreads:?}, {order:?}{safe})"
            )
        }
        Ask::Large {
            role: to,
            dissemination,
            chunks,
            bytes,
            pause_us,
            announced,
            complete,
        } => {
            let length = if announced { "known" } else { "unknown" };
            let end = if complete { "" } else { ", and breaks off" };
            format!(
                "n{node} multicasts a large payload of {length} length in {chunks} chunks of {bytes} bytes, one every {}, to {} ({dissemination:?}){end}",
                Lasting(pause_us),
                role(to)
            )
        }
        Ask::Gather {
            role: to,
            within_us,
            ..
        } => format!(
            "n{node} asks every holder of {}, for up to {}",
            role(to),
            Lasting(within_us)
        ),
        Ask::Anycast {
            role: to,
            choice,
            request,
            within_us,
            ..
        } => format!(
            "n{node} {} one holder of {} ({}), for up to {}",
            asks(request),
            role(to),
            chosen(choice),
            Lasting(within_us)
        ),
        Ask::Unicast {
            to,
            role: at,
            request,
            within_us,
            ..
        } => format!(
            "n{node} {} n{to} as holder of {}, for up to {}",
            asks(request),
            role(at),
            Lasting(within_us)
        ),
        Ask::Cancel => format!("n{node} gives up its oldest call"),
        Ask::TakeUp { role: which } => format!("n{node} takes up {}", role(which)),
        Ask::Drop { role: which } => format!("n{node} drops {}", role(which)),
        Ask::Move { site } => format!("n{node} moves to site s{site}"),
    }
}

fn asks(request: bool) -> &'static str {
    if request { "asks" } else { "sends to" }
}

fn chosen(choice: Choice) -> &'static str {
    match choice {
        Choice::RoundRobin => "each in its turn",
        Choice::LeastOutstanding => "the least busy",
        Choice::Sticky(_) => "always the same",
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.what {
            Breakage::Crash { node, restart } => write!(f, "n{node} crashes{}", After(restart)),
            Breakage::Leave { node, restart } => write!(f, "n{node} leaves{}", After(restart)),
            Breakage::Join { node } => write!(f, "n{node} starts for the first time"),
            Breakage::Pause { node, for_us } => {
                write!(f, "n{node} stands still for {}", Lasting(*for_us))
            }
            Breakage::Drift { node, ppm, for_us } => {
                let how = if *ppm < 0 { "slow" } else { "fast" };
                let (by, time) = (ppm.unsigned_abs(), Lasting(*for_us));
                write!(
                    f,
                    "the clock of n{node} is {by} µs a second too {how} for {time}"
                )
            }
            Breakage::Jump { node, by_us } => {
                let how = if *by_us < 0 { "back" } else { "ahead" };
                let by = Lasting(by_us.unsigned_abs());
                write!(f, "the clock of n{node} jumps {how} by {by}")
            }
            Breakage::Cut {
                shape,
                manner,
                spans,
            } => {
                let manner = match manner {
                    Manner::Drop => "loses what is sent".to_string(),
                    Manner::Jam => "holds what is sent".to_string(),
                    Manner::Slow(us) => format!("delays what is sent by {}", Lasting(*us)),
                };
                write!(f, "{} that {manner}", shape_name(*shape))?;
                for span in spans {
                    let ways = listed(&span.ways);
                    match span.after_us {
                        0 => write!(f, "; {ways} for {}", Lasting(span.for_us))?,
                        after => {
                            let (after, time) = (Lasting(after), Lasting(span.for_us));
                            write!(f, "; {ways} after {after} for {time}")?;
                        }
                    }
                }
                Ok(())
            }
            Breakage::Reset { a, b } => write!(f, "the link between n{a} and n{b} breaks"),
            Breakage::Packets {
                paths,
                harm,
                for_us,
            } => write!(f, "{harm} {} for {}", On(paths), Lasting(*for_us)),
            Breakage::Slow {
                paths,
                extra_us,
                jitter_us,
                for_us,
            } => {
                let (least, most) = (Lasting(*extra_us), Lasting(extra_us + jitter_us));
                let (on, time) = (On(paths), Lasting(*for_us));
                write!(f, "packets take {least} to {most} longer {on} for {time}")
            }
            Breakage::Narrow {
                paths,
                bytes_per_s,
                queue_bytes,
                for_us,
            } => {
                let (on, time) = (On(paths), Lasting(*for_us));
                write!(
                    f,
                    "only {bytes_per_s} bytes a second get through {on}, with a queue of {queue_bytes}, for {time}"
                )
            }
        }
    }
}

impl Display for Harm {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Harm::Loss { percent } => write!(f, "{percent} % of the packets are lost"),
            Harm::Burst { percent, .. } => {
                write!(f, "in bursts {percent} % of the packets are lost")
            }
            Harm::Duplicate { percent } => write!(f, "{percent} % of the packets arrive twice"),
            Harm::Reorder { percent, by_us } => {
                let by = Lasting(*by_us);
                write!(
                    f,
                    "{percent} % of the packets are overtaken, by up to {by},"
                )
            }
            Harm::Corrupt { percent } => write!(f, "{percent} % of the packets are damaged"),
            Harm::Truncate { percent } => write!(f, "{percent} % of the packets are cut short"),
            Harm::Mtu { bytes } => write!(f, "no packet of more than {bytes} bytes arrives"),
        }
    }
}

/// What follows the end of a process.
struct After<'a>(&'a Option<Restart>);
/// Where something happens.
struct On<'a>(&'a Paths);

impl Display for After<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(restart) = self.0 else {
            return f.write_str(" for good");
        };
        let who = if restart.same_key {
            "it comes back"
        } else {
            "another node takes its place"
        };
        let place = if restart.same_addr {
            ""
        } else {
            " at another address"
        };
        write!(f, ", and {who}{place} after {}", Lasting(restart.after_us))
    }
}

impl Display for On<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Paths::All => f.write_str("everywhere"),
            Paths::Of(ways) => write!(f, "on {}", listed(ways)),
        }
    }
}

fn shape_name(shape: CutShape) -> &'static str {
    match shape {
        CutShape::Complete => "a cut in two",
        CutShape::Partial => "a partial cut",
        CutShape::OneWay => "a one-way cut",
        CutShape::Isolate => "a cut of one node from all",
        CutShape::Flapping => "a flapping cut",
        CutShape::Ring => "a cut that leaves a ring",
        CutShape::Swizzle => "a cut of one after the other",
    }
}

fn places(places: impl Iterator<Item = Slot>) -> String {
    let names: Vec<String> = places.map(|place| format!("n{place}")).collect();
    names.join(", ")
}

/// Paths, those of both directions as one.
fn listed(ways: &[Way]) -> String {
    let mut names = Vec::new();
    for &(from, to) in ways {
        let back = ways.contains(&(to, from));
        if !back {
            names.push(format!("n{from}→n{to}"));
        } else if from < to {
            names.push(format!("n{from}↔n{to}"));
        }
    }
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let said = [0, 999, 1_000, 1_500, 20_000_000, 1_234_567, FOREVER_US]
            .map(|us| Lasting(us).to_string());
        assert_eq!(
            said,
            [
                "0 µs", "999 µs", "1 ms", "1.5 ms", "20 s", "1.234 s", "good"
            ]
        );
    }

    #[test]
    fn every_fault_has_a_sentence() {
        for seed in 0..200 {
            let scenario = Scenario::draw(seed, None);
            for line in describe(&scenario) {
                assert!(!line.contains('\n') && !line.ends_with(' '), "{line:?}");
            }
        }
    }

    #[test]
    fn paths_of_both_directions_are_one() {
        assert_eq!(listed(&[(0, 1), (1, 0), (2, 0)]), "n0↔n1 n2→n0");
    }
}
