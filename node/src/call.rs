//! Calls that await their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rolecast_membership::NodeId;
use rolecast_protocol::{Answer as EngineAnswer, CallId};
use tokio::sync::oneshot;

use crate::answers::Answer;
use crate::command::Command;
use crate::error::NotSent;
use crate::queue::Queue;
use crate::shared::{CallPermit, Shared};

/// What the driver keeps of an outstanding call.
pub(crate) struct CallSlot {
    pub(crate) state: Arc<CallState>,
    pub(crate) end: CallEnd,
    /// Counts the call as outstanding.
    pub(crate) _permit: CallPermit,
}

/// Where the end of a call goes.
pub(crate) enum CallEnd {
    /// To whoever called one holder.
    One(oneshot::Sender<Result<(Option<NodeId>, EngineAnswer), NotSent>>),
    /// To whoever asked all holders.
    Many {
        /// The answers, as they come.
        queue: Arc<Queue<Answer>>,
        /// Whether the request was sent.
        sent: Option<oneshot::Sender<Result<usize, NotSent>>>,
    },
}

impl CallSlot {
    /// The request went to so many holders.
    pub(crate) fn sent(&mut self, holders: usize) {
        if let CallEnd::Many { sent, .. } = &mut self.end
            && let Some(sent) = sent.take()
        {
            // Whoever asked may have gone.
            let _ = sent.send(Ok(holders));
        }
    }

    /// Nothing was sent.
    pub(crate) fn fail(self, why: NotSent) {
        match self.end {
            // Whoever called may have gone.
            CallEnd::One(end) => drop(end.send(Err(why))),
            CallEnd::Many { queue, sent } => {
                queue.close();
                if let Some(sent) = sent {
                    drop(sent.send(Err(why)));
                }
            }
        }
    }
}

/// How a caller and the driver name the same call, before and after the engine numbered it.
pub(crate) struct CallState {
    id: AtomicU64,
    cancelled: AtomicBool,
}

impl CallState {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(CallState {
            id: AtomicU64::new(UNNUMBERED),
            cancelled: AtomicBool::new(false),
        })
    }

    /// The engine gave the call this number.
    pub(crate) fn numbered(&self, id: CallId) {
        self.id.store(id.0, Ordering::Release);
    }

    /// The engine's number, if it has one.
    pub(crate) fn id(&self) -> Option<CallId> {
        match self.id.load(Ordering::Acquire) {
            UNNUMBERED => None,
            id => Some(CallId(id)),
        }
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

/// Cancels a call when it is dropped before its end.
pub(crate) struct CancelOnDrop {
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: Arc<CallState>,
    pub(crate) armed: bool,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.armed {
            self.state.cancelled.store(true, Ordering::Release);
            // A closed node has cancelled everything already.
            let _ = self.shared.submit(Command::Cancel {
                call: Arc::clone(&self.state),
            });
        }
    }
}

/// The engine's numbers never come this far.
const UNNUMBERED: u64 = u64::MAX;
