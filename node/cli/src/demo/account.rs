//! The account of what happens, for people or as JSON.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::demo::verdict::{Evidence, Flow, Promise};
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::style::{BAD, DIM, GOOD, HEADING, NAME};
use crate::table::{Cell, Table};

/// Tells the story as it goes.
pub(crate) struct Account<'a> {
    output: &'a Output,
    start: Instant,
}

impl<'a> Account<'a> {
    /// Begins; times count from here.
    pub(crate) fn begin(output: &'a Output) -> Self {
        let start = Instant::now();
        Account { output, start }
    }

    /// Since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The title.
    pub(crate) fn title(&self, nodes: usize) -> Result<(), Failure> {
        if self.output.is_json() {
            return self
                .output
                .object(&json!({ "event": "begin", "nodes": nodes }));
        }
        self.output.line(format_args!(
            "{HEADING}rolecast demo{HEADING:#}: {nodes} node processes on loopback, with a fresh secret, over QUIC\n"
        ))
    }

    /// One thing that happened.
    pub(crate) fn tell(&self, act: &str, text: &str, mut details: Value) -> Result<(), Failure> {
        let t_s = self.elapsed().as_secs_f64();
        if self.output.is_json() {
            details["event"] = json!("act");
            details["act"] = json!(act);
            details["text"] = json!(text);
            details["t_s"] = json!(round(t_s));
            return self.output.object(&details);
        }
        self.output.line(format_args!(
            "{DIM}{t_s:6.2} s{DIM:#}  {NAME}{act:<7}{NAME:#}  {text}"
        ))
    }

    /// Who delivered what.
    pub(crate) fn deliveries(&self, evidence: &Evidence, nodes: &[String]) -> Result<(), Failure> {
        if self.output.is_json() {
            return self.delivery_objects(evidence);
        }
        let title = |flow: &Flow| {
            let fate = if flow.finished.is_none() {
                " (killed)"
            } else {
                ""
            };
            format!("{} from {}{fate}", flow.role, flow.sender)
        };
        let heads: Vec<String> = evidence.flows.iter().map(title).collect();
        let heads = std::iter::once("delivered by").chain(heads.iter().map(String::as_str));
        let mut table = Table::with_heads(heads).indented(2);
        for node in nodes {
            let mut row = vec![Cell::styled(node, NAME)];
            let survives = evidence
                .journals
                .iter()
                .any(|journal| journal.node == *node);
            for flow in &evidence.flows {
                row.push(match evidence.entry(flow, node) {
                    Some(entry) => Cell::plain(ranges(&entry.runs)),
                    None if survives => Cell::styled("-", DIM),
                    None => Cell::styled("died", DIM),
                });
            }
            table.row(row);
        }
        self.output.line("")?;
        self.output.text(&table.render())
    }

    fn delivery_objects(&self, evidence: &Evidence) -> Result<(), Failure> {
        for flow in &evidence.flows {
            for journal in &evidence.journals {
                let Some(entry) = evidence.entry(flow, &journal.node) else {
                    continue;
                };
                self.output.object(&json!({
                    "event": "delivered", "by": journal.node, "role": flow.role, "from": flow.sender,
                    "deliveries": entry.deliveries(), "runs": entry.runs,
                }))?;
            }
        }
        Ok(())
    }

    /// Which promises were kept.
    pub(crate) fn promises(&self, promises: &[Promise]) -> Result<(), Failure> {
        if self.output.is_json() {
            for promise in promises {
                self.output.object(&json!({
                    "event": "promise", "name": promise.name, "held": promise.is_held(),
                    "meaning": promise.meaning, "broken": promise.broken,
                }))?;
            }
            return Ok(());
        }
        let mut table = Table::with_heads(["promise"]).indented(2);
        for promise in promises {
            let name = Cell::plain(promise.name);
            if promise.is_held() {
                let held = Cell::styled("held", GOOD);
                table.row(vec![name, held, Cell::plain(&promise.meaning)]);
                continue;
            }
            let mut name = name;
            for what in promise.broken.iter().take(SHOWN_MAX) {
                table.row(vec![name, Cell::styled("BROKEN", BAD), Cell::plain(what)]);
                name = Cell::plain("");
            }
        }
        self.output.line("")?;
        self.output.text(&table.render())
    }

    /// The last line; a failure unless every promise was kept.
    pub(crate) fn end(&self, promises: &[Promise]) -> Result<(), Failure> {
        let wall_s = self.elapsed().as_secs_f64();
        let broken: Vec<&Promise> = promises
            .iter()
            .filter(|promise| !promise.is_held())
            .collect();
        if self.output.is_json() {
            self.output.object(&json!({
                "event": "end", "held": broken.is_empty(), "wall_s": round(wall_s),
            }))?;
        }
        match broken[..] {
            [] if self.output.is_json() => Ok(()),
            [] => self.output.line(format_args!(
                "\n{GOOD}every promise held{GOOD:#}, in {wall_s:.1} s"
            )),
            [first, ..] => {
                let names: Vec<&str> = broken.iter().map(|promise| promise.name).collect();
                Err(Failure::failed(format!(
                    "broken: {}; {}",
                    names.join(", "),
                    first.broken[0]
                )))
            }
        }
    }
}

/// Runs of numbers: `1–300`, and how many more if there are many.
fn ranges(runs: &[(u64, u64)]) -> String {
    let shown = runs.iter().take(SHOWN_MAX).map(|&(first, last)| {
        if first == last {
            human::count(first)
        } else {
            format!("{}\u{2013}{}", human::count(first), human::count(last))
        }
    });
    let mut shown: Vec<String> = shown.collect();
    if runs.len() > SHOWN_MAX {
        shown.push(format!("and {} more runs", runs.len() - SHOWN_MAX));
    }
    shown.join(", ")
}

/// To the millisecond.
fn round(s: f64) -> f64 {
    (s * 1_000.0).round() / 1_000.0
}

/// So many runs or broken places are shown.
const SHOWN_MAX: usize = 3;
