//! The one place at which this crate reads a clock.
//!
//! It is tokio's, so that a paused runtime moves it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rolecast_membership::Time;
use tokio::time::Instant;

use crate::simulation::OwnClock;

/// Turns the runtime's clock into the engine's.
#[derive(Clone)]
pub(crate) struct Clock {
    origin: Instant,
    /// What a simulated node takes for the time.
    own: Option<Arc<dyn OwnClock>>,
}

impl Clock {
    pub(crate) fn start(own: Option<Arc<dyn OwnClock>>) -> Self {
        let now = Instant::now();
        let origin = own.as_ref().map_or(now, |own| own.shown(now));
        Clock { origin, own }
    }

    pub(crate) fn now(&self) -> Time {
        self.time(Instant::now())
    }

    pub(crate) fn time(&self, instant: Instant) -> Time {
        let shown = (self.own.as_ref()).map_or(instant, |own| own.shown(instant));
        Time::ZERO + shown.saturating_duration_since(self.origin)
    }

    /// The same point on the runtime's clock; a point that is too far away comes sooner.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        let shown = self.origin + time.since(Time::ZERO).min(TIMEOUT_MAX);
        self.own.as_ref().map_or(shown, |own| own.when(shown))
    }

    /// Whether the engine's deadlines come at other times than when [`Clock::instant`] was asked.
    pub(crate) fn was_set(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.was_set())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
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
