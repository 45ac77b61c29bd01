//! Paths, and what faults do to what travels on them.

use std::time::Duration;

use rolecast_membership::Time;

use super::{Network, way_number};
use crate::plan::{Harm, Slot, Way};
use crate::random::{Purpose, Stream};

/// One directed path between two places.
#[derive(Debug)]
pub(super) struct Path {
    latency_us: u64,
    /// Jitter of its packets.
    jitter: Stream,
    /// What happens by chance to the connections that use it.
    pub(super) chance: Stream,
    /// The faults at work on it.
    acting: Vec<Acting>,
}

/// A part of a fault that is at work on one path.
#[derive(Debug)]
struct Acting {
    part: Part,
    what: Act,
    dice: Stream,
}

/// Which fault, by its place in the plan, and which part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) fault: u32,
    pub(crate) span: u32,
    /// The fault's number, from which its dice follow.
    pub(crate) id: u32,
}

/// What a fault does to a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Nothing gets through; what is lost or held comes at `until`, if that is not never.
    Cut {
        jam: bool,
        until: Time,
    },
    Slow {
        extra_us: u64,
        jitter_us: u64,
    },
    Harm(Harm, Bad),
    Narrow(Throat),
}

/// Whether a path is in its bad state (Gilbert and Elliott).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bad(bool);

/// A path that carries only so much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throat {
    bytes_per_s: u64,
    queue_bytes: u64,
    /// When what streams have handed to it is through.
    streams_free_at: Time,
    /// When the datagrams handed to it are through.
    datagrams_free_at: Time,
}

/// When a datagram arrives: never, once or twice.
pub(super) type Arrivals = [Option<Time>; 2];

impl Throat {
    pub(crate) fn new(bytes_per_s: u64, queue_bytes: u64) -> Self {
        Throat {
            bytes_per_s: bytes_per_s.max(1),
            queue_bytes,
            streams_free_at: Time::ZERO,
            datagrams_free_at: Time::ZERO,
        }
    }

    fn takes(&self, bytes: u64) -> Duration {
        Duration::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_per_s)
    }

    /// When bytes of a stream are through: all get through in the end.
    fn stream(&mut self, now: Time, bytes: usize) -> Time {
        self.streams_free_at = self.streams_free_at.max(now) + self.takes(bytes as u64);
        self.streams_free_at
    }

    /// What was not handed to it yet is never sent: only what is in its queue still gets through.
    fn drain(&mut self, now: Time) {
        let queue = self.takes(self.queue_bytes);
        self.streams_free_at = self.streams_free_at.min(now + queue);
    }

    /// When a datagram is through; never if the queue is full.
    fn datagram(&mut self, now: Time, bytes: usize) -> Option<Time> {
        let queue = self.takes(self.queue_bytes);
        if self.datagrams_free_at.since(now) > queue {
            return None;
        }
        self.datagrams_free_at = self.datagrams_free_at.max(now) + self.takes(bytes as u64);
        // Streams fill the queue too, and never more than it holds.
        let behind = self.streams_free_at.since(now).min(queue);
        Some(self.datagrams_free_at + behind)
    }
}

impl Act {
    pub(crate) fn harm(harm: Harm) -> Self {
        Act::Harm(harm, Bad::default())
    }
}

impl Path {
    pub(super) fn new(seed: u64, place: u64, latency_us: (u64, u64)) -> Self {
        let mut jitter = Stream::new(seed, Purpose::Path, place);
        Path {
            latency_us: jitter.between(latency_us.0, latency_us.1),
            jitter,
            chance: Stream::new(seed, Purpose::Connection, place),
            acting: Vec::new(),
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.acting
            .iter()
            .any(|acting| matches!(acting.what, Act::Cut { .. }))
    }

    fn latency_us(&mut self, jitter_us: u64) -> u64 {
        let mut us = self.latency_us + self.jitter.between(0, jitter_us);
        // Now and then a packet is much later than the rest.
        if self.jitter.percent(1) {
            us += self.jitter.between(0, 20 * jitter_us);
        }
        us
    }
}

impl Acting {
    /// Whether a packet is lost to this.
    fn loses(&mut self) -> bool {
        let Act::Harm(harm, Bad(bad)) = &mut self.what else {
            return false;
        };
        match *harm {
            Harm::Loss { percent } => self.dice.percent(u32::from(percent)),
            Harm::Burst {
                enter_permille,
                leave_permille,
                percent,
            } => {
                let turn = if *bad { leave_permille } else { enter_permille };
                if self.dice.between(0, 999) < u64::from(turn) {
                    *bad = !*bad;
                }
                *bad && self.dice.percent(u32::from(percent))
            }
            _ => false,
        }
    }

    /// By how much a packet is later through this.
    fn delay_us(&mut self) -> u64 {
        match self.what {
            Act::Slow {
                extra_us,
                jitter_us,
            } => extra_us + self.dice.between(0, jitter_us),
            Act::Harm(Harm::Reorder { percent, by_us }, _)
                if self.dice.percent(u32::from(percent)) =>
            {
                self.dice.between(1, by_us.max(1))
            }
            _ => 0,
        }
    }

    fn doubles(&mut self) -> bool {
        match self.what {
            Act::Harm(Harm::Duplicate { percent }, _) => self.dice.percent(u32::from(percent)),
            _ => false,
        }
    }
}

impl Network {
    /// How long one packet takes; draws its jitter.
    pub(crate) fn latency(&mut self, from: Slot, to: Slot) -> Duration {
        let jitter_us = self.shape.jitter_us;
        let (path, effects) = self.path_and_effects(from, to);
        let mut us = path.latency_us(jitter_us);
        for acting in &mut path.acting {
            let delay_us = acting.delay_us();
            us += delay_us;
            effects[acting.part.fault as usize] |= delay_us > 0;
        }
        Duration::from_micros(us)
    }

    /// Whether nothing gets from one place to the other; whoever asks is held up by it.
    pub(crate) fn is_cut(&mut self, from: Slot, to: Slot) -> bool {
        if self.acting == 0 {
            return false;
        }
        let (path, effects) = self.path_and_effects(from, to);
        let mut cut = false;
        for acting in &path.acting {
            if matches!(acting.what, Act::Cut { .. }) {
                effects[acting.part.fault as usize] = true;
                cut = true;
            }
        }
        cut
    }

    /// A part of a fault goes to work on these paths.
    pub(crate) fn act(&mut self, part: Part, ways: &[Way], what: Act) {
        for &(from, to) in ways {
            let number = u64::from(part.id) << 40 | u64::from(part.span) << 32;
            let dice = Stream::new(self.seed, Purpose::Fault, number | way_number(from, to));
            let (path, _) = self.path_and_effects(from, to);
            path.acting.push(Acting { part, what, dice });
            self.acting += 1;
        }
    }

    /// A part of a fault is over on these paths.
    pub(crate) fn rest(&mut self, part: Part, ways: &[Way]) {
        for &(from, to) in ways {
            let (path, _) = self.path_and_effects(from, to);
            let before = path.acting.len();
            path.acting.retain(|acting| acting.part != part);
            let ended = before - path.acting.len();
            self.acting -= ended;
        }
    }

    /// When a datagram that is sent at this moment arrives.
    pub(super) fn datagram_arrives(
        &mut self,
        now: Time,
        (from, to): Way,
        bytes: usize,
    ) -> Arrivals {
        let jitter_us = self.shape.jitter_us;
        let (path, effects) = self.path_and_effects(from, to);
        if path.acting.is_empty() {
            let due = now + Duration::from_micros(path.latency_us(jitter_us));
            return [Some(due), None];
        }
        let (mut lost, mut doubled) = (false, false);
        // From when on it is on its way.
        let mut sent_at = now;
        let mut delay_us = path.latency_us(jitter_us);
        for acting in &mut path.acting {
            let harmed = match &mut acting.what {
                Act::Cut { jam: true, until } if *until != Time::from_micros(u64::MAX) => {
                    sent_at = sent_at.max(*until);
                    true
                }
                Act::Cut { .. } => {
                    lost = true;
                    true
                }
                Act::Narrow(throat) => match throat.datagram(now, bytes) {
                    Some(at) => {
                        sent_at = sent_at.max(at);
                        at > now
                    }
                    None => {
                        lost = true;
                        true
                    }
                },
                _ => {
                    let (loses, doubles) = (acting.loses(), acting.doubles());
                    let later_us = acting.delay_us();
                    lost |= loses;
                    doubled |= doubles;
                    delay_us += later_us;
                    loses || doubles || later_us > 0
                }
            };
            effects[acting.part.fault as usize] |= harmed;
        }
        if lost {
            return [None, None];
        }
        let due = sent_at + Duration::from_micros(delay_us);
        let again = doubled.then(|| due + Duration::from_micros(path.latency_us(jitter_us)));
        [Some(due), again]
    }

    /// By how much a stream is held up when its packets are lost: what it loses it sends again.
    pub(super) fn held_up(&mut self, from: Slot, to: Slot) -> Duration {
        if self.acting == 0 {
            return Duration::ZERO;
        }
        let (path, effects) = self.path_and_effects(from, to);
        let mut us = 0;
        for acting in &mut path.acting {
            if acting.loses() {
                effects[acting.part.fault as usize] = true;
                let again_us = 2 * path.latency_us + 1_000;
                us += acting.dice.between(again_us, 3 * again_us + 50_000);
            }
        }
        Duration::from_micros(us)
    }

    /// A link over this path is gone, and with it what its sender had not sent yet.
    pub(super) fn drain(&mut self, now: Time, from: Slot, to: Slot) {
        for acting in &mut self.path(from, to).acting {
            if let Act::Narrow(throat) = &mut acting.what {
                throat.drain(now);
            }
        }
    }

    /// When bytes of a stream are through what is narrow on their path.
    pub(super) fn squeezed(&mut self, now: Time, (from, to): Way, bytes: usize) -> Time {
        if self.acting == 0 {
            return now;
        }
        let (path, effects) = self.path_and_effects(from, to);
        let mut through = now;
        for acting in &mut path.acting {
            if let Act::Narrow(throat) = &mut acting.what {
                through = through.max(throat.stream(now, bytes));
                effects[acting.part.fault as usize] = true;
            }
        }
        through
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_come_in_bursts() {
        let harm = Harm::Burst {
            enter_permille: 10,
            leave_permille: 100,
            percent: 100,
        };
        let part = Part {
            fault: 0,
            span: 0,
            id: 0,
        };
        let mut acting = Acting {
            part,
            what: Act::harm(harm),
            dice: Stream::new(1, Purpose::Fault, 0),
        };
        let lost: Vec<bool> = (0..10_000).map(|_| acting.loses()).collect();
        let (share, pairs) = (
            lost.iter().filter(|lost| **lost).count(),
            lost.windows(2).filter(|two| two[0] && two[1]).count(),
        );
        // A tenth or so is lost, and nine of ten times the next one is lost too.
        assert!((500..1_500).contains(&share), "{share}");
        assert!(pairs * 10 > share * 8, "{pairs} of {share}");
    }

    #[test]
    fn a_narrow_path_delays_streams_and_loses_datagrams() {
        let mut throat = Throat::new(1_000, 500);
        let now = Time::from_millis(1_000);
        assert_eq!(throat.stream(now, 100), Time::from_millis(1_100));
        assert_eq!(throat.stream(now, 100), Time::from_millis(1_200));
        // Its own tenth of a second, and two tenths behind the streams.
        assert_eq!(throat.datagram(now, 100), Some(Time::from_millis(1_300)));
        let through = (0..20)
            .filter(|_| throat.datagram(now, 100).is_some())
            .count();
        assert_eq!(through, 5);
        // With the link goes what waited at its sender, but not what is in the queue.
        assert_eq!(throat.stream(now, 2_000), Time::from_millis(3_200));
        throat.drain(now);
        assert_eq!(throat.stream(now, 0), Time::from_millis(1_500));
    }
}
