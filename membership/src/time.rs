//! Time as the pure crates know it.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time, in microseconds since an origin that the driver chose.
///
/// The pure crates never read a clock: whoever drives them says what time it is.
/// Time given to one instance must not go backwards.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Time = Time(0);

    /// The point `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Time(micros)
    }

    /// The point `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Time(millis.saturating_mul(1_000))
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` until this point, or zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The first point that is not before `now`, of this one and those that follow it at this distance.
    #[must_use]
    pub fn in_step(self, distance: Duration, now: Time) -> Time {
        let distance = u64::try_from(distance.as_micros()).unwrap_or(u64::MAX);
        let steps = now.0.saturating_sub(self.0).div_ceil(distance.max(1));
        Time(self.0.saturating_add(steps.saturating_mul(distance)))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, rhs: Duration) -> Time {
        let micros = u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(micros))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, rhs: Time) -> Duration {
        self.since(rhs)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_step_keeps_its_distance() {
        let step = |first, now| {
            let at = Time::from_micros(first).in_step(Duration::from_micros(10), Time(now));
            at.as_micros()
        };
        assert_eq!(
            [0, 5, 14, 15, 16].map(|now| step(5, now)),
            [5, 5, 15, 15, 25]
        );
    }
}
