//! Where a run comes to what a sweep should see now and then.

use std::collections::{BTreeMap, BTreeSet};

use rolecast_membership::{Event as MembershipEvent, NodeId};
use rolecast_protocol::{Answer, CallId, Event, FlowId, Input, Origin, ReplyTo, messages_for};

use super::World;
use crate::check::{Delivered, ProcessId};
use crate::probe::sometimes;
use crate::process::State;

/// What was seen of calls, so that what follows is known for what it is.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    /// The calls that some holder got.
    calls: BTreeSet<(NodeId, CallId)>,
    /// Over how many links what a process last got of a flow came to it.
    hops: BTreeMap<(NodeId, FlowId, ProcessId), u64>,
    /// How many replies each call got.
    replies: BTreeMap<(ProcessId, CallId), u32>,
}

impl World<'_> {
    /// An engine gets what may be messages that several are to hold.
    pub(super) fn note_arrival(&mut self, process: ProcessId, input: &Input) {
        let Input::Frame { class, bytes, .. } = input else {
            return;
        };
        let me = self.processes[process.0 as usize].node;
        if self.ghost.wants_arrivals()
            && let Some((origin, flow, messages)) = messages_for(me, *class, bytes)
        {
            self.ghost.arrived(process, (origin, flow), messages);
        }
    }

    /// Messages were put into an inbox.
    pub(super) fn note_delivery(&mut self, process: ProcessId, delivered: &Delivered) {
        let up_at = self.hearing.map(|end| self.network.end(end).up_at);
        let later = up_at.is_some_and(|up_at| up_at > delivered.sent_at);
        sometimes!(self.reached, DeliveredAfterHeal, if later);
        let entry = &self.processes[process.0 as usize];
        let renewed = entry.engine.identity().epoch > entry.first_epoch;
        sometimes!(self.reached, DeliveredToRenewed, if renewed);
    }

    /// A message of this origin came out of the frame that is being handled.
    pub(super) fn note_way(&mut self, process: ProcessId, origin: Origin) {
        let Some(end) = self.hearing else {
            return;
        };
        if self.network.end(end.other()).party.node == origin.node {
            return;
        }
        sometimes!(self.reached, RelayFirst);
        let Some(sender) = self.latest(origin.node).filter(|p| p.id != process) else {
            return;
        };
        let (dead, from) = (sender.state == State::Ended, sender.name.slot);
        sometimes!(self.reached, RelayAfterDeath, if dead);
        let to = self.name(process).slot;
        let cut = !dead && self.network.is_cut(from, to);
        sometimes!(self.reached, RelayAroundCut, if cut);
    }

    /// Messages of this flow came out of the frame that is being handled: over how many links?
    pub(super) fn note_hop(&mut self, process: ProcessId, origin: Origin, flow: FlowId) {
        let hops = &mut self.sightings.hops;
        let hop = self.hearing.map_or(0, |end| {
            let from = self.network.end(end.other()).party;
            let before = hops.get(&(origin.node, flow, from.process));
            match from.node == origin.node {
                true => 1,
                false => before.map_or(2, |before| before + 1),
            }
        });
        hops.insert((origin.node, flow, process), hop);
        let most = &mut self.statistics.last_hop_max;
        *most = hop.max(*most);
    }

    /// A call was put into an inbox.
    pub(super) fn note_call(&mut self, from: ReplyTo) {
        let again = !self.sightings.calls.insert((from.origin.node, from.call));
        sometimes!(self.reached, CallRetried, if again);
    }

    fn note_reply(&mut self, process: ProcessId, call: CallId) {
        let replies = self.sightings.replies.entry((process, call)).or_default();
        *replies += 1;
        sometimes!(self.reached, GatherComplete, if *replies == 2);
    }

    pub(super) fn note_event(&mut self, process: ProcessId, event: &Event) {
        if let Event::Answered {
            call,
            answer: Answer::Reply(_),
            ..
        } = event
        {
            self.note_reply(process, *call);
        }
        if let Event::Stable { flow, .. } = event {
            let app = &self.processes[process.0 as usize].app;
            let several = app.senders.get(flow).is_some_and(|s| s.mode.k_safe > 1);
            sometimes!(self.reached, Stable, if several);
        }
        self.reached.note_event(event);
        if let Event::Membership(event) = event {
            match **event {
                MembershipEvent::Renewed(_) => sometimes!(self.reached, Renewed),
                MembershipEvent::Down(other) => {
                    self.processes[process.0 as usize]
                        .declared_down
                        .insert(other.id);
                    let me = self.processes[process.0 as usize].node;
                    let other = self.latest(other.id);
                    let both = other.is_some_and(|other| other.declared_down.contains(&me));
                    sometimes!(self.reached, DownInTwo, if both);
                }
                _ => {}
            }
        }
    }
}
