//! What this node sent and nobody may deliver before enough members hold it, this node itself neither.

use rolecast_membership::{Epoch, NodeId, Time};

use super::{FlowOut, OwnBatch};
use crate::batch::Batch;
use crate::wire::{Claim, FlowKey, Heard};

impl FlowOut {
    /// How far this node has delivered to itself what it sent to itself.
    pub(crate) fn delivered_to_itself(&self) -> u64 {
        let waiting = self.safety.as_ref().and_then(|own| own.waiting.front());
        waiting.map_or(u64::MAX, |own| own.first - 1)
    }

    /// How far this node has delivered to itself anything that it sent in its present life.
    pub(crate) fn given_to_itself(&self) -> Option<u64> {
        let upto = self.delivered_to_itself().min(self.next - 1);
        (upto >= self.first).then_some(upto)
    }

    /// A batch that was just numbered has to become safe before anybody delivers it, this node too.
    pub(crate) fn await_safety(
        &mut self,
        key: FlowKey,
        me: NodeId,
        (first, last): (u64, u64),
        batch: &Batch,
    ) {
        let (set, tenure) = (self.dest_set(key), self.tenure_of(me));
        let Some(own) = &mut self.safety else { return };
        own.safety.hold(first, last, set);
        if let Some(tenure) = tenure {
            let batch = batch.clone();
            own.waiting.push_back(OwnBatch {
                first,
                last,
                tenure,
                batch,
            });
        }
    }

    /// Lets go of what is kept for others and nobody needs: every member has taken it, and enough of those that it was sent to hold it.
    pub(super) fn let_go(&mut self) {
        let waiting = self.safety.as_ref().and_then(|own| own.safety.first());
        let safe = waiting.map_or(u64::MAX, |first| first - 1);
        self.retained.rise(self.settled.min(safe));
    }

    /// The next batch that this node may deliver to itself, if it still holds the role as it did.
    pub(crate) fn take_deliverable(&mut self, me: NodeId) -> Option<(u64, u64, Batch)> {
        let tenure = self.any_tenure_of(me);
        let own = self.safety.as_mut()?;
        own.safety.done(own.safety.deliverable());
        self.let_go();
        let own = self.safety.as_mut()?;
        loop {
            let next = own.waiting.front()?;
            if next.last > own.safety.deliverable() {
                return None;
            }
            let OwnBatch {
                first,
                last,
                tenure: meant,
                batch,
            } = own.waiting.pop_front()?;
            if tenure == Some(meant) {
                return Some((first, last, batch));
            }
        }
    }

    /// Gives up what is not stable up to here; says from which message on, and what of it was meant for this node.
    pub(crate) fn give_up(&mut self, upto: u64, me: NodeId) -> (u64, Option<(u64, u64)>) {
        let tenure = self.any_tenure_of(me);
        let Some(own) = &mut self.safety else {
            return (upto, None);
        };
        let first = own.safety.deliverable() + 1;
        own.safety.give_up(upto);
        self.stable = self.stable.max(upto);
        self.let_go();
        let Some(own) = &mut self.safety else {
            return (first, None);
        };
        let mut missed: Option<(u64, u64)> = None;
        while own.waiting.front().is_some_and(|own| own.last <= upto)
            && let Some(batch) = own.waiting.pop_front()
        {
            if tenure == Some(batch.tenure) {
                let first = missed.map_or(batch.first, |(first, _)| first);
                missed = Some((first, batch.last));
            }
        }
        (first, missed)
    }

    /// Gives up what is not stable because this node's life is over; says what that is.
    pub(crate) fn abandon(&mut self) -> Option<(u64, u64)> {
        let upto = self.next - 1;
        let own = self.safety.as_mut()?;
        let first = own.safety.deliverable() + 1;
        own.safety.restart(self.next);
        own.waiting.clear();
        self.stable = upto;
        (first <= upto).then_some((first, upto))
    }

    /// A member said how far it holds the flow, and what it knows.
    pub(crate) fn on_said(&mut self, now: Time, from: (NodeId, Epoch), held: u64, claim: Claim) {
        // Nobody can hold what was not sent.
        let held = held.min(self.next - 1);
        let safe = claim.safe.min(self.next - 1);
        if let Some(own) = &mut self.safety {
            own.safety.on_said(now, from, held, Claim { safe, ..claim });
        }
    }

    /// A member passes on what others said.
    pub(crate) fn on_heard(&mut self, heard: &[Heard]) {
        if let Some(own) = &mut self.safety {
            own.safety.on_heard(heard);
        }
    }

    /// Another member has taken everything up to here.
    pub(crate) fn on_taken_by_other(&mut self, upto: u64) {
        self.arrived = self.arrived.max(upto.min(self.next - 1));
    }

    /// A member received everything up to here over this node's own session.
    pub(crate) fn on_arrived(&mut self, now: Time, (node, epoch): (NodeId, Epoch), upto: u64) {
        let member = self.members.get(&node).filter(|m| m.epoch == epoch);
        let Some(member) = member.filter(|member| member.start <= upto) else {
            return;
        };
        self.arrived = self.arrived.max(upto);
        let claim = Claim {
            from: member.start,
            safe: 0,
        };
        if let Some(own) = &mut self.safety {
            own.safety.on_said(now, (node, epoch), upto, claim);
        }
    }

    /// How far the flow is held by enough members, and delivered whatever becomes of fewer of them and of this node, if that is news.
    pub(crate) fn take_stable(&mut self) -> Option<u64> {
        let own = self.safety.as_ref();
        let stable = own.map_or(self.arrived, |own| own.safety.deliverable());
        (stable > self.stable).then(|| {
            self.stable = stable;
            stable
        })
    }
}
