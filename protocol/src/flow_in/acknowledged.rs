//! What the origin may be told that this member needs no more: taken by the program, and passed on.

use rolecast_membership::RoleName;

use super::{FlowIn, RelayedBatch};
use crate::api::InboxId;
use crate::canary::planted;
use crate::large::{Incoming, Stage};

impl FlowIn {
    /// Nothing from this message on is acknowledged: it was not taken.
    pub(crate) fn refuse_from(&mut self, first: u64) {
        self.ack_limit = self.ack_limit.min(first - 1);
    }

    /// The application has been handed these messages and will say when it has taken them.
    pub(crate) fn await_taking(&mut self, first: u64, last: u64, bytes: usize) {
        self.untaken.push(first, last, bytes);
    }

    /// The application has taken messages up to here.
    pub(crate) fn on_taken(&mut self, upto: u64, bytes: usize) {
        match self.delivers_early() {
            true => self.untaken.take_one(upto, bytes),
            false => self.untaken.take_upto(upto, bytes),
        }
        self.unacked_bytes += bytes;
    }

    /// Messages go to this inbox from here on, or to none.
    pub(crate) fn bind(&mut self, role: &RoleName, inbox: Option<InboxId>) {
        if inbox.is_none() {
            self.close_inbox();
            return;
        }
        self.inbox = inbox;
        self.role.get_or_insert_with(|| role.clone());
        // What was refused stays refused, whatever the origin says before it hears of that.
        let is_open = |large: &Incoming| large.stage == Stage::Open;
        if self.large.as_ref().is_none_or(is_open) {
            self.ack_limit = u64::MAX;
        }
    }

    /// Nobody will take what the application was handed.
    pub(crate) fn close_inbox(&mut self) {
        self.ack_limit = self.ack_limit.min(self.taken());
        self.inbox = None;
        self.untaken.clear();
    }

    /// The role that it is sent to, if this node has held it.
    pub(crate) fn role(&self) -> Option<&RoleName> {
        self.role.as_ref()
    }

    /// Where messages go.
    pub(crate) fn inbox(&self) -> Option<InboxId> {
        self.inbox
    }

    /// The last message before the first one that the application has not taken.
    pub(super) fn taken(&self) -> u64 {
        if planted!(AckBeforeTaken) {
            return self.watermark;
        }
        let first = match self.delivers_early() {
            true => self.untaken.least(),
            false => self.untaken.first(),
        };
        // Of a flow without order, more may have been delivered than is complete.
        let furthest = self.early.last_upto(u64::MAX);
        let complete = match furthest.filter(|_| planted!(AckOverHole)) {
            Some((_, early)) if self.delivers_early() => early.last,
            _ => self.watermark,
        };
        first.map_or(complete, |first| complete.min(first - 1))
    }

    /// A first receipt was passed on to so many peers, whose acknowledgement is awaited.
    pub(crate) fn await_relays(&mut self, first: u64, last: u64, peers: u32) {
        if peers > 0 {
            self.relays.insert(
                last,
                RelayedBatch {
                    first,
                    waiting: peers,
                },
            );
        }
    }

    /// One peer has acknowledged, or will not acknowledge, the batch that ends here.
    pub(crate) fn on_relayed(&mut self, upto: u64) {
        if let Some(relay) = self.relays.get_mut(&upto) {
            relay.waiting = relay.waiting.saturating_sub(1);
            if relay.waiting == 0 {
                self.relays.remove(&upto);
            }
        }
    }

    /// How far the origin may be told that this member needs nothing more: what the application has taken and what every linked peer has been passed.
    pub(crate) fn acknowledgeable(&self) -> u64 {
        let taken = self.taken().min(self.ack_limit);
        let relayed = self
            .relays
            .first_key_value()
            .map_or(u64::MAX, |(_, relay)| relay.first - 1);
        taken.min(relayed).max(self.acked)
    }

    /// Notes what the origin is about to be told; gives it if it is news.
    pub(crate) fn take_acknowledgement(&mut self) -> Option<u64> {
        let upto = self.acknowledgeable();
        (upto > self.acked).then(|| {
            self.acked = upto;
            self.unacked_bytes = 0;
            upto
        })
    }

    /// What the origin was last told.
    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }
}
