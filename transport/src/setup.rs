//! From a QUIC connection to a link: who is there, and is this the connection to keep (see [`crate::peers`]).

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use quinn::{Connection, SendStream, WriteError};
use rolecast_membership::NodeId;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};

use crate::link::Link;
use crate::peers::{Peers, Proposal};
use crate::preface::{MINOR, Preface};
use crate::problem::{Problem, code};
use crate::session::Session;
use crate::shared::Shared;
use crate::sync::lock;
use crate::trust::node_id_of;

/// A connection whose QUIC handshake is done.
pub(crate) struct Setup {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Connection,
    pub(crate) addr: SocketAddr,
    pub(crate) dialled: bool,
}

impl Setup {
    /// Settles with the peer whether this connection is the link between the two, and announces it; `None` if another one is.
    ///
    /// On an error the connection is closed with the reason.
    pub(crate) async fn run(
        &self,
        expected: Option<NodeId>,
        deadline: Instant,
    ) -> Result<Option<Session>, Problem> {
        let settled = timeout_at(deadline, self.settle(expected))
            .await
            .unwrap_or(Err(Problem::TimedOut))
            .map_err(Problem::seen_from_here);
        match settled {
            Err(problem) if problem.is_duplicate() => {
                self.shared.tally.duplicates.up();
                Ok(None)
            }
            Err(problem) => {
                let (code, words) = problem.to_peer();
                self.connection.close(code, words.as_bytes());
                Err(problem)
            }
            Ok(session) => Ok(session),
        }
    }

    async fn settle(&self, expected: Option<NodeId>) -> Result<Option<Session>, Problem> {
        let peer = peer_of(&self.connection)?;
        if expected.is_some_and(|expected| expected != peer) {
            return Err(Problem::NotExpected(peer));
        }
        let control = self.connection.open_uni().await?;
        let data = self.connection.open_uni().await?;
        let bulk = self.connection.open_uni().await?;
        for (stream, priority) in [(&control, CONTROL_PRIORITY), (&bulk, BULK_PRIORITY)] {
            stream.set_priority(priority).map_err(WriteError::from)?;
        }
        let decides = lock(&self.shared.peers).decides(peer);
        if peer == self.shared.node_id {
            Err(self.meet_oneself(control).await)
        } else if decides {
            self.decide(peer, [control, data, bulk]).await
        } else {
            self.follow(peer, [control, data, bulk]).await
        }
    }

    /// At the end that decides: awaits the proposal, then takes the connection or closes it.
    async fn decide(
        &self,
        peer: NodeId,
        sends: [SendStream; 3],
    ) -> Result<Option<Session>, Problem> {
        let mut control = self.connection.accept_uni().await?;
        let theirs = Preface::read(&mut control).await?;
        let proposal = Proposal {
            attempt: theirs.attempt,
            holds: theirs.holds,
        };
        let link = self.link(peer);
        let ours = self.preface(Proposal::default());
        // The link is announced under the lock, so that the driver hears of links in the order in which they take each other's place.
        let mut peers = self.peers()?;
        match peers.decide(peer, proposal, theirs.instance, link.clone()) {
            Ok(replaced) => {
                let session = Session::announce(self, link, sends, control, Some(ours));
                drop(peers);
                close_replaced(replaced);
                Ok(Some(session))
            }
            Err(()) => {
                drop(peers);
                self.shared.tally.duplicates.up();
                let words = b"there is another connection between the two nodes";
                self.connection.close(code::DUPLICATE, words);
                Ok(None)
            }
        }
    }

    /// At the end that follows: proposes the connection and awaits the decision.
    async fn follow(
        &self,
        peer: NodeId,
        mut sends: [SendStream; 3],
    ) -> Result<Option<Session>, Problem> {
        let proposed = Proposed::new(&self.shared, peer);
        self.preface(proposed.proposal).write(&mut sends[0]).await?;
        let mut control = self.connection.accept_uni().await?;
        let theirs = Preface::read(&mut control).await?;
        let link = self.link(peer);
        let attempt = proposed.proposal.attempt;
        let mut peers = self.peers()?;
        let replaced = peers.accepted(peer, attempt, theirs.instance, link.clone());
        let session = Session::announce(self, link, sends, control, None);
        drop(peers);
        close_replaced(replaced);
        Ok(Some(session))
    }

    /// The peer has this node's own key: is it this very process?
    async fn meet_oneself(&self, mut control: SendStream) -> Problem {
        let met = async {
            self.preface(Proposal::default())
                .write(&mut control)
                .await?;
            let mut incoming = self.connection.accept_uni().await?;
            Preface::read(&mut incoming).await
        };
        match met.await {
            Ok(theirs) => Problem::SameKey {
                same_process: theirs.instance == self.shared.instance,
            },
            Err(problem) => problem,
        }
    }

    /// The table of peers, in which links are entered unless the transport is closing.
    fn peers(&self) -> Result<MutexGuard<'_, Peers<Link>>, Problem> {
        let peers = lock(&self.shared.peers);
        if self.shared.closing.load(Ordering::Relaxed) {
            return Err(Problem::Closing);
        }
        Ok(peers)
    }

    fn preface(&self, proposal: Proposal) -> Preface {
        Preface {
            minor: MINOR,
            instance: self.shared.instance,
            attempt: proposal.attempt,
            holds: proposal.holds,
        }
    }

    fn link(&self, peer: NodeId) -> Link {
        Link::new(&self.shared, peer, self.addr, self.connection.clone())
    }
}

/// A proposal that is withdrawn unless it was accepted.
struct Proposed<'a> {
    shared: &'a Shared,
    peer: NodeId,
    proposal: Proposal,
}

impl<'a> Proposed<'a> {
    fn new(shared: &'a Shared, peer: NodeId) -> Self {
        let proposal = lock(&shared.peers).propose(peer);
        Proposed {
            shared,
            peer,
            proposal,
        }
    }
}

impl Drop for Proposed<'_> {
    fn drop(&mut self) {
        lock(&self.shared.peers).withdraw(self.peer, self.proposal.attempt);
    }
}

fn close_replaced(replaced: Option<Link>) {
    if let Some(link) = replaced {
        tracing::info!(peer = %link.peer(), link = link.id(), "link replaced by another connection to the same node");
        link.close_replaced();
    }
}

/// Who is at the other end, by its certificate, which TLS has checked.
fn peer_of(connection: &Connection) -> Result<NodeId, Problem> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let certificate = chain.as_ref().and_then(|chain| chain.first());
    let certificate =
        certificate.ok_or_else(|| Problem::Violation("it shows no certificate".to_owned()))?;
    node_id_of(certificate).map_err(Problem::Violation)
}

/// Control goes first; data has QUIC's default, 0.
const CONTROL_PRIORITY: i32 = 1;
/// Bulk gets what room the others leave in a packet.
const BULK_PRIORITY: i32 = -1;
