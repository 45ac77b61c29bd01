//! A run as a diagram in space and time: one HTML file that needs nothing else.
//!
//! Of a run that broke a promise only the causal past of the failure is shown (Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", CACM 1978): what the processes that the sentence names could know, by the frames that reached them.
//! Heartbeats are in the file too, and hidden until somebody asks for them.

mod past;

use std::collections::BTreeMap;

use rolecast_membership::Event as MembershipEvent;
use rolecast_protocol::{Answer, Class, Event, Gap};
use serde::Serialize;

use crate::check::{Name, Observation, ProcessId, Recorded};
use crate::plan::{Breakage, Fault, Slot};
use crate::replay;
use crate::run::Outcome;
use crate::scenario::Scenario;
use crate::words;

/// The diagram of a run that was filmed ([`crate::run_filmed`]).
#[must_use]
pub fn html(scenario: &Scenario, outcome: &Outcome) -> String {
    let diagram = Diagram::of(scenario, outcome);
    let json = serde_json::to_string(&diagram).expect("diagrams are plain data");
    // Within a script, nothing but this could end it.
    let json = json.replace("</", "<\\/");
    PAGE.replace("/*DIAGRAM*/", &json)
}

const PAGE: &str = include_str!("show/page.html");

/// So much is put into a diagram at most; of more, what is nearest to the end.
const MARKS_MAX: usize = 6_000;
const ARROWS_MAX: usize = 20_000;

#[derive(Serialize)]
struct Diagram {
    seed: u64,
    scenario: String,
    held: bool,
    verdict: String,
    replay: String,
    hash: String,
    /// What breaks and what is asked for, in words.
    words: Vec<String>,
    places: Vec<Slot>,
    lanes: Vec<Lane>,
    marks: Vec<Mark>,
    arrows: Vec<Arrow>,
    bands: Vec<Band>,
    /// Where and when the promise was seen to be broken.
    broken: Option<(ProcessIndex, u64)>,
    ends_us: u64,
    /// How much did not fit.
    left_out: usize,
}

type ProcessIndex = u32;

/// The life of one process at its place.
#[derive(Serialize)]
struct Lane {
    name: String,
    place: Slot,
    from_us: u64,
    until_us: u64,
    /// How it ended, if it did.
    end: Option<&'static str>,
}

/// Something that happened at one process.
#[derive(Clone, Serialize)]
struct Mark {
    process: ProcessIndex,
    at_us: u64,
    kind: &'static str,
    says: String,
}

/// Something that travelled.
#[derive(Clone, Serialize)]
struct Arrow {
    from: ProcessIndex,
    to: ProcessIndex,
    left_us: u64,
    arrived_us: Option<u64>,
    kind: &'static str,
    says: String,
}

/// Something that was broken for a while.
#[derive(Serialize)]
struct Band {
    from_us: u64,
    until_us: u64,
    /// Whether it is one node that is broken, or paths.
    node: bool,
    places: Vec<Slot>,
    says: String,
}

impl Diagram {
    fn of(scenario: &Scenario, outcome: &Outcome) -> Self {
        let ends_us = outcome.statistics.virtual_us;
        let names = Names::of(&outcome.observations);
        let mut marks: Vec<Mark> = outcome
            .observations
            .iter()
            .filter_map(|recorded| mark(&names, recorded))
            .collect();
        let mut arrows: Vec<Arrow> = outcome
            .passages
            .iter()
            .map(|passage| Arrow {
                from: passage.from.0,
                to: passage.to.0,
                left_us: passage.left.as_micros(),
                arrived_us: passage.arrived.map(|at| at.as_micros()),
                kind: kind_of(passage.class, &passage.says),
                says: names.put_into(&passage.says),
            })
            .collect();
        let broken = outcome.violation.as_ref().map(|violation| {
            let process = names.process(violation.node);
            (process, violation.at.as_micros())
        });
        if let Some(violation) = &outcome.violation {
            let concerned = violation.concerned();
            let known: Vec<ProcessIndex> =
                concerned.iter().map(|name| names.process(*name)).collect();
            past::keep(&known, violation.at.as_micros(), &mut marks, &mut arrows);
        }
        let left_out = keep_last(&mut marks, MARKS_MAX) + keep_last(&mut arrows, ARROWS_MAX);
        Diagram {
            seed: outcome.seed,
            scenario: scenario.family.clone(),
            held: outcome.violation.is_none(),
            verdict: outcome.violation.as_ref().map_or_else(
                || "every promise held".to_string(),
                |violation| names.put_into(&violation.to_string()),
            ),
            replay: replay::command(scenario),
            hash: outcome.hash.to_string(),
            words: words::describe(scenario),
            places: (0..scenario.nodes)
                .filter(|&place| scenario.is_used(place))
                .collect(),
            lanes: lanes(&outcome.observations, ends_us),
            marks,
            arrows,
            bands: scenario
                .plan
                .faults
                .iter()
                .flat_map(|fault| bands(fault, ends_us))
                .collect(),
            broken,
            ends_us,
            left_out,
        }
    }
}

fn keep_last<T>(items: &mut Vec<T>, most: usize) -> usize {
    let over = items.len().saturating_sub(most);
    items.drain(..over);
    over
}

fn kind_of(class: Option<Class>, says: &str) -> &'static str {
    match class {
        None => "datagram",
        Some(Class::Control) if says.starts_with("Membership") => "gossip",
        Some(Class::Control) => "control",
        Some(Class::Data | Class::Bulk) => "data",
    }
}

/// The names of processes, and of the nodes that they are.
struct Names {
    names: Vec<Name>,
    /// The short form of each node id, as it stands in debug output, with its name.
    ids: BTreeMap<String, String>,
}

impl Names {
    fn of(observations: &[Recorded]) -> Self {
        let (mut names, mut ids) = (Vec::new(), BTreeMap::new());
        for recorded in observations {
            if let Observation::Started { name, identity } = &recorded.observation {
                names.push(*name);
                ids.insert(identity.id.to_string(), name.to_string());
            }
        }
        Names { names, ids }
    }

    /// The process with this name; the last one at the place if there is none.
    fn process(&self, wanted: Name) -> ProcessIndex {
        let exactly = self.names.iter().position(|name| *name == wanted);
        let there = || self.names.iter().rposition(|name| name.slot == wanted.slot);
        let index = exactly.or_else(there).unwrap_or(0);
        ProcessIndex::try_from(index).expect("fewer processes than 2^32")
    }

    /// The text with names instead of node ids.
    fn put_into(&self, text: &str) -> String {
        let named = |text: String, (id, name): (&String, &String)| text.replace(id, name);
        self.ids.iter().fold(text.to_string(), named)
    }
}

/// What happened, in words; nothing for what is of no interest.
fn mark(names: &Names, recorded: &Recorded) -> Option<Mark> {
    let (kind, says) = match &recorded.observation {
        Observation::Started { identity, .. } => {
            ("start", format!("starts in life {}", identity.epoch))
        }
        Observation::Crashed => ("crash", "dies without a word".to_string()),
        Observation::Left { drained: true } => {
            ("crash", "leaves, everything acknowledged".to_string())
        }
        Observation::Left { drained: false } => {
            ("crash", "leaves, not everything acknowledged".to_string())
        }
        Observation::Resumed => ("event", "comes out of a pause".to_string()),
        Observation::Renewed { identity, .. } => (
            "renewed",
            format!(
                "was declared down while it lived, and goes on in life {}",
                identity.epoch
            ),
        ),
        Observation::AsksForPast { messages, .. } => {
            ("role", format!("asks for {messages} former messages"))
        }
        Observation::TookUp { role, .. } => ("role", format!("takes up {role:?}")),
        Observation::Dropped { .. } => ("role", "drops a role".to_string()),
        Observation::Sent(sending) => (
            "sent",
            format!(
                "multicasts {} of flow {} to {:?}, meaning {}",
                range(sending.first.0, sending.last.0),
                sending.flow.0,
                sending.role,
                meant(names, sending.holders.iter().map(|h| h.node.to_string())),
            ),
        ),
        Observation::Delivered(receiving) => {
            let last = receiving.first.0 + u64::from(receiving.batch.count()) - 1;
            let said = format!(
                "delivers {} of {}'s flow {} (life {})",
                range(receiving.first.0, last),
                receiving.origin.node,
                receiving.flow.0,
                receiving.origin.epoch,
            );
            ("delivered", said)
        }
        Observation::Announced { flow, length } => (
            "sent",
            format!(
                "announces the large payload of flow {}, of {length:?} bytes",
                flow.0
            ),
        ),
        Observation::Ended { flow, complete } => (
            "sent",
            format!(
                "ends the large payload of flow {} (complete: {complete})",
                flow.0
            ),
        ),
        Observation::LargeEnded {
            origin, flow, end, ..
        } => (
            "delivered",
            format!(
                "sees {}'s large payload of flow {} end: {end:?}",
                origin.node, flow.0
            ),
        ),
        Observation::Gapped { gap, .. } => ("gap", lost(gap)),
        Observation::Evicts { flow, after } => {
            ("send", format!("flow {} evicts after {after:?}", flow.0))
        }
        Observation::Refused { flow } => ("send", format!("flow {} has no room", flow.0)),
        Observation::KeepsLast { flow } => ("send", format!("flow {} keeps the last", flow.0)),
        Observation::Lagged { lagged, .. } => (
            "gap",
            format!(
                "lags behind {}'s flow {}: {} to {}",
                lagged.origin.node, lagged.flow.0, lagged.first.0, lagged.last.0
            ),
        ),
        Observation::Begun { started, .. } => (
            "deliver",
            format!(
                "gets {}'s flow {} from {} on",
                started.origin.node, started.flow.0, started.first.0
            ),
        ),
        Observation::Calls(calling) => ("call", format!("makes call {}", calling.call.0)),
        Observation::Cancels { call } => ("call", format!("gives up call {}", call.0)),
        Observation::Called(called) => (
            "call",
            format!(
                "gets call {} of {}",
                called.from.call.0, called.from.origin.node
            ),
        ),
        Observation::Replies { to, answer } => (
            "call",
            match answer {
                Ok(_) => format!("answers call {} of {}", to.call.0, to.origin.node),
                Err(why) => format!("refuses call {} of {}: {why:?}", to.call.0, to.origin.node),
            },
        ),
        Observation::ClockSet { .. }
        | Observation::Consumed { .. }
        | Observation::AtRest
        | Observation::Told(Event::Holders(_)) => return None,
        Observation::Told(event) => ("event", shortened(told(event))),
    };
    Some(Mark {
        process: recorded.process.0,
        at_us: recorded.at.as_micros(),
        kind,
        says: names.put_into(&says),
    })
}

/// What an engine tells its application, in words where debug output would hold a whole record.
fn told(event: &Event) -> String {
    match event {
        Event::Membership(event) => seen(event),
        Event::Settled { flow, upto } => {
            format!("hears that all have taken flow {} up to {}", flow.0, upto.0)
        }
        Event::Lost {
            flow,
            node,
            after,
            upto,
        } => {
            let what = range(after.0 + 1, upto.0);
            format!("hears that {node} lost {what} of flow {}", flow.0)
        }
        Event::Writable(flow) => format!("hears that flow {} has room again", flow.0),
        Event::Answered {
            call, node, answer, ..
        } => {
            let by = node.map_or_else(String::new, |node| format!(" by {node}"));
            format!("call {}{by} ends: {}", call.0, ended(answer))
        }
        Event::Cancelled(to) => format!(
            "hears that nobody awaits call {} of {}",
            to.call.0, to.origin.node
        ),
        Event::Drained => "hears that everything is acknowledged".to_string(),
        other => format!("{other:?}"),
    }
}

/// How a call ended.
fn ended(answer: &Answer) -> String {
    match answer {
        Answer::Taken => "taken".to_string(),
        Answer::Reply(payload) => format!("a reply of {} bytes", payload.len()),
        Answer::Refused(why) => format!("refused ({why:?})"),
        Answer::NotSent => "certainly not sent".to_string(),
        Answer::Unknown => "nobody knows how".to_string(),
        Answer::TimedOut => "out of time".to_string(),
    }
}

/// What an inbox is told of what it does not get.
fn lost(gap: &Gap) -> String {
    match gap {
        Gap::Range {
            origin,
            flow,
            first,
            last,
        } => format!(
            "is told that {} of {}'s flow {} (life {}) is lost",
            range(first.0, last.0),
            origin.node,
            flow.0,
            origin.epoch
        ),
        Gap::DeclaredDown { epoch } => {
            format!("is told that what was on the way to life {epoch} is lost")
        }
    }
}

/// What a node sees of the others.
fn seen(event: &MembershipEvent) -> String {
    match event {
        MembershipEvent::Joined(record) => format!(
            "sees {} join in life {}",
            record.identity.id, record.identity.epoch
        ),
        MembershipEvent::Updated { after, .. } => format!(
            "sees that {} holds {:?}",
            after.identity.id,
            after.roles.keys().collect::<Vec<_>>()
        ),
        MembershipEvent::Replaced { after, .. } => format!(
            "sees {} in a later life, {}",
            after.identity.id, after.identity.epoch
        ),
        MembershipEvent::Down(other) => {
            format!("takes {} in life {} for dead", other.id, other.epoch)
        }
        MembershipEvent::Left(other) => format!("sees {} leave", other.id),
        MembershipEvent::Suspected(other) => format!("suspects {other}"),
        MembershipEvent::AliveAgain(other) => format!("hears of {other} again"),
        other => format!("{other:?}"),
    }
}

fn range(first: u64, last: u64) -> String {
    if first == last {
        format!("message {first}")
    } else {
        format!("messages {first} to {last}")
    }
}

fn meant(names: &Names, nodes: impl Iterator<Item = String>) -> String {
    let nodes: Vec<String> = nodes.map(|node| names.put_into(&node)).collect();
    if nodes.is_empty() {
        "nobody".to_string()
    } else {
        nodes.join(", ")
    }
}

fn shortened(text: String) -> String {
    if text.chars().count() <= WORDS_MAX {
        return text;
    }
    text.chars().take(WORDS_MAX).chain(['…']).collect()
}

/// Events hold whole records, of which the beginning says enough.
const WORDS_MAX: usize = 160;

fn lanes(observations: &[Recorded], ends_us: u64) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    for recorded in observations {
        let ProcessId(process) = recorded.process;
        let at_us = recorded.at.as_micros();
        match &recorded.observation {
            Observation::Started { name, .. } => lanes.push(Lane {
                name: name.to_string(),
                place: name.slot,
                from_us: at_us,
                until_us: ends_us,
                end: None,
            }),
            Observation::Crashed => {
                lanes[process as usize].until_us = at_us;
                lanes[process as usize].end = Some("dies");
            }
            Observation::Left { .. } => {
                lanes[process as usize].until_us = at_us;
                lanes[process as usize].end = Some("leaves");
            }
            _ => {}
        }
    }
    lanes
}

/// Each place once, in order.
fn apart(places: impl Iterator<Item = Slot>) -> Vec<Slot> {
    let mut places: Vec<Slot> = places.collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// What a fault covers: each part of a cut for itself, everything else as a whole.
fn bands(fault: &Fault, ends_us: u64) -> Vec<Band> {
    let until_us = |at_us: u64| at_us.min(ends_us);
    let says = fault.to_string();
    if let Breakage::Cut { spans, .. } = &fault.what {
        let parts = spans.iter().map(|span| Band {
            from_us: until_us(fault.at_us.saturating_add(span.after_us)),
            until_us: until_us(fault.at_us.saturating_add(span.ends_after_us())),
            node: false,
            places: apart(span.ways.iter().flat_map(|&(from, to)| [from, to])),
            says: says.clone(),
        });
        return parts.collect();
    }
    let healed_us = fault.healed_at().map_or(ends_us, |at| at.as_micros());
    vec![Band {
        from_us: until_us(fault.at_us),
        until_us: until_us(healed_us),
        node: fault.node().is_some(),
        places: apart(fault.places()),
        says,
    }]
}
