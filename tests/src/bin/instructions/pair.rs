//! Two engines, one that sends and one that holds the role, joined without a network.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Epoch, Identity, NodeId, Profile, Record, RoleName, Time};
use rolecast_protocol::{
    BatchBuilder, Class, Config, Delivery, Dissemination, Engine, FlowId, Input, Limits, LinkId,
    Output,
};

pub(crate) struct Pair {
    now: Time,
    sender: Engine,
    holder: Engine,
    flow: FlowId,
    builder: BatchBuilder,
    /// What is on its way to each.
    to_sender: VecDeque<Input>,
    to_holder: VecDeque<Input>,
    taken: u64,
}

impl Pair {
    /// Two engines that have found each other.
    pub(crate) fn meet() -> Self {
        let now = Time::ZERO;
        let sender = engine(SENDER, now);
        let mut holder = engine(HOLDER, now);
        let role = RoleName::new(ROLE).expect("it is a name");
        holder.take_up(now, role.clone()).expect("it is free");
        let mut pair = Pair {
            now,
            sender,
            holder,
            flow: FlowId(0),
            builder: BatchBuilder::new(),
            to_sender: VecDeque::from([link_up(HOLDER)]),
            to_holder: VecDeque::from([link_up(SENDER)]),
            taken: 0,
        };
        while pair.sender.holders(&role).is_empty() {
            pair.settle();
            pair.now = pair.now + STEP;
        }
        let opened = pair.sender.open_flow(pair.now, role, Dissemination::Digest);
        pair.flow = opened.expect("it is the only one");
        pair
    }

    /// Sends so many messages as one batch, has them taken, and lets time pass.
    pub(crate) fn exchange(&mut self, messages: u32) {
        let before = self.taken;
        let sent = at_the_sender(&mut self.sender, |sender| {
            for _ in 0..messages {
                self.builder.push(&PAYLOAD, None);
            }
            let batch = self.builder.take().expect("there are messages");
            let sent = sender.multicast(self.now, self.flow, batch);
            sent.expect("everything before was taken");
            drain(sender, self.now)
        });
        self.to_holder.extend(sent.inputs);
        self.settle();
        self.now = self.now + STEP;
        assert_eq!(self.taken, before + u64::from(messages));
    }

    /// Carries everything to where it is meant, until nothing is on its way.
    fn settle(&mut self) {
        self.to_sender.push_back(Input::Timeout);
        self.to_holder.push_back(Input::Timeout);
        let now = self.now;
        while !self.to_sender.is_empty() || !self.to_holder.is_empty() {
            let inputs = std::mem::take(&mut self.to_holder);
            let answered = at_the_holder(&mut self.holder, |holder| take_in(holder, now, inputs));
            self.taken += answered.taken;
            self.to_sender.extend(answered.inputs);
            let inputs = std::mem::take(&mut self.to_sender);
            let answered = at_the_sender(&mut self.sender, |sender| take_in(sender, now, inputs));
            self.to_holder.extend(answered.inputs);
        }
    }
}

/// What came out of an engine.
#[derive(Default)]
struct Drained {
    /// For the other one.
    inputs: VecDeque<Input>,
    /// How many messages were delivered.
    taken: u64,
}

/// Everything that the sender does; its name tells Callgrind when to count.
#[inline(never)]
fn at_the_sender<T>(sender: &mut Engine, work: impl FnOnce(&mut Engine) -> T) -> T {
    work(sender)
}

/// Everything that the holder does; its name tells Callgrind when to count.
#[inline(never)]
fn at_the_holder<T>(holder: &mut Engine, work: impl FnOnce(&mut Engine) -> T) -> T {
    work(holder)
}

fn take_in(engine: &mut Engine, now: Time, inputs: VecDeque<Input>) -> Drained {
    let mut drained = Drained::default();
    for input in inputs {
        engine.handle(now, input);
        let more = drain(engine, now);
        drained.inputs.extend(more.inputs);
        drained.taken += more.taken;
    }
    drained
}

/// Does what a driver and a program do: what is to be sent is on its way at once, and what is delivered is taken at once.
fn drain(engine: &mut Engine, now: Time) -> Drained {
    let mut drained = Drained::default();
    while let Some(output) = engine.poll_output() {
        match output {
            Output::Frame {
                class, head, body, ..
            } => {
                let bytes: Bytes = [&head[..], &body[..]].concat().into();
                let written = Input::Written {
                    link: LINK,
                    class,
                    bytes: bytes.len(),
                };
                if class != Class::Control {
                    engine.handle(now, written);
                }
                let link = LINK;
                drained
                    .inputs
                    .push_back(Input::Frame { link, class, bytes });
            }
            Output::Datagram { bytes, .. } => {
                drained
                    .inputs
                    .push_back(Input::Datagram { link: LINK, bytes });
            }
            Output::Deliver {
                delivery: Delivery::Messages { batch, ticket, .. },
                ..
            } => {
                for message in batch.into_messages() {
                    assert_eq!(message.payload, &PAYLOAD[..]);
                    drained.taken += 1;
                }
                engine.handle(now, Input::Consumed { ticket });
            }
            Output::Close { reason, .. } => panic!("the link is closed: {reason:?}"),
            // There is one link, and nobody who listens.
            Output::Dial { .. } | Output::Deliver { .. } | Output::Event(_) => {}
        }
    }
    drained
}

fn engine(number: u8, now: Time) -> Engine {
    let record = Record::new(identity(number));
    let seeds = vec![addr(SENDER), addr(HOLDER)];
    let config = Config::new(record, seeds, Profile::Local, Limits::default());
    Engine::new(config, u64::from(number), now)
}

fn identity(number: u8) -> Identity {
    Identity {
        id: NodeId::from_bytes([number; 32]),
        epoch: Epoch(1),
        addr: addr(number),
    }
}

fn addr(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7400))
}

fn link_up(peer: u8) -> Input {
    Input::LinkUp {
        link: LINK,
        peer: identity(peer).id,
        addr: addr(peer),
    }
}

const SENDER: u8 = 1;
const HOLDER: u8 = 2;
const LINK: LinkId = LinkId(1);
const ROLE: &str = "numbers";
const PAYLOAD: [u8; 64] = [7; 64];
/// How much later the next messages are sent.
const STEP: Duration = Duration::from_millis(1);
