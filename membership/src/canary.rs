//! Bugs that can be planted in failure detection on purpose, to show that its report finds them.
//!
//! Each has its place in the code, one line with `planted!`, which is the constant `false` in builds without the feature `canaries`.

/// Whether this bug is planted in the memberships of this thread.
#[cfg(feature = "canaries")]
macro_rules! planted {
    ($bug:ident) => {
        crate::canary::is_planted(crate::canary::Canary::$bug)
    };
}

/// No bugs are planted in what people use.
#[cfg(not(feature = "canaries"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

pub(crate) use planted;

#[cfg(feature = "canaries")]
mod list {
    use std::cell::Cell;

    /// A bug that can be planted to show that a check finds it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Canary {
        /// A node that does badly gives its peers no more time.
        LocalHealthIgnored,
        /// A suspicion does not last longer for want of confirmations.
        SuspicionStartsShort,
        /// Confirmations do not make a suspicion shorter.
        ConfirmationsIgnored,
        /// A suspicion that is confirmed late comes true at once.
        ConfirmedAtOnce,
        /// A node that hears nobody accuses others as one that does.
        DeafAccuses,
    }

    thread_local! {
        static PLANTED: Cell<Option<Canary>> = const { Cell::new(None) };
    }

    /// Plants a bug, or none, in the memberships of this thread.
    pub fn plant(canary: Option<Canary>) {
        PLANTED.set(canary);
    }

    pub(crate) fn is_planted(canary: Canary) -> bool {
        PLANTED.get() == Some(canary)
    }
}

#[cfg(feature = "canaries")]
pub(crate) use list::is_planted;
#[cfg(feature = "canaries")]
pub use list::{Canary, plant};
