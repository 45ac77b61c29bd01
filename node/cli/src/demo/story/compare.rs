//! The journals of those who live to the end are compared.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use super::Story;
use crate::demo::cast::name;
use crate::demo::journal::JournalEntry;
use crate::demo::orders::{Order, Report};
use crate::demo::parts::names;
use crate::demo::verdict::{Evidence, Flow, NodeJournal, Promise, judge};
use crate::failure::Failure;
use crate::human;

impl Story<'_> {
    /// Collects the journals until they agree, or patience ends.
    pub(super) async fn compare(&mut self, flows: Vec<Flow>) -> Result<Evidence, Failure> {
        let start = Instant::now();
        loop {
            let journals = self.journals().await?;
            let evidence = Evidence {
                flows: flows.clone(),
                journals,
            };
            let held = judge(&evidence).iter().all(Promise::is_held);
            if held || start.elapsed() > COMPARE_PATIENCE {
                let messages: u64 = evidence
                    .journals
                    .iter()
                    .flat_map(|journal| journal.entries.iter().map(JournalEntry::deliveries))
                    .sum();
                self.account.tell(
                    "compare",
                    &format!(
                        "the journals of {} with {} deliveries are compared",
                        names(&self.parts.survivors),
                        human::count(messages)
                    ),
                    json!({ "deliveries": messages }),
                )?;
                return Ok(evidence);
            }
            // What is still on its way between survivors takes a moment.
            sleep(COMPARE_AGAIN).await;
        }
    }

    async fn journals(&mut self) -> Result<Vec<NodeJournal>, Failure> {
        let survivors = self.parts.survivors.clone();
        for &index in &survivors {
            self.cast.order(index, &Order::Journal).await?;
        }
        let journal = |report| match report {
            Report::Journal { entries } => Some(entries),
            _ => None,
        };
        let journals = self
            .cast
            .await_each(&survivors, "shows its journal", journal)
            .await?;
        let named = |entry: JournalEntry| JournalEntry {
            origin: self.cast.name_of(&entry.origin),
            ..entry
        };
        let journals = journals.into_iter().map(|(index, entries)| NodeJournal {
            node: name(index),
            entries: entries.into_iter().map(named).collect(),
        });
        Ok(journals.collect())
    }
}

/// How long the survivors may take to agree.
const COMPARE_PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait before the journals are looked at again.
const COMPARE_AGAIN: Duration = Duration::from_millis(50);
