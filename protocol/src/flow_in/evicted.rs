//! A flow whose origin goes on without this node, because it was too slow.

use std::time::Duration;

use rolecast_membership::Time;

use super::FlowIn;
use crate::wire::DestEvicted;

/// What is known of it.
#[derive(Debug)]
pub(super) struct EvictedIn {
    /// The last message that was meant for this node.
    upto: u64,
    since: Time,
    /// Whether the origin was asked to take this node back.
    asked: bool,
    /// Whether the origin keeps for this node what is the last of its key.
    lags: bool,
}

impl FlowIn {
    /// Nothing above `upto` is meant for this node; if it lags, it gets later what is kept for it of the messages that are known to exist, and of what follows.
    pub(crate) fn on_evicted(&mut self, now: Time, upto: u64, lags: Option<u64>) {
        let further = self.evicted.as_ref().is_some_and(|e| e.upto < upto);
        if self.evicted.is_none() || lags.is_some() && further {
            self.evicted = Some(EvictedIn {
                upto,
                since: now,
                asked: false,
                lags: lags.is_some(),
            });
            self.know_upto(now, lags.unwrap_or(upto));
        }
    }

    /// Whether the origin goes on without this node, for good.
    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.as_ref().is_some_and(|evicted| !evicted.lags)
    }

    /// Those that the origin goes on without and that may miss something which was meant for this node too.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = &DestEvicted> {
        let evicted = self.newest_dest_set().map(|known| &known.set.evicted[..]);
        let evicted = evicted.unwrap_or_default().iter();
        evicted.filter(|evicted| evicted.upto >= self.start || evicted.lags.is_some())
    }

    /// Whether what is missed first is kept for this node by nobody but the origin, because it lags.
    pub(crate) fn is_kept_by_origin(&self) -> bool {
        let lags = |evicted: &EvictedIn| evicted.lags && evicted.upto <= self.held();
        self.evicted.as_ref().is_some_and(lags)
    }

    /// Of the messages up to `upto` nothing more comes; gives what of them is missing before the next batch that is there, if anything is.
    pub(crate) fn leave_out(&mut self, now: Time, upto: u64) -> Option<(u64, u64)> {
        let early = self.early.first();
        let upto = early.map_or(upto, |(first, _)| upto.min(first - 1));
        let first = self.watermark + 1;
        if upto < first {
            return None;
        }
        self.watermark = upto;
        self.missing_since = None;
        self.know_upto(now, upto);
        Some((first, upto))
    }

    /// When missing messages are given up of a flow whose origin goes on without this node: what it had sent before has come, or was dropped on the way.
    pub(super) fn evicted_gives_up_at(&self, gap_after: Duration) -> Option<Time> {
        let evicted = self.evicted.as_ref().filter(|evicted| !evicted.lags)?;
        Some(self.missing_since?.max(evicted.since) + gap_after)
    }

    /// If the application has taken everything that it will get, and the origin was not asked yet to take this node back, gives the last message of that; notes that it is asked.
    pub(crate) fn take_rejoin(&mut self) -> Option<u64> {
        let taken = self.untaken.is_empty() && self.inbox.is_some();
        let evicted = self.evicted.as_mut()?;
        let done = taken && self.watermark >= evicted.upto && !evicted.asked;
        evicted.asked |= done;
        done.then_some(evicted.upto)
    }

    /// The origin takes this node back from message `start` on; gives what it will not get, from the first to the last, if it had gone on without it.
    pub(crate) fn on_readmitted(&mut self, start: u64) -> Option<(u64, u64)> {
        let evicted = self.evicted.as_ref()?;
        if start <= evicted.upto {
            return None;
        }
        let (lags, upto) = (evicted.lags, evicted.upto);
        self.evicted = None;
        if lags {
            // What it gets before that comes from the origin itself, and what it does not get is said in its place.
            return None;
        }
        let first = self.watermark + 1;
        if let Some(safety) = &mut self.safety {
            match self.watermark < upto {
                true => safety.restart(start),
                false => safety.pass_over(start),
            }
        }
        self.watermark = self.watermark.max(start - 1);
        self.early.clear();
        self.fresh = None;
        self.allowed = self.allowed.max(start - 1);
        self.known_upto = self.known_upto.max(start - 1);
        self.missing_since = None;
        self.acked = self.acked.max(start - 1);
        self.acked_directly = self.acked_directly.max(start - 1);
        Some((first, start - 1))
    }
}
