//! Nodes that say where they are, and roles that are narrowed to a site.
//!
//! A node holds a narrowed role because of where it is, in the inbox of the role itself.
//! To the ghost every such holding is an inbox of its own, which the node opens as it comes to a site and closes as it goes: so it is held to all that is promised of a role.

use rolecast_membership::{Description, RoleName, Time};
use rolecast_protocol::{FlowId, Gap, InboxId, Origin};

use super::World;
use crate::check::{Observation, ProcessId, Violation};
use crate::workload::{NARROWED_FIRST, SITES, narrowed};

impl World<'_> {
    /// A node says that it is in this site.
    pub(super) fn move_to(
        &mut self,
        now: Time,
        process: ProcessId,
        site: u8,
    ) -> Result<(), Violation> {
        let entry = &mut self.processes[process.0 as usize];
        let mut description = Description::of(entry.engine.record());
        let site = self.scenario.workload.site(site);
        let Some(site) = site.filter(|site| description.site != *site) else {
            return Ok(());
        };
        description.site.clone_from(&site);
        let shown = entry.clock.at(now);
        if let Err(why) = entry.engine.describe(shown, description) {
            return self.complain(now, process, format!("a move to {site} gave {why}"));
        }
        entry.forget_destinations();
        let inboxes: Vec<(InboxId, RoleName)> = entry
            .app
            .inboxes
            .iter()
            .map(|(&id, inbox)| (id, inbox.role.clone()))
            .collect();
        for &(inbox, _) in &inboxes {
            self.close_narrowed(now, process, inbox)?;
        }
        for (inbox, role) in inboxes {
            self.open_narrowed(now, process, inbox, &role, 0)?;
        }
        self.carry_out(now, process)
    }

    /// A node that holds a role holds it narrowed to its site too.
    pub(super) fn open_narrowed(
        &mut self,
        now: Time,
        process: ProcessId,
        inbox: InboxId,
        role: &RoleName,
        replay: u32,
    ) -> Result<(), Violation> {
        let entry = &mut self.processes[process.0 as usize];
        let sites = 0..SITES;
        let held = sites.map(|site| narrowed(role, site));
        let held = held.filter_map(|role| Some((entry.tenure(&role)?, role)));
        let Some((tenure, role)) = held.last() else {
            return Ok(());
        };
        entry.app.last_narrowed += 1;
        let own = InboxId(NARROWED_FIRST + entry.app.last_narrowed);
        entry.app.narrowed.insert((inbox, role.clone()), own);
        let took_up = Observation::TookUp {
            inbox: own,
            role,
            tenure,
        };
        self.observe(now, process, took_up)?;
        match replay {
            0 => Ok(()),
            messages => {
                let inbox = own;
                let asks = Observation::AsksForPast { inbox, messages };
                self.observe(now, process, asks)
            }
        }
    }

    /// It holds it no longer.
    pub(super) fn close_narrowed(
        &mut self,
        now: Time,
        process: ProcessId,
        inbox: InboxId,
    ) -> Result<(), Violation> {
        for inbox in self.narrowed_of(process, inbox) {
            let app = &mut self.processes[process.0 as usize].app;
            app.narrowed.retain(|_, own| *own != inbox);
            self.observe(now, process, Observation::Dropped { inbox })?;
        }
        Ok(())
    }

    fn narrowed_of(&self, process: ProcessId, inbox: InboxId) -> Vec<InboxId> {
        let narrowed = self.processes[process.0 as usize].app.narrowed.iter();
        let of_inbox = narrowed.filter(|((of, _), _)| *of == inbox);
        of_inbox.map(|(_, &own)| own).collect()
    }

    /// Into which inbox, as the ghost sees it, something of a flow comes.
    pub(super) fn seen_in(
        &self,
        process: ProcessId,
        inbox: InboxId,
        (origin, flow): (Origin, FlowId),
    ) -> InboxId {
        let lives = self.by_node.get(&origin.node).into_iter().flatten();
        let lives = lives.map(|life| &self.processes[life.0 as usize]);
        let sender = lives.filter(|p| p.first_epoch <= origin.epoch).last();
        let sender = sender.and_then(|sender| sender.app.senders.get(&flow));
        let own = sender.and_then(|sender| {
            let key = (inbox, sender.role.clone());
            self.processes[process.0 as usize].app.narrowed.get(&key)
        });
        own.copied().unwrap_or(inbox)
    }

    /// What an inbox is told of a life of its node, those that only the ghost knows are told too.
    pub(super) fn gap_of_narrowed(
        &mut self,
        now: Time,
        process: ProcessId,
        inbox: InboxId,
        gap: Gap,
    ) -> Result<(), Violation> {
        for inbox in self.narrowed_of(process, inbox) {
            self.observe(now, process, Observation::Gapped { inbox, gap })?;
        }
        Ok(())
    }
}
