//! News of records, and of suspicions, on their way through the mesh.
//!
//! Rumour mongering by push with a counter (Demers et al.: "Epidemic Algorithms for Replicated Database Maintenance", PODC 1987, section 1.4): whoever hears something passes it on a fixed number of times.
//! A node passes on at once what it hears, and then goes on once per period; news also ride on every packet of SWIM that has room.
//!
//! `foca` can carry such news too, but puts its own updates first, keeps what never fits for ever, and scans its list for each addition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::packet::{News, PacketBuilder};
use crate::registry::Entry;
use crate::suspicion::Doubt;
use crate::{NodeId, Time};

/// Records up to this size, in bytes, travel in datagrams; of larger ones only a hint does.
pub(crate) const NEWS_BYTES_MAX: usize = 600;
/// The least time between a round and one that something new brings forward: what comes in between is sent together.
const ROUND_GAP: Duration = Duration::from_millis(10);
/// So many changes of the own record go out at once, if none came for as many periods before; more of them go out once per period, the newest version each time.
const OWN_AT_ONCE: u32 = 5;
/// How many news are tried before a packet counts as full.
const TRIES_MAX: usize = 16;

struct Rumour {
    news: Bytes,
    sent: u8,
    order: u64,
}

/// What a rumour is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Record(NodeId),
    Doubt(NodeId),
}

/// At most one rumour of each kind per node: the newest.
pub(crate) struct Gossip {
    period: Duration,
    rumours: BTreeMap<About, Rumour>,
    /// The least often sent first, then the oldest.
    queue: BTreeSet<(u8, u64, About)>,
    pushed: u64,
    last_round: Option<Time>,
    next_round: Option<Time>,
    /// Until then the changes of the own record have used up the periods of the time.
    own_until: Time,
}

impl Gossip {
    /// Goes on once per `period`, as long as there are news.
    pub(crate) fn new(period: Duration) -> Self {
        Gossip {
            period,
            rumours: BTreeMap::new(),
            queue: BTreeSet::new(),
            pushed: 0,
            last_round: None,
            next_round: None,
            own_until: Time::ZERO,
        }
    }

    /// Passes on that a record exists; the record itself, if it is small enough.
    pub(crate) fn push(&mut self, now: Time, entry: Entry, encoded: &[u8]) {
        // Every hint makes all others fetch a large record: of quick changes, most versions are left out.
        let gap = match encoded.len() <= NEWS_BYTES_MAX {
            true => ROUND_GAP,
            false => self.period,
        };
        self.insert(now, About::Record(entry.id), news(entry, encoded), gap);
    }

    /// Passes on that the own record has changed, at the pace of the rounds if it does so all the time: of a storm of changes the others see a few.
    pub(crate) fn push_own(&mut self, now: Time, entry: Entry, encoded: &[u8]) {
        // The generic cell rate algorithm, as in ITU-T I.371, annex A.
        let until = now.max(self.own_until) + self.period;
        let allowed = until <= now + self.period * OWN_AT_ONCE;
        if allowed {
            self.own_until = until;
            self.push(now, entry, encoded);
        } else {
            let news = news(entry, encoded);
            self.insert(now, About::Record(entry.id), news, self.period);
        }
    }

    /// Passes on who suspects a member.
    pub(crate) fn push_doubt(&mut self, now: Time, doubt: &Doubt) {
        let news = News::Doubt(doubt.clone()).encode();
        self.insert(now, About::Doubt(doubt.id), news, ROUND_GAP);
    }

    /// Takes the place of what is on its way about the same, and goes out `gap` after the last round at the earliest.
    fn insert(&mut self, now: Time, about: About, news: Bytes, gap: Duration) {
        self.take_out(about);
        self.pushed += 1;
        let rumour = Rumour {
            news,
            sent: 0,
            order: self.pushed,
        };
        self.queue.insert((0, rumour.order, about));
        self.rumours.insert(about, rumour);
        let soonest = self.last_round.map_or(now, |last| now.max(last + gap));
        self.next_round = Some(self.next_round.map_or(soonest, |next| next.min(soonest)));
    }

    /// Stops what is on its way about this node.
    pub(crate) fn remove(&mut self, id: NodeId) {
        self.take_out(About::Record(id));
        self.take_out(About::Doubt(id));
    }

    fn take_out(&mut self, about: About) {
        if let Some(rumour) = self.rumours.remove(&about) {
            self.queue.remove(&(rumour.sent, rumour.order, about));
        }
    }

    /// Fills the rest of a packet to a live member; what was sent often enough is dropped.
    pub(crate) fn fill(&mut self, packet: &mut PacketBuilder, transmissions: u8) {
        let tries: Vec<_> = self.queue.iter().take(TRIES_MAX).copied().collect();
        for key @ (sent, order, about) in tries {
            let Some(rumour) = self.rumours.get_mut(&about) else {
                continue;
            };
            if !packet.add(&rumour.news) {
                continue;
            }
            self.queue.remove(&key);
            rumour.sent = sent.saturating_add(1);
            if rumour.sent >= transmissions {
                self.rumours.remove(&about);
            } else {
                self.queue.insert((rumour.sent, order, about));
            }
        }
    }

    /// When the next round is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.next_round
    }

    /// Whether a round is due; it has to follow then.
    pub(crate) fn begin_round(&mut self, now: Time) -> bool {
        let due = self.next_round.is_some_and(|next| next <= now);
        if due {
            self.last_round = Some(now);
            self.next_round = None;
        }
        due
    }

    /// Ends a round: the next one follows after the period, if there is anything left.
    pub(crate) fn end_round(&mut self, now: Time) {
        self.next_round = (!self.rumours.is_empty()).then(|| now + self.period);
    }
}

/// The record itself, if it is small enough, or that there is one.
fn news(entry: Entry, encoded: &[u8]) -> Bytes {
    match encoded.len() <= NEWS_BYTES_MAX {
        true => News::Record(encoded).encode(),
        false => News::Hint(entry).encode(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;
    use crate::packet::{Packet, Side};
    use crate::registry::Stamp;

    fn entry(number: u8, version: u64) -> Entry {
        let stamp = Stamp {
            epoch: Epoch(1),
            version,
        };
        Entry {
            id: NodeId::from_bytes([number; 32]),
            stamp,
        }
    }

    fn fill(gossip: &mut Gossip, limit: u8) -> Bytes {
        let mut packet = PacketBuilder::new(Side { live: 1, low: 0 }, &[]);
        gossip.fill(&mut packet, limit);
        packet.finish()
    }

    #[test]
    fn every_rumour_is_told_as_often_as_it_may_and_no_more() {
        let mut gossip = Gossip::new(Duration::from_millis(200));
        for number in 0..20 {
            gossip.push(Time::ZERO, entry(number, 1), &[number; 300]);
        }
        gossip.push(Time::ZERO, entry(0, 2), &[77; 300]);
        let mut told = BTreeMap::new();
        for _ in 0..100 {
            let bytes = fill(&mut gossip, 3);
            for news in Packet::decode(&bytes).expect("it is whole").news {
                let News::Record(record) = news else {
                    panic!("all are small")
                };
                *told.entry(record[0]).or_insert(0) += 1;
            }
        }
        let expected: BTreeMap<u8, i32> = (1..20).chain([77]).map(|number| (number, 3)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn news_go_out_at_once_and_large_ones_at_the_pace_of_the_rounds() {
        let period = Duration::from_millis(200);
        let mut gossip = Gossip::new(period);
        gossip.push(Time::ZERO, entry(1, 1), &[0; 300]);
        assert!(gossip.begin_round(Time::ZERO));
        gossip.end_round(Time::ZERO);
        assert_eq!(gossip.deadline(), Some(Time::ZERO + period));
        gossip.push(Time::from_millis(1), entry(2, 1), &[0; 300]);
        assert_eq!(gossip.deadline(), Some(Time::ZERO + ROUND_GAP));
        assert!(gossip.begin_round(Time::from_millis(10)));
        gossip.end_round(Time::from_millis(10));
        gossip.push(Time::from_millis(20), entry(3, 1), &[0; NEWS_BYTES_MAX + 1]);
        assert_eq!(gossip.deadline(), Some(Time::from_millis(210)));
        gossip.remove(entry(2, 1).id);
        for _ in 0..3 {
            fill(&mut gossip, 1);
        }
        assert!(gossip.begin_round(Time::from_millis(210)));
        gossip.end_round(Time::from_millis(210));
        assert_eq!(gossip.deadline(), None);
    }

    #[test]
    fn a_few_changes_go_out_at_once_and_a_storm_at_the_pace_of_the_rounds() {
        let period = Duration::from_millis(200);
        let mut gossip = Gossip::new(period);
        let mut now = Time::from_millis(10_000);
        let mut rounds = |gossip: &mut Gossip, changes: u64| {
            let mut rounds = 0;
            for change in 0..changes {
                gossip.push_own(now, entry(1, change), &[0; 300]);
                now = now + Duration::from_millis(1);
                if gossip.begin_round(now) {
                    rounds += 1;
                    gossip.end_round(now);
                }
            }
            rounds
        };
        // The first change brings a round, those of the next ten milliseconds share one, and so on.
        assert_eq!(rounds(&mut gossip, 1), 1);
        let storm = rounds(&mut gossip, 1_000);
        assert!((5..=8).contains(&storm), "{storm} rounds in a second");
    }
}
