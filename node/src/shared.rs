//! What the driver and the handles share.
//!
//! Handles never touch the engine: they put commands, full outboxes and consumed tickets here and wake the driver, which takes everything that has gathered at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use rolecast_membership::{Epoch, Identity, NodeId, RoleName};
use rolecast_protocol::{Limits, Mode, SlowMembers, Ticket};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::command::Command;
use crate::error::{ClosedReason, NotSent};
use crate::outbox::Outbox;
use crate::role::Role;
use crate::upload::Upload;

pub(crate) struct Shared {
    pub(crate) id: NodeId,
    pub(crate) addr: SocketAddr,
    pub(crate) limits: Limits,
    epoch: AtomicU64,
    gate: Mutex<Gate>,
    closed: watch::Sender<Option<ClosedReason>>,
    /// Whether there are other nodes in the mesh.
    company: watch::Sender<bool>,
    calls: AtomicUsize,
    call_room: Semaphore,
    names: Mutex<Names>,
    me: Weak<Shared>,
}

/// What waits for the driver.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) commands: Vec<Command>,
    pub(crate) outboxes: Vec<Arc<Outbox>>,
    /// Large payloads of which chunks have gathered.
    pub(crate) uploads: Vec<Arc<Upload>>,
    pub(crate) tickets: Vec<Ticket>,
}

/// Where work is handed over.
#[derive(Default)]
struct Gate {
    work: Work,
    /// The driver, if it sleeps.
    driver: Option<Waker>,
    closed: bool,
}

/// One [`Role`] per role in use, one [`Outbox`] per role, mode and policy.
#[derive(Default)]
struct Names {
    roles: BTreeMap<RoleName, Weak<Role>>,
    /// Those of the names that are patterns.
    patterns: BTreeSet<RoleName>,
    outboxes: BTreeMap<(RoleName, Mode, SlowMembers), Arc<Outbox>>,
    /// Why no outbox takes anything any more, if so.
    closing: Option<ClosedReason>,
    /// When there are more than this, those that nobody uses are removed.
    prune_above: usize,
}

impl Shared {
    pub(crate) fn new(identity: Identity, limits: Limits) -> Arc<Self> {
        Arc::new_cyclic(|me| Shared {
            id: identity.id,
            addr: identity.addr,
            limits,
            epoch: AtomicU64::new(identity.epoch.0),
            gate: Mutex::default(),
            closed: watch::Sender::new(None),
            company: watch::Sender::new(false),
            calls: AtomicUsize::new(0),
            call_room: Semaphore::new(CALL_ROOM_BYTES),
            names: Mutex::default(),
            me: Weak::clone(me),
        })
    }

    /// The node's present life.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// The node goes on in another life.
    pub(crate) fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, Ordering::Release);
    }

    /// Hands a command to the driver.
    pub(crate) fn submit(&self, command: Command) -> Result<(), ClosedReason> {
        let mut gate = self.gate();
        if gate.closed {
            drop(gate);
            return Err(self.closed_reason());
        }
        gate.work.commands.push(command);
        wake(gate);
        Ok(())
    }

    /// Tells the driver that an outbox is no longer empty.
    pub(crate) fn schedule(&self, outbox: Arc<Outbox>) {
        let mut gate = self.gate();
        if !gate.closed {
            gate.work.outboxes.push(outbox);
            wake(gate);
        }
    }

    /// Has the driver take what gathered of a large payload.
    pub(crate) fn schedule_upload(&self, upload: Arc<Upload>) {
        let mut gate = self.gate();
        if !gate.closed {
            gate.work.uploads.push(upload);
            wake(gate);
        }
    }

    /// Gives a ticket back.
    pub(crate) fn consume(&self, ticket: Ticket) {
        let mut gate = self.gate();
        if !gate.closed {
            gate.work.tickets.push(ticket);
            wake(gate);
        }
    }

    /// Swaps everything that waits into `into`, which must be empty.
    pub(crate) fn poll_work(&self, cx: &mut Context<'_>, into: &mut Work) -> Poll<()> {
        debug_assert!(into.is_empty(), "what was taken before would be reordered");
        let mut gate = self.gate();
        if !gate.work.is_empty() {
            std::mem::swap(&mut gate.work, into);
            return Poll::Ready(());
        }
        match &mut gate.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// No outbox takes anything from here on; gives those whose flows are open, in a fixed order.
    pub(crate) fn refuse_multicasts(&self, reason: ClosedReason) -> Vec<Arc<Outbox>> {
        let mut names = self.names();
        names.closing.get_or_insert(reason);
        let outboxes: Vec<_> = names.outboxes.values().cloned().collect();
        drop(names);
        for outbox in &outboxes {
            outbox.refuse(NotSent::Closed(reason));
        }
        outboxes
    }

    /// Nothing is taken from here on; what waits is dropped, which fails the operations that wait for it.
    pub(crate) fn close(&self, reason: ClosedReason) {
        // The reason is published first: whoever finds the gate closed must find it.
        self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert(reason);
            first
        });
        let mut gate = self.gate();
        gate.closed = true;
        let dropped = std::mem::take(&mut gate.work);
        drop(gate);
        for command in dropped.commands {
            command.fail(reason);
        }
        self.call_room.close();
        for outbox in self.refuse_multicasts(reason) {
            outbox.close();
        }
        self.names().outboxes.clear();
    }

    /// Why the node is closed, or is about to be.
    pub(crate) fn closed_reason(&self) -> ClosedReason {
        self.closed.borrow().unwrap_or(ClosedReason::Transport)
    }

    pub(crate) fn watch_closed(&self) -> watch::Receiver<Option<ClosedReason>> {
        self.closed.subscribe()
    }

    /// The driver's word on whether there are other nodes in the mesh.
    pub(crate) fn set_company(&self, company: bool) {
        self.company
            .send_if_modified(|before| std::mem::replace(before, company) != company);
    }

    pub(crate) fn watch_company(&self) -> watch::Receiver<bool> {
        self.company.subscribe()
    }

    /// Counts a call as outstanding until the permit is dropped.
    pub(crate) fn begin_call(self: &Arc<Self>) -> Result<CallPermit, NotSent> {
        let max = self.limits.calls_max;
        let permit = CallPermit {
            shared: Arc::clone(self),
        };
        if self.calls.fetch_add(1, Ordering::Relaxed) >= max {
            return Err(NotSent::TooManyCalls { max });
        }
        Ok(permit)
    }

    /// Waits until the driver has room for a call with so large a payload, in turn.
    pub(crate) async fn reserve_call(
        &self,
        payload_bytes: usize,
    ) -> Result<SemaphorePermit<'_>, NotSent> {
        let cost = payload_bytes.clamp(1, CALL_ROOM_BYTES) as u32;
        let room = self.call_room.acquire_many(cost).await;
        room.map_err(|_| NotSent::Closed(self.closed_reason()))
    }

    /// The engine has taken calls that cost this much room.
    pub(crate) fn release_calls(&self, cost: usize) {
        self.call_room.add_permits(cost);
    }

    /// The longest payload of a multicast that travels in one piece.
    pub(crate) fn whole_bytes_max(&self) -> usize {
        let limits = &self.limits;
        limits.large_bytes_min.min(limits.payload_bytes_max)
    }

    /// Checks the length of a payload that travels in one piece.
    pub(crate) fn check_payload(&self, bytes: usize) -> Result<(), NotSent> {
        let max = self.limits.payload_bytes_max;
        if bytes > max {
            Err(NotSent::TooLarge { bytes, max })
        } else {
            Ok(())
        }
    }

    /// The states of this role, of the same narrowed and of the patterns that stand for it, as far as anybody uses them.
    pub(crate) fn roles_in_use(&self, name: &RoleName) -> Vec<Arc<Role>> {
        let names = self.names();
        // A narrowed role comes right behind the one that it narrows.
        let within = names.roles.range(name.clone()..);
        let within = within.take_while(|(role, _)| role.is_within(name));
        let patterns = names.patterns.iter().filter(|role| role.matches(name));
        let patterns = patterns.filter_map(|role| names.roles.get(role));
        let states = within.map(|(_, role)| role).chain(patterns);
        states.filter_map(Weak::upgrade).collect()
    }

    /// The one outbox for this role, mode and policy.
    pub(crate) fn outbox(&self, name: RoleName, mode: Mode, policy: SlowMembers) -> Arc<Outbox> {
        let mut names = self.names();
        names.prune();
        let role = names.role(&name);
        let create = || Arc::new(Outbox::new(role, mode, policy, Weak::clone(&self.me)));
        if let Some(reason) = names.closing {
            let outbox = create();
            outbox.refuse(NotSent::Closed(reason));
            outbox.close();
            return outbox;
        }
        let outbox = names.outboxes.entry((name, mode, policy));
        Arc::clone(outbox.or_insert_with(create))
    }

    // A panic while one of the locks is held leaves lists that are still well-formed.
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
            && self.outboxes.is_empty()
            && self.uploads.is_empty()
            && self.tickets.is_empty()
    }
}

/// Wakes the driver if it sleeps, after the lock was released so that it does not run into it.
fn wake(mut gate: MutexGuard<'_, Gate>) {
    let driver = gate.driver.take();
    drop(gate);
    if let Some(driver) = driver {
        driver.wake();
    }
}

impl Names {
    fn role(&mut self, name: &RoleName) -> Arc<Role> {
        if let Some(role) = self.roles.get(name).and_then(Weak::upgrade) {
            return role;
        }
        let role = Arc::new(Role::new(name.clone()));
        self.roles.insert(name.clone(), Arc::downgrade(&role));
        if name.is_pattern() {
            self.patterns.insert(name.clone());
        }
        role
    }

    /// Removes what nobody uses, at a cost that is constant per call on average.
    fn prune(&mut self) {
        if self.roles.len() <= self.prune_above.max(PRUNE_ABOVE_MIN) {
            return;
        }
        self.outboxes
            .retain(|_, outbox| Arc::strong_count(outbox) > 1 || outbox.is_open());
        self.roles.retain(|_, role| role.strong_count() > 0);
        let roles = &self.roles;
        self.patterns.retain(|pattern| roles.contains_key(pattern));
        self.prune_above = 2 * self.roles.len();
    }
}

/// One outstanding call.
pub(crate) struct CallPermit {
    shared: Arc<Shared>,
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        self.shared.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// So few names cost nothing to keep.
const PRUNE_ABOVE_MIN: usize = 64;
/// Bytes of calls that may wait for the driver.
const CALL_ROOM_BYTES: usize = 4 << 20;
