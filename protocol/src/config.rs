//! What an engine starts with, and the bounds of what it keeps.

use std::net::SocketAddr;
use std::time::Duration;

use rolecast_membership::{Profile, Record};

use crate::batch::BATCH_BYTES_FULL;
#[cfg(feature = "canaries")]
use crate::canary::Canary;

/// What an engine starts with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's own record; its identity is the node's identity.
    pub record: Record,
    /// Addresses at which some other node may be found.
    pub seeds: Vec<SocketAddr>,
    /// How patient failure detection is.
    pub profile: Profile,
    /// The bounds of everything that is kept.
    pub limits: Limits,
    /// A bug to plant, for tests of the checks.
    #[cfg(feature = "canaries")]
    pub canary: Option<Canary>,
}

impl Config {
    /// A configuration without planted bugs.
    #[must_use]
    pub fn new(record: Record, seeds: Vec<SocketAddr>, profile: Profile, limits: Limits) -> Self {
        Config {
            record,
            seeds,
            profile,
            limits,
            #[cfg(feature = "canaries")]
            canary: None,
        }
    }
}

/// The bounds of everything that is kept.
///
/// ```
/// # use rolecast_protocol::Limits;
/// // Small messages only, and no more than 256 KiB on the way to a slow holder.
/// let limits = Limits { payload_bytes_max: 64 << 10, flow_window_bytes: 256 << 10, ..Limits::default() };
/// assert!(limits.payload_bytes_max < limits.flow_window_bytes);
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest payload that travels in one piece, in bytes: of a call, and of one chunk of a large payload.
    pub payload_bytes_max: usize,
    /// From this length on, in bytes, a multicast's payload travels as a large one, on a stream of its own and in chunks.
    /// The engine leaves it to its driver to send it so.
    pub large_bytes_min: usize,
    /// The longest large payload that this node takes, in bytes; what is longer is refused as soon as that is known.
    pub large_bytes_max: u64,
    /// Bytes of a flow that its origin may have on the way before every live member has acknowledged them; one more message goes as long as they are not used up.
    /// The least of what the origin and every member allow counts.
    pub flow_window_bytes: usize,
    /// Bytes of one class, data or bulk, kept for one peer until it has acknowledged them.
    pub session_bytes_max: usize,
    /// Bytes of each flow that are kept, the last ones that were sent, for those who take up its role later and ask for them; nothing, by default.
    /// One who asks gets no more of them than half of its window.
    pub replay_bytes: usize,
    /// Bytes of one class handed to the transport for one link and not yet taken on by it.
    pub link_bytes_max: usize,
    /// Links that are kept although nobody uses them: of more, those rest that have been idle longest, and come back when something is to be sent.
    /// There is no limit, by default.
    pub links_max: usize,
    /// For how long a link has to be idle before it may rest; if messages wake it soon after that, for twice as long the next time, and so on up to sixteen times.
    pub link_idle: Duration,
    /// Bytes of calls that wait in one inbox.
    pub inbox_bytes_max: usize,
    /// Calls that this node may have outstanding.
    pub calls_max: usize,
    /// How long a receiver waits for a missing message of an origin that is gone before it says `Gap`.
    pub gap_after: Duration,
    /// How long what is known of a dead origin's flows is kept.
    pub forget_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            payload_bytes_max: 16 << 20,
            large_bytes_min: 64 << 10,
            large_bytes_max: 4 << 30,
            flow_window_bytes: 4 << 20,
            session_bytes_max: 64 << 20,
            replay_bytes: 0,
            link_bytes_max: 1 << 20,
            links_max: usize::MAX,
            link_idle: Duration::from_secs(2),
            inbox_bytes_max: 64 << 20,
            calls_max: 65_536,
            gap_after: Duration::from_secs(10),
            forget_after: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// The most bytes of one batch: the largest payload, or small ones that were gathered.
    ///
    /// ```
    /// # use rolecast_protocol::Limits;
    /// assert!(Limits::default().batch_bytes_max() > Limits::default().payload_bytes_max);
    /// ```
    #[must_use]
    pub fn batch_bytes_max(&self) -> usize {
        self.payload_bytes_max.max(2 * BATCH_BYTES_FULL) + 32
    }

    /// The same, with room for one message, or one link, where there would be room for none.
    pub(crate) fn at_least_one_message(self) -> Self {
        Limits {
            flow_window_bytes: self.flow_window_bytes.max(1),
            link_bytes_max: self.link_bytes_max.max(1),
            // A node without a link has nobody who tells it news.
            links_max: self.links_max.max(1),
            ..self
        }
    }
}
