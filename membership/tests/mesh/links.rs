//! Links between the nodes under test: they take time to come up, lose packets, and break.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt as _;
use rolecast_membership::{Identity, Input, NodeId};

use crate::net::{Arrival, Happening, Link, Net, addr};

impl Net {
    pub(crate) fn life(&self, place: usize) -> Option<u64> {
        self.nodes[place].as_ref().map(|node| node.life)
    }

    /// The link between two places, if both its ends still run.
    pub(crate) fn link(&self, a: usize, b: usize) -> Option<Link> {
        let link = self.links.get(&(a.min(b), a.max(b))).copied()?;
        let lives = [self.life(a.min(b))?, self.life(a.max(b))?];
        (link.lives == lives).then_some(link)
    }

    pub(crate) fn link_up(&mut self, a: usize, b: usize) {
        self.dialling.remove(&(a, b));
        let (Some(life_a), Some(life_b)) = (self.life(a), self.life(b)) else {
            return;
        };
        if self.part[a] != self.part[b] || self.link(a, b).is_some() {
            return;
        }
        self.linked += 1;
        let link = Link {
            number: self.linked,
            lives: [life_a, life_b],
        };
        let former = self.links.insert((a, b), link);
        for (one, other, life) in [(a, b, 0), (b, a, 1)] {
            // Whoever was on the former link learns that it is gone.
            if former.is_some_and(|former| former.lives[life] == link.lives[life]) {
                let peer = self.id_at(other);
                self.input(one, Input::PeerDisconnected(peer));
            }
            if self.nodes[one].is_some() && self.nodes[other].is_some() {
                let identity = self.view(other).record().identity;
                self.input(one, Input::PeerConnected(identity));
            }
        }
    }

    pub(crate) fn link_check(&mut self, a: usize, b: usize, link: Link) {
        let works = self.link(a, b).is_some() && self.part[a] == self.part[b];
        if self.links.get(&(a, b)) != Some(&link) || works {
            return;
        }
        self.links.remove(&(a, b));
        for (one, other, life) in [(a, b, link.lives[0]), (b, a, link.lives[1])] {
            if self.life(one) == Some(life) {
                let peer = self.id_at(other);
                self.input(one, Input::PeerDisconnected(peer));
            }
        }
    }

    pub(crate) fn dial(&mut self, from: usize, addr_to: SocketAddr) {
        let Some(to) = (0..self.ghost()).find(|index| addr(*index) == addr_to) else {
            return;
        };
        let pair = (from.min(to), from.max(to));
        if from == to || self.link(from, to).is_some() || !self.dialling.insert(pair) {
            return;
        }
        let handshake = self.setup.latency * 4;
        self.push(
            handshake,
            Happening::LinkUp {
                a: pair.0,
                b: pair.1,
            },
        );
    }

    pub(crate) fn send_datagram(&mut self, from: usize, to: Identity, bytes: Bytes) {
        let Some(place) = self.place_of(from, to.id) else {
            return;
        };
        if self.link(from, place).is_none() {
            return self.dial(from, to.addr);
        }
        if !self.lost(from, place) && !self.drop_datagrams {
            let arrival = Arrival::Datagram {
                from: self.id_at(from),
                bytes,
            };
            let after = self.latency();
            self.arrive(after, place, arrival);
        }
    }

    /// Loss delays a frame, and a cut keeps it from arriving.
    pub(crate) fn send_frame(&mut self, from: usize, to: NodeId, bytes: Bytes) {
        let Some(place) = self.place_of(from, to) else {
            return;
        };
        let Some(link) = self.link(from, place) else {
            return;
        };
        if self.part[from] != self.part[place] || self.drop_frames {
            return;
        }
        let mut after = self.latency();
        while self.lost(from, place) {
            after += self.setup.latency * 2 + Duration::from_millis(25);
        }
        let last = self.last_frame.entry((from, place)).or_default();
        let at = (self.now + after).max(*last);
        *last = at;
        let after = at.since(self.now);
        self.arrive(
            after,
            place,
            Arrival::Frame {
                from: self.id_at(from),
                link,
                bytes,
            },
        );
    }

    pub(crate) fn arrive(&mut self, after: Duration, to: usize, arrival: Arrival) {
        if let Some(life) = self.nodes[to].as_ref().map(|node| node.life) {
            self.push(after, Happening::Arrival { to, life, arrival });
        }
    }

    pub(crate) fn lost(&mut self, from: usize, to: usize) -> bool {
        self.part[from] != self.part[to] || self.rng.random_range(0..100) < self.setup.loss_percent
    }

    /// Between one and two times the least latency.
    pub(crate) fn latency(&mut self) -> Duration {
        let micros = self.setup.latency.as_micros() as u64;
        Duration::from_micros(micros + self.rng.random_range(0..=micros))
    }
}
