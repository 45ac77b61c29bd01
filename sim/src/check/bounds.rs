//! Bounds: no queue of an engine ever passes its limit.

use rolecast_protocol::{LARGE_OPEN_MAX, Limits, Usage};

use crate::workload::MODES;

use super::violation::Broken;

/// How far each queue of an engine may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    session_bytes: usize,
    early_bytes: usize,
    retained_bytes: usize,
    untaken_bytes: usize,
    kept_bytes: usize,
    calls: usize,
    flows: usize,
    inbox_bytes: usize,
    link_bytes: usize,
}

impl Bounds {
    /// The bounds of an engine with these limits, in a run with so many roles.
    #[must_use]
    pub fn new(limits: &Limits, roles: usize) -> Self {
        // A flow takes one more batch as long as its window is not full; each role has a flow for each mode that workloads draw.
        let batch_bytes_max = limits.payload_bytes_max + BATCH_BYTES_MORE;
        // Of large payloads there are several for each flow, in a lane of their own.
        let own_flows =
            (limits.flow_window_bytes + batch_bytes_max) * MODES * roles * LARGE_OPEN_MAX;
        Bounds {
            session_bytes: limits.session_bytes_max + batch_bytes_max + own_flows,
            early_bytes: limits.flow_window_bytes + batch_bytes_max,
            retained_bytes: 2 * (limits.flow_window_bytes + limits.batch_bytes_max()),
            // Whoever catches up with a flow may have what follows on top.
            untaken_bytes: 2 * (limits.flow_window_bytes + batch_bytes_max),
            kept_bytes: limits.session_bytes_max + batch_bytes_max,
            calls: limits.calls_max,
            flows: FLOWS_MAX,
            inbox_bytes: limits.inbox_bytes_max,
            // Of its own and of what is others' as much each may wait there, and one frame more of each.
            link_bytes: 2 * (limits.link_bytes_max + batch_bytes_max),
        }
    }
}

/// Compares what the transport was handed for one link, and has not taken on, with what it may be.
///
/// # Errors
/// The bound is passed.
pub fn check_link(used: usize, bounds: &Bounds) -> Result<(), Broken> {
    let limit = bounds.link_bytes;
    if used <= limit {
        return Ok(());
    }
    let what = "bytes handed to the transport for one link";
    Err(Broken::Bound { what, used, limit })
}

/// Compares what is kept with what may be.
///
/// # Errors
/// The first bound that is passed.
pub fn check_usage(usage: &Usage, bounds: &Bounds) -> Result<(), Broken> {
    let queues = [
        (
            "bytes kept for one peer",
            usage.session_bytes_max,
            bounds.session_bytes,
        ),
        (
            "bytes that came too early in one flow",
            usage.early_bytes_max,
            bounds.early_bytes,
        ),
        (
            "bytes kept for other members of one flow",
            usage.retained_bytes_max,
            bounds.retained_bytes,
        ),
        (
            "bytes of one flow that the application has not taken",
            usage.untaken_bytes_max,
            bounds.untaken_bytes,
        ),
        (
            "bytes kept for members that lag behind one flow",
            usage.kept_bytes_max,
            bounds.kept_bytes,
        ),
        ("calls outstanding", usage.calls, bounds.calls),
        ("flows received", usage.flows, bounds.flows),
        (
            "bytes of calls in one inbox",
            usage.inbox_bytes_max,
            bounds.inbox_bytes,
        ),
    ];
    match queues.into_iter().find(|(_, used, limit)| used > limit) {
        Some((what, used, limit)) => Err(Broken::Bound { what, used, limit }),
        None => Ok(()),
    }
}

/// What an engine keeps although every program has taken what came, and every call has ended.
///
/// What is kept for others is not looked at: who is gone may be known to some and not to all, and what is kept then goes with the flow.
#[must_use]
pub fn left_over(usage: &Usage) -> Option<&'static str> {
    let kept = [
        (
            "messages count as not taken that were",
            usage.untaken_bytes_max,
        ),
        ("calls count as open that have ended", usage.calls),
        // All calls are over, and every holder that did not answer heard of it.
        (
            "a holder believes that an answer of its is awaited, and it is not",
            usage.questions,
        ),
        (
            "calls count as waiting in an inbox that were taken",
            usage.inbox_bytes_max,
        ),
    ];
    let (what, _) = kept.into_iter().find(|(_, used)| *used > 0)?;
    Some(what)
}

/// What a batch may have above its largest payload: small messages are gathered up to this.
pub(crate) const BATCH_BYTES_MORE: usize = 64 << 10;
/// The most flows that an engine receives.
const FLOWS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_allowed_and_one_more_is_not() {
        let limits = Limits {
            calls_max: 3,
            ..Limits::default()
        };
        let bounds = Bounds::new(&limits, 1);
        let usage = |calls| Usage {
            calls,
            ..Usage::default()
        };
        assert_eq!(check_usage(&usage(3), &bounds), Ok(()));
        let broken = Broken::Bound {
            what: "calls outstanding",
            used: 4,
            limit: 3,
        };
        assert_eq!(check_usage(&usage(4), &bounds), Err(broken));
        assert_eq!(left_over(&usage(0)), None);
        assert_eq!(
            left_over(&usage(1)),
            Some("calls count as open that have ended")
        );
        assert_eq!(check_link(bounds.link_bytes, &bounds), Ok(()));
        assert!(check_link(bounds.link_bytes + 1, &bounds).is_err());
    }
}
