//! How long things may take.

use std::time::Duration;

/// From the first packet of a connection until it is a link, at either end.
pub(crate) const SETUP: Duration = Duration::from_secs(5);
/// How long a link that is being closed may take to send what is queued.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
/// How long a peer that has finished its streams may take to close the connection.
pub(crate) const CLOSE_AFTER_FINISH: Duration = Duration::from_secs(5);
/// How long a closing transport waits for its peers to hear of it, after its links have lingered.
pub(crate) const DRAIN: Duration = Duration::from_secs(2);
/// How long a connection stays up without hearing anything.
pub(crate) const IDLE: Duration = Duration::from_secs(10);
/// How long a connection is silent before it sends a sign of life.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(3);
