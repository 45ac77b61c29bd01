//! Who is sent what: the one place that knows how a multicast spreads.
//!
//! The origin sends to every member of the destination set, whatever the strategy.
//! A strategy says what a member does with what it received first: to whom it goes on at once, and whether it is kept for those who may miss it; everything else about a flow is the same for all strategies.
//!
//! `Digest` sends nothing on unasked and keeps (`retained.rs`, `engine/digest.rs`).
//!
//! `Eager` is the textbook's eager reliable broadcast (Cachin, Guerraoui, Rodrigues: "Introduction to Reliable and Secure Distributed Programming", 2011, algorithm 3.3), relative to the destination set instead of all processes, and without sending to those who must have the message already: its origin and whoever passed it on.

use rolecast_membership::NodeId;

use crate::mode::Dissemination;
use crate::wire::{DestMember, DestSet};

/// Whether a member keeps what it received for those who may miss it.
/// What somebody may wait for is kept by all members, however it spreads.
pub(crate) fn keeps(set: &DestSet) -> bool {
    set.mode.dissemination == Dissemination::Digest || set.mode.holds_back()
}

/// Whether a member passes on what it received first.
pub(crate) fn relays(set: &DestSet) -> bool {
    match set.mode.dissemination {
        Dissemination::Eager => true,
        Dissemination::Digest | Dissemination::BestEffort => false,
    }
}

/// The members to whom a batch that is passed on goes when `me` receives it first, from the node `from`.
pub(crate) fn on_first_receipt(
    set: &DestSet,
    me: NodeId,
    from: NodeId,
) -> impl Iterator<Item = &DestMember> {
    let others = [me, from, set.key.origin];
    set.members
        .iter()
        .filter(move |member| !others.contains(&member.node))
}
