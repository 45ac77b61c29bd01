//! The one place at which this crate reads a clock.
//!
//! It is tokio's, so that a paused runtime moves it.

use std::time::{Duration, SystemTime};

use rolecast_membership::Time;
use tokio::time::Instant;

/// Turns the runtime's clock into the engine's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Clock {
            origin: Instant::now(),
        }
    }

    pub(crate) fn now(self) -> Time {
        self.time(Instant::now())
    }

    pub(crate) fn time(self, instant: Instant) -> Time {
        let since = instant.saturating_duration_since(self.origin);
        Time::ZERO + since
    }

    /// The same point on the runtime's clock; a point that is too far away comes sooner.
    pub(crate) fn instant(self, time: Time) -> Instant {
        self.origin + time.since(Time::ZERO).min(TIMEOUT_MAX)
    }
}

/// When a timeout that starts at this moment ends.
pub(crate) fn deadline_in(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(TIMEOUT_MAX)
}

/// Milliseconds since 1970 by the wall clock; 0 if that lies ahead.
pub(crate) fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Ten years, which the runtime's clock can still add up.
const TIMEOUT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
