//! What was sent before an inbox began, for those that ask for it: no more than was asked for, no less than is kept, and then what follows, without a hole and without anything twice.

use rolecast_protocol::{Dissemination, InboxId, Order, Started};

use super::super::lives::{Lives, ProcessId, SeatId};
use super::super::violation::Broken;
use super::{Flow, FlowName, Flows};

impl Flows {
    /// An inbox asks for so many messages of each flow that were sent before it began.
    pub(crate) fn asks_for_past(
        &mut self,
        lives: &Lives,
        (process, inbox): (ProcessId, InboxId),
        messages: u32,
    ) {
        self.note_past(lives, process, inbox);
        self.asked.insert((process, inbox), messages.into());
    }

    /// An inbox was told where it begins with a flow, and how much of that is past: from here on that is due to it.
    pub(super) fn begin_with_past(
        &mut self,
        name: FlowName,
        (seat, place): (SeatId, (ProcessId, InboxId)),
        started: Started,
        wrong: Broken,
    ) -> Result<(), Broken> {
        let asked = self.asked.get(&place).copied().unwrap_or(0);
        let (first, replayed) = (started.first.0, started.replayed);
        let kept = self.replay_bytes.zip(self.window_bytes);
        let kept = kept.map(|(kept, window)| kept.min(window / 2));
        let calm = self.calm
            && !self
                .begun
                .iter()
                .any(|b| b.1 == name.1 && (b.2, b.3) == place);
        let Some(flow) = self.flows.get_mut(&name) else {
            return if replayed == 0 { Ok(()) } else { Err(wrong) };
        };
        let past = (first + replayed).saturating_sub(1);
        let least = kept.map_or(0, |kept| flow.kept_for(past, asked, kept));
        if replayed > asked || (replayed > 0 || calm) && replayed < least {
            return Err(wrong);
        }
        if replayed == 0 {
            return Ok(());
        }
        let next = flow.due(seat, past + 1, flow.last).next();
        let overlaps = flow.due(seat, 1, past).next().is_some();
        let leaves_out = next.is_some_and(|next| next > past + 1);
        let again = flow.past.insert(seat, (first, past)).is_some();
        match past > flow.last || overlaps || leaves_out || again {
            true => Err(wrong),
            false => Ok(()),
        }
    }
}

impl Flow {
    /// How many of the messages up to `past` are surely kept for whoever asks for so many.
    fn kept_for(&self, past: u64, asked: u64, kept_bytes: usize) -> u64 {
        let gossip = matches!(self.mode.dissemination, Dissemination::Gossip { .. });
        let plain = !gossip && self.mode.order == Order::Fifo && self.mode.k_safe <= 1;
        let Some(begins) = self.sent.first().map(|sent| sent.first) else {
            return 0;
        };
        let cost: usize = self.sent.iter().map(|sent| sent.cost_bytes).sum();
        let mut messages = self.sent.iter().flat_map(|sent| &sent.messages);
        // What is short announces a large payload.
        let only_messages = messages.all(|(payload, call)| call.is_none() && payload.len() >= 8);
        match plain && only_messages && cost <= kept_bytes {
            true => asked.min((past + 1).saturating_sub(begins)),
            false => 0,
        }
    }

    /// Whether a message was sent before a seat began, and is due to it because it asked for it.
    pub(super) fn is_past(&self, seat: SeatId, seq: u64) -> bool {
        let past = self.past.get(&seat);
        past.is_some_and(|&(first, last)| (first..=last).contains(&seq))
    }
}
