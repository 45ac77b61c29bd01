//! Goldens: scripts of commands, each followed by everything that a few engines then say to each other and to their applications.
//!
//! A file in `testdata/` holds blocks of commands, a line `----`, and the expected lines, in the style of etcd's data-driven tests.
//! `UPDATE_GOLDENS=1 cargo test -p rolecast-protocol` writes the files anew; read the difference before you commit it.
//! Membership runs for real but is not shown: its packets have tests of their own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Epoch, Identity, NodeId, Profile, Record, Time};

use crate::api::{
    CallId, CallKind, Class, Config, Delivery, Dissemination, Event, Gap, InboxId, Input, Limits,
    LinkId, Output, Pick, Refusal, ReplyTo, Target,
};
use crate::batch::BatchBuilder;
use crate::engine::Engine;
use crate::wire::{Control, DataHead, DestSet, decode_control, decode_data};

const LATENCY: Duration = Duration::from_millis(1);

/// A few engines, joined by links with one millisecond of latency.
#[derive(Default)]
struct Net {
    now: Time,
    engines: BTreeMap<u8, Engine>,
    ids: BTreeMap<NodeId, u8>,
    /// The far end of each link.
    links: BTreeMap<LinkId, (u8, LinkId)>,
    last_link: u64,
    events: BinaryHeap<Reverse<(Time, u64)>>,
    due: BTreeMap<u64, Due>,
    last_event: u64,
    /// Pairs that cannot reach each other.
    cut: BTreeSet<(u8, u8)>,
    /// Inboxes whose application takes nothing.
    stopped: BTreeSet<(u8, InboxId)>,
    inboxes: BTreeMap<(u8, String), InboxId>,
    asked: BTreeMap<String, ReplyTo>,
    window_bytes: usize,
    session_bytes: usize,
    lines: String,
}

/// What happens at its time.
enum Due {
    Input(u8, Input),
    Connect(u8, u8),
    Frame(LinkId, Class, Bytes),
}

fn node_id(node: u8) -> NodeId {
    NodeId::from_bytes([node; 32])
}

fn addr(node: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node], 7400))
}

impl Net {
    fn start(&mut self, node: u8, epoch: u64) {
        let identity = Identity {
            id: node_id(node),
            epoch: Epoch(epoch),
            addr: addr(node),
        };
        let limits = Limits {
            flow_window_bytes: self.window_bytes,
            session_bytes_max: self.session_bytes,
            ..Limits::default()
        };
        let config = Config {
            record: Record::new(identity),
            seeds: vec![addr(1)],
            profile: Profile::Local,
            limits,
            #[cfg(feature = "canaries")]
            canary: None,
        };
        self.ids.insert(node_id(node), node);
        self.engines
            .insert(node, Engine::new(config, u64::from(node), self.now));
        self.drain(node);
    }

    fn at(&mut self, after: Duration, due: Due) {
        self.last_event += 1;
        self.events
            .push(Reverse((self.now + after, self.last_event)));
        self.due.insert(self.last_event, due);
    }

    /// Runs for so long.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let timeout = self
                .engines
                .iter()
                .filter_map(|(&node, engine)| engine.poll_timeout().map(|at| (at, node)))
                .min();
            let event = self.events.peek().map(|Reverse((at, _))| *at);
            match (event, timeout) {
                (Some(at), timeout) if at <= end && timeout.is_none_or(|(t, _)| at <= t) => {
                    let Reverse((at, number)) = self.events.pop().expect("it was peeked");
                    self.now = self.now.max(at);
                    let due = self.due.remove(&number).expect("it is due once");
                    self.happen(due);
                }
                (_, Some((at, node))) if at <= end => {
                    self.now = self.now.max(at);
                    self.input(node, Input::Timeout);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Input(node, input) => self.input(node, input),
            Due::Connect(a, b) => self.connect(a, b),
            Due::Frame(link, class, bytes) => {
                // The link may have broken while the frame was on the way.
                let Some(&(to, far)) = self.links.get(&link) else {
                    return;
                };
                let from = self.links[&far].0;
                self.show_frame(from, to, class, &bytes);
                self.input(
                    to,
                    Input::Frame {
                        link: far,
                        class,
                        bytes,
                    },
                );
            }
        }
    }

    fn input(&mut self, node: u8, input: Input) {
        if let Some(engine) = self.engines.get_mut(&node) {
            engine.handle(self.now, input);
            self.drain(node);
        }
    }

    fn connect(&mut self, a: u8, b: u8) {
        let addr_a = addr(a);
        if a == b || self.is_cut(a, b) || !self.engines.contains_key(&b) {
            self.input(a, Input::DialFailed { addr: addr(b) });
            return;
        }
        if self
            .links
            .values()
            .any(|&(to, far)| to == b && self.links[&far].0 == a)
        {
            return;
        }
        let (near, far) = (LinkId(self.last_link + 1), LinkId(self.last_link + 2));
        self.last_link += 2;
        self.links.insert(near, (b, far));
        self.links.insert(far, (a, near));
        self.input(
            a,
            Input::LinkUp {
                link: near,
                peer: node_id(b),
                addr: addr(b),
            },
        );
        self.input(
            b,
            Input::LinkUp {
                link: far,
                peer: node_id(a),
                addr: addr_a,
            },
        );
    }

    fn is_cut(&self, a: u8, b: u8) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn break_links(&mut self, broken: impl Fn(u8, u8) -> bool) {
        let links: Vec<(LinkId, u8, LinkId)> = self
            .links
            .iter()
            .map(|(&near, &(to, far))| (near, to, far))
            .collect();
        for (near, to, far) in links {
            let Some(&(from, _)) = self.links.get(&far) else {
                continue;
            };
            if broken(from, to) {
                self.links.remove(&near);
                self.links.remove(&far);
                self.input(from, Input::LinkDown { link: near });
                self.input(to, Input::LinkDown { link: far });
            }
        }
    }

    fn drain(&mut self, node: u8) {
        while let Some(output) = self
            .engines
            .get_mut(&node)
            .and_then(|engine| engine.poll_output())
        {
            match output {
                Output::Dial { addr, .. } => {
                    let SocketAddr::V4(v4) = addr else {
                        continue;
                    };
                    self.at(LATENCY, Due::Connect(node, v4.ip().octets()[3]));
                }
                Output::Close { link, reason } => {
                    writeln!(self.lines, "{node} closes a link: {reason:?}").expect("a string");
                    if let Some((to, far)) = self.links.remove(&link) {
                        self.links.remove(&far);
                        self.input(to, Input::LinkDown { link: far });
                    }
                }
                Output::Datagram { link, bytes } => {
                    if let Some(&(to, far)) = self.links.get(&link) {
                        self.at(
                            LATENCY,
                            Due::Input(to, Input::Datagram { link: far, bytes }),
                        );
                    }
                }
                Output::Frame {
                    link,
                    class,
                    head,
                    body,
                } => {
                    let bytes: Bytes = [&head[..], &body[..]].concat().into();
                    if class == Class::Data {
                        let written = Input::Written {
                            link,
                            bytes: bytes.len(),
                        };
                        self.at(Duration::ZERO, Due::Input(node, written));
                    }
                    self.at(LATENCY, Due::Frame(link, class, bytes));
                }
                Output::Deliver { inbox, delivery } => self.show_delivery(node, inbox, delivery),
                Output::Event(event) => self.show_event(node, &event),
            }
        }
    }

    fn name(&self, id: NodeId) -> u8 {
        self.ids.get(&id).copied().unwrap_or(0)
    }

    fn show_delivery(&mut self, node: u8, inbox: InboxId, delivery: Delivery) {
        let (line, ticket) = match delivery {
            Delivery::Messages {
                origin,
                first,
                batch,
                ticket,
                ..
            } => {
                let mut texts = Vec::new();
                for message in batch.into_messages() {
                    let text = String::from_utf8_lossy(&message.payload).into_owned();
                    if let Some(call) = message.call {
                        self.asked
                            .insert(format!("{node}:{text}"), ReplyTo { origin, call });
                    }
                    texts.push(text);
                }
                let from = self.name(origin.node);
                let texts = texts.join(" ");
                (
                    format!("{node} gets {from}@{} #{}: {texts}", origin.epoch, first.0),
                    Some(ticket),
                )
            }
            Delivery::Call {
                from,
                payload,
                ticket,
                wants_reply,
            } => {
                let text = String::from_utf8_lossy(&payload).into_owned();
                let kind = if wants_reply { "request" } else { "one-way" };
                let sender = self.name(from.origin.node);
                self.asked.insert(format!("{node}:{text}"), from);
                (
                    format!("{node} gets a {kind} from {sender}: {text}"),
                    Some(ticket),
                )
            }
            Delivery::Gap(Gap::Range {
                origin,
                first,
                last,
                ..
            }) => {
                let from = self.name(origin.node);
                let line = format!(
                    "{node} misses {from}@{} #{}..{}",
                    origin.epoch, first.0, last.0
                );
                (line, None)
            }
            Delivery::Gap(Gap::DeclaredDown { .. }) => (format!("{node} was declared down"), None),
        };
        self.lines += &line;
        self.lines.push('\n');
        if let Some(ticket) = ticket
            && !self.stopped.contains(&(node, inbox))
        {
            self.at(Duration::ZERO, Due::Input(node, Input::Consumed { ticket }));
        }
    }

    fn show_event(&mut self, node: u8, event: &Event) {
        let line = match event {
            Event::Membership(_) | Event::Holders(_) => return,
            Event::Answered {
                node: from, answer, ..
            } => {
                let from = from.map(|from| self.name(from).to_string());
                let answer = format!("{answer:?}");
                format!(
                    "{node} has an answer of {}: {answer}",
                    from.unwrap_or_default()
                )
            }
            Event::Settled { upto, .. } => format!("{node} is settled up to #{}", upto.0),
            Event::Lost {
                node: lost,
                after,
                upto,
                ..
            } => {
                let lost = self.name(*lost);
                format!("{node} lost {lost} after #{} of #{}", after.0, upto.0)
            }
            Event::Writable(_) => format!("{node} may send again"),
            Event::Cancelled(_) => format!("{node} hears that the answer is not wanted"),
            Event::Drained => format!("{node} has drained"),
            Event::Violation { what, .. } => format!("{node} sees {what}"),
        };
        self.lines += &line;
        self.lines.push('\n');
    }

    fn show_frame(&mut self, from: u8, to: u8, class: Class, bytes: &Bytes) {
        let what = match class {
            Class::Control => match decode_control(bytes) {
                Some(Control::Membership(_)) | None => return,
                Some(Control::Hello(hello)) => {
                    let known = hello
                        .known
                        .map(|(epoch, received)| format!(" has {received} of @{epoch}"));
                    format!("hello @{}{}", hello.epoch, known.unwrap_or_default())
                }
                Some(Control::Acks(acks)) => {
                    let mut text = format!("acks {}", acks.received);
                    for ack in &acks.flows {
                        write!(text, " #{}", ack.upto).expect("a string");
                    }
                    for via in &acks.via {
                        let (member, origin) = (self.name(via.member), self.name(via.origin));
                        write!(text, " {member} for {origin} #{}", via.ack.upto).expect("a string");
                    }
                    text
                }
                Some(Control::Cancel { .. }) => "cancel".to_owned(),
            },
            Class::Data => match decode_data(bytes) {
                Some((head, _)) => self.data_text(&head),
                None => "rubbish".to_owned(),
            },
        };
        writeln!(self.lines, "  {from} -> {to} {what}").expect("a string");
    }

    fn data_text(&self, head: &DataHead) -> String {
        match head {
            DataHead::Resume { from, to, first } => format!("resume @{from} @{to} at {first}"),
            DataHead::DestSet(DestSet {
                version, members, ..
            }) => {
                let members: Vec<String> = members
                    .iter()
                    .map(|m| format!("{}@{}:{}", self.name(m.node), m.epoch, m.start))
                    .collect();
                format!("dest-set v{version} {}", members.join(" "))
            }
            DataHead::Batch {
                key,
                version,
                first,
                count,
            } => {
                let last = first + u64::from(*count) - 1;
                format!(
                    "batch of {} v{version} #{first}..{last}",
                    self.name(key.origin)
                )
            }
            DataHead::Skipped { count, flows } => {
                let flows: Vec<String> = flows
                    .iter()
                    .map(|(key, upto)| format!("{} #{upto}", self.name(key.origin)))
                    .collect();
                format!("skipped {count}: {}", flows.join(" "))
            }
            DataHead::Call { role, .. } => format!("call {role}"),
            DataHead::Answer { answer, .. } => format!("answer {answer:?}"),
        }
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let node = |index: usize| -> u8 { words[index].parse().expect("a node number") };
        match words[0] {
            "limits" => {
                self.window_bytes = words[1].parse().expect("bytes");
                self.session_bytes = words[2].parse().expect("bytes");
            }
            "start" => self.start(
                node(1),
                words.get(2).map_or(1, |e| e.parse().expect("epoch")),
            ),
            "crash" => {
                self.engines.remove(&node(1));
                let gone = node(1);
                self.break_links(|a, b| a == gone || b == gone);
            }
            "cut" | "heal" => {
                let pair = (node(1).min(node(2)), node(1).max(node(2)));
                if words[0] == "heal" {
                    self.cut.remove(&pair);
                } else {
                    self.cut.insert(pair);
                    self.break_links(|a, b| (a.min(b), a.max(b)) == pair);
                }
            }
            "run" => self.run(Duration::from_millis(
                words[1].parse().expect("milliseconds"),
            )),
            "quietly" => {
                self.run(Duration::from_millis(
                    words[1].parse().expect("milliseconds"),
                ));
                self.lines.clear();
            }
            "hold" => {
                let role = words[2].parse().expect("a role");
                let now = self.now;
                let engine = self.engines.get_mut(&node(1)).expect("it runs");
                let inbox = engine.take_up(now, role).expect("it is not held");
                self.inboxes.insert((node(1), words[2].to_owned()), inbox);
                self.drain(node(1));
            }
            "drop" | "stop" => {
                let inbox = self.inboxes[&(node(1), words[2].to_owned())];
                if words[0] == "stop" {
                    self.stopped.insert((node(1), inbox));
                    return;
                }
                let now = self.now;
                self.engines
                    .get_mut(&node(1))
                    .expect("it runs")
                    .drop_role(now, inbox);
                self.drain(node(1));
            }
            "eager" | "best-effort" => {
                let dissemination = match words[0] {
                    "eager" => Dissemination::Eager,
                    _ => Dissemination::BestEffort,
                };
                let mut builder = BatchBuilder::new();
                for text in &words[3..] {
                    builder.push(text.as_bytes(), None);
                }
                let batch = builder.take().expect("there are messages");
                let (now, role) = (self.now, words[2].parse().expect("a role"));
                let engine = self.engines.get_mut(&node(1)).expect("it runs");
                let flow = engine
                    .open_flow(now, role, dissemination)
                    .expect("few flows");
                let line = match engine.multicast(now, flow, batch) {
                    Ok(accepted) => format!(
                        "accepted #{}..{} for {}",
                        accepted.first.0, accepted.last.0, accepted.members
                    ),
                    Err(error) => format!("error: {error}"),
                };
                writeln!(self.lines, "{line}").expect("a string");
                self.drain(node(1));
            }
            "ask" | "tell" => {
                let kind = match words[0] {
                    "ask" => CallKind::Request,
                    _ => CallKind::OneWay,
                };
                let target = Target::Any(words[2].parse().expect("a role"), Pick::RoundRobin);
                let (now, deadline) = (self.now, self.now + Duration::from_secs(2));
                let payload = Bytes::copy_from_slice(words[3].as_bytes());
                let engine = self.engines.get_mut(&node(1)).expect("it runs");
                if let Err(error) = engine.call(now, target, kind, payload, deadline) {
                    writeln!(self.lines, "error: {error}").expect("a string");
                }
                self.drain(node(1));
            }
            "ask-all" => {
                let (now, deadline) = (self.now, self.now + Duration::from_secs(2));
                let payload = Bytes::copy_from_slice(words[3].as_bytes());
                let engine = self.engines.get_mut(&node(1)).expect("it runs");
                let role = words[2].parse().expect("a role");
                let flow = engine
                    .open_flow(now, role, Dissemination::Eager)
                    .expect("few flows");
                if let Err(error) = engine.gather(now, flow, payload, deadline) {
                    writeln!(self.lines, "error: {error}").expect("a string");
                }
                self.drain(node(1));
            }
            "reply" | "refuse" => {
                let to = self.asked[&format!("{}:{}", words[1], words[2])];
                let answer = match words[0] {
                    "reply" => Ok(Bytes::copy_from_slice(words[3].as_bytes())),
                    _ => Err(Refusal::Dropped),
                };
                let now = self.now;
                let engine = self.engines.get_mut(&node(1)).expect("it runs");
                if let Err(error) = engine.reply(now, to, answer) {
                    writeln!(self.lines, "error: {error}").expect("a string");
                }
                self.drain(node(1));
            }
            "cancel" => {
                let now = self.now;
                let engine = self.engines.get_mut(&node(1)).expect("it runs");
                engine.cancel(now, CallId(words[2].parse().expect("a number")));
                self.drain(node(1));
            }
            "frame" => {
                // Raw bytes from one node to another, as a hostile peer would send them.
                let (a, b) = (node(1), node(2));
                let class = match words[3] {
                    "control" => Class::Control,
                    _ => Class::Data,
                };
                let bytes: Vec<u8> = words[4..]
                    .iter()
                    .map(|byte| u8::from_str_radix(byte, 16).expect("a byte"))
                    .collect();
                let link = self
                    .links
                    .iter()
                    .find(|&(_, &(to, far))| to == b && self.links[&far].0 == a)
                    .map(|(&near, _)| near);
                let due = Due::Frame(link.expect("they are linked"), class, bytes.into());
                self.at(LATENCY, due);
            }
            other => panic!("no such command: {other}"),
        }
    }
}

fn check(name: &str) {
    let path = format!("{}/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the golden can be read");
    let mut net = Net {
        window_bytes: 4 << 20,
        session_bytes: 64 << 20,
        ..Net::default()
    };
    let mut written = String::new();
    for block in text.trim_end().split("\n\n") {
        let commands: Vec<&str> = block.lines().take_while(|line| *line != "----").collect();
        for line in commands.iter().filter(|line| !line.starts_with('#')) {
            net.command(line);
        }
        let lines = std::mem::take(&mut net.lines);
        written += &format!("{}\n----\n{lines}\n", commands.join("\n"));
    }
    let written = written.trim_end().to_owned() + "\n";
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &written).expect("the golden can be written");
        return;
    }
    assert_eq!(
        written, text,
        "{name}: UPDATE_GOLDENS=1 writes what happened"
    );
}

#[test]
fn multicast() {
    check("multicast");
}

#[test]
fn relay() {
    check("relay");
}

#[test]
fn sessions() {
    check("sessions");
}

#[test]
fn calls() {
    check("calls");
}

#[test]
fn windows() {
    check("windows");
}

#[test]
fn hostile() {
    check("hostile");
}
