//! How reports call what a broken promise is about.

use rolecast_membership::{Epoch, RoleName};
use rolecast_protocol::{CallId, FlowId, Seq};

use crate::plan::Slot;

/// How reports call a process: its place, and for any but the first process at this place its number there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The place.
    pub slot: Slot,
    /// From 0.
    pub incarnation: u16,
}

/// How reports call a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageName {
    /// Who sent it.
    pub origin: Name,
    /// In which life.
    pub epoch: Epoch,
    /// In which flow.
    pub flow: FlowId,
    /// At which position.
    pub seq: Seq,
    /// To which role.
    pub role: RoleName,
}

/// How reports call a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallName {
    /// Who made it.
    pub caller: Name,
    /// Which of its calls.
    pub call: CallId,
}

/// What happened to a message that should have been delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Nothing.
    Missing,
    /// The inbox was told that it is lost.
    Gapped,
}
