//! Going on without members that are too slow, and taking them back.
//!
//! The origin of a flow that is to evict whoever keeps its window shut leaves it out of the destination set, and tells it so in the set itself: it is named there with the last message that was meant for it.
//! Such a member delivers what it has.
//! When its program has taken all of it, it asks to be taken back, and the destination set that names it again says from which message on; what was sent in between it tells its inbox as `Lagged`.

use std::collections::BTreeSet;
use std::time::Duration;

use rolecast_membership::{NodeId, Tenure, Time};

use super::Engine;
use crate::api::{Delivery, Event, FlowId, InboxId, LargeEnd, Origin, Seq};
use crate::canary::planted;
use crate::flow_in::FlowIn;
use crate::notice::{LagReason, Lagged};
use crate::session::Cargo;
use crate::wire::{DataHead, FlowKey};

/// A node that looks after its flows so much later than it should has stood still itself, and does not know what the others did meanwhile.
const LATE: Duration = Duration::from_millis(250);
/// How long others have then to be heard.
const GRACE: Duration = Duration::from_secs(1);

/// The flows of which members are evicted, with when that is; an entry counts as long as the flow says the same.
#[derive(Debug, Default)]
pub(super) struct DueEvictions(BTreeSet<(Time, FlowId)>);

impl DueEvictions {
    /// When something is due.
    pub(super) fn at(&self) -> Option<Time> {
        self.0.first().map(|&(at, _)| at)
    }
}

impl Engine {
    /// A flow has no room for what is to be sent.
    pub(super) fn note_shut(&mut self, now: Time, id: FlowId) {
        let flow = self.flows_out.get_mut(&id);
        if let Some(at) = flow.and_then(|flow| flow.shut(now)) {
            self.evictions.0.insert((at, id));
        }
    }

    /// Evicts those that have kept windows shut for too long.
    pub(super) fn evict_slow(&mut self, now: Time) {
        while let Some(&(at, id)) = self.evictions.0.first()
            && at <= now
        {
            self.evictions.0.pop_first();
            let Some(flow) = self.flows_out.get_mut(&id) else {
                continue;
            };
            let late = at + LATE < now;
            let then = now + GRACE.min(flow.patience().unwrap_or(GRACE));
            if flow.evicts_at() == Some(at) {
                if late {
                    flow.put_eviction_off(then);
                    self.evictions.0.insert((then, id));
                } else {
                    flow.reopen();
                    self.evict_blockers(now, id);
                }
            } else if flow.evicts_for_larges_at() == Some(at) {
                if late {
                    flow.put_eviction_for_larges_off(then);
                    self.evictions.0.insert((then, id));
                } else {
                    flow.reopen_to_larges();
                    self.evict_for_larges(now, id);
                }
            }
        }
    }

    /// Evicts those that have kept a flow's window shut for too long.
    fn evict_blockers(&mut self, now: Time, id: FlowId) {
        for node in self.blockers(id) {
            self.evict(id, node);
        }
        self.settle_flow(id);
        if self.flows_out.get(&id).is_some_and(|flow| flow.refused) {
            self.note_shut(now, id);
        }
    }

    /// Too many large payloads of a flow are on their way: takes note of that.
    pub(super) fn note_shut_to_larges(&mut self, now: Time, id: FlowId) {
        let flow = self.flows_out.get_mut(&id);
        if let Some(at) = flow.and_then(|flow| flow.shut_to_larges(now)) {
            self.evictions.0.insert((at, id));
        }
    }

    /// For too long no large payload has come to its end: goes on without those that have not taken the oldest one of which all was sent.
    ///
    /// They are evicted from the flow that announces large payloads too, so that they get no more of these to keep until they have taken what they have.
    fn evict_for_larges(&mut self, now: Time, id: FlowId) {
        let ended = self.ended_larges_of(id);
        let Some(oldest) = ended.first() else {
            // Those that send them have not come to their ends.
            self.note_shut_to_larges(now, id);
            return;
        };
        let behind: Vec<NodeId> = self.flows_out[oldest].behind().map(|m| m.0).collect();
        for node in behind {
            self.evict(id, node);
            for &large in &ended {
                let flow = &self.flows_out[&large];
                if flow.behind().any(|member| member.0 == node) {
                    self.evict(large, node);
                }
            }
        }
        for large in ended {
            self.settle_flow(large);
        }
        self.settle_flow(id);
    }

    /// The members without which a flow would have room.
    pub(super) fn blockers(&mut self, id: FlowId) -> Vec<NodeId> {
        let window = self.window_of(id);
        let Some(flow) = self.flows_out.get(&id) else {
            return Vec::new();
        };
        let mut blockers = flow.blockers(window);
        let members: Vec<NodeId> = flow.members().map(|(node, _)| node).collect();
        let lane = crate::session::LaneName::of_flow(id);
        let full = members.into_iter();
        blockers.extend(full.filter(|&node| !self.session_has_room(node, lane)));
        blockers.sort_unstable();
        blockers.dedup();
        blockers
    }

    pub(super) fn evict(&mut self, id: FlowId, node: NodeId) {
        let key = self.own_key(id);
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return;
        };
        let epoch = flow.members().find(|member| member.0 == node);
        let Some((lost, (_, epoch))) = flow.evict(node).zip(epoch) else {
            return;
        };
        let (version, announcement) = flow.announcement(key);
        let (flow, after, upto) = (id, Seq(lost.after), Seq(lost.upto));
        self.event(match self.flows_out[&id].keeps_last() {
            true => Event::Lags {
                flow,
                node,
                after,
                upto,
            },
            false => Event::Evicted {
                flow,
                node,
                after,
                upto,
            },
        });
        if id.is_large() && node == self.me.id {
            self.end_own(id, epoch, LargeEnd::Lagged);
        }
        if node != self.me.id && !planted!(EvictedUntold) {
            self.announce((node, epoch), key, version, &announcement);
        }
    }

    /// A member that was evicted has taken what it had, and asks to be taken back.
    pub(super) fn on_rejoin(&mut self, from: Origin, (id, tenure): (FlowId, Tenure), upto: u64) {
        let member = (from.node, from.epoch);
        let key = self.own_key(id);
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return;
        };
        if flow.keeps_last() {
            self.catch_up(id, member, tenure, upto);
            return;
        }
        if id.is_large() {
            // What it misses in the middle cannot be made good.
            return;
        }
        if flow.readmit(member, tenure).is_none() {
            return;
        }
        self.refresh_flow(id);
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        let start = Seq(flow.next());
        let (version, announcement) = flow.announcement(key);
        self.event(Event::Readmitted {
            flow: id,
            node: from.node,
            start,
        });
        self.announce(member, key, version, &announcement);
    }

    /// This node has taken what it had sent to itself before it was evicted from its own flow.
    pub(super) fn readmit_own(&mut self, id: FlowId) {
        let (node, epoch) = (self.me.id, self.me.epoch);
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return;
        };
        let tenure = flow.any_tenure_of(node);
        if let Some(tenure) = tenure.filter(|_| flow.keeps_last()) {
            let upto = flow.evicted_upto(node).unwrap_or(0);
            self.catch_up(id, (node, epoch), tenure, upto);
            return;
        }
        let Some(upto) = tenure.and_then(|tenure| flow.readmit((node, epoch), tenure)) else {
            return;
        };
        self.refresh_flow(id);
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        let start = flow.begin_at(node).map_or(flow.next(), |(start, _)| start);
        self.event(Event::Readmitted {
            flow: id,
            node,
            start: Seq(start),
        });
        let inbox = self.holding(&self.flows_out[&id].role);
        if let Some(inbox) = inbox.map(|holding| holding.inbox) {
            self.report_lag(inbox, self.own_key(id), (upto + 1, start - 1));
        }
    }

    /// The origin of a large payload goes on without this node, whose program took it too slowly: that is its end.
    pub(super) fn on_evicted_from_large(&mut self, key: FlowKey) {
        if planted!(LargeLagUntold) {
            return;
        }
        self.end_incoming(key, LargeEnd::Lagged);
    }

    /// The origin of a flow goes on without this node.
    pub(super) fn on_evicted(&mut self, now: Time, key: FlowKey, (upto, lags): (u64, Option<u64>)) {
        if let Some(flow) = self.flows_in.get_mut(&key) {
            flow.on_evicted(now, upto, lags);
            self.rejoin_if_done(key);
        }
    }

    /// Asks to be taken back, if the application has taken all that there is.
    pub(super) fn rejoin_if_done(&mut self, key: FlowKey) {
        let Some(flow) = self.flows_in.get_mut(&key) else {
            return;
        };
        let Some(upto) = flow.take_rejoin() else {
            return;
        };
        if flow.own_epoch() != self.me.epoch {
            return;
        }
        let head = DataHead::Rejoin {
            flow: key.flow,
            tenure: flow.tenure(),
            upto,
        };
        let to = (key.origin, key.epoch);
        self.push(to, &head, bytes::Bytes::new(), Cargo::Plain);
    }

    /// The origin of a flow takes this node back from message `start` on, if it had gone on without it.
    pub(super) fn on_readmitted(&mut self, now: Time, key: FlowKey, start: u64) {
        let Some(flow) = self.flows_in.get_mut(&key) else {
            return;
        };
        let Some(lag) = flow.on_readmitted(start) else {
            return;
        };
        if let Some(inbox) = flow.inbox() {
            self.report_lag(inbox, key, lag);
        }
        self.follow_safety(now, key);
        self.follow_causality(now, key);
    }

    /// Tells an inbox what it will not get because it was too slow, and where it goes on.
    fn report_lag(&mut self, inbox: InboxId, key: FlowKey, (first, last): (u64, u64)) {
        if first > last || planted!(LaggedUnreported) {
            return;
        }
        let lagged = Lagged {
            origin: key.origin(),
            flow: key.flow,
            first: Seq(first),
            last: Seq(last),
            reason: LagReason::Evicted,
        };
        self.deliver(inbox, Delivery::Lagged(lagged));
        self.report_start(inbox, key, (last + 1, 0));
    }

    /// What an inbox is told of messages that will never come.
    pub(super) fn loss(&self, key: FlowKey, (first, last): (u64, u64)) -> Delivery {
        let (origin, flow) = (key.origin(), key.flow);
        let (first, last) = (Seq(first), Seq(last));
        let evicted = self.flows_in.get(&key).is_some_and(FlowIn::is_evicted);
        match evicted {
            true => Delivery::Lagged(Lagged {
                origin,
                flow,
                first,
                last,
                reason: LagReason::Evicted,
            }),
            false => Delivery::Gap(crate::api::Gap::Range {
                origin,
                flow,
                first,
                last,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rolecast_membership::{Epoch, Identity, Profile, Record};

    use super::*;
    use crate::api::{Input, Output, Ticket};
    use crate::batch::Batch;
    use crate::config::{Config, Limits};
    use crate::error::MulticastError;
    use crate::mode::Mode;
    use crate::slow::SlowMembers;
    use crate::wire::strategies::{addr, id};

    /// A node that sends to a role of its own, and its inbox that nobody reads.
    struct Alone {
        engine: Engine,
        flow: FlowId,
        tickets: Vec<Ticket>,
    }

    const AFTER: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    impl Alone {
        fn new() -> Self {
            Alone::with_window(4)
        }

        fn with_window(flow_window_bytes: usize) -> Self {
            let identity = Identity {
                id: id(1),
                epoch: Epoch(1),
                addr: addr(),
            };
            let limits = Limits {
                flow_window_bytes,
                ..Limits::default()
            };
            let (record, seeds) = (Record::new(identity), Vec::new());
            let config = Config::new(record, seeds, Profile::Local, limits);
            let mut engine = Engine::new(config, 1, at(0));
            let role: rolecast_membership::RoleName = "r".parse().expect("a role");
            engine.take_up(at(0), role.clone()).expect("it is free");
            let slow = SlowMembers::Evict { after: AFTER };
            let flow = engine.open_flow_for(at(0), role, Mode::default(), slow);
            Alone {
                engine,
                flow: flow.expect("few flows"),
                tickets: Vec::new(),
            }
        }

        fn send(&mut self, now: Time) -> Result<usize, MulticastError> {
            let batch = Batch::single(Bytes::from_static(b"four"), None);
            let sent = self.engine.multicast(now, self.flow, batch);
            sent.map(|accepted| accepted.members)
        }

        /// What the engine says about who is too slow.
        fn hears(&mut self) -> Vec<String> {
            let mut said = Vec::new();
            while let Some(output) = self.engine.poll_output() {
                match output {
                    Output::Event(Event::Evicted { after, upto, .. }) => {
                        said.push(format!("evicted {}..{}", after.0, upto.0));
                    }
                    Output::Event(Event::Readmitted { start, .. }) => {
                        said.push(format!("readmitted {}", start.0));
                    }
                    Output::Deliver { delivery, .. } => match delivery {
                        Delivery::Messages { first, ticket, .. } => {
                            self.tickets.push(ticket);
                            said.push(format!("message {}", first.0));
                        }
                        Delivery::Lagged(l) => {
                            said.push(format!("lagged {}..{}", l.first.0, l.last.0));
                        }
                        Delivery::Large {
                            seq, large, ticket, ..
                        } => {
                            self.tickets.push(ticket);
                            said.push(format!("large {} at {}", of_large(large), seq.0));
                        }
                        Delivery::LargeEnd { flow, end, .. } => {
                            said.push(format!("large {} ends: {end:?}", of_large(flow)));
                        }
                        Delivery::Started(s) => said.push(format!("started {}", s.first.0)),
                        _ => {}
                    },
                    _ => {}
                }
            }
            said
        }
    }

    #[test]
    fn a_node_may_be_too_slow_for_itself_and_comes_back() {
        let mut alone = Alone::new();
        assert_eq!(alone.send(at(0)), Ok(1));
        assert_eq!(alone.send(at(10)), Err(MulticastError::Full));
        alone.engine.handle(at(509), Input::Timeout);
        assert_eq!(alone.hears(), ["message 1"]);
        alone.engine.handle(at(510), Input::Timeout);
        assert_eq!(alone.hears(), ["evicted 0..1"]);
        assert_eq!(alone.send(at(520)), Ok(0), "it is left out");
        let ticket = alone.tickets.remove(0);
        alone.engine.handle(at(530), Input::Consumed { ticket });
        assert_eq!(alone.hears(), ["readmitted 3", "lagged 2..2", "started 3"]);
        assert_eq!(alone.send(at(540)), Ok(1));
        assert_eq!(alone.hears(), ["message 3"]);
    }

    /// Which large payload this is.
    fn of_large(flow: FlowId) -> u32 {
        flow.0 - FlowId::LARGE_FIRST.0
    }

    #[test]
    fn payloads_that_nobody_takes_keep_no_others_from_beginning() {
        let mut alone = Alone::with_window(10_000);
        let begin = |alone: &mut Alone, now| alone.engine.open_large(now, alone.flow, None);
        for _ in 0..crate::LARGE_OPEN_MAX {
            let (large, accepted) = begin(&mut alone, at(0)).expect("there is a place");
            assert_eq!(accepted.members, 1);
            let chunk = Bytes::from_static(b"a chunk");
            let sent = alone.engine.send_chunk(at(0), large, chunk);
            sent.and_then(|()| alone.engine.end_large(at(0), large, true))
                .expect("there is room");
        }
        alone.hears();
        alone.engine.handle(at(900), Input::Timeout);
        assert_eq!(alone.hears(), [""; 0], "nobody wants to begin another one");
        assert_eq!(begin(&mut alone, at(1_000)), Err(MulticastError::Full));
        alone.engine.handle(at(1_499), Input::Timeout);
        assert_eq!(alone.hears(), [""; 0]);
        alone.engine.handle(at(1_500), Input::Timeout);
        let said = alone.hears();
        assert_eq!(said[0], "evicted 0..16", "of the flow that announces them");
        assert_eq!(said.iter().filter(|s| *s == "evicted 0..2").count(), 16);
        let (_, accepted) = begin(&mut alone, at(1_510)).expect("there is a place");
        assert_eq!(accepted.members, 0, "it is left out");

        // When it has taken what was announced, it is meant again.
        for ticket in std::mem::take(&mut alone.tickets) {
            alone.engine.handle(at(1_520), Input::Consumed { ticket });
        }
        assert_eq!(
            alone.hears(),
            ["readmitted 18", "lagged 17..17", "started 18"]
        );
        let (_, accepted) = begin(&mut alone, at(1_530)).expect("there is a place");
        assert_eq!(accepted.members, 1);
    }

    #[test]
    fn a_node_that_stood_still_hears_the_others_before_it_evicts_them() {
        let mut alone = Alone::new();
        assert_eq!(alone.send(at(0)), Ok(1));
        assert_eq!(alone.send(at(0)), Err(MulticastError::Full));
        alone.engine.handle(at(5_000), Input::Timeout);
        assert_eq!(
            alone.hears(),
            ["message 1"],
            "who knows what happened meanwhile"
        );
        alone.engine.handle(at(5_500), Input::Timeout);
        assert_eq!(alone.hears(), ["evicted 0..1"]);
    }
}
