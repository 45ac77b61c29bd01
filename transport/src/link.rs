//! The handle of one connection to one node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::NodeId;

use crate::event::Class;

/// One connection to one node; cheap to clone.
///
/// Nothing here blocks or fails: what is sent over a link that has ended goes nowhere, and the driver hears of the end as [`LinkDown`](crate::TransportEvent::LinkDown).
#[derive(Clone, Debug)]
pub struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    id: u64,
    peer: NodeId,
}

impl Link {
    /// The name of this connection, used only once within this process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.0.peer
    }

    /// Queues one frame, whose bytes are `head` followed by `body`; the peer gets them joined.
    ///
    /// Frames of one class arrive in order.
    /// The caller bounds what it hands in, by [`Written`](crate::TransportEvent::Written) for data.
    /// A frame larger than the peer's limit for its class makes the peer close the link.
    pub fn send_frame(&self, class: Class, head: Bytes, body: Bytes) {
        let _ = (class, head, body);
    }

    /// Sends a datagram, which may get lost; one that is larger than [`LinkStats::datagram_bytes_max`] is dropped and counted.
    pub fn send_datagram(&self, bytes: Bytes) {
        let _ = bytes;
    }

    /// Closes the link with a reason for the peer's log, once what was queued before has been sent (or one second has passed).
    ///
    /// `LinkDown` with [`LinkEnd::ClosedHere`](crate::LinkEnd::ClosedHere) follows. Further calls have no effect.
    pub fn close(&self, code: CloseCode, reason: &str) {
        let _ = (code, reason);
    }

    /// How the connection fares at this moment.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        LinkStats::default()
    }
}

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
