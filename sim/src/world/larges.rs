//! What applications do with large payloads: send them chunk by chunk, with pauses, and take what comes of them.

use std::time::Duration;

use bytes::Bytes;
use rolecast_membership::Time;
use rolecast_protocol::{
    Batch, ChunkError, FlowId, InboxId, LargeEnd, Mode, MulticastError, Origin, Seq, SlowMembers,
    Ticket,
};

use super::{Happening, World};
use crate::application::{Item, LargeSender, announcement, end, payload};
use crate::check::{Observation, ProcessId, Receiving, Sending, Violation};
use crate::probe::sometimes;
use crate::workload::Ask;

impl World<'_> {
    pub(super) fn begin_large(
        &mut self,
        now: Time,
        process: ProcessId,
        ask: &Ask,
        mark: u64,
    ) -> Result<(), Violation> {
        let &Ask::Large {
            role,
            dissemination,
            chunks,
            bytes,
            pause_us,
            announced,
            complete,
        } = ask
        else {
            return Ok(());
        };
        let mode = Mode::from(dissemination);
        let slot = self.name(process).slot;
        let slow = match self.scenario.workload.slow_holders(slot, mode).0 {
            SlowMembers::KeepLast => SlowMembers::Wait,
            slow => slow,
        };
        let flow = self.flow(now, process, role, (mode, slow))?;
        let role = self.role(role);
        let chunks = (0..chunks).map(|number| payload(mark << 8 | u64::from(number), bytes));
        let chunks: std::collections::VecDeque<Bytes> = chunks.collect();
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let length = announced.then_some(length);
        let entry = &mut self.processes[process.0 as usize];
        let holders = entry.destinations_of(flow);
        let shown = entry.clock.at(now);
        match entry.engine.open_large(shown, flow, length) {
            Ok((large, accepted)) => {
                let sender = LargeSender {
                    holders: holders.clone(),
                    role,
                    mode,
                    chunks,
                    pause: Duration::from_micros(pause_us),
                    complete,
                    sent: 0,
                };
                entry.app.larges.insert(large, sender);
                let batch = announcement(large);
                let sending = self.sending(process, flow, &accepted, holders, batch);
                self.observe(now, process, Observation::Sent(sending))?;
                let announced = Observation::Announced {
                    flow: large,
                    length,
                };
                self.observe(now, process, announced)?;
                let flow = large;
                if let SlowMembers::Evict { after } = slow {
                    self.observe(now, process, Observation::Evicts { flow, after })?;
                }
                self.schedule.put(now, Happening::Feed { process, flow });
            }
            Err(MulticastError::Full) => sometimes!(self.reached, LargeFull),
            Err(MulticastError::Leaving) if entry.leaving => {}
            Err(why) => return self.complain(now, process, format!("a large payload: {why}")),
        }
        self.carry_out(now, process)
    }

    /// Sends the next chunk of a large payload, or its end.
    pub(super) fn feed(
        &mut self,
        now: Time,
        process: ProcessId,
        flow: FlowId,
    ) -> Result<(), Violation> {
        let entry = &mut self.processes[process.0 as usize];
        let shown = entry.clock.at(now);
        let Some(sender) = entry.app.larges.get_mut(&flow) else {
            return Ok(());
        };
        let chunk = sender.chunks.front().cloned();
        let sent = match &chunk {
            Some(chunk) => entry.engine.send_chunk(shown, flow, chunk.clone()),
            // What is broken off may have been announced as longer, but not as shorter.
            None => entry.engine.end_large(shown, flow, sender.complete),
        };
        match sent {
            Ok(()) => {}
            Err(ChunkError::Full) => {
                self.reached.note_refused(flow);
                self.observe(now, process, Observation::Refused { flow })?;
                return self.carry_out(now, process);
            }
            Err(ChunkError::Over) => {
                entry.app.larges.remove(&flow);
                return self.carry_out(now, process);
            }
            Err(why) => return self.complain(now, process, format!("a chunk: {why}")),
        }
        sender.chunks.pop_front();
        sender.sent += 1;
        let batch = match &chunk {
            Some(chunk) => Batch::single(chunk.clone(), None),
            None => end(sender.complete),
        };
        let seq = Seq(sender.sent);
        let sending = Sending {
            flow,
            role: sender.role.clone(),
            mode: sender.mode,
            first: seq,
            last: seq,
            members: sender.holders.len(),
            holders: sender.holders.clone(),
            batch,
        };
        let again = now + sender.pause;
        let ended = chunk.is_none().then_some(sender.complete);
        match ended {
            Some(_) => drop(entry.app.larges.remove(&flow)),
            None => self.schedule.put(again, Happening::Feed { process, flow }),
        }
        if let Some(complete) = ended {
            let ended = Observation::Ended { flow, complete };
            self.observe(now, process, ended)?;
        }
        self.observe(now, process, Observation::Sent(sending))?;
        self.carry_out(now, process)
    }

    /// A chunk came: what is seen of it, and what waits in the inbox.
    pub(super) fn chunk(
        &mut self,
        process: ProcessId,
        (inbox, origin, flow): (InboxId, Origin, FlowId),
        chunk: Bytes,
        ticket: Ticket,
    ) -> (Item, Observation) {
        self.note_way(process, origin);
        let app = &mut self.processes[process.0 as usize].app;
        let count = app.chunks.entry((inbox, origin, flow)).or_default();
        *count += 1;
        let item = Item {
            ticket: Some(ticket),
            upto: Some((origin, flow, *count)),
            seen_in: inbox,
            requests: Vec::new(),
        };
        let receiving = Receiving {
            inbox,
            origin,
            flow,
            first: Seq(*count),
            batch: Batch::single(chunk, None),
        };
        (item, Observation::Delivered(receiving))
    }

    /// A large payload ended for its reader.
    pub(super) fn large_end(
        &mut self,
        now: Time,
        process: ProcessId,
        (inbox, origin, flow): (InboxId, Origin, FlowId),
        end: LargeEnd,
    ) -> Result<(), Violation> {
        self.reached.note_end(end);
        let observation = Observation::LargeEnded {
            inbox,
            origin,
            flow,
            end,
        };
        self.observe(now, process, observation)
    }
}
