//! Who is in the mesh, told to the application, the log and the metrics.

use std::sync::Arc;

use rolecast_membership::{Epoch, Event, NodeId, Record, RoleName};
use rolecast_protocol::Reach;

use super::Driver;
use super::shutdown::Phase;
use crate::error::ClosedReason;
use crate::members::{LinkState, MemberInfo, MeshEvent, tell};
use crate::outcomes::HolderOutcome;

/// Which node is gone because of this, and how.
pub(super) fn departed(event: &Event) -> Option<(NodeId, HolderOutcome)> {
    match event {
        Event::Left(identity) => Some((identity.id, HolderOutcome::Left)),
        Event::Down(identity) | Event::Renewed(identity) => {
            Some((identity.id, HolderOutcome::DeclaredDown))
        }
        Event::Replaced { before, .. } => Some((before.identity.id, HolderOutcome::DeclaredDown)),
        _ => None,
    }
}

impl Driver {
    pub(super) fn on_membership(&mut self, event: Event) {
        let event = match event {
            Event::Joined(record) => {
                let identity = record.identity;
                tracing::info!(node = %identity.id, addr = %identity.addr, epoch = %identity.epoch, "a node joined");
                MeshEvent::Joined(self.member_of(record))
            }
            Event::Updated { before, after } => {
                let changes = role_changes(&before, &after);
                self.tell_watchers(&MeshEvent::Updated(self.member_of(after)));
                for change in changes {
                    self.tell_watchers(&change);
                }
                return;
            }
            Event::Replaced { after, .. } => {
                let identity = after.identity;
                tracing::info!(node = %identity.id, addr = %identity.addr, epoch = %identity.epoch, "a node restarted");
                MeshEvent::Restarted(self.member_of(after))
            }
            Event::Suspected(node) => {
                tracing::debug!(%node, "a node does not answer");
                MeshEvent::Suspected(node)
            }
            Event::AliveAgain(node) => MeshEvent::AliveAgain(node),
            Event::Left(identity) => {
                tracing::info!(node = %identity.id, "a node left");
                MeshEvent::Left(identity.id)
            }
            Event::Down(identity) => {
                tracing::info!(node = %identity.id, epoch = %identity.epoch, "a node is down");
                MeshEvent::Down(identity.id)
            }
            Event::Renewed(identity) => {
                self.on_renewed(identity.epoch);
                MeshEvent::Renewed(identity.epoch)
            }
            Event::Superseded(identity) => {
                self.on_superseded(identity.epoch);
                return;
            }
        };
        self.tell_watchers(&event);
    }

    /// Why a holder was lost: the node is gone, or it holds the role no longer.
    pub(super) fn why_lost(&self, node: NodeId) -> HolderOutcome {
        let departed = self.departed.filter(|&(gone, _)| gone == node);
        departed.map_or(HolderOutcome::Unregistered, |(_, how)| how)
    }

    /// Brings the holders of a role up to date, of the role narrowed, and of the patterns that stand for it, if anybody asks for them.
    pub(super) fn on_holders(&mut self, role: &RoleName) {
        if *role == RoleName::everyone() {
            let holders = self.engine.holders(role).len();
            self.counters.members.set(holders as f64);
            self.shared.set_company(holders > 1);
        }
        for role in self.shared.roles_in_use(role) {
            role.set_holders(self.engine.holders(&role.name));
        }
    }

    pub(super) fn members(&self) -> Vec<MemberInfo> {
        let members = self.engine.members().into_iter();
        members
            .map(|member| {
                let link = self.link_state(member.record.identity.id);
                MemberInfo::new(member, link)
            })
            .collect()
    }

    pub(super) fn tell_watchers(&mut self, event: &MeshEvent) {
        // A watcher that was dropped holds its end no more.
        self.watchers.retain(|queue| Arc::strong_count(queue) > 1);
        for queue in &self.watchers {
            tell(queue, event.clone());
        }
    }

    fn member_of(&self, record: Record) -> MemberInfo {
        let link = self.link_state(record.identity.id);
        MemberInfo::from_record(record, link)
    }

    fn link_state(&self, node: NodeId) -> LinkState {
        if node == self.shared.id {
            return LinkState::Myself;
        }
        match self.engine.reach(node) {
            Reach::Direct(link) => {
                self.links
                    .get(&link)
                    .map_or(LinkState::Down, |link| LinkState::Direct {
                        rtt: link.stats().rtt,
                    })
            }
            Reach::Over(relay) => LinkState::Via(relay),
            Reach::Resting => LinkState::Resting,
            Reach::Unreachable => LinkState::Down,
        }
    }

    /// The node goes on in another life, which it has to remember before the next one starts.
    fn on_renewed(&mut self, epoch: Epoch) {
        tracing::warn!(%epoch, "this node was declared down while it lived, and goes on in another life");
        self.shared.set_epoch(epoch);
        if let Some(state) = self.state.clone() {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = state.remember(epoch) {
                    tracing::warn!(%error, "the epoch could not be written to the state directory");
                }
            });
        }
    }

    fn on_superseded(&mut self, epoch: Epoch) {
        tracing::error!(%epoch, "another process runs with this node's key in a later life: this node stops");
        self.phase = Phase::Over(ClosedReason::Superseded { epoch });
    }
}

/// Which roles a member took up and dropped.
fn role_changes(before: &Record, after: &Record) -> Vec<MeshEvent> {
    let node = after.identity.id;
    let dropped = before
        .roles
        .keys()
        .filter(|role| !after.roles.contains_key(*role));
    let dropped = dropped.map(|role| MeshEvent::RoleDropped {
        node,
        role: role.clone(),
    });
    let taken_up = after.roles.iter();
    let taken_up = taken_up.filter(|(role, tenure)| before.roles.get(*role) != Some(tenure));
    let taken_up = taken_up.map(|(role, _)| MeshEvent::RoleTakenUp {
        node,
        role: role.clone(),
    });
    let changes = dropped.chain(taken_up);
    let service = RoleName::service();
    changes
        .filter(|change| !matches!(change, MeshEvent::RoleTakenUp { role, .. } | MeshEvent::RoleDropped { role, .. } if *role == service))
        .collect()
}
