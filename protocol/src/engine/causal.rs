//! Causal order within a role: what a sender had been given before it sent a message comes before that message, at every receiver of both.
//!
//! A causal flow's batches say how far their sender, as a holder of the role, had been given the other causal flows to that role; in full after the destination set changed, and otherwise only what changed since the batch before.
//! A receiver holds a batch back until it is as far: causal broadcast with a vector of what was delivered (Raynal, Schiper, Toueg, "The causal ordering abstraction and a simple way to implement it", 1991; Birman, Schiper, Stephenson, "Lightweight causal and atomic group multicast", 1991), of which FIFO order lets all but the changes be left out.
//! Flows have numbers in that vector, which the destination set gives them, so that a change takes a few bytes.
//!
//! Not everything that a sender was given is meant for the receiver too.
//! If it has heard of a flow, its state says from which message on it is; if not, it asks whoever sent the batch for what it waits for, and the flow's origin, and goes on when one of them has nothing for it.
//! If the origin is dead and nobody knows of the flow, what is waited for is given up with a `Gap`, whether it was meant for this node or not: nobody is left who could say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rolecast_membership::{NodeId, Time};

use super::Engine;
use crate::api::{Delivery, FlowId, Gap, Origin, Seq};
use crate::canary::planted;
use crate::flow_in::FlowIn;
use crate::flow_out::FlowOut;
use crate::mode::Order;
use crate::wire::{Control, Dep, FlowKey, Pull, SEQ_MAX, Span};

/// Which flows wait for which.
#[derive(Debug, Default)]
pub(super) struct Causality {
    /// By the flow that is waited for.
    waiting: BTreeMap<FlowKey, BTreeSet<FlowKey>>,
    /// Flows of which whoever was asked has nothing for this node, with the messages that it was asked for.
    strangers: BTreeMap<FlowKey, Span>,
    /// Flows that nobody knew, which were given up to these messages.
    given_up: BTreeMap<FlowKey, u64>,
    asked: BTreeMap<FlowKey, Asked>,
}

/// When somebody was asked last for a flow, since when it is waited for, and up to which message.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Option<Time>,
    since: Time,
    upto: u64,
}

/// After so long, what was asked for and did not come is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(400);
/// Everything that there may be of a flow.
const FROM_THE_FIRST: Span = Span {
    first: 1,
    last: SEQ_MAX,
};
/// The most flows of which it is remembered that they have nothing for this node, or were given up.
const STRANGERS_MAX: usize = 16_384;

impl Engine {
    /// Names what a batch of this flow depends on that is about to be sent; nothing if the flow is not causal.
    ///
    /// What is meant for none of the members is left out: nobody would have to wait for it, and whoever came after all that it was meant for were dead could not even learn that.
    pub(super) fn depend_on_given(&mut self, id: FlowId) -> Vec<Dep> {
        if self.flows_out[&id].mode.order != Order::Causal || planted!(DependenciesForgotten) {
            return Vec::new();
        }
        let mut given = self.given_before(id);
        let flow = &self.flows_out[&id];
        given.retain(|&(key, upto)| flow.has_named(key, upto) || self.concerns_members(flow, key));
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        flow.depend_on(given)
    }

    /// Whether any other member of this flow may be meant by that one.
    fn concerns_members(&self, flow: &FlowOut, key: FlowKey) -> bool {
        let is_member = |node, epoch| node != self.me.id && flow.is_meant((node, epoch), SEQ_MAX);
        let other = self.flows_in.get(&key);
        other.is_none_or(|other| other.concerns(is_member))
    }

    /// How far this node, as a holder of the flow's role, has been given the causal flows to it, its own other ones too.
    fn given_before(&self, id: FlowId) -> Vec<(FlowKey, u64)> {
        let flow = &self.flows_out[&id];
        let inbox = self.holding(&flow.role).map(|holding| holding.inbox);
        let others = self.flows_in.values().filter(|other| {
            let causal = other.mode.order == Order::Causal;
            // What is sent to the role and what is sent to it narrowed goes into one inbox.
            causal && inbox.is_some() && other.inbox() == inbox && other.role() == Some(&flow.role)
        });
        let own = self.flows_out.values().filter(|own| {
            let causal = own.mode.order == Order::Causal && own.role == flow.role;
            causal && own.id != id && inbox.is_some()
        });
        let others = others.filter_map(|other| Some((other.key, other.given()?)));
        let own = own.filter_map(|own| Some((self.own_key(own.id), own.given_to_itself()?)));
        others.chain(own).collect()
    }

    /// Lets go what waits for nothing any more, of a flow in causal order and of all that waited for it.
    pub(super) fn follow_causality(&mut self, now: Time, key: FlowKey) {
        let mut moved = vec![key];
        while let Some(key) = moved.pop() {
            if self.release(now, key) {
                self.deliver_ready(now, key);
                moved.push(key);
            } else if let Some(waiting) = self.causality.waiting.remove(&key) {
                moved.extend(waiting);
            }
        }
    }

    /// Allows the next batch of a flow if all that it depends on was given before; says whether it is allowed and was not before.
    fn release(&mut self, now: Time, key: FlowKey) -> bool {
        let Some(flow) = self.flows_in.get(&key) else {
            return false;
        };
        let Some((last, deps)) = flow.next_held() else {
            return false;
        };
        let missing = deps.iter().filter(|&&dep| !self.is_given(dep));
        let missing: Vec<(FlowKey, u64)> = missing.copied().collect();
        if !missing.is_empty() && !planted!(DependenciesIgnored) {
            // All at once: each may be one of which nobody knows, which takes its time.
            for (dep, upto) in missing {
                self.causality.waiting.entry(dep).or_default().insert(key);
                self.miss_dependency(now, (dep, upto));
                self.ask_for(now, key, (dep, upto));
            }
            return false;
        }
        let flow = self.flows_in.get_mut(&key).expect("it was just found");
        flow.allow(last);
        true
    }

    /// Whether this node has been given a flow that far, or is not meant by it.
    fn is_given(&self, (key, upto): (FlowKey, u64)) -> bool {
        if key.origin == self.me.id {
            let present = key.epoch == self.me.epoch;
            let flow = self.flows_out.get(&key.flow).filter(|_| present);
            return flow.is_none_or(|flow| flow.delivered_to_itself() >= upto);
        }
        let given = self.flows_in.get(&key).map_or(0, FlowIn::watermark);
        let strange = self.causality.strangers.get(&key);
        // What was held before that, it is given yet.
        let strange = strange.filter(|strange| strange.first <= given + 1);
        given.max(strange.map_or(0, |strange| strange.last)) >= upto || self.forgotten.contains(key)
    }

    /// What something depends on exists: if its origin is dead, and what it sent there may have reached nobody else who is alive, it is missed like anything else of that flow.
    fn miss_dependency(&mut self, now: Time, (key, upto): (FlowKey, u64)) {
        let flow = self.flows_in.get_mut(&key);
        let flow = flow.filter(|flow| flow.dead_since.is_some() && flow.inbox().is_some());
        if let Some(flow) = flow {
            flow.know_upto(now, upto);
        }
    }

    /// Asks a member of the flow that waits, its origin if possible, for what it waits for.
    fn ask_for(&mut self, now: Time, waiting: FlowKey, (key, upto): (FlowKey, u64)) {
        let asked = self.causality.asked.entry(key);
        let asked = asked.or_insert(Asked {
            at: None,
            since: now,
            upto,
        });
        asked.upto = asked.upto.max(upto);
        if asked.at.is_some_and(|at| now < at + ASK_AGAIN) {
            return;
        }
        asked.at = Some(now);
        let first = self.flows_in.get(&key).map_or(1, |flow| flow.held() + 1);
        if first > upto {
            return;
        }
        let last = upto;
        let pull = Control::Pull(Pull { key, first, last });
        let helper = self.helper_of(waiting);
        // Whoever sent it knows best whether it is meant for this node.
        let origin = Some(key.origin).filter(|&origin| self.peers.is_linked(origin));
        for whom in helper
            .into_iter()
            .chain(origin.filter(|_| origin != helper))
        {
            self.send_control_to(whom, &pull);
        }
    }

    /// Somebody who was asked for these messages of a flow, and has it that far, has nothing of them for this node.
    pub(super) fn on_stranger(&mut self, now: Time, key: FlowKey, strange: Span) {
        if !self.causality.waiting.contains_key(&key) {
            return;
        }
        let strangers = &mut self.causality.strangers;
        let known = strangers.entry(key).or_insert(strange);
        // Whoever asks has, or will be given, everything before.
        known.first = match strange.first > known.last + 1 {
            true => strange.first,
            false => known.first.min(strange.first),
        };
        known.last = known.last.max(strange.last);
        while strangers.len() > STRANGERS_MAX {
            strangers.pop_first();
        }
        self.wake_waiting(now, key);
    }

    /// Somebody has a flow of which nothing came here: patience begins anew.
    pub(super) fn hear_of_unknown(&mut self, now: Time, key: FlowKey) {
        if let Some(asked) = self.causality.asked.get_mut(&key) {
            asked.since = now;
        }
    }

    /// How far a flow was given up before anything of it came.
    pub(super) fn given_up_unknown(&self, key: FlowKey) -> u64 {
        self.causality.given_up.get(&key).copied().unwrap_or(0)
    }

    /// Gives up what is waited for of a flow that nobody knows.
    fn give_up_unknown(&mut self, now: Time, key: FlowKey) {
        let waiting = self.causality.waiting.get(&key).into_iter().flatten();
        let mut inboxes = waiting.filter_map(|waiting| self.flows_in.get(waiting)?.inbox());
        let asked = self.causality.asked.get(&key);
        let (Some(inbox), Some(&Asked { upto, .. })) = (inboxes.next(), asked) else {
            self.on_stranger(now, key, FROM_THE_FIRST);
            return;
        };
        let strange = self.causality.strangers.get(&key);
        let strange = strange.map_or(0, |strange| strange.last);
        let first = strange.max(self.given_up_unknown(key)) + 1;
        raise(&mut self.causality.given_up, key, upto);
        if first <= upto && !planted!(GapUnreported) {
            let gap = Gap::Range {
                origin: Origin {
                    node: key.origin,
                    epoch: key.epoch,
                },
                flow: key.flow,
                first: Seq(first),
                last: Seq(upto),
            };
            self.deliver(inbox, Delivery::Gap(gap));
        }
        let last = upto;
        self.on_stranger(
            now,
            key,
            Span {
                last,
                ..FROM_THE_FIRST
            },
        );
    }

    /// A flow got further, or is known to have nothing for this node.
    pub(super) fn wake_waiting(&mut self, now: Time, key: FlowKey) {
        for waiting in self.causality.waiting.remove(&key).unwrap_or_default() {
            self.follow_causality(now, waiting);
        }
    }

    /// Asks again for what is waited for, and gives up waiting for what nobody knows.
    ///
    /// As long as its origin lives, it comes in the end, or the origin says that it is not meant for this node; and a flow of which this node is a member gets on, or is forgotten, by itself.
    pub(super) fn look_after_causality(&mut self, now: Time) {
        let keys: Vec<FlowKey> = self.causality.waiting.keys().copied().collect();
        for key in keys {
            let member = self.flows_in.get(&key).is_some_and(|f| f.inbox().is_some());
            let comes = member || self.is_present(key);
            let asked = self.causality.asked.get_mut(&key);
            let since = asked.map(|asked| {
                if comes {
                    asked.since = now;
                }
                asked.since
            });
            if key.origin != self.me.id && !comes && self.is_out_of_patience(now, key, since) {
                self.give_up_unknown(now, key);
            }
            self.wake_waiting(now, key);
        }
        let waiting = &self.causality.waiting;
        self.causality
            .asked
            .retain(|key, _| waiting.contains_key(key));
    }

    /// Whether the life that a flow belongs to goes on, as far as this node knows.
    fn is_present(&self, key: FlowKey) -> bool {
        let member = self.membership.member(key.origin);
        member.is_some_and(|member| member.record.identity.epoch == key.epoch)
    }

    /// Whether a flow that nobody has spoken of is waited for no longer: a live member that is out of reach may yet have it, or its origin may live and be out of reach.
    fn is_out_of_patience(&self, now: Time, key: FlowKey, since: Option<Time>) -> bool {
        let mut members = self.membership.members();
        let cut_off = members.any(|member| !self.peers.is_linked(member.record.identity.id));
        let patience = match cut_off || !self.is_over(key.origin, key.epoch) {
            true => self.limits.forget_after,
            false => self.limits.gap_after,
        };
        since.is_none_or(|since| since + patience <= now)
    }

    /// Delivers whatever waits of a flow, in its own order at least.
    pub(super) fn let_go(&mut self, now: Time, key: FlowKey) {
        if let Some(flow) = self.flows_in.get_mut(&key) {
            flow.allow(u64::MAX);
            self.deliver_ready(now, key);
        }
    }

    /// Some linked member of a flow, its origin if possible.
    fn helper_of(&self, key: FlowKey) -> Option<NodeId> {
        let known = self.flows_in.get(&key)?.newest_dest_set()?;
        let members = known.set.members.iter().map(|member| member.node);
        let mut all = std::iter::once(key.origin).chain(members);
        all.find(|&node| node != self.me.id && self.peers.is_linked(node))
    }
}

/// Notes that something is so up to this message of a flow.
fn raise(known: &mut BTreeMap<FlowKey, u64>, key: FlowKey, upto: u64) {
    let before = known.entry(key).or_default();
    *before = upto.max(*before);
    while known.len() > STRANGERS_MAX {
        known.pop_first();
    }
}
