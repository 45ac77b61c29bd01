//! Bugs that can be planted in every engine, by name.

use rolecast_protocol::Canary;

/// All of them.
pub const ALL: [Canary; 4] = [
    Canary::RelayForgotten,
    Canary::DuplicateDelivered,
    Canary::OrderIgnored,
    Canary::ResendForgotten,
];

/// The name of a bug, as it stands in a replay line.
#[must_use]
pub fn name(canary: Canary) -> String {
    format!("{canary:?}")
}

/// The bug with this name, whatever its case.
#[must_use]
pub fn named(text: &str) -> Option<Canary> {
    ALL.into_iter()
        .find(|&canary| name(canary).eq_ignore_ascii_case(text))
}
