//! Links that nobody uses rest, and come back when they are needed.
//!
//! A link at rest stands in the place of a link, like a way over others does, so that to everything above it the peer is linked as before.
//! It ends in one of two ways: a link comes up, or it was wanted and did not come up, and then it is a dead one.

use std::time::Duration;

use rolecast_membership::{Epoch, NodeId, Time};

use super::{Dial, Link, Path, Peer, Peers};
use crate::api::LinkId;
use crate::canary::planted;
use crate::session::Session;

/// How often the time for which a link has to be idle may double, if messages keep waking it.
const DOUBLED_MAX: u32 = 4;
/// Messages that wake a link so soon after it came to rest show that this was too soon.
const SOON: Duration = Duration::from_secs(30);
/// How long an answer to that question may take; only then is it asked again.
const ANSWER: Duration = Duration::from_secs(5);
/// A link that is woken and does not come up within this is dead.
const WAKING: Duration = Duration::from_secs(1);

/// A link that is closed until it is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    since: Time,
    /// Since when it is needed.
    waking: Option<Time>,
}

/// How a link is used, as far as that decides when it rests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Use {
    /// When something that is no message went over it last, or was found to have done so.
    at: Time,
    /// How much had gone over its session then.
    frames: u64,
    /// How often the time for which it has to be idle has doubled.
    doubled: u32,
    /// Whether the link that came up last had rested.
    pub(super) woken: bool,
    /// When the other end was asked whether it may rest.
    pub(super) asked_at: Option<Time>,
}

impl Use {
    /// Takes note of what went over the session since this was asked last.
    fn look(&mut self, now: Time, session: Option<&Session>) {
        let frames = session.map_or(0, Session::frames);
        if frames != self.frames {
            self.frames = frames;
            self.at = now;
        }
    }
}

impl Peer {
    fn rest(&self) -> Option<Rest> {
        match &self.link {
            Some(Link {
                path: Path::Resting(rest),
                ..
            }) => Some(*rest),
            _ => None,
        }
    }

    /// Whether its link rests, or is being woken.
    pub(crate) fn is_resting(&self) -> bool {
        self.rest().is_some()
    }

    /// Whether its link rests, or came back from that and has not carried its hello.
    pub(crate) fn is_coming_back(&self) -> bool {
        let greeted = |link: &Link| link.hello.is_some();
        self.is_resting()
            || self.usage.woken && self.link.as_ref().is_some_and(|link| !greeted(link))
    }

    /// Whether its link rests and nobody needs it.
    pub(super) fn is_asleep(&self) -> bool {
        self.rest().is_some_and(|rest| rest.waking.is_none())
    }

    /// Whether the end of its link is no surprise: it may rest, for all that this end had to say.
    pub(super) fn awaits_rest(&self, now: Time) -> bool {
        let lately = |at: Time| now < at + ANSWER;
        // Whoever is no member any more is not dialled, so that nothing would wake it.
        self.dial.addr.is_some() && self.usage.asked_at.is_some_and(lately)
    }

    /// The life in which it is linked over a link of its own, if nothing waits there.
    fn idle_life(&self) -> Option<Epoch> {
        let link = self.link.as_ref().filter(|_| self.waiting.is_empty())?;
        let direct = matches!(link.path, Path::Direct(_));
        let empty = link.lanes.iter().all(|lane| lane.waiting.is_empty());
        let life = link.hello.filter(|_| direct && empty)?;
        let session = self.session.as_ref();
        let settled = session.is_none_or(|session| {
            session.peer_epoch == life && session.is_settled() && session.owes_nothing()
        });
        settled.then_some(life)
    }
}

impl Peers {
    /// How many links there are beyond so many.
    pub(crate) fn surplus(&self, links_max: usize) -> usize {
        self.by_link.len().saturating_sub(links_max)
    }

    /// Something that is no message goes over the link to a peer.
    pub(crate) fn on_used(&mut self, node: NodeId) {
        let now = self.now;
        if let Some(peer) = self.get_mut(node) {
            peer.usage.at = now;
        }
    }

    /// The peers whose links have been idle for long enough, those first that have been so for longest.
    pub(crate) fn idle(&mut self, now: Time, long_enough: Duration) -> Vec<NodeId> {
        let mut idle = Vec::new();
        for (&node, peer) in &mut self.by_node {
            if peer.direct().is_none() {
                continue;
            }
            peer.usage.look(now, peer.session.as_ref());
            let long_enough = long_enough * 2u32.pow(peer.usage.doubled);
            if peer.usage.at + long_enough <= now && !peer.awaits_rest(now) {
                idle.push((peer.usage.at, node));
            }
        }
        idle.sort_unstable();
        idle.into_iter().map(|(_, node)| node).collect()
    }

    /// The life of a peer to which nothing is under way over its link, and which nobody waits for.
    pub(crate) fn idle_life(&self, node: NodeId) -> Option<Epoch> {
        self.get(node)?.idle_life()
    }

    /// Whether nothing has gone over the link to a peer for so long.
    pub(crate) fn is_quiet(&mut self, now: Time, node: NodeId, long_enough: Duration) -> bool {
        self.get_mut(node).is_some_and(|peer| {
            peer.usage.look(now, peer.session.as_ref());
            peer.usage.at + long_enough <= now
        })
    }

    /// The peer is asked whether its link may rest.
    pub(crate) fn on_asked_to_rest(&mut self, now: Time, node: NodeId) {
        if let Some(peer) = self.get_mut(node) {
            peer.usage.asked_at = Some(now);
        }
    }

    /// The link to a peer is closed until it is needed; gives it.
    pub(crate) fn rest(&mut self, now: Time, node: NodeId) -> Option<LinkId> {
        let peer = self.by_node.get_mut(&node)?;
        let link = peer.link.as_mut()?;
        let Path::Direct(id) = link.path else {
            return None;
        };
        let mut resting = Link::new(Path::Resting(Rest {
            since: now,
            waking: None,
        }));
        resting.hello = link.hello;
        *link = resting;
        peer.usage.asked_at = None;
        peer.dial = Dial {
            addr: peer.dial.addr,
            ..Dial::default()
        };
        self.by_link.remove(&id);
        self.asleep.insert(node);
        if planted!(RestTakenForDeath) {
            peer.unlinked_since = Some(now);
        }
        Some(id)
    }

    /// The link to a peer is needed, for messages or for something else: it is dialled if it rests.
    pub(crate) fn wake(&mut self, node: NodeId, for_messages: bool) {
        let now = self.now;
        let Some(peer) = self.by_node.get_mut(&node) else {
            return;
        };
        let Some(Link {
            path: Path::Resting(rest @ Rest { waking: None, .. }),
            ..
        }) = &mut peer.link
        else {
            return;
        };
        if planted!(RestNotWoken) {
            return;
        }
        rest.waking = Some(now);
        if for_messages {
            let soon = now.since(rest.since) < SOON;
            let doubled = if soon { peer.usage.doubled + 1 } else { 0 };
            peer.usage.doubled = doubled.min(DOUBLED_MAX);
        }
        peer.dial.at = Some(now);
        self.asleep.remove(&node);
        self.dial_not_before(now);
    }

    /// A link at rest is none any more; gives since when it was needed, if it was, and nothing if there was none.
    pub(crate) fn end_rest(&mut self, node: NodeId) -> Option<Option<Time>> {
        let peer = self.by_node.get_mut(&node)?;
        let waking = peer.rest()?.waking;
        if let Some(since) = waking {
            peer.unlinked_since.get_or_insert(since);
        }
        peer.link = None;
        self.asleep.remove(&node);
        Some(waking)
    }

    /// The peers whose links rest, or are being woken, of those for whom it holds.
    pub(crate) fn resting(&self, holds: impl Fn(&Peer) -> bool) -> Vec<NodeId> {
        let resting = self
            .iter()
            .filter(|(_, peer)| peer.is_resting() && holds(peer));
        resting.map(|(node, _)| node).collect()
    }

    /// The peers whose links were woken and did not come up in time.
    pub(crate) fn overslept(&self, now: Time) -> Vec<NodeId> {
        let late = |since: Time| since + WAKING <= now;
        self.resting(|peer| peer.rest().and_then(|rest| rest.waking).is_some_and(late))
    }
}
