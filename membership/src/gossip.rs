//! News of records on their way through the mesh.
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
use crate::{NodeId, Time};

/// Records up to this size, in bytes, travel in datagrams; of larger ones only a hint does.
pub(crate) const NEWS_BYTES_MAX: usize = 600;
/// The least time between two rounds: what comes in between is sent together.
const ROUND_GAP: Duration = Duration::from_millis(10);
/// How many news are tried before a packet counts as full.
const TRIES_MAX: usize = 16;

struct Rumour {
    news: Bytes,
    sent: u8,
    order: u64,
}

/// At most one rumour per node: the newest.
#[derive(Default)]
pub(crate) struct Gossip {
    rumours: BTreeMap<NodeId, Rumour>,
    /// The least often sent first, then the oldest.
    queue: BTreeSet<(u8, u64, NodeId)>,
    pushed: u64,
    last_round: Option<Time>,
    next_round: Option<Time>,
}

impl Gossip {
    /// Passes on that a record exists; the record itself, if it is small enough.
    pub(crate) fn push(&mut self, now: Time, entry: Entry, encoded: &[u8]) {
        self.remove(entry.id);
        let news = if encoded.len() <= NEWS_BYTES_MAX {
            News::Record(encoded).encode()
        } else {
            News::Hint(entry).encode()
        };
        self.pushed += 1;
        let rumour = Rumour {
            news,
            sent: 0,
            order: self.pushed,
        };
        self.queue.insert((0, rumour.order, entry.id));
        self.rumours.insert(entry.id, rumour);
        let soonest = self
            .last_round
            .map_or(now, |last| now.max(last + ROUND_GAP));
        self.next_round = Some(self.next_round.map_or(soonest, |next| next.min(soonest)));
    }

    /// Stops what is on its way about this node.
    pub(crate) fn remove(&mut self, id: NodeId) {
        if let Some(rumour) = self.rumours.remove(&id) {
            self.queue.remove(&(rumour.sent, rumour.order, id));
        }
    }

    /// Fills the rest of a packet to a live member; what was sent often enough is dropped.
    pub(crate) fn fill(&mut self, packet: &mut PacketBuilder, transmissions: u8) {
        let tries: Vec<_> = self.queue.iter().take(TRIES_MAX).copied().collect();
        for key @ (sent, order, id) in tries {
            let Some(rumour) = self.rumours.get_mut(&id) else {
                continue;
            };
            if !packet.add(&rumour.news) {
                continue;
            }
            self.queue.remove(&key);
            rumour.sent = sent.saturating_add(1);
            if rumour.sent >= transmissions {
                self.rumours.remove(&id);
            } else {
                self.queue.insert((rumour.sent, order, id));
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

    /// Ends a round: the next one follows after `period`, if there is anything left.
    pub(crate) fn end_round(&mut self, now: Time, period: Duration) {
        self.next_round = (!self.rumours.is_empty()).then(|| now + period);
    }
}
