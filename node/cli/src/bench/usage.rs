//! What a process has used, and what time it is.

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What a process has used since it started.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Processor time, in user and system mode, in microseconds.
    pub(crate) cpu_us: u64,
    /// The most memory that it had resident, in KiB.
    pub(crate) peak_rss_kb: u64,
}

impl Usage {
    /// What this process has used so far.
    pub(crate) fn of_this_process() -> Result<Self, Failure> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)
            .map_err(|error| Failure::failed(format!("processor time cannot be read: {error}")))?;
        let times = [usage.user_time(), usage.system_time()];
        let cpu_us = times
            .iter()
            .map(|time| time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_usec().unsigned_abs())
            .sum();
        Ok(Usage {
            cpu_us,
            peak_rss_kb: usage.max_rss().unsigned_abs(),
        })
    }

    /// What was used after `earlier`.
    pub(crate) fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu_us: self.cpu_us - earlier.cpu_us,
            ..self
        }
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds, which all processes of a machine share.
#[inline]
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
}
