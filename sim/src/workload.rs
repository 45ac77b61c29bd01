//! What applications ask for, as data.

use std::time::Duration;

use rolecast_membership::{RoleName, Time};
use rolecast_protocol::{Dissemination, Mode, Order, SlowMembers};
use serde::{Deserialize, Serialize};

mod mode;
mod sites;

use sites::with_narrowed;
pub(crate) use sites::{NARROWED_FIRST, narrowed};

use crate::plan::Slot;
use crate::random::{Purpose, Stream};

/// Everything that the applications of a run ask for, in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// How many roles there are.
    pub roles: u8,
    /// The roles that each node takes up when it starts.
    pub held: Vec<Vec<RoleIndex>>,
    /// What they ask for.
    pub operations: Vec<Operation>,
    /// For each node, after how long, in microseconds, its multicasts go on without a holder that keeps the window shut; they wait, if not given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evict_after_us: Vec<Option<u64>>,
    /// For each node, how many keys its multicasts bear in turn, of each of which only the last is kept for a slow holder; everything is, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_last_keys: Vec<u8>,
    /// For each node, how many messages that were sent before it asks for when it takes up a role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replays: Vec<u32>,
    /// For each node, in which site it is when it starts; no node is in a site, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<u8>,
}

/// One of the run's roles: those with names, then the one of everyone, and then each of them narrowed to each site.
pub type RoleIndex = u8;

/// How many sites there are.
pub const SITES: u8 = 2;

/// One thing that one application asks its node for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its number, which its payloads carry; no other operation of the workload has it.
    pub id: u32,
    /// When, in microseconds of virtual time.
    pub at_us: u64,
    /// Where; nothing happens if nobody is there at the time.
    pub node: Slot,
    /// What.
    #[serde(flatten)]
    pub ask: Ask,
}

/// What an application asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Send a batch to all holders.
    Multicast {
        /// To whom.
        role: RoleIndex,
        /// What is to be promised.
        #[serde(flatten, with = "mode::ModeData")]
        mode: Mode,
        /// How many messages.
        count: u8,
        /// The length of each payload in bytes.
        bytes: u32,
    },
    /// Send a large payload to all holders, chunk by chunk.
    Large {
        /// To whom.
        role: RoleIndex,
        /// How it spreads.
        dissemination: Dissemination,
        /// How many chunks.
        chunks: u8,
        /// The length of each chunk in bytes.
        bytes: u32,
        /// How long after one chunk the next one follows.
        pause_us: u64,
        /// Whether its length is announced.
        announced: bool,
        /// Whether it is sent to its end, and not broken off.
        complete: bool,
    },
    /// Ask all holders.
    Gather {
        /// Whom.
        role: RoleIndex,
        /// What is to be promised.
        #[serde(flatten, with = "mode::ModeData")]
        mode: Mode,
        /// The length of the payload in bytes.
        bytes: u32,
        /// How long the answers may take.
        within_us: u64,
    },
    /// Send to any one holder, or ask it.
    Anycast {
        /// To whom.
        role: RoleIndex,
        /// How the holder is chosen.
        choice: Choice,
        /// Whether an answer is awaited.
        request: bool,
        /// The length of the payload in bytes.
        bytes: u32,
        /// How long it may take.
        within_us: u64,
    },
    /// Send to one node, or ask it.
    Unicast {
        /// The place of the node.
        to: Slot,
        /// In which role.
        role: RoleIndex,
        /// Whether an answer is awaited.
        request: bool,
        /// The length of the payload in bytes.
        bytes: u32,
        /// How long it may take.
        within_us: u64,
    },
    /// Give up the oldest call that is outstanding.
    Cancel,
    /// Take up a role.
    TakeUp {
        /// Which.
        role: RoleIndex,
    },
    /// Drop a role.
    Drop {
        /// Which.
        role: RoleIndex,
    },
    /// Say that the node is in this site.
    Move {
        /// Which.
        site: u8,
    },
}

/// How one holder is chosen; `rolecast_protocol::Pick` as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Each in its turn.
    RoundRobin,
    /// The one that owes the fewest answers.
    LeastOutstanding,
    /// The same for the same key.
    Sticky(u8),
}

/// What kind of things is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Everything.
    Mixed,
    /// Nothing.
    Idle,
    /// Multicasts and scatter-gathers only.
    Multicasts,
    /// Everything, while roles are taken up and dropped all the time.
    Moving,
    /// More than fits.
    Flood,
}

/// How many modes workloads draw: messages that one to four members are to hold, spread in two ways, and best effort, each in every order.
/// Each of them with and without eviction.
pub(crate) const MODES: usize = 2 * 9 * Order::ALL.len();

/// From what a workload is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Draft {
    /// From which it follows.
    pub seed: u64,
    /// What kind of things is asked for.
    pub style: Style,
    /// How multicasts spread: one of these.
    pub spread: &'static [Dissemination],
    /// So many of a hundred multicasts wait until several members hold them.
    pub safe_percent: u32,
    /// So many of a hundred multicasts are in the usual order.
    pub usual_percent: u32,
    /// How many places for nodes there are.
    pub nodes: Slot,
    /// When the first thing is asked for.
    pub from: Time,
    /// For how long bursts begin.
    pub window: Duration,
    /// The length of the largest payload.
    pub bytes_max: u32,
}

impl Workload {
    /// Draws a workload: bursts and lulls between `from` and `from + window`.
    #[must_use]
    pub fn draw(draft: Draft) -> Self {
        let Draft { seed, nodes, .. } = draft;
        let mut stream = Stream::new(seed, Purpose::Workload, 0);
        let roles = u8::try_from(stream.between(1, 3)).expect("below 256");
        let held = (0..nodes)
            .map(|_| {
                (0..roles)
                    .filter(|_| stream.percent(60))
                    .collect::<Vec<_>>()
            })
            .collect();
        let mut operations = Vec::new();
        for node in 0..nodes {
            let stream = Stream::new(seed, Purpose::Workload, 1 + u64::from(node));
            let mut draw = Draw {
                stream,
                node,
                roles,
                draft,
            };
            draw.node_operations(&mut operations);
        }
        let sites = sites(seed, nodes);
        if !sites.is_empty() {
            into_sites(&draft, roles, &mut operations);
        }
        operations.sort_by_key(|operation| (operation.at_us, operation.node));
        for (id, operation) in (0..).zip(&mut operations) {
            operation.id = id;
        }
        Workload {
            roles,
            held,
            operations,
            evict_after_us: (0..nodes).map(|node| evict_after_us(seed, node)).collect(),
            keep_last_keys: (0..nodes).map(|node| keep_last_keys(seed, node)).collect(),
            replays: (0..nodes).map(|node| replay(seed, node)).collect(),
            sites,
        }
    }

    /// How many roles there are, with those that are narrowed to a site.
    #[must_use]
    pub fn role_count(&self) -> u8 {
        let with_everyone = self.roles.saturating_add(1);
        match self.sites.is_empty() {
            true => with_everyone,
            false => with_everyone.saturating_mul(1 + SITES),
        }
    }

    /// A role that is not narrowed.
    #[must_use]
    pub fn base(&self, role: RoleIndex) -> RoleIndex {
        match role.checked_sub(self.roles + 1) {
            None => role,
            Some(narrowed) => narrowed / SITES,
        }
    }

    /// What a node's multicasts with this mode do when a holder is slow, and how many keys they bear.
    #[must_use]
    pub fn slow_holders(&self, node: Slot, mode: Mode) -> (SlowMembers, u8) {
        let keys = self.keep_last_keys.get(usize::from(node)).copied();
        let keys = keys.unwrap_or(0);
        let gossip = matches!(mode.dissemination, Dissemination::Gossip { .. });
        if keys > 0 && !gossip && mode.order == Order::Fifo && mode.k_safe <= 1 {
            return (SlowMembers::KeepLast, keys);
        }
        let after_us = self.evict_after_us.get(usize::from(node)).copied();
        let after = after_us.flatten().map(Duration::from_micros);
        let evict = |after| SlowMembers::Evict { after };
        (after.map_or(SlowMembers::Wait, evict), 0)
    }

    /// How many messages a node asks for that were sent before it takes up a role.
    #[must_use]
    pub fn replay(&self, node: Slot) -> u32 {
        let asked = self.replays.get(usize::from(node)).copied();
        asked.unwrap_or(0)
    }

    /// What a node says where it is when it starts; nothing, if no node is in a site.
    #[must_use]
    pub fn first_site(&self, node: Slot) -> String {
        let site = self.sites.get(usize::from(node));
        site.map_or_else(String::new, |&site| self.site(site).unwrap_or_default())
    }

    /// What a node says where it is when it has moved to this site, if nodes are in sites.
    #[must_use]
    pub fn site(&self, site: u8) -> Option<String> {
        (!self.sites.is_empty()).then(|| sites::site_name(site))
    }

    /// All roles, in the order of their numbers.
    pub(crate) fn role_names(&self) -> Vec<RoleName> {
        let named =
            (0..self.roles).map(|role| RoleName::new(&format!("r{role}")).expect("a valid name"));
        let whole = named.chain([RoleName::everyone()]).collect();
        with_narrowed(whole, !self.sites.is_empty())
    }

    /// When the last thing is asked for.
    #[must_use]
    pub fn ends_at(&self) -> Time {
        let last_us = self.operations.iter().map(|op| op.at_us).max();
        Time::from_micros(last_us.unwrap_or(0))
    }
}

/// Some nodes are patient with slow holders, and others are not.
fn evict_after_us(seed: u64, node: Slot) -> Option<u64> {
    // With dice of their own, so that the rest is what it would be without them.
    let place = 2_000_000 + u64::from(node);
    let mut stream = Stream::new(seed, Purpose::Workload, place);
    let impatient = stream.percent(40);
    impatient.then(|| stream.magnitude(50_000, 3_000_000))
}

/// Some nodes keep only the last of each of a few keys for slow holders.
fn keep_last_keys(seed: u64, node: Slot) -> u8 {
    // With dice of their own, so that the rest is what it would be without them.
    let place = 3_000_000 + u64::from(node);
    let mut stream = Stream::new(seed, Purpose::Workload, place);
    let keeps = stream.percent(25);
    let keys = if keeps { stream.between(1, 6) } else { 0 };
    u8::try_from(keys).expect("at most six")
}

/// Some nodes ask for what was sent before they took up a role.
fn replay(seed: u64, node: Slot) -> u32 {
    // With dice of their own, so that the rest is what it would be without them.
    let place = 4_000_000 + u64::from(node);
    let mut stream = Stream::new(seed, Purpose::Workload, place);
    let asks = stream.percent(50);
    let asked = if asks { stream.magnitude(1, 64) } else { 0 };
    u32::try_from(asked).expect("at most 64")
}

/// In some runs, nodes are in sites.
fn sites(seed: u64, nodes: Slot) -> Vec<u8> {
    // With dice of their own, so that the rest is what it would be without them.
    let mut stream = Stream::new(seed, Purpose::Workload, 5_000_000);
    if !stream.percent(40) {
        return Vec::new();
    }
    let site = |_| u8::from(stream.percent(50));
    (0..nodes).map(site).collect()
}

/// Some multicasts and gathers go into one site, and nodes move.
fn into_sites(draft: &Draft, roles: u8, operations: &mut Vec<Operation>) {
    let mut stream = Stream::new(draft.seed, Purpose::Workload, 5_000_001);
    let share = *stream.pick(&[20, 50, 90]);
    for operation in operations.iter_mut() {
        if let Ask::Multicast { role, .. } | Ask::Gather { role, .. } = &mut operation.ask
            && stream.percent(share)
        {
            *role = roles + 1 + *role * SITES + u8::from(stream.percent(50));
        }
    }
    let window_us = u64::try_from(draft.window.as_micros()).unwrap_or(u64::MAX);
    for node in 0..draft.nodes {
        for _ in 0..*stream.pick(&[0, 0, 1, 2, 6]) {
            operations.push(Operation {
                id: 0,
                at_us: draft.from.as_micros() + stream.between(0, window_us),
                node,
                ask: Ask::Move {
                    site: u8::from(stream.percent(50)),
                },
            });
        }
    }
}

struct Draw {
    stream: Stream,
    node: Slot,
    roles: u8,
    draft: Draft,
}

impl Draw {
    fn node_operations(&mut self, operations: &mut Vec<Operation>) {
        let from_us = self.draft.from.as_micros();
        let window_us = u64::try_from(self.draft.window.as_micros()).unwrap_or(u64::MAX);
        // Some nodes only listen.
        let silent = self.stream.percent(20);
        let bursts = match self.draft.style {
            Style::Idle => {
                // Nothing comes of it, but the run lasts until then.
                operations.push(self.operation(from_us + window_us, Ask::Cancel));
                return;
            }
            Style::Flood => self.stream.between(6, 16),
            _ if silent => 0,
            _ => self.stream.between(1, 6),
        };
        for _ in 0..bursts {
            let start_us = from_us + self.stream.between(0, window_us);
            let step_us = self.stream.magnitude(1, 200_000);
            let weights = self.weights();
            for number in 0..self.stream.magnitude(1, 24) {
                let at_us = start_us + number * step_us;
                let ask = self.ask(&weights);
                operations.push(self.operation(at_us, ask));
            }
        }
        self.role_moves(from_us, window_us, operations);
        self.larges(from_us, window_us, operations);
    }

    /// Now and then a node sends large payloads, beside everything else.
    fn larges(&mut self, from_us: u64, window_us: u64, operations: &mut Vec<Operation>) {
        // With dice of their own, so that the rest is what it would be without them.
        let place = 1_000_000 + u64::from(self.node);
        self.stream = Stream::new(self.draft.seed, Purpose::Workload, place);
        if !self.stream.percent(30) {
            return;
        }
        for _ in 0..self.stream.magnitude(1, 6) {
            let at_us = from_us + self.stream.between(0, window_us);
            let chunk = u64::from(self.draft.bytes_max.min(LARGE_CHUNK_BYTES_MAX));
            let ask = Ask::Large {
                role: self.role(),
                dissemination: self.mode().dissemination,
                chunks: u8::try_from(self.stream.between(0, 12)).expect("below 256"),
                bytes: u32::try_from(self.stream.magnitude(1, chunk)).expect("below bytes_max"),
                pause_us: self.stream.magnitude(1, 300_000),
                announced: self.stream.percent(60),
                complete: self.stream.percent(85),
            };
            operations.push(self.operation(at_us, ask));
        }
    }

    /// Roles are dropped and taken up in the middle of traffic.
    fn role_moves(&mut self, from_us: u64, window_us: u64, operations: &mut Vec<Operation>) {
        let (share, most) = match self.draft.style {
            Style::Moving => (90, 12),
            _ => (50, 4),
        };
        if self.stream.percent(share) {
            for _ in 0..self.stream.between(1, most) {
                let at_us = from_us + self.stream.between(0, window_us);
                let role = self.role();
                let ask = if self.stream.percent(50) {
                    Ask::Drop { role }
                } else {
                    Ask::TakeUp { role }
                };
                operations.push(self.operation(at_us, ask));
            }
        }
    }

    /// An operation that gets its number once all are in order.
    fn operation(&self, at_us: u64, ask: Ask) -> Operation {
        Operation {
            id: 0,
            at_us,
            node: self.node,
            ask,
        }
    }

    /// Each burst is mostly of one kind: multicasts, gathers, anycasts, unicasts, cancels.
    fn weights(&mut self) -> [u64; 5] {
        let of_the_style: &[[u64; 5]] = match self.draft.style {
            Style::Multicasts => &[[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [4, 1, 0, 0, 0]],
            _ => &EVERYTHING,
        };
        *self.stream.pick(of_the_style)
    }

    fn ask(&mut self, weights: &[u64; 5]) -> Ask {
        let mut drawn = self.stream.between(1, weights.iter().sum());
        let kind = weights.iter().position(|&weight| {
            let hit = drawn <= weight;
            drawn = drawn.saturating_sub(weight);
            hit
        });
        let role = self.role();
        match kind.expect("the number drawn is at most the sum of the weights") {
            0 => Ask::Multicast {
                role,
                mode: self.mode(),
                count: u8::try_from(self.stream.magnitude(1, 8)).expect("below 256"),
                bytes: self.bytes(),
            },
            1 => Ask::Gather {
                role,
                mode: self.mode(),
                bytes: self.bytes(),
                within_us: self.within_us(),
            },
            2 => Ask::Anycast {
                role,
                choice: *self.stream.pick(&[
                    Choice::RoundRobin,
                    Choice::LeastOutstanding,
                    Choice::Sticky(1),
                    Choice::Sticky(2),
                ]),
                request: self.stream.percent(70),
                bytes: self.bytes(),
                within_us: self.within_us(),
            },
            3 => Ask::Unicast {
                to: Slot::try_from(self.stream.index(usize::from(self.draft.nodes)))
                    .expect("below a Slot"),
                role,
                request: self.stream.percent(70),
                bytes: self.bytes(),
                within_us: self.within_us(),
            },
            _ => Ask::Cancel,
        }
    }

    /// Now and then the role of everyone, whose index follows the last one.
    fn role(&mut self) -> RoleIndex {
        if self.stream.percent(10) {
            return self.roles;
        }
        u8::try_from(self.stream.index(usize::from(self.roles))).expect("below 256")
    }

    fn mode(&mut self) -> Mode {
        let dissemination = *self.stream.pick(self.draft.spread);
        let safe = self.stream.percent(self.draft.safe_percent);
        let k_safe = match dissemination {
            Dissemination::BestEffort => 1,
            _ if !safe => 1,
            _ => *self.stream.pick(&[2, 2, 2, 3, 3, 4]),
        };
        let order = match self.stream.percent(self.draft.usual_percent) {
            true => Order::default(),
            false => *self
                .stream
                .pick(&[Order::Unordered, Order::Causal, Order::Causal]),
        };
        let order = match (dissemination, order) {
            (Dissemination::BestEffort | Dissemination::Gossip { .. }, Order::Causal) => {
                Order::default()
            }
            (_, order) => order,
        };
        Mode {
            dissemination,
            order,
            k_safe,
        }
    }

    fn bytes(&mut self) -> u32 {
        let most = self.draft.bytes_max;
        let least = if self.draft.style == Style::Flood {
            most / 4
        } else {
            16
        };
        let drawn = self.stream.magnitude(u64::from(least), u64::from(most));
        u32::try_from(drawn).expect("below bytes_max")
    }

    fn within_us(&mut self) -> u64 {
        self.stream.magnitude(1_000, 10_000_000)
    }
}

/// The longest chunk of a large payload, so that a run stays small.
const LARGE_CHUNK_BYTES_MAX: u32 = 2 << 10;
/// Ways to mix multicasts, gathers, anycasts, unicasts and cancels.
const EVERYTHING: [[u64; 5]; 7] = [
    [1, 0, 0, 0, 0],
    [1, 0, 0, 0, 0],
    [0, 1, 0, 0, 0],
    [0, 0, 1, 0, 0],
    [0, 0, 0, 1, 0],
    [4, 1, 2, 1, 1],
    [0, 2, 4, 2, 1],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_in_order_and_name_only_what_exists() {
        for seed in 0..100 {
            let workload = Workload::draw(Draft {
                seed,
                style: Style::Mixed,
                spread: &Dissemination::ALL,
                safe_percent: 30,
                usual_percent: 50,
                nodes: 4,
                from: Time::from_millis(500),
                window: Duration::from_secs(8),
                bytes_max: 2_000,
            });
            assert!(
                workload
                    .operations
                    .is_sorted_by_key(|operation| operation.at_us)
            );
            assert!(
                workload
                    .operations
                    .iter()
                    .all(|operation| operation.node < 4)
            );
            assert_eq!(workload.held.len(), 4);
            let text = serde_json::to_string(&workload).expect("workloads are plain data");
            assert_eq!(
                serde_json::from_str::<Workload>(&text).expect("as written"),
                workload
            );
        }
    }
}
