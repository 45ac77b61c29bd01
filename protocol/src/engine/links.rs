//! Links: hello, frames in both directions, and what is done when they come and go.

use bytes::Bytes;
use rolecast_membership::{
    Epoch, Event as MembershipEvent, Identity, Input as MembershipInput, NodeId, Time,
};

use super::receive::BatchNumbers;
use super::{ACK_DELAY, Engine};
use crate::api::{CallId, Class, CloseReason, Event, FlowId, LinkId, Origin, Output, ReplyTo};
use crate::canary::planted;
use crate::peers::{LostLink, NewLink, Path};
use crate::session::{Cargo, LaneName, OutFrame};
use crate::way::{Carrier, HeardWay};
use crate::wire::{
    Acks, Control, DataHead, Hello, decode_control, decode_data, encode_control, encode_head,
};

/// Received bytes after which a peer is told at once.
const ACK_BYTES: usize = 128 << 10;
/// As [`ACK_BYTES`], of the bulk lane.
const BULK_ACK_BYTES: usize = 16 << 10;
/// No frame has a number above this.
const FRAME_NUMBER_MAX: u64 = 1 << 62;

impl Engine {
    pub(super) fn on_link_up(&mut self, now: Time, link: LinkId, node: NodeId) {
        if node == self.me.id {
            let reason = CloseReason::Violation("this node itself, or another with its key");
            self.out.push_back(Output::Close { link, reason });
            return;
        }
        if self.peers.link_up(now, link, node) == NewLink::Instead {
            self.on_link_lost(now, node);
        }
        self.say_hello_over(link, node);
    }

    pub(super) fn on_link_down(&mut self, now: Time, link: LinkId) {
        let Some((node, lost)) = self.peers.link_down(link) else {
            return;
        };
        match lost {
            LostLink::Idle => {
                self.on_rest(now, node);
                return;
            }
            LostLink::ReliedOn => {
                self.on_link_lost(now, node);
                self.lose_ways_over(now, node);
            }
            LostLink::OnTrial => {}
        }
        self.peers.redial(node, now, &mut self.rng);
    }

    /// What depended on a link goes on without it.
    pub(super) fn on_link_lost(&mut self, now: Time, node: NodeId) {
        let session = self
            .peers
            .get_mut(node)
            .and_then(|peer| peer.session.as_mut());
        let released = session
            .map(|session| session.release_relays())
            .unwrap_or_default();
        for (key, upto) in released {
            if !planted!(RelaysNotReleased) {
                self.on_relayed(now, key, upto);
            }
        }
        self.membership
            .handle(now, MembershipInput::PeerDisconnected(node));
    }

    /// Says who this node is and what it has, over every link.
    pub(super) fn say_hello_everywhere(&mut self) {
        let peers = self.peers.iter();
        let links = peers.filter_map(|(node, peer)| Some((peer.direct()?, node)));
        for (link, node) in links.collect::<Vec<_>>() {
            self.say_hello_over(link, node);
        }
    }

    /// Says who this node is over whatever carries what is sent to a peer.
    pub(super) fn say_hello(&mut self, node: NodeId) {
        let hello = self.hello_for(node);
        self.send_control(node, &Control::Hello(hello));
    }

    pub(super) fn say_hello_over(&mut self, link: LinkId, node: NodeId) {
        let hello = self.hello_for(node);
        self.send_control_over(link, &Control::Hello(hello));
    }

    fn hello_for(&self, node: NodeId) -> Hello {
        let session = self.peers.get(node).and_then(|peer| peer.session.as_ref());
        let known = session.map(|session| (session.peer_epoch, session.received()));
        Hello {
            epoch: self.me.epoch,
            addr: self.me.addr,
            window_bytes: self.limits.flow_window_bytes as u64,
            known,
            ways_over: self.peers.ways_over(node),
        }
    }

    fn send_control(&mut self, node: NodeId, control: &Control<'_>) {
        let link = self.peers.get(node).and_then(|peer| peer.link.as_ref());
        match link.map(|link| &link.path) {
            Some(&Path::Direct(link)) => {
                self.peers.on_used(node);
                self.send_control_over(link, control);
            }
            Some(Path::Over(_)) => {
                let frame = (Class::Control, encode_control(control));
                let life = self.me.epoch;
                self.peers.send_over_way(life, node, frame, &mut self.out);
            }
            // What it says, the hello and what follows it say too.
            Some(Path::Resting(_)) => self.peers.wake(node, false),
            None => {}
        }
    }

    pub(super) fn send_control_over(&mut self, link: LinkId, control: &Control<'_>) {
        let (head, body) = (encode_control(control), Bytes::new());
        self.out.push_back(Output::Frame {
            link,
            class: Class::Control,
            head,
            body,
        });
    }

    /// Sends a control frame to a peer if it is linked; says whether it is.
    pub(super) fn send_control_to(&mut self, node: NodeId, control: &Control<'_>) -> bool {
        let linked = self.peers.is_linked(node);
        if linked {
            self.send_control(node, control);
        }
        linked
    }

    pub(super) fn on_datagram(&mut self, now: Time, link: LinkId, bytes: Bytes) {
        if let Some(from) = self.peers.node_of(link) {
            self.peers.on_used(from);
            self.membership
                .handle(now, MembershipInput::Datagram { from, bytes });
        }
    }

    pub(super) fn on_written(&mut self, link: LinkId, class: Class, bytes: usize) {
        if let Some(node) = self.peers.on_written(link, class, bytes)
            && !planted!(PumpForgotten)
        {
            self.peers.pump(self.me.epoch, node, &mut self.out);
            self.pump_over(node);
        }
    }

    pub(super) fn on_frame(&mut self, now: Time, link: LinkId, class: Class, frame: &Bytes) {
        let Some(node) = self.peers.node_of(link) else {
            return;
        };
        let from = (node, Carrier::Link(link));
        let result = match class {
            Class::Control => self.on_control(now, from, frame),
            Class::Data | Class::Bulk => self.on_data(now, from, class, frame),
        };
        if let Err(what) = result {
            self.event(Event::Violation { peer: node, what });
            self.out.push_back(Output::Close {
                link,
                reason: CloseReason::Violation(what),
            });
            self.on_link_down(now, link);
        }
    }

    pub(super) fn on_control(
        &mut self,
        now: Time,
        (node, carrier): (NodeId, Carrier),
        frame: &Bytes,
    ) -> Result<(), &'static str> {
        let control = decode_control(frame).ok_or("a malformed control frame")?;
        if let Control::Rest { from, to } = control {
            self.on_asked_to_rest(now, (node, carrier), (from, to));
            return Ok(());
        }
        self.peers.on_used(node);
        match control {
            Control::Hello(hello) => self.on_hello(now, (node, carrier), &hello)?,
            Control::Acks(acks) => self.on_acks(now, node, acks)?,
            Control::Membership(bytes) => {
                let bytes = frame.slice_ref(bytes);
                self.membership
                    .handle(now, MembershipInput::Frame { from: node, bytes });
            }
            Control::Digest(digests) => self.on_digest(now, node, &digests)?,
            Control::Pull(pull) => self.on_pull(now, node, &pull)?,
            Control::Gone(pull) => self.on_gone(now, node, &pull),
            Control::Rest { .. } => {}
        }
        Ok(())
    }

    fn on_hello(
        &mut self,
        now: Time,
        (node, carrier): (NodeId, Carrier),
        hello: &Hello,
    ) -> Result<(), &'static str> {
        if hello.window_bytes == 0 {
            return Err("a hello that allows no message");
        }
        if matches!(carrier, Carrier::Way(life, _) if life != hello.epoch) {
            return Err("a hello of another life than that of its way");
        }
        if let Some((epoch, _)) = hello.known
            && epoch > self.me.epoch
        {
            // The peer is in session with a later life of this node's key, which another process lives: it would refuse whatever this one says.
            let by = Identity { epoch, ..self.me };
            self.event(Event::Membership(Box::new(MembershipEvent::Superseded(by))));
            return Ok(());
        }
        let peer = self.peers.get_mut(node).expect("a frame came from it");
        if peer
            .session
            .as_ref()
            .is_some_and(|session| session.peer_epoch > hello.epoch)
        {
            // The peer went on in a later life, and what it sent as data since overtook what it said before.
            return Ok(());
        }
        peer.on_hello(carrier, hello.epoch);
        HeardWay::end(&mut peer.heard, now, (hello.epoch, hello.ways_over));
        peer.window_bytes = usize::try_from(hello.window_bytes).ok();
        let ended = self.peers.enter_life(node, hello.epoch);
        self.on_life_ended(now, node, hello.epoch, ended);
        if let Some(session) = self.peers.session(node, hello.epoch) {
            let acked = match hello.known {
                Some((epoch, received)) if epoch == self.me.epoch => session.acknowledge(received),
                _ => Vec::new(),
            };
            self.on_cargo_arrived(now, (node, hello.epoch), acked);
        }
        self.wake_refused_answers(node);
        let identity = Identity {
            id: node,
            epoch: hello.epoch,
            addr: hello.addr,
        };
        self.membership
            .handle(now, MembershipInput::PeerConnected(identity));
        for datagram in self.peers.take_waiting(now, node) {
            self.send_datagram(node, datagram);
        }
        if self.peers.get(node).is_some_and(|peer| peer.link.is_none()) {
            self.rely_on_link(now, node);
        }
        self.peers.pump(self.me.epoch, node, &mut self.out);
        self.repeat_acks(node, hello.epoch);
        self.digest_to(now, node);
        self.wake_refused_flows();
        Ok(())
    }

    /// Sends a datagram to a linked peer.
    pub(super) fn send_datagram(&mut self, node: NodeId, bytes: Bytes) {
        if let Some(link) = self.link_of(node) {
            self.peers.on_used(node);
            self.out.push_back(Output::Datagram { link, bytes });
        } else {
            self.send_datagram_over_others(node, &bytes);
        }
    }

    pub(super) fn on_data(
        &mut self,
        now: Time,
        (node, carrier): (NodeId, Carrier),
        class: Class,
        frame: &Bytes,
    ) -> Result<(), &'static str> {
        let lane = LaneName::of(class).expect("control is handled elsewhere");
        let (head, body) = decode_data(frame).ok_or("a malformed data frame")?;
        match head {
            DataHead::Resume {
                from,
                to,
                first,
                stretch,
            } => {
                let resumed = (from, to, first, stretch);
                return self.on_resume(now, (node, lane, carrier), resumed);
            }
            DataHead::Relay(head) => {
                // The tag that gives it away can be written in more than one way.
                if matches!(carrier, Carrier::Way(..)) {
                    return Err("a relayed frame within a relayed frame");
                }
                return self.on_relay(now, (node, class), head, body);
            }
            _ => {}
        }
        let peer = self.peers.get_mut(node).expect("a frame came from it");
        if peer.session.is_none() {
            return Ok(());
        }
        let count = match &head {
            DataHead::Skipped { count, .. } if *count > FRAME_NUMBER_MAX => {
                return Err("a word about an impossible number of frames");
            }
            DataHead::Skipped { count, .. } => *count,
            _ => 1,
        };
        let Some(repeated) = peer.receiving(lane, carrier) else {
            return Ok(());
        };
        let again = count.min(*repeated);
        *repeated -= again;
        if again == count {
            return Ok(());
        }
        let session = peer.session.as_mut().expect("it was just there");
        let origin = Origin {
            node,
            epoch: session.peer_epoch,
        };
        let received = session.lane_mut(lane);
        if received.received() + (count - again) > FRAME_NUMBER_MAX {
            return Err("more frames than there can be");
        }
        received.on_received(now, count - again, frame.len());
        let enough = match lane {
            LaneName::Data => ACK_BYTES,
            // Whoever sends it measures how long that takes.
            LaneName::Bulk => BULK_ACK_BYTES,
        };
        let ack_now = received.unacknowledged_bytes() >= enough;
        self.acks.peers.insert(node);
        self.on_head(now, (origin, lane), head, body, frame)?;
        if ack_now {
            self.send_acks_to(node);
        } else {
            self.acks.at.get_or_insert(now + ACK_DELAY);
        }
        Ok(())
    }

    fn on_resume(
        &mut self,
        now: Time,
        (node, lane, carrier): (NodeId, LaneName, Carrier),
        (from, to, first, stretch): (Epoch, Epoch, u64, u64),
    ) -> Result<(), &'static str> {
        if first == 0 || first > FRAME_NUMBER_MAX {
            return Err("a session that resumes at an impossible frame");
        }
        let ended = self.peers.enter_life(node, from);
        self.on_life_ended(now, node, from, ended);
        let own = self.me.epoch;
        let repeated = match self.peers.session(node, from) {
            Some(session) if to == own => {
                let lane = session.lane_mut(lane);
                match lane.resume_received(first, stretch) {
                    Some(repeated) => Some(repeated),
                    // Another link or way has carried a later stretch already.
                    None => return Ok(()),
                }
            }
            _ => None,
        };
        if let Some(peer) = self.peers.get_mut(node) {
            peer.resume(lane, carrier, repeated);
        }
        Ok(())
    }

    pub(super) fn on_head(
        &mut self,
        now: Time,
        (from, lane): (Origin, LaneName),
        head: DataHead,
        body: Bytes,
        frame: &Bytes,
    ) -> Result<(), &'static str> {
        if lane_of(&head).is_some_and(|right| right != lane) {
            return Err("a frame on the wrong stream");
        }
        match head {
            DataHead::Resume { .. } | DataHead::Relay(_) => {}
            DataHead::DestSet(set) if set.key.origin == from.node && set.key.epoch > from.epoch => {
                return Err("a flow of a life that has not begun");
            }
            DataHead::DestSet(set) => self.on_dest_set(now, from, set, frame)?,
            DataHead::Batch {
                key, first, count, ..
            } if self.parks((from, lane), (key, last_of(first, count)), frame) => {}
            DataHead::GivenUp { key, upto } if self.parks((from, lane), (key, upto), frame) => {}
            DataHead::Batch {
                key,
                version,
                first,
                count,
                floor,
                deps,
            } => {
                let numbers = BatchNumbers {
                    key,
                    version,
                    first,
                    count,
                    floor,
                };
                let head = frame.slice(..frame.len() - body.len());
                self.on_batch(now, from.node, (numbers, &deps), &head, &body)?;
            }
            DataHead::Skipped { flows, .. } => {
                self.parks_skipped(from, &flows);
                self.on_skipped(now, &flows);
            }
            DataHead::Call { .. } if self.owes_acknowledgements(from.node) => {
                return Err("it calls and does not acknowledge the answers");
            }
            DataHead::Call {
                call,
                role,
                wants_reply,
            } => {
                self.peers.on_small(now);
                self.on_call(from, CallId(call), &role, wants_reply, body);
            }
            DataHead::Answer { call, answer } => {
                self.peers.on_small(now);
                self.on_answer(from, CallId(call), answer, body);
            }
            DataHead::Cancel { call } => self.on_cancel(ReplyTo {
                origin: from,
                call: CallId(call),
            }),
            DataHead::Finished {
                flow,
                tenure,
                refused,
            } => self.on_finished(from, flow, tenure, refused),
            DataHead::Rejoin { flow, tenure, upto } => {
                self.on_rejoin(from, (flow, tenure), upto);
            }
            DataHead::LeftOut { flow, tenure, upto } => {
                self.on_left_out(now, from, (flow, tenure), upto)?;
            }
            DataHead::GivenUp { key, upto } => self.on_given_up(now, from.node, key, upto),
        }
        Ok(())
    }

    /// Whether a linked peer leaves more unacknowledged than its share and this node's own.
    fn owes_acknowledgements(&self, node: NodeId) -> bool {
        let session = self.peers.get(node).and_then(|peer| peer.session.as_ref());
        session.is_some_and(|session| session.bytes_max() > 2 * self.limits.session_bytes_max)
    }

    fn on_acks(&mut self, now: Time, node: NodeId, acks: Acks) -> Result<(), &'static str> {
        if acks.to == self.me.epoch
            && let Some(session) = self
                .peers
                .get_mut(node)
                .and_then(|peer| peer.session.as_mut())
            && session.peer_epoch == acks.from
        {
            // Of flows it may have been told more than was sent by somebody else, and say so in good faith.
            if !session.may_have(acks.received) {
                return Err("an acknowledgement of more than was sent");
            }
            let arrived = session.acknowledge(acks.received);
            let [_, bulk] = acks.received;
            self.peers.on_bulk_acknowledged(node, bulk);
            self.peers.pump(self.me.epoch, node, &mut self.out);
            self.on_cargo_arrived(now, (node, acks.from), arrived);
            self.on_flow_acks(now, node, acks.from, &acks.flows);
        }
        self.on_acks_around(now, node, acks.via);
        self.wake_refused_flows();
        self.wake_refused_answers(node);
        Ok(())
    }

    /// Sends a peer what it is to know of what was received.
    pub(super) fn send_acks_to(&mut self, node: NodeId) {
        let flows = self.take_flow_acks(node);
        self.acks.peers.remove(&node);
        self.send_acks(node, flows, Vec::new());
    }

    pub(super) fn send_acks(
        &mut self,
        node: NodeId,
        flows: Vec<crate::wire::FlowAck>,
        via: Vec<crate::wire::ViaAck>,
    ) {
        if !self.peers.is_linked(node) {
            return;
        }
        let peer = self.peers.get_mut(node).expect("it is linked");
        let Some(session) = peer.session.as_mut() else {
            return;
        };
        let (to, received) = (session.peer_epoch, session.take_received());
        let acks = Acks {
            from: self.me.epoch,
            to,
            received,
            flows,
            via,
        };
        self.send_control_to(node, &Control::Acks(acks));
    }

    /// Sends whatever acknowledgement is due.
    pub(super) fn send_due_acks(&mut self) {
        self.acks.at = None;
        let origins = self.acks.flows.iter().map(|key| key.origin);
        let nodes: std::collections::BTreeSet<NodeId> =
            origins.chain(self.acks.peers.iter().copied()).collect();
        for node in nodes {
            self.send_acks_to(node);
        }
        self.acks.flows.clear();
        self.acks.peers.clear();
    }

    /// Frames have arrived at a peer.
    fn on_cargo_arrived(&mut self, now: Time, to: (NodeId, Epoch), arrived: Vec<Cargo>) {
        let mut own: Vec<(FlowId, u64)> = Vec::new();
        for cargo in arrived {
            match cargo {
                Cargo::Relay {
                    key,
                    upto,
                    awaited: true,
                } => self.on_relayed(now, key, upto),
                // In order, so that of a run the last one says it all.
                Cargo::Own { flow, upto } => match own.last_mut() {
                    Some(last) if last.0 == flow => last.1 = upto,
                    _ => own.push((flow, upto)),
                },
                _ => {}
            }
        }
        self.on_own_arrived(now, to, &own);
    }

    /// Appends a frame to a session and sends what can be sent; gives its number.
    pub(super) fn push(
        &mut self,
        to: (NodeId, Epoch),
        head: &DataHead,
        body: Bytes,
        cargo: Cargo,
    ) -> Option<u64> {
        if matches!(head, DataHead::Call { .. } | DataHead::Answer { .. }) {
            self.peers.on_small(self.peers.now);
        }
        let frame = OutFrame {
            head: encode_head(head),
            body,
            cargo,
        };
        let to = (to.0, to.1, LaneName::Data);
        self.peers.push(self.me.epoch, to, frame, &mut self.out)
    }
}

/// The last message of a batch, if there can be such a batch.
fn last_of(first: u64, count: u32) -> u64 {
    first.saturating_add(count.into()).saturating_sub(1)
}

/// The lane in which a frame belongs, if that is not either.
fn lane_of(head: &DataHead) -> Option<LaneName> {
    match head {
        DataHead::Resume { .. } | DataHead::Skipped { .. } | DataHead::Relay(_) => None,
        DataHead::DestSet(set) => Some(LaneName::of_flow(set.key.flow)),
        DataHead::Batch { key, .. } => Some(LaneName::of_flow(key.flow)),
        DataHead::Call { .. }
        | DataHead::Answer { .. }
        | DataHead::Cancel { .. }
        | DataHead::Finished { .. }
        | DataHead::Rejoin { .. }
        | DataHead::LeftOut { .. }
        | DataHead::GivenUp { .. } => Some(LaneName::Data),
    }
}
