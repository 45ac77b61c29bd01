//! The end of a run: everything works, and the mesh comes to rest within its bound.

use std::time::Duration;

use rolecast_membership::{NodeId, Profile, Time};
use rolecast_protocol::Reach;

use super::{Happening, World};
use crate::check::{Broken, ProcessId, Violation, left_over};
use crate::plan::Breakage;
use crate::process::State;

/// How often it is looked whether the mesh has come to rest.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// How long it has to stay at rest: what comes too late or twice has time to come.
const REST: Duration = Duration::from_secs(2);
/// For so long nothing but heartbeats may have been sent before the mesh counts as at rest.
const QUIET: Duration = Duration::from_millis(250);
/// Within this time after it has been idle for long enough, a link rests.
const LOOKED_AT: Duration = Duration::from_secs(1);
/// Links that are awake for other reasons than probes: questions between memberships, and those whose end is on its way.
const AWAKE_BESIDE: usize = 6;

impl World<'_> {
    pub(super) fn probe(&mut self, now: Time) -> Result<(), Violation> {
        let unrest = self.unrest(now);
        let healed_at = self.scenario.healed_at();
        match unrest {
            None => {
                let since = *self.restful_since.get_or_insert(now);
                if now.since(since) >= REST {
                    let recovery = since.since(healed_at).as_micros();
                    self.statistics.recovery_us = u64::try_from(recovery).unwrap_or(u64::MAX);
                    self.done = true;
                    return Ok(());
                }
            }
            Some(violation) => {
                self.restful_since = None;
                if now.since(healed_at) > self.scenario.bound() {
                    return Err(violation);
                }
            }
        }
        self.schedule.put(now + PROBE_EVERY, Happening::Probe);
        Ok(())
    }

    /// Why the mesh is not at rest.
    fn unrest(&self, now: Time) -> Option<Violation> {
        self.busy(now)
            .or_else(|| self.wrong_view(now))
            .or_else(|| self.detour(now))
            .or_else(|| self.too_many_links(now))
            .or_else(|| self.ghost.owed(now))
            .or_else(|| self.restless(now))
    }

    /// A process that has not come to an end with what it does.
    fn busy(&self, now: Time) -> Option<Violation> {
        self.running().find_map(|process| {
            let entry = &self.processes[process.0 as usize];
            let stuck = entry.app.senders.iter().find(|(_, sender)| sender.blocked);
            // Whoever sends to a member that is half in reach for good may wait for good.
            let excused = self.scenario.core.is_some();
            if !excused && let Some((&flow, _)) = stuck {
                let broken = Broken::NeverWritable { flow: flow.0 };
                return Some(self.violation(now, process, broken));
            }
            if !excused && let Some(what) = left_over(&entry.engine.usage()) {
                return Some(self.violation(now, process, Broken::Livelock { what }));
            }
            let idle =
                entry.app.has_nothing_to_take() && (excused || entry.app.has_nothing_to_send());
            (!idle || entry.leaving).then(|| {
                let what = "an application does not come to an end with its work";
                self.violation(now, process, Broken::Livelock { what })
            })
        })
    }

    /// Messages, or words about messages, that still travel: at rest only heartbeats do.
    fn restless(&self, now: Time) -> Option<Violation> {
        // Whoever is half in reach for good is greeted anew whenever a link to it comes up.
        let excused = self.scenario.core.is_some();
        (!excused && now.since(self.busy_at) < QUIET).then(|| {
            let what = "messages travel although everything has arrived";
            let node = Default::default();
            Violation {
                at: now,
                node,
                broken: Broken::Livelock { what },
            }
        })
    }

    fn wrong_view(&self, now: Time) -> Option<Violation> {
        let late_s = now.since(self.scenario.healed_at()).as_secs();
        let truth = self.ghost.truth();
        self.running().find_map(|process| {
            let view = self.processes[process.0 as usize].view(&self.roles);
            let (seen, truth) = truth.differs(&view)?;
            Some(self.violation(
                now,
                process,
                Broken::View {
                    late_s,
                    seen,
                    truth,
                },
            ))
        })
    }

    /// A node that is reached over others, or not at all, although nothing is broken.
    fn detour(&self, now: Time) -> Option<Violation> {
        let mut faults = self.scenario.plan.faults.iter();
        if faults.any(|fault| fault.healed_at().is_none() && is_cut(&fault.what)) {
            return None;
        }
        let late_s = now.since(self.scenario.healed_at()).as_secs();
        self.running().find_map(|process| {
            let engine = &self.processes[process.0 as usize].engine;
            let mut others = engine.others().map(|member| member.record.identity.id);
            let told = &engine.record().unreachable;
            let around = |&node: &NodeId| {
                let linked = matches!(engine.reach(node), Reach::Direct(_) | Reach::Resting);
                !linked || told.contains(&node)
            };
            let who = others.find(around)?.to_string();
            Some(self.violation(now, process, Broken::Detour { late_s, who }))
        })
    }

    /// A node that keeps more links than it is told to although nobody uses them.
    fn too_many_links(&self, now: Time) -> Option<Violation> {
        // What is kept for others is told of again and again, and whoever does uses links.
        let keeps = |process: ProcessId| {
            let engine = &self.processes[process.0 as usize].engine;
            engine.usage().retained_bytes_max > 0
        };
        if self.running().any(keeps) {
            return None;
        }
        let limits = &self.scenario.limits;
        let probes = match self.scenario.profile {
            Profile::Local => Duration::from_millis(500),
            Profile::Fast => Duration::from_millis(200),
            Profile::Lan => Duration::from_secs(1),
            Profile::Wan => Duration::from_secs(3),
        };
        // Each node probes and is probed, and links are looked at twice a second.
        let awake = 2 * (limits.link_idle + LOOKED_AT).as_micros() / probes.as_micros();
        // Of many nodes one has twice as many as the others.
        let awake = 2 * usize::try_from(awake).unwrap_or(usize::MAX) + AWAKE_BESIDE;
        let most = limits.links_max.saturating_add(awake);
        let late_s = now.since(self.scenario.healed_at()).as_secs();
        self.running().find_map(|process| {
            let links = self.processes[process.0 as usize].links.len();
            let what = Broken::Links {
                late_s,
                links,
                most,
            };
            (links > most).then(|| self.violation(now, process, what))
        })
    }

    /// The processes to which something is promised in the end.
    fn running(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.processes
            .iter()
            .filter(|p| p.state != State::Ended && self.scenario.is_core(p.name.slot))
            .map(|p| p.id)
    }
}

/// Whether it keeps nodes that run from each other.
fn is_cut(what: &Breakage) -> bool {
    matches!(what, Breakage::Cut { .. })
}
