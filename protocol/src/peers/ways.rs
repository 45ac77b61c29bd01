//! Which peers are reached over others, and by which way.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, Time};

use super::{Incoming, Link, Path, Peer, Peers, Trial};
use crate::api::{Class, LinkId, Output};
use crate::canary::planted;
use crate::session::LaneName;
use crate::way::{Carrier, Envelope, Way};

/// A link that came up while its peer is reached over others has to hold for so long before it is relied on.
pub(crate) const HOLD: Duration = Duration::from_secs(1);
/// For so long a member has to be without a link before the others are told, and is to have had one before they are told that too.
const UNLINKED: Duration = Duration::from_secs(1);
/// Whoever is not heard for so long is not heard over this way.
pub(crate) const SILENCE: Duration = Duration::from_secs(4);
/// How often there is a sign of life on a way.
const SIGN_EVERY: Duration = Duration::from_secs(1);
/// The wait before a way is opened after another one failed; it doubles with every further one.
const REOPEN_MIN: Duration = Duration::from_millis(100);
/// The longest such wait.
const REOPEN_MAX: Duration = Duration::from_secs(5);

/// Why something was not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unpassed {
    /// There is no link to the next node.
    NoLink,
    /// There is none at this moment, and there will be one in the next.
    Resting,
    /// As much as may be for others waits for the link already.
    NoRoom,
}

impl Peer {
    /// The link to it, whether what is sent goes over it or not.
    pub(crate) fn direct(&self) -> Option<LinkId> {
        match &self.link {
            Some(Link {
                path: Path::Direct(id),
                ..
            }) => Some(*id),
            _ => self.trial.map(|trial| trial.id),
        }
    }

    /// The way by which it is reached over others, if it is.
    pub(crate) fn way(&self) -> Option<&Way> {
        match &self.link {
            Some(Link {
                path: Path::Over(way),
                ..
            }) => Some(way),
            _ => None,
        }
    }

    fn way_mut(&mut self) -> Option<&mut Way> {
        match &mut self.link {
            Some(Link {
                path: Path::Over(way),
                ..
            }) => Some(way),
            _ => None,
        }
    }

    pub(super) fn is_detoured(&self) -> bool {
        self.way().is_some()
    }

    /// When its link came up, if what is sent goes over that.
    pub(crate) fn direct_since(&self) -> Option<Time> {
        let direct = matches!(&self.link, Some(link) if matches!(link.path, Path::Direct(_)));
        self.linked_at.filter(|_| direct)
    }

    /// Whether another way may be opened at this moment.
    pub(crate) fn may_open_way(&self, now: Time) -> bool {
        self.next_way_at <= now
    }

    /// Whether there has been no link to it for a while.
    fn is_unlinked(&self, now: Time) -> bool {
        self.unlinked_since.is_some_and(|at| at + UNLINKED <= now)
    }

    /// Whether a link to it has held for a while, or rests because it did.
    fn is_steady(&self, now: Time) -> bool {
        self.is_resting() || self.direct_since().is_some_and(|at| at + UNLINKED <= now)
    }

    /// Whether a link was tried and there has been none for so long.
    pub(crate) fn lacks_link_since(&self, now: Time, wait: Duration) -> bool {
        self.link.is_none() && self.unlinked_since.is_some_and(|at| at + wait <= now)
    }

    /// The way back over which it was heard a moment ago, and the number of its own.
    pub(crate) fn heard_lately(&self, now: Time) -> Option<(u64, &[NodeId])> {
        let heard = self.heard.as_ref()?;
        let over = self.dead_epoch >= Some(heard.life);
        let lately = heard.is_whole() && !over && now.since(heard.at) < SILENCE;
        lately.then_some((heard.number, &heard.back))
    }

    /// The life in which it was heard over its way a moment ago.
    fn heard_life(&self, now: Time) -> Option<Epoch> {
        self.heard_lately(now)?;
        self.heard.as_ref().map(|heard| heard.life)
    }

    /// Its hello came over this.
    pub(crate) fn on_hello(&mut self, carrier: Carrier, epoch: Epoch) {
        match carrier {
            Carrier::Link(id) if self.trial.is_some_and(|trial| trial.id == id) => {
                self.trial = self.trial.map(|trial| Trial {
                    hello: Some(epoch),
                    ..trial
                });
            }
            Carrier::Link(id) => {
                let link = self.link.as_mut();
                if let Some(link) = link.filter(|l| matches!(l.path, Path::Direct(d) if d == id)) {
                    link.hello = Some(epoch);
                }
            }
            Carrier::Way(..) => {
                let link = self.link.as_mut();
                if let Some(link) = link.filter(|link| matches!(link.path, Path::Over(_))) {
                    link.hello = Some(epoch);
                }
            }
        }
    }

    /// A lane comes over this from here on, with so many repeated frames first.
    pub(crate) fn resume(&mut self, lane: LaneName, carrier: Carrier, repeated: Option<u64>) {
        let incoming = &mut self.incoming[lane as usize];
        match repeated {
            Some(repeated) => *incoming = Some(Incoming { carrier, repeated }),
            // It says nothing of what comes over another one.
            None => *incoming = incoming.filter(|incoming| incoming.carrier != carrier),
        }
    }

    /// How many repeated frames are still to come in a lane; nothing if this carries nothing that counts.
    pub(crate) fn receiving(&mut self, lane: LaneName, carrier: Carrier) -> Option<&mut u64> {
        let incoming = self.incoming[lane as usize].as_mut();
        let incoming = incoming.filter(|incoming| incoming.carrier == carrier)?;
        Some(&mut incoming.repeated)
    }
}

impl Peers {
    /// The link over which this node and a peer speak, if there is one that has carried a hello and is relied on.
    pub(crate) fn direct(&self, node: NodeId) -> Option<LinkId> {
        match self.get(node)?.link.as_ref()? {
            Link {
                path: Path::Direct(id),
                hello: Some(_),
                ..
            } => Some(*id),
            _ => None,
        }
    }

    /// The link that comes first on the way to a peer, and, if others relay after that, the bytes of each lane that wait for it.
    pub(super) fn first_link(&self, node: NodeId) -> Option<(LinkId, [usize; 2])> {
        match &self.get(node)?.link.as_ref()?.path {
            Path::Direct(id) => Some((*id, [0; 2])),
            Path::Resting(_) => None,
            Path::Over(way) => {
                let link = self.direct(way.relay())?;
                let first = self.get(way.relay())?.link.as_ref()?;
                Some((link, first.lanes.each_ref().map(|lane| lane.waiting.own())))
            }
        }
    }

    /// What a way has taken into its first link waits there with what else is sent over that.
    pub(super) fn count_relayed(&mut self, first: LinkId, bytes: [usize; 2]) {
        let relay = self.node_of(first).filter(|_| bytes != [0; 2]);
        if let Some(link) = relay.and_then(|node| self.get_mut(node)?.link.as_mut()) {
            for (lane, bytes) in link.lanes.iter_mut().zip(bytes) {
                lane.waiting.add_own(bytes);
            }
        }
    }

    /// Sends an envelope that comes from elsewhere, or says what became of one, over the link to a neighbour.
    ///
    /// # Errors
    /// Why it is not sent.
    pub(crate) fn forward(
        &mut self,
        next: NodeId,
        envelope: Envelope,
        out: &mut VecDeque<Output>,
    ) -> Result<(), Unpassed> {
        let room = self.link_bytes_max;
        if self.get(next).is_some_and(Peer::is_resting) {
            self.wake(next, false);
            return Err(Unpassed::Resting);
        }
        let link = self.direct(next).ok_or(Unpassed::NoLink)?;
        self.on_used(next);
        let lane = LaneName::of(envelope.stream()).expect("what is relayed is no control");
        let entry = self.get_mut(next).and_then(|peer| peer.link.as_mut());
        let waiting = &mut entry.ok_or(Unpassed::NoLink)?.lane_mut(lane).waiting;
        if waiting.for_others() >= room {
            return Err(Unpassed::NoRoom);
        }
        waiting.add_for_others(envelope.len_bytes());
        out.push_back(envelope.over(link));
        Ok(())
    }

    /// Sends a frame over the way to a peer.
    pub(crate) fn send_over_way(
        &mut self,
        life: Epoch,
        node: NodeId,
        (class, frame): (Class, Bytes),
        out: &mut VecDeque<Output>,
    ) {
        let Some((first, waiting)) = self.first_link(node) else {
            return;
        };
        let room = 2 * self.link_bytes_max;
        let Some(way) = self.get_mut(node).and_then(Peer::way_mut) else {
            return;
        };
        let envelope = way.wrap(life, class, (frame, Bytes::new()));
        let lane = LaneName::of(envelope.stream()).expect("what is relayed is no control");
        // What finds no room is missed by the other end, which says so.
        if waiting[lane as usize] < room {
            let mut bytes = [0; 2];
            bytes[lane as usize] = envelope.len_bytes();
            out.push_back(envelope.over(first));
            self.count_relayed(first, bytes);
        }
    }

    /// Reaches a peer over others from here on.
    pub(crate) fn open_way(&mut self, now: Time, node: NodeId, route: Vec<NodeId>) {
        self.last_way += 1;
        let number = self.last_way;
        let peer = self.by_node.entry(node).or_default();
        let answers = peer.heard_lately(now).map_or(0, |(number, _)| number);
        let way = Way::new(route, (number, answers), now);
        let mut link = Link::new(Path::Over(way));
        // Over a way that goes on, it does not say hello again.
        link.hello = peer.heard_life(now);
        peer.met_at = Some(now);
        peer.link = Some(link);
        peer.unlinked_since.get_or_insert(now);
        self.count_detours();
    }

    /// The last way that was opened and does not lead to this peer: what is sent to it goes elsewhere, or over a later one.
    pub(crate) fn ways_over(&self, node: NodeId) -> u64 {
        let way = self.get(node).and_then(Peer::way);
        way.map_or(self.last_way, |way| way.number - 1)
    }

    /// The way to a peer is given up; says whether there was one.
    pub(crate) fn close_way(&mut self, now: Time, node: NodeId, failed: bool) -> bool {
        let Some(peer) = self.by_node.get_mut(&node) else {
            return false;
        };
        let Some(way) = peer.way() else {
            return false;
        };
        if now.since(way.opened_at) > REOPEN_MAX {
            peer.failed_ways = 0;
        }
        if failed {
            let wait = match peer.failed_ways {
                0 => Duration::ZERO,
                failures => REOPEN_MIN * 2u32.saturating_pow(failures.min(10)),
            };
            peer.next_way_at = now + wait.min(REOPEN_MAX);
            peer.failed_ways += 1;
        }
        peer.link = None;
        self.count_detours();
        true
    }

    /// Puts a link on trial over which a peer that has come another way may not be heard, until it says hello over it; gives it.
    pub(crate) fn distrust(&mut self, now: Time, node: NodeId) -> Option<LinkId> {
        let peer = self.by_node.get_mut(&node)?;
        let Some(Link {
            path: Path::Direct(id),
            ..
        }) = peer.link
        else {
            return None;
        };
        peer.trial = Some(Trial {
            id,
            since: now,
            hello: None,
        });
        peer.link = None;
        peer.unlinked_since.get_or_insert(now);
        self.count_detours();
        Some(id)
    }

    /// Relies on the link that is on trial, if there is one that has carried a hello; gives it.
    pub(crate) fn promote(&mut self, node: NodeId) -> Option<LinkId> {
        let peer = self.by_node.get_mut(&node)?;
        let trial = peer.trial.take_if(|trial| trial.hello.is_some())?;
        let mut link = Link::new(Path::Direct(trial.id));
        link.hello = trial.hello;
        if planted!(SwitchNotResumed)
            && let Some(before) = &mut peer.link
        {
            for (lane, before) in link.lanes.iter_mut().zip(&before.lanes) {
                lane.sending = before.sending;
            }
        }
        peer.link = Some(link);
        peer.linked_at = Some(trial.since);
        peer.unlinked_since = None;
        peer.failed_ways = 0;
        peer.next_way_at = Time::ZERO;
        self.count_detours();
        Some(trial.id)
    }

    fn count_detours(&mut self) {
        let detoured = |peer: &&Peer| peer.is_detoured() || peer.trial.is_some();
        self.detours = self.by_node.values().filter(detoured).count();
    }

    /// Whether any peer is reached over others, or has a link that is on trial.
    pub(crate) fn has_detours(&self) -> bool {
        self.detours > 0
    }

    /// The peers whose link has been on trial for long enough.
    pub(crate) fn proven(&self, now: Time) -> Vec<NodeId> {
        let held = |trial: &Trial| trial.hello.is_some() && trial.since + HOLD <= now;
        let proven = self
            .iter()
            .filter(|(_, peer)| peer.trial.as_ref().is_some_and(held));
        proven.map(|(node, _)| node).collect()
    }

    /// The peers that are reached over others, and by which way.
    pub(crate) fn ways(&self) -> impl Iterator<Item = (NodeId, &Way)> {
        self.iter()
            .filter_map(|(node, peer)| Some((node, peer.way()?)))
    }

    /// The peers on whose ways a sign of life is due, each with the classes of which something is on the way.
    pub(crate) fn due_signs(&mut self, now: Time) -> Vec<(NodeId, Vec<Class>)> {
        let mut due = Vec::new();
        for (&node, peer) in &mut self.by_node {
            let Some(way) = peer.way_mut().filter(|way| way.sign_at <= now) else {
                continue;
            };
            way.sign_at = now + SIGN_EVERY;
            let mut classes = vec![Class::Control];
            if let Some(session) = &peer.session {
                let lanes = LaneName::ALL.into_iter();
                let open = lanes.filter(|&name| session.lane(name).on_the_way_bytes() > 0);
                classes.extend(open.map(LaneName::class));
            }
            due.push((node, classes));
        }
        due
    }

    /// The members that others are told to be out of reach, of those that were and of those for whom `counts` says so.
    pub(crate) fn unreachable(
        &self,
        now: Time,
        before: &BTreeSet<NodeId>,
        counts: impl Fn(NodeId) -> bool,
    ) -> BTreeSet<NodeId> {
        let out_of_reach = |&(node, peer): &(NodeId, &Peer)| match before.contains(&node) {
            true => !peer.is_steady(now),
            false => peer.is_unlinked(now) && counts(node),
        };
        self.iter()
            .filter(out_of_reach)
            .map(|(node, _)| node)
            .collect()
    }
}
