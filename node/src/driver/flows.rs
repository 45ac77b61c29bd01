//! From the outboxes of the application into the engine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rolecast_membership::NodeId;
use rolecast_protocol::{Accepted, Batch, Engine, FlowId, MulticastError, OpenFlowError, Seq};
use tokio::sync::oneshot;

use super::Driver;
use crate::error::NotSent;
use crate::outbox::{Content, Gather, Outbox, Parcel};
use crate::outcomes::HolderOutcome;
use crate::settlement::Members;
use crate::simulation::Sight;
use crate::upload::Announcement;

/// The flows that are open.
#[derive(Default)]
pub(super) struct Flows {
    flows: BTreeMap<FlowId, Flow>,
    /// Flows for which the engine has no room.
    full: BTreeSet<FlowId>,
    /// Flows that take batches again.
    writable: BTreeSet<FlowId>,
    /// Outboxes of which somebody wants to know who has acknowledged how much.
    followed: Vec<Arc<Outbox>>,
}

struct Flow {
    outbox: Arc<Outbox>,
    /// What was taken out of the outbox and not yet taken by the engine.
    parcels: VecDeque<Parcel>,
    /// The last message that the engine has taken.
    last: Seq,
    skipped: Skipped,
}

/// Numbers that the outbox gave out and the engine did not: requests to all that were given up, and what was refused.
#[derive(Default)]
struct Skipped {
    /// Of each run of them, the engine's message before it and how many they are; those that are settled are only counted.
    after: VecDeque<(Seq, u64)>,
    settled: u64,
}

impl Flows {
    pub(super) fn writable(&mut self, flow: FlowId) {
        self.writable.insert(flow);
    }

    pub(super) fn settled(&mut self, flow: FlowId, upto: Seq) {
        if let Some(flow) = self.flows.get_mut(&flow) {
            flow.outbox.settlement.settle(flow.skipped.outer(upto));
            flow.skipped.forget(upto);
        }
    }

    pub(super) fn lost(
        &self,
        id: FlowId,
        (node, why): (NodeId, HolderOutcome),
        after: Seq,
        upto: Seq,
    ) {
        if let Some(flow) = self.flows.get(&id) {
            let (after, upto) = (flow.skipped.outer(after), flow.skipped.outer(upto));
            tracing::debug!(role = %flow.outbox.role.name, %node, ?why, ?after, ?upto, "a holder is lost");
            flow.outbox.settlement.lost(node, why, after, upto);
        }
    }

    pub(super) fn evicted(&self, id: FlowId, node: NodeId, after: Seq, upto: Seq) {
        if let Some(flow) = self.flows.get(&id) {
            let (after, upto) = (flow.skipped.outer(after), flow.skipped.outer(upto));
            tracing::warn!(role = %flow.outbox.role.name, %node, ?after, ?upto, "a holder is too slow and left out");
            flow.outbox.settlement.evicted(node, after, upto);
        }
    }

    pub(super) fn lags(&self, id: FlowId, node: NodeId, after: Seq, upto: Seq) {
        if let Some(flow) = self.flows.get(&id) {
            let (after, upto) = (flow.skipped.outer(after), flow.skipped.outer(upto));
            tracing::debug!(role = %flow.outbox.role.name, %node, ?after, ?upto, "a holder lags behind");
        }
    }

    pub(super) fn superseded(&self, id: FlowId, node: NodeId, first: Seq, last: Seq) {
        if let Some(flow) = self.flows.get(&id) {
            let (first, last) = (flow.skipped.outer(first), flow.skipped.outer(last));
            tracing::debug!(role = %flow.outbox.role.name, %node, ?first, ?last, "a holder gets later messages instead");
            flow.outbox.settlement.superseded(node, first, last);
        }
    }

    pub(super) fn readmitted(&self, id: FlowId, node: NodeId, start: Seq) {
        if let Some(flow) = self.flows.get(&id) {
            let start = flow.skipped.outer(start);
            tracing::info!(role = %flow.outbox.role.name, %node, ?start, "a holder that was too slow is back");
        }
    }

    pub(super) fn stable(&self, flow: FlowId, upto: Seq) {
        if let Some(flow) = self.flows.get(&flow) {
            flow.outbox.settlement.stable(flow.skipped.outer(upto));
        }
    }

    pub(super) fn unstable(&self, flow: FlowId, first: Seq, upto: Seq) {
        if let Some(flow) = self.flows.get(&flow) {
            let (first, upto) = (flow.skipped.outer(first), flow.skipped.outer(upto));
            flow.outbox.settlement.unstable(first, upto);
        }
    }

    /// Somebody wants to know who has acknowledged how much.
    pub(super) fn follow(&mut self, outbox: Arc<Outbox>) {
        if !self
            .followed
            .iter()
            .any(|known| Arc::ptr_eq(known, &outbox))
        {
            self.followed.push(outbox);
        }
    }

    /// What is to be handed to the engine next.
    fn next_parcel(&mut self, id: FlowId) -> Option<Parcel> {
        let flow = self.flows.get_mut(&id)?;
        if self.full.remove(&id) {
            flow.outbox.set_slowest(None);
        }
        flow.parcels.pop_front()
    }

    /// The engine has no room for what was to be next.
    fn put_back(&mut self, id: FlowId, parcel: Parcel) {
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.parcels.push_front(parcel);
            self.full.insert(id);
        }
    }

    /// Whether everything that was taken out of the outboxes has been taken by the engine.
    pub(super) fn is_empty(&self) -> bool {
        self.flows.values().all(|flow| flow.parcels.is_empty())
    }
}

impl Skipped {
    /// The outbox's number of a message that has this one in the engine.
    fn outer(&self, seq: Seq) -> Seq {
        let open = self.after.iter().filter(|(after, _)| *after < seq);
        let open: u64 = open.map(|(_, count)| count).sum();
        Seq(seq.0 + self.settled + open)
    }

    /// Nobody will ask about messages up to this one again.
    fn forget(&mut self, upto: Seq) {
        while let Some(&(after, count)) = self.after.front()
            && after <= upto
        {
            self.after.pop_front();
            self.settled += count;
        }
    }
}

impl Flow {
    /// The engine has taken a parcel.
    fn taken(&mut self, id: FlowId, cost: usize, accepted: &Accepted, engine: &Engine) {
        self.outbox.release(cost);
        self.last = accepted.last;
        let first = self.skipped.outer(accepted.first);
        let own = engine.is_holder(&self.outbox.role.name);
        let members = Members {
            all: accepted.members,
            others: accepted.members.saturating_sub(usize::from(own)),
        };
        let last = self.skipped.outer(accepted.last);
        let version = engine.destination_version(id);
        let nodes = || {
            let meant = engine.acknowledged(id).into_iter();
            meant.map(|(node, _)| node).collect()
        };
        let settlement = &self.outbox.settlement;
        settlement.sent((first, last), (version, members), nodes);
    }

    /// What a witness sees of a batch that the engine has taken.
    fn accepted<'a>(&'a self, id: FlowId, accepted: &'a Accepted, batch: &'a Batch) -> Sight<'a> {
        Sight::Accepted {
            flow: id,
            role: &self.outbox.role.name,
            mode: self.outbox.mode,
            accepted,
            batch,
        }
    }

    /// The engine will never take a parcel of so many messages.
    fn skip(&mut self, cost: usize, count: u64) {
        self.outbox.release(cost);
        self.skipped.after.push_back((self.last, count));
    }

    /// The engine refuses a batch, and may take the next one.
    fn refuse(&mut self, cost: usize, count: u64) {
        self.skip(cost, count);
        // All numbers that were given out are those of the engine and the ones that were skipped.
        let last = self.skipped.outer(Seq(self.last.0 + 1)).0 - 1;
        let first = last + 1 - count;
        self.outbox.settlement.refused(Seq(first), Seq(last));
    }
}

impl Driver {
    /// Opens the flow of an outbox, and says so.
    pub(super) fn open_flow(&mut self, outbox: &Arc<Outbox>, done: oneshot::Sender<()>) {
        let role = &outbox.role;
        let name = role.name.clone();
        self.witnessed.saw(&self.engine, || Sight::Asks);
        match self
            .engine
            .open_flow_for(self.now, name, outbox.mode, outbox.policy)
        {
            Ok(id) => {
                self.flows.flows.entry(id).or_insert_with(|| Flow {
                    outbox: Arc::clone(outbox),
                    parcels: VecDeque::new(),
                    last: Seq(0),
                    skipped: Skipped::default(),
                });
                let sight = || Sight::Opened {
                    flow: id,
                    role: &role.name,
                    slow: outbox.policy,
                };
                self.witnessed.saw(&self.engine, sight);
                role.set_holders(self.engine.holders(&role.name));
                outbox.opened(id);
            }
            Err(OpenFlowError::TooMany { max }) => outbox.refuse(NotSent::TooManyChannels { max }),
            Err(OpenFlowError::NotKept) => outbox.refuse(NotSent::NotKept),
            Err(OpenFlowError::NoFanout) => outbox.refuse(NotSent::NoFanout),
            Err(OpenFlowError::NotCausal) => outbox.refuse(NotSent::NotCausal),
            Err(OpenFlowError::Pattern) => outbox.refuse(NotSent::Pattern),
            Err(OpenFlowError::NotKeepLast) => outbox.refuse(NotSent::NotKeepLast),
            Err(_) => outbox.refuse(NotSent::Closed(self.closing_reason())),
        }
        // Whoever asked may have gone; the flow stays open.
        let _ = done.send(());
    }

    /// Sends what gathered in an outbox, as far as there is room.
    pub(super) fn send_outbox(&mut self, outbox: &Outbox) {
        let Some(id) = outbox.flow() else { return };
        let Some(flow) = self.flows.flows.get_mut(&id) else {
            return;
        };
        // A full flow leaves the rest in the outbox, whose bound holds the senders back.
        if !self.flows.full.contains(&id) {
            outbox.take(&mut flow.parcels);
            self.send_parcels(id);
        }
    }

    /// Goes on with the flows that take batches again; says whether there were any.
    pub(super) fn send_writable(&mut self) -> bool {
        let mut any = false;
        while let Some(id) = self.flows.writable.pop_first() {
            any = true;
            if id.is_large() {
                self.resume_upload(id);
                continue;
            }
            self.send_parcels(id);
            if !self.flows.full.contains(&id)
                && let Some(flow) = self.flows.flows.get(&id)
            {
                let outbox = Arc::clone(&flow.outbox);
                self.send_outbox(&outbox);
            }
        }
        any
    }

    /// Hands over what was taken out of an outbox, until the engine has no room.
    fn send_parcels(&mut self, id: FlowId) {
        while let Some(Parcel { content, cost }) = self.flows.next_parcel(id) {
            let refused = match content {
                Content::Batch(batch) => self.send_batch(id, batch, cost),
                Content::Gather(gather) => self.send_gather(id, gather, cost),
                Content::Large(announcement) => self.send_large(id, announcement, cost),
            };
            if let Some(content) = refused {
                let sight = || Sight::Refused { flow: id };
                self.witnessed.saw(&self.engine, sight);
                self.flows.put_back(id, Parcel { content, cost });
                self.counters.full.increment(1);
                return;
            }
        }
    }

    /// Tells those who are held back by whom: while a flow is full, another holder may become the slowest.
    pub(super) fn note_slowest(&self) {
        for id in &self.flows.full {
            let flow = &self.flows.flows[id];
            flow.outbox.set_slowest(self.engine.slowest(*id));
        }
    }

    /// Tells those who want to know which holder has acknowledged how much.
    pub(super) fn note_acknowledged(&mut self) {
        if self.flows.followed.is_empty() {
            return;
        }
        let mut followed = std::mem::take(&mut self.flows.followed);
        followed.retain(|outbox| outbox.settlement.is_followed());
        for outbox in &followed {
            let Some(id) = outbox.flow() else { continue };
            if let Some(flow) = self.flows.flows.get(&id) {
                let acknowledged = self.engine.acknowledged(id).into_iter();
                let outer = |(node, upto)| (node, flow.skipped.outer(upto));
                outbox.settlement.acknowledged(acknowledged.map(outer));
            }
        }
        self.flows.followed = followed;
    }

    /// Hands a batch to the engine; gives it back if there is no room.
    fn send_batch(&mut self, id: FlowId, batch: Batch, cost: usize) -> Option<Content> {
        let flow = self.flows.flows.get_mut(&id)?;
        self.witnessed.saw(&self.engine, || Sight::Asks);
        match self.engine.multicast(self.now, id, batch.clone()) {
            Ok(accepted) => {
                flow.taken(id, cost, &accepted, &self.engine);
                let sight = || flow.accepted(id, &accepted, &batch);
                self.witnessed.saw(&self.engine, sight);
                self.counters
                    .messages_sent
                    .increment(u64::from(batch.count()));
                self.counters.bytes_sent.increment(batch.len_bytes() as u64);
            }
            Err(MulticastError::Full) => return Some(Content::Batch(batch)),
            Err(MulticastError::TooFewHolders { .. }) => flow.refuse(cost, batch.count().into()),
            Err(error) => {
                let why = NotSent::from_multicast(error, flow.outbox.role.name.as_str());
                tracing::warn!(%why, "messages were not sent");
                flow.outbox.refuse(why);
                flow.outbox.close();
                flow.parcels.clear();
            }
        }
        None
    }

    /// Announces a large payload; gives it back if there is no room.
    fn send_large(
        &mut self,
        id: FlowId,
        announcement: Announcement,
        cost: usize,
    ) -> Option<Content> {
        let flow = self.flows.flows.get_mut(&id)?;
        let upload = Arc::clone(&announcement.0);
        if !upload.begin() {
            flow.skip(cost, 1);
            return None;
        }
        self.witnessed.saw(&self.engine, || Sight::Asks);
        match self.engine.open_large(self.now, id, upload.length) {
            Ok((large, accepted)) => {
                flow.taken(id, cost, &accepted, &self.engine);
                let sight = || Sight::Announced {
                    flow: id,
                    role: &flow.outbox.role.name,
                    mode: flow.outbox.mode,
                    accepted: &accepted,
                    large,
                    length: upload.length,
                };
                self.witnessed.saw(&self.engine, sight);
                self.counters.messages_sent.increment(1);
                let awaited = flow.outbox.is_awaited_by_large();
                self.begin_upload(large, &upload, &accepted);
                if awaited {
                    self.engine.await_large(self.now, id);
                }
            }
            Err(MulticastError::Full) => {
                upload.put_off();
                return Some(Content::Large(announcement));
            }
            Err(error) => {
                flow.skip(cost, 1);
                let role = flow.outbox.role.name.as_str();
                upload.not_sent(NotSent::from_multicast(error, role));
            }
        }
        None
    }

    /// Hands a request to all to the engine; gives it back if there is no room.
    fn send_gather(&mut self, id: FlowId, gather: Gather, cost: usize) -> Option<Content> {
        let flow = self.flows.flows.get_mut(&id)?;
        let Gather {
            payload,
            deadline,
            mut slot,
        } = gather;
        if slot.state.is_cancelled() {
            flow.skip(cost, 1);
            return None;
        }
        let until = self.clock.time(deadline);
        self.witnessed.saw(&self.engine, || Sight::Asks);
        match self.engine.gather(self.now, id, payload.clone(), until) {
            Ok((call, accepted)) => {
                flow.taken(id, cost, &accepted, &self.engine);
                if self.witnessed.is_watched() {
                    let gathers = || Sight::Gathers {
                        call,
                        role: &flow.outbox.role.name,
                        deadline: until,
                    };
                    self.witnessed.saw(&self.engine, gathers);
                    let batch = Batch::single(payload, Some(call));
                    let sight = || flow.accepted(id, &accepted, &batch);
                    self.witnessed.saw(&self.engine, sight);
                }
                self.counters.messages_sent.increment(1);
                self.counters.calls.increment(1);
                slot.sent(accepted.members);
                self.begin_call(call, slot);
            }
            Err(MulticastError::Full) => {
                return Some(Content::Gather(Gather {
                    payload,
                    deadline,
                    slot,
                }));
            }
            Err(error) => {
                flow.skip(cost, 1);
                slot.fail(NotSent::from_multicast(
                    error,
                    flow.outbox.role.name.as_str(),
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_the_engine_never_took_are_stepped_over() {
        let mut skipped = Skipped::default();
        skipped.after.extend([(Seq(2), 2), (Seq(5), 1)]);
        let outer = |skipped: &Skipped| [1, 2, 3, 5, 6].map(|seq| skipped.outer(Seq(seq)).0);
        assert_eq!(outer(&skipped), [1, 2, 5, 7, 9]);
        skipped.forget(Seq(4));
        assert_eq!(outer(&skipped)[2..], [5, 7, 9]);
        skipped.forget(Seq(6));
        assert_eq!(skipped.outer(Seq(7)), Seq(10));
    }
}
