//! The handle of one connection to one node.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, SendDatagramError, SendStream, VarInt};
use rolecast_membership::NodeId;

use crate::counters::Tally;
use crate::event::{Class, LinkEnd};
use crate::peers::Alive;
use crate::problem::code;
use crate::shared::Shared;
use crate::sync::lock;
use crate::writer::Writer;

/// One connection to one node; cheap to clone.
///
/// Nothing here blocks or fails: what is sent over a link that has ended goes nowhere, and the driver hears of the end as [`LinkDown`](crate::TransportEvent::LinkDown).
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    id: u64,
    peer: NodeId,
    addr: SocketAddr,
    connection: Connection,
    outbox: Mutex<Outbox>,
    /// Present from the start of the link until its writer's end.
    writer: Mutex<Option<Writer>>,
    unflushed: Arc<Mutex<Vec<Link>>>,
    tally: Arc<Tally>,
}

/// What waits for the link's writer.
#[derive(Default)]
pub(crate) struct Outbox {
    /// In the order of [`Class::ALL`].
    pub(crate) waiting: [Waiting; 3],
    /// The writer's task, while it waits.
    pub(crate) writer: Option<Waker>,
    /// The link is among those that are flushed next.
    pub(crate) unflushed: bool,
    pub(crate) closing: Option<(VarInt, String)>,
    /// Why this end has closed the connection.
    closed_here: Option<LinkEnd>,
    /// The connection is gone: nothing is kept.
    pub(crate) ended: bool,
}

/// Frames of one class that wait for the link's writer.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) frames: VecDeque<Frame>,
    /// How many bytes these are.
    pub(crate) bytes: usize,
}

impl Outbox {
    /// Queues a frame, unless the link has ended or is to be closed.
    fn push(&mut self, class: Class, frame: Frame) -> bool {
        if self.ended || self.closing.is_some() {
            return false;
        }
        let waiting = &mut self.waiting[class as usize];
        waiting.bytes += frame.0.len() + frame.1.len();
        waiting.frames.push_back(frame);
        true
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.bytes).sum()
    }

    /// Whether the peer leaves more urgent frames unread than anybody has to keep for it.
    fn overflows(&self) -> bool {
        self.waiting[Class::Control as usize].bytes > CONTROL_BYTES_MAX
    }
}

/// Bytes of control frames that wait for one peer at most.
/// Of other frames the driver hands over no more than the writer reports as taken on.
const CONTROL_BYTES_MAX: usize = 8 << 20;

/// A frame to be sent: the second part follows the first.
pub(crate) struct Frame(pub(crate) Bytes, pub(crate) Bytes);

/// The code that goes with a driver's reason for closing a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

/// How a connection fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// The smoothed round trip time.
    pub rtt: Duration,
    /// Bytes of UDP payload sent.
    pub bytes_sent: u64,
    /// Bytes of UDP payload received.
    pub bytes_received: u64,
    /// Packets declared lost on the way to the peer.
    pub packets_lost: u64,
    /// The largest packet that the path is known to carry, in bytes of UDP payload.
    pub mtu: u16,
    /// The largest datagram that can be sent, in bytes.
    pub datagram_bytes_max: usize,
}

impl Link {
    pub(crate) fn new(
        shared: &Shared,
        peer: NodeId,
        addr: SocketAddr,
        connection: Connection,
    ) -> Self {
        Link(Arc::new(Inner {
            id: shared.next_link(),
            peer,
            addr,
            connection,
            outbox: Mutex::default(),
            writer: Mutex::default(),
            unflushed: shared.unflushed.clone(),
            tally: shared.tally.clone(),
        }))
    }

    /// The name of this connection, used only once by its transport.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.0.peer
    }

    /// Where the other end is.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// Queues one frame, whose bytes are `head` followed by `body`; the peer gets them joined.
    ///
    /// Frames of one class arrive in order.
    /// The caller bounds what it hands in, by [`Written`](crate::TransportEvent::Written) for data and bulk.
    /// A frame larger than the peer's limit for its class makes the peer close the link.
    pub fn send_frame(&self, class: Class, head: Bytes, body: Bytes) {
        let mut outbox = self.outbox();
        outbox.push(class, Frame(head, body));
        let writer = outbox.writer.take();
        drop(outbox);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// As [`Link::send_frame`], for many frames: they go out with the next call of [`Transport::flush`](crate::Transport::flush), or when events are asked for next.
    pub fn queue_frame(&self, class: Class, head: Bytes, body: Bytes) {
        let mut outbox = self.outbox();
        let queued = outbox.push(class, Frame(head, body));
        if outbox.overflows() {
            drop(outbox);
            let words = "it leaves urgent frames unread";
            self.close_now(code::VIOLATION, words, LinkEnd::Violation(words.to_owned()));
        } else if queued && !outbox.unflushed {
            outbox.unflushed = true;
            drop(outbox);
            lock(&self.0.unflushed).push(self.clone());
        }
    }

    /// Sends a datagram, which may get lost; one that is larger than [`LinkStats::datagram_bytes_max`] is dropped and counted.
    pub fn send_datagram(&self, bytes: Bytes) {
        if let Err(SendDatagramError::TooLarge) = self.0.connection.send_datagram(bytes) {
            self.0.tally.datagrams_oversized.up();
        }
    }

    /// Closes the link with a reason for the peer's log, once what was queued before has arrived there (or one second has passed).
    ///
    /// `LinkDown` with [`LinkEnd::ClosedHere`] follows. Further calls have no effect.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.close_when_flushed(VarInt::from(code.0), reason);
    }

    /// How the connection fares at this moment.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        let stats = self.0.connection.stats();
        LinkStats {
            rtt: stats.path.rtt,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_lost: stats.path.lost_packets,
            mtu: stats.path.current_mtu,
            datagram_bytes_max: self.0.connection.max_datagram_size().unwrap_or(0),
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Gives the link its streams; `preface` precedes all frames on the control stream.
    pub(crate) fn open(&self, sends: [SendStream; 3], preface: Bytes) {
        *lock(&self.0.writer) = Some(Writer::new(sends, preface));
    }

    /// What carries frames from the outbox to the streams.
    pub(crate) fn writer(&self) -> &Mutex<Option<Writer>> {
        &self.0.writer
    }

    /// What waits for the writer, under a lock that must be held for a moment only.
    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        lock(&self.0.outbox)
    }

    /// Asks the writer to close the link once it has sent what is queued.
    pub(crate) fn close_when_flushed(&self, code: VarInt, reason: &str) {
        let mut outbox = self.outbox();
        if outbox.closing.is_none() {
            outbox.closing = Some((code, reason.to_owned()));
        }
        let writer = outbox.writer.take();
        drop(outbox);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Closes the connection at once; the first reason stands.
    pub(crate) fn close_now(&self, code: VarInt, reason: &str, why: LinkEnd) {
        self.outbox().closed_here.get_or_insert(why);
        self.0.connection.close(code, reason.as_bytes());
    }

    /// Closes the connection at once because another one took its place.
    pub(crate) fn close_replaced(&self) {
        let words = "another connection between the two nodes took its place";
        self.close_now(code::REPLACED, words, LinkEnd::Replaced);
    }

    /// Drops what waits for a connection that is gone, sends the writer home, and says why this end closed it, if it did.
    pub(crate) fn bury(&self) -> Option<LinkEnd> {
        let mut outbox = self.outbox();
        outbox.ended = true;
        let waiting = mem::take(&mut outbox.waiting);
        let writer = outbox.writer.take();
        let why = outbox.closed_here.take();
        drop(outbox);
        drop(waiting);
        if let Some(writer) = writer {
            writer.wake();
        }
        why
    }
}

impl Alive for Link {
    fn is_alive(&self) -> bool {
        self.0.connection.close_reason().is_none()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("id", &self.0.id)
            .field("peer", &self.0.peer)
            .field("addr", &self.0.addr)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_frames_that_nobody_reads_do_not_pile_up() {
        let mut outbox = Outbox::default();
        let frame = || Frame(Bytes::from_static(&[0; 1 << 10]), Bytes::new());
        for _ in 0..CONTROL_BYTES_MAX >> 10 {
            outbox.push(Class::Control, frame());
            outbox.push(Class::Data, frame());
        }
        assert!(!outbox.overflows());
        outbox.push(Class::Control, frame());
        assert!(outbox.overflows());
    }
}
