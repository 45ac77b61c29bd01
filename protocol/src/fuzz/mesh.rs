//! The engine under attack, an honest peer, and what may be said of both.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Epoch, Identity, Profile, Record, Time};

use super::far::{Far, greeting};
use super::peer::Peer;
use super::script::{Script, TENURE, role};
use crate::api::{
    CallKind, Class, CloseReason, Delivery, Event, FlowId, InboxId, Input, LinkId, Output, Pick,
    Seq, Target, Ticket,
};
use crate::batch::Batch;
use crate::config::{Config, Limits};
use crate::engine::{Engine, Usage};
use crate::mode::{Dissemination, Mode, Order};
use crate::wire::strategies::{addr, id};
use crate::wire::{Control, DataHead, FlowKey, decode_control, decode_data};

/// The engine under attack, as node 1, and an honest one, as node 3, with a link between them; node 2 is the input, and speaks for node 4 too.
pub(super) struct Mesh {
    now: Time,
    victim: Engine,
    friend: Engine,
    flows: Vec<FlowId>,
    inboxes: BTreeSet<InboxId>,
    /// The link over which node 2 speaks, while there is one.
    link: Option<LinkId>,
    last_link: u64,
    /// How many frames of node 2 the victim has, as it says.
    received: [u64; 2],
    peer: Peer,
    far: Far,
    /// What was multicast to the victim, by whom and as what.
    sent: BTreeSet<(FlowKey, u64, Bytes)>,
    calls: BTreeSet<Bytes>,
    delivered: BTreeSet<(InboxId, FlowKey, u64)>,
    untaken: Vec<Ticket>,
    own: u64,
}

/// The link between the two honest ones, as both call it.
const FRIENDLY: LinkId = LinkId(1_000_000);
/// The link between the honest peer and node 4, as both call it.
const BEYOND: LinkId = LinkId(1_000_001);

impl Mesh {
    pub(super) fn new() -> Self {
        let mut mesh = Mesh {
            now: Time::ZERO,
            victim: engine(1),
            friend: engine(3),
            flows: Vec::new(),
            inboxes: BTreeSet::new(),
            link: None,
            last_link: 0,
            received: [0; 2],
            peer: Peer::new((2, 10), (4, FlowId(10), Dissemination::Digest.into())),
            far: Far::new(),
            sent: BTreeSet::new(),
            calls: BTreeSet::new(),
            delivered: BTreeSet::new(),
            untaken: Vec::new(),
            own: 0,
        };
        let inbox = mesh.victim.take_up(mesh.now, role());
        mesh.inboxes.insert(inbox.expect("it holds nothing"));
        mesh.friend
            .take_up(mesh.now, role())
            .expect("it holds nothing");
        let held = mesh.victim.members()[0].record.roles[&role()];
        assert_eq!(held.0, TENURE);
        for (engine, peer) in [(&mut mesh.victim, 3), (&mut mesh.friend, 1)] {
            let up = Input::LinkUp {
                link: FRIENDLY,
                peer: id(peer),
                addr: addr(),
            };
            engine.handle(mesh.now, up);
        }
        let safe = Mode {
            dissemination: Dissemination::Digest,
            order: Order::Fifo,
            k_safe: 2,
        };
        let causal = Mode {
            order: Order::Causal,
            ..Dissemination::Eager.into()
        };
        for mode in [Dissemination::Eager.into(), safe, causal] {
            let flow = mesh.victim.open_flow(mesh.now, role(), mode);
            mesh.flows.push(flow.expect("few"));
        }
        mesh.introduce();
        mesh
    }

    /// The honest peer has a link to node 4, and makes it known; then nothing more is heard of that over this link.
    fn introduce(&mut self) {
        let mut far = engine(4);
        for (engine, peer) in [(&mut self.friend, 4), (&mut far, 3)] {
            let up = Input::LinkUp {
                link: BEYOND,
                peer: id(peer),
                addr: addr(),
            };
            engine.handle(self.now, up);
        }
        for _ in 0..50 {
            for _ in 0..5 {
                let mut said = Vec::new();
                while let Some(output) = far.poll_output() {
                    said.push(output);
                }
                for output in said {
                    pass_on(self.now, output, &mut self.friend);
                }
                for output in self.settle() {
                    pass_on(self.now, output, &mut far);
                }
            }
            self.now = self.now + Duration::from_millis(20);
            for engine in [&mut self.victim, &mut self.friend, &mut far] {
                engine.handle(self.now, Input::Timeout);
            }
        }
        let known = self.victim.members();
        assert!(
            known
                .iter()
                .any(|member| member.record.identity.id == id(4))
        );
    }

    /// Does what the script says next.
    pub(super) fn step(&mut self, script: &mut Script<'_>) {
        match script.below(16) {
            0 => self.multicast(usize::from(script.below(3))),
            1 => self.ask(),
            2 => self.take_one(usize::from(script.byte())),
            3 => self.pass_time(Duration::from_millis(u64::from(script.byte()))),
            4 => {
                if let Some(link) = self.link.take() {
                    self.victim.handle(self.now, Input::LinkDown { link });
                }
            }
            5 => {
                let link = self.greet();
                let bytes = script.datagram();
                self.victim
                    .handle(self.now, Input::Datagram { link, bytes });
            }
            6..=9 => {
                let (class, bytes) = self.peer.next(script);
                self.hear(class, bytes);
            }
            10 | 11 => {
                for (class, bytes) in self.far.next(script) {
                    self.hear(class, bytes);
                }
            }
            _ => {
                let (class, bytes) = script.frame();
                self.hear(class, bytes);
            }
        }
        self.settle();
        check(&self.victim.usage(), &limits(), self.flows.len());
    }

    /// Hears a relayed frame within a relayed frame; says whether the way on which it came is heard any longer.
    pub(super) fn hears_on_after_nesting(&mut self) -> bool {
        for (class, bytes) in self.far.nested() {
            assert!(self.far.is_open());
            self.hear(class, bytes);
        }
        self.far.is_open()
    }

    /// Whether messages of node 4 are delivered after somebody began a way in its name, in a life that it does not have.
    pub(super) fn hears_far_after_another_life(&mut self) -> bool {
        for (class, bytes) in self.far.unborn() {
            self.hear(class, bytes);
        }
        // Long enough for messages of each of its flows.
        let script: Vec<u8> = (0..=u8::MAX)
            .map(|n| n.wrapping_mul(37) | 0x40)
            .cycle()
            .take(2_000)
            .collect();
        let mut script = Script::new(&script);
        while !script.is_over() {
            for (class, bytes) in self.far.next(&mut script) {
                self.hear(class, bytes);
            }
        }
        self.delivered_of_far() > 0
    }

    /// How many messages were delivered that node 4 sent over others.
    pub(super) fn delivered_of_far(&self) -> usize {
        let keys = self.delivered.iter().map(|(_, key, _)| key);
        keys.filter(|key| key.origin == id(4) && key.flow.0 >= Far::FIRST_FLOW)
            .count()
    }

    /// Takes everything, and gives it time.
    pub(super) fn rest(&mut self) {
        for _ in 0..5 {
            for ticket in std::mem::take(&mut self.untaken) {
                self.victim.handle(self.now, Input::Consumed { ticket });
            }
            self.pass_time(Duration::from_millis(100));
        }
        check(&self.victim.usage(), &limits(), self.flows.len());
    }

    /// The link to node 2, which says hello and begins its sessions if it has just come up.
    fn greet(&mut self) -> LinkId {
        if let Some(link) = self.link {
            return link;
        }
        self.last_link += 1;
        let link = LinkId(self.last_link);
        self.link = Some(link);
        let up = Input::LinkUp {
            link,
            peer: id(2),
            addr: addr(),
        };
        self.victim.handle(self.now, up);
        // It says what it has.
        self.settle();
        for (class, bytes) in greeting(self.received, link.0, 0) {
            let frame = Input::Frame { link, class, bytes };
            self.victim.handle(self.now, frame);
        }
        link
    }

    /// Node 2 says something: if nobody can understand it, its link is closed.
    fn hear(&mut self, class: Class, bytes: Bytes) {
        let link = self.greet();
        self.settle();
        if self.link != Some(link) {
            return;
        }
        let understood = match class {
            Class::Control => decode_control(&bytes).is_some(),
            Class::Data | Class::Bulk => {
                let data = decode_data(&bytes);
                if let Some((head, body)) = &data {
                    self.note(head, body);
                }
                data.is_some()
            }
        };
        let frame = Input::Frame { link, class, bytes };
        self.victim.handle(self.now, frame);
        self.settle();
        assert!(understood || self.link.is_none(), "the link is still open");
    }

    /// What node 2 has said may be delivered.
    fn note(&mut self, head: &DataHead, body: &Bytes) {
        match head {
            DataHead::Batch {
                key, first, count, ..
            } => {
                let messages = Batch::parse(*count, body.clone()).map(Batch::into_messages);
                for (place, message) in (0..).zip(messages.into_iter().flatten()) {
                    let number = first.wrapping_add(place);
                    self.sent.insert((*key, number, message.payload));
                }
            }
            DataHead::Call { .. } => {
                self.calls.insert(body.clone());
            }
            DataHead::Relay(_) => {
                if let Some((head, body)) = decode_data(body) {
                    self.note(&head, &body);
                }
            }
            _ => {}
        }
    }

    fn multicast(&mut self, flow: usize) {
        self.own += 1;
        let payload = Bytes::from(format!("own {}", self.own));
        let batch = Batch::single(payload.clone(), None);
        if let Ok(accepted) = self.victim.multicast(self.now, self.flows[flow], batch) {
            let key = FlowKey {
                origin: id(1),
                epoch: self.victim.identity().epoch,
                flow: self.flows[flow],
            };
            self.sent.insert((key, accepted.first.0, payload));
        }
    }

    fn ask(&mut self) {
        self.own += 1;
        let payload = Bytes::from(format!("question {}", self.own));
        self.calls.insert(payload.clone());
        let target = Target::Any(role(), Pick::RoundRobin);
        let deadline = self.now + Duration::from_millis(50);
        // It may have too many already.
        let _ = self
            .victim
            .call(self.now, target, CallKind::Request, payload, deadline);
    }

    fn take_one(&mut self, index: usize) {
        if !self.untaken.is_empty() {
            let ticket = self.untaken.swap_remove(index % self.untaken.len());
            self.victim.handle(self.now, Input::Consumed { ticket });
        }
    }

    fn pass_time(&mut self, time: Duration) {
        self.now = self.now + time;
        self.victim.handle(self.now, Input::Timeout);
        self.friend.handle(self.now, Input::Timeout);
        self.settle();
    }

    /// Passes on what the two honest ones say to each other, until they have said all.
    ///
    /// Gives what the honest peer says over its other link.
    fn settle(&mut self) -> Vec<Output> {
        let mut beyond = Vec::new();
        loop {
            let mut silent = true;
            while let Some(output) = self.victim.poll_output() {
                silent = false;
                self.on_output(output);
            }
            while let Some(output) = self.friend.poll_output() {
                silent = false;
                match output {
                    Output::Deliver { delivery, .. } => {
                        if let Some(ticket) = ticket_of(&delivery) {
                            self.friend.handle(self.now, Input::Consumed { ticket });
                        }
                    }
                    output @ (Output::Frame { link: BEYOND, .. }
                    | Output::Datagram { link: BEYOND, .. }) => beyond.push(output),
                    output => pass_on(self.now, output, &mut self.victim),
                }
            }
            if silent {
                return beyond;
            }
        }
    }

    fn on_output(&mut self, output: Output) {
        match output {
            Output::Deliver { inbox, delivery } => self.on_delivery(inbox, delivery),
            Output::Close { link, reason } => {
                assert_ne!(link, FRIENDLY, "an honest peer is cut off: {reason:?}");
                let CloseReason::Violation(what) = reason else {
                    panic!("nobody leaves: {reason:?}");
                };
                assert!(!what.is_empty());
                self.link.take_if(|open| *open == link);
            }
            Output::Event(Event::Violation { peer, .. }) => {
                assert!([id(2), id(4)].contains(&peer));
                if peer == id(4) {
                    self.far.close();
                }
            }
            Output::Frame {
                link,
                class: Class::Control,
                head,
                ..
            } if self.link == Some(link) => {
                self.received = received(&head).unwrap_or(self.received);
            }
            output => {
                if let Some(received) = received_of_far(&output) {
                    self.far.received = received;
                }
                pass_on(self.now, output, &mut self.friend);
            }
        }
    }

    /// Nothing is delivered that nobody sent, into an inbox that is none, or twice.
    fn on_delivery(&mut self, inbox: InboxId, delivery: Delivery) {
        assert!(self.inboxes.contains(&inbox));
        self.untaken.extend(ticket_of(&delivery));
        match delivery {
            Delivery::Messages {
                origin,
                flow,
                first: Seq(first),
                batch,
                ..
            } => {
                let key = FlowKey {
                    origin: origin.node,
                    epoch: origin.epoch,
                    flow,
                };
                for (number, message) in (first..).zip(batch.into_messages()) {
                    let sent = (key, number, message.payload);
                    assert!(self.sent.contains(&sent), "nobody sent {sent:?}");
                    let news = self.delivered.insert((inbox, key, number));
                    assert!(news, "delivered twice: {sent:?}");
                }
            }
            Delivery::Call { payload, .. } => assert!(self.calls.contains(&payload)),
            Delivery::Chunk {
                origin,
                flow,
                chunk,
                ..
            } => {
                let is_it = |(key, _, payload): &(FlowKey, u64, Bytes)| {
                    (key.origin, key.epoch, key.flow) == (origin.node, origin.epoch, flow)
                        && *payload == chunk
                };
                assert!(self.sent.iter().any(is_it), "nobody sent {chunk:?}");
            }
            // Words about messages, which have no payload.
            _ => {}
        }
    }
}

/// What a hello says to have of the sessions of whoever hears it.
fn received(control: &[u8]) -> Option<[u64; 2]> {
    match decode_control(control)? {
        Control::Hello(hello) => Some(hello.known.map(|known| known.1).unwrap_or_default()),
        _ => None,
    }
}

/// The same, if this is relayed to node 4.
fn received_of_far(output: &Output) -> Option<[u64; 2]> {
    let Output::Frame {
        class, head, body, ..
    } = output
    else {
        return None;
    };
    let frame = [&head[..], body].concat().into();
    match decode_data(&frame).filter(|_| *class != Class::Control)? {
        (DataHead::Relay(relay), inner) if relay.destination() == id(4) => received(&inner),
        _ => None,
    }
}

/// Hands what one honest engine says to the other; what is for anybody else is lost.
fn pass_on(now: Time, output: Output, other: &mut Engine) {
    let input = match output {
        Output::Frame {
            link: link @ (FRIENDLY | BEYOND),
            class,
            head,
            body,
        } => Input::Frame {
            link,
            class,
            bytes: [head, body].concat().into(),
        },
        Output::Datagram {
            link: link @ (FRIENDLY | BEYOND),
            bytes,
        } => Input::Datagram { link, bytes },
        _ => return,
    };
    other.handle(now, input);
}

fn ticket_of(delivery: &Delivery) -> Option<Ticket> {
    match delivery {
        Delivery::Messages { ticket, .. }
        | Delivery::Call { ticket, .. }
        | Delivery::Large { ticket, .. }
        | Delivery::Chunk { ticket, .. } => Some(*ticket),
        _ => None,
    }
}

/// What is kept stays within what [`Usage`] promises.
fn check(usage: &Usage, limits: &Limits, own_flows: usize) {
    let window = limits.flow_window_bytes + BATCH_BYTES_MAX;
    let own = own_flows * window;
    let bounds = [
        (
            "a session",
            usage.session_bytes_max,
            2 * limits.session_bytes_max + own,
        ),
        ("early", usage.early_bytes_max, 4 * window + BATCH_BYTES_MAX),
        ("retained", usage.retained_bytes_max, 2 * window),
        (
            "untaken",
            usage.untaken_bytes_max,
            4 * window + BATCH_BYTES_MAX,
        ),
        ("calls", usage.calls, limits.calls_max),
        ("inbox", usage.inbox_bytes_max, limits.inbox_bytes_max),
    ];
    for (what, used, most) in bounds {
        assert!(used <= most, "{what}: {used} of {most}, {usage:?}");
    }
}

fn limits() -> Limits {
    Limits {
        payload_bytes_max: 2_000,
        flow_window_bytes: 4_000,
        session_bytes_max: 8_000,
        inbox_bytes_max: 4_000,
        large_bytes_max: 8_000,
        calls_max: 4,
        ..Limits::default()
    }
}

fn engine(number: u8) -> Engine {
    let identity = Identity {
        id: id(number),
        epoch: Epoch(1),
        addr: addr(),
    };
    let config = Config::new(Record::new(identity), Vec::new(), Profile::Local, limits());
    Engine::new(config, u64::from(number), Time::ZERO)
}

/// The most that one batch adds to what is kept, with its overhead.
const BATCH_BYTES_MAX: usize = 2 * crate::batch::BATCH_BYTES_FULL + 1_024;
