//! What a transport tells its driver.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rolecast_membership::NodeId;

use crate::link::Link;
use crate::problem::code;
use crate::readers::Readers;
use crate::shared::Shared;
use crate::sync::lock;

/// Which of a link's reliable streams: control never waits behind data, nor data behind bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Small and urgent.
    Control,
    /// Everything that carries payload, and what must stay in order with it.
    Data,
    /// What is large and can wait.
    Bulk,
}

impl Class {
    /// All of them, the more urgent ones first.
    pub const ALL: [Class; 3] = [Class::Control, Class::Data, Class::Bulk];
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TransportEvent {
    /// A link is open: frames and datagrams may be sent.
    ///
    /// It may replace an earlier link to the same peer, whose `LinkDown` comes before or after.
    LinkUp {
        /// The handle.
        link: Link,
        /// Who is at its other end, proved by its certificate.
        peer: NodeId,
        /// Where it is.
        addr: SocketAddr,
        /// Whether this end dialled.
        dialled: bool,
    },
    /// A link has ended, after the last of its frames. There is exactly one for each `LinkUp`.
    LinkDown {
        /// Which link.
        id: u64,
        /// Who was at its other end.
        peer: NodeId,
        /// Why.
        why: LinkEnd,
    },
    /// A dial came to nothing.
    DialFailed {
        /// The address that was dialled.
        addr: SocketAddr,
        /// Why.
        why: DialError,
    },
    /// One whole frame arrived.
    Frame {
        /// Over which link.
        id: u64,
        /// In which class.
        class: Class,
        /// Head and body as the sender gave them, joined.
        bytes: Bytes,
    },
    /// A datagram arrived.
    Datagram {
        /// Over which link.
        id: u64,
        /// What was sent.
        bytes: Bytes,
    },
    /// QUIC has taken on so many more of the bytes of one class, data or bulk, given to [`Link::send_frame`] (heads and bodies).
    ///
    /// The driver is woken for it when 64 KiB have come together, over all links; less is told with whatever happens next.
    Written {
        /// Which link.
        id: u64,
        /// Which class.
        class: Class,
        /// How many bytes more.
        bytes: usize,
    },
    /// An incoming connection was refused; it is logged and counted too.
    Refused {
        /// Who tried.
        addr: SocketAddr,
        /// Why.
        why: RefusalReason,
    },
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkEnd {
    /// The peer closed it.
    #[error("closed by the peer: {reason} (code {code:#x})")]
    ClosedByPeer {
        /// The peer's code.
        code: u64,
        /// The peer's words.
        reason: String,
    },
    /// This end closed it.
    #[error("closed here")]
    ClosedHere,
    /// A more recent connection to the same node took its place.
    #[error("replaced by another connection to the same node")]
    Replaced,
    /// The peer broke the framing, and this end closed the link.
    #[error("the peer broke the protocol: {0}")]
    Violation(String),
    /// Nothing was heard from the peer for too long.
    #[error("timed out")]
    TimedOut,
    /// The peer's process is gone: something at its address does not know this connection.
    #[error("the peer has forgotten this connection")]
    Reset,
    /// QUIC itself failed.
    #[error("{0}")]
    Lost(String),
}

/// Why a dial came to nothing. Nothing was sent to any application.
///
/// ```
/// use rolecast_transport::DialError;
///
/// /// Whether it is worth a second try without anybody doing anything.
/// fn passes_by_itself(why: &DialError) -> bool {
///     matches!(why, DialError::TimedOut | DialError::Closed(_))
/// }
///
/// assert!(passes_by_itself(&DialError::TimedOut));
/// assert!(!passes_by_itself(&DialError::AnotherMesh));
/// // Every text ends a sentence about the address that was dialled.
/// println!("10.0.0.1:7400: {}", DialError::AnotherMesh);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody answered in time.
    #[error("nobody answered in time")]
    TimedOut,
    /// The address cannot be dialled from this socket.
    #[error("the address cannot be reached: {0}")]
    Unreachable(String),
    /// The node there is of another mesh: its secret, or the authority of its certificate, is not this node's.
    #[error("it is of another mesh: its secret, or the authority of its certificate, is another")]
    AnotherMesh,
    /// The node there does not accept this node's certificate, for instance because it has expired.
    #[error("it refused this node's certificate: {0}")]
    RefusedByPeer(String),
    /// The certificate of the node there is of no use, for instance because it has expired.
    #[error("its certificate is refused: {0}")]
    CertificateRefused(String),
    /// The node there speaks another version of the protocol.
    #[error("it speaks another protocol version: {0}")]
    Version(String),
    /// Another node was expected at this address.
    #[error("node {found} is at this address")]
    NotExpected {
        /// Who is there.
        found: NodeId,
    },
    /// The address is this node's own.
    #[error("it is this node's own address")]
    Myself,
    /// Another process holds this node's key.
    #[error(
        "another process there has the same key as this node: give each its own state directory"
    )]
    DuplicateIdentity,
    /// The peer broke the protocol before the link was up.
    #[error("it broke the protocol: {0}")]
    Violation(String),
    /// The connection ended before the link was up.
    #[error("the connection ended: {0}")]
    Closed(String),
}

/// Why an incoming connection was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The certificate is not one of this mesh, or has expired.
    #[error("its certificate is refused: {0}")]
    Certificate(String),
    /// It does not accept this node's certificate.
    #[error("it refused this node's certificate: {0}")]
    RefusedByPeer(String),
    /// It speaks another version of the protocol.
    #[error("it speaks another protocol version: {0}")]
    Version(String),
    /// It did not finish its handshake in time.
    #[error("it did not finish its handshake in time")]
    TimedOut,
    /// It has this node's own key.
    #[error("it has the same key as this node: give each process its own state directory")]
    DuplicateIdentity,
    /// It broke the protocol.
    #[error("it broke the protocol: {0}")]
    Violation(String),
}

/// Where a driver hears what happened.
///
/// One receiver for all links: what is urgent (everything but data and bulk frames) comes before data frames, these before bulk frames, of which only a few come at a time, and a link's `LinkUp` before anything else of it.
/// Frames that are not taken hold their senders back through QUIC's flow control.
///
/// Links are read whenever events are asked for, by the task that asks; so ask soon after each turn.
/// Dropping it closes every link, since nobody would read any more.
pub struct Events {
    shared: Arc<Shared>,
    readers: Readers,
}

impl Events {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let readers = Readers::new(shared.clone());
        Events { shared, readers }
    }

    /// Waits until something has happened and appends it: first everything urgent, then at most `data_frames_max` data frames (and ends of links), then a few bulk frames.
    ///
    /// Returns `false`, with nothing appended, when the transport has been closed and all has been taken.
    /// Cancel safe: nothing is lost when the future is dropped.
    pub async fn recv_many(
        &mut self,
        into: &mut Vec<TransportEvent>,
        data_frames_max: usize,
    ) -> bool {
        poll_fn(|cx| self.poll_recv_many(cx, into, data_frames_max)).await
    }

    /// As [`Events::recv_many`], for callers that poll.
    pub fn poll_recv_many(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<TransportEvent>,
        data_frames_max: usize,
    ) -> Poll<bool> {
        self.shared.flush();
        self.readers.run();
        self.shared.queue.poll_take(cx, into, data_frames_max)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        for link in self.shared.stop() {
            let words = "the node has stopped";
            link.close_now(code::CLOSING, words, LinkEnd::ClosedHere);
        }
        // What waits to be flushed would keep its link, and the link the socket.
        lock(&self.shared.unflushed).clear();
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("links", &self.readers.len())
            .finish_non_exhaustive()
    }
}
