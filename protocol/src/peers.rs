//! The other nodes as the engine talks to them: a link when there is one, or a way over others, a session with their present life, and the dialling that keeps links up.

mod rest;
mod waiting;
mod ways;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rolecast_membership::{Epoch, NodeId, Time};

use crate::api::{Class, LinkId, Output};
use crate::bulk::{BulkWindow, Small};
use crate::canary::planted;
use crate::lane::Lane;
use crate::session::{Cargo, LaneName, OutFrame, Session};
use crate::way::{Carrier, HeardWay, Way};
use crate::wire::{DataHead, encode_head};
use rest::{Rest, Use};
use waiting::Waiting;
pub(crate) use ways::{SILENCE, Unpassed};

/// Every peer that there is a link to, or a session with, or a reason to dial.
#[derive(Debug)]
pub(crate) struct Peers {
    by_node: BTreeMap<NodeId, Peer>,
    by_link: BTreeMap<LinkId, NodeId>,
    link_bytes_max: usize,
    /// The time of what is being handled.
    pub(crate) now: Time,
    /// When something small last came, or was handed in to be sent.
    small: Small,
    /// No dial is due before this; it may be too early, never too late.
    dial_hint: Option<Time>,
    /// The number of the way that was opened last.
    last_way: u64,
    /// How many peers are reached over others, or have a link that is on trial.
    detours: usize,
    /// Peers whose links rest and are not needed.
    asleep: BTreeSet<NodeId>,
}

/// One other node.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// What carries what is sent to it.
    pub(crate) link: Option<Link>,
    /// A link that has come up while it is reached over others.
    trial: Option<Trial>,
    /// What carries the stretch of each lane that comes in, in the order of [`LaneName::ALL`].
    incoming: [Option<Incoming>; 2],
    /// Its way to this node, if it has one.
    pub(crate) heard: Option<HeardWay>,
    /// How often in a row a way to it failed, and when the next one may be opened.
    failed_ways: u32,
    next_way_at: Time,
    /// Since when there is no link to it that holds, although one was tried.
    unlinked_since: Option<Time>,
    pub(crate) session: Option<Session>,
    /// Bytes of one flow that it lets its origin have on the way, as it said last.
    pub(crate) window_bytes: Option<usize>,
    /// The latest of its lives that is over.
    pub(crate) dead_epoch: Option<Epoch>,
    /// When a life of it was last found to be over.
    ended_at: Option<Time>,
    /// Datagrams that wait for a link, with since when; only the latest few.
    waiting: VecDeque<(Time, Bytes)>,
    /// When its link came up last.
    linked_at: Option<Time>,
    /// When it was last reached after a time in which it was not.
    met_at: Option<Time>,
    /// Since when nothing but a session speaks for its existence.
    pub(crate) doubted_since: Option<Time>,
    dial: Dial,
    usage: Use,
}

/// A link that is up, or a way over others in its place.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) path: Path,
    /// The peer's life, once it has said hello.
    pub(crate) hello: Option<Epoch>,
    /// In the order of [`LaneName::ALL`].
    lanes: [LinkLane; 2],
    bulk: BulkWindow,
}

/// How frames get to a peer.
#[derive(Debug)]
pub(crate) enum Path {
    /// Over a link of this node and the peer.
    Direct(LinkId),
    /// Over other members.
    Over(Way),
    /// Over no link until there is something to send.
    Resting(Rest),
}

/// A link that has to hold before it is relied on.
#[derive(Clone, Copy, Debug)]
struct Trial {
    id: LinkId,
    since: Time,
    hello: Option<Epoch>,
}

/// A stretch of a lane that comes in.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    carrier: Carrier,
    /// How many repeated frames are still to come in.
    repeated: u64,
}

/// How a link carries one lane of a session.
#[derive(Debug, Default)]
pub(crate) struct LinkLane {
    /// The lives whose session flows out of this link.
    sending: Option<(Epoch, Epoch)>,
    /// What was handed to the transport and not taken on by it.
    waiting: Waiting,
}

/// What becomes of a link that has come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewLink {
    /// There was none before.
    First,
    /// It takes the place of another one.
    Instead,
    /// The peer is reached over others until this link has held for a while.
    OnTrial,
}

/// What a link was that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LostLink {
    /// What was sent went over it.
    ReliedOn,
    /// The peer is reached over others, or not at all.
    OnTrial,
    /// It rests from here on, as this node had asked.
    Idle,
}

/// The state of dialling one peer.
#[derive(Debug, Default)]
struct Dial {
    /// Where it is dialled, if it is wanted.
    addr: Option<SocketAddr>,
    /// When to dial.
    at: Option<Time>,
    /// How many dials in a row failed.
    failures: u32,
    /// When it was last dialled without being wanted.
    once_at: Option<Time>,
}

/// Datagrams kept for a peer that is not linked yet.
const WAITING_DATAGRAMS_MAX: usize = 4;
/// For so long: what a datagram says of the mesh was true when it was written.
const WAITING_MAX: Duration = Duration::from_secs(2);
/// The wait after the first failed dial; it doubles with every further one.
const DIAL_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait between dials.
const DIAL_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// The most peers that there are sessions with.
const PEERS_MAX: usize = 16_384;
/// Peers of which it is remembered that a life is over.
const REMEMBERED_MAX: usize = 65_536;
/// How often a peer that is not wanted is dialled at most.
const DIAL_ONCE_PERIOD: Duration = Duration::from_secs(1);
/// A link that lived so long is worth dialling again at once.
const LIVED: Duration = Duration::from_secs(5);
/// Bytes of a lane that may be on their way over others: enough for what is not in a hurry, and little for those who keep it meanwhile.
const WAY_WINDOW_BYTES: usize = 256 << 10;
/// How long a dial may take before it counts as failed; the transport gives up earlier.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

impl Peers {
    pub(crate) fn new(link_bytes_max: usize) -> Self {
        Peers {
            by_node: BTreeMap::new(),
            by_link: BTreeMap::new(),
            link_bytes_max,
            now: Time::ZERO,
            small: Small::default(),
            dial_hint: None,
            last_way: 0,
            detours: 0,
            asleep: BTreeSet::new(),
        }
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Peer> {
        self.by_node.get(&node)
    }

    pub(crate) fn get_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.by_node.get_mut(&node)
    }

    pub(crate) fn node_of(&self, link: LinkId) -> Option<NodeId> {
        self.by_link.get(&link).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.by_node.iter().map(|(&node, peer)| (node, peer))
    }

    /// The sessions with all peers.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.by_node
            .values()
            .filter_map(|peer| peer.session.as_ref())
    }

    /// Whether there is a link that holds, or rests, to every peer that is known.
    pub(crate) fn are_all_linked(&self) -> bool {
        self.by_link.len() + self.asleep.len() == self.by_node.len() && self.detours == 0
    }

    /// The peers whose link has carried their hello, whether it rests or not.
    pub(crate) fn linked(&self) -> impl Iterator<Item = (NodeId, &Link)> {
        self.iter().filter_map(|(node, peer)| {
            peer.link
                .as_ref()
                .filter(|link| link.hello.is_some())
                .map(|link| (node, link))
        })
    }

    /// Whether there is a link to this peer that has carried its hello, whether it rests or not.
    pub(crate) fn is_linked(&self, node: NodeId) -> bool {
        self.get(node)
            .and_then(|peer| peer.link.as_ref())
            .is_some_and(|link| link.hello.is_some())
    }

    /// When a link came up last, or a life was found to be over, of all peers but this one.
    pub(crate) fn changed_at(&self, but: NodeId) -> Option<Time> {
        let others = self.iter().filter(|&(node, _)| node != but);
        others
            .filter_map(|(_, peer)| peer.met_at.max(peer.ended_at))
            .max()
    }

    /// A link is up; says what becomes of it.
    pub(crate) fn link_up(&mut self, now: Time, id: LinkId, node: NodeId) -> NewLink {
        let peer = self.by_node.entry(node).or_default();
        peer.linked_at = Some(now);
        peer.doubted_since = None;
        peer.dial.at = None;
        let before = peer.direct();
        if let Some(before) = before {
            self.by_link.remove(&before);
        }
        self.by_link.insert(id, node);
        let peer = self.by_node.get_mut(&node).expect("it was just there");
        if peer.is_detoured() {
            let hello = None;
            let since = now;
            peer.trial = Some(Trial { id, since, hello });
            return NewLink::OnTrial;
        }
        peer.trial = None;
        if !peer.is_resting() {
            peer.met_at = Some(now);
        }
        peer.unlinked_since = None;
        peer.usage.woken = peer.is_resting();
        peer.usage.asked_at = None;
        peer.link = Some(Link::new(Path::Direct(id)));
        self.asleep.remove(&node);
        match before {
            Some(_) => NewLink::Instead,
            None => NewLink::First,
        }
    }

    /// A link is gone; gives its peer, and what it was.
    pub(crate) fn link_down(&mut self, id: LinkId) -> Option<(NodeId, LostLink)> {
        let node = *self.by_link.get(&id)?;
        let now = self.now;
        let peer = self.by_node.get_mut(&node)?;
        if peer.awaits_rest(now) && self.rest(now, node).is_some() {
            return Some((node, LostLink::Idle));
        }
        self.by_link.remove(&id);
        let peer = self.by_node.get_mut(&node)?;
        peer.unlinked_since.get_or_insert(now);
        if peer.trial.take_if(|trial| trial.id == id).is_some() {
            return Some((node, LostLink::OnTrial));
        }
        peer.link = None;
        Some((node, LostLink::ReliedOn))
    }

    /// The datagrams that waited for this peer's link.
    pub(crate) fn take_waiting(&mut self, now: Time, node: NodeId) -> Vec<Bytes> {
        let peer = self.get_mut(node);
        let waiting = peer.map(|peer| std::mem::take(&mut peer.waiting));
        let fresh = |(since, datagram)| (now.since(since) <= WAITING_MAX).then_some(datagram);
        waiting.into_iter().flatten().filter_map(fresh).collect()
    }

    /// Keeps a datagram until there is a link.
    pub(crate) fn wait_with(&mut self, now: Time, node: NodeId, datagram: Bytes) {
        let waiting = &mut self.by_node.entry(node).or_default().waiting;
        if waiting.len() == WAITING_DATAGRAMS_MAX {
            waiting.pop_front();
        }
        waiting.push_back((now, datagram));
    }

    /// The session with this life of a peer, made if need be; `None` if that life is over or there are too many peers.
    /// A session with an earlier life must have been ended before.
    pub(crate) fn session(&mut self, node: NodeId, epoch: Epoch) -> Option<&mut Session> {
        if self.by_node.len() >= PEERS_MAX && !self.by_node.contains_key(&node) {
            return None;
        }
        let peer = self.by_node.entry(node).or_default();
        if peer.dead_epoch.is_some_and(|dead| epoch <= dead) && !planted!(DeadSessionKept) {
            return None;
        }
        let session = peer.session.get_or_insert_with(|| Session::new(epoch));
        (session.peer_epoch == epoch).then_some(session)
    }

    /// Whether this life of a peer is known to be over.
    pub(crate) fn is_over(&self, node: NodeId, epoch: Epoch) -> bool {
        self.get(node).is_some_and(|peer| {
            let later = peer.session.as_ref().map(|session| session.peer_epoch);
            peer.dead_epoch >= Some(epoch) || later > Some(epoch)
        })
    }

    /// Appends a frame to a lane of the session with this life of a peer and sends what can be sent.
    /// Gives the frame's number; `None` if that life is over.
    pub(crate) fn push(
        &mut self,
        own_epoch: Epoch,
        (node, epoch, lane): (NodeId, Epoch, LaneName),
        frame: OutFrame,
        out: &mut VecDeque<Output>,
    ) -> Option<u64> {
        let session = self.session(node, epoch)?;
        let number = session.lane_mut(lane).push(frame);
        self.pump(own_epoch, node, out);
        Some(number)
    }

    /// Hands frames of a session to its link, as long as the transport has room.
    pub(crate) fn pump(&mut self, own_epoch: Epoch, node: NodeId, out: &mut VecDeque<Output>) {
        let Some((first, waiting)) = self.first_link(node) else {
            self.wake_for_session(node);
            return;
        };
        let now = self.now;
        let Some(Peer {
            link: Some(link),
            session: Some(session),
            ..
        }) = self.by_node.get_mut(&node)
        else {
            return;
        };
        let lives = (own_epoch, session.peer_epoch);
        if link.hello != Some(session.peer_epoch) {
            return;
        }
        let mut relayed = [0; 2];
        for name in LaneName::ALL {
            let lane = session.lane_mut(name);
            // The other end expects nothing of a lane before there is something.
            if lane.is_settled() {
                continue;
            }
            let mut bytes = 0;
            if link.lane_mut(name).sending != Some(lives) || lane.has_jumped() {
                link.lane_mut(name).sending = Some(lives);
                let (first_frame, stretch) = lane.rewind();
                let head = encode_head(&DataHead::Resume {
                    from: lives.0,
                    to: lives.1,
                    first: first_frame,
                    stretch,
                });
                bytes += link.hand_over((own_epoch, first), name, (head, Bytes::new()), out);
            }
            let mut room = link.room(name, lane);
            let waiting = waiting[name as usize];
            while link.lane_mut(name).waiting.own().max(waiting + bytes) < self.link_bytes_max
                && room > 0
                && let Some(number) = lane.next_number()
                && let Some(frame) = lane.next_frame()
            {
                room = room.saturating_sub(frame.len_bytes());
                if name == LaneName::Bulk {
                    link.bulk.on_sent(now, number);
                }
                let parts = (frame.head.clone(), frame.body.clone());
                bytes += link.hand_over((own_epoch, first), name, parts, out);
            }
            relayed[name as usize] = bytes;
        }
        self.count_relayed(first, relayed);
    }

    /// Wakes the link to a peer if there is something to be sent to it.
    fn wake_for_session(&mut self, node: NodeId) {
        let Some(peer) = self.get(node).filter(|peer| peer.is_asleep()) else {
            return;
        };
        let session = peer.session.as_ref();
        if session.is_some_and(|session| !session.is_settled()) {
            self.wake(node, true);
        }
    }

    /// A message or a call is sent, or has come: what is large yields to what follows.
    pub(crate) fn on_small(&mut self, now: Time) {
        self.small.on_small(now);
    }

    /// The peer has so many bulk frames of this session.
    pub(crate) fn on_bulk_acknowledged(&mut self, node: NodeId, received: u64) {
        let (now, small) = (self.now, self.small);
        if let Some(link) = self.get_mut(node).and_then(|peer| peer.link.as_mut()) {
            link.bulk.on_acknowledged(now, received, small);
        }
    }

    /// The transport has taken on bytes of a link.
    pub(crate) fn on_written(&mut self, id: LinkId, class: Class, bytes: usize) -> Option<NodeId> {
        let node = self.node_of(id)?;
        let link = self.by_node.get_mut(&node)?.link.as_mut()?;
        let lane = link.lane_mut(LaneName::of(class)?);
        lane.waiting.take(bytes);
        Some(node)
    }

    /// This life of a peer, and all before it, are over; gives what its session had not delivered.
    pub(crate) fn end_life(&mut self, node: NodeId, epoch: Epoch) -> Vec<(Cargo, bool)> {
        let peer = self.by_node.entry(node).or_default();
        if peer.dead_epoch < Some(epoch) {
            peer.dead_epoch = Some(epoch);
            peer.ended_at = Some(self.now);
        }
        let over =
            |session: &mut Session| session.peer_epoch <= epoch && !planted!(DeadSessionKept);
        match peer.session.take_if(over) {
            Some(session) => {
                peer.incoming = [None; 2];
                session.into_unacknowledged().collect()
            }
            None => Vec::new(),
        }
    }

    /// The peer is known to be in this life: ends sessions with earlier ones; gives what they had not delivered.
    pub(crate) fn enter_life(&mut self, node: NodeId, epoch: Epoch) -> Vec<(Cargo, bool)> {
        match self.get(node).and_then(|peer| peer.session.as_ref()) {
            Some(session) if session.peer_epoch < epoch => {
                let before = session.peer_epoch;
                self.end_life(node, before)
            }
            _ => Vec::new(),
        }
    }

    /// The peer lives in this life: none before it is heard any more.
    pub(crate) fn outlive(&mut self, node: NodeId, epoch: Epoch) {
        let peer = self.by_node.entry(node).or_default();
        let before = epoch.0.checked_sub(1).map(Epoch);
        peer.dead_epoch = peer.dead_epoch.max(before);
    }

    /// Ends every session because this node's own life changed; gives what they had not delivered.
    pub(crate) fn end_own_life(&mut self) -> Vec<(NodeId, Vec<(Cargo, bool)>)> {
        let ended = self.by_node.iter_mut().filter_map(|(&node, peer)| {
            peer.incoming = [None; 2];
            // Two parts of a mesh may have declared each other down: this node goes on in a new life, in which a peer that did not have to renew itself is alive again.
            peer.dead_epoch = None;
            let session = peer.session.take()?;
            Some((node, session.into_unacknowledged().collect()))
        });
        ended.collect()
    }

    /// A link to this peer is wanted, at this address, at the latest at `at`.
    pub(crate) fn want(&mut self, node: NodeId, addr: SocketAddr, at: Time) {
        let peer = self.by_node.entry(node).or_default();
        if peer.dial.addr != Some(addr) {
            peer.dial = Dial {
                addr: Some(addr),
                ..Dial::default()
            };
        }
        if peer.direct().is_none() && !peer.is_asleep() {
            let at = peer.dial.at.map_or(at, |before| before.min(at));
            peer.dial.at = Some(at);
            self.dial_not_before(at);
        }
    }

    /// No link to this peer is wanted any more.
    pub(crate) fn unwant(&mut self, node: NodeId) {
        if let Some(peer) = self.by_node.get_mut(&node) {
            peer.dial.addr = None;
            peer.dial.at = None;
            peer.waiting.clear();
        }
    }

    /// Dials a peer that is not wanted for good, though not at every turn.
    pub(crate) fn dial_once(
        &mut self,
        now: Time,
        node: NodeId,
        addr: SocketAddr,
        out: &mut VecDeque<Output>,
    ) {
        let peer = self.by_node.entry(node).or_default();
        let lately = |at: Time| now < at + DIAL_ONCE_PERIOD;
        if peer.dial.addr.is_none() && !peer.dial.once_at.is_some_and(lately) {
            peer.dial.once_at = Some(now);
            out.push_back(Output::Dial {
                addr,
                peer: Some(node),
            });
        }
    }

    /// Dials at this address failed; gives the peers whose links were to be woken.
    pub(crate) fn dial_failed(
        &mut self,
        now: Time,
        addr: SocketAddr,
        rng: &mut ChaCha8Rng,
    ) -> Vec<NodeId> {
        let mut earliest = None;
        let mut awaited = Vec::new();
        for (&node, peer) in &mut self.by_node {
            if peer.dial.addr == Some(addr) && peer.direct().is_none() && !peer.is_asleep() {
                awaited.extend(peer.is_resting().then_some(node));
                peer.unlinked_since.get_or_insert(now);
                let at = now + peer.dial.backoff().mul_f64(rng.random_range(0.5..1.0));
                peer.dial.at = Some(at);
                earliest = Some(earliest.map_or(at, |before: Time| before.min(at)));
            }
        }
        if let Some(at) = earliest {
            self.dial_not_before(at);
        }
        awaited
    }

    /// Dials whatever is due.
    pub(crate) fn dial_due(&mut self, now: Time, out: &mut VecDeque<Output>) {
        if self.dial_hint.is_none_or(|hint| hint > now) {
            return;
        }
        for (&node, peer) in &mut self.by_node {
            let Some(addr) = peer.dial.addr else { continue };
            if peer.direct().is_none() && peer.dial.at.is_some_and(|at| at <= now) {
                peer.dial.at = Some(now + DIAL_TIMEOUT);
                out.push_back(Output::Dial {
                    addr,
                    peer: Some(node),
                });
            }
        }
        let unlinked = self.by_node.values().filter(|peer| peer.direct().is_none());
        self.dial_hint = unlinked.filter_map(|peer| peer.dial.at).min();
    }

    /// When a dial may be due.
    pub(crate) fn next_dial(&self) -> Option<Time> {
        self.dial_hint
    }

    /// A link was lost: the peer is dialled again, sooner if the link had lived for a while.
    pub(crate) fn redial(&mut self, node: NodeId, now: Time, rng: &mut ChaCha8Rng) {
        if let Some(peer) = self.by_node.get_mut(&node)
            && peer.dial.addr.is_some()
            && !planted!(RedialForgotten)
        {
            if peer.linked_at.is_some_and(|at| at + LIVED <= now) {
                peer.dial.failures = 0;
            }
            let at = now + peer.dial.backoff().mul_f64(rng.random_range(0.1..1.0));
            peer.dial.at = Some(at);
            self.dial_not_before(at);
        }
    }

    fn dial_not_before(&mut self, at: Time) {
        self.dial_hint = Some(self.dial_hint.map_or(at, |hint| hint.min(at)));
    }

    /// Forgets a flow in every session.
    pub(crate) fn forget_flow(&mut self, key: crate::wire::FlowKey) {
        for session in self
            .by_node
            .values_mut()
            .filter_map(|peer| peer.session.as_mut())
        {
            session.forget_flow(key);
        }
    }

    /// Forgets peers of which nothing is left to know.
    /// Which lives are over is remembered as long as there is room, so that none of them is heard again.
    pub(crate) fn forget(&mut self) {
        let room = self.by_node.len() <= REMEMBERED_MAX;
        self.by_node.retain(|_, peer| {
            let linked = peer.link.is_some() || peer.trial.is_some();
            let used = linked || peer.session.is_some() || peer.dial.addr.is_some();
            used || (room && peer.dead_epoch.is_some())
        });
    }
}

impl Dial {
    /// How long to wait after one more failure.
    fn backoff(&mut self) -> Duration {
        let wait = DIAL_BACKOFF_MIN * 2u32.saturating_pow(self.failures.min(10));
        self.failures += 1;
        wait.min(DIAL_BACKOFF_MAX)
    }
}

impl Link {
    fn new(path: Path) -> Self {
        Link {
            path,
            hello: None,
            lanes: Default::default(),
            bulk: BulkWindow::default(),
        }
    }

    /// How it carries a lane.
    pub(crate) fn lane_mut(&mut self, name: LaneName) -> &mut LinkLane {
        &mut self.lanes[name as usize]
    }

    /// How many bytes of a lane may go to it before more is acknowledged.
    fn room(&self, name: LaneName, lane: &Lane) -> usize {
        let window = match (name, &self.path) {
            (LaneName::Data, Path::Direct(_)) => return usize::MAX,
            (LaneName::Data, Path::Over(_)) => WAY_WINDOW_BYTES,
            (LaneName::Bulk, Path::Direct(_)) => self.bulk.bytes(),
            (LaneName::Bulk, Path::Over(_)) => self.bulk.bytes().min(WAY_WINDOW_BYTES),
            (_, Path::Resting(_)) => 0,
        };
        window.saturating_sub(lane.on_the_way_bytes())
    }

    /// Sends a frame of a lane over the link `first`, which is this one or the first one of the way; gives how many bytes others relay.
    fn hand_over(
        &mut self,
        (life, first): (Epoch, LinkId),
        name: LaneName,
        (head, body): (Bytes, Bytes),
        out: &mut VecDeque<Output>,
    ) -> usize {
        match &mut self.path {
            Path::Direct(_) => {
                let bytes = head.len() + body.len();
                self.lane_mut(name).waiting.add_own(bytes);
                let class = name.class();
                let link = first;
                out.push_back(Output::Frame {
                    link,
                    class,
                    head,
                    body,
                });
                0
            }
            Path::Over(way) => {
                let envelope = way.wrap(life, name.class(), (head, body));
                let bytes = envelope.len_bytes();
                out.push_back(envelope.over(first));
                bytes
            }
            // There is no first link.
            Path::Resting(_) => 0,
        }
    }
}
