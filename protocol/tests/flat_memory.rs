//! What engines keep does not grow with the number of messages sent.
//!
//! One test alone in its process, so that what the process takes is what the engines take.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use rolecast_membership::{Epoch, Identity, NodeId, Profile, Record, Time};
use rolecast_protocol::{
    Batch, BatchBuilder, Class, Config, Delivery, Dissemination, Engine, FlowId, Input, Limits,
    LinkId, Mode, MulticastError, Output, Usage,
};

/// Two engines, and a link between them that takes no time.
struct Pair {
    now: Time,
    engines: [Engine; 2],
    /// What is on its way to each.
    inputs: VecDeque<(usize, Input)>,
    delivered: u64,
}

impl Pair {
    fn new() -> Self {
        let now = Time::ZERO;
        let mut pair = Pair {
            now,
            engines: [0, 1].map(|place| Engine::new(config(place), place as u64, now)),
            inputs: VecDeque::new(),
            delivered: 0,
        };
        for place in [0, 1] {
            let other = 1 - place;
            let up = Input::LinkUp {
                link: LINK,
                peer: identity(other).id,
                addr: identity(other).addr,
            };
            pair.inputs.push_back((place, up));
        }
        pair.settle();
        pair
    }

    /// Lets everything happen that happens at this moment.
    fn settle(&mut self) {
        loop {
            for place in [0, 1] {
                while let Some(output) = self.engines[place].poll_output() {
                    self.carry_out(place, output);
                }
            }
            let Some((place, input)) = self.inputs.pop_front() else {
                return;
            };
            self.engines[place].handle(self.now, input);
        }
    }

    fn carry_out(&mut self, place: usize, output: Output) {
        let link = LINK;
        match output {
            Output::Datagram { bytes, .. } => {
                let datagram = Input::Datagram { link, bytes };
                self.inputs.push_back((1 - place, datagram));
            }
            Output::Frame {
                class, head, body, ..
            } => {
                let bytes: Bytes = [&head[..], &body[..]].concat().into();
                if class != Class::Control {
                    let written = Input::Written {
                        link,
                        class,
                        bytes: bytes.len(),
                    };
                    self.inputs.push_back((place, written));
                }
                let frame = Input::Frame { link, class, bytes };
                self.inputs.push_back((1 - place, frame));
            }
            Output::Deliver { delivery, .. } => {
                let Delivery::Messages { batch, ticket, .. } = delivery else {
                    panic!("nothing is lost here: {delivery:?}");
                };
                self.delivered += batch.into_messages().count() as u64;
                self.inputs.push_back((place, Input::Consumed { ticket }));
            }
            Output::Close { reason, .. } => panic!("everybody keeps the protocol: {reason:?}"),
            Output::Dial { .. } | Output::Event(_) => {}
        }
    }

    /// Goes on to when something is due.
    fn wait(&mut self) {
        let due = self.engines.iter().filter_map(Engine::poll_timeout).min();
        self.now = self
            .now
            .max(due.expect("a node that has links looks after them"));
        for place in [0, 1] {
            self.inputs.push_back((place, Input::Timeout));
        }
        self.settle();
    }

    fn send(&mut self, flow: FlowId, batch: &Batch) {
        while let Err(error) = self.engines[0].multicast(self.now, flow, batch.clone()) {
            assert_eq!(error, MulticastError::Full);
            self.wait();
        }
        self.settle();
    }

    /// What both keep when everything sent has been delivered and acknowledged, and the bytes that this process takes.
    fn rest(&mut self, sent: u64) -> ([Usage; 2], usize) {
        while self.delivered < sent {
            self.wait();
        }
        let end = self.now + std::time::Duration::from_secs(2);
        while self.now < end {
            self.wait();
        }
        assert_eq!(self.delivered, sent);
        (self.engines.each_ref().map(Engine::usage), resident_bytes())
    }
}

fn identity(place: usize) -> Identity {
    let number = u8::try_from(place).expect("there are two") + 1;
    Identity {
        id: NodeId::from_bytes([number; 32]),
        epoch: Epoch(1),
        addr: SocketAddr::from(([10, 0, 0, number], 7400)),
    }
}

fn config(place: usize) -> Config {
    let record = Record::new(identity(place));
    let seeds = vec![identity(1 - place).addr];
    Config::new(record, seeds, Profile::Local, Limits::default())
}

/// The bytes of memory that this process takes.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages = statm.split_whitespace().nth(1).expect("the second field");
    pages.parse::<usize>().expect("a number") * PAGE_BYTES
}

/// A batch as the library makes it of what gathers in a moment; so small that what is left of each one would be seen.
fn batch() -> Batch {
    let mut builder = BatchBuilder::new();
    for _ in 0..BATCH_MESSAGES {
        builder.push(&[7; 16], None);
    }
    builder.take().expect("it is not empty")
}

#[test]
fn ten_million_messages_leave_as_much_behind_as_one_million() {
    let batch = batch();
    for dissemination in [Dissemination::Digest, Dissemination::gossip()] {
        let mut pair = Pair::new();
        let role: rolecast_membership::RoleName = "r".parse().expect("a role");
        let now = pair.now;
        let held = pair.engines[1].take_up(now, role.clone());
        held.expect("it is not held");
        while pair.engines[0].holders(&role).is_empty() {
            pair.wait();
        }
        let mode = Mode::from(dissemination);
        let flow = pair.engines[0].open_flow(pair.now, role, mode);
        let flow = flow.expect("it is the first");

        let mut sent = 0;
        let mut after_one_million = None;
        while sent < 10_000_000 {
            pair.send(flow, &batch);
            sent += u64::from(batch.count());
            if sent >= 1_000_000 && after_one_million.is_none() {
                after_one_million = Some(pair.rest(sent));
            }
        }
        let (usage, bytes) = pair.rest(sent);
        let (usage_before, bytes_before) = after_one_million.expect("ten are more than one");
        assert_eq!(usage, usage_before, "{dissemination}");
        let grown = bytes.saturating_sub(bytes_before);
        println!("{dissemination}: {sent} messages, {bytes_before} bytes and {grown} more");
        assert!(grown <= GROWTH_BYTES_MAX, "{dissemination}: {grown} bytes");
    }
}

/// Both ends give the one link between them the same name.
const LINK: LinkId = LinkId(1);
const PAGE_BYTES: usize = 4_096;
const BATCH_MESSAGES: u32 = 100;
/// What the allocator may take more: six bytes for each batch.
const GROWTH_BYTES_MAX: usize = 512 << 10;
