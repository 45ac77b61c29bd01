//! Who has taken what was multicast.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rolecast::{NodeId, Receipt, RoleName};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::duration::show_duration;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::style::{BAD, GOOD, NAME};

/// Awaits the acknowledgements of messages in the order in which they were sent.
pub(crate) struct Acknowledgements {
    role: RoleName,
    receipts: mpsc::Sender<Receipt>,
    tally: Arc<Mutex<Tally>>,
    task: JoinHandle<()>,
}

/// What is known of the messages sent.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// To whom they go.
    role: RoleName,
    /// The node that sends, if what it sends goes to itself as well; nobody reads there, so that it does not count.
    itself: Option<NodeId>,
    /// Messages on their way.
    sent: u64,
    /// Messages of which it is known who has taken them.
    settled: u64,
    /// The fewest holders that took a message, and the most to whom one went.
    acknowledged_min: usize,
    holders_max: usize,
    /// How many messages each holder did not acknowledge that was lost, or refused.
    lost: BTreeMap<NodeId, u64>,
}

impl Acknowledgements {
    /// Starts to wait for those who take what `sender` sends to the role; must be called inside a tokio runtime.
    pub(crate) fn collect(sender: NodeId, role: &RoleName) -> Self {
        let (receipts, mut receive) = mpsc::channel::<Receipt>(RECEIPTS_MAX);
        let tally = Arc::new(Mutex::new(Tally::of(sender, role)));
        let kept = Arc::clone(&tally);
        let task = tokio::spawn(async move {
            while let Some(receipt) = receive.recv().await {
                let Ok(outcome) = receipt.acked().await else {
                    return;
                };
                let missing = outcome.lost.iter().chain(&outcome.too_large);
                lock(&kept).add(outcome.acknowledged, missing.copied().collect());
            }
        });
        Acknowledgements {
            role: role.clone(),
            receipts,
            tally,
            task,
        }
    }

    /// The role that it is sent to.
    pub(crate) fn role(&self) -> &RoleName {
        &self.role
    }

    /// Counts a message as sent, and waits for it later.
    pub(crate) async fn expect(&self, receipt: Receipt, patience: Duration) -> Result<(), Failure> {
        {
            let mut tally = lock(&self.tally);
            tally.sent += 1;
            let holders = receipt.each().map(Receipt::holders).sum();
            let holders = tally.others(holders);
            tally.holders_max = tally.holders_max.max(holders);
        }
        // There is room for more receipts than a window holds messages of usual size.
        match self.receipts.send_timeout(receipt, patience).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Failure::failed(format!(
                "a holder has acknowledged nothing for {}; does its program still read?",
                show_duration(patience)
            ))),
        }
    }

    /// Waits for what is outstanding, up to `patience`.
    pub(crate) async fn finish(self, patience: Duration) -> Tally {
        drop(self.receipts);
        let mut task = self.task;
        if timeout(patience, &mut task).await.is_err() {
            task.abort();
        }
        lock(&self.tally).clone()
    }
}

impl Tally {
    fn of(sender: NodeId, role: &RoleName) -> Self {
        Tally {
            role: role.clone(),
            // A visitor holds no other role.
            itself: (*role == RoleName::everyone()).then_some(sender),
            sent: 0,
            settled: 0,
            acknowledged_min: 0,
            holders_max: 0,
            lost: BTreeMap::new(),
        }
    }

    /// Adds a message that so many nodes have taken, and these have not.
    fn add(&mut self, acknowledged: usize, mut missing: Vec<NodeId>) {
        let all_missing = missing.len();
        missing.retain(|node| self.itself != Some(*node));
        let acknowledged = match all_missing - missing.len() {
            0 => self.others(acknowledged),
            _ => acknowledged,
        };
        let holders = acknowledged + missing.len();
        self.acknowledged_min = match self.settled {
            0 => acknowledged,
            _ => self.acknowledged_min.min(acknowledged),
        };
        self.holders_max = self.holders_max.max(holders);
        self.settled += 1;
        for node in missing {
            *self.lost.entry(node).or_default() += 1;
        }
    }

    /// The one message that was counted stands for so many, of which it was the last: none is acknowledged before those before it.
    pub(crate) fn standing_for(self, sent: u64) -> Self {
        Tally {
            settled: if self.settled > 0 { sent } else { 0 },
            sent,
            ..self
        }
    }

    /// So many nodes without the one that sends.
    fn others(&self, nodes: usize) -> usize {
        nodes.saturating_sub(usize::from(self.itself.is_some()))
    }

    /// Shows the receipt.
    pub(crate) fn report(&self, took: Duration, output: &Output) -> Result<(), Failure> {
        let role = &self.role;
        if output.is_json() {
            let lost: Vec<_> = self
                .lost
                .iter()
                .map(|(node, messages)| json!({ "node": node.to_hex(), "messages": messages }))
                .collect();
            return output.object(&json!({
                "event": "receipt", "mode": "multicast", "role": role.as_str(),
                "messages": self.sent, "settled": self.settled,
                "holders": self.holders_max, "acknowledged": self.acknowledged_min,
                "lost": lost, "ms": took.as_secs_f64() * 1_000.0,
            }));
        }
        if self.sent == 0 {
            return output.line("nothing was sent");
        }
        let acknowledged = if self.settled < self.sent {
            format!("{BAD}acknowledged: {}{BAD:#}", human::count(self.settled))
        } else if self.lost.is_empty() {
            format!("{GOOD}acknowledged by all{GOOD:#}")
        } else {
            format!("{BAD}acknowledged by {}{BAD:#}", self.acknowledged_min)
        };
        let to = match role.as_str() {
            "*" => human::number_of(self.holders_max, "other node"),
            role => format!(
                "{} of {NAME}{role}{NAME:#}",
                human::number_of(self.holders_max, "holder")
            ),
        };
        output.line(format_args!(
            "{} to {to}, {acknowledged} in {}{}",
            human::number_of(usize::try_from(self.sent).unwrap_or(usize::MAX), "message"),
            show_duration(took),
            rate(self.sent, took)
        ))
    }

    /// A failure unless every holder has taken every message.
    pub(crate) fn verdict(&self, patience: Duration) -> Result<(), Failure> {
        let role = &self.role;
        if self.settled < self.sent {
            return Err(Failure::failed(format!(
                "not every holder of {role} has taken every message within {}: one of them does not read, or cannot be reached",
                show_duration(patience)
            )));
        }
        if self.lost.is_empty() {
            return Ok(());
        }
        let lost: Vec<String> = self
            .lost
            .iter()
            .map(|(node, messages)| {
                let messages = usize::try_from(*messages).unwrap_or(usize::MAX);
                format!("{node} ({})", human::number_of(messages, "message"))
            })
            .collect();
        Err(Failure::failed(format!(
            "holders of {role} left or went down before they acknowledged everything, and may have taken it or not: {}",
            lost.join(", ")
        )))
    }
}

/// How many a second that is, for more than a few messages.
pub(crate) fn rate(messages: u64, took: Duration) -> String {
    if messages < 100 {
        return String::new();
    }
    let per_s = messages as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
    format!(" ({} a second)", human::count(per_s as u64))
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    // A tally is well-formed at every point.
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many messages may be unacknowledged.
const RECEIPTS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_broadcasts_is_not_counted() {
        let node = |byte| NodeId::from_bytes([byte; 32]);
        let mut tally = Tally::of(node(1), &RoleName::everyone());
        tally.add(3, vec![]);
        assert_eq!((tally.acknowledged_min, tally.holders_max), (2, 2));
        tally.add(2, vec![node(1)]);
        assert_eq!((tally.acknowledged_min, tally.lost.len()), (2, 0));
        tally.add(2, vec![node(2)]);
        assert_eq!((tally.acknowledged_min, tally.lost.len()), (1, 1));
    }

    #[test]
    fn the_verdict_needs_every_holder() {
        let verdict = |tally: &Tally| {
            tally
                .verdict(Duration::from_secs(1))
                .map_err(|failure| failure.to_string())
        };
        let chat = RoleName::new("chat").unwrap();
        let mut tally = Tally::of(NodeId::from_bytes([1; 32]), &chat);
        tally.sent = 2;
        tally.add(3, vec![]);
        tally.add(3, vec![]);
        assert_eq!(verdict(&tally), Ok(()));
        tally.sent = 3;
        assert!(verdict(&tally).unwrap_err().contains("within 1.0 s"));
        tally.settled = 3;
        tally.lost.insert(NodeId::from_bytes([0xab; 32]), 1);
        let lost = verdict(&tally).unwrap_err();
        assert!(lost.ends_with("ababababab (1 message)"), "{lost}");
    }
}
