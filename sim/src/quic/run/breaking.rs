//! The faults that happen to processes and their clocks; those of the network are rules of the network.

use std::time::Duration;

use rolecast::simulation::sever;
use rolecast_membership::Time;

use super::{Happening, Running, World};
use crate::check::{Observation, ProcessId};
use crate::plan::{Breakage, FOREVER_US, Restart, Slot};
use crate::probe::Probe;
use crate::quic::process::Process;

impl World<'_> {
    pub(super) fn begin_fault(&mut self, number: u32) {
        let scenario = self.scenario;
        let fault = &scenario.plan.faults[number as usize];
        self.watch.line(format_args!("FAULT {:?}", fault.what));
        let effect = match &fault.what {
            Breakage::Crash { node, restart } => {
                let effect = self.crash(*node);
                self.schedule_restart(*node, restart.filter(|_| effect));
                effect
            }
            Breakage::Leave { node, restart } => {
                let effect = self.leave(*node);
                self.schedule_restart(*node, restart.filter(|_| effect));
                effect
            }
            Breakage::Join { node } => {
                let fresh = self.mesh.seats()[usize::from(*node)].place.is_fresh();
                if fresh && scenario.is_used(*node) {
                    if self.watch.statistics().messages > 0 {
                        self.watch.reach(Probe::JoinedLate);
                    }
                    self.schedule.put(Time::ZERO, Happening::Start(*node));
                }
                fresh
            }
            Breakage::Pause { node, for_us } => self.pause(*node, *for_us),
            Breakage::Jump { node, by_us } => {
                let now = self.network.now();
                let ahead = self.mesh.seats()[usize::from(*node)]
                    .place
                    .jump(now, *by_us);
                // A clock that goes back shows only when the next process of this place asks what time it is.
                !ahead || self.clock_changed(*node)
            }
            Breakage::Drift { node, ppm, for_us } => {
                if *for_us != FOREVER_US {
                    let at = self.network.now() + Duration::from_micros(*for_us);
                    self.schedule.put(at, Happening::Undrift(*node, *ppm));
                }
                self.drift(*node, *ppm)
            }
            Breakage::Reset { a, b } => self.reset(*a, *b),
            Breakage::Cut { .. }
            | Breakage::Packets { .. }
            | Breakage::Slow { .. }
            | Breakage::Narrow { .. } => false,
        };
        self.effects[number as usize] |= effect;
    }

    pub(super) fn drift(&self, node: Slot, ppm: i32) -> bool {
        let now = self.network.now();
        self.mesh.seats()[usize::from(node)].place.hasten(now, ppm);
        self.clock_changed(node)
    }

    /// The process at a place, if there is one, lives by the place's clock.
    fn clock_changed(&self, node: Slot) -> bool {
        let Some(Running { program, .. }) = self.mesh.current(node) else {
            return false;
        };
        let clock = self.mesh.seats()[usize::from(node)].place.clock();
        self.watch
            .observe(program.id(), Observation::ClockSet { clock });
        let run_started = self.network.started().into_std();
        program.process().set_clock(clock, run_started);
        true
    }

    /// The link between two nodes breaks.
    fn reset(&self, a: Slot, b: Slot) -> bool {
        let (Some(one), Some(other)) = (self.mesh.current(a), self.mesh.current(b)) else {
            return false;
        };
        let (one, other) = (one.program.node(), other.program.node().id());
        sever(one, other);
        self.watch.is_linked(one.id(), other)
    }

    fn schedule_restart(&mut self, node: Slot, restart: Option<Restart>) {
        if let Some(restart) = restart {
            let at = self.network.now() + Duration::from_micros(restart.after_us);
            self.schedule.put(at, Happening::Restart(node, restart));
        }
    }

    /// The process dies without a word.
    fn crash(&self, node: Slot) -> bool {
        let Some(running) = self.mesh.current(node) else {
            return false;
        };
        let id = running.program.id();
        self.watch.observe(id, Observation::Crashed);
        self.mesh.remove(node, id, &self.network);
        true
    }

    fn leave(&mut self, node: Slot) -> bool {
        let Some(Running { program, .. }) = self.mesh.current(node) else {
            return false;
        };
        let id = program.id();
        if self.paused.contains_key(&id) || !self.leaving.insert(id) {
            return false;
        }
        let node = program.node().clone();
        tokio::spawn(async move { node.shutdown_within(DRAIN_MAX).await });
        true
    }

    fn pause(&mut self, node: Slot, for_us: u64) -> bool {
        let Some(Running { program, .. }) = self.mesh.current(node) else {
            return false;
        };
        let (id, process) = (program.id(), program.process().clone());
        *self.paused.entry(id).or_default() += 1;
        process.pause();
        let at = self.network.now() + Duration::from_micros(for_us);
        self.schedule.put(at, Happening::Resume(id, process));
        true
    }

    pub(super) fn resume(&mut self, id: ProcessId, process: &Process) {
        let pauses = self.paused.entry(id).or_default();
        *pauses = pauses.saturating_sub(1);
        if *pauses == 0 {
            self.paused.remove(&id);
            self.watch.observe(id, Observation::Resumed);
            process.resume();
        }
    }
}

/// How long a process that was told to leave waits for its messages to be acknowledged.
const DRAIN_MAX: Duration = Duration::from_secs(5);
