//! Roles that are narrowed to the site in which a node is, which to the ghost are inboxes of their own.
//!
//! A node holds such a role because of where it is, in the inbox of the role itself.
//! What the engine said before the node took up a role, dropped one or moved goes to the inboxes of before.

use std::collections::BTreeMap;

use rolecast_membership::{RoleName, Tenure};
use rolecast_protocol::{Engine, FlowId, Gap, InboxId, Origin};

use super::{ProcessWitness, Said, own_tenure};
use crate::check::Observation;
use crate::workload::{NARROWED_FIRST, SITES, narrowed};

/// The inboxes that only the ghost knows, by the inbox of the whole role and the narrowed role.
pub(super) type Narrowed = BTreeMap<(InboxId, RoleName), InboxId>;

/// What is known of the inboxes of narrowed roles.
#[derive(Debug, Default)]
pub(super) struct Inboxes {
    /// Those into which what the engine says comes.
    seen: Narrowed,
    /// Those that there are, when the engine has said everything.
    present: Narrowed,
    /// How each of them is held: a node may go from a site before the ghost has heard of its renewal.
    tenures: BTreeMap<InboxId, Tenure>,
    last: u64,
    /// Where the node is.
    site: String,
}

impl ProcessWitness {
    /// The node starts where it says.
    pub(super) fn starts_at(&mut self, engine: &Engine) {
        self.narrowed.site.clone_from(&engine.record().site);
    }

    /// The node may have moved: it holds other narrowed roles.
    pub(super) fn described(&mut self, engine: &Engine) {
        if self.narrowed.site == engine.record().site {
            return;
        }
        self.starts_at(engine);
        let held: Vec<(InboxId, RoleName)> = self
            .inboxes
            .iter()
            .map(|(&inbox, role)| (inbox, role.clone()))
            .collect();
        for &(inbox, _) in &held {
            self.close_narrowed(inbox);
        }
        for (inbox, role) in held {
            self.open_narrowed(engine, inbox, &role, 0);
        }
    }

    /// A node that holds a role holds it narrowed to its site too.
    pub(super) fn open_narrowed(
        &mut self,
        engine: &Engine,
        inbox: InboxId,
        role: &RoleName,
        replay: u32,
    ) {
        let held = (0..SITES).map(|site| narrowed(role, site));
        let mut held = held.filter_map(|role| Some((own_tenure(engine, &role)?, role)));
        let Some((tenure, role)) = held.next() else {
            return;
        };
        self.narrowed.last += 1;
        let own = InboxId(NARROWED_FIRST + self.narrowed.last);
        self.narrowed.present.insert((inbox, role.clone()), own);
        self.narrowed.tenures.insert(own, tenure);
        self.done(Observation::TookUp {
            inbox: own,
            role,
            tenure,
        });
        if replay > 0 {
            let (inbox, messages) = (own, replay);
            self.done(Observation::AsksForPast { inbox, messages });
        }
        self.see_narrowed();
    }

    /// It holds it no longer.
    pub(super) fn close_narrowed(&mut self, inbox: InboxId) {
        for own in of(&self.narrowed.present, inbox) {
            self.done(Observation::Dropped { inbox: own });
        }
        self.narrowed
            .present
            .retain(|(whole, _), _| *whole != inbox);
        self.see_narrowed();
    }

    /// From here on, once the engine has said what it had to say, these are the inboxes.
    fn see_narrowed(&mut self) {
        let present = self.narrowed.present.clone();
        self.said.push_back((self.asked, Said::Narrowed(present)));
        self.catch_up();
    }

    pub(super) fn now_narrowed(&mut self, present: Narrowed) {
        self.narrowed.seen = present;
    }

    /// The inboxes of narrowed roles that there are, and how they are held.
    pub(super) fn narrowed_tenures(&self) -> impl Iterator<Item = (InboxId, Tenure)> + '_ {
        let seen = self.narrowed.seen.values();
        seen.filter_map(|own| Some((*own, *self.narrowed.tenures.get(own)?)))
    }

    /// Into which inbox, as the ghost sees it, something of a flow comes.
    pub(super) fn seen_in(&self, inbox: InboxId, origin: Origin, flow: FlowId) -> InboxId {
        let role = self.watch.role_of(origin, flow);
        let own = role.and_then(|role| self.narrowed.seen.get(&(inbox, role)));
        own.copied().unwrap_or(inbox)
    }

    /// Into which inbox a gap comes; of what an inbox is told of a life of its node, those that only the ghost knows are told too.
    pub(super) fn gap_seen_in(&self, inbox: InboxId, gap: Gap) -> InboxId {
        match gap {
            Gap::Range { origin, flow, .. } => self.seen_in(inbox, origin, flow),
            Gap::DeclaredDown { .. } => {
                for inbox in of(&self.narrowed.seen, inbox) {
                    self.observe(Observation::Gapped { inbox, gap });
                }
                inbox
            }
        }
    }
}

/// Those of an inbox.
fn of(narrowed: &Narrowed, inbox: InboxId) -> Vec<InboxId> {
    let narrowed = narrowed.iter();
    let of_inbox = narrowed.filter(|((whole, _), _)| *whole == inbox);
    of_inbox.map(|(_, &own)| own).collect()
}
