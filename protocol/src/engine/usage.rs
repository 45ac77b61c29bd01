//! How much an engine keeps.

use super::Engine;
#[cfg(doc)]
use crate::config::Limits;

/// What is kept at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of one class kept for the peer for which most is kept.
    /// Bounded by [`Limits::session_bytes_max`], above which relayed batches are dropped, plus what this node's own flows may have on the way.
    pub session_bytes_max: usize,
    /// Bytes kept for all peers.
    pub session_bytes: usize,
    /// Bytes that came too early in the flow in which most did; bounded by [`Limits::flow_window_bytes`] and one batch.
    pub early_bytes_max: usize,
    /// Bytes kept for other members of the flow of which most are; bounded by twice [`Limits::flow_window_bytes`] and two batches.
    pub retained_bytes_max: usize,
    /// Bytes that the application was handed and has not taken, of the flow of which most are.
    /// Peers that mind the window keep it at [`Limits::flow_window_bytes`] and a batch; at four times that, no more is taken in.
    pub untaken_bytes_max: usize,
    /// Bytes kept for members that lag, of the flow of which most are; bounded by [`Limits::session_bytes_max`], or one message.
    pub kept_bytes_max: usize,
    /// Calls outstanding; bounded by [`Limits::calls_max`].
    pub calls: usize,
    /// Requests delivered and not answered; bounded by what the application holds.
    pub questions: usize,
    /// Flows received; bounded by 65,536, and beyond that by a quarter of them for each origin that announces its flows itself.
    pub flows: usize,
    /// Bytes of what peers said in the name of lives that nobody has vouched for yet; bounded by a quarter of [`Limits::session_bytes_max`] for each of these peers.
    pub parked_bytes: usize,
    /// Bytes of calls waiting in the inbox in which most wait; bounded by [`Limits::inbox_bytes_max`].
    pub inbox_bytes_max: usize,
}

impl Engine {
    /// How much is kept at this moment.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage {
            calls: self.calls.len(),
            questions: self.questions.len(),
            flows: self.flows_in.len(),
            parked_bytes: self.words.parked.bytes(),
            ..Usage::default()
        };
        for session in self.peers.sessions() {
            let bytes = session.bytes();
            usage.session_bytes += bytes;
            usage.session_bytes_max = usage.session_bytes_max.max(session.bytes_max());
        }
        for flow in self.flows_in.values() {
            usage.early_bytes_max = usage.early_bytes_max.max(flow.early_bytes());
            usage.retained_bytes_max = usage.retained_bytes_max.max(flow.retained.bytes());
            usage.untaken_bytes_max = usage.untaken_bytes_max.max(flow.untaken_bytes());
        }
        for flow in self.flows_out.values() {
            usage.kept_bytes_max = usage.kept_bytes_max.max(flow.kept_bytes());
        }
        for inbox in self.inboxes.values() {
            usage.inbox_bytes_max = usage.inbox_bytes_max.max(inbox.call_bytes);
        }
        usage
    }
}
