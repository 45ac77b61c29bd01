//! What follows from SWIM's decisions.

use bytes::Bytes;
use foca::Member as SwimMember;

use crate::codec::{gossip_for, shorten};
use crate::life::Life;
use crate::lives::Lived;
use crate::membership::{Membership, Phase};
use crate::packet::PacketBuilder;
use crate::registry::{Entry, Stamp};
use crate::suspicion::Doubt;
use crate::swim::{LEFT, is_active};
use crate::tempo::transmissions;
use crate::{Event, Identity, NodeId, Output};

impl Membership {
    /// Carries out what SWIM wants, until it wants nothing more.
    pub(crate) fn settle(&mut self) {
        loop {
            let Some(effects) = self.swim.take_effects() else {
                return;
            };
            if self.phase == Phase::Over {
                return;
            }
            for doubt in effects.doubts {
                self.spread_doubt(&doubt);
            }
            for life in effects.downs {
                self.bury(life);
            }
            if !effects.touched.is_empty() {
                let touched =
                    |state: &&SwimMember<Life>| effects.touched.contains(&state.id().id());
                let states: Vec<_> = self.swim.states().filter(touched).cloned().collect();
                for state in states {
                    self.reconcile(&state);
                }
                self.swim.adapt();
            }
            if let Some(life) = effects.renewed {
                self.renew(life);
            }
            if effects.idle {
                self.seeds.restart(self.now, &mut self.rng);
            }
            for (to, bytes) in effects.sends {
                self.forward(to, &bytes);
            }
        }
    }

    /// A life is down: it is remembered for a while.
    fn bury(&mut self, life: Life) {
        let Some(state) = self.swim.state(life.id()) else {
            return;
        };
        if is_active(state) || *state.id() != life {
            return;
        }
        // A former life of this very node is not to be called either.
        let left = state.incarnation() == LEFT || life.id() == self.swim.life().id();
        self.lives.learned += 1;
        if let Some(oldest) = self.tombs.bury(self.now, life.0, left) {
            self.lives.note(Lived::of(oldest));
            self.swim.forget(self.now, oldest);
        }
    }

    /// Brings what is known about a node in line with what SWIM decided.
    fn reconcile(&mut self, state: &SwimMember<Life>) {
        let life = *state.id();
        if life.id() == self.swim.life().id() {
            return;
        }
        if is_active(state) {
            self.tombs.remove(life.id());
            self.peers.end_hail(life.id());
            if self.live_epoch(life.id()) != Some(life.epoch()) {
                self.lives.learned += 1;
                let stamp = Stamp {
                    epoch: life.epoch(),
                    version: 1,
                };
                let until = self.now + self.tempo.probe_period * MEETING_PROBES;
                self.peers.expect(self.now, life.id(), until);
                self.wants.add_vital(
                    self.now,
                    Entry {
                        id: life.id(),
                        stamp,
                    },
                );
            }
        } else {
            self.lose(life.id(), state.incarnation() == LEFT);
        }
    }

    fn lose(&mut self, id: NodeId, left: bool) {
        self.wants.remove(id);
        self.gossip.remove(id);
        if left {
            self.peers.end_hail(id);
        } else {
            self.peers.hail(self.now, id);
        }
        if let Some(record) = self.registry.remove(id) {
            let identity = record.identity;
            let event = if left {
                Event::Left(identity)
            } else {
                Event::Down(identity)
            };
            self.outputs.push_back(Output::Event(event));
        }
    }

    /// Tells others of a suspicion that is confirmed by one more node.
    pub(crate) fn spread_doubt(&mut self, doubt: &Doubt) {
        self.gossip.push_doubt(self.now, doubt);
    }

    /// This node goes on in a new life, with the record it had.
    fn renew(&mut self, life: Life) {
        let mut record = self.registry.own().clone();
        record.identity.epoch = life.epoch();
        record.version += 1;
        // Its inboxes have begun long ago.
        record.replays.clear();
        let identity = record.identity;
        let encoded = record.encode();
        self.registry.set_own(record, encoded);
        self.outputs
            .push_back(Output::Event(Event::Renewed(identity)));
        self.swim.reconnect(self.now);
        self.push_own();
        let bytes = self.own_frame();
        for to in self.peers.ids() {
            self.outputs.push_back(Output::Frame {
                to,
                bytes: bytes.clone(),
            });
        }
    }

    /// Sends one of SWIM's packets, with news if it goes to a live member.
    fn forward(&mut self, to: Life, swim: &Bytes) {
        if to.id() == self.swim.life().id() {
            return;
        }
        if let Some((other, swim)) = self.instead_of_waking(to, swim) {
            return self.forward(other, &swim);
        }
        let mut packet = PacketBuilder::new(self.registry.side(), &shorten(swim));
        if self.registry.member(to.id()).is_some() {
            let limit = transmissions(self.registry.len() + 1);
            self.gossip.fill(&mut packet, limit);
        }
        let bytes = packet.finish();
        self.outputs.push_back(Output::Datagram {
            to: self.reachable(to),
            bytes,
        });
    }

    /// Gossip for a peer whose link rests is as good for one whose link is awake.
    fn instead_of_waking(&mut self, to: Life, swim: &Bytes) -> Option<(Life, Bytes)> {
        if !self.peers.spares(to.id()) {
            return None;
        }
        let other = self.peers.any(&mut self.rng, None)?;
        let other = Life(self.registry.member(other)?.record.identity);
        Some((other, Bytes::from(gossip_for(swim, other)?)))
    }

    /// A life with the address that the node itself gives, if its record is known.
    fn reachable(&self, life: Life) -> Identity {
        let member = self
            .registry
            .member(life.id())
            .map(|member| member.record.identity);
        member
            .filter(|identity| identity.epoch == life.epoch())
            .unwrap_or(life.0)
    }
}

/// For so many periods of a probe, a member to which there has been no link yet cannot fail one.
const MEETING_PROBES: u32 = 3;
