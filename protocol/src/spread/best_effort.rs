//! Best-effort broadcast (Cachin, Guerraoui, Rodrigues, 2011, algorithm 3.1): the origin sends to all, and nobody does anything for anybody else.

use super::{Keepers, Strategy};

/// See the module.
pub(crate) struct BestEffort;

impl Strategy for BestEffort {
    fn on_pull(&self) -> Keepers {
        Keepers::Nobody
    }

    fn agrees(&self) -> bool {
        false
    }
}
