//! Paths between the nodes: packets get lost, frames are late, and links have to be opened and close for want of traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt as _;
use rolecast_membership::Time;

use super::detector::{Detector, Heard, Place};
use super::{Arrival, Happening, LINK_IDLE, Slowness, Swarm};

/// The steps by which a link is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    /// To whoever is dialled.
    Initial,
    /// Back to the dialler, for whom the link is up then.
    Answer,
    /// To whoever is dialled, for whom it is up from here on too.
    Finished,
}

/// The link of one pair of nodes.
#[derive(Clone, Copy, Default)]
struct Link {
    /// Tells it from the links there were before; zero while there was none.
    number: u64,
    /// Which of the two ends have it.
    up: [bool; 2],
    /// Until when it is being opened.
    dialling: Option<Time>,
    /// When the last frame arrives each way, which keeps them in order.
    last_frame: [Time; 2],
}

/// All links.
pub(super) struct Links {
    size: usize,
    links: Vec<Link>,
    opened: u64,
    /// The last packet that waits for a link, each way.
    waiting: BTreeMap<(Place, Place), Bytes>,
}

impl Links {
    pub(super) fn new(size: usize) -> Self {
        Links {
            size,
            links: vec![Link::default(); size * size],
            opened: 0,
            waiting: BTreeMap::new(),
        }
    }

    fn pair(&mut self, a: Place, b: Place) -> &mut Link {
        &mut self.links[a.min(b) * self.size + a.max(b)]
    }

    /// The link's number, if this end has it.
    fn up(&mut self, end: Place, other: Place) -> Option<u64> {
        let link = self.pair(end, other);
        link.up[usize::from(end > other)].then_some(link.number)
    }
}

impl<D: Detector> Swarm<D> {
    /// Opens a link at once.
    pub(super) fn link(&mut self, a: Place, b: Place) {
        if self.links.pair(a, b).up == [true; 2] {
            return;
        }
        self.links.opened += 1;
        let number = self.links.opened;
        self.links.pair(a, b).number = number;
        self.links.pair(a, b).dialling = None;
        for (end, peer) in [(a, b), (b, a)] {
            self.take_up(end, peer, number);
        }
    }

    /// Makes a node known to another one, over a link if that is how they talk.
    pub(super) fn meet(&mut self, from: Place, to: Place) {
        if D::LINKED {
            self.dial(from, to);
        } else {
            let life = self.views.present[to];
            self.hear(from, Heard::Linked { peer: to, life });
        }
    }

    /// A node has no links any more, and its peers do not know that yet.
    pub(super) fn hang_up(&mut self, place: Place) {
        for peer in (0..self.nodes.len()).filter(|peer| *peer != place) {
            let link = self.links.pair(place, peer);
            link.up[usize::from(place > peer)] = false;
            link.dialling = None;
            self.links.waiting.remove(&(place, peer));
        }
    }

    /// An end has the link from here on.
    fn take_up(&mut self, end: Place, peer: Place, number: u64) {
        let link = self.links.pair(end, peer);
        let slot = usize::from(end > peer);
        if link.number != number || link.up[slot] {
            return;
        }
        link.up[slot] = true;
        let life = self.views.present[peer];
        self.hear(end, Heard::Linked { peer, life });
        if let Some(bytes) = self.links.waiting.remove(&(end, peer)) {
            self.send_datagram(end, peer, bytes);
        }
    }

    pub(super) fn dial(&mut self, from: Place, to: Place) {
        let now = self.now;
        let link = self.links.pair(from, to);
        if from == to
            || link.up[usize::from(from > to)]
            || link.dialling.is_some_and(|until| now < until)
        {
            return;
        }
        self.links.opened += 1;
        let number = self.links.opened;
        let link = self.links.pair(from, to);
        // Whatever the other end still has is of no use to this one.
        link.up = [false; 2];
        link.number = number;
        link.dialling = Some(now + DIALLING);
        self.send_leg(from, to, number, Leg::Initial);
    }

    fn send_leg(&mut self, from: Place, to: Place, link: u64, leg: Leg) {
        let arrival = Arrival::Handshake { from, link, leg };
        self.send_in_order(from, to, arrival);
    }

    pub(super) fn send_datagram(&mut self, from: Place, to: Place, bytes: Bytes) {
        self.bytes_sent += bytes.len() as u64;
        if D::LINKED && self.links.up(from, to).is_none() {
            self.links.waiting.insert((from, to), bytes);
            return self.dial(from, to);
        }
        if self.parts[from] == self.parts[to] && !self.is_lost() {
            let after = self.latency();
            let arrival = Arrival::Datagram { from, bytes };
            self.push(after, Happening::Arrival { to, arrival });
        }
    }

    pub(super) fn send_frame(&mut self, from: Place, to: Place, bytes: Bytes) {
        self.bytes_sent += bytes.len() as u64;
        if let Some(link) = self.links.up(from, to) {
            self.send_in_order(from, to, Arrival::Frame { from, link, bytes });
        }
    }

    /// Says to all peers in which life this node goes on.
    pub(super) fn greet_again(&mut self, from: Place, life: u64) {
        for to in 0..self.nodes.len() {
            if D::LINKED
                && to != from
                && let Some(link) = self.links.up(from, to)
            {
                self.send_in_order(from, to, Arrival::Hello { from, link, life });
            }
        }
    }

    /// Loss makes it late, and a cut keeps it from arriving.
    fn send_in_order(&mut self, from: Place, to: Place, arrival: Arrival) {
        if self.parts[from] != self.parts[to] {
            return;
        }
        let mut after = self.latency();
        while self.is_lost() {
            after += LATENCY * 2 + RETRANSMISSION;
        }
        let now = self.now;
        let last = &mut self.links.pair(from, to).last_frame[usize::from(from > to)];
        *last = (*last).max(now + after);
        let after = last.since(now);
        self.push(after, Happening::Arrival { to, arrival });
    }

    pub(super) fn arrive(&mut self, to: Place, arrival: Arrival) {
        match arrival {
            Arrival::Datagram { from, bytes } => {
                if !D::LINKED || self.links.up(to, from).is_some() {
                    self.hear(to, Heard::Datagram { from, bytes });
                }
            }
            Arrival::Frame { from, link, bytes } => {
                if self.links.up(to, from) == Some(link) {
                    self.hear(to, Heard::Frame { from, bytes });
                }
            }
            Arrival::Hello { from, link, life } => {
                if self.links.up(to, from) == Some(link) {
                    self.hear(to, Heard::Linked { peer: from, life });
                }
            }
            Arrival::Handshake { from, link, leg } => self.on_leg(to, from, link, leg),
            Arrival::Unlinked { peer, link } => {
                let pair = self.links.pair(to, peer);
                // A link that was opened since has been told of already.
                if pair.number == link || !pair.up[usize::from(to > peer)] {
                    self.hear(to, Heard::Unlinked(peer));
                }
            }
        }
    }

    fn on_leg(&mut self, to: Place, from: Place, number: u64, leg: Leg) {
        if self.links.pair(from, to).number != number {
            return;
        }
        match leg {
            Leg::Initial => self.send_leg(to, from, number, Leg::Answer),
            Leg::Answer => {
                self.send_leg(to, from, number, Leg::Finished);
                self.links.pair(from, to).dialling = None;
                self.take_up(to, from, number);
            }
            Leg::Finished => self.take_up(to, from, number),
        }
    }

    /// Closes this node's links to whom it has not been able to hear for the idle time, at both ends.
    pub(super) fn close_idle_links(&mut self, place: Place) {
        let gone = |swarm: &Self, place: Place| {
            let node = &swarm.nodes[place];
            let blocked = |since: Time| swarm.now.since(since) >= LINK_IDLE;
            node.detector.is_none() || node.blocked.is_some_and(blocked)
        };
        for peer in (0..self.nodes.len()).filter(|peer| *peer != place) {
            let broken =
                gone(self, place) || gone(self, peer) || self.parts[place] != self.parts[peer];
            let link = self.links.pair(place, peer);
            // The process that had the other end is gone, and the next one did not dial.
            let half = link.up[0] != link.up[1] && link.dialling.is_none();
            if !broken && !half || link.up == [false; 2] {
                continue;
            }
            let (number, up) = (link.number, link.up);
            link.up = [false; 2];
            for (end, other) in [(place, peer), (peer, place)] {
                if !up[usize::from(end > other)] {
                    continue;
                }
                if self.nodes[end].is(Slowness::Deaf) {
                    // Its own timers say so.
                    self.hear(end, Heard::Unlinked(other));
                } else {
                    let arrival = Arrival::Unlinked {
                        peer: other,
                        link: number,
                    };
                    self.push(Duration::ZERO, Happening::Arrival { to: end, arrival });
                }
            }
        }
    }

    fn is_lost(&mut self) -> bool {
        self.loss_percent > 0 && self.rng.random_range(0..100) < self.loss_percent
    }

    /// Between one and two times the least latency.
    fn latency(&mut self) -> Duration {
        let micros = u64::try_from(LATENCY.as_micros()).expect("it is short");
        LATENCY + Duration::from_micros(self.rng.random_range(0..=micros))
    }
}

/// The least latency one way, as in one data centre.
const LATENCY: Duration = Duration::from_micros(500);
/// How long after a loss something reliable is sent again, beside the round trip.
const RETRANSMISSION: Duration = Duration::from_millis(25);
/// How long a link is tried to be opened before it is tried anew.
const DIALLING: Duration = Duration::from_secs(1);
