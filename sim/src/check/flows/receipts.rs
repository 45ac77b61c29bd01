//! What senders are told of their flows: never that all have taken what someone has not.

use std::collections::{BTreeMap, VecDeque};

use rolecast_membership::{NodeId, Time};
use rolecast_protocol::{FlowId, Seq};

use super::super::lives::{LifeId, LifeState, Lives, ProcessId, SeatId};
use super::super::violation::{Broken, Violation};
use super::{Cursor, Flow, Flows};

/// What the sending process was told of a flow, over all its lives: positions go on when a life ends.
#[derive(Debug, Default)]
pub(super) struct Receipt {
    pub(super) lives: Vec<LifeId>,
    pub(super) last: u64,
    settled: u64,
    /// Per node, the positions after the first and up to the second that were said to be lost.
    lost: BTreeMap<NodeId, Vec<(u64, u64)>>,
    /// The batches that are not settled: last position and bytes.
    on_the_way: VecDeque<(u64, usize)>,
    bytes_on_the_way: usize,
}

impl Flows {
    /// The sender was told that these messages are lost to this node.
    pub(crate) fn lost(
        &mut self,
        process: ProcessId,
        flow: FlowId,
        node: NodeId,
        range: (Seq, Seq),
    ) -> Result<(), Broken> {
        if flow.is_large() {
            // It gets nothing more of it either.
            let receipt = self.receipts.entry((process, flow)).or_default();
            receipt.excuse(node);
            return Ok(());
        }
        let receipt = self.receipt(process, flow, range.1)?;
        receipt
            .lost
            .entry(node)
            .or_default()
            .push((range.0.0, range.1.0));
        Ok(())
    }

    /// The sender was told that every member has taken everything up to `upto`, or is lost.
    pub(crate) fn settle(
        &mut self,
        lives: &Lives,
        process: ProcessId,
        flow: FlowId,
        upto: Seq,
    ) -> Result<(), Broken> {
        let receipt = self.receipt(process, flow, upto)?;
        let from = receipt.settled + 1;
        receipt.settle(upto.0);
        let receipt = &self.receipts[&(process, flow)];
        for life in &receipt.lives {
            let flow = &self.flows[&(*life, flow)];
            for sent in flow.overlapping(from, upto.0) {
                let last = upto.0.min(sent.first + sent.messages.len() as u64 - 1);
                for &seat in sent.members.iter() {
                    if !flow.has_taken(lives, seat, last) && !receipt.is_lost(lives, seat, last) {
                        return Err(Broken::SettledEarly {
                            message: flow.name(lives, last),
                            holder: lives.name_of_seat(seat),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// The sender was told that enough members hold everything up to `upto`.
    pub(crate) fn stable(
        &mut self,
        lives: &Lives,
        process: ProcessId,
        flow: FlowId,
        upto: Seq,
    ) -> Result<(), Broken> {
        self.receipt(process, flow, upto)?;
        let name = (lives.life_of(process), flow);
        let Some(flow) = self.flows.get_mut(&name) else {
            return Ok(());
        };
        let before = flow.stable;
        flow.stable = before.max(upto.0);
        self.check_held(lives, name, (before + 1, upto.0))
    }

    /// The sender was told that these messages cannot become safe.
    pub(crate) fn unstable(
        &mut self,
        lives: &Lives,
        process: ProcessId,
        flow: FlowId,
        (first, upto): (Seq, Seq),
    ) -> Result<(), Broken> {
        self.receipt(process, flow, upto)?;
        if let Some(flow) = self.flows.get_mut(&(lives.life_of(process), flow)) {
            flow.unstable.push((first.0, upto.0));
        }
        Ok(())
    }

    /// A flow of a live sender whose messages have all been taken, and which was not told so.
    pub(crate) fn unsettled(&self, lives: &Lives, now: Time) -> Option<Violation> {
        let stuck = self.receipts.iter().find(|((process, _), receipt)| {
            lives.is_up(*process) && receipt.settled < receipt.last
        });
        let (&(process, flow), receipt) = stuck?;
        Some(Violation {
            at: now,
            node: lives.name(process),
            broken: Broken::NeverSettled {
                flow: flow.0,
                settled: receipt.settled,
                sent: receipt.last,
            },
        })
    }

    fn receipt(
        &mut self,
        process: ProcessId,
        flow: FlowId,
        upto: Seq,
    ) -> Result<&mut Receipt, Broken> {
        match self.receipts.get_mut(&(process, flow)) {
            Some(receipt) if upto.0 <= receipt.last => Ok(receipt),
            other => {
                let sent = other.map_or(0, |receipt| receipt.last);
                Err(Broken::ReceiptWrong {
                    flow: flow.0,
                    upto: upto.0,
                    sent,
                })
            }
        }
    }
}

impl Receipt {
    /// How much is not settled.
    pub(super) fn bytes_on_the_way(&self) -> usize {
        self.bytes_on_the_way
    }

    /// This node refused all of it.
    pub(super) fn excuse(&mut self, node: NodeId) {
        self.lost.entry(node).or_default().push((0, u64::MAX));
    }

    /// No more is sent; gives how far it is settled, and how much was sent.
    pub(super) fn end(&self) -> (u64, u64) {
        (self.settled, self.last)
    }

    /// Another batch goes on its way, which it may as long as the window is not full.
    pub(super) fn pass(
        &mut self,
        last: u64,
        bytes: usize,
        window: Option<usize>,
    ) -> Result<(), Broken> {
        let used = self.bytes_on_the_way;
        if let Some(limit) = window
            && used >= limit
        {
            let what = "bytes of a flow on the way";
            return Err(Broken::Bound { what, used, limit });
        }
        self.on_the_way.push_back((last, bytes));
        self.bytes_on_the_way += bytes;
        Ok(())
    }

    fn settle(&mut self, upto: u64) {
        self.settled = upto.max(self.settled);
        while let Some(&(last, bytes)) = self.on_the_way.front()
            && last <= upto
        {
            self.on_the_way.pop_front();
            self.bytes_on_the_way -= bytes;
        }
    }

    fn is_lost(&self, lives: &Lives, seat: SeatId, seq: u64) -> bool {
        let told = self
            .lost
            .get(&lives.life(lives.seat(seat).life).identity.id);
        told.is_some_and(|ranges| ranges.iter().any(|&(_, upto)| seq <= upto))
    }
}

impl Flow {
    /// Whether the sender may consider this member done with everything up to `seq`.
    fn has_taken(&self, lives: &Lives, seat: SeatId, seq: u64) -> bool {
        let entry = lives.seat(seat);
        let gone = matches!(
            lives.life(entry.life).state,
            LifeState::Renewed | LifeState::Left { .. }
        );
        if entry.dropped || gone {
            return true;
        }
        if !self.is_ordered() {
            let index = self.batch_of(seq).expect("it was sent");
            let end = self.sent[index].first + self.sent[index].messages.len() as u64 - 1;
            let taken = |cursor: &Cursor| cursor.consumed_ends.contains(&end);
            return self.cursors.get(&seat).is_some_and(taken) || self.was_given_up(seat, seq);
        }
        self.cursors.get(&seat).is_some_and(|cursor| {
            let gapped = cursor.gaps.iter().any(|&(_, last)| seq <= last);
            seq <= cursor.consumed || gapped
        })
    }
}
