//! The program on one node, on the public library: it asks for what the workload says, and takes and answers what comes.

mod asking;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rolecast::{Inbox, InboxItem, LargeMessage, Message, Node, RegisterError};
use rolecast_membership::RoleName;
use rolecast_protocol::Origin;
use tokio::sync::{Notify, oneshot};

pub(crate) use asking::World;

use super::journal::{Entry, Journal};
use super::process::Process;
use super::watch::Watch;
use crate::application::payload;
use crate::check::{Broken, ProcessId};
use crate::plan::Slot;
use crate::random::Stream;
use crate::workload::Workload;

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
    /// What the run asks for, and how.
    workload: Arc<Workload>,
    /// Its place.
    slot: Slot,
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
        (workload, slot): (&Arc<Workload>, Slot),
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
            workload: Arc::clone(workload),
            slot,
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
            let replay = this.0.workload.replay(this.0.slot);
            match this.0.node.register(&role).replay(replay).await {
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
            InboxItem::Lagged(lagged) => Entry::Lagged(*lagged),
            InboxItem::Started(started) => Entry::Started(*started),
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
