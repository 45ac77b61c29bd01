//! Where a channel's multicasts gather until the driver takes them.
//!
//! This is the sender's hot path: to append a message takes one lock that is held for a copy of the payload, and no allocation.
//! The driver is woken when the outbox goes from empty to non-empty; whatever gathers until it comes travels as one batch, so that the load itself decides how large batches are.
//! A semaphore of bytes bounds what gathers: its permits come back when the engine has taken the batch, so that a full window holds the senders back, in the order in which they came.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use rolecast_membership::NodeId;
use rolecast_protocol::{
    BATCH_BYTES_FULL, Batch, BatchBuilder, FlowId, LARGE_OPEN_MAX, Mode, SINGLE_BYTES_MIN, Seq,
    SlowMembers,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::call::CallSlot;
use crate::command::Command;
use crate::error::{ClosedReason, NotSent};
use crate::role::Role;
use crate::settlement::Settlement;
use crate::shared::Shared;
use crate::upload::{Announcement, Upload};

pub(crate) struct Outbox {
    pub(crate) role: Arc<Role>,
    pub(crate) mode: Mode,
    pub(crate) policy: SlowMembers,
    pub(crate) settlement: Settlement,
    /// The driver and what it shares with the handles.
    node: Weak<Shared>,
    room: Semaphore,
    /// One permit for each large payload that may be on its way.
    larges: Arc<Semaphore>,
    /// How many wait for one.
    larges_awaited: AtomicUsize,
    open: AtomicBool,
    /// Whether the driver was asked to open the flow by one who does not wait for it.
    opening: AtomicBool,
    /// Who keeps the window shut, if it is.
    slowest: Mutex<Option<NodeId>>,
    flow: OnceLock<FlowId>,
    gathered: Mutex<Gathered>,
}

/// What the driver takes out of an outbox, in order.
pub(crate) struct Parcel {
    pub(crate) content: Content,
    /// The room it takes up, in bytes, to be released when the engine has taken it.
    pub(crate) cost: usize,
}

pub(crate) enum Content {
    /// Messages.
    Batch(Batch),
    /// A request to all holders.
    Gather(Gather),
    /// The place of a large payload.
    Large(Announcement),
}

/// A request to all holders.
pub(crate) struct Gather {
    pub(crate) payload: Bytes,
    pub(crate) deadline: Instant,
    pub(crate) slot: CallSlot,
}

struct Gathered {
    /// Why nothing is taken any more, if so.
    refused: Option<NotSent>,
    parcels: VecDeque<Parcel>,
    builder: BatchBuilder,
    /// The room that the messages in the builder take up.
    builder_cost: usize,
    /// The position of the message appended last.
    last: u64,
    /// Whether the driver knows that there is something to take.
    scheduled: bool,
}

impl Outbox {
    pub(crate) fn new(
        role: Arc<Role>,
        mode: Mode,
        policy: SlowMembers,
        node: Weak<Shared>,
    ) -> Self {
        Outbox {
            role,
            mode,
            policy,
            settlement: Settlement::default(),
            node,
            room: Semaphore::new(ROOM_BYTES),
            larges: Arc::new(Semaphore::new(LARGE_OPEN_MAX)),
            larges_awaited: AtomicUsize::new(0),
            open: AtomicBool::new(false),
            opening: AtomicBool::new(false),
            slowest: Mutex::new(None),
            flow: OnceLock::new(),
            gathered: Mutex::new(Gathered {
                refused: None,
                parcels: VecDeque::new(),
                builder: BatchBuilder::new(),
                builder_cost: 0,
                last: 0,
                scheduled: false,
            }),
        }
    }

    /// Has the driver say which holder has acknowledged how much, as long as anybody wants to know.
    pub(crate) fn follow_acknowledgements(self: &Arc<Self>) {
        if let Some(node) = self.node.upgrade() {
            let outbox = Arc::clone(self);
            // A node that is closed learns nothing more, which the settlement says.
            let _ = node.submit(Command::FollowAcknowledgements { outbox });
        }
    }

    /// Whether the driver has opened the flow.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Notes that the driver is asked to open the flow; says whether it was not before.
    pub(crate) fn begin_opening(&self) -> bool {
        !self.opening.swap(true, Ordering::AcqRel)
    }

    /// Who keeps the window shut, as the driver last saw it.
    pub(crate) fn slowest(&self) -> Option<NodeId> {
        *self.slowest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver's word on who keeps the window shut.
    pub(crate) fn set_slowest(&self, slowest: Option<NodeId>) {
        *self.slowest.lock().unwrap_or_else(PoisonError::into_inner) = slowest;
    }

    /// Makes room for a payload, if there is some at once.
    pub(crate) fn try_reserve(&self, payload_bytes: usize) -> Option<SemaphorePermit<'_>> {
        self.room.try_acquire_many(cost(payload_bytes)).ok()
    }

    /// Waits for room for a payload, in turn.
    pub(crate) async fn reserve(
        &self,
        payload_bytes: usize,
    ) -> Result<SemaphorePermit<'_>, NotSent> {
        match self.room.acquire_many(cost(payload_bytes)).await {
            Ok(permit) => Ok(permit),
            Err(_) => Err(self.failure()),
        }
    }

    /// Appends a message for which there is room; gives its position in the flow.
    #[inline]
    pub(crate) fn push(
        self: &Arc<Self>,
        shared: &Shared,
        (payload, key): (&Bytes, &Bytes),
        room: SemaphorePermit<'_>,
    ) -> Result<Seq, NotSent> {
        let keeps_last = self.policy == SlowMembers::KeepLast;
        let key = if keeps_last {
            key.clone()
        } else {
            Bytes::new()
        };
        let mut gathered = self.lock();
        if let Some(why) = &gathered.refused {
            return Err(why.clone());
        }
        if payload.len() >= SINGLE_BYTES_MIN {
            gathered.seal();
            let content = Content::Batch(Batch::single(payload.clone(), None).keyed(key));
            gathered.parcels.push_back(Parcel {
                content,
                cost: room.num_permits(),
            });
        } else {
            gathered.builder.push_keyed(payload, key);
            gathered.builder_cost += room.num_permits();
            if gathered.builder.len_bytes() >= BATCH_BYTES_FULL {
                gathered.seal();
            }
        }
        Ok(self.appended(shared, gathered, room))
    }

    /// Appends a request to all holders, for which there is room.
    pub(crate) fn push_gather(
        self: &Arc<Self>,
        shared: &Shared,
        payload: Bytes,
        deadline: Instant,
        slot: CallSlot,
        room: SemaphorePermit<'_>,
    ) -> Result<Seq, NotSent> {
        let mut gathered = self.lock();
        if let Some(why) = &gathered.refused {
            return Err(why.clone());
        }
        gathered.seal();
        let content = Content::Gather(Gather {
            payload,
            deadline,
            slot,
        });
        gathered.parcels.push_back(Parcel {
            content,
            cost: room.num_permits(),
        });
        Ok(self.appended(shared, gathered, room))
    }

    /// Waits until there may be one more large payload on its way.
    pub(crate) async fn place_for_large(
        self: &Arc<Self>,
        shared: &Shared,
    ) -> Result<OwnedSemaphorePermit, NotSent> {
        if let Ok(place) = Arc::clone(&self.larges).try_acquire_owned() {
            return Ok(place);
        }
        self.larges_awaited.fetch_add(1, Ordering::AcqRel);
        let _awaited = Awaited(&self.larges_awaited);
        // Whoever is to blame may have to be gone on without.
        shared.submit(Command::AwaitLarge {
            outbox: Arc::clone(self),
        })?;
        let place = Arc::clone(&self.larges).acquire_owned().await;
        place.map_err(|_| self.failure())
    }

    /// Whether somebody waits until there may be one more large payload on its way.
    pub(crate) fn is_awaited_by_large(&self) -> bool {
        self.larges_awaited.load(Ordering::Acquire) > 0
    }

    /// Appends the announcement of a large payload, for which there is room.
    pub(crate) fn push_large(
        self: &Arc<Self>,
        shared: &Shared,
        upload: &Arc<Upload>,
        room: SemaphorePermit<'_>,
    ) -> Result<Seq, NotSent> {
        let mut gathered = self.lock();
        if let Some(why) = &gathered.refused {
            return Err(why.clone());
        }
        gathered.seal();
        let content = Content::Large(Announcement(Arc::clone(upload)));
        gathered.parcels.push_back(Parcel {
            content,
            cost: room.num_permits(),
        });
        Ok(self.appended(shared, gathered, room))
    }

    fn appended(
        self: &Arc<Self>,
        shared: &Shared,
        mut gathered: MutexGuard<'_, Gathered>,
        room: SemaphorePermit<'_>,
    ) -> Seq {
        // The driver gives it back when the engine has taken the message.
        room.forget();
        gathered.last += 1;
        let seq = Seq(gathered.last);
        let wake = !std::mem::replace(&mut gathered.scheduled, true);
        drop(gathered);
        if wake {
            shared.schedule(Arc::clone(self));
        }
        seq
    }

    /// Takes everything out, in order.
    pub(crate) fn take(&self, into: &mut VecDeque<Parcel>) {
        let mut gathered = self.lock();
        gathered.scheduled = false;
        gathered.seal();
        into.append(&mut gathered.parcels);
    }

    /// The engine has taken messages that cost this much room.
    pub(crate) fn release(&self, cost: usize) {
        self.room.add_permits(cost);
    }

    /// The driver opened the flow.
    pub(crate) fn opened(&self, flow: FlowId) {
        // Whoever sees the outbox open finds the flow.
        let _ = self.flow.set(flow);
        if self.check().is_ok() {
            self.open.store(true, Ordering::Release);
        }
    }

    /// The flow of the engine, once it is open.
    pub(crate) fn flow(&self) -> Option<FlowId> {
        self.flow.get().copied()
    }

    /// Takes nothing from here on, and tells whoever waits why; what was taken before stays.
    pub(crate) fn refuse(&self, why: NotSent) {
        let mut gathered = self.lock();
        gathered.refused.get_or_insert(why);
        drop(gathered);
        self.open.store(false, Ordering::Release);
        self.room.close();
        self.larges.close();
    }

    /// Drops what was not sent, and tells whoever waits for acknowledgements that none will come.
    pub(crate) fn close(&self) {
        let mut gathered = self.lock();
        gathered.seal();
        let dropped = std::mem::take(&mut gathered.parcels);
        drop(gathered);
        drop(dropped);
        self.settlement.close();
    }

    /// Why nothing can be sent, if so.
    pub(crate) fn check(&self) -> Result<(), NotSent> {
        match &self.lock().refused {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    /// Why the node is closed, once it is.
    pub(crate) fn closed_reason(&self) -> ClosedReason {
        match self.check() {
            Err(NotSent::Closed(reason)) => reason,
            _ => ClosedReason::Shutdown,
        }
    }

    fn failure(&self) -> NotSent {
        self.check().err().unwrap_or(NotSent::Full)
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        // A panic while the lock is held can only have come from an allocation, which leaves the lists well-formed.
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits, as long as it does.
struct Awaited<'a>(&'a AtomicUsize);

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gathered {
    /// Closes the batch that is being built.
    fn seal(&mut self) {
        if let Some(batch) = self.builder.take() {
            let cost = std::mem::take(&mut self.builder_cost);
            self.parcels.push_back(Parcel {
                content: Content::Batch(batch),
                cost,
            });
        }
    }
}

/// The room that one message takes up; a large one takes all of it, but no more.
fn cost(payload_bytes: usize) -> u32 {
    (payload_bytes + MESSAGE_OVERHEAD_BYTES).min(ROOM_BYTES) as u32
}

/// What may gather in one outbox: four full batches, so that one can be built while others are sent, and so that QUIC gets enough at once to fill what it hands to the kernel in one go, which with two is only half as much.
const ROOM_BYTES: usize = 4 * BATCH_BYTES_FULL;
/// What a message costs beyond its payload, so that empty messages are bounded too.
const MESSAGE_OVERHEAD_BYTES: usize = 8;
