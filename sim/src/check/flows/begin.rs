//! Where an inbox begins with a flow: nobody takes the middle of it for the beginning.

use rolecast_protocol::{FlowId, InboxId, Started};

use super::super::lives::{Lives, ProcessId, SeatId};
use super::super::violation::Broken;
use super::{FlowName, Flows};

impl Flows {
    /// An inbox was told from which message on it gets a flow.
    pub(crate) fn begin(
        &mut self,
        lives: &mut Lives,
        process: ProcessId,
        inbox: InboxId,
        started: Started,
    ) -> Result<(), Broken> {
        let (seat, role) = lives.inbox(process, inbox, || format!("{started:?}"))?;
        let wrong = Broken::StartWrong { started, role };
        let Some(life) = lives.find(started.origin) else {
            return Err(wrong);
        };
        let first = started.first.0;
        let flow = self.flows.get(&(life, started.flow));
        // Of a flow in which nothing was sent, nothing was sent before.
        if flow.is_some_and(|flow| {
            flow.missing(seat, 1, first.saturating_sub(1))
                .next()
                .is_some()
        }) {
            return Err(wrong);
        }
        let place = (seat, (process, inbox));
        self.begin_with_past((life, started.flow), place, started, wrong)?;
        let origin = lives.life(life).process;
        self.begun.insert((origin, started.flow, process, inbox));
        Ok(())
    }

    /// Whoever is delivered the middle of a flow first, of which nothing before was due to its inbox, has been told so.
    pub(super) fn check_begun(
        &mut self,
        lives: &Lives,
        seat: SeatId,
        (life, id): FlowName,
        first: u64,
    ) -> Result<(), Broken> {
        let (process, inbox) = lives.place_of(seat);
        let origin = lives.life(life).process;
        let place = (origin, id, process, inbox);
        if id.is_large() || self.begun.contains(&place) {
            return Ok(());
        }
        if first > 1 && !self.was_due_before(lives, (process, inbox), (origin, id), first) {
            let message = self.flows[&(life, id)].name(lives, first);
            return Err(Broken::StartUntold { message });
        }
        self.begun.insert(place);
        Ok(())
    }

    /// Whether something before this message was due to an inbox, in whichever lives of the two processes.
    fn was_due_before(
        &self,
        lives: &Lives,
        place: (ProcessId, InboxId),
        (origin, id): (ProcessId, FlowId),
        first: u64,
    ) -> bool {
        let receipt = self.receipts.get(&(origin, id));
        let of_lives = receipt.into_iter().flat_map(|receipt| &receipt.lives);
        let flows = of_lives.filter_map(|&life| self.flows.get(&(life, id)));
        let mut before = flows.flat_map(|flow| flow.overlapping(1, first.saturating_sub(1)));
        before.any(|sent| {
            let mut members = sent.members.iter();
            sent.first < first && members.any(|&seat| lives.place_of(seat) == place)
        })
    }
}
