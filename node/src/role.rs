//! What is known of one role.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rolecast_membership::{NodeId, RoleName};
use tokio::sync::watch;

use crate::command::Command;
use crate::error::ClosedReason;
use crate::shared::Shared;

/// A role that some handle sends to or waits for, with its holders as the driver last saw them.
pub(crate) struct Role {
    pub(crate) name: RoleName,
    /// How many they are, for whoever has no time to look at the list.
    holders: AtomicUsize,
    list: watch::Sender<Option<Arc<[NodeId]>>>,
}

impl Role {
    pub(crate) fn new(name: RoleName) -> Self {
        Role {
            name,
            holders: AtomicUsize::new(NOT_FOLLOWED),
            list: watch::Sender::new(None),
        }
    }

    /// How many nodes hold the role; `None` if the driver was not asked yet.
    pub(crate) fn holders(&self) -> Option<usize> {
        match self.holders.load(Ordering::Acquire) {
            NOT_FOLLOWED => None,
            holders => Some(holders),
        }
    }

    /// The driver's word on which nodes hold the role, in the order of their ids.
    pub(crate) fn set_holders(&self, holders: Vec<NodeId>) {
        self.holders.store(holders.len(), Ordering::Release);
        self.list.send_if_modified(|list| {
            let changed = list.as_deref() != Some(&holders[..]);
            if changed {
                *list = Some(holders.into());
            }
            changed
        });
    }

    /// Has the driver keep the holders up to date; gives them as they change, `None` until the driver has looked.
    pub(crate) fn follow(
        self: &Arc<Self>,
        shared: &Shared,
    ) -> Result<watch::Receiver<Option<Arc<[NodeId]>>>, ClosedReason> {
        if self.holders().is_none() {
            shared.submit(Command::Follow {
                role: Arc::clone(self),
                done: None,
            })?;
        }
        Ok(self.list.subscribe())
    }

    /// Waits until at least `wanted` nodes hold the role, and says how many do.
    pub(crate) async fn wait_for(
        self: &Arc<Self>,
        shared: &Shared,
        wanted: usize,
    ) -> Result<usize, ClosedReason> {
        let mut list = self.follow(shared)?;
        let mut closed = shared.watch_closed();
        let enough =
            |list: &Option<Arc<[NodeId]>>| list.as_ref().is_some_and(|list| list.len() >= wanted);
        tokio::select! {
            biased;
            _ = closed.wait_for(Option::is_some) => Err(shared.closed_reason()),
            list = list.wait_for(enough) => {
                let list = list.expect("this role has the other end");
                Ok(list.as_ref().map_or(0, |list| list.len()))
            }
        }
    }
}

/// Stands for a number that nobody asked for.
const NOT_FOLLOWED: usize = usize::MAX;
