//! Who is alive, who holds what, and what follows when that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rolecast_membership::{
    Epoch, Event as MembershipEvent, Identity, NodeId, Output as MembershipOutput, Record,
    RoleName, Tenure, Time,
};

use super::Engine;
use crate::api::{Answer, CallId, Delivery, Event, FlowId, Gap, Output};
use crate::canary::planted;
use crate::flow_out::Holder;
use crate::mode::Mode;
use crate::peers::Peer;
use crate::session::Cargo;
use crate::slow::SlowMembers;
use crate::wire::Control;

/// How long the node with the greater id leaves the dialling to the other.
const DIAL_COURTESY: Duration = Duration::from_millis(300);
/// How long batches are kept for a node that is neither a member nor linked, and its questions open.
const DOUBT_MAX: Duration = Duration::from_secs(30);

impl Engine {
    /// Carries out what membership asks for and takes over what it says.
    pub(super) fn follow_membership(&mut self, now: Time) {
        while let Some(output) = self.membership.poll_output() {
            match output {
                MembershipOutput::Datagram { to, bytes } => self.on_swim_packet(now, to, bytes),
                MembershipOutput::Frame { to, bytes } => {
                    self.send_control_to(to, &Control::Membership(&bytes));
                }
                MembershipOutput::DialSeed { addr } => {
                    self.out.push_back(Output::Dial { addr, peer: None });
                }
                MembershipOutput::Event(event) => {
                    self.event(Event::Membership(Box::new(event.clone())));
                    self.on_membership_event(now, event);
                }
            }
        }
        self.peers.dial_due(now, &mut self.out);
    }

    fn on_swim_packet(&mut self, now: Time, to: Identity, bytes: bytes::Bytes) {
        if self.peers.direct(to.id).is_some() {
            self.send_datagram(to.id, bytes);
            return;
        }
        if self.peers.get(to.id).is_some_and(Peer::is_coming_back) {
            self.peers.wait_with(now, to.id, bytes);
            self.peers.wake(to.id, false);
            return;
        }
        if self.send_datagram_over_others(to.id, &bytes) {
            return;
        }
        self.peers.wait_with(now, to.id, bytes);
        self.peers.dial_once(now, to.id, to.addr, &mut self.out);
    }

    fn on_membership_event(&mut self, now: Time, event: MembershipEvent) {
        match event {
            MembershipEvent::Joined(record) => {
                self.on_alive(now, record.identity);
                self.hold_all(&record);
            }
            MembershipEvent::Updated { before, after } => {
                self.change_holdings(&before, &after);
                self.follow_place(&before, &after);
                self.on_alive(now, after.identity);
            }
            MembershipEvent::Replaced { before, after } => {
                self.on_over(now, before.identity);
                self.change_holdings(&before, &after);
                self.on_alive(now, after.identity);
            }
            MembershipEvent::Left(identity) | MembershipEvent::Down(identity) => {
                self.on_over(now, identity);
                if !planted!(DownHoldsRoles) {
                    self.unhold_all(identity.id);
                }
                self.end_rest(now, identity.id);
                self.peers.unwant(identity.id);
            }
            MembershipEvent::Renewed(identity) => self.on_renewed(now, identity),
            MembershipEvent::Suspected(_)
            | MembershipEvent::AliveAgain(_)
            | MembershipEvent::Superseded(_) => {}
        }
    }

    fn on_alive(&mut self, now: Time, identity: Identity) {
        let ended = self.peers.enter_life(identity.id, identity.epoch);
        self.on_life_ended(now, identity.id, identity.epoch, ended);
        self.peers.outlive(identity.id, identity.epoch);
        let link = self
            .peers
            .get(identity.id)
            .and_then(|peer| peer.link.as_ref());
        if link.is_some_and(|link| link.hello != Some(identity.epoch)) {
            self.end_rest(now, identity.id);
        }
        let courtesy = if self.me.id < identity.id {
            Duration::ZERO
        } else {
            DIAL_COURTESY
        };
        self.peers.want(identity.id, identity.addr, now + courtesy);
        self.peers.pump(self.me.epoch, identity.id, &mut self.out);
    }

    fn on_over(&mut self, now: Time, identity: Identity) {
        let ended = self.peers.end_life(identity.id, identity.epoch);
        let next = Epoch(identity.epoch.0.saturating_add(1));
        self.on_life_ended(now, identity.id, next, ended);
    }

    /// Lives of a peer before `epoch` are over; these frames were not delivered to them.
    pub(super) fn on_life_ended(
        &mut self,
        now: Time,
        node: NodeId,
        epoch: Epoch,
        undelivered: Vec<(Cargo, bool)>,
    ) {
        let mut unsent = BTreeSet::new();
        for (cargo, handed) in undelivered {
            match cargo {
                Cargo::Relay {
                    key,
                    upto,
                    awaited: true,
                } => self.on_relayed(now, key, upto),
                Cargo::Call(call) if !handed => {
                    unsent.insert(call);
                }
                _ => {}
            }
        }
        self.end_sent_calls_to(node, epoch, &unsent);
        self.end_questions_of(node, epoch);
        for call in unsent {
            self.retry(call, node, Answer::NotSent);
        }
        self.wake_refused_flows();
    }

    /// This node was declared down while it lived and goes on in another life.
    fn on_renewed(&mut self, now: Time, identity: Identity) {
        self.lose_all_ways(now);
        self.end_all_rest(now);
        let former = std::mem::replace(&mut self.me, identity).epoch;
        let ended = self.peers.end_own_life();
        self.end_questions_of_others();
        let mut unsent = BTreeMap::new();
        for (node, undelivered) in &ended {
            for (cargo, handed) in undelivered {
                if let (Cargo::Call(call), false) = (cargo, handed) {
                    unsent.insert(*call, *node);
                }
            }
        }
        let calls: BTreeSet<CallId> = unsent.keys().copied().collect();
        for (node, _) in ended {
            self.end_sent_calls_to(node, Epoch(u64::MAX), &calls);
        }
        for member in self.membership.members() {
            let Identity { id, epoch, .. } = member.record.identity;
            self.peers.outlive(id, epoch);
        }
        self.acks = super::DueAcks::default();
        self.untold = crate::large::Untold::default();
        self.forget_unknown();
        self.cut_all_short();
        for flow in self.flows_in.values_mut() {
            flow.close_inbox();
        }
        self.renew_flows();
        for holders in self.holders.values_mut() {
            if let Some((epoch, _)) = holders.get_mut(&identity.id) {
                *epoch = identity.epoch;
            }
        }
        for inbox in self.inboxes.keys().copied().collect::<Vec<_>>() {
            if !planted!(RenewalUnreported) {
                self.deliver(inbox, Delivery::Gap(Gap::DeclaredDown { epoch: former }));
            }
        }
        self.say_hello_everywhere();
        let linked = self.peers.linked();
        let lives: Vec<_> = linked
            .filter_map(|(node, link)| Some((node, link.hello?)))
            .collect();
        for (node, epoch) in lives {
            // Without a session nothing could be acknowledged to a peer that has nothing to send.
            self.peers.session(node, epoch);
            self.peers.pump(self.me.epoch, node, &mut self.out);
        }
        // Only in the present life, so that what is placed elsewhere stays there.
        for (call, node) in unsent {
            self.retry(call, node, Answer::NotSent);
        }
        self.wake_refused_flows();
    }

    fn hold_all(&mut self, record: &Record) {
        let Identity { id, epoch, .. } = record.identity;
        for (role, &tenure) in &record.roles {
            self.hold(id, (epoch, tenure), role);
        }
    }

    fn unhold_all(&mut self, node: NodeId) {
        let held = self
            .holders
            .iter()
            .filter(|(_, holders)| holders.contains_key(&node));
        for role in held.map(|(role, _)| role.clone()).collect::<Vec<_>>() {
            self.unhold(node, &role);
        }
    }

    fn change_holdings(&mut self, before: &Record, after: &Record) {
        for role in before
            .roles
            .keys()
            .filter(|role| !after.roles.contains_key(role) && !planted!(DroppedRoleKept))
        {
            self.unhold(before.identity.id, role);
        }
        self.hold_all(after);
    }

    /// A node holds a role.
    pub(super) fn hold(&mut self, node: NodeId, holding: (Epoch, Tenure), role: &RoleName) {
        let holders = self.holders.entry(role.clone()).or_default();
        if holders.insert(node, holding) != Some(holding) {
            self.on_holders_changed(role);
        }
    }

    /// A node does not hold a role any longer.
    pub(super) fn unhold(&mut self, node: NodeId, role: &RoleName) {
        let Some(holders) = self.holders.get_mut(role) else {
            return;
        };
        if holders.remove(&node).is_some() {
            if holders.is_empty() {
                self.holders.remove(role);
            }
            self.on_holders_changed(role);
        }
    }

    pub(super) fn on_holders_changed(&mut self, role: &RoleName) {
        let flows = self
            .flows_by_role
            .range((role.clone(), Mode::FIRST, SlowMembers::Wait)..);
        // A narrowed role comes right behind the one that it narrows.
        let flows = flows.take_while(|((to, ..), _)| to.is_within(role));
        let flows: Vec<FlowId> = flows.map(|(_, &flow)| flow).collect();
        for flow in flows {
            self.refresh_flow(flow);
            self.refresh_larges_of(flow);
        }
        self.event(Event::Holders(role.clone()));
    }

    /// The holders of a role as a destination set names them.
    pub(super) fn holders_of(&self, role: &RoleName) -> Vec<Holder> {
        if role.is_pattern() {
            return self.holders_of_any(role);
        }
        if role.is_narrowed() {
            return self.holders_there(role);
        }
        let holders = self.holders.get(role).into_iter().flatten();
        holders
            .map(|(&node, &(epoch, tenure))| Holder {
                node,
                epoch,
                tenure,
            })
            .collect()
    }

    /// Keeps as little as possible for nodes of whose existence there is no sign, and forgets peers of which nothing is left.
    pub(super) fn forget_doubtful_peers(&mut self, now: Time) {
        self.end_doubted_questions(now, DOUBT_MAX);
        let unlinked = self.peers.iter().filter(|(_, peer)| peer.link.is_none());
        let nodes: Vec<NodeId> = unlinked.map(|(node, _)| node).collect();
        for node in nodes {
            let member = self.membership.member(node).is_some();
            let Some(peer) = self.peers.get_mut(node) else {
                continue;
            };
            if member {
                peer.doubted_since = None;
            } else if *peer.doubted_since.get_or_insert(now) + DOUBT_MAX <= now {
                self.bound_session(node, 0);
            }
        }
        self.peers.forget();
    }

    /// Reports one answer to a call.
    pub(super) fn answered(&mut self, call: CallId, node: NodeId, answer: Answer, last: bool) {
        let node = Some(node);
        let answered = Event::Answered {
            call,
            node,
            answer,
            last,
        };
        if planted!(AnsweredTwice) {
            self.event(answered.clone());
        }
        self.event(answered);
    }
}
