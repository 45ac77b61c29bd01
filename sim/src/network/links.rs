//! Links: how they come up, how an end notices that the other is gone, and how they end.

use std::time::Duration;

use rolecast_membership::Time;
use rolecast_protocol::LinkId;

use super::{End, EndId, EndState, Link, Network, Party, pair};
use crate::schedule::Schedule;
use crate::world::Happening;

/// What a dial that reached the other end comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// There is, or comes up, a link.
    Linked,
    /// The same, in the place of another link.
    Instead,
    /// Another connection stays; the dial ends without a word.
    Quiet,
}

impl Network {
    /// A dial has reached the other end: settles it with what there is.
    pub(crate) fn settle(
        &mut self,
        schedule: &mut Schedule<Happening>,
        dialler: Party,
        target: Party,
    ) -> Settled {
        let pair = pair(dialler.process, target.process);
        let old = self.current.get(&pair).copied();
        if let Some(old) = old
            && !self.gives_way(schedule.now(), old, dialler, target)
        {
            return Settled::Quiet;
        }
        let link = u32::try_from(self.links.len()).expect("fewer links than 2^32");
        let now = schedule.now();
        let back = self.latency(target.slot, dialler.slot);
        let forth = if self.chance(dialler.slot, target.slot).percent(50) {
            self.latency(dialler.slot, target.slot) + back
        } else {
            Duration::ZERO
        };
        let cushioned = self.chance(dialler.slot, target.slot).percent(50);
        let ends = [
            End::new(dialler, target, now + back),
            End::new(target, dialler, now + forth),
        ];
        self.links.push(Link {
            ends,
            made_at: now,
            cushioned,
        });
        self.current.insert(pair, link);
        for side in 0..2 {
            let end = EndId { link, side };
            let (up_at, process) = (self.end(end).up_at, self.end(end).party.process);
            let replaced = old.and_then(|old| self.replace(self.end_of(old, process), up_at));
            let first = self.chance(dialler.slot, target.slot).percent(50);
            if let (Some(old), true) = (replaced, first) {
                schedule.put(up_at, Happening::Down { end: old });
            }
            schedule.put(up_at, Happening::Up { end });
            if let (Some(old), false) = (replaced, first) {
                schedule.put(up_at, Happening::Down { end: old });
            }
        }
        if old.is_some() {
            Settled::Instead
        } else {
            Settled::Linked
        }
    }

    /// An end gives way to one that comes up at `up_at`; gives it back if its own end has still to be noticed.
    fn replace(&mut self, old: EndId, up_at: Time) -> Option<EndId> {
        let entry = self.end_mut(old);
        entry.closing = true;
        if entry.state == EndState::Coming && entry.up_at >= up_at {
            // Overtaken by the other, it never comes up.
            entry.state = EndState::Down;
            return None;
        }
        Some(old)
    }

    /// Whether the link that there is gives way to a connection just made.
    fn gives_way(&self, now: Time, old: u32, dialler: Party, target: Party) -> bool {
        let link = &self.links[old as usize];
        if link
            .ends
            .iter()
            .any(|end| end.state == EndState::Down || end.closing)
        {
            return true;
        }
        // Dialled by both at once: the dial of the smaller id stays. An older link just stays.
        let crossed = link.ends[0].party.process == target.process
            && now.since(link.made_at) < Duration::from_secs(1);
        crossed && dialler.node < target.node
    }

    /// The link at this end is gone: what was under way to it is lost, and the other end hears nothing any more.
    pub(crate) fn down(&mut self, now: Time, end: EndId) -> Option<LinkId> {
        let (from, to) = self.way_to(end);
        self.drain(now, from, to);
        let entry = self.end_mut(end);
        let before = std::mem::replace(&mut entry.state, EndState::Down);
        for pipe in &mut entry.pipes {
            pipe.frames.clear();
        }
        entry.unwritten = [0; 3];
        let parties = pair(entry.party.process, self.end(end.other()).party.process);
        let both = self.end(end.other()).state == EndState::Down;
        if both && self.current.get(&parties) == Some(&end.link) {
            self.current.remove(&parties);
        }
        match before {
            EndState::Up(link) => Some(link),
            EndState::Coming | EndState::Down => None,
        }
    }

    /// Takes note of whether this end can hear the other one; if not, it will give up after a while.
    ///
    /// `other_runs` says whether the process at the other end runs and is not paused.
    pub(crate) fn listen(
        &mut self,
        schedule: &mut Schedule<Happening>,
        end: EndId,
        other_runs: bool,
    ) {
        let entry = self.end(end);
        if entry.state == EndState::Down {
            return;
        }
        let other = self.end(end.other());
        let gone = other.state == EndState::Down || other.closing;
        let (from, to) = self.way_to(end);
        let cut = self.path(from, to).is_cut();
        if !(gone || cut || !other_runs) {
            self.end_mut(end).silent_since = None;
            return;
        }
        if self.end(end).silent_since.is_some() && !gone {
            return;
        }
        let since = *self.end_mut(end).silent_since.get_or_insert(schedule.now());
        let keep_alive_us = self.shape.keep_alive_us;
        let phase = self.chance(from, to).micros(0, keep_alive_us);
        // Where the other end has forgotten the link, it says so when it is spoken to.
        let soon = schedule.now() + phase;
        let late = since + Duration::from_micros(self.shape.idle_us) + phase;
        let at = if gone && other_runs { soon } else { late };
        schedule.put(at, Happening::Silence { end, since });
    }

    /// Whether this end gives the link up at a check of its silence.
    pub(crate) fn gives_up(
        &mut self,
        schedule: &mut Schedule<Happening>,
        end: EndId,
        since: Time,
        other_runs: bool,
    ) -> bool {
        let entry = self.end(end);
        if entry.silent_since != Some(since) || entry.state == EndState::Down {
            return false;
        }
        let idle = Duration::from_micros(self.shape.idle_us);
        let (here, there) = (entry.party.slot, self.end(end.other()).party.slot);
        let told = self.end(end.other()).state == EndState::Down
            && other_runs
            && !self.is_cut(here, there)
            && !self.is_cut(there, here);
        if told || schedule.now() >= since + idle {
            return true;
        }
        schedule.put(since + idle, Happening::Silence { end, since });
        false
    }
}
