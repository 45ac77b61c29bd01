//! Commands that are ended together with everything that they started.
//!
//! To kill a shell leaves its children running.
//! So each command leads a process group of its own, which is what is killed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

/// The groups of the commands that run.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    leaders: Mutex<BTreeSet<Pid>>,
}

/// One command's group, which is ended when this is dropped before the command came to its own end.
#[derive(Debug)]
#[must_use = "dropping it ends the command"]
pub(crate) struct Group<'a> {
    groups: &'a Groups,
    leader: Option<Pid>,
}

impl Groups {
    /// A command was started that leads a group.
    pub(crate) fn started(&self, leader: &Child) -> Group<'_> {
        let id = leader.id().and_then(|id| i32::try_from(id).ok());
        let leader = id.map(Pid::from_raw);
        self.leaders().extend(leader);
        Group {
            groups: self,
            leader,
        }
    }

    /// Ends all of them.
    pub(crate) fn end_all(&self) {
        while let Some(leader) = self.leaders().pop_first() {
            end(leader);
        }
    }

    fn leaders(&self) -> MutexGuard<'_, BTreeSet<Pid>> {
        // A panic while the lock is held leaves a list that is still well-formed.
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group<'_> {
    /// The command came to its own end: what it left running may go on.
    pub(crate) fn leave(mut self) {
        if let Some(leader) = self.leader.take() {
            self.groups.leaders().remove(&leader);
        }
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        if let Some(leader) = self.leader
            && self.groups.leaders().remove(&leader)
        {
            end(leader);
        }
    }
}

/// Ends a group whose leader nobody has awaited, so that its number is no other's.
fn end(leader: Pid) {
    // A group that is gone needs no end.
    let _ = killpg(leader, Signal::SIGKILL);
}
