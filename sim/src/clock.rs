//! A node's own clock, which may run too fast or too slow, and jump.

use std::time::Duration;

use rolecast_membership::Time;

/// How one node's clock runs; by default as the run's time does.
///
/// It never goes back, as the clocks by which deadlines are kept never do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Since when it runs as it does, in the run's time.
    since: Time,
    /// What it showed then.
    shown: Time,
    /// By how many microseconds a second it runs too fast.
    ppm: i32,
}

impl Clock {
    /// What it shows at this moment of the run's time.
    #[must_use]
    pub fn at(&self, now: Time) -> Time {
        if self.ppm == 0 {
            return self.shown + now.since(self.since);
        }
        let passed_us = now.since(self.since).as_micros();
        let shown_us = passed_us * self.rate() / MILLION;
        Time::from_micros(self.shown.as_micros().saturating_add(clamped(shown_us)))
    }

    /// The first moment of the run's time at which it shows at least this.
    #[must_use]
    pub fn when(&self, shown: Time) -> Time {
        if self.ppm == 0 {
            return self.since + shown.since(self.shown);
        }
        let wanted_us = shown.since(self.shown).as_micros();
        let passed_us = (wanted_us * MILLION).div_ceil(self.rate());
        self.since + Duration::from_micros(clamped(passed_us))
    }

    /// From now on it runs so much faster than before.
    pub(crate) fn hasten(&mut self, now: Time, ppm: i32) {
        *self = Clock {
            since: now,
            shown: self.at(now),
            ppm: self.ppm.saturating_add(ppm),
        };
    }

    /// It jumps ahead.
    pub(crate) fn jump(&mut self, now: Time, by: Duration) {
        *self = Clock {
            since: now,
            shown: self.at(now) + by,
            ppm: self.ppm,
        };
    }

    /// Microseconds shown in a second; a clock never stands still.
    fn rate(&self) -> u128 {
        let rate = MILLION.saturating_add_signed(i128::from(self.ppm));
        rate.max(MILLION / 10)
    }
}

const MILLION: u128 = 1_000_000;

fn clamped(us: u128) -> u64 {
    u64::try_from(us).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_runs_with_the_run_unless_told_otherwise() {
        let clock = Clock::default();
        let now = Time::from_micros(123_456_789);
        assert_eq!((clock.at(now), clock.when(now)), (now, now));
    }

    #[test]
    fn drifts_and_jumps_add_up_and_nothing_goes_back() {
        let mut clock = Clock::default();
        clock.hasten(Time::from_millis(1_000), 100_000);
        assert_eq!(clock.at(Time::from_millis(2_000)), Time::from_millis(2_100));
        clock.jump(Time::from_millis(2_000), Duration::from_secs(5));
        assert_eq!(clock.at(Time::from_millis(2_000)), Time::from_millis(7_100));
        clock.hasten(Time::from_millis(3_000), -100_000);
        assert_eq!(clock.at(Time::from_millis(4_000)), Time::from_millis(9_200));
        assert_eq!(
            clock.when(Time::from_millis(9_200)),
            Time::from_millis(4_000)
        );
        let mut before = Time::ZERO;
        for us in (4_000_000..5_000_000).step_by(997) {
            let shown = clock.at(Time::from_micros(us));
            assert!(shown >= before);
            assert!(clock.at(clock.when(shown)) >= shown);
            before = shown;
        }
    }
}
