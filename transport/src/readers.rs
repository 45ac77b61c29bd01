//! Runs the reading halves of all links within the task that asks for events.
//!
//! A small executor: what a connection wakes is noted in the queue, and polled when events are asked for next.
//! (`FuturesUnordered` would do, but for waking its own task whenever it has polled all that it holds, which with few links is every time; on a runtime with several workers that moves the work to another core.)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::queue::Reading;
use crate::shared::Shared;

/// The reading halves of all links.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    /// In the order in which they came.
    running: BTreeMap<u64, Running>,
    last: u64,
}

struct Running {
    reading: Reading,
    note: Arc<Note>,
    waker: Waker,
}

/// Notes that there is something to read.
struct Note {
    reader: u64,
    /// It is noted already.
    noted: AtomicBool,
    shared: Arc<Shared>,
}

impl Readers {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Readers {
            shared,
            running: BTreeMap::new(),
            last: 0,
        }
    }

    /// Reads whatever there is to read.
    pub(crate) fn run(&mut self) {
        let (ready, fresh) = self.shared.queue.awake();
        for reader in ready {
            self.poll(reader);
        }
        for reading in fresh {
            self.last += 1;
            let note = Arc::new(Note {
                reader: self.last,
                noted: AtomicBool::new(true),
                shared: self.shared.clone(),
            });
            let waker = Waker::from(note.clone());
            let running = Running {
                reading,
                note,
                waker,
            };
            self.running.insert(self.last, running);
            self.poll(self.last);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    fn poll(&mut self, reader: u64) {
        let Some(running) = self.running.get_mut(&reader) else {
            return;
        };
        // Whatever happens from here on is noted anew.
        running.note.noted.store(false, Ordering::Release);
        let mut cx = Context::from_waker(&running.waker);
        if let Poll::Ready(()) = running.reading.as_mut().poll(&mut cx) {
            self.running.remove(&reader);
        }
    }
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.noted.swap(true, Ordering::AcqRel) {
            self.shared.queue.note(self.reader);
        }
    }
}
