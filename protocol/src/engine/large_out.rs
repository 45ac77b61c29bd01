//! Large payloads that this node sends: announced in their place in a flow, and then a flow of their own.

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, Tenure, Time};

use super::{Accepted, Engine};
use crate::api::{Delivery, Event, FlowId, LargeEnd, Origin, Seq};
use crate::batch::{Batch, Note};
use crate::canary::planted;
use crate::error::{ChunkError, MulticastError};
use crate::flow_out::FlowOut;
use crate::large::{Notice, Outgoing};
use crate::session::LaneName;
use crate::spread;

/// The most large payloads of one flow that are on their way at once.
pub const LARGE_OPEN_MAX: usize = 16;

impl Engine {
    /// Announces a large payload in a flow, and begins its own.
    pub(super) fn begin_large(
        &mut self,
        now: Time,
        parent: FlowId,
        length: Option<u64>,
    ) -> Result<(FlowId, Accepted), MulticastError> {
        let full = self.is_full_of_larges(parent);
        let flow = self.flows_out.get_mut(&parent);
        let flow = flow.filter(|flow| flow.large.is_none());
        let flow = flow.ok_or(MulticastError::UnknownFlow)?;
        if flow.keeps_last() {
            return Err(MulticastError::NotKeepLast);
        }
        if full {
            flow.refused = true;
            self.note_shut_to_larges(now, parent);
            return Err(MulticastError::Full);
        }
        flow.reopen_to_larges();
        // What is announced waits until it is safe; the chunks of it need not wait again.
        let mode = spread::mode_of_large(flow.mode);
        let (role, slow) = (flow.role.clone(), flow.slow());
        let id = FlowId::large(self.last_large + 1).ok_or(MulticastError::Exhausted)?;
        let announcement = Batch::note(Note::Large { flow: id, length });
        let accepted = self.send_batch(now, parent, announcement)?;
        self.last_large += 1;
        let mut holders = self.holders_of(&role);
        // Whoever is left out of the flow that announces it does not hear of it.
        holders.retain(|holder| !self.flows_out[&parent].is_evicted(holder));
        let mut flow = FlowOut::new(id, role, mode, (self.me.id, self.me.epoch));
        if !planted!(LargeEvictsNobody) {
            flow.treat_slow(slow);
        }
        flow.set_holders(&holders);
        let oldest = self.oldest_large().unwrap_or(id);
        flow.large = Some(Outgoing {
            parent,
            length,
            bytes: 0,
            ended: false,
            refused_here: false,
            over_here: false,
            oldest,
        });
        self.flows_out.insert(id, flow);
        if length.is_some_and(|length| self.is_too_large(length)) {
            self.refuse_own(id);
        }
        self.settle_flow(id);
        Ok((id, accepted))
    }

    /// Sends the next chunk of a large payload.
    pub(super) fn push_chunk(
        &mut self,
        now: Time,
        id: FlowId,
        chunk: Bytes,
    ) -> Result<(), ChunkError> {
        let outgoing = self.outgoing(id)?;
        if chunk.is_empty() {
            return Ok(());
        }
        let bytes = outgoing.bytes + chunk.len() as u64;
        if let Some(length) = outgoing.length
            && bytes > length
        {
            return Err(ChunkError::Beyond { length });
        }
        let max = self.limits.payload_bytes_max;
        if chunk.len() > max {
            return Err(ChunkError::TooLarge {
                bytes: chunk.len(),
                max,
            });
        }
        if !self.has_room(id) {
            self.note_shut(now, id);
            return Err(ChunkError::Full);
        }
        let flow = self.flows_out.get_mut(&id).expect("it takes chunks");
        flow.reopen();
        let refused = self.is_too_large(bytes);
        let outgoing = self.outgoing(id)?;
        (outgoing.bytes, outgoing.refused_here) = (bytes, refused);
        self.spread(now, id, Batch::single(chunk, None));
        if refused {
            self.refuse_own(id);
        }
        Ok(())
    }

    /// Says how a large payload ended.
    pub(super) fn finish_large(
        &mut self,
        now: Time,
        id: FlowId,
        complete: bool,
    ) -> Result<(), ChunkError> {
        let outgoing = self.outgoing(id)?;
        if let Some(length) = outgoing.length
            && complete
            && outgoing.bytes < length
        {
            return Err(ChunkError::Short { length });
        }
        outgoing.ended = true;
        self.spread(now, id, Batch::note(Note::End { complete }));
        // What this node has taken of its own is not taken again.
        let taken = self.flows_out[&id].acknowledged_by(self.me.id);
        self.on_own_taken(id, taken);
        if planted!(LargeOverEarly) {
            self.end_large_flow(id);
        }
        self.settle_flow(id);
        Ok(())
    }

    /// A large payload that takes more chunks.
    fn outgoing(&mut self, id: FlowId) -> Result<&mut Outgoing, ChunkError> {
        let flow = self.flows_out.get_mut(&id);
        let outgoing = flow.and_then(|flow| flow.large.as_mut());
        outgoing
            .filter(|outgoing| !outgoing.ended)
            .ok_or(ChunkError::Over)
    }

    /// The large payloads that are on their way, in the order in which they began.
    fn larges(&self) -> impl Iterator<Item = FlowId> + '_ {
        let first = FlowId::LARGE_FIRST;
        self.flows_out.range(first..).map(|(&id, _)| id)
    }

    /// Those that a flow announced.
    fn larges_of(&self, parent: FlowId) -> impl Iterator<Item = FlowId> + '_ {
        let of = move |id: &FlowId| {
            let large = self.flows_out[id].large.as_ref();
            large.is_some_and(|large| large.parent == parent)
        };
        self.larges().filter(of)
    }

    /// Whether so many of them are on their way that no other one may begin.
    pub(super) fn is_full_of_larges(&self, parent: FlowId) -> bool {
        self.larges_of(parent).count() >= LARGE_OPEN_MAX
    }

    /// Those of them of which all was sent.
    pub(super) fn ended_larges_of(&self, parent: FlowId) -> Vec<FlowId> {
        let ended = |id: &FlowId| {
            let large = self.flows_out[id].large.as_ref();
            large.is_some_and(|large| large.ended)
        };
        self.larges_of(parent).filter(ended).collect()
    }

    /// Takes over who holds a role for the large payloads on their way to it: who came later is not meant.
    pub(super) fn refresh_larges_of(&mut self, parent: FlowId) {
        for id in self.larges_of(parent).collect::<Vec<_>>() {
            self.refresh_flow(id);
        }
    }

    /// Whether a payload of this length is more than this node takes.
    pub(super) fn is_too_large(&self, bytes: u64) -> bool {
        bytes > self.limits.large_bytes_max && !planted!(LargeUnlimited)
    }

    /// What becomes of a large payload at this node's own inbox.
    pub(super) fn end_own(&mut self, id: FlowId, epoch: Epoch, end: LargeEnd) {
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return;
        };
        let large = flow.large.as_mut();
        if large.is_none_or(|large| std::mem::replace(&mut large.over_here, true)) {
            return;
        }
        let flow = &self.flows_out[&id];
        let inbox = self.holding(&flow.role).map(|holding| holding.inbox);
        if let Some(inbox) = inbox.filter(|_| flow.any_tenure_of(self.me.id).is_some()) {
            let node = self.me.id;
            let origin = Origin { node, epoch };
            let delivery = Delivery::LargeEnd {
                origin,
                flow: id,
                end,
            };
            self.deliver(inbox, delivery);
        }
    }

    /// This node holds the role itself, and the payload is larger than it takes.
    fn refuse_own(&mut self, id: FlowId) {
        let own = (self.me.id, self.me.epoch);
        let tenure = self.flows_out.get(&id).and_then(|f| f.tenure_of(own.0));
        if let Some(tenure) = tenure {
            self.end_own(id, own.1, LargeEnd::TooLarge);
            self.on_refused(own, id, tenure);
        }
    }

    /// A member takes nothing more of a large payload, because it is too large.
    fn on_refused(&mut self, (node, epoch): (NodeId, Epoch), id: FlowId, tenure: Tenure) {
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return;
        };
        if flow.large.is_some() && flow.remove_member(node, epoch, tenure) {
            self.event(Event::LargeRefused { flow: id, node });
            self.settle_flow(id);
        }
    }

    /// A member needs nothing more of a large payload.
    pub(super) fn on_finished(&mut self, from: Origin, id: FlowId, tenure: Tenure, refused: bool) {
        let Origin { node, epoch } = from;
        if refused {
            self.on_refused((node, epoch), id, tenure);
            return;
        }
        if let Some(flow) = self.flows_out.get_mut(&id)
            && flow.large.as_ref().is_some_and(|large| large.ended)
        {
            let last = flow.next() - 1;
            if flow.acknowledge(node, epoch, tenure, last) {
                self.settle_flow(id);
            }
        }
    }

    /// Ends the flow of a large payload of which nobody needs anything more.
    pub(super) fn settle_large(&mut self, id: FlowId) {
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return;
        };
        let settled = flow.settle();
        let ended = flow.large.as_ref().is_some_and(|large| large.ended);
        let over = flow.member_count() == 0 || ended && flow.is_settled();
        if let Some(upto) = settled {
            let upto = Seq(upto);
            self.event(Event::Settled { flow: id, upto });
        }
        if over {
            self.end_large_flow(id);
        } else {
            self.wake_refused_flow(id);
        }
    }

    /// This node goes on in another life than the one to which the large payload belongs.
    pub(super) fn abandon_large(&mut self, id: FlowId, former: Epoch) {
        self.end_own(id, former, LargeEnd::CutShort);
        self.end_large_flow(id);
    }

    /// The first own large payload of which something is still to come, or which somebody does not know to be over.
    fn oldest_large(&mut self) -> Option<FlowId> {
        let peers = &self.peers;
        let untold = self.untold.oldest(|notice| {
            let session = peers
                .get(notice.node)
                .and_then(|peer| peer.session.as_ref());
            let session = session.filter(|session| session.peer_epoch == notice.life);
            // A life that is over is told nothing any more.
            session.is_none_or(|s| s.lane(LaneName::Bulk).is_settled_upto(notice.number))
        });
        self.larges().next().into_iter().chain(untold).min()
    }

    fn end_large_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows_out.remove(&id) else {
            return;
        };
        let key = self.own_key(id);
        let told = flow.left_out().filter_map(|node| {
            let session = self.peers.get(node)?.session.as_ref()?;
            let number = session.lane(LaneName::Bulk).last_number();
            let life = session.peer_epoch;
            Some(Notice { node, life, number })
        });
        self.untold.add(id, told.collect());
        self.peers.forget_flow(key);
        let upto = flow.next() - 1;
        if flow.settled() < upto {
            let upto = Seq(upto);
            self.event(Event::Settled { flow: id, upto });
        }
        self.event(Event::LargeOver { flow: id });
        if let Some(large) = flow.large {
            if let Some(parent) = self.flows_out.get_mut(&large.parent) {
                parent.reopen_to_larges();
            }
            self.wake_refused_flow(large.parent);
        }
    }
}
