//! What a node counts, through the `metrics` facade.
//!
//! The handles are made when the node starts, so a recorder has to be installed before that; without one, to count costs nothing.

use metrics::{Counter, Gauge, counter, gauge};
use rolecast_membership::NodeId;

pub(crate) struct Counters {
    /// Multicasts, counted once however many holders there are.
    pub(crate) messages_sent: Counter,
    /// Bytes of these multicasts.
    pub(crate) bytes_sent: Counter,
    /// Messages put into inboxes.
    pub(crate) messages_delivered: Counter,
    /// Bytes of these messages.
    pub(crate) bytes_delivered: Counter,
    /// Multicasts of other nodes passed on, counted for every holder to which they went.
    pub(crate) messages_relayed: Counter,
    /// Anycasts, unicasts and requests made, a request to all counted once.
    pub(crate) calls: Counter,
    /// Batches that had to wait for the slowest holder.
    pub(crate) full: Counter,
    /// Gaps put into inboxes.
    pub(crate) gaps: Counter,
    /// Links open.
    pub(crate) links: Gauge,
    /// Dials that failed.
    pub(crate) dials_failed: Counter,
    /// Connections refused by this node.
    pub(crate) refused: Counter,
    /// Peers that broke the protocol.
    pub(crate) violations: Counter,
    /// Live members, this node included.
    pub(crate) members: Gauge,
}

impl Counters {
    pub(crate) fn new(node: NodeId) -> Self {
        let node = node.to_string();
        Counters {
            messages_sent: counter!("rolecast_messages_sent_total", "node" => node.clone()),
            bytes_sent: counter!("rolecast_bytes_sent_total", "node" => node.clone()),
            messages_delivered: counter!("rolecast_messages_delivered_total", "node" => node.clone()),
            bytes_delivered: counter!("rolecast_bytes_delivered_total", "node" => node.clone()),
            messages_relayed: counter!("rolecast_messages_relayed_total", "node" => node.clone()),
            calls: counter!("rolecast_calls_total", "node" => node.clone()),
            full: counter!("rolecast_window_full_total", "node" => node.clone()),
            gaps: counter!("rolecast_gaps_total", "node" => node.clone()),
            links: gauge!("rolecast_links", "node" => node.clone()),
            dials_failed: counter!("rolecast_dials_failed_total", "node" => node.clone()),
            refused: counter!("rolecast_connections_refused_total", "node" => node.clone()),
            violations: counter!("rolecast_violations_total", "node" => node.clone()),
            members: gauge!("rolecast_members", "node" => node),
        }
    }
}
