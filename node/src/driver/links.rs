//! Between the engine and the transport.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::NodeId;
use rolecast_protocol::{Class, CloseReason, Input, LinkId};
use rolecast_transport::{Class as Stream, CloseCode, DialError, LinkEnd, TransportEvent};

use super::Driver;
use crate::members::MeshEvent;
use crate::simulation::Sight;

impl Driver {
    pub(super) fn on_transport(&mut self, event: TransportEvent) {
        let input = match event {
            TransportEvent::Frame { id, class, bytes } => Input::Frame {
                link: LinkId(id),
                class: class_of(class),
                bytes,
            },
            TransportEvent::Datagram { id, bytes } => Input::Datagram {
                link: LinkId(id),
                bytes,
            },
            TransportEvent::Written { id, class, bytes } => Input::Written {
                link: LinkId(id),
                class: class_of(class),
                bytes,
            },
            TransportEvent::LinkUp {
                link,
                peer,
                addr,
                dialled,
            } => {
                tracing::debug!(%peer, %addr, dialled, "a link is up");
                let id = LinkId(link.id());
                self.links.insert(id, link);
                self.counters.links.set(self.links.len() as f64);
                self.tell_watchers(&MeshEvent::LinkUp(peer));
                Input::LinkUp {
                    link: id,
                    peer,
                    addr,
                }
            }
            TransportEvent::LinkDown { id, peer, why } => {
                if let LinkEnd::Violation(_) = why {
                    self.counters.violations.increment(1);
                    tracing::warn!(%peer, %why, "a link is gone");
                } else {
                    tracing::debug!(%peer, %why, "a link is gone");
                }
                self.links.remove(&LinkId(id));
                self.counters.links.set(self.links.len() as f64);
                self.tell_watchers(&MeshEvent::LinkDown(peer));
                Input::LinkDown { link: LinkId(id) }
            }
            TransportEvent::DialFailed { addr, why } => {
                tracing::debug!(%addr, %why, "a dial failed");
                self.counters.dials_failed.increment(1);
                // That a list of seeds names this node too is nobody's trouble.
                if why != DialError::Myself {
                    self.tell_watchers(&MeshEvent::DialFailed { addr, why });
                }
                Input::DialFailed { addr }
            }
            // The transport has logged who and why.
            TransportEvent::Refused { .. } => {
                self.counters.refused.increment(1);
                return;
            }
            _ => return,
        };
        self.witnessed.saw(&self.engine, || Sight::Hears(&input));
        self.engine.handle(self.now, input);
    }

    /// Queues a frame until the transport is flushed.
    pub(super) fn send_frame(&self, link: LinkId, class: Class, head: Bytes, body: Bytes) {
        let class = match class {
            Class::Control => Stream::Control,
            Class::Data => Stream::Data,
            Class::Bulk => Stream::Bulk,
        };
        // What is sent over a link that is gone is sent again over the next one.
        if let Some(link) = self.links.get(&link) {
            link.queue_frame(class, head, body);
        }
    }

    pub(super) fn send_datagram(&self, link: LinkId, bytes: Bytes) {
        if let Some(link) = self.links.get(&link) {
            link.send_datagram(bytes);
        }
    }

    pub(super) fn dial(&self, addr: SocketAddr, peer: Option<NodeId>) {
        if let Some(transport) = &self.transport {
            transport.dial(addr, peer);
        }
    }

    /// Closes every link, and waits until the address is free if another node may want it.
    pub(super) async fn close_transport(&mut self) {
        let Some(transport) = self.transport.take() else {
            return;
        };
        transport.close(LEAVING).await;
        let addr = transport.local_addr();
        drop(transport);
        self.links.clear();
        let mut left = Vec::new();
        while self.events.recv_many(&mut left, usize::MAX).await {
            left.clear();
        }
        if !self.address_matters {
            return;
        }
        // The endpoint drops its socket in a task of its own and does not say when: as a rule within milliseconds, after seconds if a handshake was under way.
        let free = async {
            while UdpSocket::bind(addr).is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(SOCKET_PATIENCE, free).await.is_err() {
            tracing::debug!(%addr, "the socket is still in use");
        }
    }

    /// Closes the link to this node without a reason of the engine's.
    #[cfg(feature = "simulation")]
    pub(super) fn sever(&self, peer: NodeId) {
        if let Some(link) = self.links.values().find(|link| link.peer() == peer) {
            link.close(CLOSE_SEVERED, "the simulation");
        }
    }

    pub(super) fn close_link(&self, link: LinkId, reason: &CloseReason) {
        let (code, text) = match reason {
            CloseReason::Leaving => (CLOSE_LEAVING, LEAVING),
            CloseReason::Idle => (CLOSE_IDLE, IDLE),
            CloseReason::Violation(what) => (CLOSE_VIOLATION, *what),
        };
        if let Some(link) = self.links.get(&link) {
            link.close(code, text);
        }
    }
}

/// The engine's word for one of the transport's streams.
fn class_of(stream: Stream) -> Class {
    match stream {
        Stream::Control => Class::Control,
        Stream::Data => Class::Data,
        Stream::Bulk => Class::Bulk,
    }
}

/// What peers of a node that leaves are told.
const LEAVING: &str = "the node leaves";
/// What a peer is told that has agreed that a link may rest.
const IDLE: &str = "neither end needs the link";
const CLOSE_LEAVING: CloseCode = CloseCode(1);
const CLOSE_VIOLATION: CloseCode = CloseCode(2);
const CLOSE_IDLE: CloseCode = CloseCode(4);
#[cfg(feature = "simulation")]
const CLOSE_SEVERED: CloseCode = CloseCode(3);
/// How long a node that closes waits for its socket to be gone.
const SOCKET_PATIENCE: Duration = Duration::from_secs(2);
