//! What is on its way: frames in order, class by class, and datagrams.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::Time;
use rolecast_protocol::{Class, LinkId};

use super::{EndId, EndState, Network};
use crate::film::Stamp;
use crate::schedule::Schedule;
use crate::world::Happening;

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Packet {
    due: Time,
    /// By which a film finds it again.
    stamp: Stamp,
    bytes: Bytes,
}

/// Frames of one class on their way to one end.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) frames: VecDeque<Packet>,
    last_sent: Time,
    last_due: Time,
    waiting: bool,
}

impl Network {
    /// Sends one frame from this end.
    pub(crate) fn send(
        &mut self,
        schedule: &mut Schedule<Happening>,
        from: EndId,
        class: Class,
        (bytes, stamp): (Bytes, Stamp),
    ) {
        let now = schedule.now();
        let sender = self.end(from);
        if sender.closing || !matches!(sender.state, EndState::Up(_)) {
            return;
        }
        let (from_slot, to_slot, to) = (sender.party.slot, sender.peer_slot, from.other());
        let up_at = self.end(to).up_at;
        if self.end(to).state == EndState::Down {
            self.note_unwritten(schedule, from, (class, bytes.len()), now);
            return;
        }
        let joined = self.end_mut(to).pipe(class).joined(now);
        let through = self.squeezed(now, (from_slot, to_slot), bytes.len());
        self.note_unwritten(schedule, from, (class, bytes.len()), through);
        let due = match joined {
            // What is sent together travels together.
            Some(due) => due.max(through),
            None => through + self.latency(from_slot, to_slot) + self.held_up(from_slot, to_slot),
        };
        let pipe = self.end_mut(to).pipe(class);
        pipe.last_due = due.max(pipe.last_due).max(up_at);
        pipe.last_sent = now;
        let due = pipe.last_due;
        pipe.frames.push_back(Packet { due, stamp, bytes });
        if !pipe.waiting {
            pipe.waiting = true;
            schedule.put(pipe.last_due, Happening::Arrive { end: to, class });
        }
    }

    /// The next frame that is due at this end, if the path carries it; else the time will come.
    pub(crate) fn arrive(
        &mut self,
        schedule: &mut Schedule<Happening>,
        to: EndId,
        class: Class,
    ) -> Option<(LinkId, Bytes, Stamp)> {
        let EndState::Up(link) = self.end(to).state else {
            return None;
        };
        let (from_slot, to_slot) = self.way_to(to);
        if self.is_cut(from_slot, to_slot) {
            self.end_mut(to).pipe(class).waiting = false;
            return None;
        }
        let pipe = self.end_mut(to).pipe(class);
        match pipe.frames.front().map(|packet| packet.due) {
            Some(due) if due <= schedule.now() => {
                let packet = pipe.frames.pop_front()?;
                Some((link, packet.bytes, packet.stamp))
            }
            Some(due) => {
                schedule.put(due, Happening::Arrive { end: to, class });
                None
            }
            None => {
                pipe.waiting = false;
                None
            }
        }
    }

    /// Sends one datagram from this end; says how often it arrives.
    pub(crate) fn send_datagram(
        &mut self,
        schedule: &mut Schedule<Happening>,
        from: EndId,
        (bytes, stamp): (Bytes, Stamp),
    ) -> usize {
        let (sender, to) = (self.end(from), from.other());
        if sender.closing || !matches!(sender.state, EndState::Up(_)) {
            return 0;
        }
        let (way, up_at) = ((sender.party.slot, sender.peer_slot), self.end(to).up_at);
        let arrivals = self.datagram_arrives(schedule.now(), way, bytes.len());
        for due in arrivals.into_iter().flatten() {
            let bytes = bytes.clone();
            schedule.put(
                due.max(up_at),
                Happening::Datagram {
                    end: to,
                    bytes,
                    stamp,
                },
            );
        }
        arrivals.iter().flatten().count()
    }

    /// The bytes of each class that this end's transport has taken on since it last said so.
    pub(crate) fn written(&mut self, end: EndId) -> Option<(LinkId, [usize; 3])> {
        let (from, to) = (self.end(end).party.slot, self.end(end.other()).party.slot);
        let held = self.is_cut(from, to) && !self.links[end.link as usize].cushioned;
        let entry = self.end_mut(end);
        entry.writing = false;
        let EndState::Up(link) = entry.state else {
            return None;
        };
        if held || entry.unwritten == [0; 3] {
            return None;
        }
        Some((link, std::mem::take(&mut entry.unwritten)))
    }

    /// Loses all but a prefix of what is under way to this end.
    pub(crate) fn truncate(&mut self, end: EndId) {
        let lengths = self.end(end).pipes.each_ref().map(|pipe| pipe.frames.len());
        let (from, to) = self.way_to(end);
        let chance = self.chance(from, to);
        let keep = lengths.map(|len| if len == 0 { 0 } else { chance.index(len + 1) });
        for (pipe, keep) in self.end_mut(end).pipes.iter_mut().zip(keep) {
            pipe.frames.truncate(keep);
        }
    }

    /// Whether something is under way to this end.
    pub(crate) fn is_carrying(&self, end: EndId) -> bool {
        let mut pipes = self.end(end).pipes.iter();
        pipes.any(|pipe| !pipe.frames.is_empty())
    }

    /// When the last of what is under way to this end is due.
    pub(crate) fn last_due(&self, end: EndId) -> Time {
        let entry = self.end(end);
        let last = |pipe: &Pipe| pipe.frames.back().map_or(Time::ZERO, |packet| packet.due);
        let last = entry.pipes.iter().map(last).max();
        last.map_or(entry.up_at, |last| last.max(entry.up_at))
    }

    /// What waited at this end for its path moves again.
    ///
    /// What was lost is sent again after a while; what was only held (`jam`) comes at once.
    pub(crate) fn resume(&mut self, schedule: &mut Schedule<Happening>, end: EndId, jam: bool) {
        let (from, to) = self.way_to(end);
        let delay_us = self.chance(from, to).between(0, 300_000);
        let again = schedule.now() + Duration::from_micros(if jam { 0 } else { delay_us });
        for class in Class::ALL {
            let pipe = self.end_mut(end).pipe(class);
            if !pipe.waiting && !pipe.frames.is_empty() {
                pipe.waiting = true;
                pipe.last_due = pipe.last_due.max(again);
                for packet in &mut pipe.frames {
                    packet.due = again.max(packet.due);
                }
                schedule.put(again, Happening::Arrive { end, class });
            }
        }
        let sender = end.other();
        if self.end(sender).unwritten != [0; 3] {
            self.note_unwritten(schedule, sender, (Class::Data, 0), schedule.now());
        }
    }

    /// What waited in a narrow path's queue for a long time is through soon, because the path is wide again.
    pub(crate) fn widen(&mut self, schedule: &mut Schedule<Happening>, end: EndId) {
        let (from, to) = self.way_to(end);
        let soon = schedule.now() + self.latency(from, to);
        for class in Class::ALL {
            let pipe = self.end_mut(end).pipe(class);
            if pipe.last_due <= soon || pipe.frames.is_empty() {
                continue;
            }
            pipe.last_due = soon;
            for packet in &mut pipe.frames {
                packet.due = soon.min(packet.due);
            }
            if pipe.waiting {
                schedule.put(soon, Happening::Arrive { end, class });
            }
        }
        let sender = end.other();
        if self.end(sender).writing {
            schedule.put(soon, Happening::Written { end: sender });
        }
    }

    /// Bytes handed in at this end are taken on soon, or when the path's narrow part has let them through.
    fn note_unwritten(
        &mut self,
        schedule: &mut Schedule<Happening>,
        end: EndId,
        (class, bytes): (Class, usize),
        through: Time,
    ) {
        if class == Class::Control {
            return;
        }
        let (to, from) = self.way_to(end);
        let written_us = self.shape.written_us;
        let delay = self.chance(from, to).micros(0, written_us);
        let entry = self.end_mut(end);
        entry.unwritten[class as usize] += bytes;
        if !entry.writing {
            entry.writing = true;
            schedule.put(
                through.max(schedule.now()) + delay,
                Happening::Written { end },
            );
        }
    }
}

impl Pipe {
    /// When what was sent at this same moment is due.
    fn joined(&self, now: Time) -> Option<Time> {
        (self.last_sent == now && !self.frames.is_empty()).then_some(self.last_due)
    }
}
