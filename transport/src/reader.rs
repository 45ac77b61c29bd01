//! What comes in over a link: datagrams, control, data and bulk, read by one future.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::{AcceptUni, Connection, ConnectionError, ReadDatagram, ReadError, RecvStream};
use tokio::time::timeout;

use crate::event::{Class, TransportEvent};
use crate::frames::Deframer;
use crate::link::Link;
use crate::problem::Problem;
use crate::queue::Queue;
use crate::shared::Shared;
use crate::timing::CLOSE_AFTER_FINISH;

/// Reads until the connection is gone or the peer breaks the protocol; what arrived before the end has been queued by then.
pub(crate) async fn read_link(link: &Link, control: RecvStream, shared: &Shared) -> Problem {
    let connection = link.connection();
    let limits = &shared.limits;
    let sink = Sink {
        link: link.id(),
        queue: &shared.queue,
    };
    let mut control = Lane::new(
        Class::Control,
        limits.control_frame_bytes_max,
        Source::Open(control),
    );
    let mut data = Lane::new(Class::Data, limits.data_frame_bytes_max, Source::Awaited);
    let mut bulk = Lane::new(Class::Bulk, limits.data_frame_bytes_max, Source::Awaited);
    let mut datagrams = pin!(connection.read_datagram());
    // Streams are accepted in the order in which the peer opened them, whichever of them carried something first.
    let mut accept = pin!(connection.accept_uni());
    let end = poll_fn(|cx| {
        sink.poll_datagrams(cx, connection, datagrams.as_mut());
        let control = control.poll(cx, &sink, accept.as_mut())?;
        let data_end = data.poll(cx, &sink, accept.as_mut())?;
        let bulk_end = match data.source {
            Source::Awaited => Poll::Pending,
            _ => bulk.poll(cx, &sink, accept.as_mut())?,
        };
        // What arrived before the connection was lost is in one lane or another: all are read to the end.
        Poll::Ready(Ok(ready!(control)
            .or(ready!(data_end))
            .or(ready!(bulk_end))))
    })
    .await;
    match end {
        Ok(Some(lost)) => lost.into(),
        Ok(None) => match timeout(CLOSE_AFTER_FINISH, connection.closed()).await {
            Ok(closed) => closed.into(),
            Err(_) => Problem::Violation("it finished its streams but did not close".to_owned()),
        },
        Err(problem) => problem,
    }
}

/// One class of frames.
struct Lane {
    class: Class,
    source: Source,
    deframer: Deframer,
    chunks: Box<[Bytes; CHUNKS]>,
    /// Frames on their way to the queue.
    frames: Vec<TransportEvent>,
}

/// Where a lane's bytes come from.
enum Source {
    /// The peer has not opened the stream yet.
    Awaited,
    /// The stream.
    Open(RecvStream),
    /// The peer finished the stream, or the connection was lost.
    Ended(Option<ConnectionError>),
}

impl Lane {
    fn new(class: Class, frame_bytes_max: usize, source: Source) -> Self {
        Lane {
            class,
            source,
            deframer: Deframer::new(frame_bytes_max),
            chunks: Box::new([const { Bytes::new() }; CHUNKS]),
            frames: Vec::new(),
        }
    }

    /// Moves frames from the stream to the queue; ready at the end of the stream, with the reason if that was the loss of the connection.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        sink: &Sink<'_>,
        accept: Pin<&mut AcceptUni<'_>>,
    ) -> Poll<Result<Option<ConnectionError>, Problem>> {
        if let Source::Awaited = self.source {
            self.source = match ready!(accept.poll(cx)) {
                Ok(stream) => Source::Open(stream),
                Err(lost) => Source::Ended(Some(lost)),
            };
        }
        let rounds = match self.class {
            Class::Control | Class::Data => ROUNDS,
            Class::Bulk => BULK_ROUNDS,
        };
        for _ in 0..rounds {
            if let Source::Ended(why) = &self.source {
                return Poll::Ready(Ok(why.clone()));
            }
            ready!(sink.queue.poll_room(self.class, sink.link, cx));
            ready!(self.poll_chunks(cx, sink))?;
        }
        // Other tasks have a right to run too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_chunks(&mut self, cx: &mut Context<'_>, sink: &Sink<'_>) -> Poll<Result<(), Problem>> {
        let Source::Open(stream) = &mut self.source else {
            return Poll::Ready(Ok(()));
        };
        let read = ready!(pin!(stream.read_chunks(&mut self.chunks[..])).poll(cx));
        match read {
            Ok(Some(count)) => self.deframe(count, sink)?,
            Ok(None) if self.deframer.is_between_frames() => self.source = Source::Ended(None),
            Ok(None) => return Poll::Ready(Err(Problem::Violation("a frame was cut off".into()))),
            Err(ReadError::ConnectionLost(lost)) => self.source = Source::Ended(Some(lost)),
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        Poll::Ready(Ok(()))
    }

    fn deframe(&mut self, count: usize, sink: &Sink<'_>) -> Result<(), Problem> {
        let Lane {
            class,
            deframer,
            chunks,
            frames,
            ..
        } = self;
        let (id, class) = (sink.link, *class);
        let mut total = 0;
        for chunk in &mut chunks[..count] {
            deframer
                .push(std::mem::take(chunk), |bytes| {
                    total += bytes.len();
                    frames.push(TransportEvent::Frame { id, class, bytes });
                })
                .map_err(|error| Problem::Violation(error.to_string()))?;
        }
        if !frames.is_empty() {
            sink.queue.push_frames(class, frames, total);
        }
        Ok(())
    }
}

/// Where what was read goes.
struct Sink<'a> {
    link: u64,
    queue: &'a Queue,
}

impl Sink<'_> {
    /// Moves datagrams to the queue. They end only with the connection, which the streams tell once they have been read to the end.
    fn poll_datagrams<'c>(
        &self,
        cx: &mut Context<'_>,
        connection: &'c Connection,
        mut datagrams: Pin<&mut ReadDatagram<'c>>,
    ) {
        for _ in 0..DATAGRAMS {
            match datagrams.as_mut().poll(cx) {
                Poll::Ready(Ok(bytes)) => self.queue.push(TransportEvent::Datagram {
                    id: self.link,
                    bytes,
                }),
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
            datagrams.set(connection.read_datagram());
        }
        cx.waker().wake_by_ref();
    }
}

/// How many chunks (about one packet each) are read under one lock of the connection.
const CHUNKS: usize = 32;
/// How often a lane reads before it lets other tasks run.
const ROUNDS: usize = 8;
/// As [`ROUNDS`], of a lane behind which nothing small shall wait.
const BULK_ROUNDS: usize = 1;
/// How many datagrams are read before other tasks may run.
const DATAGRAMS: usize = 64;
