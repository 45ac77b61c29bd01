//! A large payload on its way from the program that sends it to the engine.
//!
//! What gathers here is bounded by a semaphore of bytes, whose permits come back when the engine has taken a chunk; so the window of the payload's flow holds the program back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use rolecast_membership::NodeId;
use rolecast_protocol::FlowId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::error::{ClosedReason, CutShort, NotSent};
use crate::outcomes::HolderOutcome;

pub(crate) struct Upload {
    pub(crate) length: Option<u64>,
    flow: OnceLock<FlowId>,
    room: Semaphore,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    chunks: VecDeque<Bytes>,
    /// Whether anything was ever appended.
    any: bool,
    /// Whether it is all of it, once no more is appended.
    end: Option<bool>,
    /// Whether the driver knows that there is something to take.
    scheduled: bool,
    /// The driver is announcing it, or has.
    begun: bool,
    /// The engine has taken the end, or takes nothing more.
    taken: bool,
    fate: Fate,
    /// To how many holders it was announced.
    members: usize,
    lost: Vec<(NodeId, HolderOutcome)>,
    refused: Vec<NodeId>,
    evicted: Vec<NodeId>,
    /// The place that it takes up among those of its channel, until it is over.
    _place: Option<OwnedSemaphorePermit>,
}

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    UnderWay,
    /// Every holder has all of it, or is named.
    Over,
    /// It was not announced.
    NotSent(NotSent),
    /// It was announced, and the node ended before it was over.
    Closed(ClosedReason),
}

/// How a large payload ended at its holders.
pub(crate) struct Ends {
    pub(crate) members: usize,
    pub(crate) lost: Vec<(NodeId, HolderOutcome)>,
    pub(crate) refused: Vec<NodeId>,
    pub(crate) evicted: Vec<NodeId>,
}

impl Ends {
    /// What became of it at one of the holders.
    pub(crate) fn of(&self, node: NodeId) -> HolderOutcome {
        let lost = self.lost.iter().find(|(lost, _)| *lost == node);
        match lost {
            Some(&(_, how)) => how,
            None if self.refused.contains(&node) => HolderOutcome::TooLarge,
            None if self.evicted.contains(&node) => HolderOutcome::Evicted,
            None => HolderOutcome::Acknowledged,
        }
    }
}

/// What the driver is to hand to the engine next.
pub(crate) enum Next {
    Chunk(Bytes),
    End { complete: bool },
}

impl Upload {
    pub(crate) fn new(length: Option<u64>, place: OwnedSemaphorePermit) -> Self {
        Upload {
            length,
            flow: OnceLock::new(),
            room: Semaphore::new(ROOM_BYTES),
            state: Mutex::new(State {
                chunks: VecDeque::new(),
                any: false,
                end: None,
                scheduled: false,
                begun: false,
                taken: false,
                fate: Fate::UnderWay,
                members: 0,
                lost: Vec::new(),
                refused: Vec::new(),
                evicted: Vec::new(),
                _place: Some(place),
            }),
            changed: Notify::new(),
        }
    }

    /// Waits for room and appends a chunk of at most [`CHUNK_BYTES_MAX`] bytes; says whether the driver has to be told, or `None` if nobody takes any more.
    pub(crate) async fn push(&self, chunk: Bytes) -> Option<bool> {
        let bytes = chunk.len().min(ROOM_BYTES) as u32;
        let room = self.room.acquire_many(bytes).await.ok()?;
        let mut state = self.lock();
        if state.taken {
            return None;
        }
        // The driver gives it back when the engine has taken the chunk.
        room.forget();
        state.chunks.push_back(chunk);
        state.any = true;
        Some(!std::mem::replace(&mut state.scheduled, true))
    }

    /// Appends nothing more; says whether the driver has to be told.
    pub(crate) fn end(&self, complete: bool) -> bool {
        let mut state = self.lock();
        if state.end.is_some() || state.taken {
            return false;
        }
        if !complete {
            // What is cut short is so at once.
            let dropped = std::mem::take(&mut state.chunks);
            let bytes = dropped
                .iter()
                .map(|chunk| chunk.len().min(ROOM_BYTES))
                .sum();
            self.room.add_permits(bytes);
        }
        state.end = Some(complete);
        !std::mem::replace(&mut state.scheduled, true)
    }

    /// The driver looks at what there is.
    pub(crate) fn unschedule(&self) {
        self.lock().scheduled = false;
    }

    /// What is to be handed to the engine next; it stays there until that has taken it.
    pub(crate) fn next(&self) -> Option<Next> {
        let state = self.lock();
        if state.taken {
            return None;
        }
        match state.chunks.front() {
            Some(chunk) => Some(Next::Chunk(chunk.clone())),
            None => state.end.map(|complete| Next::End { complete }),
        }
    }

    /// The engine has taken the chunk.
    pub(crate) fn chunk_taken(&self) {
        let chunk = self.lock().chunks.pop_front();
        let bytes = chunk.map_or(0, |chunk| chunk.len().min(ROOM_BYTES));
        self.room.add_permits(bytes);
    }

    /// The engine has taken the end, or takes nothing more.
    pub(crate) fn all_taken(&self) {
        let mut state = self.lock();
        state.taken = true;
        state.chunks.clear();
        drop(state);
        self.room.close();
        self.changed.notify_waiters();
    }

    /// The driver is about to announce it; says whether it still should.
    pub(crate) fn begin(&self) -> bool {
        let mut state = self.lock();
        // What broke off before it began is not worth announcing.
        state.begun = state.any || state.end != Some(false);
        state.begun
    }

    /// The engine had no room for the announcement.
    pub(crate) fn put_off(&self) {
        self.lock().begun = false;
    }

    /// Appends nothing more, as with [`Upload::end`]; says whether it was announced, or may have been.
    pub(crate) fn cut(&self) -> (bool, bool) {
        let tell = self.end(false);
        let state = self.lock();
        (tell, state.begun || state.any)
    }

    /// It was announced to so many, and is this flow from here on.
    pub(crate) fn announced(&self, flow: FlowId, members: usize) {
        self.lock().members = members;
        // There is one announcement.
        let _ = self.flow.set(flow);
    }

    pub(crate) fn flow(&self) -> Option<FlowId> {
        self.flow.get().copied()
    }

    /// Whether the engine has its end, or takes nothing more.
    pub(crate) fn is_taken(&self) -> bool {
        self.lock().taken
    }

    pub(crate) fn lost(&self, node: NodeId, why: HolderOutcome) {
        self.lock().lost.push((node, why));
    }

    pub(crate) fn refused(&self, node: NodeId) {
        self.lock().refused.push(node);
    }

    pub(crate) fn evicted(&self, node: NodeId) {
        self.lock().evicted.push(node);
    }

    /// Every holder has all of it, or is named.
    pub(crate) fn over(&self) {
        self.settle(Fate::Over);
    }

    /// It will not be announced.
    pub(crate) fn not_sent(&self, why: NotSent) {
        self.settle(Fate::NotSent(why));
    }

    /// The node ends.
    pub(crate) fn close(&self, reason: ClosedReason) {
        self.settle(match self.flow() {
            Some(_) => Fate::Closed(reason),
            None => Fate::NotSent(NotSent::Closed(reason)),
        });
    }

    fn settle(&self, fate: Fate) {
        let mut state = self.lock();
        if state.fate == Fate::UnderWay {
            state.fate = fate;
        }
        state._place = None;
        drop(state);
        self.all_taken();
    }

    /// How many chunks the engine has not taken.
    pub(crate) fn chunks_left(&self) -> usize {
        self.lock().chunks.len()
    }

    /// Waits until the engine has taken all of it, or nobody takes any more.
    pub(crate) async fn wait_taken(&self) -> Result<(), Broke> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let state = self.lock();
                match &state.fate {
                    Fate::NotSent(why) => return Err(Broke::NotSent(why.clone())),
                    Fate::Closed(reason) => return Err(Broke::CutShort((*reason).into())),
                    Fate::UnderWay | Fate::Over if state.taken => return Ok(()),
                    Fate::UnderWay | Fate::Over => {}
                }
            }
            changed.await;
        }
    }

    /// Waits until it is over.
    pub(crate) async fn wait_over(&self) -> Result<Ends, Option<ClosedReason>> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let state = self.lock();
                match &state.fate {
                    Fate::Over => {
                        return Ok(Ends {
                            members: state.members,
                            lost: state.lost.clone(),
                            refused: state.refused.clone(),
                            evicted: state.evicted.clone(),
                        });
                    }
                    Fate::Closed(reason) => return Err(Some(*reason)),
                    Fate::NotSent(_) => return Err(None),
                    Fate::UnderWay => {}
                }
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is well-formed at every point.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a large payload did not go out.
pub(crate) enum Broke {
    NotSent(NotSent),
    CutShort(CutShort),
    /// There was no room for as long as its channel waits.
    Stalled,
}

/// An announcement on its way to the engine; if it is dropped on the way, the payload was not sent.
pub(crate) struct Announcement(pub(crate) Arc<Upload>);

impl Drop for Announcement {
    fn drop(&mut self) {
        if self.0.flow().is_none() {
            self.0.not_sent(NotSent::Closed(ClosedReason::Shutdown));
        }
    }
}

/// What may gather of one payload.
const ROOM_BYTES: usize = 8 * CHUNK_BYTES_MAX;
/// The length of the chunks into which a payload is cut, if the window has room for several of them.
pub(crate) const CHUNK_BYTES_MAX: usize = 64 << 10;
