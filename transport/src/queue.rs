//! What has happened and the driver has not taken yet.
//!
//! One queue for all links with three lanes: urgent (everything but data and bulk frames), data (data frames, and the ends of links behind them) and bulk.
//! The driver empties it in bulk under one lock, so that an event costs a move and no wake-up of its own while the driver is busy.
//! Readers stop reading when their lane is full, which holds their peers back through QUIC's flow control.
//!
//! The reading halves of links are run by the driver's own task, whenever it asks for events, and not by tasks of their own: on the way of a message every task costs a wake-up, and after three in a row tokio moves the next one to another core.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use crate::config::Limits;
use crate::event::{Class, TransportEvent};
use crate::sync::lock;

/// The reading half of a link, from its announcement to its end.
pub(crate) type Reading = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What has happened and the driver has not taken yet.
pub(crate) struct Queue {
    state: Mutex<State>,
    control_bytes_max: usize,
    data_bytes_max: usize,
    bulk_bytes_max: usize,
}

#[derive(Default)]
struct State {
    /// Readers that can go on.
    ready: Vec<u64>,
    /// New readers.
    sessions: Vec<Reading>,
    urgent: Vec<TransportEvent>,
    control_bytes: usize,
    /// What QUIC has taken on of each link's classes.
    written: BTreeMap<(u64, Class), usize>,
    written_bytes: usize,
    data: Waiting,
    bulk: Waiting,
    /// The driver, while it waits.
    driver: Option<Waker>,
    /// Readers that wait for room for control frames, by their link's id.
    control_readers: BTreeMap<u64, Waker>,
    closed: bool,
}

/// Frames of one class that wait for the driver.
#[derive(Default)]
struct Waiting {
    events: VecDeque<TransportEvent>,
    bytes: usize,
    /// Readers that wait for room.
    readers: BTreeMap<u64, Waker>,
}

impl Queue {
    pub(crate) fn new(limits: &Limits) -> Self {
        Queue {
            state: Mutex::default(),
            control_bytes_max: limits.control_queue_bytes,
            data_bytes_max: limits.data_queue_bytes,
            bulk_bytes_max: limits.bulk_queue_bytes,
        }
    }

    /// Hands the reading half of a link to the driver, which runs it.
    pub(crate) fn adopt(&self, session: Reading) {
        self.add(|state| state.sessions.push(session));
    }

    /// Notes that a reader can go on.
    pub(crate) fn note(&self, reader: u64) {
        self.add(|state| state.ready.push(reader));
    }

    /// Says that the driver is awake, and takes the readers that can go on and the new ones.
    pub(crate) fn awake(&self) -> (Vec<u64>, Vec<Reading>) {
        let mut state = lock(&self.state);
        state.driver = None;
        let ready = mem::take(&mut state.ready);
        (ready, mem::take(&mut state.sessions))
    }

    /// Adds something urgent.
    pub(crate) fn push(&self, event: TransportEvent) {
        self.add(|state| state.urgent.push(event));
    }

    /// Adds something that is counted and logged as well, and forgets it if the driver has far too much to do.
    pub(crate) fn push_minor(&self, event: TransportEvent) {
        self.add(|state| {
            if state.urgent.len() < URGENT_MAX {
                state.urgent.push(event);
            }
        });
    }

    /// Adds the end of a link, behind the frames that have arrived.
    pub(crate) fn push_end(&self, event: TransportEvent) {
        self.add(|state| state.data.events.push_back(event));
    }

    /// Adds to what QUIC has taken on of a class of a link's frames; the driver is woken for it only when that is much.
    ///
    /// A wake-up for every small frame that was sent would go to another core just when this one is about to send the packet, and doubled the time of a round trip.
    pub(crate) fn push_written(&self, link: u64, class: Class, more: usize) {
        let mut state = lock(&self.state);
        *state.written.entry((link, class)).or_default() += more;
        state.written_bytes += more;
        let driver = if state.written_bytes >= WRITTEN_BYTES_QUIET {
            state.driver.take()
        } else {
            None
        };
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Adds frames of one class, which have so many bytes in all, and empties `frames`.
    pub(crate) fn push_frames(&self, class: Class, frames: &mut Vec<TransportEvent>, bytes: usize) {
        self.add(|state| match class {
            Class::Control => {
                state.urgent.append(frames);
                state.control_bytes += bytes;
            }
            Class::Data => state.data.extend(frames, bytes),
            Class::Bulk => state.bulk.extend(frames, bytes),
        });
    }

    /// Ready when a reader may add frames of this class; else the reader's task is woken when it may.
    pub(crate) fn poll_room(&self, class: Class, link: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.closed {
            return Poll::Ready(());
        }
        let State {
            control_bytes,
            control_readers,
            data,
            bulk,
            ..
        } = &mut *state;
        let (bytes, bytes_max, readers) = match class {
            Class::Control => (*control_bytes, self.control_bytes_max, control_readers),
            Class::Data => (data.bytes, self.data_bytes_max, &mut data.readers),
            Class::Bulk => (bulk.bytes, self.bulk_bytes_max, &mut bulk.readers),
        };
        if bytes < bytes_max {
            return Poll::Ready(());
        }
        readers.insert(link, cx.waker().clone());
        Poll::Pending
    }

    /// Takes everything urgent, then at most `data_max` of the data lane, and then a few of the bulk lane; `false` at the end.
    pub(crate) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut Vec<TransportEvent>,
        data_max: usize,
    ) -> Poll<bool> {
        let mut state = lock(&self.state);
        let nothing_urgent = state.urgent.is_empty() && state.written.is_empty();
        let nothing_else = state.data.events.is_empty() && state.bulk.events.is_empty();
        if nothing_urgent && (nothing_else || data_max == 0) {
            if state.closed && nothing_else {
                return Poll::Ready(false);
            }
            if state.sessions.is_empty() && state.ready.is_empty() {
                state.driver = Some(cx.waker().clone());
            } else {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        into.append(&mut state.urgent);
        while let Some(((id, class), bytes)) = state.written.pop_first() {
            into.push(TransportEvent::Written { id, class, bytes });
        }
        state.written_bytes = 0;
        state.control_bytes = 0;
        let control_readers = mem::take(&mut state.control_readers);
        state.take_data(into, data_max);
        let bulk_max = data_max.min(BULK_FRAMES_AT_ONCE);
        state.bulk.take(into, bulk_max);
        let data_readers = state.data.readers_with_room(self.data_bytes_max);
        let bulk_readers = state.bulk.readers_with_room(self.bulk_bytes_max);
        drop(state);
        wake(control_readers);
        wake(data_readers);
        wake(bulk_readers);
        Poll::Ready(true)
    }

    /// Says that nothing more will come: [`Queue::poll_take`] ends once all has been taken.
    pub(crate) fn close(&self) {
        let readers = self.add(|state| {
            state.closed = true;
            let control = mem::take(&mut state.control_readers);
            let data = mem::take(&mut state.data.readers);
            [control, data, mem::take(&mut state.bulk.readers)]
        });
        readers.into_iter().for_each(wake);
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

impl State {
    /// Moves at most `data_max` events of the data lane; the end of a link comes after its bulk frames too.
    fn take_data(&mut self, into: &mut Vec<TransportEvent>, data_max: usize) {
        for _ in 0..data_max {
            let Some(event) = self.data.events.pop_front() else {
                break;
            };
            self.data.bytes -= frame_bytes(&event);
            if let TransportEvent::LinkDown { id, .. } = event {
                self.bulk.take_of(id, into);
            }
            into.push(event);
        }
    }
}

impl Waiting {
    fn extend(&mut self, frames: &mut Vec<TransportEvent>, bytes: usize) {
        self.events.extend(frames.drain(..));
        self.bytes += bytes;
    }

    /// Moves at most so many.
    fn take(&mut self, into: &mut Vec<TransportEvent>, max: usize) {
        let count = self.events.len().min(max);
        let from = into.len();
        into.extend(self.events.drain(..count));
        self.bytes -= into[from..].iter().map(frame_bytes).sum::<usize>();
    }

    /// Moves those of one link.
    fn take_of(&mut self, link: u64, into: &mut Vec<TransportEvent>) {
        for event in mem::take(&mut self.events) {
            if matches!(event, TransportEvent::Frame { id, .. } if id == link) {
                self.bytes -= frame_bytes(&event);
                into.push(event);
            } else {
                self.events.push_back(event);
            }
        }
    }

    /// Those who wait for room, if there is some: readers that were woken for every bit of room would hand over a frame at a time.
    fn readers_with_room(&mut self, bytes_max: usize) -> BTreeMap<u64, Waker> {
        if self.bytes <= bytes_max / 2 {
            mem::take(&mut self.readers)
        } else {
            BTreeMap::new()
        }
    }
}

fn wake(readers: BTreeMap<u64, Waker>) {
    readers.into_values().for_each(Waker::wake);
}

fn frame_bytes(event: &TransportEvent) -> usize {
    match event {
        TransportEvent::Frame { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

/// So many bulk frames are taken before everything else has its turn again: a large one costs as much time as hundreds of small ones.
const BULK_FRAMES_AT_ONCE: usize = 2;
/// So many bytes that QUIC has taken on, over all links, wait for something else to happen.
const WRITTEN_BYTES_QUIET: usize = 64 << 10;
/// So many urgent events may wait before minor ones are forgotten.
const URGENT_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::RefusalReason;

    fn frames(class: Class, count: usize) -> Vec<TransportEvent> {
        let bytes = Bytes::from_static(&[0; 100]);
        let frame = TransportEvent::Frame {
            id: 1,
            class,
            bytes,
        };
        (0..count).map(|_| frame.clone()).collect()
    }

    fn queue() -> Queue {
        Queue::new(&Limits {
            data_queue_bytes: 1000,
            control_queue_bytes: 500,
            bulk_queue_bytes: 800,
            ..Limits::default()
        })
    }

    #[test]
    fn urgent_events_come_first_and_data_in_portions() {
        let queue = queue();
        let mut cx = Context::from_waker(Waker::noop());
        let mut out = Vec::new();
        assert_eq!(queue.poll_take(&mut cx, &mut out, 9), Poll::Pending);
        queue.push_frames(Class::Data, &mut frames(Class::Data, 3), 300);
        queue.push_frames(Class::Control, &mut frames(Class::Control, 2), 200);
        let mut classes = || {
            let mut out = Vec::new();
            let _ = queue.poll_take(&mut cx, &mut out, 2);
            let classes = out.iter().map(|event| match event {
                TransportEvent::Frame { class, .. } => *class,
                other => panic!("{other:?}"),
            });
            classes.collect::<Vec<_>>()
        };
        use Class::{Bulk, Control, Data};
        assert_eq!(classes(), [Control, Control, Data, Data]);
        assert_eq!(classes(), [Data]);
        assert_eq!(classes(), []);
        queue.push_frames(Bulk, &mut frames(Bulk, 3), 300);
        queue.push_frames(Data, &mut frames(Data, 1), 100);
        assert_eq!(classes(), [Data, Bulk, Bulk]);
        assert_eq!(classes(), [Bulk]);
    }

    #[test]
    fn a_link_ends_after_its_bulk_frames_and_leaves_those_of_others() {
        let queue = queue();
        let mut cx = Context::from_waker(Waker::noop());
        let of = |link| {
            let mut frames = frames(Class::Bulk, 3);
            for frame in &mut frames {
                if let TransportEvent::Frame { id, .. } = frame {
                    *id = link;
                }
            }
            frames
        };
        queue.push_frames(Class::Bulk, &mut of(1), 300);
        queue.push_frames(Class::Bulk, &mut of(2), 300);
        queue.push_end(TransportEvent::LinkDown {
            id: 2,
            peer: rolecast_membership::NodeId::from_bytes([2; 32]),
            why: crate::event::LinkEnd::TimedOut,
        });
        let mut out = Vec::new();
        let _ = queue.poll_take(&mut cx, &mut out, 9);
        let links = out.iter().map(|event| match event {
            TransportEvent::Frame { id, .. } => *id,
            TransportEvent::LinkDown { id, .. } => 10 + *id,
            other => panic!("{other:?}"),
        });
        assert_eq!(links.collect::<Vec<_>>(), [2, 2, 2, 12, 1, 1]);
        assert_eq!(lock(&queue.state).bulk.bytes, 100);
    }

    #[test]
    fn readers_wait_while_their_lane_is_full() {
        let queue = queue();
        let mut cx = Context::from_waker(Waker::noop());
        let mut out = Vec::new();
        queue.push_frames(Class::Data, &mut frames(Class::Data, 10), 1000);
        assert!(queue.poll_room(Class::Data, 1, &mut cx).is_pending());
        assert!(queue.poll_room(Class::Control, 1, &mut cx).is_ready());
        queue.push_frames(Class::Control, &mut frames(Class::Control, 5), 500);
        assert!(queue.poll_room(Class::Control, 1, &mut cx).is_pending());
        let _ = queue.poll_take(&mut cx, &mut out, 0);
        assert!(queue.poll_room(Class::Control, 1, &mut cx).is_ready());
        assert!(queue.poll_room(Class::Data, 1, &mut cx).is_pending());
        let _ = queue.poll_take(&mut cx, &mut out, 1);
        assert!(queue.poll_room(Class::Data, 1, &mut cx).is_ready());
        queue.push_frames(Class::Bulk, &mut frames(Class::Bulk, 8), 800);
        assert!(queue.poll_room(Class::Bulk, 1, &mut cx).is_pending());
        assert!(queue.poll_room(Class::Data, 1, &mut cx).is_ready());
        let _ = queue.poll_take(&mut cx, &mut out, 9);
        let _ = queue.poll_take(&mut cx, &mut out, 9);
        assert!(queue.poll_room(Class::Bulk, 1, &mut cx).is_ready());
    }

    #[test]
    fn what_was_written_is_reported_together() {
        let queue = queue();
        let mut cx = Context::from_waker(Waker::noop());
        use Class::{Bulk, Data};
        for (link, class, bytes) in [(1, Data, 10), (1, Data, 5), (2, Data, 7), (1, Bulk, 1)] {
            queue.push_written(link, class, bytes);
        }
        let mut out = Vec::new();
        let _ = queue.poll_take(&mut cx, &mut out, 0);
        let written = out.iter().map(|event| match event {
            TransportEvent::Written { id, class, bytes } => (*id, *class, *bytes),
            other => panic!("{other:?}"),
        });
        let expected = [(1, Data, 15), (1, Bulk, 1), (2, Data, 7)];
        assert_eq!(written.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn minor_events_that_nobody_takes_are_bounded() {
        let queue = queue();
        for _ in 0..2 * URGENT_MAX {
            queue.push_minor(TransportEvent::Refused {
                addr: ([127, 0, 0, 1], 1).into(),
                why: RefusalReason::TimedOut,
            });
        }
        assert_eq!(lock(&queue.state).urgent.len(), URGENT_MAX);
    }

    #[test]
    fn the_end_comes_after_everything_else() {
        let queue = queue();
        let mut cx = Context::from_waker(Waker::noop());
        queue.push_frames(Class::Data, &mut frames(Class::Data, 1), 100);
        queue.close();
        let mut out = Vec::new();
        assert_eq!(queue.poll_take(&mut cx, &mut out, 9), Poll::Ready(true));
        assert_eq!(queue.poll_take(&mut cx, &mut out, 9), Poll::Ready(false));
    }
}
