//! A few engines, joined by links that can be cut.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{
    Epoch, Event as MembershipEvent, Identity, NodeId, Profile, Record, Time,
};

use crate::api::{Class, Event, FlowId, InboxId, Input, LinkId, Output, ReplyTo, Ticket};
use crate::config::{Config, Limits};
use crate::engine::Engine;

/// A few engines, joined by links with one millisecond of latency.
#[derive(Default)]
pub(super) struct Net {
    pub(super) now: Time,
    /// By the place where they run, which is the last number of their address.
    pub(super) engines: BTreeMap<u8, Engine>,
    /// Whose key the engine at a place has: as a rule the one with the place's number.
    keys: BTreeMap<u8, u8>,
    /// The far end of each link.
    pub(super) links: BTreeMap<LinkId, (u8, LinkId)>,
    last_link: u64,
    events: BinaryHeap<Reverse<(Time, u64)>>,
    due: BTreeMap<u64, Due>,
    last_event: u64,
    /// Pairs that cannot reach each other.
    pub(super) cut: BTreeSet<(u8, u8)>,
    /// How long each bulk frame takes that one node sends another, one after the other.
    pub(super) slow: BTreeMap<(u8, u8), Duration>,
    /// Until when the bulk frames take that are on such a way.
    busy: BTreeMap<(u8, u8), Time>,
    /// Inboxes whose application takes nothing.
    pub(super) stopped: BTreeMap<(u8, InboxId), Vec<Ticket>>,
    pub(super) inboxes: BTreeMap<(u8, String), InboxId>,
    pub(super) asked: BTreeMap<String, ReplyTo>,
    pub(super) window_bytes: usize,
    pub(super) links_max: usize,
    pub(super) session_bytes: usize,
    pub(super) replay_bytes: usize,
    pub(super) large_bytes: u64,
    /// The large payload that each node began last.
    pub(super) larges: BTreeMap<u8, FlowId>,
    pub(super) lines: String,
}

/// What happens at its time.
pub(super) enum Due {
    Input(u8, Input),
    Connect(u8, u8),
    Frame(LinkId, Class, Bytes),
}

impl Net {
    /// No engines, and room enough for each that is started.
    pub(super) fn new() -> Self {
        Net {
            window_bytes: 4 << 20,
            links_max: usize::MAX,
            session_bytes: 64 << 20,
            replay_bytes: 0,
            large_bytes: 1 << 20,
            ..Net::default()
        }
    }

    pub(super) fn start(&mut self, node: u8, epoch: u64, key: u8) {
        let identity = Identity {
            id: node_id(key),
            epoch: Epoch(epoch),
            addr: addr(node),
        };
        let limits = Limits {
            flow_window_bytes: self.window_bytes,
            session_bytes_max: self.session_bytes,
            replay_bytes: self.replay_bytes,
            large_bytes_max: self.large_bytes,
            links_max: self.links_max,
            link_idle: Duration::from_millis(100),
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
        self.keys.insert(node, key);
        self.engines
            .insert(node, Engine::new(config, u64::from(node), self.now));
        self.drain(node);
    }

    /// Ends a node without a word, and its links with it.
    pub(super) fn crash(&mut self, node: u8) {
        self.engines.remove(&node);
        self.break_links(|a, b| a == node || b == node);
    }

    pub(super) fn at(&mut self, after: Duration, due: Due) {
        self.last_event += 1;
        self.events
            .push(Reverse((self.now + after, self.last_event)));
        self.due.insert(self.last_event, due);
    }

    /// Runs for so long.
    pub(super) fn run(&mut self, duration: Duration) {
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
        // There is one link for each pair of keys: the one that comes later takes the place of the other.
        let keys = self.keys.clone();
        self.break_links(|x, y| x == a && keys[&y] == keys[&b] || x == b && keys[&y] == keys[&a]);
        let (near, far) = (LinkId(self.last_link + 1), LinkId(self.last_link + 2));
        self.last_link += 2;
        self.links.insert(near, (b, far));
        self.links.insert(far, (a, near));
        self.input(
            a,
            Input::LinkUp {
                link: near,
                peer: node_id(self.keys[&b]),
                addr: addr(b),
            },
        );
        self.input(
            b,
            Input::LinkUp {
                link: far,
                peer: node_id(self.keys[&a]),
                addr: addr_a,
            },
        );
    }

    /// How long it takes until a frame that a node sends is there.
    fn takes(&mut self, node: u8, link: LinkId, class: Class) -> Duration {
        let to = self.links.get(&link).map(|&(to, _)| to);
        let slow = to.filter(|_| class == Class::Bulk);
        let Some((way, each)) = slow.and_then(|to| {
            let way = (node, to);
            Some((way, *self.slow.get(&way)?))
        }) else {
            return LATENCY;
        };
        let busy = self.busy.entry(way).or_insert(self.now);
        *busy = self.now.max(*busy) + each;
        busy.since(self.now)
    }

    fn is_cut(&self, a: u8, b: u8) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    pub(super) fn break_links(&mut self, broken: impl Fn(u8, u8) -> bool) {
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

    pub(super) fn drain(&mut self, node: u8) {
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
                    if class != Class::Control {
                        let written = Input::Written {
                            link,
                            class,
                            bytes: bytes.len(),
                        };
                        self.at(Duration::ZERO, Due::Input(node, written));
                    }
                    let after = self.takes(node, link, class);
                    self.at(after, Due::Frame(link, class, bytes));
                }
                Output::Deliver { inbox, delivery } => self.show_delivery(node, inbox, delivery),
                Output::Event(event) => {
                    self.show_event(node, &event);
                    if matches!(event, Event::Membership(event) if matches!(*event, MembershipEvent::Superseded(_)))
                    {
                        // The driver stops a node whose key another one lives with.
                        self.crash(node);
                    }
                }
            }
        }
    }
}

fn node_id(node: u8) -> NodeId {
    NodeId::from_bytes([node; 32])
}

fn addr(node: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node], 7400))
}

/// How long everything is on its way.
pub(super) const LATENCY: Duration = Duration::from_millis(1);
