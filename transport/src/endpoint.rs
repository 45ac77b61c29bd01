//! One UDP socket, its QUIC endpoint, and the links over it.

use std::net::SocketAddr;

use rolecast_membership::NodeId;

use crate::config::{BindError, TransportConfig};
use crate::counters::Counters;
use crate::event::Events;

/// One UDP socket with one QUIC endpoint on it, and at most one link to each node.
///
/// Dropping it closes every link at once; [`Transport::close`] does so in good order.
#[derive(Debug)]
pub struct Transport {
    node_id: NodeId,
    local_addr: SocketAddr,
}

impl Transport {
    /// Binds the socket and starts to accept. Must be called inside a tokio runtime.
    pub fn bind(config: TransportConfig) -> Result<(Transport, Events), BindError> {
        let node_id = config.trust.node_id();
        let local_addr = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok((
            Transport {
                node_id,
                local_addr,
            },
            Events {},
        ))
    }

    /// The address that the socket is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// This node's identity.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Starts one attempt to open a link to the node at this address, which must be `expected` if that is given.
    ///
    /// The outcome is a `LinkUp` or a `DialFailed` event.
    /// There is neither if the attempt ended because there is, or is just coming up, another connection to the same node, or if a dial to this address was under way already.
    pub fn dial(&self, addr: SocketAddr, expected: Option<NodeId>) {
        let _ = (addr, expected);
    }

    /// What went wrong so far, and how often.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// Closes every link, as [`Link::close`](crate::Link::close) does, tells peers why, and waits until they know or three seconds have passed.
    ///
    /// After it, [`Events`] ends once all has been taken.
    pub async fn close(&self, reason: &str) {
        let _ = reason;
    }
}
