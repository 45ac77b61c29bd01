//! Members that cannot be reached over a link of this node are reached over others: ways are opened and given up, what is others' is passed on, and links are taken back when they hold.
//!
//! The source names the whole way ([`crate::routes`]), so whoever is between decides nothing, keeps nothing, and delivers nothing: it hands on or says that it cannot.
//! To the session with the peer a way is a link like any other ([`crate::way`]): it begins with a hello, and the session resumes over it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{Identity, Input as MembershipInput, Liveness, NodeId, Time};

use super::Engine;
use crate::api::{Class, Event, Reach};
use crate::canary::planted;
use crate::peers::{Peer, SILENCE, Unpassed};
use crate::routes::{Avoided, Map, Ways};
use crate::session::LaneName;
use crate::way::{Carrier, Envelope, Heard, HeardWay};
use crate::wire::relay::{Failed, RelayHead, Relayed, WayFrame};

/// A link that broke may come back for so long before a way is opened.
const LINK_PATIENCE: Duration = Duration::from_millis(300);
/// For so long a link between others that did not work is tried last.
const AVOID: Duration = Duration::from_secs(5);

impl Engine {
    /// How this node reaches a peer at this moment.
    ///
    /// ```
    /// # use rolecast_membership::{Epoch, Identity, NodeId, Profile, Record, Time};
    /// # use rolecast_protocol::{Config, Engine, Limits, Reach};
    /// # let identity = Identity { id: NodeId::from_bytes([1; 32]), epoch: Epoch(1), addr: ([127, 0, 0, 1], 7400).into() };
    /// # let config = Config::new(Record::new(identity), Vec::new(), Profile::Lan, Limits::default());
    /// let engine = Engine::new(config, 1, Time::ZERO);
    /// assert_eq!(engine.reach(NodeId::from_bytes([2; 32])), Reach::Unreachable);
    /// ```
    #[must_use]
    pub fn reach(&self, peer: NodeId) -> Reach {
        let link = self.peers.get(peer).and_then(|peer| peer.link.as_ref());
        match link {
            Some(link) => match &link.path {
                crate::peers::Path::Direct(id) => Reach::Direct(*id),
                crate::peers::Path::Over(way) if link.hello.is_some() => Reach::Over(way.relay()),
                crate::peers::Path::Over(_) => Reach::Unreachable,
                crate::peers::Path::Resting(_) => Reach::Resting,
            },
            None => Reach::Unreachable,
        }
    }

    /// Something that is relayed came over the link to `peer`.
    pub(super) fn on_relay(
        &mut self,
        now: Time,
        (peer, stream): (NodeId, Class),
        head: RelayHead,
        body: Bytes,
    ) -> Result<(), &'static str> {
        head.check(peer, self.me.id, stream, &body)?;
        self.peers.on_used(peer);
        if let Some(next) = head.next() {
            if planted!(RelayDelivers) {
                self.on_relayed_here(now, &head, &body);
            }
            self.pass_along(head, next, body);
        } else {
            self.on_relayed_here(now, &head, &body);
        }
        Ok(())
    }

    /// What is for somebody else goes on to the next node of its way, or its source is told that it cannot.
    fn pass_along(&mut self, head: RelayHead, next: NodeId, body: Bytes) {
        let (back, to) = (head.way_back(), head.destination());
        let way = match &head.what {
            Relayed::Datagram => Some(0),
            Relayed::Frame(frame) => Some(frame.way),
            // Its source finds out by itself.
            Relayed::Failed(_) => None,
        };
        let envelope = Envelope::onward(head, body);
        let passed = self.peers.forward(next, envelope, &mut self.out);
        if let (Some(way), Err(why)) = (way, passed) {
            // A link that is busy is not to be taken for dead.
            let beyond = (why == Unpassed::NoLink).then_some(next);
            self.report_failure(back, Failed { to, way, beyond });
        }
    }

    fn report_failure(&mut self, back: Vec<NodeId>, failed: Failed) {
        let next = back[1];
        let nothing = (Bytes::new(), Bytes::new());
        let envelope = Envelope::new(back, self.me.epoch, Relayed::Failed(failed), nothing);
        // Whoever is not told finds out by what does not come.
        let _ = self.peers.forward(next, envelope, &mut self.out);
    }

    fn on_relayed_here(&mut self, now: Time, head: &RelayHead, body: &Bytes) {
        let source = head.source();
        let Some(member) = self.membership.member(source) else {
            // Who nobody has introduced does not come by the back door.
            return;
        };
        let life = member.record.identity.epoch;
        match &head.what {
            Relayed::Datagram => {
                let (from, bytes) = (source, body.clone());
                self.membership
                    .handle(now, MembershipInput::Datagram { from, bytes });
            }
            // Of another life than the one it is known in, a way would take the place of all that come later.
            Relayed::Frame(frame) if head.life == life => {
                self.on_way_frame(now, head, *frame, body);
            }
            Relayed::Frame(_) => {}
            Relayed::Failed(failed) => self.on_way_failed(now, source, *failed),
        }
    }

    fn on_way_frame(&mut self, now: Time, head: &RelayHead, frame: WayFrame, body: &Bytes) {
        let source = head.source();
        if self.peers.is_over(source, head.life) {
            return;
        }
        let Some(peer) = self.peers.get_mut(source) else {
            return;
        };
        match HeardWay::hear(&mut peer.heard, now, head, &frame) {
            Heard::Stale => return,
            Heard::Missing => {
                let (to, way, beyond) = (self.me.id, frame.way, None);
                self.report_failure(head.way_back(), Failed { to, way, beyond });
                return;
            }
            Heard::First => self.answer_way(now, source, frame.answers),
            Heard::Next => {}
        }
        if body.is_empty() {
            return;
        }
        let from = (source, Carrier::Way(head.life, frame.way));
        let class = frame.class.class();
        let result = match LaneName::of(class) {
            None => self.on_control(now, from, body),
            Some(_) => self.on_data(now, from, class, body),
        };
        if let Err(what) = result {
            self.event(Event::Violation { peer: source, what });
            self.shut_way(now, source);
        }
    }

    /// Nothing more is heard over the way of a peer, and nothing said over the way to it.
    pub(super) fn shut_way(&mut self, now: Time, node: NodeId) {
        if let Some(heard) = self.peers.get_mut(node).and_then(|p| p.heard.as_mut()) {
            heard.close();
        }
        self.lose_way(now, node, true);
    }

    /// A peer has opened a way to this node: it has no link, so there is a way back to it, or there is one from here on.
    fn answer_way(&mut self, now: Time, node: NodeId, answers: u64) {
        // It has no link and needs one: what rested here does not rest.
        self.end_rest(now, node);
        let Some(peer) = self.peers.get(node) else {
            return;
        };
        match (peer.way(), peer.direct_since()) {
            // It hears this one, or one before it; whoever answers says so, so that two ends do not answer each other for ever.
            (Some(_), _) if answers > 0 => return,
            (Some(_), _) => self.lose_way(now, node, false),
            (None, Some(_)) => {
                // The link may be dead at the other end only, or have come up there a moment later: what comes over it says so.
                if let Some(link) = self.peers.distrust(now, node) {
                    self.on_link_lost(now, node);
                    self.say_hello_over(link, node);
                    self.lose_ways_over(now, node);
                }
            }
            (None, None) => {}
        }
        self.detour(now, node, true);
    }

    fn on_way_failed(&mut self, now: Time, reporter: NodeId, failed: Failed) {
        let way = self.peers.get(failed.to).and_then(Peer::way);
        let mine = way.is_some_and(|way| way.number == failed.way && way.route.contains(&reporter));
        // Packets of the membership layer find a way each time, as long as there is no link.
        let packet = failed.way == 0 && self.peers.direct(failed.to).is_none();
        let believed = mine || packet && self.membership.member(failed.to).is_some();
        if let Some(beyond) = failed.beyond.filter(|_| believed) {
            self.avoided.add(now, (reporter, beyond), now + AVOID);
        }
        if mine {
            self.lose_way(now, failed.to, true);
            self.detour(now, failed.to, false);
        }
    }

    /// Reaches a peer over others, if it cannot be reached otherwise and a way is known; when it has just come over one, that is the one to answer on.
    fn detour(&mut self, now: Time, node: NodeId, answering: bool) {
        let Some(peer) = self.peers.get(node).filter(|peer| peer.link.is_none()) else {
            return;
        };
        if !answering && !peer.may_open_way(now) {
            return;
        }
        let back = self.way_back(now, node);
        let route = match back {
            Some(back) if answering => Some(back),
            back => self.routes_to(&[node]).remove(&node).or(back),
        };
        self.reach_over(now, node, route);
    }

    /// The same for all that have been without a link for too long, which takes one search.
    fn detour_around_dead_links(&mut self, now: Time) {
        let members = self.membership.members();
        let members = members.map(|member| member.record.identity.id);
        // Whoever is suspected may only have missed a probe, and answer on the link that is dead at this end alone: a way tells it.
        let lacking: Vec<NodeId> = members
            .filter(|&node| {
                let peer = self.peers.get(node);
                peer.is_some_and(|peer| {
                    peer.lacks_link_since(now, LINK_PATIENCE) && peer.may_open_way(now)
                })
            })
            .collect();
        if lacking.is_empty() {
            return;
        }
        let mut routes = self.routes_to(&lacking);
        for node in lacking {
            let route = routes.remove(&node);
            let route = route.or_else(|| self.way_back(now, node));
            self.reach_over(now, node, route);
        }
    }

    /// The way back over which a peer was heard a moment ago, if it begins with a link of this node.
    fn way_back(&self, now: Time, node: NodeId) -> Option<Vec<NodeId>> {
        let (_, back) = self.peers.get(node)?.heard_lately(now)?;
        self.peers.direct(back[1])?;
        Some(back.to_vec())
    }

    fn reach_over(&mut self, now: Time, node: NodeId, route: Option<Vec<NodeId>>) {
        if let Some(route) = route {
            self.peers.open_way(now, node, route);
            self.say_hello(node);
            self.go_on_with(now, node);
        }
    }

    /// The shortest ways to members over others, as far as there are any.
    fn routes_to(&self, nodes: &[NodeId]) -> BTreeMap<NodeId, Vec<NodeId>> {
        let linked = self.peers.linked().map(|(node, _)| node);
        let members = self.membership.members();
        let map = Map {
            me: self.me.id,
            linked: linked
                .filter(|&node| self.peers.direct(node).is_some())
                .collect(),
            members: members
                .map(|member| (member.record.identity.id, &member.record.unreachable))
                .collect(),
        };
        let ways = map.search(&self.avoided);
        let found = |ways: &Ways<'_>, node| Some((node, ways.to(node)?));
        let mut routes: BTreeMap<NodeId, Vec<NodeId>> = nodes
            .iter()
            .filter_map(|&node| found(&ways, node))
            .collect();
        if routes.len() < nodes.len() && !self.avoided.is_empty() {
            // Where nothing else is left, what did not work is tried again.
            let untried = Avoided::default();
            let ways = map.search(&untried);
            for &node in nodes {
                if !routes.contains_key(&node) {
                    routes.extend(found(&ways, node));
                }
            }
        }
        routes
    }

    /// A way to a peer is no more; a link that is on trial has to do.
    pub(super) fn lose_way(&mut self, now: Time, node: NodeId, failed: bool) {
        if self.peers.close_way(now, node, failed) {
            self.on_link_lost(now, node);
            self.rely_on_link(now, node);
        }
    }

    /// The link to this neighbour is gone, and with it every way that begins with it.
    pub(super) fn lose_ways_over(&mut self, now: Time, relay: NodeId) {
        let over = self.peers.ways().filter(|(_, way)| way.relay() == relay);
        for node in over.map(|(node, _)| node).collect::<Vec<_>>() {
            self.lose_way(now, node, false);
            self.detour(now, node, false);
        }
    }

    /// The link to this neighbour has room again, for what goes on from there too.
    pub(super) fn pump_over(&mut self, relay: NodeId) {
        if !self.peers.has_detours() {
            return;
        }
        let over = self.peers.ways().filter(|(_, way)| way.relay() == relay);
        for node in over.map(|(node, _)| node).collect::<Vec<_>>() {
            self.peers.pump(self.me.epoch, node, &mut self.out);
        }
    }

    /// Every way belonged to a life of this node that is over.
    pub(super) fn lose_all_ways(&mut self, now: Time) {
        let all: Vec<NodeId> = self.peers.ways().map(|(node, _)| node).collect();
        for node in all {
            self.lose_way(now, node, false);
        }
    }

    /// What is sent to a peer goes over the link that was on trial from here on, if there is one.
    pub(super) fn rely_on_link(&mut self, now: Time, node: NodeId) {
        if self.peers.promote(node).is_none() {
            return;
        }
        // What went over the way may be lost.
        self.say_hello(node);
        self.go_on_with(now, node);
    }

    /// Goes on with a peer where a link or way begins that does not wait for its hello.
    fn go_on_with(&mut self, now: Time, node: NodeId) {
        let link = self.peers.get(node).and_then(|peer| peer.link.as_ref());
        let life = link.and_then(|link| link.hello);
        if let Some(epoch) = life.filter(|&epoch| !self.is_over(node, epoch)) {
            let addr = self.membership.member(node).map(|m| m.record.identity.addr);
            if let Some(addr) = addr {
                let id = node;
                let identity = Identity { id, epoch, addr };
                self.membership
                    .handle(now, MembershipInput::PeerConnected(identity));
            }
            self.peers.pump(self.me.epoch, node, &mut self.out);
            self.repeat_acks(node, epoch);
            self.digest_to(now, node);
        }
    }

    /// Looks after links and ways.
    pub(super) fn look_after_ways(&mut self, now: Time) {
        self.avoided.expire(now);
        for node in self.peers.proven(now) {
            if !planted!(LinkNeverTakenBack) {
                self.rely_on_link(now, node);
            }
        }
        self.give_up_ways(now);
        for node in self.peers.overslept(now) {
            self.end_rest(now, node);
        }
        let members = self.membership.members();
        let alive = members.filter(|member| member.liveness == Liveness::Alive);
        let alive: BTreeSet<NodeId> = alive.map(|member| member.record.identity.id).collect();
        self.detour_around_dead_links(now);
        for (node, classes) in self.peers.due_signs(now) {
            for class in classes {
                let sign = (class, Bytes::new());
                self.peers
                    .send_over_way(self.me.epoch, node, sign, &mut self.out);
            }
        }
        self.tell_links(now, &alive);
    }

    /// Gives up ways to those who are no members any more or are not heard.
    fn give_up_ways(&mut self, now: Time) {
        let ways: Vec<(NodeId, Time)> = self
            .peers
            .ways()
            .map(|(node, way)| (node, way.opened_at))
            .collect();
        for (node, opened_at) in ways {
            let heard = self.peers.get(node).and_then(|peer| peer.heard.as_ref());
            let heard = heard.filter(|heard| heard.is_whole()).map(|heard| heard.at);
            let silent = now.since(opened_at.max(heard.unwrap_or_default())) > SILENCE;
            if silent {
                self.avoid_way(now, node);
            }
            if silent || self.membership.member(node).is_none() {
                self.lose_way(now, node, true);
            }
        }
    }

    /// Tries another way next: something on this one swallows what goes over it, and nobody has noticed.
    fn avoid_way(&mut self, now: Time, node: NodeId) {
        let Some(way) = self.peers.get(node).and_then(Peer::way) else {
            return;
        };
        for link in way.route.windows(2) {
            self.avoided.add(now, (link[0], link[1]), now + AVOID);
        }
    }

    /// Tells the mesh whom this node cannot reach itself, as soon as that has lasted.
    fn tell_links(&mut self, now: Time, alive: &BTreeSet<NodeId>) {
        let before = &self.membership.record().unreachable;
        // Of one that is suspected it is not known whether the link is dead or the node.
        let mut unreachable = self
            .peers
            .unreachable(now, before, |node| alive.contains(&node));
        unreachable.retain(|node| self.membership.member(*node).is_some());
        if unreachable != *before {
            self.membership.set_unreachable(now, unreachable);
        }
    }

    /// Sends a packet of the membership layer over others; says whether there is a way.
    pub(super) fn send_datagram_over_others(&mut self, node: NodeId, bytes: &Bytes) -> bool {
        if self.membership.member(node).is_none() {
            return false;
        }
        let way = self.peers.get(node).and_then(Peer::way);
        let route = match way {
            Some(way) => Some(way.route.clone()),
            None => self.routes_to(&[node]).remove(&node),
        };
        let Some(route) = route else {
            return false;
        };
        let next = route[1];
        let parts = (Bytes::new(), bytes.clone());
        let envelope = Envelope::new(route, self.me.epoch, Relayed::Datagram, parts);
        let sent = self.peers.forward(next, envelope, &mut self.out);
        sent.is_ok()
    }
}
