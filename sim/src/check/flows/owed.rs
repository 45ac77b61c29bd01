//! What is owed to somebody when everything has worked for long enough: agreement and validity.

use std::sync::Arc;

use rolecast_membership::Time;
use rolecast_protocol::Dissemination;

use super::super::lives::{LifeState, Lives, SeatId};
use super::super::violation::{Broken, Instead, Violation};
use super::{Flow, Flows};

impl Flows {
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
}

impl Flow {
    /// The first message that is owed to an inbox, and how the promise is broken.
    fn owed(&self, lives: &Lives) -> Option<(SeatId, Broken)> {
        let origin = lives.life(self.origin);
        let lost = match origin.state {
            _ if !lives.is_core(origin.process) => true,
            LifeState::Up | LifeState::Left { drained: true } => false,
            LifeState::Left { drained: false } | LifeState::Crashed | LifeState::Renewed => true,
        };
        if lost && self.mode.dissemination == Dissemination::BestEffort {
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
                if self.was_refused(seat) {
                    continue;
                }
                if let Some(broken) = self.owed_to(lives, seat, lost) {
                    return Some((seat, broken));
                }
            }
        }
        let later = self.past.keys().filter(|seat| !seen.contains(seat));
        let mut later = later.filter(|seat| lives.seat(**seat).open);
        later.find_map(|&seat| Some((seat, self.owed_to(lives, seat, lost)?)))
    }

    fn owed_to(&self, lives: &Lives, seat: SeatId, origin_lost: bool) -> Option<Broken> {
        let gaps = self
            .cursors
            .get(&seat)
            .map_or(&[][..], |cursor| &cursor.gaps);
        let given_up = gaps.iter().flat_map(|&(a, b)| self.due(seat, a, b));
        let given_up = given_up.map(|seq| (seq, Instead::Gapped));
        let missing = self
            .missing(seat, 1, self.last)
            .map(|seq| (seq, Instead::Missing));
        let life = lives.seat(seat).life;
        given_up.chain(missing).find_map(|(seq, how)| {
            let meant_at = self.meant_at(seq);
            // A sender that goes on without a reader of a large payload owes it no more than an end; if it dies before that comes, what is there ends short.
            let told = how == Instead::Gapped || self.has_ended(seat);
            let slow = self.was_evicted(seat, seq) || self.was_superseded(seat, seq);
            if told && slow || !lives.is_due(life, meant_at) {
                return None;
            }
            let origin = lives.life(self.origin);
            let origin_lost = origin_lost || !lives.is_core(origin.process);
            let short = self.is_short(lives, seq);
            if short && lives.core.is_some() {
                // Who is half in reach for good may never get it, and never be taken for dead.
                return None;
            }
            let excused = how == Instead::Gapped && short;
            if !origin_lost && !excused && origin.declared_down.is_none_or(|at| at < meant_at) {
                let message = self.name(lives, seq);
                return Some(match origin.state {
                    LifeState::Left { .. } => Broken::LostInLeaving { message, how },
                    _ => Broken::Validity { message, how },
                });
            }
            if self.lagged(seat, seq) || self.is_past(seat, seq) {
                return self.lost_to_one(lives, seat, seq, how);
            }
            self.disagreement(lives, seq, how)
        })
    }

    /// What was kept for a member that lags, or came later, is lost with the sender; that member is told so, if another one can.
    fn lost_to_one(&self, lives: &Lives, seat: SeatId, seq: u64, how: Instead) -> Option<Broken> {
        let silent = how == Instead::Missing && !self.ends_with_gap(seat);
        let digests = self.mode.dissemination == Dissemination::Digest;
        if silent && digests {
            return self.disagreement(lives, seq, how);
        }
        None
    }

    /// Another member that knows more of a message than one that did not deliver it: it delivered it, or at least heard that it is lost.
    fn disagreement(&self, lives: &Lives, seq: u64, how: Instead) -> Option<Broken> {
        if self.mode.dissemination == Dissemination::BestEffort {
            return None;
        }
        let sent = &self.sent[self.batch_of(seq).expect("it was sent")];
        let k = usize::from(self.mode.k_safe);
        let uniform = k > 1 && self.failures(lives, seq) < k;
        let message = self.name(lives, seq);
        if uniform && self.was_stable(seq) {
            return Some(Broken::Stability { message, how });
        }
        let deliverer = sent.members.iter().find(|&&other| {
            let due = lives.is_due(lives.seat(other).life, sent.meant_at);
            (due || uniform) && self.was_delivered(other, seq)
        });
        let Some(deliverer) = deliverer else {
            return self.untold(lives, seq, how);
        };
        let deliverer = lives.name_of_seat(*deliverer);
        Some(match uniform {
            true => Broken::Uniformity {
                message,
                deliverer,
                how,
                k: self.mode.k_safe,
            },
            false => Broken::Agreement {
                message,
                deliverer,
                how,
            },
        })
    }

    /// Another member that heard that a message is lost, of which one member heard nothing.
    ///
    /// Only of a sender that is gone: one that was declared down while it lived reports to each member itself what it owed, and may not reach all.
    /// And not if several members have to hold a message: whoever held it gives it up without anybody else having heard of it.
    fn untold(&self, lives: &Lives, seq: u64, how: Instead) -> Option<Broken> {
        let gone = matches!(
            lives.life(self.origin).state,
            LifeState::Crashed | LifeState::Left { .. }
        );
        if how == Instead::Gapped || !gone || self.mode.k_safe > 1 {
            return None;
        }
        let sent = &self.sent[self.batch_of(seq).expect("it was sent")];
        let told = sent.members.iter().find(|&&other| {
            lives.is_due(lives.seat(other).life, sent.meant_at)
                && self.was_given_up(other, seq)
                && !self.was_evicted(other, seq)
                && !self.lagged(other, seq)
        })?;
        let (message, told) = (self.name(lives, seq), lives.name_of_seat(*told));
        Some(Broken::Untold { message, told })
    }

    /// Whether the sender was told that enough members hold a message.
    fn was_stable(&self, seq: u64) -> bool {
        let given_up = |&(first, last): &(u64, u64)| (first..=last).contains(&seq);
        seq <= self.stable && !self.unstable.iter().any(given_up)
    }
}
