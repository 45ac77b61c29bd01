//! What is known of one role.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rolecast_membership::RoleName;
use tokio::sync::Notify;

use crate::command::Command;
use crate::error::ClosedReason;
use crate::shared::Shared;

/// A role that some handle sends to or waits for, with the number of its holders as the driver last saw it.
pub(crate) struct Role {
    pub(crate) name: RoleName,
    holders: AtomicUsize,
    changed: Notify,
}

impl Role {
    pub(crate) fn new(name: RoleName) -> Self {
        Role {
            name,
            holders: AtomicUsize::new(NOT_FOLLOWED),
            changed: Notify::new(),
        }
    }

    /// How many nodes hold the role; `None` if the driver was not asked yet.
    pub(crate) fn holders(&self) -> Option<usize> {
        match self.holders.load(Ordering::Acquire) {
            NOT_FOLLOWED => None,
            holders => Some(holders),
        }
    }

    /// The driver's word on how many nodes hold the role.
    pub(crate) fn set_holders(&self, holders: usize) {
        self.holders.store(holders, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Waits until at least `wanted` nodes hold the role, and says how many do.
    pub(crate) async fn wait_for(
        self: &Arc<Self>,
        shared: &Shared,
        wanted: usize,
    ) -> Result<usize, ClosedReason> {
        if self.holders().is_none() {
            shared.submit(Command::Follow {
                role: Arc::clone(self),
            })?;
        }
        let mut closed = shared.watch_closed();
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.holders() {
                Some(holders) if holders >= wanted => return Ok(holders),
                _ => {}
            }
            tokio::select! {
                biased;
                _ = closed.wait_for(Option::is_some) => return Err(shared.closed_reason()),
                () = changed => {}
            }
        }
    }
}

/// The driver was not asked for the number of holders yet.
const NOT_FOLLOWED: usize = usize::MAX;
