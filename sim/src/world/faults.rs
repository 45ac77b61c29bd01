//! What happens when a fault begins and when it is mended.

use std::time::Duration;

use rolecast_membership::Time;

use super::{Happening, World};
use crate::check::{Observation, ProcessId, Violation};
use crate::network::EndId;
use crate::plan::{Breakage, Slot};
use crate::process::State;

/// How long a process that was told to leave waits for its messages to be acknowledged.
const DRAIN_MAX: Duration = Duration::from_secs(5);

impl World<'_> {
    pub(super) fn begin_fault(&mut self, now: Time, number: u32) -> Result<(), Violation> {
        let scenario = self.scenario;
        let fault = &scenario.plan.faults[number as usize];
        self.trace.line(
            now,
            Default::default(),
            format_args!("FAULT {:?}", fault.what),
        );
        match &fault.what {
            Breakage::Crash { node, restart } => {
                let effect = self.current(*node).is_some();
                if let Some(process) = self.current(*node) {
                    self.end_process(now, process)?;
                }
                self.schedule_restart(now, *node, restart.filter(|_| effect));
                self.network.effects[number as usize] = effect;
            }
            Breakage::Leave { node, restart } => {
                let effect = self.begin_leaving(now, *node)?;
                self.schedule_restart(now, *node, restart.filter(|_| effect));
                self.network.effects[number as usize] = effect;
            }
            Breakage::Pause { node, .. } => {
                self.network.effects[number as usize] = self.pause(*node);
            }
            Breakage::Cut { pairs, .. } => {
                self.network.cut(number, pairs);
                self.listen_between(pairs);
            }
            Breakage::Reset { a, b } => {
                self.network.effects[number as usize] = self.reset(now, *a, *b);
            }
            Breakage::Loss { percent, .. } => self.network.lose(number, u32::from(*percent)),
            Breakage::Slow {
                from, to, extra_us, ..
            } => {
                self.network.slow(number, *from, *to, *extra_us);
            }
        }
        if matches!(
            fault.what,
            Breakage::Pause { .. }
                | Breakage::Cut { .. }
                | Breakage::Loss { .. }
                | Breakage::Slow { .. }
        ) {
            self.schedule
                .put(fault.healed_at(), Happening::Mend(number));
        }
        Ok(())
    }

    pub(super) fn mend_fault(&mut self, now: Time, number: u32) -> Result<(), Violation> {
        let scenario = self.scenario;
        let fault = &scenario.plan.faults[number as usize];
        self.trace.line(
            now,
            Default::default(),
            format_args!("MENDED {:?}", fault.what),
        );
        match &fault.what {
            Breakage::Pause { node, .. } if self.network.effects[number as usize] => {
                self.resume(now, *node)?;
            }
            Breakage::Cut { pairs, .. } => {
                self.network.mend(number, pairs);
                for end in self.listen_between(pairs) {
                    self.network.resume(&mut self.schedule, end);
                }
            }
            Breakage::Loss { .. } => self.network.keep(number),
            Breakage::Slow { from, to, .. } => self.network.hasten(number, *from, *to),
            Breakage::Pause { .. }
            | Breakage::Crash { .. }
            | Breakage::Leave { .. }
            | Breakage::Reset { .. } => {}
        }
        Ok(())
    }

    /// The process dies without a word.
    pub(super) fn end_process(&mut self, now: Time, process: ProcessId) -> Result<(), Violation> {
        let ends = self.remove_process(process);
        self.trace.note(now, self.name(process), 2, 0, &[]);
        self.trace
            .line(now, self.name(process), format_args!("dies"));
        for end in ends {
            self.network.down(end);
            // Of what it had handed to its transport, a part had left.
            self.network.truncate(end.other());
            self.listen(end.other());
        }
        self.observe(now, process, Observation::Crashed)
    }

    /// A process that was told to leave, and has waited for its messages, goes.
    pub(super) fn depart(&mut self, now: Time, process: ProcessId) -> Result<(), Violation> {
        self.processes[process.0 as usize].engine.leave(now);
        self.carry_out(now, process)?;
        let drained = self.processes[process.0 as usize].drained;
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
            self.network.down(end);
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
        self.processes[process.0 as usize].engine.drain(now);
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
