//! Multicasts: nothing invented, nothing twice, nothing out of order, nothing lost in silence.
//!
//! Per inbox and flow there is one cursor, and every message that was due to the inbox has to pass it in order: delivered, or named in a `Gap`.
//! So one comparison a message shows creation, duplication, misrouting and disorder at once, at the event; what is left for the end is to see how far each cursor came.
//!
//! Agreement and validity are relative to the destination set that the sender's engine saw when it accepted the message, and speak of lives: a life is *correct* if it lasts to the end and nobody ever declared it down.

mod begin;
mod causal;
mod evicted;
mod held;
mod keep_last;
mod larges;
mod owed;
mod receipts;
mod replay;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::{RoleName, Time};
use rolecast_protocol::{Batch, CallId, FlowId, Gap, InboxId, Mode, Order, Origin, Seq};

use super::lives::{Holder, LifeId, Lives, ProcessId, SeatId};
use super::violation::{Broken, MessageName};
use evicted::Evicted;
pub(crate) use evicted::OwnTime;
pub(crate) use held::Arrivals;
use keep_last::Lag;
use larges::Large;
use receipts::Receipt;
use room::Ways;

/// A batch that an engine accepted.
#[derive(Clone, Debug)]
pub struct Sending {
    /// In which flow.
    pub flow: FlowId,
    /// To which role.
    pub role: RoleName,
    /// What is promised to it.
    pub mode: Mode,
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
    /// Whom it is promised to was settled then: when it was sent, or, of a large payload, when that was announced.
    meant_at: Time,
    messages: Vec<(Bytes, Option<CallId>)>,
    /// The keys that they bear; the last ones may have none.
    keys: Vec<Bytes>,
    /// How much of a window they use up.
    cost_bytes: usize,
    /// In ascending order.
    members: Arc<[SeatId]>,
    /// In causal order, how far the sender had been given the other flows to the role.
    after: Vec<(FlowName, u64)>,
}

/// A flow of one life.
type FlowName = (LifeId, FlowId);

#[derive(Debug)]
struct Flow {
    origin: LifeId,
    id: FlowId,
    role: RoleName,
    mode: Mode,
    sent: Vec<Sent>,
    last: u64,
    /// The holders as last seen, so that an unchanged view costs nothing.
    holders: Arc<[Holder]>,
    cursors: BTreeMap<SeatId, Cursor>,
    /// Who was evicted.
    evicted: Vec<Evicted>,
    /// Who lagged.
    lags: Vec<Lag>,
    /// What is due to an inbox that was sent before it began, from the first to the last.
    past: BTreeMap<SeatId, (u64, u64)>,
    /// What the sender was told that somebody does not get, from the first to the last.
    left_out: Vec<(SeatId, u64, u64)>,
    /// Up to where the sender was told that enough members hold what it sent, and what of it was given up.
    stable: u64,
    unstable: Vec<(u64, u64)>,
    /// If it is the flow of a large payload, what is true of that.
    large: Option<Large>,
}

/// How far one inbox has come in one flow.
#[derive(Debug, Default)]
struct Cursor {
    /// Everything due up to here was delivered or given up.
    passed: u64,
    /// Of a flow without order, what was delivered.
    came: BTreeSet<u64>,
    /// What was given up.
    gaps: Vec<(u64, u64)>,
    /// What of that was superseded.
    superseded: Vec<(u64, u64)>,
    /// The application has taken everything up to here, or of a flow without order the batches that end here.
    consumed: u64,
    /// When it took something last.
    consumed_at: Time,
    consumed_ends: BTreeSet<u64>,
    /// Of a large payload, the position of its end, if that was delivered.
    end: Option<u64>,
}

/// All flows of a run.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    flows: BTreeMap<(LifeId, FlowId), Flow>,
    receipts: BTreeMap<(ProcessId, FlowId), Receipt>,
    /// The flows that evict members, and how long their windows may be shut.
    patience: BTreeMap<(ProcessId, FlowId), Duration>,
    /// Those of them that have no room, and since when by their sender's clock.
    shut: BTreeMap<(ProcessId, FlowId), Time>,
    /// The flows that keep the last message of each key for slow members.
    keeping: BTreeSet<(ProcessId, FlowId)>,
    /// How many former messages inboxes ask for.
    asked: BTreeMap<(ProcessId, InboxId), u64>,
    /// How much of each flow is kept for them, if that is known.
    pub(crate) replay_bytes: Option<usize>,
    /// The flows from which somebody was just evicted.
    opening: BTreeSet<(ProcessId, FlowId)>,
    /// Whether nothing breaks.
    pub(crate) calm: bool,
    /// What came to whom of what several are to hold, if that is told.
    pub(crate) arrivals: Option<Arrivals>,
    /// Which inboxes were told where they begin, or need not be, with the flows of which processes.
    begun: BTreeSet<(ProcessId, FlowId, ProcessId, InboxId)>,
    /// Large payloads of which no chunk was sent yet.
    announced: BTreeMap<(LifeId, FlowId), Large>,
    /// How much of a flow may be on the way, if that is known.
    pub(crate) window_bytes: Option<usize>,
    /// How much may be on the way to whom.
    pub(crate) ways: Ways,
    /// The longest large payload that a node takes, if that is known.
    pub(crate) large_bytes_max: Option<u64>,
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
        let after = match sending.mode.order {
            Order::Causal => self.given_before(lives, process, (origin, sending.flow), &sending),
            _ => Vec::new(),
        };
        let flow = self
            .flows
            .entry((origin, sending.flow))
            .or_insert_with(|| Flow {
                origin,
                id: sending.flow,
                role: sending.role.clone(),
                mode: sending.mode,
                sent: Vec::new(),
                last: 0,
                holders: Arc::new([]),
                cursors: BTreeMap::new(),
                evicted: Vec::new(),
                lags: Vec::new(),
                past: BTreeMap::new(),
                left_out: Vec::new(),
                stable: 0,
                unstable: Vec::new(),
                large: self.announced.remove(&(origin, sending.flow)),
            });
        if let Some(arrivals) = self.arrivals.as_mut().filter(|_| flow.is_to_be_held()) {
            arrivals.are_wanted = true;
        }
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
        let keeps_last = self.keeping.contains(&(process, sending.flow));
        let window = self.window_bytes;
        let window = window.filter(|_| !flow.is_ending() && !keeps_last);
        receipt.pass(last, sending.batch.len_bytes(), window)?;
        // As there was room for this, there was after somebody was evicted too.
        self.opening.remove(&(process, sending.flow));
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
        let (keys, cost_bytes) = (sending.batch.keys().to_vec(), sending.batch.cost_bytes());
        let messages = sending
            .batch
            .into_messages()
            .map(|m| (m.payload, m.call))
            .collect();
        let meant_at = flow.large.as_ref().map_or(now, |large| large.announced_at);
        flow.sent.push(Sent {
            first,
            at: now,
            meant_at,
            messages,
            keys,
            cost_bytes,
            members: Arc::clone(&members),
            after,
        });
        flow.last = last;
        self.note_sent(lives, &members, cost_bytes);
        if keeps_last {
            self.lag_from_the_first(lives, (origin, sending.flow));
        }
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
        let name = (life, flow);
        if !self.flows.contains_key(&name) {
            return Err(Broken::FromNowhere { what: what() });
        }
        let untimely = self.untimely(lives, seat, name, first.0);
        let last = first.0 + u64::from(batch.count()) - 1;
        self.check_held(lives, name, (first.0, last))?;
        let flow = self.flows.get_mut(&name).expect("it was just found");
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
        if let Some(broken) = untimely {
            return Err(broken);
        }
        self.check_begun(lives, seat, name, first.0)?;
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
        if first.0 < 1
            || first > last
            || last.0 > flow.last
            || flow.was_told_of(seat, first.0, last.0)
        {
            return Err(Broken::GapWrong { gap });
        }
        flow.check_before(lives, seat, first.0)?;
        match flow.due(seat, first.0, last.0).next() {
            // What it was left out of, it may be told so too, when the sender is gone.
            None if flow.was_ever_evicted(seat) => {}
            // Of a flow that others depended on and that died with its origin, nobody may be left who knows for whom it was.
            None if flow.mode.order == Order::Causal
                && !lives.is_correct(life, flow.meant_at(last.0)) => {}
            None => return Err(Broken::GapWrong { gap }),
            Some(due) => {
                let meant_at = flow.meant_at(due);
                let correct = |life| lives.is_correct(life, meant_at);
                let excused = flow.is_short(lives, due) || flow.was_evicted(seat, due);
                if correct(life) && correct(lives.seat(seat).life) && !excused {
                    return Err(Broken::GapUnjustified { gap, role });
                }
            }
        }
        flow.give_up(lives, seat, (first.0, last.0))
    }

    /// The application has taken everything of this flow up to `upto`.
    pub(crate) fn consume(
        &mut self,
        lives: &mut Lives,
        process: ProcessId,
        inbox: InboxId,
        (origin, flow): (Origin, FlowId),
        upto: u64,
        now: Time,
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
            cursor.consumed_at = now;
            cursor.consumed_ends.insert(upto);
            cursor.take_end();
        }
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
        if self.due(seat, seq, seq).next().is_none() {
            return Err(Broken::Misrouted {
                message: self.name(lives, seq),
                role: role.clone(),
            });
        }
        self.check_chunk(lives, seat, seq)?;
        self.check_lag(lives, seat, seq)?;
        if self.was_left_out(seat, seq) {
            let message = self.name(lives, seq);
            return Err(Broken::SupersededCame { message });
        }
        let cursor = self.cursors.get(&seat);
        let passed = cursor.map_or(0, |cursor| cursor.passed);
        let came = cursor.is_some_and(|cursor| cursor.came.contains(&seq));
        if seq <= passed || came || self.was_given_up(seat, seq) {
            let message = self.name(lives, seq);
            return Err(match self.was_given_up(seat, seq) {
                true => Broken::DeliveredAfterGap { message },
                false => Broken::Duplicated { message },
            });
        }
        if !self.is_ordered() {
            self.cursors.entry(seat).or_default().came.insert(seq);
            return Ok(index);
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

    /// Whether something of `first..=last` was put into an inbox already, delivered or given up.
    fn was_told_of(&self, seat: SeatId, first: u64, last: u64) -> bool {
        self.cursors.get(&seat).is_some_and(|cursor| {
            let came = cursor.came.range(first..=last.max(first)).next();
            let gapped = |&(a, b): &(u64, u64)| a <= last && first <= b;
            first <= cursor.passed || came.is_some() || cursor.gaps.iter().any(gapped)
        })
    }

    /// Of a flow in order, everything due before has to come before.
    fn check_before(&self, lives: &Lives, seat: SeatId, first: u64) -> Result<(), Broken> {
        let passed = self.cursors.get(&seat).map_or(0, |cursor| cursor.passed);
        match self.due(seat, passed + 1, first.saturating_sub(1)).next() {
            Some(missing) if self.is_ordered() => Err(Broken::OutOfOrder {
                message: self.name(lives, first),
                missing,
            }),
            _ => Ok(()),
        }
    }

    /// An inbox is told that these messages never come.
    fn give_up(
        &mut self,
        lives: &Lives,
        seat: SeatId,
        (first, last): (u64, u64),
    ) -> Result<(), Broken> {
        self.check_before(lives, seat, first)?;
        let ordered = self.is_ordered();
        let cursor = self.cursors.entry(seat).or_default();
        if ordered {
            cursor.passed = last;
        }
        cursor.gaps.push((first, last));
        Ok(())
    }

    fn is_ordered(&self) -> bool {
        self.mode.order != Order::Unordered
    }

    /// The messages in `first..=last` that were due to a seat, and neither delivered nor given up.
    fn missing(&self, seat: SeatId, first: u64, last: u64) -> impl Iterator<Item = u64> {
        let passed = self.cursors.get(&seat).map_or(0, |cursor| cursor.passed);
        let due = self.due(seat, first.max(passed + 1), last);
        due.filter(move |&seq| !self.was_delivered(seat, seq) && !self.was_given_up(seat, seq))
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

    /// The positions in `first..=last` whose destination sets name this seat, and those that it asked for.
    fn due(&self, seat: SeatId, first: u64, last: u64) -> impl Iterator<Item = u64> {
        let past = self.past.get(&seat).copied().unwrap_or((1, 0));
        self.overlapping(first, last).flat_map(move |sent| {
            let end = sent.first + sent.messages.len() as u64 - 1;
            let (from, to) = match sent.members.binary_search(&seat) {
                Ok(_) => (sent.first, end),
                Err(_) => (sent.first.max(past.0), end.min(past.1)),
            };
            from.max(first)..=to.min(last)
        })
    }

    fn was_given_up(&self, seat: SeatId, seq: u64) -> bool {
        let cursor = self.cursors.get(&seat);
        cursor.is_some_and(|cursor| cursor.gaps.iter().any(|&(a, b)| (a..=b).contains(&seq)))
    }

    fn was_delivered(&self, seat: SeatId, seq: u64) -> bool {
        let cursor = self.cursors.get(&seat);
        let passed = cursor.is_some_and(|c| seq <= c.passed || c.came.contains(&seq));
        passed && !self.was_given_up(seat, seq)
    }

    /// How many of those to whom a message was sent do not live on, were declared down meanwhile, or are out of the core.
    fn failures(&self, lives: &Lives, seq: u64) -> usize {
        let sent = &self.sent[self.batch_of(seq).expect("it was sent")];
        let members = sent.members.iter();
        let due = |seat: &&SeatId| lives.is_due(lives.seat(**seat).life, sent.meant_at);
        sent.members.len() - members.filter(due).count()
    }

    /// Whether several members are to hold a message, and fewer are left that go on holding the role.
    fn is_short(&self, lives: &Lives, seq: u64) -> bool {
        let sent = &self.sent[self.batch_of(seq).expect("it was sent")];
        let goes_on = |seat: &&SeatId| {
            let seat = lives.seat(**seat);
            !seat.dropped && lives.is_due(seat.life, sent.meant_at)
        };
        let left = sent.members.iter().filter(goes_on).count();
        self.mode.k_safe > 1 && left < usize::from(self.mode.k_safe)
    }

    fn sent_at(&self, seq: u64) -> Time {
        self.sent[self.batch_of(seq).expect("it was sent")].at
    }

    fn meant_at(&self, seq: u64) -> Time {
        self.sent[self.batch_of(seq).expect("it was sent")].meant_at
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
