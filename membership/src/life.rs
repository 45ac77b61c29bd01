//! A node's life as SWIM compares it.

use crate::{Epoch, Identity, NodeId};

/// An [`Identity`] for `foca`.
///
/// Two are equal if node and epoch are: the address is how a life is reached, not which life it is, and two readings of it must never make SWIM flap between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life(pub(crate) Identity);

impl Life {
    pub(crate) fn id(&self) -> NodeId {
        self.0.id
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.0.epoch
    }
}

impl PartialEq for Life {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id && self.0.epoch == other.0.epoch
    }
}

impl Eq for Life {}

impl foca::Identity for Life {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        let epoch = Epoch(self.0.epoch.0.checked_add(1)?);
        Some(Life(Identity { epoch, ..self.0 }))
    }

    fn addr(&self) -> NodeId {
        self.0.id
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.0.epoch > adversary.0.epoch
    }
}
