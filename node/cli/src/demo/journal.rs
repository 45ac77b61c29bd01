//! What a node of the demo writes down of everything that it delivers.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rolecast::{Gap, Message};
use serde::{Deserialize, Serialize};

use crate::demo::orders::Fault;
use crate::human;

/// What was delivered from one origin to one role, in the order in which it was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalEntry {
    /// The role.
    pub(crate) role: String,
    /// The origin's id, as hexadecimal digits.
    pub(crate) origin: String,
    /// The numbers of the messages, runs of successive ones drawn together: first and last of each.
    pub(crate) runs: Vec<(u64, u64)>,
    /// Payloads that no node of the demo sends.
    pub(crate) strange: Vec<String>,
    /// What the inbox said was lost.
    pub(crate) gaps: Vec<String>,
}

impl JournalEntry {
    /// Writes one delivery down.
    fn add(&mut self, number: u64) {
        match self.runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => self.runs.push((number, number)),
        }
    }

    /// The numbers one by one, in the order of delivery.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().flat_map(|&(first, last)| first..=last)
    }

    /// How many deliveries there are.
    pub(crate) fn deliveries(&self) -> u64 {
        self.runs.iter().map(|(first, last)| last - first + 1).sum()
    }
}

/// All deliveries of one node.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: BTreeMap<(String, String), JournalEntry>,
    planted: Option<(Fault, String)>,
}

impl Journal {
    /// Writes down one message.
    pub(crate) fn deliver(&mut self, message: &Message) {
        let (role, origin) = (message.role().as_str(), message.origin().to_hex());
        let number = read_payload(role, &origin, message.payload());
        let planted = match &self.planted {
            Some((_, at)) if *at == origin => self.planted.take(),
            _ => None,
        };
        let entry = self.entry(role, &origin);
        let Some(number) = number else {
            if entry.strange.len() < STRANGE_MAX {
                entry.strange.push(human::payload(message.payload()));
            }
            return;
        };
        match planted {
            None => entry.add(number),
            Some((fault, _)) => plant(entry, fault, number),
        }
    }

    /// Writes down what the inbox of a role says is lost.
    pub(crate) fn miss(&mut self, role: &str, gap: &Gap) {
        let (origin, what) = match gap {
            Gap::Range {
                origin,
                first,
                last,
                ..
            } => (
                origin.node.to_hex(),
                format!("messages {} to {}", first.0, last.0),
            ),
            _ => (String::new(), "declared down while alive".to_owned()),
        };
        self.entry(role, &origin).gaps.push(what);
    }

    /// Tells a lie about the next delivery from this node.
    pub(crate) fn plant(&mut self, fault: Fault, origin: String) {
        self.planted = Some((fault, origin));
    }

    /// Everything written down.
    pub(crate) fn entries(&self) -> Vec<JournalEntry> {
        self.entries.values().cloned().collect()
    }

    fn entry(&mut self, role: &str, origin: &str) -> &mut JournalEntry {
        let key = (role.to_owned(), origin.to_owned());
        self.entries.entry(key).or_insert_with(|| JournalEntry {
            role: role.to_owned(),
            origin: origin.to_owned(),
            ..JournalEntry::default()
        })
    }
}

/// Writes a delivery down wrongly.
fn plant(entry: &mut JournalEntry, fault: Fault, number: u64) {
    match fault {
        Fault::Drop => {}
        Fault::Duplicate => {
            entry.add(number);
            entry.add(number);
        }
        Fault::Swap => {
            if let Some((_, last)) = entry.runs.last_mut().filter(|(first, last)| first < last) {
                let swapped = *last;
                *last -= 1;
                entry.add(number);
                entry.add(swapped);
            }
        }
        Fault::Invent => {
            entry.add(number);
            entry.add(number + 1_000_000_000);
        }
    }
}

/// The numbered message of a node to a role.
pub(crate) fn write_payload(role: &str, origin: &str, number: u64) -> String {
    let check = check(role, origin, number);
    format!("{number} {check:016x}")
}

/// The number of a message, if this origin can have sent it to this role.
fn read_payload(role: &str, origin: &str, payload: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(payload).ok()?;
    let number = text.split_once(' ')?.0.parse().ok()?;
    (write_payload(role, origin, number) == text).then_some(number)
}

/// Ties a message to its origin and role, so that one that was made up or went astray shows.
fn check(role: &str, origin: &str, number: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (role, origin, number).hash(&mut hasher);
    hasher.finish()
}

/// So many payloads that nobody sent are kept for show.
const STRANGE_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_keep_the_order_of_delivery() {
        let mut entry = JournalEntry::default();
        for number in [1, 2, 3, 5, 4, 4, 6] {
            entry.add(number);
        }
        assert_eq!(entry.runs, [(1, 3), (5, 5), (4, 4), (4, 4), (6, 6)]);
        assert!(entry.numbers().eq([1, 2, 3, 5, 4, 4, 6]));
        assert_eq!(entry.deliveries(), 7);
    }

    #[test]
    fn only_what_the_origin_wrote_is_read() {
        let payload = write_payload("feed", "ab", 17);
        let read = |role, origin| read_payload(role, origin, payload.as_bytes());
        assert_eq!(read("feed", "ab"), Some(17));
        assert_eq!(read("feed", "cd"), None);
        assert_eq!(read("ledger", "ab"), None);
        assert_eq!(read_payload("feed", "ab", b"17"), None);
        assert_eq!(read_payload("feed", "ab", b"\xff 0"), None);
    }

    #[test]
    fn faults_show() {
        for (fault, runs) in [
            (Fault::Drop, vec![(1, 3)]),
            (Fault::Duplicate, vec![(1, 4), (4, 4)]),
            (Fault::Swap, vec![(1, 2), (4, 4), (3, 3)]),
            (Fault::Invent, vec![(1, 4), (1_000_000_004, 1_000_000_004)]),
        ] {
            let mut entry = JournalEntry {
                runs: vec![(1, 3)],
                ..JournalEntry::default()
            };
            plant(&mut entry, fault, 4);
            assert_eq!(entry.runs, runs, "{fault:?}");
        }
    }
}
