//! A queue from the driver to one consumer.
//!
//! The consumer takes everything at once by swapping, so that the lock is held once for many items on both sides.
//! The bound on what it holds is the producer's: windows for inboxes, the number of holders for answers, a length for watchers.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    items: VecDeque<T>,
    consumer: Option<Waker>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let state = State {
            items: VecDeque::new(),
            consumer: None,
            closed: false,
        };
        Queue {
            state: Mutex::new(state),
        }
    }

    /// Appends an item; gives it back if nobody will take it.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed {
            return Err(item);
        }
        state.items.push_back(item);
        wake(state);
        Ok(())
    }

    /// Appends an item unless `max` are waiting; then replaces the last one by what `overflow` makes of it.
    pub(crate) fn push_bounded(&self, item: T, max: usize, overflow: impl FnOnce(&mut T)) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if state.items.len() < max {
            state.items.push_back(item);
        } else if let Some(last) = state.items.back_mut() {
            overflow(last);
        }
        wake(state);
    }

    /// Nothing is appended from here on; what is there may still be taken.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        wake(state);
    }

    /// Closes, and takes what nobody took.
    pub(crate) fn close_and_drain(&self) -> VecDeque<T> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.items)
    }

    /// Swaps everything that waits into `into`, which must be empty; `Ready(false)` when nothing will come any more.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, into: &mut VecDeque<T>) -> Poll<bool> {
        debug_assert!(into.is_empty(), "what was taken before would be reordered");
        let mut state = self.lock();
        if !state.items.is_empty() {
            std::mem::swap(&mut state.items, into);
            return Poll::Ready(true);
        }
        if state.closed {
            return Poll::Ready(false);
        }
        match &mut state.consumer {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic while the lock is held leaves a queue that is still well-formed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the consumer, after the lock was released so that it does not run into it.
fn wake<T>(mut state: MutexGuard<'_, State<T>>) {
    let consumer = state.consumer.take();
    drop(state);
    if let Some(consumer) = consumer {
        consumer.wake();
    }
}
