//! The commands of a golden's script.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Description, Place, RoleName, Time};

use super::net::{Due, LATENCY, Net};
use crate::api::{CallId, CallKind, Class, FlowId, Input, Pick, Refusal, Target};
use crate::batch::{Batch, BatchBuilder};
use crate::engine::Engine;
use crate::mode::{Dissemination, Mode, Order};
use crate::slow::SlowMembers;

/// One line of a script.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn text(&self, index: usize) -> &'a str {
        self.0[index]
    }

    fn number(&self, index: usize) -> u64 {
        self.0[index].parse().expect("a number")
    }

    fn number_or(&self, index: usize, default: u64) -> u64 {
        match self.0.len() > index {
            true => self.number(index),
            false => default,
        }
    }

    fn node(&self, index: usize) -> u8 {
        self.0[index].parse().expect("a node's number")
    }

    /// Two nodes, the lesser first.
    fn pair(&self) -> (u8, u8) {
        let (a, b) = (self.node(1), self.node(2));
        (a.min(b), a.max(b))
    }

    fn millis(&self, index: usize) -> Duration {
        Duration::from_millis(self.number(index))
    }

    /// A role, which `@` narrows to a site.
    fn role(&self, index: usize) -> RoleName {
        let (name, site) = match self.0[index].split_once('@') {
            Some((name, site)) => (name, Some(site.to_owned())),
            None => (self.0[index], None),
        };
        let role = RoleName::address(name).expect("a role");
        let place = Place {
            site,
            ..Place::default()
        };
        role.narrowed(&place).expect("a short name")
    }

    fn payload(&self, index: usize) -> Bytes {
        Bytes::copy_from_slice(self.0[index].as_bytes())
    }
}

impl Net {
    pub(super) fn command(&mut self, line: &str) {
        let words = Words(line.split_whitespace().collect());
        match words.text(0) {
            "limits" => {
                self.window_bytes = words.number(1) as usize;
                self.session_bytes = words.number(2) as usize;
                self.large_bytes = words.number_or(3, self.large_bytes);
            }
            "links" => self.links_max = words.number(1) as usize,
            "replays" => self.replay_bytes = words.number(1) as usize,
            "start" => {
                let (node, epoch) = (words.node(1), words.number_or(2, 1));
                self.start(node, epoch, words.number_or(3, node.into()) as u8);
            }
            "crash" => self.crash(words.node(1)),
            "cut" => {
                self.cut.insert(words.pair());
                self.break_links(|a, b| (a.min(b), a.max(b)) == words.pair());
            }
            "heal" => {
                self.cut.remove(&words.pair());
            }
            "slow" => {
                let way = (words.node(1), words.node(2));
                self.slow.insert(way, words.millis(3));
            }
            "run" => self.run(words.millis(1)),
            "quietly" => {
                self.run(words.millis(1));
                self.lines.clear();
            }
            "hold" => self.hold(&words),
            "drop" => self.drop_role(&words),
            "move" => self.move_to(words.node(1), words.text(2)),
            "stop" => {
                let inbox = self.inboxes[&(words.node(1), words.text(2).to_owned())];
                self.stopped.insert((words.node(1), inbox), Vec::new());
            }
            "go" => {
                let inbox = self.inboxes[&(words.node(1), words.text(2).to_owned())];
                let waiting = self.stopped.remove(&(words.node(1), inbox));
                for ticket in waiting.expect("it was stopped") {
                    let consumed = Input::Consumed { ticket };
                    self.at(Duration::ZERO, Due::Input(words.node(1), consumed));
                }
            }
            "evicting" => self.multicast_evicting(&words),
            "keep-last" => self.multicast_keep_last(&words),
            "eager" => self.multicast(&words, Dissemination::Eager),
            "digest" => self.multicast(&words, Dissemination::Digest),
            "gossip" => {
                let fanout = words.number(1) as u8;
                let rest = Words(words.0[1..].to_vec());
                self.multicast(&rest, Dissemination::Gossip { fanout });
            }
            "best-effort" => self.multicast(&words, Dissemination::BestEffort),
            "causal" => {
                let mode = Mode {
                    order: Order::Causal,
                    ..Mode::default()
                };
                self.multicast(&words, mode);
            }
            "safe" => {
                let k_safe = words.number(1) as u8;
                let mode = Mode {
                    k_safe,
                    ..Mode::default()
                };
                let rest = Words(words.0[1..].to_vec());
                self.multicast(&rest, mode);
            }
            "large" => {
                let flow = self.flow(&words, Dissemination::Digest);
                let length = (words.0.len() > 3).then(|| words.number(3));
                self.large(words.node(1), flow, length);
            }
            "large-evicting" => {
                let flow = self.evicting(&words);
                self.large(words.node(2), flow, None);
            }
            "chunk" => self.chunk(&words),
            "end" => self.end_large(&words),
            "ask" => self.call(&words, CallKind::Request),
            "tell" => self.call(&words, CallKind::OneWay),
            "tell-near" => self.tell_near(&words),
            "ask-all" => self.ask_all(&words),
            "reply" => self.reply(&words, Ok(words.payload(3))),
            "refuse" => self.reply(&words, Err(Refusal::Dropped)),
            "cancel" => {
                let call = CallId(words.number(2));
                self.act(words.node(1), |engine, now| engine.cancel(now, call));
                self.drain(words.node(1));
            }
            "frame" => self.forge(&words),
            other => panic!("no such command: {other}"),
        }
    }

    /// Lets a node's application do something; what follows shows when the node is drained.
    fn act<T>(&mut self, node: u8, act: impl FnOnce(&mut Engine, Time) -> T) -> T {
        let engine = self.engines.get_mut(&node).expect("it runs");
        act(engine, self.now)
    }

    fn say(&mut self, line: &str) {
        writeln!(self.lines, "{line}").expect("a string");
    }

    fn hold(&mut self, words: &Words<'_>) {
        let (node, role) = (words.node(1), words.role(2));
        let replay = words.0.get(3).map_or(0, |_| words.number(3) as u32);
        let inbox = self.act(node, |engine, now| engine.take_up_with(now, role, replay));
        let inbox = inbox.expect("it is not held");
        self.inboxes.insert((node, words.text(2).to_owned()), inbox);
        self.drain(node);
    }

    fn drop_role(&mut self, words: &Words<'_>) {
        let node = words.node(1);
        let inbox = self.inboxes[&(node, words.text(2).to_owned())];
        self.act(node, |engine, now| engine.drop_role(now, inbox));
        self.drain(node);
    }

    /// A node says that it is in this site.
    fn move_to(&mut self, node: u8, site: &str) {
        let moved = self.act(node, |engine, now| {
            let mut description = Description::of(engine.record());
            description.site = site.to_owned();
            engine.describe(now, description)
        });
        moved.expect("a short name");
        self.drain(node);
    }

    fn flow(&mut self, words: &Words<'_>, mode: impl Into<Mode>) -> FlowId {
        let role = words.role(2);
        let flow = self.act(words.node(1), |engine, now| {
            engine.open_flow(now, role, mode)
        });
        flow.expect("few flows")
    }

    fn multicast(&mut self, words: &Words<'_>, mode: impl Into<Mode>) {
        let flow = self.flow(words, mode);
        self.send(words.node(1), flow, batch(&words.0[3..]));
    }

    fn send(&mut self, node: u8, flow: FlowId, batch: Batch) {
        let accepted = self.act(node, |engine, now| engine.multicast(now, flow, batch));
        match accepted {
            Ok(accepted) => {
                let (first, last) = (accepted.first.0, accepted.last.0);
                self.say(&format!(
                    "accepted #{first}..{last} for {}",
                    accepted.members
                ));
            }
            Err(error) => self.say(&format!("error: {error}")),
        }
        self.drain(node);
    }

    /// Sends over a flow that goes on without members that are too slow.
    fn multicast_evicting(&mut self, words: &Words<'_>) {
        let flow = self.evicting(words);
        self.send(words.node(2), flow, batch(&words.0[4..]));
    }

    /// A flow that goes on without members that are too slow.
    fn evicting(&mut self, words: &Words<'_>) -> FlowId {
        let slow = SlowMembers::Evict {
            after: words.millis(1),
        };
        let (node, role) = (words.node(2), words.role(3));
        let flow = self.act(node, |engine, now| {
            engine.open_flow_for(now, role, Mode::default(), slow)
        });
        flow.expect("few flows")
    }

    /// Sends over a flow that keeps the last of each key for members that lag: what stands before the colon is the key.
    fn multicast_keep_last(&mut self, words: &Words<'_>) {
        let (node, role) = (words.node(1), words.role(2));
        let flow = self.act(node, |engine, now| {
            engine.open_flow_for(now, role, Mode::default(), SlowMembers::KeepLast)
        });
        let mut builder = BatchBuilder::new();
        for text in &words.0[3..] {
            let key = text.split_once(':').map_or("", |(key, _)| key);
            builder.push_keyed(text.as_bytes(), Bytes::copy_from_slice(key.as_bytes()));
        }
        let batch = builder.take().expect("there are messages");
        self.send(node, flow.expect("few flows"), batch);
    }

    /// Begins a large payload, which is the one that later lines speak of.
    fn large(&mut self, node: u8, flow: FlowId, length: Option<u64>) {
        let opened = self.act(node, |engine, now| engine.open_large(now, flow, length));
        match opened {
            Ok((large, accepted)) => {
                self.larges.insert(node, large);
                let (seq, members) = (accepted.first.0, accepted.members);
                self.say(&format!("accepted #{seq} for {members}"));
            }
            Err(error) => self.say(&format!("error: {error}")),
        }
        self.drain(node);
    }

    fn chunk(&mut self, words: &Words<'_>) {
        let large = self.larges[&words.node(1)];
        for index in 2..words.0.len() {
            let sent = self.act(words.node(1), |engine, now| {
                engine.send_chunk(now, large, words.payload(index))
            });
            if let Err(error) = sent {
                self.say(&format!("error: {error}"));
            }
        }
        self.drain(words.node(1));
    }

    fn end_large(&mut self, words: &Words<'_>) {
        let large = self.larges[&words.node(1)];
        let complete = words.text(2) == "complete";
        let ended = self.act(words.node(1), |engine, now| {
            engine.end_large(now, large, complete)
        });
        if let Err(error) = ended {
            self.say(&format!("error: {error}"));
        }
        self.drain(words.node(1));
    }

    fn call(&mut self, words: &Words<'_>, kind: CallKind) {
        let target = Target::Any(words.role(2), Pick::RoundRobin);
        self.call_at(words, target, kind);
    }

    /// Tells a holder in a site, or another one if there is none.
    fn tell_near(&mut self, words: &Words<'_>) {
        let target = Target::Near {
            role: words.role(2).base(),
            first: words.role(2),
            pick: Pick::RoundRobin,
        };
        self.call_at(words, target, CallKind::OneWay);
    }

    fn call_at(&mut self, words: &Words<'_>, target: Target, kind: CallKind) {
        let placed = self.act(words.node(1), |engine, now| {
            engine.call(now, target, kind, words.payload(3), now + CALL_TIMEOUT)
        });
        if let Err(error) = placed {
            self.say(&format!("error: {error}"));
        }
        self.drain(words.node(1));
    }

    fn ask_all(&mut self, words: &Words<'_>) {
        let flow = self.flow(words, Dissemination::Eager);
        let asked = self.act(words.node(1), |engine, now| {
            engine.gather(now, flow, words.payload(3), now + CALL_TIMEOUT)
        });
        if let Err(error) = asked {
            self.say(&format!("error: {error}"));
        }
        self.drain(words.node(1));
    }

    fn reply(&mut self, words: &Words<'_>, answer: Result<Bytes, Refusal>) {
        let to = self.asked[&format!("{}:{}", words.text(1), words.text(2))];
        let replied = self.act(words.node(1), |engine, now| engine.reply(now, to, answer));
        if let Err(error) = replied {
            self.say(&format!("error: {error}"));
        }
        self.drain(words.node(1));
    }

    /// Sends raw bytes from one node to another, as a hostile peer would.
    fn forge(&mut self, words: &Words<'_>) {
        let (a, b) = (words.node(1), words.node(2));
        let class = match words.text(3) {
            "control" => Class::Control,
            "bulk" => Class::Bulk,
            _ => Class::Data,
        };
        let bytes = words.0[4..].iter();
        let bytes: Vec<u8> = bytes
            .map(|byte| u8::from_str_radix(byte, 16).expect("a byte"))
            .collect();
        let links = &self.links;
        let between = |&(_, &(to, far)): &(_, &(u8, _))| to == b && links[&far].0 == a;
        let (&link, _) = links.iter().find(between).expect("they are linked");
        self.at(LATENCY, Due::Frame(link, class, bytes.into()));
    }
}

fn batch(texts: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new();
    for text in texts {
        builder.push(text.as_bytes(), None);
    }
    builder.take().expect("there are messages")
}

/// How long callers wait for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
