//! Plain `foca` with the configuration it gives for a LAN, as a [`Swarm`](super::Swarm) drives it.
//!
//! A node that is declared down renews its identity, as `foca` does by itself if it can; role changes are custom broadcasts.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use foca::{
    BroadcastHandler, Config, Foca, Invalidates, Member, Notification, PostcardCodec, Runtime,
    Timer,
};
use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use rolecast_membership::Time;
use serde::{Deserialize, Serialize};

use super::detector::{Act, Detector, Heard, Place};

/// A node of plain `foca`.
///
/// Its user chooses whether timers that fell due while the process was blocked run before what arrived meanwhile.
/// Where each timer is a task that sleeps, as in `foca`'s own example, they do: the tasks are woken while the packets are still in the socket.
pub struct PlainFoca<const TIMERS_FIRST: bool> {
    foca: Foca<Life, PostcardCodec, ChaCha8Rng, Roles>,
    place: Place,
    effects: Effects,
    /// By deadline, and then in the order in which they were asked for.
    timers: BTreeMap<(Time, u64), Timer<Life>>,
    submitted: u64,
    version: u64,
    news: Rc<RefCell<Vec<(Place, u64)>>>,
}

/// An identity as an application would choose it: an address, and a number that rises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Life {
    addr: SocketAddr,
    life: u64,
}

impl Life {
    fn new(place: Place, life: u64) -> Self {
        let [.., high, low] = (place as u64).to_be_bytes();
        Life {
            addr: ([10, 0, high, low], 7400).into(),
            life,
        }
    }

    fn place(&self) -> Place {
        match self.addr {
            SocketAddr::V4(addr) => {
                let [.., high, low] = addr.ip().octets();
                usize::from(u16::from_be_bytes([high, low]))
            }
            SocketAddr::V6(_) => unreachable!("all addresses here are of version 4"),
        }
    }
}

impl foca::Identity for Life {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        let life = self.life + 1;
        Some(Life { life, ..*self })
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.life > adversary.life
    }
}

/// Which version of each node's roles is known.
struct Roles {
    known: BTreeMap<u64, u64>,
    news: Rc<RefCell<Vec<(Place, u64)>>>,
}

/// A broadcast of a node's roles, which replaces older ones.
struct RolesOf(u64);

impl Invalidates for RolesOf {
    fn invalidates(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl BroadcastHandler<Life> for Roles {
    type Key = RolesOf;
    type Error = Infallible;

    fn receive_item(
        &mut self,
        data: &[u8],
        _: Option<&Life>,
    ) -> Result<Option<RolesOf>, Infallible> {
        let number = |from: usize| {
            let bytes = data.get(from..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
        };
        let (place, version) = (number(0), number(8));
        let known = self.known.entry(place).or_default();
        if *known >= version {
            return Ok(None);
        }
        *known = version;
        let place = usize::try_from(place).expect("places are few");
        self.news.borrow_mut().push((place, version));
        Ok(Some(RolesOf(place as u64)))
    }
}

/// What `foca` wants done.
#[derive(Default)]
struct Effects {
    acts: VecDeque<Act>,
    timers: Vec<(Duration, Timer<Life>)>,
}

impl Runtime<Life> for Effects {
    fn notify(&mut self, notification: Notification<'_, Life>) {
        let alive = |life: &Life| Act::Alive {
            who: life.place(),
            life: life.life,
        };
        match notification {
            Notification::MemberUp(life) => self.acts.push_back(alive(life)),
            Notification::MemberDown(life) => self.acts.push_back(Act::Down { who: life.place() }),
            Notification::Rename(_, after) => self.acts.push_back(alive(after)),
            Notification::Rejoin(life) => self.acts.push_back(Act::Renewed { life: life.life }),
            _ => {}
        }
    }

    fn send_to(&mut self, to: Life, data: &[u8]) {
        let bytes = Bytes::copy_from_slice(data);
        let to = to.place();
        self.acts.push_back(Act::Datagram { to, bytes });
    }

    fn submit_after(&mut self, timer: Timer<Life>, after: Duration) {
        self.timers.push((after, timer));
    }
}

impl<const TIMERS_FIRST: bool> PlainFoca<TIMERS_FIRST> {
    fn take_timers(&mut self, now: Time) {
        for (after, timer) in self.effects.timers.drain(..) {
            self.submitted += 1;
            self.timers.insert((now + after, self.submitted), timer);
        }
    }

    /// Whatever fails is lost, as a packet may be.
    fn run_timers(&mut self, now: Time) {
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= now
        {
            let timer = entry.remove();
            let _ = self.foca.handle_timer(timer, &mut self.effects);
            self.take_timers(now);
        }
    }
}

impl<const TIMERS_FIRST: bool> Detector for PlainFoca<TIMERS_FIRST> {
    const LINKED: bool = false;
    const TIMERS_FIRST: bool = TIMERS_FIRST;

    fn new(place: Place, life: u64, size: usize, seed: u64, _: Time) -> Self {
        let size = u32::try_from(size).ok().and_then(NonZeroU32::new);
        let config = Config::new_lan(size.expect("a mesh has nodes"));
        let news = Rc::default();
        let roles = Roles {
            known: BTreeMap::new(),
            news: Rc::clone(&news),
        };
        let rng = ChaCha8Rng::seed_from_u64(seed);
        PlainFoca {
            foca: Foca::with_custom_broadcast(
                Life::new(place, life),
                config,
                rng,
                PostcardCodec,
                roles,
            ),
            place,
            effects: Effects::default(),
            timers: BTreeMap::new(),
            submitted: 0,
            version: 0,
            news,
        }
    }

    fn life(&self) -> u64 {
        self.foca.identity().life
    }

    fn remembered(&self) -> usize {
        self.foca.iter_membership_state().count()
    }

    fn handle(&mut self, now: Time, heard: Heard) {
        let effects = &mut self.effects;
        let _ = match heard {
            Heard::Linked { peer, life } => {
                let member = Member::alive(Life::new(peer, life));
                self.foca
                    .apply_many(std::iter::once(member), false, effects)
            }
            Heard::Datagram { bytes, .. } => self.foca.handle_data(&bytes, effects),
            Heard::Unlinked(_) | Heard::Frame { .. } => Ok(()),
            Heard::Timeout => {
                self.run_timers(now);
                Ok(())
            }
        };
        self.take_timers(now);
    }

    fn poll(&mut self) -> Option<Act> {
        if let Some(act) = self.effects.acts.pop_front() {
            return Some(act);
        }
        let (who, version) = self.news.borrow_mut().pop()?;
        Some(Act::Role { who, version })
    }

    fn deadline(&self) -> Option<Time> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    fn change_role(&mut self, _: Time) -> u64 {
        self.version += 1;
        let mut data = vec![0; ROLES_BYTES];
        data[..8].copy_from_slice(&(self.place as u64).to_be_bytes());
        data[8..16].copy_from_slice(&self.version.to_be_bytes());
        let added = self.foca.add_broadcast(&data);
        assert!(added.is_ok_and(|added| added), "it is new, and small");
        self.news.borrow_mut().clear();
        self.version
    }
}

/// About as long as the record of a node that holds one role.
const ROLES_BYTES: usize = 80;
