//! What went wrong, and how often.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a transport has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Links announced.
    pub links_up: u64,
    /// Links ended.
    pub links_down: u64,
    /// Dials started.
    pub dials: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Incoming connections refused: another mesh, an expired certificate, a wrong protocol version, rubbish.
    pub refused: u64,
    /// Incoming connections turned away because too many were shaking hands.
    pub overloaded: u64,
    /// Links closed because the peer broke the protocol.
    pub violations: u64,
    /// Connections closed because there was another one to the same node.
    pub duplicates: u64,
    /// Datagrams not sent because they were larger than the path takes.
    pub datagrams_oversized: u64,
}

/// Where it is counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) links_up: Count,
    pub(crate) links_down: Count,
    pub(crate) dials: Count,
    pub(crate) dials_failed: Count,
    pub(crate) refused: Count,
    pub(crate) overloaded: Count,
    pub(crate) violations: Count,
    pub(crate) duplicates: Count,
    pub(crate) datagrams_oversized: Count,
}

impl Tally {
    /// What has been counted so far.
    pub(crate) fn read(&self) -> Counters {
        Counters {
            links_up: self.links_up.read(),
            links_down: self.links_down.read(),
            dials: self.dials.read(),
            dials_failed: self.dials_failed.read(),
            refused: self.refused.read(),
            overloaded: self.overloaded.read(),
            violations: self.violations.read(),
            duplicates: self.duplicates.read(),
            datagrams_oversized: self.datagrams_oversized.read(),
        }
    }
}

/// One figure that only rises.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// One more.
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
