//! Large payloads: what a reader got is a first part of what was sent, and it is told how it ended, once, and truly.
//!
//! The chunks of a large payload, and its end behind them, are checked like the messages of any flow, which they are.
//! So agreement on how far it came, and on whether it is complete, needs no check of its own.

use std::collections::BTreeMap;

use rolecast_membership::{NodeId, Time};
use rolecast_protocol::{FlowId, InboxId, LargeEnd, Origin};

use super::super::lives::{LifeId, Lives, ProcessId, SeatId};
use super::super::violation::{Broken, Violation};
use super::{Cursor, Flow, Flows};

/// What is true of a large payload.
#[derive(Debug)]
pub(super) struct Large {
    /// When it was announced: whoever is taken for dead from then on may miss the rest, and nobody who comes later is meant.
    pub(super) announced_at: Time,
    /// Its length, if that was announced.
    length: Option<u64>,
    /// How it ended, if its sender came to its end.
    complete: Option<bool>,
    /// How it ended for its readers.
    ended: BTreeMap<SeatId, LargeEnd>,
}

impl Flows {
    /// A large payload was announced.
    pub(crate) fn announce(
        &mut self,
        lives: &Lives,
        now: Time,
        process: ProcessId,
        (flow, length): (FlowId, Option<u64>),
    ) {
        let large = Large {
            announced_at: now,
            length,
            complete: None,
            ended: BTreeMap::new(),
        };
        let life = lives.life_of(process);
        self.announced.insert((life, flow), large);
    }

    /// The sender comes to its end.
    pub(crate) fn end(&mut self, lives: &Lives, process: ProcessId, flow: FlowId, complete: bool) {
        let key = (lives.life_of(process), flow);
        let begun = self
            .flows
            .get_mut(&key)
            .and_then(|flow| flow.large.as_mut());
        if let Some(large) = begun.or_else(|| self.announced.get_mut(&key)) {
            large.complete = Some(complete);
        }
    }

    /// A reader was told how a large payload ended.
    pub(crate) fn large_ended(
        &mut self,
        lives: &mut Lives,
        process: ProcessId,
        inbox: InboxId,
        (origin, id): (Origin, FlowId),
        end: LargeEnd,
    ) -> Result<(), Broken> {
        let what = || format!("the end of {}'s flow {}", origin.node, id.0);
        let (seat, _) = lives.inbox(process, inbox, what)?;
        let life = lives.find(origin).ok_or_else(|| Broken::FromNowhere {
            what: format!("{} in life {}", origin.node, origin.epoch),
        })?;
        let max = self.large_bytes_max;
        let Some(flow) = self.flows.get_mut(&(life, id)) else {
            return self.end_unbegun(lives, seat, (life, id), end);
        };
        let member = flow
            .sent
            .iter()
            .any(|s| s.members.binary_search(&seat).is_ok());
        if !member && end == LargeEnd::CutShort && lives.has_renewed(process) {
            // What was meant for the former life ends with it.
            return Ok(());
        }
        flow.end_for(lives, seat, end, max)
    }

    /// A reader was told how a large payload ended of which nothing was sent yet.
    fn end_unbegun(
        &mut self,
        lives: &Lives,
        seat: SeatId,
        (life, id): (LifeId, FlowId),
        end: LargeEnd,
    ) -> Result<(), Broken> {
        let wrong = |truth| Broken::EndWrong {
            flow: id.0,
            origin: lives.name_of_life(life),
            told: format!("{end:?}"),
            got: 0,
            sent: 0,
            truth,
        };
        let Some(large) = self.announced.get_mut(&(life, id)) else {
            return Err(wrong("nobody announced it"));
        };
        if large.ended.insert(seat, end).is_some() {
            let (flow, origin) = (id.0, lives.name_of_life(life));
            return Err(Broken::EndedTwice { flow, origin });
        }
        let too_large = large.length > self.large_bytes_max;
        let reader = lives.seat(seat).life;
        match end {
            LargeEnd::TooLarge if too_large => Ok(()),
            LargeEnd::TooLarge => Err(wrong("it is not too large")),
            LargeEnd::Lagged
                if self.was_left_out_early((life, id), lives.life(reader).identity.id, 1) =>
            {
                Ok(())
            }
            LargeEnd::CutShort if lives.is_blemished(life) || lives.is_blemished(reader) => Ok(()),
            LargeEnd::CutShort if lives.has_renewed(lives.life(reader).process) => Ok(()),
            _ => Err(wrong("nothing of it was sent")),
        }
    }

    /// The sender was told that a node refused its large payload.
    pub(crate) fn large_refused(
        &mut self,
        lives: &Lives,
        process: ProcessId,
        id: FlowId,
        node: NodeId,
    ) -> Result<(), Broken> {
        let life = lives.life_of(process);
        let max = self.large_bytes_max;
        let too_large = match self.flows.get(&(life, id)) {
            Some(flow) => flow.is_too_large(max),
            None => self
                .announced
                .get(&(life, id))
                .is_some_and(|l| l.length > max),
        };
        if !too_large {
            let (flow, by) = (id.0, node.to_string());
            return Err(Broken::NeverRefused { flow, by });
        }
        let receipt = self.receipts.entry((process, id)).or_default();
        receipt.excuse(node);
        Ok(())
    }

    /// The sender was told that everyone has all of its large payload, or is excused.
    pub(crate) fn large_over(&mut self, process: ProcessId, flow: FlowId) -> Result<(), Broken> {
        self.shut.remove(&(process, flow));
        let Some(receipt) = self.receipts.get_mut(&(process, flow)) else {
            return Ok(());
        };
        let (settled, sent) = receipt.end();
        if settled < sent {
            let flow = flow.0;
            return Err(Broken::OverEarly {
                flow,
                settled,
                sent,
            });
        }
        Ok(())
    }

    /// A reader of a large payload that waits for ever.
    pub(crate) fn never_ended(&self, lives: &Lives, now: Time) -> Option<Violation> {
        let flows = self.flows.values().filter(|flow| flow.large.is_some());
        flows.into_iter().find_map(|flow| {
            let waiting = flow.cursors.iter().find(|(id, cursor)| {
                let seat = lives.seat(**id);
                let since = flow.sent.first().map_or(Time::ZERO, |sent| sent.meant_at);
                !flow.has_ended(**id)
                    && cursor.passed > 0
                    && seat.open
                    && lives.is_due(seat.life, since)
            });
            let broken = Broken::NeverEnded {
                flow: flow.id.0,
                origin: lives.name_of_life(flow.origin),
            };
            let (&seat, _) = waiting?;
            let node = lives.name_of_seat(seat);
            Some(Violation {
                at: now,
                node,
                broken,
            })
        })
    }
}

impl Flow {
    /// Whether what is sent next is the end, for which there is always room.
    pub(super) fn is_ending(&self) -> bool {
        self.large.as_ref().is_some_and(|l| l.complete.is_some())
    }

    fn sent_bytes(&self) -> u64 {
        let ended = self.large.as_ref().is_some_and(|l| l.complete.is_some());
        // The last one is the end.
        let chunks = self.sent.len() - usize::from(ended);
        let messages = self.sent[..chunks].iter().flat_map(|sent| &sent.messages);
        messages.map(|(payload, _)| payload.len() as u64).sum()
    }

    fn is_too_large(&self, max: Option<u64>) -> bool {
        let announced = self.large.as_ref().and_then(|large| large.length);
        max.is_some_and(|max| announced.unwrap_or(0).max(self.sent_bytes()) > max)
    }

    /// Whether this reader refused it.
    pub(super) fn was_refused(&self, seat: SeatId) -> bool {
        let large = self.large.as_ref();
        large.is_some_and(|large| large.ended.get(&seat) == Some(&LargeEnd::TooLarge))
    }

    /// Whether this reader was told how it ended.
    pub(super) fn has_ended(&self, seat: SeatId) -> bool {
        let large = self.large.as_ref();
        large.is_some_and(|large| large.ended.contains_key(&seat))
    }

    /// Nothing comes after the end.
    pub(super) fn check_chunk(&self, lives: &Lives, seat: SeatId, seq: u64) -> Result<(), Broken> {
        if self.has_ended(seat) {
            let message = self.name(lives, seq);
            return Err(Broken::AfterEnd { message });
        }
        Ok(())
    }

    fn end_for(
        &mut self,
        lives: &Lives,
        seat: SeatId,
        end: LargeEnd,
        max: Option<u64>,
    ) -> Result<(), Broken> {
        let (flow, origin) = (self.id.0, lives.name_of_life(self.origin));
        let passed = self.cursors.get(&seat).map_or(0, |cursor| cursor.passed);
        if self.has_ended(seat) {
            return Err(Broken::EndedTwice { flow, origin });
        }
        let said = self.large.as_ref().and_then(|large| large.complete);
        let all = passed + 1 == self.last;
        let since = self.sent.first().map_or(Time::ZERO, |sent| sent.meant_at);
        let reader = lives.seat(seat).life;
        let both_well = lives.is_correct(self.origin, since) && lives.is_correct(reader, since);
        let truth = match end {
            LargeEnd::Complete if said != Some(true) => Some("its sender did not end it so"),
            LargeEnd::Complete if !all => Some("it had not got all"),
            LargeEnd::Complete if self.is_too_large(max) => Some("it is too large"),
            LargeEnd::CutShort if said == Some(false) && all => None,
            LargeEnd::CutShort if both_well => Some("both stayed up"),
            LargeEnd::TooLarge if !self.is_too_large(max) => Some("it is not too large"),
            LargeEnd::Lagged if !self.was_ever_evicted(seat) => Some("nobody went on without it"),
            _ => None,
        };
        let sent = self.last;
        if let Some(truth) = truth {
            return Err(Broken::EndWrong {
                flow,
                origin,
                told: format!("{end:?}"),
                got: passed,
                sent,
                truth,
            });
        }
        if let Some(large) = &mut self.large {
            large.ended.insert(seat, end);
        }
        let as_sent = match end {
            LargeEnd::Complete => said == Some(true),
            LargeEnd::CutShort => said == Some(false),
            LargeEnd::TooLarge | LargeEnd::Lagged => false,
        };
        if all && as_sent {
            let cursor = self.cursors.entry(seat).or_default();
            cursor.passed = sent;
            cursor.end = Some(sent);
            cursor.take_end();
        }
        Ok(())
    }
}

impl Cursor {
    /// Whoever has taken the last chunk, and was told that it is the last one, has taken the end.
    pub(super) fn take_end(&mut self) {
        if self.end == Some(self.consumed + 1) {
            self.consumed += 1;
        }
    }
}
