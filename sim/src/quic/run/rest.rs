//! Whether the mesh has come to rest after everything was healed.

use std::time::Duration;

use rolecast::Node;
use rolecast_membership::{RoleName, Time};

use super::{Happening, World};
use crate::check::{Broken, Name, View, Violation};
use crate::quic::program::Program;

impl World<'_> {
    pub(super) async fn probe(&mut self) -> Result<(), Violation> {
        let unrest = self.unrest().await;
        let now = self.network.now();
        match unrest {
            None => {
                let since = *self.restful_since.get_or_insert(now);
                if now.since(since) >= REST {
                    self.done = true;
                    return Ok(());
                }
            }
            Some(violation) => {
                self.restful_since = None;
                if now.since(self.healed_at) > self.scenario.bound() {
                    return Err(violation);
                }
            }
        }
        self.schedule.put(now + PROBE_EVERY, Happening::Probe);
        Ok(())
    }

    /// Why the mesh is not at rest.
    async fn unrest(&self) -> Option<Violation> {
        let core = |slot| self.scenario.is_core(slot);
        let programs = self.mesh.programs(core);
        // Whoever sends to a member that is half in reach for good may wait for good.
        let excused = self.scenario.core.is_some();
        for program in &programs {
            if !(program.is_idle() || excused) || self.leaving.contains(&program.id()) {
                let name = self.watch.ask(|ghost| ghost.name(program.id()));
                let what = "a program does not come to an end with its work";
                return Some(self.violation(name, Broken::Livelock { what }));
            }
        }
        let kept = |program: &Program| Some((program.id(), self.watch.left_over(program.id())?));
        if !excused && let Some((id, what)) = programs.iter().find_map(kept) {
            let name = self.watch.ask(|ghost| ghost.name(id));
            return Some(self.violation(name, Broken::Livelock { what }));
        }
        for program in &programs {
            // A node that is paused does not answer, and the world stands still as long as it is waited for.
            let view = tokio::time::timeout(PATIENCE, self.view(program.node())).await;
            let Ok(view) = view else {
                let name = self.watch.ask(|ghost| ghost.name(program.id()));
                let what = "a node does not say what it sees";
                return Some(self.violation(name, Broken::Livelock { what }));
            };
            if let Some((seen, truth)) = self.watch.ask(|ghost| ghost.truth().differs(&view)) {
                let name = self.watch.ask(|ghost| ghost.name(program.id()));
                let late_s = self.network.now().since(self.healed_at).as_secs();
                let broken = Broken::View {
                    late_s,
                    seen,
                    truth,
                };
                return Some(self.violation(name, broken));
            }
        }
        let now = self.network.now();
        let owed = self.watch.ask(|ghost| ghost.owed(now));
        owed.or_else(|| self.restless(now))
    }

    /// Messages, or words about messages, that still travel: at rest only heartbeats do.
    fn restless(&self, now: Time) -> Option<Violation> {
        // Whoever is half in reach for good is greeted anew whenever a link to it comes up.
        let excused = self.scenario.core.is_some();
        (!excused && now.since(self.watch.busy_at()) < QUIET).then(|| {
            let what = "messages travel although everything has arrived";
            self.violation(Name::default(), Broken::Livelock { what })
        })
    }

    /// What a node sees, as the library shows it.
    async fn view(&self, node: &Node) -> View {
        let members = node.members().await;
        let everyone = RoleName::everyone();
        let holders = self.mesh.roles.iter().map(|role| {
            let (whole, site) = (role.base(), role.place().site);
            let held = members.iter().filter(|member| {
                let there = site.as_ref().is_none_or(|site| member.site == *site);
                there && (whole == everyone || member.roles.contains(&whole))
            });
            (role.clone(), held.map(|member| member.id).collect())
        });
        View {
            holders: holders.collect(),
            members: members
                .iter()
                .map(|member| (member.id, member.epoch))
                .collect(),
        }
    }
}

/// How long a node that runs may take to say what it sees: no time passes while it works.
const PATIENCE: Duration = Duration::from_millis(1);
/// For so long nothing but heartbeats may have been sent before the mesh counts as at rest.
const QUIET: Duration = Duration::from_millis(250);
/// How often it is looked whether the mesh has come to rest.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// How long it has to stay at rest: what comes too late or twice has time to come.
const REST: Duration = Duration::from_secs(2);
