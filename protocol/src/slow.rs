//! What a flow does when a member does not take what was sent to it.

use std::time::Duration;

use crate::mode::Mode;

/// What a flow does when a member keeps its window shut.
///
/// ```
/// # use std::time::Duration;
/// # use rolecast_protocol::SlowMembers;
/// /// Whether a sender may have to wait for a member.
/// fn waits(slow: SlowMembers) -> bool {
///     !matches!(slow, SlowMembers::KeepLast)
/// }
/// assert!(waits(SlowMembers::default()));
/// assert!(waits(SlowMembers::Evict { after: Duration::from_secs(1) }), "though not for ever");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlowMembers {
    /// It takes nothing more until that member has taken something.
    #[default]
    Wait,
    /// It goes on without that member.
    Evict {
        /// After the window was shut for so long.
        after: Duration,
    },
    /// It goes on at once, and keeps for that member the last message of each key, which the member gets when it has taken what it has.
    KeepLast,
}

impl SlowMembers {
    /// Whether a flow with this mode may do so.
    ///
    /// Where something may be left out, nothing may depend on it or come in another order.
    pub(crate) fn goes_with(self, mode: Mode) -> bool {
        self != SlowMembers::KeepLast || mode.is_plain()
    }
}
