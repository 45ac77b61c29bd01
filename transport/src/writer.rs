//! What goes out over a link: frames are handed to QUIC, control before data and data before bulk, by the driver's task as far as QUIC takes them on, and by a task of the link's own when QUIC was blocked or somebody else sends.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use quinn::{SendStream, WriteError};
use tokio::time::timeout;

use crate::event::{Class, LinkEnd};
use crate::frames::PREFIX;
use crate::link::{Frame, Link, Waiting};
use crate::shared::Shared;
use crate::sync::lock;
use crate::timing::LINGER;

/// Writes until the connection is gone, or until the link is to be closed; then sends what is queued and closes it.
pub(crate) async fn write_link(link: Link, shared: Arc<Shared>) {
    let _at_the_end = End(&shared);
    let closing = poll_fn(|cx| poll_writer(&link, &shared, cx, Until::Closing)).await;
    if closing.is_ok() {
        // If the time is over, or the connection is gone, there is nothing more to be done for what is queued.
        let _ = timeout(LINGER, finish(&link, &shared)).await;
        let closing = link.outbox().closing.clone();
        let (code, reason) = closing.unwrap_or_default();
        link.close_now(code, &reason, LinkEnd::ClosedHere);
    }
    // If the connection is gone, the reader says why.
    *lock(link.writer()) = None;
}

/// Hands what is queued to QUIC at once, in the caller's task, if it is little and the writer's task is idle.
///
/// It spares a wake-up, which is what counts for a request or a reply.
/// In bulk it does not, and the caller would wait for the connection, which encrypts and sends under the same lock.
/// Whatever QUIC does not take on wakes the writer's task when it does.
pub(crate) fn flush_link(link: &Link, shared: &Shared) {
    let mut outbox = link.outbox();
    outbox.unflushed = false;
    // If the task does not wait, it looks into the outbox before it does.
    let Some(task) = outbox.writer.take() else {
        return;
    };
    let bulk = outbox.bytes() > BULK_BYTES_MIN;
    drop(outbox);
    if bulk {
        task.wake();
        return;
    }
    let flushed = match link.writer().try_lock() {
        Ok(mut writer) => match writer.as_mut() {
            Some(writer) => {
                let mut cx = Context::from_waker(&task);
                writer
                    .poll(link, shared, &mut cx, Until::Closing)
                    .is_pending()
            }
            None => true,
        },
        Err(_) => false,
    };
    if !flushed {
        task.wake();
    }
}

fn poll_writer(
    link: &Link,
    shared: &Shared,
    cx: &mut Context<'_>,
    until: Until,
) -> Poll<Result<(), WriteError>> {
    match lock(link.writer()).as_mut() {
        Some(writer) => writer.poll(link, shared, cx, until),
        None => Poll::Ready(Err(WriteError::ClosedStream)),
    }
}

/// Sends what is queued and waits until the peer has it.
async fn finish(link: &Link, shared: &Shared) -> Result<(), WriteError> {
    poll_fn(|cx| poll_writer(link, shared, cx, Until::Empty)).await?;
    let taken = lock(link.writer()).take();
    let Some(mut writer) = taken else {
        return Ok(());
    };
    for lane in &mut writer.lanes {
        lane.stream.finish()?;
    }
    for lane in &mut writer.lanes {
        lane.stream.stopped().await?;
    }
    Ok(())
}

/// Says that a link's writer has ended, also if its task was cut off.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.writers.send_modify(|writers| *writers -= 1);
    }
}

/// Carries frames from a link's outbox to its streams.
pub(crate) struct Writer {
    /// In the order of [`Class::ALL`].
    lanes: [Lane; 3],
}

/// When a writer has done what it was asked to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// As soon as the link is to be closed.
    Closing,
    /// When nothing is queued.
    Empty,
}

impl Writer {
    /// A writer to the streams of the classes; `preface` precedes all frames on that for control.
    pub(crate) fn new([control, data, bulk]: [SendStream; 3], preface: Bytes) -> Self {
        Writer {
            lanes: [
                Lane::new(control, preface),
                Lane::new(data, Bytes::new()),
                Lane::new(bulk, Bytes::new()),
            ],
        }
    }

    fn poll(
        &mut self,
        link: &Link,
        shared: &Shared,
        cx: &mut Context<'_>,
        until: Until,
    ) -> Poll<Result<(), WriteError>> {
        for _ in 0..ROUNDS {
            {
                let mut outbox = link.outbox();
                if outbox.closing.is_some() && until == Until::Closing {
                    return Poll::Ready(Ok(()));
                }
                if outbox.ended {
                    return Poll::Ready(Err(WriteError::ClosedStream));
                }
                for (lane, waiting) in self.lanes.iter_mut().zip(&mut outbox.waiting) {
                    lane.take(waiting);
                }
                outbox.writer = Some(cx.waker().clone());
            }
            if until == Until::Empty && self.lanes.iter().all(Lane::is_empty) {
                return Poll::Ready(Ok(()));
            }
            let mut more = false;
            for (lane, class) in self.lanes.iter_mut().zip(Class::ALL) {
                more |= lane.progress(cx)?;
                let written = mem::take(&mut lane.taken_on);
                if written > 0 && class != Class::Control {
                    shared.queue.push_written(link.id(), class, written);
                }
            }
            if !more {
                return Poll::Pending;
            }
        }
        // Other tasks have a right to run too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// One class of frames on its way into its stream.
struct Lane {
    stream: SendStream,
    /// Frames taken over from the outbox.
    frames: VecDeque<Frame>,
    /// What is being written, from `at` on.
    chunks: Vec<Bytes>,
    at: usize,
    /// The frames in `chunks` that are not wholly written yet.
    unwritten: VecDeque<Unwritten>,
    /// Where prefixes and small parts are put together.
    arena: BytesMut,
    /// Bytes of frames, without prefixes, that QUIC has taken on and that have not been reported.
    taken_on: usize,
}

impl Lane {
    fn new(stream: SendStream, preface: Bytes) -> Self {
        Lane {
            stream,
            frames: VecDeque::new(),
            at: 0,
            unwritten: VecDeque::from([Unwritten {
                stream_bytes: preface.len(),
                length: 0,
            }]),
            chunks: Some(preface)
                .filter(|bytes| !bytes.is_empty())
                .into_iter()
                .collect(),
            arena: BytesMut::new(),
            taken_on: 0,
        }
    }

    /// Takes over what is queued, unless there is enough to do already.
    fn take(&mut self, waiting: &mut Waiting) {
        if self.frames.is_empty() {
            mem::swap(&mut self.frames, &mut waiting.frames);
            waiting.bytes = 0;
        }
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.at == self.chunks.len()
    }

    /// Writes all that has been taken over; says whether there may be more to take over, which there is not if there was nothing to write or QUIC does not take it on.
    fn progress(&mut self, cx: &mut Context<'_>) -> Result<bool, WriteError> {
        if self.is_empty() {
            return Ok(false);
        }
        match self.poll(cx) {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(false),
        }
    }

    /// Writes all that has been taken over; pending if QUIC does not take it on.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        loop {
            if self.at == self.chunks.len() {
                if self.frames.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.gather();
            }
            let chunks = &mut self.chunks[self.at..];
            let written = ready!(pin!(self.stream.write_chunks(chunks)).poll(cx))?;
            self.at += written.chunks;
            self.count(written.bytes);
        }
    }

    /// Lines up the next frames: small parts are copied into few chunks, large ones are chunks of their own.
    ///
    /// QUIC's send buffer is a list of chunks that it walks for every packet, so that many small ones would cost more than the copy.
    fn gather(&mut self) {
        self.chunks.clear();
        self.at = 0;
        let mut bytes = 0;
        while bytes < GATHERED_BYTES {
            let Some(Frame(head, body)) = self.frames.pop_front() else {
                break;
            };
            let length = head.len() + body.len();
            let prefix = u32::try_from(length).expect("no limit lets a frame of 4 GiB through");
            self.arena.put_u32_le(prefix);
            self.put(head);
            self.put(body);
            self.unwritten.push_back(Unwritten {
                stream_bytes: PREFIX + length,
                length,
            });
            bytes += PREFIX + length;
        }
        self.seal();
    }

    fn put(&mut self, part: Bytes) {
        if part.len() <= COPIED_BYTES_MAX {
            self.arena.extend_from_slice(&part);
        } else {
            self.seal();
            self.chunks.push(part);
        }
    }

    fn seal(&mut self) {
        if !self.arena.is_empty() {
            self.chunks.push(self.arena.split().freeze());
        }
    }

    /// Counts the frames that QUIC has wholly taken on.
    fn count(&mut self, mut written: usize) {
        while let Some(first) = self.unwritten.front_mut() {
            if first.stream_bytes > written {
                first.stream_bytes -= written;
                break;
            }
            written -= first.stream_bytes;
            self.taken_on += first.length;
            self.unwritten.pop_front();
        }
    }
}

/// A frame that is not wholly written yet.
struct Unwritten {
    /// What is left of it on the stream, prefix included.
    stream_bytes: usize,
    /// Its own length.
    length: usize,
}

/// How many bytes are lined up for one write.
const GATHERED_BYTES: usize = 512 << 10;
/// Parts of at most this size are copied next to each other.
const COPIED_BYTES_MAX: usize = 1024;
/// So much is left to the writer's task.
const BULK_BYTES_MIN: usize = 16 << 10;
/// How often the writer looks into the outbox before it lets other tasks run.
const ROUNDS: usize = 16;
