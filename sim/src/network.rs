//! The simulated network: links that carry ordered streams and lossy datagrams, over paths that break.
//!
//! A link is what `rolecast-transport` makes of one QUIC connection, and keeps the same contract:
//! frames of one class arrive in order, classes are independent of each other;
//! what is under way when a path is cut arrives after the cut is mended, unless an end gave the link up before, having heard nothing for the idle timeout;
//! each end learns of the link's end at its own time, once, and after the last frame that it got;
//! simultaneous dials are settled by the node ids.
//! Bandwidth is not modelled.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{NodeId, Time};
use rolecast_protocol::{Class, LinkId};

use crate::check::ProcessId;
use crate::plan::Slot;
use crate::random::{Purpose, Stream};
use crate::scenario::NetworkShape;
use crate::schedule::Schedule;
use crate::world::Happening;

/// One end of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EndId {
    pub(crate) link: u32,
    /// 0 for the end that dialled.
    pub(crate) side: u8,
}

impl EndId {
    pub(crate) fn other(self) -> Self {
        EndId {
            link: self.link,
            side: 1 - self.side,
        }
    }
}

/// Who holds an end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Party {
    pub(crate) process: ProcessId,
    pub(crate) node: NodeId,
    pub(crate) slot: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    Coming,
    Up(LinkId),
    Down,
}

#[derive(Debug)]
pub(crate) struct End {
    pub(crate) party: Party,
    pub(crate) state: EndState,
    pub(crate) up_at: Time,
    /// Whether this end has closed the link and waits for it to go.
    pub(crate) closing: bool,
    /// Since when nothing can be heard from the other end.
    silent_since: Option<Time>,
    /// What is under way to this end.
    control: Pipe,
    data: Pipe,
    /// Data bytes handed in at this end and not yet reported as taken on.
    pub(crate) unwritten: usize,
    writing: bool,
}

/// Frames of one class on their way to one end.
#[derive(Debug, Default)]
struct Pipe {
    frames: VecDeque<(Time, Bytes)>,
    last_sent: Time,
    last_due: Time,
    waiting: bool,
}

#[derive(Debug)]
struct Link {
    ends: [End; 2],
    made_at: Time,
    /// Whether bytes are taken on even while the path is cut.
    cushioned: bool,
}

/// One directed path between two places.
#[derive(Debug)]
struct Path {
    stream: Stream,
    latency_us: u64,
    /// The faults that cut it.
    cuts: Vec<u32>,
    /// The faults that slow it, and by how much.
    slows: Vec<(u32, u64)>,
}

/// All paths and links of a run.
#[derive(Debug)]
pub(crate) struct Network {
    slots: usize,
    shape: NetworkShape,
    paths: Vec<Path>,
    links: Vec<Link>,
    /// The link in use between two processes, the smaller id first.
    current: BTreeMap<(ProcessId, ProcessId), u32>,
    losses: Vec<(u32, u32)>,
    stream: Stream,
    /// Which faults have had an effect.
    pub(crate) effects: Vec<bool>,
}

/// What a dial that reached the other end comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// There is, or comes up, a link.
    Linked,
    /// Another connection stays; the dial ends without a word.
    Quiet,
}

impl Network {
    pub(crate) fn new(seed: u64, nodes: Slot, shape: NetworkShape, faults: usize) -> Self {
        let slots = usize::from(nodes);
        let paths = (0..slots * slots)
            .map(|place| {
                let mut stream = Stream::new(seed, Purpose::Path, place as u64);
                let latency_us = stream.between(shape.latency_us.0, shape.latency_us.1);
                Path {
                    stream,
                    latency_us,
                    cuts: Vec::new(),
                    slows: Vec::new(),
                }
            })
            .collect();
        Network {
            slots,
            shape,
            paths,
            links: Vec::new(),
            current: BTreeMap::new(),
            losses: Vec::new(),
            stream: Stream::new(seed, Purpose::Connection, 0),
            effects: vec![false; faults],
        }
    }

    pub(crate) fn end(&self, id: EndId) -> &End {
        &self.links[id.link as usize].ends[usize::from(id.side)]
    }

    pub(crate) fn end_mut(&mut self, id: EndId) -> &mut End {
        &mut self.links[id.link as usize].ends[usize::from(id.side)]
    }

    /// How long one packet takes; draws its jitter.
    pub(crate) fn latency(&mut self, from: Slot, to: Slot) -> Duration {
        let jitter_us = self.shape.jitter_us;
        let place = self.place(from, to);
        let path = &mut self.paths[place];
        let mut us = path.latency_us + path.stream.between(0, jitter_us);
        // Now and then a packet is much later than the rest.
        if path.stream.percent(1) {
            us += path.stream.between(0, 20 * jitter_us);
        }
        for &(fault, extra_us) in &path.slows {
            us += extra_us;
            self.effects[fault as usize] = true;
        }
        Duration::from_micros(us)
    }

    /// Whether nothing gets from one place to the other; whoever asks is held up by it.
    pub(crate) fn is_cut(&mut self, from: Slot, to: Slot) -> bool {
        let place = self.place(from, to);
        for &fault in &self.paths[place].cuts {
            self.effects[fault as usize] = true;
        }
        !self.paths[place].cuts.is_empty()
    }

    pub(crate) fn cut(&mut self, fault: u32, pairs: &[(Slot, Slot)]) {
        for &(from, to) in pairs {
            let place = self.place(from, to);
            self.paths[place].cuts.push(fault);
        }
    }

    pub(crate) fn mend(&mut self, fault: u32, pairs: &[(Slot, Slot)]) {
        for &(from, to) in pairs {
            let place = self.place(from, to);
            self.paths[place].cuts.retain(|&other| other != fault);
        }
    }

    pub(crate) fn slow(&mut self, fault: u32, from: Slot, to: Slot, extra_us: u64) {
        let place = self.place(from, to);
        self.paths[place].slows.push((fault, extra_us));
    }

    pub(crate) fn hasten(&mut self, fault: u32, from: Slot, to: Slot) {
        let place = self.place(from, to);
        self.paths[place].slows.retain(|&(other, _)| other != fault);
    }

    pub(crate) fn lose(&mut self, fault: u32, percent: u32) {
        self.losses.push((fault, percent));
    }

    pub(crate) fn keep(&mut self, fault: u32) {
        self.losses.retain(|&(other, _)| other != fault);
    }

    /// Sends one frame from this end.
    pub(crate) fn send(
        &mut self,
        schedule: &mut Schedule<Happening>,
        from: EndId,
        class: Class,
        bytes: Bytes,
    ) {
        let now = schedule.now();
        let sender = self.end(from);
        if sender.closing || !matches!(sender.state, EndState::Up(_)) {
            return;
        }
        let (from_slot, to) = (sender.party.slot, from.other());
        if class == Class::Data {
            self.note_unwritten(schedule, from, bytes.len());
        }
        let (to_slot, up_at) = (self.end(to).party.slot, self.end(to).up_at);
        if self.end(to).state == EndState::Down {
            return;
        }
        let joined = self.end_mut(to).pipe(class).joined(now);
        let due = match joined {
            // What is sent together travels together.
            Some(due) => due,
            None => now + self.latency(from_slot, to_slot) + self.held_up(from_slot, to_slot),
        };
        let pipe = self.end_mut(to).pipe(class);
        pipe.last_due = due.max(pipe.last_due).max(up_at);
        pipe.last_sent = now;
        pipe.frames.push_back((pipe.last_due, bytes));
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
    ) -> Option<(LinkId, Bytes)> {
        let EndState::Up(link) = self.end(to).state else {
            return None;
        };
        let (from_slot, to_slot) = (self.end(to.other()).party.slot, self.end(to).party.slot);
        if self.is_cut(from_slot, to_slot) {
            self.end_mut(to).pipe(class).waiting = false;
            return None;
        }
        let pipe = self.end_mut(to).pipe(class);
        match pipe.frames.front() {
            Some(&(due, _)) if due <= schedule.now() => {
                pipe.frames.pop_front().map(|(_, bytes)| (link, bytes))
            }
            Some(&(due, _)) => {
                schedule.put(due, Happening::Arrive { end: to, class });
                None
            }
            None => {
                pipe.waiting = false;
                None
            }
        }
    }

    /// Sends one datagram from this end.
    pub(crate) fn send_datagram(
        &mut self,
        schedule: &mut Schedule<Happening>,
        from: EndId,
        bytes: Bytes,
    ) {
        let (sender, to) = (self.end(from), from.other());
        if sender.closing || !matches!(sender.state, EndState::Up(_)) {
            return;
        }
        let (from_slot, to_slot) = (sender.party.slot, self.end(to).party.slot);
        if self.is_cut(from_slot, to_slot) || self.is_lost(from_slot, to_slot) {
            return;
        }
        let due = schedule.now() + self.latency(from_slot, to_slot);
        let due = due.max(self.end(to).up_at);
        schedule.put(due, Happening::Datagram { end: to, bytes });
    }

    /// The bytes that this end's transport has taken on since it last said so.
    pub(crate) fn written(&mut self, end: EndId) -> Option<(LinkId, usize)> {
        let (from, to) = (self.end(end).party.slot, self.end(end.other()).party.slot);
        let held = self.is_cut(from, to) && !self.links[end.link as usize].cushioned;
        let entry = self.end_mut(end);
        entry.writing = false;
        let EndState::Up(link) = entry.state else {
            return None;
        };
        if held {
            return None;
        }
        Some((link, std::mem::take(&mut entry.unwritten)))
    }

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
        let forth = if self.stream.percent(50) {
            self.latency(dialler.slot, target.slot) + back
        } else {
            Duration::ZERO
        };
        let cushioned = self.stream.percent(50);
        let ends = [End::new(dialler, now + back), End::new(target, now + forth)];
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
            let first = self.stream.percent(50);
            if let (Some(old), true) = (replaced, first) {
                schedule.put(up_at, Happening::Down { end: old });
            }
            schedule.put(up_at, Happening::Up { end });
            if let (Some(old), false) = (replaced, first) {
                schedule.put(up_at, Happening::Down { end: old });
            }
        }
        Settled::Linked
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
    pub(crate) fn down(&mut self, end: EndId) -> Option<LinkId> {
        let entry = self.end_mut(end);
        let before = std::mem::replace(&mut entry.state, EndState::Down);
        entry.control.frames.clear();
        entry.data.frames.clear();
        entry.unwritten = 0;
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

    /// Loses all but a prefix of what is under way to this end.
    pub(crate) fn truncate(&mut self, end: EndId) {
        let (control, data) = (
            self.end(end).control.frames.len(),
            self.end(end).data.frames.len(),
        );
        let keep = [control, data].map(|len| {
            if len == 0 {
                0
            } else {
                self.stream.index(len + 1)
            }
        });
        let entry = self.end_mut(end);
        entry.control.frames.truncate(keep[0]);
        entry.data.frames.truncate(keep[1]);
    }

    /// When the last of what is under way to this end is due.
    pub(crate) fn last_due(&self, end: EndId) -> Time {
        let entry = self.end(end);
        let last = |pipe: &Pipe| pipe.frames.back().map_or(Time::ZERO, |&(due, _)| due);
        last(&entry.control).max(last(&entry.data)).max(entry.up_at)
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
        let place = self.place(other.party.slot, entry.party.slot);
        let cut = !self.paths[place].cuts.is_empty();
        if !(gone || cut || !other_runs) {
            self.end_mut(end).silent_since = None;
            return;
        }
        if self.end(end).silent_since.is_some() && !gone {
            return;
        }
        let since = *self.end_mut(end).silent_since.get_or_insert(schedule.now());
        let phase = self.stream.micros(0, self.shape.keep_alive_us);
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

    /// The ends that two places have towards each other, those at `to` of links from `from`.
    pub(crate) fn ends_between(&self, from: Slot, to: Slot) -> Vec<EndId> {
        let all = self
            .current
            .values()
            .flat_map(|&link| [EndId { link, side: 0 }, EndId { link, side: 1 }]);
        all.filter(|&end| {
            self.end(end).party.slot == to && self.end(end.other()).party.slot == from
        })
        .collect()
    }

    /// All ends of a process.
    pub(crate) fn ends_of(&self, process: ProcessId) -> Vec<EndId> {
        let links = self
            .current
            .iter()
            .filter(|((a, b), _)| *a == process || *b == process);
        links.map(|(_, &link)| self.end_of(link, process)).collect()
    }

    /// The link between two processes, if there is one, from the side of the first.
    pub(crate) fn between(&self, a: ProcessId, b: ProcessId) -> Option<EndId> {
        self.current
            .get(&pair(a, b))
            .map(|&link| self.end_of(link, a))
    }

    /// What waited at this end for its path moves again.
    pub(crate) fn resume(&mut self, schedule: &mut Schedule<Happening>, end: EndId) {
        let delay_us = self.stream.between(0, 300_000);
        let again = schedule.now() + Duration::from_micros(delay_us);
        for class in [Class::Control, Class::Data] {
            let pipe = self.end_mut(end).pipe(class);
            if !pipe.waiting && !pipe.frames.is_empty() {
                pipe.waiting = true;
                pipe.last_due = pipe.last_due.max(again);
                for (due, _) in &mut pipe.frames {
                    *due = again.max(*due);
                }
                schedule.put(again, Happening::Arrive { end, class });
            }
        }
        let sender = end.other();
        if self.end(sender).unwritten > 0 {
            self.note_unwritten(schedule, sender, 0);
        }
    }

    fn note_unwritten(&mut self, schedule: &mut Schedule<Happening>, end: EndId, bytes: usize) {
        let delay = self.stream.micros(0, self.shape.written_us);
        let entry = self.end_mut(end);
        entry.unwritten += bytes;
        if !entry.writing {
            entry.writing = true;
            schedule.put(schedule.now() + delay, Happening::Written { end });
        }
    }

    fn end_of(&self, link: u32, process: ProcessId) -> EndId {
        let first = self.links[link as usize].ends[0].party.process == process;
        EndId {
            link,
            side: u8::from(!first),
        }
    }

    fn is_lost(&mut self, from: Slot, to: Slot) -> bool {
        let place = self.place(from, to);
        let mut lost = false;
        for &(fault, percent) in &self.losses {
            if self.paths[place].stream.percent(percent) {
                self.effects[fault as usize] = true;
                lost = true;
            }
        }
        lost
    }

    /// What a stream loses it sends again, which takes a while.
    fn held_up(&mut self, from: Slot, to: Slot) -> Duration {
        if !self.is_lost(from, to) {
            return Duration::ZERO;
        }
        let place = self.place(from, to);
        let again_us = 2 * self.paths[place].latency_us + 1_000;
        self.paths[place]
            .stream
            .micros(again_us, 3 * again_us + 50_000)
    }

    fn place(&self, from: Slot, to: Slot) -> usize {
        usize::from(from) * self.slots + usize::from(to)
    }
}

impl End {
    fn new(party: Party, up_at: Time) -> Self {
        End {
            party,
            state: EndState::Coming,
            up_at,
            closing: false,
            silent_since: None,
            control: Pipe::default(),
            data: Pipe::default(),
            unwritten: 0,
            writing: false,
        }
    }

    fn pipe(&mut self, class: Class) -> &mut Pipe {
        match class {
            Class::Control => &mut self.control,
            Class::Data => &mut self.data,
        }
    }
}

impl Pipe {
    /// When what was sent at this same moment is due.
    fn joined(&self, now: Time) -> Option<Time> {
        (self.last_sent == now && !self.frames.is_empty()).then_some(self.last_due)
    }
}

fn pair(a: ProcessId, b: ProcessId) -> (ProcessId, ProcessId) {
    (a.min(b), a.max(b))
}
