//! Multicasts: nothing invented, nothing twice, nothing out of order, nothing lost in silence.
//!
//! Per inbox and flow there is one cursor, and every message that was due to the inbox has to pass it in order: delivered, or named in a `Gap`.
//! So one comparison a message shows creation, duplication, misrouting and disorder at once, at the event; what is left for the end is to see how far each cursor came.
//!
//! Agreement and validity are relative to the destination set that the sender's engine saw when it accepted the message, and speak of lives: a life is *correct* if it lasts to the end and nobody ever declared it down.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rolecast_membership::{NodeId, RoleName, Time};
use rolecast_protocol::{Batch, CallId, Dissemination, FlowId, Gap, InboxId, Origin, Seq};

use super::lives::{Holder, LifeId, LifeState, Lives, ProcessId, SeatId};
use super::violation::{Broken, Instead, MessageName, Violation};

/// A batch that an engine accepted.
#[derive(Clone, Debug)]
pub struct Sending {
    /// In which flow.
    pub flow: FlowId,
    /// To which role.
    pub role: RoleName,
    /// How it spreads.
    pub dissemination: Dissemination,
    /// The position of the first message.
    pub first: Seq,
    /// The position of the last message.
    pub last: Seq,
    /// How many members the engine stamped.
    pub members: usize,
    /// The holders in the sender's view at this moment.
    pub holders: Arc<[Holder]>,
    /// What was sent.
    pub batch: Batch,
}

/// A batch that was put into an inbox.
#[derive(Clone, Debug)]
pub struct Receiving {
    /// Into which inbox.
    pub inbox: InboxId,
    /// Whose it is.
    pub origin: Origin,
    /// Of which flow.
    pub flow: FlowId,
    /// The position of the first message.
    pub first: Seq,
    /// What was delivered.
    pub batch: Batch,
}

#[derive(Debug)]
struct Sent {
    first: u64,
    at: Time,
    messages: Vec<(Bytes, Option<CallId>)>,
    /// In ascending order.
    members: Arc<[SeatId]>,
}

#[derive(Debug)]
struct Flow {
    origin: LifeId,
    id: FlowId,
    role: RoleName,
    dissemination: Dissemination,
    sent: Vec<Sent>,
    last: u64,
    /// The holders as last seen, so that an unchanged view costs nothing.
    holders: Arc<[Holder]>,
    cursors: BTreeMap<SeatId, Cursor>,
}

/// What the sending process was told of a flow, over all its lives: positions go on when a life ends.
#[derive(Debug, Default)]
struct Receipt {
    lives: Vec<LifeId>,
    last: u64,
    settled: u64,
    /// Per node, the positions after the first and up to the second that were said to be lost.
    lost: BTreeMap<NodeId, Vec<(u64, u64)>>,
    /// The batches that are not settled: last position and bytes.
    on_the_way: VecDeque<(u64, usize)>,
    bytes_on_the_way: usize,
}

/// How far one inbox has come in one flow.
#[derive(Debug, Default)]
struct Cursor {
    /// Everything due up to here was delivered or given up.
    passed: u64,
    /// What was given up.
    gaps: Vec<(u64, u64)>,
    /// The application has taken everything up to here.
    consumed: u64,
}

/// All flows of a run.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    flows: BTreeMap<(LifeId, FlowId), Flow>,
    receipts: BTreeMap<(ProcessId, FlowId), Receipt>,
    /// How much of a flow may be on the way, if that is known.
    pub(crate) window_bytes: Option<usize>,
}

/// What a delivery was made of, for figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivered {
    /// How many messages.
    pub messages: u64,
    /// Their payloads together.
    pub bytes: u64,
    /// When the first of them was sent.
    pub sent_at: Time,
}

impl Flows {
    pub(crate) fn accept(
        &mut self,
        lives: &Lives,
        now: Time,
        process: ProcessId,
        sending: Sending,
    ) -> Result<(), Broken> {
        let origin = lives.life_of(process);
        let flow = self
            .flows
            .entry((origin, sending.flow))
            .or_insert_with(|| Flow {
                origin,
                id: sending.flow,
                role: sending.role.clone(),
                dissemination: sending.dissemination,
                sent: Vec::new(),
                last: 0,
                holders: Arc::new([]),
                cursors: BTreeMap::new(),
            });
        let receipt = self.receipts.entry((process, sending.flow)).or_default();
        let (first, last) = (sending.first.0, sending.last.0);
        let count = u64::from(sending.batch.count());
        if first != receipt.last + 1 || last + 1 != first + count {
            return Err(Broken::Misnumbered {
                count,
                first,
                last,
                before: receipt.last,
            });
        }
        receipt.last = last;
        receipt.pass(last, sending.batch.len_bytes(), self.window_bytes)?;
        if receipt.lives.last() != Some(&origin) {
            receipt.lives.push(origin);
        }
        if sending.members != sending.holders.len() {
            return Err(Broken::WrongMembers {
                role: sending.role,
                members: sending.members,
                holders: sending.holders.len(),
            });
        }
        let members = flow.seats(lives, &sending.holders)?;
        let messages = sending
            .batch
            .into_messages()
            .map(|m| (m.payload, m.call))
            .collect();
        flow.sent.push(Sent {
            first,
            at: now,
            messages,
            members,
        });
        flow.last = last;
        Ok(())
    }

    pub(crate) fn deliver(
        &mut self,
        lives: &mut Lives,
        process: ProcessId,
        receiving: Receiving,
    ) -> Result<Delivered, Broken> {
        let Receiving {
            inbox,
            origin,
            flow,
            first,
            batch,
        } = receiving;
        let what = || format!("message {} of {}'s flow {}", first.0, origin.node, flow.0);
        let (seat, role) = lives.inbox(process, inbox, what)?;
        let life = lives.find(origin).ok_or_else(|| Broken::FromNowhere {
            what: format!("{} in life {}", origin.node, origin.epoch),
        })?;
        let Some(flow) = self.flows.get_mut(&(life, flow)) else {
            return Err(Broken::FromNowhere { what: what() });
        };
        let mut summary = Delivered::default();
        for (seq, message) in (first.0..).zip(batch.into_messages()) {
            let sent =
                flow.check_message(lives, seat, &role, seq, &message.payload, message.call)?;
            summary.messages += 1;
            summary.bytes += message.payload.len() as u64;
            if summary.messages == 1 {
                summary.sent_at = flow.sent[sent].at;
            }
        }
        Ok(summary)
    }

    pub(crate) fn gap(
        &mut self,
        lives: &mut Lives,
        process: ProcessId,
        inbox: InboxId,
        gap: Gap,
    ) -> Result<(), Broken> {
        let Gap::Range {
            origin,
            flow,
            first,
            last,
        } = gap
        else {
            unreachable!("a gap about a life of the receiver concerns no flow");
        };
        let (seat, role) = lives.inbox(process, inbox, || format!("{gap:?}"))?;
        let life = lives.find(origin).ok_or(Broken::GapWrong { gap })?;
        let flow = self
            .flows
            .get_mut(&(life, flow))
            .ok_or(Broken::GapWrong { gap })?;
        let passed = flow.cursors.get(&seat).map_or(0, |cursor| cursor.passed);
        if first > last || first.0 <= passed || last.0 > flow.last {
            return Err(Broken::GapWrong { gap });
        }
        if let Some(missing) = flow.due(seat, passed + 1, first.0 - 1).next() {
            return Err(Broken::OutOfOrder {
                message: flow.name(lives, first.0),
                missing,
            });
        }
        let Some(due) = flow.due(seat, first.0, last.0).next() else {
            return Err(Broken::GapWrong { gap });
        };
        let sent_at = flow.sent_at(due);
        if lives.is_correct(life, sent_at) && lives.is_correct(lives.seat(seat).life, sent_at) {
            return Err(Broken::GapUnjustified { gap, role });
        }
        let cursor = flow.cursors.entry(seat).or_default();
        cursor.passed = last.0;
        cursor.gaps.push((first.0, last.0));
        Ok(())
    }

    /// The application has taken everything of this flow up to `upto`.
    pub(crate) fn consume(
        &mut self,
        lives: &mut Lives,
        process: ProcessId,
        inbox: InboxId,
        origin: Origin,
        flow: FlowId,
        upto: u64,
    ) {
        // Whoever takes from a closed inbox, or what came before a renewal, settles nothing.
        let Ok((seat, _)) = lives.inbox(process, inbox, String::new) else {
            return;
        };
        let Some(life) = lives.find(origin) else {
            return;
        };
        let flow = self.flows.get_mut(&(life, flow));
        if let Some(cursor) = flow.and_then(|flow| flow.cursors.get_mut(&seat)) {
            cursor.consumed = cursor.consumed.max(upto);
        }
    }

    /// The sender was told that these messages are lost to this node.
    pub(crate) fn lost(
        &mut self,
        process: ProcessId,
        flow: FlowId,
        node: NodeId,
        range: (Seq, Seq),
    ) -> Result<(), Broken> {
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

    /// What is still owed to somebody if nothing breaks any more; `None` when all is well.
    pub(crate) fn owed(&self, lives: &Lives, now: Time) -> Option<Violation> {
        self.flows.values().find_map(|flow| {
            let (seat, broken) = flow.owed(lives)?;
            Some(Violation {
                at: now,
                node: lives.name_of_seat(seat),
                broken,
            })
        })
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
    /// Another batch goes on its way, which it may as long as the window is not full.
    fn pass(&mut self, last: u64, bytes: usize, window: Option<usize>) -> Result<(), Broken> {
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
    fn seats(&mut self, lives: &Lives, holders: &Arc<[Holder]>) -> Result<Arc<[SeatId]>, Broken> {
        if let Some(previous) = self.sent.last()
            && self.holders == *holders
        {
            return Ok(Arc::clone(&previous.members));
        }
        let mut seats = holders
            .iter()
            .map(|holder| {
                lives
                    .find_seat(&self.role, holder)
                    .ok_or_else(|| Broken::NeverHeld {
                        role: self.role.clone(),
                        holder: format!("{} in life {}", holder.node, holder.epoch),
                    })
            })
            .collect::<Result<Vec<_>, _>>()?;
        seats.sort_unstable();
        self.holders = Arc::clone(holders);
        Ok(seats.into())
    }

    /// Checks one message at the cursor of its receiver and moves the cursor on; gives the index of its batch.
    fn check_message(
        &mut self,
        lives: &Lives,
        seat: SeatId,
        role: &RoleName,
        seq: u64,
        payload: &Bytes,
        call: Option<CallId>,
    ) -> Result<usize, Broken> {
        let Some(index) = self.batch_of(seq) else {
            return Err(Broken::NeverSent {
                message: self.name(lives, seq),
                sent: self.last,
            });
        };
        let sent = &self.sent[index];
        let (expected, expected_call) = &sent.messages[(seq - sent.first) as usize];
        if expected != payload || *expected_call != call {
            return Err(Broken::Altered {
                message: self.name(lives, seq),
            });
        }
        if sent.members.binary_search(&seat).is_err() {
            return Err(Broken::Misrouted {
                message: self.name(lives, seq),
                role: role.clone(),
            });
        }
        let passed = self.cursors.get(&seat).map_or(0, |cursor| cursor.passed);
        if seq <= passed {
            let message = self.name(lives, seq);
            return Err(match self.was_given_up(seat, seq) {
                true => Broken::DeliveredAfterGap { message },
                false => Broken::Duplicated { message },
            });
        }
        if let Some(missing) = self.due(seat, passed + 1, seq - 1).next() {
            return Err(Broken::OutOfOrder {
                message: self.name(lives, seq),
                missing,
            });
        }
        self.cursors.entry(seat).or_default().passed = seq;
        Ok(index)
    }

    fn batch_of(&self, seq: u64) -> Option<usize> {
        let index = self
            .sent
            .partition_point(|sent| sent.first <= seq)
            .checked_sub(1)?;
        (seq < self.sent[index].first + self.sent[index].messages.len() as u64).then_some(index)
    }

    /// The batches that have messages in `first..=last`.
    fn overlapping(&self, first: u64, last: u64) -> impl Iterator<Item = &Sent> {
        let from = self
            .sent
            .partition_point(|s| s.first + s.messages.len() as u64 <= first);
        self.sent[from..]
            .iter()
            .take_while(move |sent| sent.first <= last)
    }

    /// The positions in `first..=last` whose destination sets name this seat.
    fn due(&self, seat: SeatId, first: u64, last: u64) -> impl Iterator<Item = u64> {
        let mine = self
            .overlapping(first, last)
            .filter(move |sent| sent.members.binary_search(&seat).is_ok());
        mine.flat_map(move |sent| {
            let end = sent.first + sent.messages.len() as u64 - 1;
            sent.first.max(first)..=end.min(last)
        })
    }

    fn was_given_up(&self, seat: SeatId, seq: u64) -> bool {
        let cursor = self.cursors.get(&seat);
        cursor.is_some_and(|cursor| cursor.gaps.iter().any(|&(a, b)| (a..=b).contains(&seq)))
    }

    fn was_delivered(&self, seat: SeatId, seq: u64) -> bool {
        let passed = self
            .cursors
            .get(&seat)
            .is_some_and(|cursor| seq <= cursor.passed);
        passed && !self.was_given_up(seat, seq)
    }

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
        self.cursors.get(&seat).is_some_and(|cursor| {
            let gapped = cursor.gaps.iter().any(|&(_, last)| seq <= last);
            seq <= cursor.consumed || gapped
        })
    }

    /// The first message that is owed to an inbox, and how the promise is broken.
    fn owed(&self, lives: &Lives) -> Option<(SeatId, Broken)> {
        let origin = lives.life(self.origin);
        let lost = match origin.state {
            _ if !lives.is_core(origin.process) => true,
            LifeState::Up | LifeState::Left { drained: true } => false,
            LifeState::Left { drained: false } | LifeState::Crashed | LifeState::Renewed => true,
        };
        if lost && self.dissemination == Dissemination::BestEffort {
            return None;
        }
        let mut seen: Vec<SeatId> = Vec::new();
        let mut last: Option<&Arc<[SeatId]>> = None;
        for sent in &self.sent {
            if last.is_some_and(|members| Arc::ptr_eq(members, &sent.members)) {
                continue;
            }
            last = Some(&sent.members);
            for &seat in sent.members.iter() {
                if seen.contains(&seat) || !lives.seat(seat).open {
                    continue;
                }
                seen.push(seat);
                if let Some(broken) = self.owed_to(lives, seat, lost) {
                    return Some((seat, broken));
                }
            }
        }
        None
    }

    fn owed_to(&self, lives: &Lives, seat: SeatId, origin_lost: bool) -> Option<Broken> {
        let passed = self.cursors.get(&seat).map_or(0, |cursor| cursor.passed);
        let gaps = self
            .cursors
            .get(&seat)
            .map_or(&[][..], |cursor| &cursor.gaps);
        let given_up = gaps.iter().flat_map(|&(a, b)| self.due(seat, a, b));
        let given_up = given_up.map(|seq| (seq, Instead::Gapped));
        let missing = self
            .due(seat, passed + 1, self.last)
            .map(|seq| (seq, Instead::Missing));
        let life = lives.seat(seat).life;
        given_up.chain(missing).find_map(|(seq, how)| {
            let sent_at = self.sent_at(seq);
            if !lives.is_due(life, sent_at) {
                return None;
            }
            let origin = lives.life(self.origin);
            let origin_lost = origin_lost || !lives.is_core(origin.process);
            if !origin_lost && origin.declared_down.is_none_or(|at| at < sent_at) {
                let message = self.name(lives, seq);
                return Some(match origin.state {
                    LifeState::Left { .. } => Broken::LostInLeaving { message, how },
                    _ => Broken::Validity { message, how },
                });
            }
            self.disagreement(lives, seq, how)
        })
    }

    /// Another member that delivered a message which one member did not.
    fn disagreement(&self, lives: &Lives, seq: u64, how: Instead) -> Option<Broken> {
        if self.dissemination == Dissemination::BestEffort {
            return None;
        }
        let sent = &self.sent[self.batch_of(seq).expect("it was sent")];
        let deliverer = sent.members.iter().find(|&&other| {
            lives.is_due(lives.seat(other).life, sent.at) && self.was_delivered(other, seq)
        })?;
        let deliverer = lives.name_of_seat(*deliverer);
        Some(Broken::Agreement {
            message: self.name(lives, seq),
            deliverer,
            how,
        })
    }

    fn sent_at(&self, seq: u64) -> Time {
        self.sent[self.batch_of(seq).expect("it was sent")].at
    }

    fn name(&self, lives: &Lives, seq: u64) -> MessageName {
        MessageName {
            origin: lives.name_of_life(self.origin),
            epoch: lives.life(self.origin).identity.epoch,
            flow: self.id,
            seq: Seq(seq),
            role: self.role.clone(),
        }
    }
}
