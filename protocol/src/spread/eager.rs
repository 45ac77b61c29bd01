//! The textbook's eager reliable broadcast (Cachin, Guerraoui, Rodrigues: "Introduction to Reliable and Secure Distributed Programming", 2011, algorithm 3.3), relative to the destination set instead of all processes, and without sending to those who must have the message already: its origin and whoever passed it on.

use super::{Audience, Keepers, Strategy};

/// See the module.
pub(crate) struct Eager;

impl Strategy for Eager {
    fn on_first_receipt(&self) -> Audience {
        Audience::All
    }

    fn on_pull(&self) -> Keepers {
        Keepers::Nobody
    }

    fn awaits_relays(&self) -> bool {
        true
    }
}
