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

/// What the loopback device has carried since the machine started, whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    /// Packets as the kernel counts them: several that are sent in one go are one.
    pub(crate) packets: u64,
}

impl Traffic {
    /// What it has carried so far; `None` where the kernel does not say.
    pub(crate) fn so_far() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/net/dev").ok()?)
    }

    fn parse(devices: &str) -> Option<Self> {
        let mut lines = devices.lines();
        let counted = lines.find_map(|line| line.trim_start().strip_prefix("lo:"))?;
        let mut numbers = counted.split_whitespace().map(str::parse);
        let bytes = numbers.next()?.ok()?;
        let packets = numbers.next()?.ok()?;
        Some(Traffic { bytes, packets })
    }

    /// What it has carried after `earlier`.
    pub(crate) fn since(self, earlier: Traffic) -> Traffic {
        Traffic {
            bytes: self.bytes.saturating_sub(earlier.bytes),
            packets: self.packets.saturating_sub(earlier.packets),
        }
    }
}

/// How many sockets this process has open; 0 where the kernel does not say.
pub(crate) fn open_sockets() -> u64 {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return 0;
    };
    let targets = open.flatten().filter_map(|fd| fd.path().read_link().ok());
    let sockets = targets.filter(|target| target.to_string_lossy().starts_with("socket:"));
    sockets.count() as u64
}

/// `CLOCK_MONOTONIC` in nanoseconds, which all processes of a machine share.
#[inline]
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_found_among_others() {
        let devices =
            "Inter-|   Receive\n face |bytes    packets\n  eth0: 1 2 3\n    lo: 1042 17 0 0\n";
        let traffic = Traffic::parse(devices);
        assert_eq!(
            traffic,
            Some(Traffic {
                bytes: 1_042,
                packets: 17
            })
        );
        assert_eq!(Traffic::parse("  eth0: 1 2 3\n"), None);
        assert_eq!(Traffic::parse("lo: many"), None);
    }
}
