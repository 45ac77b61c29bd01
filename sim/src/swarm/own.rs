//! This project's membership, as a [`Swarm`](super::Swarm) drives it.

use std::net::SocketAddr;

use rolecast_membership::{
    Config, Epoch, Event, Identity, Input, Membership, NodeId, Output, Profile, Record, RoleName,
    Time,
};

use super::detector::{Act, Detector, Heard, Place};

/// A node of this project's membership, with the profile `Fast` or with `Lan`.
pub struct Own<const FAST: bool = false> {
    membership: Membership,
    /// Takes turns, so that every change is one.
    holds: bool,
}

impl<const FAST: bool> Detector for Own<FAST> {
    const LINKED: bool = true;
    const TIMERS_FIRST: bool = false;

    fn new(place: Place, life: u64, _size: usize, seed: u64, now: Time) -> Self {
        let config = Config {
            record: Record::new(identity(place, life)),
            seeds: Vec::new(),
            profile: if FAST { Profile::Fast } else { Profile::Lan },
        };
        Own {
            membership: Membership::new(config, seed, now),
            holds: false,
        }
    }

    fn life(&self) -> u64 {
        self.membership.record().identity.epoch.0
    }

    fn remembered(&self) -> usize {
        self.membership.remembered()
    }

    fn handle(&mut self, now: Time, heard: Heard) {
        let input = match heard {
            Heard::Linked { peer, life } => Input::PeerConnected(identity(peer, life)),
            Heard::Unlinked(peer) => Input::PeerDisconnected(id(peer)),
            Heard::Datagram { from, bytes } => Input::Datagram {
                from: id(from),
                bytes,
            },
            Heard::Frame { from, bytes } => Input::Frame {
                from: id(from),
                bytes,
            },
            Heard::Timeout => Input::Timeout,
        };
        self.membership.handle(now, input);
    }

    fn poll(&mut self) -> Option<Act> {
        loop {
            let act = match self.membership.poll_output()? {
                Output::Datagram { to, bytes } => Act::Datagram {
                    to: place_of(to.id),
                    bytes,
                },
                Output::Frame { to, bytes } => Act::Frame {
                    to: place_of(to),
                    bytes,
                },
                Output::DialSeed { addr } => Act::Dial { to: place_at(addr) },
                Output::Event(event) => match tell(event) {
                    Some(act) => act,
                    None => continue,
                },
            };
            return Some(act);
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.membership.poll_timeout()
    }

    fn change_role(&mut self, now: Time) -> u64 {
        let role = RoleName::new("db:master").expect("it is a good name");
        if self.holds {
            self.membership.drop_role(now, &role);
        } else {
            self.membership
                .take_up(now, role)
                .expect("a single role fits");
        }
        self.holds = !self.holds;
        self.membership.record().version
    }
}

fn identity(place: Place, life: u64) -> Identity {
    Identity {
        id: id(place),
        epoch: Epoch(life),
        addr: addr(place),
    }
}

fn id(place: Place) -> NodeId {
    // Scattered, so that the order of ids is not the order of places.
    let scattered = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&scattered.to_be_bytes());
    bytes[8..16].copy_from_slice(&(place as u64).to_be_bytes());
    NodeId::from_bytes(bytes)
}

fn place_of(id: NodeId) -> Place {
    let (_, rest) = id.as_bytes().split_at(8);
    let place = rest.first_chunk().expect("an id has 32 bytes");
    usize::try_from(u64::from_be_bytes(*place)).expect("places are few")
}

fn addr(place: Place) -> SocketAddr {
    let [.., high, low] = (place as u64).to_be_bytes();
    ([10, 0, high, low], 7400).into()
}

fn place_at(addr: SocketAddr) -> Place {
    match addr.ip() {
        std::net::IpAddr::V4(ip) => {
            let [.., high, low] = ip.octets();
            usize::from(u16::from_be_bytes([high, low]))
        }
        std::net::IpAddr::V6(_) => unreachable!("all addresses here are of version 4"),
    }
}

/// Says what an event means to a swarm.
fn tell(event: Event) -> Option<Act> {
    let alive = |record: &Record| Act::Alive {
        who: place_of(record.identity.id),
        life: record.identity.epoch.0,
    };
    Some(match event {
        Event::Joined(record) => alive(&record),
        Event::Replaced { after, .. } => alive(&after),
        Event::Updated { after, .. } => Act::Role {
            who: place_of(after.identity.id),
            version: after.version,
        },
        Event::Left(who) | Event::Down(who) => Act::Down {
            who: place_of(who.id),
        },
        Event::Renewed(identity) => Act::Renewed {
            life: identity.epoch.0,
        },
        Event::Suspected(_) | Event::AliveAgain(_) | Event::Superseded(_) => return None,
    })
}
