//! What has come of a large payload and nobody has read yet.
//!
//! It is bounded by the window of the payload's flow: each chunk's ticket goes back when the chunk is read, and lets the sender send more.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use rolecast_protocol::Ticket;

use crate::large::PayloadError;
use crate::shared::Shared;

/// Between the driver, which fills it, and one reader.
#[derive(Default)]
pub(crate) struct Download {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<(Bytes, Ticket)>,
    /// How it ended, once it has.
    end: Option<Result<(), PayloadError>>,
    reader: Option<Waker>,
    /// Nobody will read it.
    abandoned: bool,
}

impl Download {
    /// Appends a chunk; gives its ticket back if nobody will read it.
    pub(crate) fn push(&self, chunk: Bytes, ticket: Ticket) -> Result<(), Ticket> {
        let mut state = self.lock();
        if state.abandoned {
            return Err(ticket);
        }
        state.chunks.push_back((chunk, ticket));
        wake(state);
        Ok(())
    }

    /// Says how it ended; the first word stands.
    pub(crate) fn end(&self, end: Result<(), PayloadError>) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        wake(state);
    }

    /// The next chunk; `None` behind the last one of a payload that is complete.
    pub(crate) fn poll_chunk(
        &self,
        cx: &mut Context<'_>,
        shared: &Shared,
    ) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let mut state = self.lock();
        if let Some((chunk, ticket)) = state.chunks.pop_front() {
            drop(state);
            shared.consume(ticket);
            return Poll::Ready(Some(Ok(chunk)));
        }
        match &state.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(*error))),
            None => {
                match &mut state.reader {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// Nobody will read what came or comes: it counts as taken.
    pub(crate) fn abandon(&self, shared: &Shared) {
        self.lock().abandoned = true;
        self.forget(shared);
    }

    /// Lets go of what came and was not read: it counts as taken.
    pub(crate) fn forget(&self, shared: &Shared) {
        let mut state = self.lock();
        let chunks = std::mem::take(&mut state.chunks);
        drop(state);
        for (_, ticket) in chunks {
            shared.consume(ticket);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is well-formed at every point.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}
