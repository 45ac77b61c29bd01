//! The program on one node, on the public library: it asks for what the workload says, and takes and answers what comes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rolecast::{
    Channel, CutShort, Inbox, InboxItem, LargeMessage, Message, Node, NodeId, NotSent, Pick,
    RegisterError, SendError,
};
use rolecast_membership::RoleName;
use rolecast_protocol::{Mode, Origin};
use tokio::sync::{Notify, oneshot};

use super::journal::{Entry, Journal};
use super::process::Process;
use super::watch::Watch;
use crate::application::payload;
use crate::check::{Broken, ProcessId};
use crate::probe::Probe;
use crate::random::Stream;
use crate::workload::{Ask, Choice, RoleIndex};

/// The program on one node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Program(Arc<Inner>);

struct Inner {
    id: ProcessId,
    node: Node,
    process: Process,
    watch: Watch,
    journal: Journal,
    pace: Pace,
    /// How many of its tasks have something to do.
    busy: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    stream: Stream,
    /// To drop the inboxes of roles that it holds.
    held: BTreeMap<RoleName, oneshot::Sender<()>>,
    /// To give up calls that are outstanding, the oldest first.
    calls: VecDeque<Arc<Notify>>,
    /// Requests that it never answers.
    unanswered: Vec<Message>,
}

/// How fast a program takes what comes, in microseconds.
#[derive(Clone, Copy)]
struct Pace {
    low_us: u64,
    high_us: u64,
    /// How many of a thousand takings are followed by a long pause.
    pauses: u32,
}

/// Counts a task as busy until it is dropped.
struct Busy(Program);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Program {
    /// The program on this node; it takes what is broadcast from the start.
    pub(crate) fn start(
        (id, node, process): (ProcessId, Node, Process),
        watch: &Watch,
        journal: &Journal,
        mut stream: Stream,
    ) -> Self {
        let (low_us, high_us) = *stream.pick(&[(1, 50), (1, 5_000), (200, 50_000)]);
        let pauses = *stream.pick(&[0, 0, 5, 30]);
        let program = Program(Arc::new(Inner {
            id,
            node,
            process,
            watch: watch.clone(),
            journal: journal.clone(),
            pace: Pace {
                low_us,
                high_us,
                pauses,
            },
            busy: AtomicUsize::new(0),
            state: Mutex::new(State {
                stream,
                held: BTreeMap::new(),
                calls: VecDeque::new(),
                unanswered: Vec::new(),
            }),
        }));
        program.spawn(|this| async move {
            if let Some(inbox) = this.0.node.broadcasts().await {
                let (held, dropped) = oneshot::channel();
                this.state().held.insert(RoleName::everyone(), held);
                this.serve(inbox, dropped);
            }
        });
        program
    }

    /// Which process it is.
    pub(crate) fn id(&self) -> ProcessId {
        self.0.id
    }

    /// Its node.
    pub(crate) fn node(&self) -> &Node {
        &self.0.node
    }

    /// Its tasks.
    pub(crate) fn process(&self) -> &Process {
        &self.0.process
    }

    /// Whether nothing is to be taken, answered or sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.busy.load(Ordering::Relaxed) == 0
    }

    /// Starts a task that counts as busy until it ends.
    fn spawn<F>(&self, task: impl FnOnce(Program) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        let busy = Busy(self.clone());
        let task = task(self.clone());
        self.0.process.spawn(async move {
            task.await;
            drop(busy);
        });
    }

    /// Takes up a role.
    pub(crate) fn take_up(&self, role: RoleName) {
        self.spawn(|this| async move {
            match this.0.node.register(&role).await {
                Ok(inbox) => {
                    let (held, dropped) = oneshot::channel();
                    this.state().held.insert(role, held);
                    this.serve(inbox, dropped);
                }
                // Another task may be about to drop it.
                Err(RegisterError::Held { .. } | RegisterError::Closed(_)) => {}
                Err(why) => this.complain(format!("taking up {role:?}: {why}")),
            }
        });
    }

    /// Does what the workload asks for; `mark` tells what it sends from everything else.
    pub(crate) fn ask(&self, ask: &Ask, mark: u64, world: &impl World) {
        match *ask {
            Ask::Multicast {
                role,
                mode,
                count,
                bytes,
            } => {
                let role = world.role(role);
                self.spawn(|this| this.multicast(role, mode, count, bytes, mark));
            }
            Ask::Large {
                role,
                dissemination,
                chunks,
                bytes,
                pause_us,
                announced,
                complete,
            } => {
                let chunks = (0..chunks).map(|n| payload(mark << 8 | u64::from(n), bytes));
                let large = LargeCast {
                    role: world.role(role),
                    dissemination,
                    chunks: chunks.collect(),
                    pause: Duration::from_micros(pause_us),
                    announced,
                    complete,
                };
                self.spawn(|this| this.multicast_large(large));
            }
            Ask::Gather {
                role,
                mode,
                bytes,
                within_us,
            } => {
                let (role, within) = (world.role(role), Duration::from_micros(within_us));
                let sent = payload(mark << 8, bytes);
                self.call(|this| this.gather(role, mode, sent, within));
            }
            Ask::Anycast {
                role,
                choice,
                request,
                bytes,
                within_us,
            } => {
                let call = Call {
                    role: world.role(role),
                    to: None,
                    pick: choose(choice),
                    request,
                    payload: payload(mark << 8, bytes),
                    within: Duration::from_micros(within_us),
                };
                self.call(|this| this.call_one(call));
            }
            Ask::Unicast {
                to,
                role,
                request,
                bytes,
                within_us,
            } => {
                let Some(to) = world.node_at(to) else { return };
                let call = Call {
                    role: world.role(role),
                    to: Some(to),
                    pick: Pick::default(),
                    request,
                    payload: payload(mark << 8, bytes),
                    within: Duration::from_micros(within_us),
                };
                self.call(|this| this.call_one(call));
            }
            Ask::Cancel => {
                let oldest = self.state().calls.pop_front();
                if let Some(oldest) = oldest {
                    oldest.notify_one();
                }
            }
            Ask::TakeUp { role } => {
                let role = world.role(role);
                if role != RoleName::everyone() {
                    self.take_up(role);
                }
            }
            Ask::Drop { role } => {
                let role = world.role(role);
                if role != RoleName::everyone() {
                    // Whoever serves the inbox drops it when nobody holds this end.
                    self.state().held.remove(&role);
                }
            }
        }
    }

    async fn multicast(self, role: RoleName, mode: Mode, count: u8, bytes: u32, mark: u64) {
        let channel = channel(&self.0.node, &role, mode);
        let mut last = None;
        for number in 0..u64::from(count.max(1)) {
            match channel.multicast(payload(mark << 8 | number, bytes)).await {
                Ok(receipt) => last = Some(receipt),
                Err(SendError::NotSent(why)) => self.note_unsent(&why),
                Err(why) => self.complain(format!("a multicast to {role:?}: {why}")),
            }
        }
        if let Some(receipt) = last {
            if mode.k_safe > 1 && receipt.stable().await.is_ok() {
                self.0.watch.reach(Probe::Stable);
            }
            // That the node is closed before is all that may come between.
            let _ = receipt.acked().await;
        }
    }

    async fn multicast_large(self, large: LargeCast) {
        let LargeCast {
            role,
            dissemination,
            chunks,
            pause,
            announced,
            complete,
        } = large;
        let channel = channel(&self.0.node, &role, dissemination.into());
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        self.spawn(|_| async move {
            for chunk in chunks {
                if sender.send(Ok(chunk)).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
            if !complete {
                let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
                // Nobody may wait for it any more.
                let _ = sender.send(Err(broken)).await;
            }
        });
        let multicast = channel.multicast_stream(Chunks(receiver));
        let sent = match announced {
            true => multicast.length(length).await,
            false => multicast.await,
        };
        match sent {
            Ok(receipt) => {
                // That the node is closed before is all that may come between.
                let _ = receipt.acked().await;
            }
            Err(SendError::NotSent(_) | SendError::CutShort(CutShort::Closed(_))) => {}
            Err(SendError::CutShort(CutShort::Source { .. })) if !complete => {}
            Err(why) => self.complain(format!("a large multicast to {role:?}: {why}")),
        }
    }

    /// Reads a large payload at the program's pace, and compares what it reads with what came.
    async fn read(self, role: RoleName, large: LargeMessage) {
        let origin = Origin {
            node: large.origin(),
            epoch: large.epoch(),
        };
        let seq = large.seq();
        let mut reader = large.into_reader();
        let mut bytes = Vec::new();
        let complete = loop {
            match reader.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break true,
                Err(_) => break false,
            }
            self.delay().await;
        };
        let read = (&bytes[..], complete);
        if let Some(seq) = seq
            && let Err(why) = self.0.journal.read(&role, origin, seq, read)
        {
            self.complain(format!("a large payload to {role:?}: {why}"));
        }
    }

    async fn gather(self, role: RoleName, mode: Mode, payload: Bytes, within: Duration) {
        let channel = channel(&self.0.node, &role, mode);
        // Whatever goes wrong is for the ghost to judge, which knows more.
        if let Ok(answers) = channel.request_all(payload).timeout(within).await {
            let holders = answers.holders();
            let collected = answers.collect().await;
            let closed = self.0.node.members().await.is_empty();
            if collected.len() != holders && !closed {
                let named = collected.len();
                self.complain(format!(
                    "a request to all {holders} holders of {role:?} ended with {named} of them named"
                ));
            }
        }
    }

    async fn call_one(self, call: Call) {
        let channel = self.0.node.channel(&call.role);
        if call.request {
            let request = channel.request(call.payload).pick(call.pick);
            let request = match call.to {
                Some(node) => request.to(node),
                None => request,
            };
            let ended = request.timeout(call.within).await;
            if let Err(SendError::NotSent(why)) = ended {
                self.note_unsent(&why);
            }
        } else {
            let anycast = channel.anycast(call.payload).pick(call.pick);
            let anycast = match call.to {
                Some(node) => anycast.to(node),
                None => anycast,
            };
            let ended = anycast.timeout(call.within).await;
            if let Err(SendError::NotSent(why)) = ended {
                self.note_unsent(&why);
            }
        }
    }

    /// Why something was not even sent.
    fn note_unsent(&self, why: &NotSent) {
        match why {
            NotSent::TooFewHolders { .. } => self.0.watch.reach(Probe::TooFewHolders),
            NotSent::NoHolder { .. } => self.0.watch.reach(Probe::NoHolder),
            NotSent::TooManyCalls { .. } => self.0.watch.reach(Probe::TooManyCalls),
            _ => {}
        }
    }

    /// Makes a call that can be given up.
    fn call<F>(&self, call: impl FnOnce(Program) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let given_up = Arc::new(Notify::new());
        self.state().calls.push_back(Arc::clone(&given_up));
        let call = call(self.clone());
        self.spawn(|this| async move {
            tokio::select! {
                biased;
                () = given_up.notified() => {}
                () = call => {}
            }
            let mut state = this.state();
            state.calls.retain(|other| !Arc::ptr_eq(other, &given_up));
        });
    }

    /// Takes what comes out of an inbox, until the role is dropped.
    fn serve(&self, mut inbox: Inbox, mut dropped: oneshot::Receiver<()>) {
        let this = self.clone();
        self.0.process.spawn(async move {
            let mut items = Vec::new();
            loop {
                // Some programs take one at a time, some all there is.
                let many = this.state().stream.index(8) + 1;
                let count = tokio::select! {
                    biased;
                    _ = &mut dropped => return,
                    count = inbox.next_many(&mut items, many) => count,
                };
                if count == 0 {
                    return;
                }
                this.0.busy.fetch_add(1, Ordering::Relaxed);
                let busy = Busy(this.clone());
                for item in items.drain(..) {
                    this.take(inbox.role(), item);
                }
                tokio::select! {
                    biased;
                    _ = &mut dropped => return,
                    () = this.delay() => {}
                }
                drop(busy);
            }
        });
    }

    fn take(&self, role: &RoleName, item: InboxItem) {
        let taken = match &item {
            InboxItem::Message(message) => {
                let origin = Origin {
                    node: message.origin(),
                    epoch: message.epoch(),
                };
                let (payload, asks) = (message.payload().clone(), message.is_request());
                match message.seq() {
                    Some(seq) => Entry::Message(origin, seq.0, payload, asks),
                    None => Entry::Call(origin, payload, asks),
                }
            }
            InboxItem::Large(large) => {
                let origin = Origin {
                    node: large.origin(),
                    epoch: large.epoch(),
                };
                let seq = large.seq().map_or(0, |seq| seq.0);
                Entry::Large(origin, seq, large.length())
            }
            InboxItem::Gap(gap) => Entry::Gap(*gap),
            _ => return,
        };
        if let Err(next) = self.0.journal.take(role, &taken) {
            self.complain(format!(
                "the inbox of {role:?} gave {taken:?} where its engine had delivered {next:?}"
            ));
        }
        match item {
            InboxItem::Message(message) if message.is_request() => self.think(message),
            InboxItem::Large(large) => {
                let role = role.clone();
                self.spawn(|this| this.read(role, large));
            }
            _ => {}
        }
    }

    /// Answers a request after a while, or refuses it, or never says anything.
    fn think(&self, message: Message) {
        let (what, bytes, mark) = {
            let stream = &mut self.state().stream;
            let what = stream.index(100);
            (what, stream.magnitude(8, 512), stream.between(0, u64::MAX))
        };
        let bytes = u32::try_from(bytes).expect("at most 512");
        match what {
            0..=79 => self.spawn(|this| async move {
                this.delay().await;
                // Whoever asked may be gone, and that is all that a program can learn.
                let _ = message.reply(payload(mark, bytes)).await;
            }),
            80..=93 => self.spawn(|this| async move {
                this.delay().await;
                drop(message);
            }),
            _ => self.state().unanswered.push(message),
        }
    }

    fn delay(&self) -> tokio::time::Sleep {
        let Pace {
            low_us,
            high_us,
            pauses,
        } = self.0.pace;
        let stream = &mut self.state().stream;
        let long = pauses > 0 && stream.index(1_000) < pauses as usize;
        let (low, high) = if long {
            (500_000, 4_000_000)
        } else {
            (low_us, high_us)
        };
        let delay = stream.micros(low, high);
        tokio::time::sleep(delay)
    }

    fn complain(&self, what: String) {
        self.0.watch.complain(self.0.id, Broken::Command { what });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A large payload to be sent chunk by chunk.
struct LargeCast {
    role: RoleName,
    dissemination: rolecast_protocol::Dissemination,
    chunks: Vec<Bytes>,
    pause: Duration,
    announced: bool,
    complete: bool,
}

/// What another task puts in, chunk by chunk.
struct Chunks(tokio::sync::mpsc::Receiver<std::io::Result<Bytes>>);

impl futures_core::Stream for Chunks {
    type Item = std::io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// A call to one holder.
struct Call {
    role: RoleName,
    to: Option<NodeId>,
    pick: Pick,
    request: bool,
    payload: Bytes,
    within: Duration,
}

/// A channel of which this is promised.
fn channel(node: &Node, role: &RoleName, mode: Mode) -> Channel {
    let channel = node.channel(role).dissemination(mode.dissemination);
    channel.order(mode.order).k_safe(mode.k_safe)
}

fn choose(choice: Choice) -> Pick {
    match choice {
        Choice::RoundRobin => Pick::RoundRobin,
        Choice::LeastOutstanding => Pick::LeastOutstanding,
        Choice::Sticky(key) => Pick::Sticky(Bytes::copy_from_slice(&[key])),
    }
}

/// What a program has to know of the world to do what it is asked for.
pub(crate) trait World {
    /// The role with this index.
    fn role(&self, index: RoleIndex) -> RoleName;
    /// The node at this place.
    fn node_at(&self, slot: crate::plan::Slot) -> Option<NodeId>;
}
