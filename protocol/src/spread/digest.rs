//! Spreading by reference: the origin sends to all, members say what they have and fetch what they miss (`retained.rs`, `engine/digest.rs`).

use super::{Keepers, Strategy};

/// See the module.
pub(crate) struct Digest;

impl Strategy for Digest {
    fn on_pull(&self) -> Keepers {
        Keepers::Members
    }
}
