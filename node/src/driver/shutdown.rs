//! How a node ends.
//!
//! A shutdown has three steps: what gathered in the outboxes is handed to the engine, as are the answers that wait for room; the engine waits until it is acknowledged, and the farewell goes out as the links close.
//! When its patience is over it goes on to the last step.

use std::time::Duration;

use rolecast_membership::Time;

use super::Driver;
use crate::error::ClosedReason;
use crate::members::{MeshEvent, tell};
use crate::simulation::Sight;

/// Where a node stands between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes work.
    Running,
    /// What gathered in the outboxes, and answers that wait for room, are handed over, until this time at the latest.
    Emptying { reason: ClosedReason, until: Time },
    /// What was sent is being acknowledged, until this time at the latest.
    Draining { reason: ClosedReason, until: Time },
    /// Nothing is left to wait for.
    Over(ClosedReason),
}

impl Phase {
    /// Why the node is closed, or is being closed.
    pub(super) fn reason(self) -> Option<ClosedReason> {
        match self {
            Phase::Running => None,
            Phase::Emptying { reason, .. }
            | Phase::Draining { reason, .. }
            | Phase::Over(reason) => Some(reason),
        }
    }
}

impl Driver {
    pub(super) fn begin_shutdown(&mut self, reason: ClosedReason, patience: Duration) {
        if self.phase != Phase::Running {
            return;
        }
        tracing::info!(%reason, "the node is shutting down");
        let until = self.now + patience;
        self.phase = Phase::Emptying { reason, until };
        for outbox in self.shared.refuse_multicasts(reason) {
            self.send_outbox(&outbox);
        }
    }

    pub(super) fn on_drained(&mut self) {
        if let Phase::Draining { reason, .. } = self.phase {
            self.phase = Phase::Over(reason);
        }
    }

    /// When the patience of a shutdown is over.
    pub(super) fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Emptying { until, .. } | Phase::Draining { until, .. } => Some(until),
            Phase::Running | Phase::Over(_) => None,
        }
    }

    /// Goes on with a shutdown; gives the reason when nothing is left to wait for.
    pub(super) fn finished(&mut self) -> Option<ClosedReason> {
        if let Phase::Emptying { reason, until } = self.phase
            && self.flows.is_empty()
            && self.uploads.are_taken()
            && self.calls.are_answered()
        {
            self.phase = Phase::Draining { reason, until };
            self.engine.drain(self.now);
            self.carry_out();
        }
        if self.deadline().is_some_and(|until| until <= self.now) {
            tracing::warn!("not everything was acknowledged before the patience was over");
            self.phase = Phase::Over(self.closing_reason());
        }
        match self.phase {
            Phase::Over(reason) => Some(reason),
            _ => None,
        }
    }

    /// Says farewell, unless another process goes on with this node's key, and closes.
    pub(super) async fn stop(&mut self, reason: ClosedReason) {
        let left = !matches!(reason, ClosedReason::Superseded { .. });
        if left {
            self.engine.leave(self.now);
            self.carry_out();
        }
        self.witnessed.saw(&self.engine, || Sight::Ended { left });
        self.close_transport().await;
        tracing::info!(%reason, "the node is closed");
        self.close_everything(reason);
    }

    /// Fails what waits, and ends every inbox and watcher.
    pub(super) fn close_everything(&mut self, reason: ClosedReason) {
        self.shared.close(reason);
        self.calls.close(&self.engine, reason);
        self.inboxes.close(reason);
        self.downloads.close_all();
        self.uploads.close(reason);
        for queue in std::mem::take(&mut self.watchers) {
            tell(&queue, MeshEvent::Closed(reason));
            queue.close();
        }
    }

    /// Why the engine refuses new work.
    pub(super) fn closing_reason(&self) -> ClosedReason {
        self.phase.reason().unwrap_or(ClosedReason::Shutdown)
    }
}
