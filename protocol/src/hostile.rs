//! Whatever a peer sends, an engine neither panics nor keeps without bound.

mod large;
mod lies;
mod random;
mod strangers;
mod windows;
mod words;

use bytes::Bytes;
use rolecast_membership::{Epoch, Identity, NodeId, Profile, Record, RoleName, Time};

use crate::api::{
    CallKind, Class, CloseReason, Delivery, Event, FlowId, Input, LinkId, Output, Pick, Target,
};
use crate::batch::Batch;
use crate::config::{Config, Limits};
use crate::engine::Engine;
use crate::mode::{Dissemination, Mode};
use crate::wire::strategies::{addr, id};
use crate::wire::{
    Control, DataHead, DestMember, DestSet, FlowKey, Hello, encode_control, encode_head,
};

/// An engine that holds a role, sends to it, and asks.
fn engine(limits: Limits) -> Engine {
    let identity = Identity {
        id: id(1),
        epoch: Epoch(1),
        addr: addr(),
    };
    let config = Config {
        record: Record::new(identity),
        seeds: Vec::new(),
        profile: Profile::Local,
        limits,
        #[cfg(feature = "canaries")]
        canary: None,
    };
    let mut engine = Engine::new(config, 1, Time::ZERO);
    let role = role();
    engine
        .take_up(Time::ZERO, role.clone())
        .expect("it is not held");
    let flow = engine
        .open_flow(Time::ZERO, role.clone(), Dissemination::Eager)
        .expect("few flows");
    let batch = Batch::single(Bytes::from_static(b"x"), None);
    engine
        .multicast(Time::ZERO, flow, batch)
        .expect("there is room");
    let target = Target::Any(role, Pick::RoundRobin);
    engine
        .call(
            Time::ZERO,
            target,
            CallKind::Request,
            Bytes::new(),
            Time::from_millis(50),
        )
        .expect("this node holds it");
    engine
}

fn role() -> RoleName {
    "r".parse().expect("a role")
}

/// An engine that holds a role, and node 2, which is linked to it and says what a test likes.
struct Linked {
    engine: Engine,
    link: LinkId,
    now: Time,
}

impl Linked {
    /// Node 2 has said hello, and begins a session in each lane.
    fn new(limits: Limits) -> Self {
        let mut linked = Linked {
            engine: engine(limits),
            link: LinkId(1),
            now: Time::ZERO,
        };
        let (link, peer) = (linked.link, id(2));
        let up = Input::LinkUp {
            link,
            peer,
            addr: addr(),
        };
        linked.engine.handle(Time::ZERO, up);
        let hello = Hello {
            epoch: Epoch(1),
            addr: addr(),
            window_bytes: 1 << 20,
            known: None,
            ways_over: 0,
        };
        linked.hear(Class::Control, encode_control(&Control::Hello(hello)));
        for class in [Class::Data, Class::Bulk] {
            linked.hear(class, resume(1));
        }
        linked
    }

    /// Node 2 says something; gives what comes of it.
    fn hear(&mut self, class: Class, bytes: Bytes) -> Vec<Output> {
        let link = self.link;
        self.handle(self.now, Input::Frame { link, class, bytes })
    }

    fn handle(&mut self, now: Time, input: Input) -> Vec<Output> {
        self.now = now;
        self.engine.handle(now, input);
        std::iter::from_fn(|| self.engine.poll_output()).collect()
    }

    /// Node 2 says something; gives why the link is closed, if it is: then nothing of it reached an inbox, and it is counted once.
    fn say(&mut self, class: Class, bytes: Bytes) -> Option<&'static str> {
        let outputs = self.hear(class, bytes);
        let why = reason(&outputs);
        assert_eq!(violations(&outputs, id(2)), Vec::from_iter(why));
        assert!(why.is_none() || deliveries(&outputs) == 0, "{outputs:?}");
        why
    }

    /// Node 2 begins a flow, or goes on with it.
    fn announce(&mut self, set: &DestSet) -> Option<&'static str> {
        let class = crate::session::LaneName::of_flow(set.key.flow).class();
        self.say(class, encode_head(&DataHead::DestSet(set.clone())))
    }

    /// The destination set of a flow of node 2 that names the engine.
    fn set(&self, flow: FlowId, mode: impl Into<Mode>) -> DestSet {
        let member = DestMember {
            node: id(1),
            epoch: Epoch(1),
            tenure: self.engine.members()[0].record.roles[&role()],
            start: 1,
            replayed: 0,
            owed: Vec::new(),
        };
        DestSet {
            key: key(flow),
            version: 1,
            role: role(),
            mode: mode.into(),
            born: Epoch(1),
            members: vec![member],
            sources: Vec::new(),
            evicted: Vec::new(),
            large: None,
        }
    }
}

/// A flow of node 2.
fn key(flow: FlowId) -> FlowKey {
    FlowKey {
        origin: id(2),
        epoch: Epoch(1),
        flow,
    }
}

/// The start of a session between the first lives of both.
fn resume(first: u64) -> Bytes {
    encode_head(&DataHead::Resume {
        from: Epoch(1),
        to: Epoch(1),
        first,
        stretch: 1,
    })
}

/// A batch as a frame, with this number of its first message.
fn batch_frame(key: FlowKey, first: u64, batch: &Batch) -> Bytes {
    let head = encode_head(&DataHead::Batch {
        key,
        version: 1,
        first,
        count: batch.count(),
        floor: 0,
        deps: Vec::new(),
    });
    let (front, payload) = batch.parts();
    [&head[..], front, payload].concat().into()
}

/// How many messages, or announcements of large ones, reach an inbox.
fn deliveries(outputs: &[Output]) -> usize {
    let reaches = |output: &&Output| {
        matches!(
            output,
            Output::Deliver {
                delivery: Delivery::Messages { .. }
                    | Delivery::Large { .. }
                    | Delivery::Chunk { .. }
                    | Delivery::Call { .. },
                ..
            }
        )
    };
    outputs.iter().filter(reaches).count()
}

/// What is counted against a node.
fn violations(outputs: &[Output], node: NodeId) -> Vec<&'static str> {
    let what = outputs.iter().filter_map(|output| match output {
        Output::Event(Event::Violation { peer, what }) if *peer == node => Some(*what),
        _ => None,
    });
    what.collect()
}

/// Why a link is closed, if one is.
fn reason(outputs: &[Output]) -> Option<&'static str> {
    outputs.iter().find_map(|output| match output {
        Output::Close {
            reason: CloseReason::Violation(what),
            ..
        } => Some(*what),
        _ => None,
    })
}
