//! What went wrong, and how often.

/// What a transport has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Links announced.
    pub links_up: u64,
    /// Links ended.
    pub links_down: u64,
    /// Dials started.
    pub dials: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Incoming connections refused: another mesh, an expired certificate, a wrong protocol version, rubbish.
    pub refused: u64,
    /// Incoming connections turned away because too many were shaking hands.
    pub overloaded: u64,
    /// Links closed because the peer broke the framing.
    pub violations: u64,
    /// Connections closed because there was another one to the same node.
    pub duplicates: u64,
    /// Received datagrams dropped because the driver was too slow.
    pub datagrams_dropped: u64,
    /// Datagrams not sent because they were larger than the path takes.
    pub datagrams_oversized: u64,
}
