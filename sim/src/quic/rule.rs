//! What a network does to datagrams when something is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use rolecast_membership::Time;

use super::network::Datagram;
use crate::plan::{Harm, Way};
use crate::random::{Purpose, Stream};

/// The name of a rule that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuleId(pub(crate) u64);

/// What happens to datagrams on some paths.
#[derive(Debug)]
pub(crate) struct Rule {
    /// On which directed paths; on all if not said.
    ways: Option<BTreeSet<Way>>,
    effect: Effect,
    dice: Dice,
    /// How each path is.
    conditions: BTreeMap<Way, Condition>,
    held: Vec<(SocketAddr, Datagram)>,
    held_bytes: usize,
    /// Whether any datagram met anything but luck.
    effective: bool,
}

/// What can happen to a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    /// It is lost.
    Cut,
    /// It is held until the rule is lifted.
    Jam,
    /// It comes later by so much, and by up to so much more.
    Slow { extra_us: u64, jitter_us: u64 },
    /// It comes to harm.
    Harm(Harm),
    /// A path carries so much; what is more waits, and is lost when so much waits already.
    Narrow { bytes_per_s: u64, queue_bytes: u64 },
}

/// From what the dice of a rule follow; each path has its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice {
    pub(crate) seed: u64,
    /// The number of the fault.
    pub(crate) fault: u32,
    /// Which part of it.
    pub(crate) part: u32,
}

impl Dice {
    fn on(self, (from, to): Way) -> Stream {
        let part = u64::from(self.fault) << 40 | u64::from(self.part) << 32;
        let way = u64::from(from) << 16 | u64::from(to);
        Stream::new(self.seed, Purpose::Fault, part | way)
    }
}

/// How a path is.
#[derive(Debug)]
struct Condition {
    dice: Stream,
    /// Whether it is in its bad state.
    bad: bool,
    /// When what was sent over it has left, in microseconds.
    busy_until_us: u64,
}

/// What a rule does with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    Pass,
    Lost,
    Held,
}

/// What becomes of a datagram that is not lost.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// How much later it comes.
    pub(crate) extra_us: u64,
    /// How often it comes, beyond once.
    pub(crate) copies: u8,
    /// What it is instead.
    pub(crate) mangled: Option<Bytes>,
}

impl Rule {
    /// A rule for these paths, or for all.
    pub(crate) fn new(ways: Option<BTreeSet<Way>>, effect: Effect, dice: Dice) -> Self {
        Rule {
            ways,
            effect,
            dice,
            conditions: BTreeMap::new(),
            held: Vec::new(),
            held_bytes: 0,
            effective: false,
        }
    }

    pub(crate) fn concerns(&self, way: Way) -> bool {
        self.ways.as_ref().is_none_or(|ways| ways.contains(&way))
    }

    pub(crate) fn had_effect(&self) -> bool {
        self.effective
    }

    /// What it holds, in the order in which it came.
    pub(crate) fn into_held(self) -> Vec<(SocketAddr, Datagram)> {
        self.held
    }

    /// Decides what happens to a datagram that is sent over one of its paths.
    pub(crate) fn judge(
        &mut self,
        now: Time,
        way: Way,
        to: SocketAddr,
        datagram: &Datagram,
        fate: &mut Fate,
    ) -> Ruling {
        let effect = self.effect;
        let dice = self.dice;
        let condition = self.conditions.entry(way).or_insert_with(|| Condition {
            dice: dice.on(way),
            bad: false,
            busy_until_us: 0,
        });
        let (ruling, hit) = match effect {
            Effect::Cut => (Ruling::Lost, true),
            Effect::Jam => return self.hold(to, datagram),
            Effect::Slow {
                extra_us,
                jitter_us,
            } => {
                fate.extra_us += extra_us + condition.dice.between(0, jitter_us);
                (Ruling::Pass, true)
            }
            Effect::Narrow {
                bytes_per_s,
                queue_bytes,
            } => {
                let length = datagram.bytes.len() as u64;
                match condition.waits(now, length, bytes_per_s, queue_bytes) {
                    Some(wait_us) => {
                        fate.extra_us += wait_us;
                        (Ruling::Pass, wait_us > 0)
                    }
                    None => (Ruling::Lost, true),
                }
            }
            Effect::Harm(harm) => condition.harm(harm, &datagram.bytes, fate),
        };
        self.effective |= hit;
        ruling
    }

    fn hold(&mut self, to: SocketAddr, datagram: &Datagram) -> Ruling {
        self.effective = true;
        self.held_bytes += datagram.bytes.len();
        if self.held_bytes > HELD_BYTES_MAX {
            return Ruling::Lost;
        }
        self.held.push((to, datagram.clone()));
        Ruling::Held
    }
}

impl Condition {
    /// What comes of a datagram, and whether that is more than luck.
    fn harm(&mut self, harm: Harm, bytes: &Bytes, fate: &mut Fate) -> (Ruling, bool) {
        let hit = match harm {
            Harm::Loss { percent } => self.hits(percent),
            Harm::Burst {
                enter_permille,
                leave_permille,
                percent,
            } => self.turns_bad(enter_permille, leave_permille) && self.hits(percent),
            Harm::Mtu { bytes: most } => bytes.len() > usize::from(most),
            Harm::Duplicate { percent }
            | Harm::Reorder { percent, .. }
            | Harm::Corrupt { percent }
            | Harm::Truncate { percent } => self.hits(percent) && !bytes.is_empty(),
        };
        if !hit {
            return (Ruling::Pass, false);
        }
        match harm {
            Harm::Loss { .. } | Harm::Burst { .. } | Harm::Mtu { .. } => {
                return (Ruling::Lost, true);
            }
            Harm::Duplicate { .. } => fate.copies += 1,
            Harm::Reorder { by_us, .. } => fate.extra_us += self.dice.between(1, by_us.max(1)),
            Harm::Corrupt { .. } => fate.mangled = Some(self.corrupt(bytes)),
            Harm::Truncate { .. } => {
                fate.mangled = Some(bytes.slice(..self.dice.index(bytes.len())));
            }
        }
        (Ruling::Pass, true)
    }

    fn hits(&mut self, percent: u8) -> bool {
        self.dice.percent(u32::from(percent))
    }

    fn turns_bad(&mut self, enter_permille: u16, leave_permille: u16) -> bool {
        let permille = if self.bad {
            leave_permille
        } else {
            enter_permille
        };
        self.bad ^= self.dice.between(0, 999) < u64::from(permille);
        self.bad
    }

    /// How long a datagram waits until it is its turn on a narrow path; `None` if the queue is full.
    fn waits(&mut self, now: Time, length: u64, bytes_per_s: u64, queue_bytes: u64) -> Option<u64> {
        let now_us = now.as_micros();
        let wait_us = self.busy_until_us.saturating_sub(now_us);
        let waiting_bytes = wait_us.saturating_mul(bytes_per_s) / 1_000_000;
        if waiting_bytes > queue_bytes {
            return None;
        }
        let takes_us = (length * 1_000_000).div_ceil(bytes_per_s.max(1));
        self.busy_until_us = now_us + wait_us + takes_us;
        Some(wait_us + takes_us)
    }

    /// Alters one bit of the latter half, which is encrypted in every packet of QUIC: what the receiver makes of it does not depend on what the bytes are.
    fn corrupt(&mut self, bytes: &Bytes) -> Bytes {
        let half = bytes.len() / 2;
        let at = half + self.dice.index(bytes.len() - half);
        let mut mangled = BytesMut::from(&bytes[..]);
        mangled[at] ^= 1 << self.dice.index(8);
        mangled.freeze()
    }
}

/// What a jam holds before it loses what comes on top.
const HELD_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(effect: Effect, datagrams: u32) -> (Rule, u32, u32, Vec<Fate>) {
        let dice = Dice {
            seed: 1,
            fault: 0,
            part: 0,
        };
        let mut rule = Rule::new(None, effect, dice);
        let to = SocketAddr::from(([10, 0, 0, 1], 7400));
        let datagram = Datagram {
            from: SocketAddr::from(([10, 0, 0, 0], 7400)),
            ecn: None,
            bytes: Bytes::from(vec![7; 1_000]),
        };
        let (mut lost, mut held, mut fates) = (0, 0, Vec::new());
        for number in 0..datagrams {
            let mut fate = Fate::default();
            let now = Time::from_millis(u64::from(number));
            match rule.judge(now, (0, 1), to, &datagram, &mut fate) {
                Ruling::Pass => fates.push(fate),
                Ruling::Lost => lost += 1,
                Ruling::Held => held += 1,
            }
        }
        (rule, lost, held, fates)
    }

    #[test]
    fn so_many_of_a_hundred_are_lost() {
        let (_, lost, ..) = judged(Effect::Harm(Harm::Loss { percent: 30 }), 10_000);
        assert!((2_800..3_200).contains(&lost), "{lost}");
        let burst = Harm::Burst {
            enter_permille: 10,
            leave_permille: 90,
            percent: 100,
        };
        let (_, lost, ..) = judged(Effect::Harm(burst), 100_000);
        // A tenth of the time is bad.
        assert!((8_000..12_000).contains(&lost), "{lost}");
    }

    #[test]
    fn a_jam_gives_back_what_it_held() {
        let (rule, lost, held, _) = judged(Effect::Jam, 10);
        assert_eq!((lost, held), (0, 10));
        assert!(rule.had_effect());
        assert_eq!(rule.into_held().len(), 10);
    }

    #[test]
    fn a_narrow_path_queues_and_then_drops() {
        let narrow = Effect::Narrow {
            bytes_per_s: 500_000,
            queue_bytes: 20_000,
        };
        // A thousand bytes each millisecond are twice what it carries.
        let (_, lost, _, fates) = judged(narrow, 1_000);
        assert!((450..500).contains(&lost), "{lost}");
        let longest = fates.iter().map(|fate| fate.extra_us).max();
        assert!(
            longest.is_some_and(|us| (40_000..45_000).contains(&us)),
            "{longest:?}"
        );
    }

    #[test]
    fn what_is_mangled_is_mangled_and_what_is_too_long_is_lost() {
        let (_, _, _, fates) = judged(Effect::Harm(Harm::Corrupt { percent: 100 }), 100);
        for fate in fates {
            let mangled = fate.mangled.expect("all are hit");
            assert_eq!(mangled.len(), 1_000);
            assert_eq!(mangled.iter().filter(|&&byte| byte != 7).count(), 1);
            assert!(mangled[..500].iter().all(|&byte| byte == 7));
        }
        let (_, _, _, fates) = judged(Effect::Harm(Harm::Truncate { percent: 100 }), 100);
        assert!(
            fates
                .iter()
                .all(|fate| fate.mangled.as_ref().is_some_and(|m| m.len() < 1_000))
        );
        assert_eq!(judged(Effect::Harm(Harm::Mtu { bytes: 1_000 }), 5).1, 0);
        assert_eq!(judged(Effect::Harm(Harm::Mtu { bytes: 999 }), 5).1, 5);
        let (_, _, _, fates) = judged(Effect::Harm(Harm::Duplicate { percent: 100 }), 5);
        assert!(fates.iter().all(|fate| fate.copies == 1));
    }
}
