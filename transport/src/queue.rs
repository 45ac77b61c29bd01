//! What has happened and the driver has not taken yet.
//!
//! One queue for all links with two lanes: urgent (everything but data frames) and data (data frames, and the ends of links behind them).
//! The driver empties it in bulk under one lock, so that an event costs a move and no wake-up of its own while the driver is busy.
//! Readers stop reading when their lane is full, which holds their peers back through QUIC's flow control.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use crate::config::Limits;
use crate::event::{Class, TransportEvent};
use crate::sync::lock;

/// What has happened and the driver has not taken yet.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    data_bytes_max: usize,
    control_bytes_max: usize,
    datagram_bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    urgent: Vec<TransportEvent>,
    control_bytes: usize,
    datagram_bytes: usize,
    data: VecDeque<TransportEvent>,
    data_bytes: usize,
    /// The driver, while it waits.
    driver: Option<Waker>,
    /// Readers that wait for room, by their link's id.
    readers: BTreeMap<u64, Waker>,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(limits: &Limits) -> Self {
        Queue {
            state: Mutex::default(),
            data_bytes_max: limits.data_queue_bytes,
            control_bytes_max: limits.control_queue_bytes,
            datagram_bytes_max: limits.datagram_queue_bytes,
        }
    }

    /// Adds something urgent.
    pub(crate) fn push(&self, event: TransportEvent) {
        self.add(|state| state.urgent.push(event));
    }

    /// Adds the end of a link, behind the data frames that have arrived.
    pub(crate) fn push_end(&self, event: TransportEvent) {
        self.add(|state| state.data.push_back(event));
    }

    /// Adds to what QUIC has taken on of a link's data.
    pub(crate) fn push_written(&self, link: u64, more: usize) {
        self.add(|state| match state.urgent.last_mut() {
            Some(TransportEvent::Written { id, bytes }) if *id == link => *bytes += more,
            _ => state.urgent.push(TransportEvent::Written {
                id: link,
                bytes: more,
            }),
        });
    }

    /// Adds frames of one class, which have so many bytes in all, and empties `frames`.
    pub(crate) fn push_frames(&self, class: Class, frames: &mut Vec<TransportEvent>, bytes: usize) {
        self.add(|state| match class {
            Class::Control => {
                state.urgent.append(frames);
                state.control_bytes += bytes;
            }
            Class::Data => {
                state.data.extend(frames.drain(..));
                state.data_bytes += bytes;
            }
        });
    }

    /// Adds a datagram, or drops it (`false`) if too many wait.
    pub(crate) fn push_datagram(&self, event: TransportEvent, bytes: usize) -> bool {
        self.add(|state| {
            let room = state.datagram_bytes + bytes <= self.datagram_bytes_max;
            if room {
                state.datagram_bytes += bytes;
                state.urgent.push(event);
            }
            room
        })
    }

    /// Ready when a reader may add frames of this class; else the reader's task is woken when it may.
    pub(crate) fn poll_room(&self, class: Class, link: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        let full = match class {
            Class::Control => state.control_bytes >= self.control_bytes_max,
            Class::Data => state.data_bytes >= self.data_bytes_max,
        };
        if full && !state.closed {
            state.readers.insert(link, cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Takes everything urgent and then at most `data_max` of the data lane; `false` at the end.
    pub(crate) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut Vec<TransportEvent>,
        data_max: usize,
    ) -> Poll<bool> {
        let mut state = lock(&self.state);
        if state.urgent.is_empty() && (state.data.is_empty() || data_max == 0) {
            if state.closed && state.data.is_empty() {
                return Poll::Ready(false);
            }
            state.driver = Some(cx.waker().clone());
            return Poll::Pending;
        }
        into.append(&mut state.urgent);
        state.control_bytes = 0;
        state.datagram_bytes = 0;
        let count = state.data.len().min(data_max);
        let from = into.len();
        into.extend(state.data.drain(..count));
        state.data_bytes -= into[from..].iter().map(frame_bytes).sum::<usize>();
        let readers = if state.data_bytes <= self.data_bytes_max / 2 {
            std::mem::take(&mut state.readers)
        } else {
            BTreeMap::new()
        };
        drop(state);
        readers.into_values().for_each(Waker::wake);
        Poll::Ready(true)
    }

    /// Says that nothing more will come: [`Queue::poll_take`] ends once all has been taken.
    pub(crate) fn close(&self) {
        let readers = self.add(|state| {
            state.closed = true;
            std::mem::take(&mut state.readers)
        });
        readers.into_values().for_each(Waker::wake);
    }

    fn add<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = lock(&self.state);
        let result = change(&mut state);
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }
}

fn frame_bytes(event: &TransportEvent) -> usize {
    match event {
        TransportEvent::Frame { bytes, .. } => bytes.len(),
        _ => 0,
    }
}
