//! A flow whose origin goes on without this node, because it was too slow.

use std::time::Duration;

use rolecast_membership::Time;

use super::FlowIn;

/// What is known of it.
#[derive(Debug)]
pub(super) struct EvictedIn {
    /// The last message that was meant for this node.
    upto: u64,
    since: Time,
    /// Whether the origin was asked to take this node back.
    asked: bool,
}

impl FlowIn {
    /// Nothing above `upto` is meant for this node.
    pub(crate) fn on_evicted(&mut self, now: Time, upto: u64) {
        if self.evicted.is_none() {
            self.evicted = Some(EvictedIn {
                upto,
                since: now,
                asked: false,
            });
            self.know_upto(now, upto);
        }
    }

    /// Whether the origin goes on without this node.
    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.is_some()
    }

    /// When missing messages are given up of a flow whose origin goes on without this node: what it had sent before has come, or was dropped on the way.
    pub(super) fn evicted_gives_up_at(&self, gap_after: Duration) -> Option<Time> {
        let evicted = self.evicted.as_ref()?;
        Some(self.missing_since?.max(evicted.since) + gap_after)
    }

    /// Whether the application has taken everything that it will get, and the origin was not asked yet to take this node back; notes that it is.
    pub(crate) fn take_rejoin(&mut self) -> bool {
        let taken = self.untaken.is_empty() && self.inbox.is_some();
        let Some(evicted) = &mut self.evicted else {
            return false;
        };
        let done = taken && self.watermark >= evicted.upto && !evicted.asked;
        evicted.asked |= done;
        done
    }

    /// The origin takes this node back from message `start` on; gives what it will not get, from the first to the last, if it had gone on without it.
    pub(crate) fn on_readmitted(&mut self, start: u64) -> Option<(u64, u64)> {
        if start <= self.evicted.as_ref()?.upto {
            return None;
        }
        self.evicted = None;
        let first = self.watermark + 1;
        self.watermark = self.watermark.max(start - 1);
        self.early.clear();
        self.fresh = None;
        self.allowed = self.allowed.max(start - 1);
        if let Some(safety) = &mut self.safety {
            safety.restart(start);
        }
        self.known_upto = self.known_upto.max(start - 1);
        self.missing_since = None;
        self.acked = self.acked.max(start - 1);
        self.acked_directly = self.acked_directly.max(start - 1);
        Some((first, start - 1))
    }
}
