//! Whose word is heard: members pass on what others said, so that a life of which this node knows nothing has to be vouched for, and no peer may bring more flows than its share.
//!
//! What a peer says of a flow in its own name, the session with it vouches for.
//! For the life of a third node the mesh has to: it is a member, or was one, or was linked here, or another member that is asked knows of it.
//! Until then what is said in its name is set aside ([`crate::parked`]), so that whoever is behind the news, or missed them, loses nothing; and whoever speaks of a life that nobody comes to know is cut off.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::seq::IteratorRandom;
use rolecast_membership::{NodeId, Time};

use super::{Engine, FLOWS_IN_MAX};
use crate::api::{CloseReason, Event, Origin, Output};
use crate::canary::planted;
use crate::large::Stage;
use crate::parked::{Parked, Parking};
use crate::session::LaneName;
use crate::wire::{FlowKey, SEQ_MAX, decode_data};

/// Of what a session may keep for a peer, the part that is set aside of what a peer says of unknown lives.
const PARKED_PART: usize = 4;
/// The most flows that one peer may bring: four together are needed to use up the room of all.
pub(super) const FLOWS_OF_ONE_MAX: usize = FLOWS_IN_MAX / 4;

/// What is set aside, and what is counted, of each peer.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) parked: Parked,
    /// What membership had learned of lives when the parked ones were last looked up.
    learned: u64,
    /// How many flows each peer announced; it may be too many, until they are counted again.
    announced: BTreeMap<NodeId, usize>,
}

impl Engine {
    /// Whether this node knows the life of a flow that `from` announces.
    fn is_vouched(&self, from: NodeId, key: FlowKey) -> bool {
        from == key.origin || self.knows_life(key.origin()) || planted!(StrangersHeard)
    }

    fn knows_life(&self, life: Origin) -> bool {
        self.membership.knows_life(life.node, life.epoch)
    }

    fn parked_bytes_max(&self) -> usize {
        self.limits.session_bytes_max / PARKED_PART
    }

    /// Sets the announcement of a flow aside whose life is unknown; says whether it is.
    pub(super) fn parks_set(
        &mut self,
        now: Time,
        from: Origin,
        key: FlowKey,
        frame: &Bytes,
    ) -> bool {
        if self.is_vouched(from.node, key) {
            return false;
        }
        let lane = LaneName::of_flow(key.flow);
        // A part of a buffer would keep all of it.
        let frame = (lane, Bytes::copy_from_slice(frame));
        let bytes_max = self.parked_bytes_max();
        let parked = &mut self.words.parked;
        if parked.announce(now, from, key, frame, bytes_max) == Parking::First {
            let life = (key.origin, key.epoch);
            self.membership.ask_about(now, from.node, &[life]);
        }
        true
    }

    /// Sets aside what follows such an announcement, with messages up to `upto`; says whether it does.
    pub(super) fn parks(
        &mut self,
        (from, lane): (Origin, LaneName),
        (key, upto): (FlowKey, u64),
        frame: &Bytes,
    ) -> bool {
        let parks = self.words.parked.holds(from, key);
        if parks {
            let frame = (lane, Bytes::copy_from_slice(frame));
            let bytes_max = self.parked_bytes_max();
            let upto = (key, upto.min(SEQ_MAX));
            self.words.parked.follow(from, upto, Some(frame), bytes_max);
        }
        parks
    }

    /// A peer dropped what it had of flows that it announced, and whose lives are unknown yet.
    pub(super) fn parks_skipped(&mut self, from: Origin, flows: &[(FlowKey, u64)]) {
        for &(key, upto) in flows {
            let upto = (key, upto.min(SEQ_MAX));
            self.words.parked.follow(from, upto, None, 0);
        }
    }

    /// Takes up what was said in the name of lives that are known meanwhile, if membership has learned of any.
    pub(super) fn take_up_vouched(&mut self, now: Time) {
        let learned = self.membership.lives_learned();
        let before = std::mem::replace(&mut self.words.learned, learned);
        if learned != before && !self.words.parked.is_empty() {
            self.take_up_known(now);
        }
    }

    fn take_up_known(&mut self, now: Time) {
        let membership = &self.membership;
        let knows = |life: Origin| membership.knows_life(life.node, life.epoch);
        for (from, said) in self.words.parked.take_known(knows) {
            let (frames, missed) = said.into_parts();
            for (lane, frame) in frames {
                let (head, body) = decode_data(&frame).expect("it was read before");
                if let Err(what) = self.on_head(now, (from, lane), head, body, &frame) {
                    self.cut_off(now, from.node, what);
                    break;
                }
            }
            self.on_skipped(now, &missed);
        }
    }

    /// Asks again about lives that are unknown, and cuts off whoever has spoken of one for too long.
    pub(super) fn look_after_unknown(&mut self, now: Time) {
        if self.words.parked.is_empty() {
            return;
        }
        self.take_up_known(now);
        for (life, from) in self.words.parked.take_overdue(now) {
            if !self.words.parked.awaits(life) {
                self.membership.stop_asking(life.node, life.epoch);
            }
            // Whoever is out of reach, or in another life, could not be asked.
            if self.life_of_link(from.node) == Some(from.epoch) {
                self.cut_off(now, from.node, "words of a life that nobody knows");
            }
        }
        for (from, lives) in self.words.parked.due_questions(now) {
            let lives: Vec<_> = lives.iter().map(|life| (life.node, life.epoch)).collect();
            self.membership.ask_about(now, from, &lives);
            let others = self.peers.linked().map(|(node, _)| node);
            let other = others.filter(|&node| node != from).choose(&mut self.rng);
            if let Some(other) = other {
                self.membership.ask_about(now, other, &lives);
            }
        }
    }

    /// This node goes on in another life, for which nothing of this was meant.
    pub(super) fn forget_unknown(&mut self) {
        for life in self.words.parked.clear() {
            self.membership.stop_asking(life.node, life.epoch);
        }
    }

    /// Closes the link to a peer, or the way over which it came, because of what it said.
    pub(super) fn cut_off(&mut self, now: Time, node: NodeId, what: &'static str) {
        self.event(Event::Violation { peer: node, what });
        match self.peers.direct(node) {
            Some(link) => {
                let reason = CloseReason::Violation(what);
                self.out.push_back(Output::Close { link, reason });
                self.on_link_down(now, link);
            }
            None => self.shut_way(now, node),
        }
    }

    /// Whether a peer may bring one more flow.
    ///
    /// # Errors
    /// It is one of its own, of which it has too many.
    pub(super) fn may_announce(
        &mut self,
        announcer: NodeId,
        key: FlowKey,
    ) -> Result<bool, &'static str> {
        let announced = self.words.announced.entry(announcer).or_default();
        if *announced >= FLOWS_OF_ONE_MAX {
            return match key.origin == announcer {
                true => Err("one flow too many"),
                false => Ok(false),
            };
        }
        // What an origin announces itself, others may not keep out.
        if self.flows_in.len() >= FLOWS_IN_MAX && key.origin != announcer {
            return Ok(false);
        }
        *announced += 1;
        Ok(true)
    }

    /// Counts anew how many flows each peer announced; large payloads that are over, which their origins cannot help being many, do not count.
    pub(super) fn count_announced(&mut self) {
        let over = |stage| stage != Stage::Open;
        let lasting = self.flows_in.values().filter(|flow| {
            let large = flow.large.as_ref();
            large.is_none_or(|large| !over(large.stage))
        });
        self.words.announced.clear();
        for flow in lasting {
            *self.words.announced.entry(flow.announcer).or_default() += 1;
        }
    }
}
