//! Figures of a run.

use std::time::Duration;

use rolecast_membership::Time;
use rolecast_protocol::Usage;
use serde::Serialize;

/// What one run amounted to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// Multicast messages accepted.
    pub messages: u64,
    /// Multicast messages put into inboxes.
    pub deliveries: u64,
    /// Calls accepted.
    pub calls: u64,
    /// Gaps put into inboxes.
    pub gaps: u64,
    /// Batches refused for want of room.
    pub refused_full: u64,
    /// Frames handed to links.
    pub frames: u64,
    /// Bytes of frames handed to links.
    pub frame_bytes: u64,
    /// Datagrams handed to links.
    pub datagrams: u64,
    /// Bytes of datagrams handed to links.
    pub datagram_bytes: u64,
    /// Bytes that travelled in the heads of data frames: who is meant by batches, and what else is said of them.
    pub data_head_bytes: u64,
    /// Bytes that travelled in the bodies of data frames.
    pub payload_bytes_sent: u64,
    /// Bytes of multicast payloads put into inboxes.
    pub payload_bytes_delivered: u64,
    /// Payload bytes sent for each payload byte delivered.
    pub payload_redundancy: f64,
    /// Frames handed to links for each message put into an inbox.
    pub frames_per_delivery: f64,
    /// Over how many links a message came that came over most; only at the level of engines.
    pub last_hop_max: u64,
    /// Bytes handed to links for each node.
    pub bytes_per_node: u64,
    /// From a multicast's acceptance to its deliveries.
    pub latency: Quantiles,
    /// From when everything worked again to when the mesh was at rest, in microseconds.
    pub recovery_us: u64,
    /// Most bytes that a node kept at one moment for a peer that had not acknowledged them.
    pub session_bytes_max: u64,
    /// Most bytes that a node kept at one moment of one flow for other members, should they miss something.
    pub retained_bytes_max: u64,
    /// When a node first held another one for down, in microseconds since the start, rightly or not.
    pub first_down_us: Option<u64>,
    /// Nodes declared down while they lived.
    pub renewals: u64,
    /// Events handled.
    pub events: u64,
    /// How long the run took in virtual time, in microseconds.
    pub virtual_us: u64,
    /// How long it took in real time, in microseconds; differs from run to run.
    pub wall_us: u64,
}

impl Statistics {
    /// An engine keeps so much at this moment.
    pub(crate) fn note_usage(&mut self, usage: &Usage) {
        let most = |most: &mut u64, bytes: usize| *most = (*most).max(bytes as u64);
        most(&mut self.session_bytes_max, usage.session_bytes_max);
        most(&mut self.retained_bytes_max, usage.retained_bytes_max);
    }

    /// A node held another one for down.
    pub(crate) fn note_down(&mut self, now: Time) {
        self.first_down_us.get_or_insert(now.as_micros());
    }
}

/// Quantiles in microseconds, exact to an eighth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50_us: u64,
    /// Nine of ten are at most this.
    pub p90_us: u64,
    /// Ninety-nine of a hundred are at most this.
    pub p99_us: u64,
    /// The greatest.
    pub max_us: u64,
}

/// Counts durations in buckets whose width grows with the duration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_us: u64,
}

/// Buckets for each doubling.
const STEPS: u64 = 8;

impl Histogram {
    pub(crate) fn add(&mut self, duration: Duration, times: u64) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(us);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += times;
        self.total += times;
        self.max_us = self.max_us.max(us);
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50_us: self.quantile(50),
            p90_us: self.quantile(90),
            p99_us: self.quantile(99),
            max_us: self.max_us,
        }
    }

    fn quantile(&self, percent: u64) -> u64 {
        let wanted = (self.total * percent).div_ceil(100);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|&count| {
            seen += count;
            seen >= wanted
        });
        bucket.map_or(0, |bucket| upper_end_of(bucket).min(self.max_us))
    }
}

fn bucket_of(us: u64) -> usize {
    let index = if us < STEPS {
        us
    } else {
        let doublings = u64::from(us.ilog2() - STEPS.ilog2());
        (doublings + 1) * STEPS + (us >> doublings) - STEPS
    };
    usize::try_from(index).expect("at most a few hundred buckets")
}

fn upper_end_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let doublings = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_an_eighth() {
        let mut histogram = Histogram::default();
        (1..=1_000).for_each(|us| histogram.add(Duration::from_micros(us), 1));
        let quantiles = histogram.quantiles();
        assert!((500..=563).contains(&quantiles.p50_us), "{quantiles:?}");
        assert!((900..=1_000).contains(&quantiles.p90_us), "{quantiles:?}");
        assert_eq!(quantiles.max_us, 1_000);
        assert_eq!(Histogram::default().quantiles(), Quantiles::default());
    }

    #[test]
    fn every_number_lies_within_its_bucket() {
        for us in (0..10_000).chain([u64::from(u32::MAX), 1 << 40]) {
            let bucket = bucket_of(us);
            assert!(us <= upper_end_of(bucket));
            assert!(bucket == 0 || us > upper_end_of(bucket - 1));
        }
    }
}
