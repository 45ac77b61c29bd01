//! What the ghost is told of a run with whole nodes, and what it says.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rolecast_membership::Time;
use rolecast_protocol::Engine;
use tokio::sync::Notify;

use super::network::Network;
use crate::check::{
    Bounds, Broken, Ghost, Observation, ProcessId, Recorded, Violation, check_usage,
};
use crate::scenario::Scenario;
use crate::statistics::{Histogram, Statistics};

/// Everything that was seen in a run; cheap to clone.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Inner>);

struct Inner {
    network: Network,
    seen: Mutex<Seen>,
    broken: Notify,
}

struct Seen {
    ghost: Ghost,
    bounds: Bounds,
    /// Whether each process has come to its end.
    ended: Vec<bool>,
    violation: Option<Violation>,
    sink: Option<Box<dyn Write + Send>>,
    record: Option<Vec<Recorded>>,
    statistics: Statistics,
    latencies: Histogram,
}

impl Watch {
    /// Watches the mesh of a scenario in which there are so many roles.
    ///
    /// Everything that the ghost is told is written to the sink, and kept if that is asked for.
    pub(crate) fn new(
        network: &Network,
        scenario: &Scenario,
        roles: usize,
        sink: Option<Box<dyn Write + Send>>,
        record: bool,
    ) -> Self {
        let limits = &scenario.limits;
        let ghost = Ghost::with_window(limits.flow_window_bytes).with_core(scenario.core.clone());
        Watch(Arc::new(Inner {
            network: network.clone(),
            seen: Mutex::new(Seen {
                ghost,
                bounds: Bounds::new(limits, roles),
                ended: Vec::new(),
                violation: None,
                sink,
                record: record.then(Vec::new),
                statistics: Statistics::default(),
                latencies: Histogram::default(),
            }),
            broken: Notify::new(),
        }))
    }

    /// Resolves when a promise is broken.
    pub(crate) async fn broken(&self) -> Violation {
        loop {
            if let Some(violation) = self.violation() {
                return violation;
            }
            self.0.broken.notified().await;
        }
    }

    /// The first promise that was broken.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.seen().violation.clone()
    }

    /// Tells the ghost.
    pub(crate) fn observe(&self, process: ProcessId, observation: Observation) {
        let now = self.0.network.now();
        let mut seen = self.seen();
        if seen.violation.is_some() || seen.ended.get(process.0 as usize) == Some(&true) {
            return;
        }
        if matches!(observation, Observation::Crashed | Observation::Left { .. }) {
            seen.ended[process.0 as usize] = true;
        }
        seen.note(now, process, &observation);
        match seen.ghost.observe(now, process, observation) {
            Ok(delivered) if delivered.messages > 0 => {
                seen.statistics.deliveries += delivered.messages;
                seen.statistics.payload_bytes_delivered += delivered.bytes;
                let latency = now.since(delivered.sent_at);
                seen.latencies.add(latency, delivered.messages);
            }
            Ok(_) => {}
            Err(violation) => {
                seen.violation = Some(violation);
                self.0.broken.notify_one();
            }
        }
    }

    /// A line for whoever reads along, if somebody does.
    pub(crate) fn line(&self, what: fmt::Arguments<'_>) {
        let now = self.0.network.now();
        if let Some(sink) = &mut self.seen().sink {
            // A reader who went away does not change the run.
            let _ = writeln!(sink, "{now} {what}");
        }
    }

    /// What the ghost was told, if that was asked for.
    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        self.seen().record.take().unwrap_or_default()
    }

    /// Says that a promise is broken that the ghost does not know.
    pub(crate) fn complain(&self, process: ProcessId, broken: Broken) {
        let at = self.0.network.now();
        let mut seen = self.seen();
        let node = seen.ghost.name(process);
        seen.violation.get_or_insert(Violation { at, node, broken });
        self.0.broken.notify_one();
    }

    /// Asks the ghost.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Ghost) -> T) -> T {
        question(&self.seen().ghost)
    }

    /// Figures of what was seen.
    pub(crate) fn statistics(&self) -> Statistics {
        let seen = self.seen();
        Statistics {
            latency: seen.latencies.quantiles(),
            ..seen.statistics.clone()
        }
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Statistics)) {
        count(&mut self.seen().statistics);
    }

    pub(crate) fn check_usage(&self, process: ProcessId, engine: &Engine) {
        let checked = check_usage(&engine.usage(), &self.seen().bounds);
        if let Err(broken) = checked {
            self.complain(process, broken);
        }
    }

    /// The next process; it has not ended.
    pub(crate) fn begin(&self) -> ProcessId {
        let mut seen = self.seen();
        seen.ended.push(false);
        ProcessId(u32::try_from(seen.ended.len() - 1).expect("few processes"))
    }

    /// The time since the start of the run.
    pub(crate) fn now(&self) -> Time {
        self.0.network.now()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn note(&mut self, at: Time, process: ProcessId, observation: &Observation) {
        if let Some(sink) = &mut self.sink {
            let name = self.ghost.name(process);
            let _ = writeln!(sink, "{at} {name:<5} {observation:?}");
        }
        if let Some(record) = &mut self.record {
            let observation = observation.clone();
            record.push(Recorded {
                at,
                process,
                observation,
            });
        }
    }
}
