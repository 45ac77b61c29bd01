//! What happens when a fault begins and when it is mended.

use std::time::Duration;

use rolecast_membership::Time;

use super::{Happening, World};
use crate::check::{Observation, ProcessId, Violation};
use crate::network::{Act, EndId, Part, Throat};
use crate::plan::{Breakage, FOREVER_US, Manner, Paths, Slot, Span, Way};
use crate::probe::sometimes;
use crate::process::State;

/// How long a process that was told to leave waits for its messages to be acknowledged.
const DRAIN_MAX: Duration = Duration::from_secs(5);

impl World<'_> {
    pub(super) fn begin_fault(&mut self, now: Time, number: u32) -> Result<(), Violation> {
        let scenario = self.scenario;
        let fault = &scenario.plan.faults[number as usize];
        self.note_fault(now, number, true);
        let effect = match &fault.what {
            Breakage::Crash { node, restart } => {
                let running = self.current(*node);
                if let Some(process) = running {
                    self.end_process(now, process)?;
                }
                self.schedule_restart(now, *node, restart.filter(|_| running.is_some()));
                running.is_some()
            }
            Breakage::Leave { node, restart } => {
                let leaves = self.begin_leaving(now, *node)?;
                self.schedule_restart(now, *node, restart.filter(|_| leaves));
                leaves
            }
            Breakage::Join { node } => self.join(now, *node)?,
            Breakage::Pause { node, .. } => self.pause(*node),
            Breakage::Drift { node, ppm, .. } => self.drift(now, *node, *ppm)?,
            Breakage::Jump { node, by_us } => self.jump(now, *node, *by_us)?,
            Breakage::Reset { a, b } => self.reset(now, *a, *b),
            Breakage::Cut { spans, .. } => {
                for (span, part) in (0..).zip(spans) {
                    let (begin, end) = (part.after_us, part.ends_after_us());
                    self.put_change(now, begin, Happening::Cut(number, span));
                    self.put_change(now, end, Happening::Uncut(number, span));
                }
                false
            }
            Breakage::Packets { paths, harm, .. } => {
                self.act_on(number, paths, Act::harm(*harm));
                false
            }
            Breakage::Slow {
                paths,
                extra_us,
                jitter_us,
                ..
            } => {
                let (extra_us, jitter_us) = (*extra_us, *jitter_us);
                self.act_on(
                    number,
                    paths,
                    Act::Slow {
                        extra_us,
                        jitter_us,
                    },
                );
                false
            }
            Breakage::Narrow {
                paths,
                bytes_per_s,
                queue_bytes,
                ..
            } => {
                let throat = Throat::new(*bytes_per_s, *queue_bytes);
                self.act_on(number, paths, Act::Narrow(throat));
                false
            }
        };
        self.network.effects[number as usize] |= effect;
        if let Some(healed_at) = fault.healed_at()
            && is_mended(&fault.what)
        {
            self.schedule.put(healed_at, Happening::Mend(number));
        }
        Ok(())
    }

    pub(super) fn mend_fault(&mut self, now: Time, number: u32) -> Result<(), Violation> {
        let scenario = self.scenario;
        let fault = &scenario.plan.faults[number as usize];
        self.note_fault(now, number, false);
        match &fault.what {
            Breakage::Pause { node, .. } if self.network.effects[number as usize] => {
                self.resume(now, *node)
            }
            Breakage::Drift { node, ppm, .. } => self.drift(now, *node, -ppm).map(|_| ()),
            Breakage::Packets { paths, .. } | Breakage::Slow { paths, .. } => {
                self.network.rest(self.part(number, 0), &self.ways(paths));
                Ok(())
            }
            Breakage::Narrow { paths, .. } => {
                let ways = self.ways(paths);
                self.network.rest(self.part(number, 0), &ways);
                for (from, to) in ways {
                    for end in self.network.ends_between(from, to) {
                        self.network.widen(&mut self.schedule, end);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A part of a cut begins.
    pub(super) fn cut(&mut self, now: Time, number: u32, span: u32) {
        let scenario = self.scenario;
        let Breakage::Cut { manner, spans, .. } = &scenario.plan.faults[number as usize].what
        else {
            return;
        };
        let Span { for_us, ways, .. } = &spans[span as usize];
        let until = now + Duration::from_micros(*for_us);
        let what = match *manner {
            Manner::Drop => Act::Cut { jam: false, until },
            Manner::Jam => Act::Cut { jam: true, until },
            Manner::Slow(extra_us) => Act::Slow {
                extra_us,
                jitter_us: 0,
            },
        };
        self.trace
            .line(now, Default::default(), format_args!("CUT {ways:?}"));
        self.network.act(self.part(number, span), ways, what);
        self.listen_between(ways);
    }

    /// A part of a cut is mended.
    pub(super) fn uncut(&mut self, now: Time, number: u32, span: u32) {
        let scenario = self.scenario;
        let Breakage::Cut { manner, spans, .. } = &scenario.plan.faults[number as usize].what
        else {
            return;
        };
        let ways = &spans[span as usize].ways;
        self.trace
            .line(now, Default::default(), format_args!("MENDED {ways:?}"));
        self.network.rest(self.part(number, span), ways);
        for end in self.listen_between(ways) {
            let jam = *manner == Manner::Jam;
            self.network.resume(&mut self.schedule, end, jam);
        }
    }

    fn note_fault(&mut self, now: Time, number: u32, begins: bool) {
        let scenario = self.scenario;
        let what = &scenario.plan.faults[number as usize].what;
        let word = if begins { "FAULT" } else { "MENDED" };
        self.trace
            .line(now, Default::default(), format_args!("{word} {what:?}"));
    }

    fn put_change(&mut self, now: Time, after_us: u64, happening: Happening) {
        if after_us != FOREVER_US {
            self.schedule
                .put(now + Duration::from_micros(after_us), happening);
        }
    }

    fn act_on(&mut self, number: u32, paths: &Paths, what: Act) {
        self.network
            .act(self.part(number, 0), &self.ways(paths), what);
    }

    fn part(&self, fault: u32, span: u32) -> Part {
        let id = self.scenario.plan.faults[fault as usize].id;
        Part { fault, span, id }
    }

    fn ways(&self, paths: &Paths) -> Vec<Way> {
        match paths {
            Paths::Of(ways) => ways.clone(),
            Paths::All => {
                let used = || (0..self.scenario.nodes).filter(|&slot| self.scenario.is_used(slot));
                used()
                    .flat_map(|from| used().map(move |to| (from, to)))
                    .filter(|(from, to)| from != to)
                    .collect()
            }
        }
    }

    /// The first process of a place starts, unless there was one already.
    fn join(&mut self, now: Time, node: Slot) -> Result<bool, Violation> {
        let fresh = self.places[usize::from(node)].incarnations == 0;
        if fresh && self.scenario.is_used(node) {
            let sent = self.statistics.messages > 0;
            sometimes!(self.reached, JoinedLate, if sent);
            self.start(now, node)?;
        }
        Ok(fresh)
    }

    fn drift(&mut self, now: Time, node: Slot, ppm: i32) -> Result<bool, Violation> {
        self.places[usize::from(node)].clock.hasten(now, ppm);
        self.clock_changed(now, node)
    }

    /// A clock that goes back shows only when the next process of this place asks what time it is.
    fn jump(&mut self, now: Time, node: Slot, by_us: i64) -> Result<bool, Violation> {
        let place = &mut self.places[usize::from(node)];
        place.wall_us = place.wall_us.saturating_add(by_us);
        match u64::try_from(by_us) {
            Ok(ahead_us) => {
                place.clock.jump(now, Duration::from_micros(ahead_us));
                self.clock_changed(now, node)
            }
            Err(_) => Ok(true),
        }
    }

    fn clock_changed(&mut self, now: Time, node: Slot) -> Result<bool, Violation> {
        let Some(process) = self.current(node) else {
            return Ok(false);
        };
        let clock = self.places[usize::from(node)].clock;
        self.processes[process.0 as usize].clock = clock;
        self.observe(now, process, Observation::ClockSet { clock })?;
        // What it meant to do at some time of its own comes at another time.
        self.processes[process.0 as usize].wake_at = None;
        self.set_wake(now, process);
        Ok(true)
    }

    /// The process dies without a word.
    pub(super) fn end_process(&mut self, now: Time, process: ProcessId) -> Result<(), Violation> {
        let ends = self.remove_process(process);
        self.trace.note(now, self.name(process), 2, 0, &[]);
        self.trace
            .line(now, self.name(process), format_args!("dies"));
        for end in ends {
            self.network.down(now, end);
            // Of what it had handed to its transport, a part had left.
            self.network.truncate(end.other());
            self.listen(end.other());
        }
        self.observe(now, process, Observation::Crashed)
    }

    /// A process that was told to leave, and has waited for its messages, goes.
    pub(super) fn depart(&mut self, now: Time, process: ProcessId) -> Result<(), Violation> {
        self.tell(now, process, |engine, now| engine.leave(now));
        self.carry_out(now, process)?;
        let drained = self.processes[process.0 as usize].drained;
        sometimes!(self.reached, Drained, if drained);
        sometimes!(self.reached, LeftUndrained, if !drained);
        self.trace
            .note(now, self.name(process), 3, u64::from(drained), &[]);
        self.trace.line(
            now,
            self.name(process),
            format_args!("leaves (drained: {drained})"),
        );
        let ends = self.remove_process(process);
        for end in ends {
            self.close(now, end, false);
            self.network.down(now, end);
        }
        self.observe(now, process, Observation::Left { drained })
    }

    fn begin_leaving(&mut self, now: Time, node: Slot) -> Result<bool, Violation> {
        let Some(process) = self.current(node) else {
            return Ok(false);
        };
        if !self.runs(process) || self.processes[process.0 as usize].leaving {
            return Ok(false);
        }
        self.processes[process.0 as usize].leaving = true;
        self.schedule
            .put(now + DRAIN_MAX, Happening::Depart(process));
        self.tell(now, process, |engine, now| engine.drain(now));
        self.carry_out(now, process)?;
        Ok(true)
    }

    fn schedule_restart(&mut self, now: Time, node: Slot, restart: Option<crate::plan::Restart>) {
        if let Some(restart) = restart {
            let at = now + Duration::from_micros(restart.after_us);
            self.schedule.put(at, Happening::Restart(node, restart));
        }
    }

    fn pause(&mut self, node: Slot) -> bool {
        let Some(process) = self.current(node) else {
            return false;
        };
        let entry = &mut self.processes[process.0 as usize];
        entry.state = match entry.state {
            State::Paused(times) => State::Paused(times + 1),
            State::Running | State::Ended => State::Paused(1),
        };
        for end in self.network.ends_of(process) {
            self.listen(end.other());
        }
        true
    }

    fn resume(&mut self, now: Time, node: Slot) -> Result<(), Violation> {
        let Some(process) = self.current(node) else {
            return Ok(());
        };
        let entry = &mut self.processes[process.0 as usize];
        match entry.state {
            State::Paused(1) => entry.state = State::Running,
            State::Paused(times) => entry.state = State::Paused(times - 1),
            // The one that was paused died, and this is another.
            State::Running | State::Ended => return Ok(()),
        }
        if entry.state != State::Running {
            return Ok(());
        }
        let backlog = std::mem::take(&mut entry.backlog);
        self.observe(now, process, Observation::Resumed)?;
        for end in self.network.ends_of(process) {
            self.listen(end.other());
        }
        for happening in backlog {
            if self.runs(process) {
                self.dispatch(now, happening)?;
            }
        }
        Ok(())
    }

    fn reset(&mut self, now: Time, a: Slot, b: Slot) -> bool {
        let (Some(a), Some(b)) = (self.current(a), self.current(b)) else {
            return false;
        };
        let Some(end) = self.network.between(a, b) else {
            return false;
        };
        for end in [end, end.other()] {
            self.network.truncate(end);
            self.network.end_mut(end).closing = true;
        }
        for end in [end, end.other()] {
            let at = self.network.last_due(end).max(now);
            self.schedule.put(at, Happening::Down { end });
        }
        true
    }

    /// Takes the process from its place and gives its ends.
    fn remove_process(&mut self, process: ProcessId) -> Vec<EndId> {
        let entry = &mut self.processes[process.0 as usize];
        entry.state = State::Ended;
        entry.backlog.clear();
        let (addr, slot) = (entry.addr, entry.name.slot);
        let place = &mut self.places[usize::from(slot)];
        // A later process with this key starts in a later life than any that this one had.
        place.last_epoch = place.last_epoch.max(entry.engine.identity().epoch);
        place.current = None;
        self.by_addr.remove(&addr);
        self.network.ends_of(process)
    }

    fn listen_between(&mut self, pairs: &[(Slot, Slot)]) -> Vec<EndId> {
        let mut all = Vec::new();
        for &(from, to) in pairs {
            let ends = self.network.ends_between(from, to);
            ends.iter().for_each(|&end| self.listen(end));
            all.extend(ends);
        }
        all
    }

    fn current(&self, node: Slot) -> Option<ProcessId> {
        self.places[usize::from(node)].current
    }
}

/// Whether something has to be done when the fault is over; the parts of a cut are mended one by one.
fn is_mended(what: &Breakage) -> bool {
    matches!(
        what,
        Breakage::Pause { .. }
            | Breakage::Drift { .. }
            | Breakage::Packets { .. }
            | Breakage::Slow { .. }
            | Breakage::Narrow { .. }
    )
}
