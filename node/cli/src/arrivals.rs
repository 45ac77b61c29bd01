//! What comes out of inboxes: shown as it comes, and answered.

use std::fmt::Write as _;
use std::path::PathBuf;

use futures_util::stream::{BoxStream, SelectAll, StreamExt as _, select_all, unfold};
use rolecast::{
    Gap, Inbox, InboxItem, LagReason, Lagged, Message, NodeId, Responder, RoleName, Started,
};
use serde::Serialize;

use crate::answerer::Answerer;
use crate::failure::Failure;
use crate::human;
use crate::larges::{Larges, Read};
use crate::output::{Output, to_json};
use crate::style::{BAD, DIM, NAME};

/// What arrived together in one inbox.
pub(crate) type ArrivedBatch = (RoleName, Vec<InboxItem>);

/// What arrives in several inboxes, batch by batch.
pub(crate) type ArrivedBatches = SelectAll<BoxStream<'static, ArrivedBatch>>;

/// Reads all these inboxes at once.
pub(crate) fn batches(inboxes: Vec<Inbox>) -> ArrivedBatches {
    select_all(inboxes.into_iter().map(|inbox| {
        unfold(inbox, async |mut inbox| {
            let mut items = Vec::new();
            let taken = inbox.next_many(&mut items, BATCH_MAX).await;
            (taken > 0).then(|| ((inbox.role().clone(), items), inbox))
        })
        .boxed()
    }))
}

/// Shows what arrives, and has requests answered.
pub(crate) struct Arrivals<'a> {
    output: &'a Output,
    answerer: Answerer,
    role_width: usize,
    larges: Larges,
    hex: HexOfLast,
    text: String,
}

impl<'a> Arrivals<'a> {
    /// Shows everything on this output; each line with its role in a column of this width, or without if it is 0.
    pub(crate) fn new(output: &'a Output, answerer: Answerer, role_width: usize) -> Self {
        Arrivals {
            output,
            answerer,
            role_width,
            larges: Larges::new(None),
            hex: HexOfLast::default(),
            text: String::new(),
        }
    }

    /// Writes large payloads into files in this directory, instead of counting their bytes.
    pub(crate) fn into_files(mut self, dir: Option<PathBuf>) -> Self {
        self.larges = Larges::new(dir);
        self
    }

    /// The next large payload that has been read to its end. Cancel safe.
    pub(crate) async fn next_large(&mut self) -> Read {
        self.larges.next().await
    }

    /// Shows what came of a large payload.
    pub(crate) fn show_large(&mut self, read: &Read) -> Result<(), Failure> {
        let unix_ms = human::unix_ms();
        self.text.clear();
        if self.output.is_json() {
            let line = serde_json::json!({
                "event": "large", "role": read.role.as_str(),
                "origin": read.origin.to_hex(), "epoch": read.epoch, "seq": read.seq,
                "bytes": read.bytes, "file": read.file, "problem": read.problem, "unix_ms": unix_ms,
            });
            self.text.push_str(&to_json(&line)?);
            self.text.push('\n');
            return self.output.text(&self.text);
        }
        let style = if read.problem.is_some() { BAD } else { DIM };
        self.write_start(unix_ms, "large", style, &read.role);
        let seq = read.seq.map_or_else(String::new, |seq| format!("#{seq}"));
        let bytes = human::count(read.bytes);
        let what = match (&read.problem, &read.file) {
            (Some(problem), _) => format!("{bytes} bytes, and no more: {problem}"),
            (None, Some(file)) => format!("{bytes} bytes in {}", file.display()),
            (None, None) => format!("{bytes} bytes, which were not kept; --dir keeps them"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.text,
            "{NAME}{}{NAME:#}  {DIM}{seq:<6}{DIM:#}  {what}",
            read.origin
        );
        self.output.text(&self.text)
    }

    /// Shows a batch with one write, and passes its requests on to be answered.
    pub(crate) async fn take(&mut self, (role, items): ArrivedBatch) -> Result<(), Failure> {
        let unix_ms = human::unix_ms();
        self.text.clear();
        let mut requests = Vec::new();
        for item in items {
            match item {
                InboxItem::Message(message) => {
                    self.write_message(unix_ms, &message)?;
                    if message.is_request() {
                        requests.push(message);
                    }
                }
                InboxItem::Large(large) => self.larges.read(large),
                InboxItem::Gap(gap) => self.write_gap(unix_ms, &role, &gap)?,
                InboxItem::Lagged(lagged) => self.write_lagged(unix_ms, &role, lagged)?,
                InboxItem::Started(started) => self.write_started(unix_ms, &role, started)?,
                InboxItem::Closed(reason) => {
                    self.output.text(&self.text)?;
                    return Err(Failure::failed(format!("the node is closed: {reason}")));
                }
                _ => {}
            }
        }
        self.output.text(&self.text)?;
        for request in requests {
            self.answer(request).await;
        }
        Ok(())
    }

    async fn answer(&mut self, request: Message) {
        let (role, origin) = (request.role().clone(), request.origin());
        if let (payload, Some(responder)) = request.into_parts() {
            let request = Request {
                role,
                origin,
                payload,
                responder,
            };
            self.answerer.answer(request).await;
        }
    }

    fn write_message(&mut self, unix_ms: u64, message: &Message) -> Result<(), Failure> {
        let kind = match (message.is_request(), message.seq()) {
            (true, _) => "request",
            (false, Some(_)) => "multicast",
            (false, None) => "single",
        };
        let seq = message.seq().map(|seq| seq.0);
        if self.output.is_json() {
            let payload = message.payload();
            let text = std::str::from_utf8(payload).ok();
            let line = MessageLine {
                event: "message",
                kind,
                role: message.role().as_str(),
                origin: self.hex.of(message.origin()),
                epoch: message.epoch().0,
                seq,
                payload: text,
                payload_hex: text.is_none().then(|| hex(payload)),
                unix_ms,
            };
            self.text.push_str(&to_json(&line)?);
            self.text.push('\n');
            return Ok(());
        }
        let seq = seq.map_or_else(String::new, |seq| format!("#{seq}"));
        self.write_start(unix_ms, kind, DIM, message.role());
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.text,
            "{NAME}{}{NAME:#}  {DIM}{seq:<6}{DIM:#}  {}",
            message.origin(),
            human::payload(message.payload())
        );
        Ok(())
    }

    fn write_lagged(
        &mut self,
        unix_ms: u64,
        role: &RoleName,
        lagged: Lagged,
    ) -> Result<(), Failure> {
        let Lagged {
            origin,
            first,
            last,
            reason,
            ..
        } = lagged;
        let superseded = reason == LagReason::Superseded;
        if self.output.is_json() {
            let line = serde_json::json!({
                "event": "lagged", "role": role.as_str(),
                "origin": origin.node.to_hex(), "epoch": origin.epoch.0,
                "first": first.0, "last": last.0, "superseded": superseded, "unix_ms": unix_ms,
            });
            self.text.push_str(&to_json(&line)?);
            self.text.push('\n');
            return Ok(());
        }
        let (style, what) = match superseded {
            true => (
                DIM,
                "kept only the last of each key for this node, which was slow",
            ),
            false => (BAD, "went on without this node, which was too slow"),
        };
        self.write_start(unix_ms, "lagged", style, role);
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.text,
            "{NAME}{}{NAME:#}  {what}: #{} to #{} are missing",
            origin.node, first.0, last.0
        );
        Ok(())
    }

    fn write_started(
        &mut self,
        unix_ms: u64,
        role: &RoleName,
        started: Started,
    ) -> Result<(), Failure> {
        let Started {
            origin,
            first,
            replayed,
            ..
        } = started;
        if self.output.is_json() {
            let line = serde_json::json!({
                "event": "started", "role": role.as_str(),
                "origin": origin.node.to_hex(), "epoch": origin.epoch.0,
                "first": first.0, "replayed": replayed, "unix_ms": unix_ms,
            });
            self.text.push_str(&to_json(&line)?);
            self.text.push('\n');
            return Ok(());
        }
        self.write_start(unix_ms, "started", DIM, role);
        // Writing to a string cannot fail.
        let past = match replayed {
            0 => String::new(),
            messages => format!(", {messages} of them sent before"),
        };
        let _ = writeln!(
            self.text,
            "{NAME}{}{NAME:#}  {DIM}from #{} on{past}: what it sent earlier is not for this node{DIM:#}",
            origin.node, first.0
        );
        Ok(())
    }

    fn write_gap(&mut self, unix_ms: u64, role: &RoleName, gap: &Gap) -> Result<(), Failure> {
        if self.output.is_json() {
            let line = match gap {
                Gap::Range {
                    origin,
                    first,
                    last,
                    ..
                } => serde_json::json!({
                    "event": "gap", "role": role.as_str(), "why": "lost",
                    "origin": origin.node.to_hex(), "epoch": origin.epoch.0,
                    "first": first.0, "last": last.0, "unix_ms": unix_ms,
                }),
                Gap::DeclaredDown { epoch } => serde_json::json!({
                    "event": "gap", "role": role.as_str(), "why": "declared down",
                    "epoch": epoch.0, "unix_ms": unix_ms,
                }),
            };
            self.text.push_str(&to_json(&line)?);
            self.text.push('\n');
            return Ok(());
        }
        self.write_start(unix_ms, "gap", BAD, role);
        // Writing to a string cannot fail.
        let _ = match gap {
            Gap::Range {
                origin,
                first,
                last,
                ..
            } => writeln!(
                self.text,
                "{NAME}{}{NAME:#}  {DIM}{:<6}{DIM:#}  up to #{} are lost and will never come",
                origin.node,
                format!("#{}", first.0),
                last.0
            ),
            Gap::DeclaredDown { .. } => writeln!(
                self.text,
                "this node was declared down while it lived: what was on the way to it may be lost"
            ),
        };
        Ok(())
    }

    fn write_start(&mut self, unix_ms: u64, kind: &str, style: anstyle::Style, role: &RoleName) {
        let time = human::time_of_day(unix_ms);
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{DIM}{time}{DIM:#}  {style}{kind:<9}{style:#}  ");
        if self.role_width > 0 {
            let (role, width) = (role.as_str(), self.role_width);
            let _ = write!(self.text, "{NAME}{role:<width$}{NAME:#}  ");
        }
    }
}

/// A request that is to be answered.
pub(crate) struct Request {
    /// The role that was asked.
    pub(crate) role: RoleName,
    /// Who asks.
    pub(crate) origin: NodeId,
    /// The question.
    pub(crate) payload: rolecast::Bytes,
    /// The right to answer.
    pub(crate) responder: Responder,
}

/// One message, as a JSON object.
#[derive(Serialize)]
struct MessageLine<'a> {
    event: &'static str,
    kind: &'static str,
    role: &'a str,
    origin: &'a str,
    epoch: u64,
    seq: Option<u64>,
    /// What was sent, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    /// What was sent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
    unix_ms: u64,
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The digits of the node that sent last: messages of one node come in rows.
#[derive(Default)]
struct HexOfLast {
    last: Option<(NodeId, String)>,
}

impl HexOfLast {
    fn of(&mut self, node: NodeId) -> &str {
        if self.last.as_ref().is_none_or(|(last, _)| *last != node) {
            self.last = None;
        }
        &self.last.get_or_insert_with(|| (node, node.to_hex())).1
    }
}

/// So many messages are shown with one write at most.
const BATCH_MAX: usize = 512;
