//! A link from its announcement to its end.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};

use crate::event::{LinkEnd, TransportEvent};
use crate::link::Link;
use crate::preface::Preface;
use crate::problem::code;
use crate::reader::read_link;
use crate::setup::Setup;
use crate::shared::Shared;
use crate::sync::lock;
use crate::writer::write_link;

/// A link that has been announced and is to be started.
#[must_use = "a link that has been announced must be started"]
pub(crate) struct Session {
    shared: Arc<Shared>,
    link: Link,
    sends: [SendStream; 3],
    control: RecvStream,
    /// What this end must say first on the control stream, if it has not yet.
    preface: Option<Preface>,
}

impl Session {
    /// Tells the driver of a link.
    pub(crate) fn announce(
        setup: &Setup,
        link: Link,
        sends: [SendStream; 3],
        control: RecvStream,
        preface: Option<Preface>,
    ) -> Self {
        let shared = setup.shared.clone();
        shared.tally.links_up.up();
        shared.writers.send_modify(|writers| *writers += 1);
        shared.queue.push(TransportEvent::LinkUp {
            link: link.clone(),
            peer: link.peer(),
            addr: link.addr(),
            dialled: setup.dialled,
        });
        Session {
            shared,
            link,
            sends,
            control,
            preface,
        }
    }

    /// Starts to carry frames: a task writes, and the driver reads.
    pub(crate) fn start(self) {
        let Session {
            shared,
            link,
            sends,
            control,
            preface,
        } = self;
        let preface = preface.map_or_else(Bytes::new, |preface| preface.encode());
        link.open(sends, preface);
        shared.tasks.spawn(write_link(link.clone(), shared.clone()));
        let queue = shared.clone();
        queue.queue.adopt(Box::pin(read(shared, link, control)));
    }
}

/// Reads until the connection is gone, then tells the driver of the end.
async fn read(shared: Arc<Shared>, link: Link, control: RecvStream) {
    let problem = read_link(&link, control, &shared).await;
    let mut why = problem.as_link_end();
    if let LinkEnd::Violation(what) = &why {
        tracing::warn!(peer = %link.peer(), addr = %link.addr(), why = %what, "link closed: the peer broke the protocol");
        shared.tally.violations.up();
        link.close_now(code::VIOLATION, what, why.clone());
    }
    if let Some(closed_here) = link.bury() {
        why = closed_here;
    }
    lock(&shared.peers).ended(link.peer(), |other| other.id() == link.id());
    shared.tally.links_down.up();
    shared.queue.push_end(TransportEvent::LinkDown {
        id: link.id(),
        peer: link.peer(),
        why,
    });
}
