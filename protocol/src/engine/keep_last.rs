//! Going on at once when a member is slow, and keeping the last message of each key for it.
//!
//! A member that keeps the window shut is left out of the destination set as one that is evicted, which says that it *lags*.
//! Of what follows, the origin keeps the last message of each key, once for all members that lag.
//! When such a member has taken what it had, it says so, and is sent what is kept: in order and with the numbers that the messages have, a window of it at a time, and before each run of them a word about what is left out.
//! Nobody else needs to know of that, so that keys stay with the origin.

use bytes::Bytes;
use rolecast_membership::{Epoch, NodeId, Tenure, Time};

use super::Engine;
use crate::api::{Delivery, Event, FlowId, InboxId, Origin, Seq};
use crate::canary::planted;
use crate::flow_out::Holder;
use crate::kept::Run;
use crate::mode::Order;
use crate::notice::{LagReason, Lagged};
use crate::session::{Cargo, LaneName, OutFrame};
use crate::wire::{DataHead, FlowKey, SEQ_MAX, encode_head};

impl Engine {
    /// Goes on without those because of whom a flow has no room, if it keeps the last of each key for them; says whether there is room then.
    pub(super) fn leave_behind(&mut self, id: FlowId) -> bool {
        let flow = self.flows_out.get(&id);
        if !flow.is_some_and(|flow| flow.keeps_last()) || planted!(KeepLastWaits) {
            return false;
        }
        for node in self.blockers(id) {
            self.evict(id, node);
        }
        // Nobody waits to be told that there is room.
        let flow = self.flows_out.get_mut(&id).expect("it was just found");
        flow.refused = false;
        self.settle_flow(id);
        self.has_room(id)
    }

    /// A member that lags has taken everything up to `upto`, and is sent what is kept for it.
    pub(super) fn catch_up(
        &mut self,
        id: FlowId,
        (node, epoch): (NodeId, Epoch),
        tenure: Tenure,
        upto: u64,
    ) {
        // What follows at once may fill another window.
        let window = self.window_with(node) / 2;
        let key = self.own_key(id);
        let holder = Holder {
            node,
            epoch,
            tenure,
        };
        let Some(flow) = self.flows_out.get_mut(&id) else {
            return;
        };
        let Some(next) = flow.catch_up(holder, upto, window) else {
            return;
        };
        // First it hears of what there is, so that none of it can be lost in silence with this node.
        let (version, announcement) = flow.announcement(key);
        let to = (node, epoch);
        if node != self.me.id {
            self.announce(to, key, version, &announcement);
        }
        let mut after = next.after;
        for run in next.runs {
            if run.first > after + 1 {
                self.leave_out(id, to, tenure, (after + 1, run.first - 1));
            }
            after = run.last;
            self.send_kept(id, to, version, run);
        }
        let Some(flow) = self.flows_out.get_mut(&id).filter(|_| next.complete) else {
            return;
        };
        if let Some(start) = flow.bring_back(node) {
            let (version, announcement) = flow.announcement(key);
            self.event(Event::Readmitted {
                flow: id,
                node,
                start: Seq(start),
            });
            if node != self.me.id {
                self.announce(to, key, version, &announcement);
            }
        }
    }

    /// Tells a member, and the program, what is left out.
    fn leave_out(
        &mut self,
        id: FlowId,
        to: (NodeId, Epoch),
        tenure: Tenure,
        (first, last): (u64, u64),
    ) {
        if !planted!(SupersededUntold) {
            self.event(Event::Superseded {
                flow: id,
                node: to.0,
                first: Seq(first),
                last: Seq(last),
            });
        }
        if to.0 != self.me.id {
            let head = DataHead::LeftOut {
                flow: id,
                tenure,
                upto: last,
            };
            self.push(to, &head, Bytes::new(), Cargo::Plain);
            return;
        }
        let inbox = self.holding(&self.flows_out[&id].role);
        if let Some(inbox) = inbox.map(|holding| holding.inbox) {
            self.report_superseded(inbox, self.own_key(id), (first, last));
        }
    }

    /// Sends messages that were kept to one member.
    pub(super) fn send_kept(&mut self, id: FlowId, to: (NodeId, Epoch), version: u32, run: Run) {
        let Run { first, last, batch } = run;
        if to.0 == self.me.id {
            self.deliver_own(id, first, last, batch);
            return;
        }
        let floor = self.flows_out[&id].settled().min(first - 1);
        let head = DataHead::Batch {
            key: self.own_key(id),
            version,
            first,
            count: batch.count(),
            floor,
            deps: Vec::new(),
        };
        let (prefix, body) = batch.parts();
        let frame = OutFrame {
            head: [&encode_head(&head)[..], &prefix[..]].concat().into(),
            body: body.clone(),
            cargo: Cargo::Own {
                flow: id,
                upto: last,
            },
        };
        let to = (to.0, to.1, LaneName::of_flow(id));
        self.peers.push(self.me.epoch, to, frame, &mut self.out);
    }

    /// An origin says that of the messages up to `upto` nothing more comes.
    pub(super) fn on_left_out(
        &mut self,
        now: Time,
        from: Origin,
        (id, tenure): (FlowId, Tenure),
        upto: u64,
    ) -> Result<(), &'static str> {
        let key = FlowKey {
            origin: from.node,
            epoch: from.epoch,
            flow: id,
        };
        let Some(flow) = self.flows_in.get(&key) else {
            return Ok(());
        };
        if flow.mode.holds_back() || flow.mode.order != Order::Fifo || id.is_large() {
            return Err("a flow that leaves something out and must not");
        }
        if upto > SEQ_MAX {
            return Err("a word about impossible messages");
        }
        if (flow.tenure(), flow.own_epoch()) != (tenure, self.me.epoch) {
            return Ok(());
        }
        while let Some(flow) = self.flows_in.get_mut(&key)
            && let Some(missed) = flow.leave_out(now, upto)
        {
            if let Some(inbox) = flow.inbox() {
                self.report_superseded(inbox, key, missed);
            }
            self.deliver_ready(now, key);
        }
        self.ack_later(now, key);
        self.rejoin_if_done(key);
        Ok(())
    }

    /// Tells an inbox what it does not get because later messages have the same keys.
    fn report_superseded(&mut self, inbox: InboxId, key: FlowKey, (first, last): (u64, u64)) {
        if planted!(SupersededUnreported) {
            return;
        }
        let lagged = Lagged {
            origin: key.origin(),
            flow: key.flow,
            first: Seq(first),
            last: Seq(last),
            reason: LagReason::Superseded,
        };
        self.deliver(inbox, Delivery::Lagged(lagged));
    }
}
