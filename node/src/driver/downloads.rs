//! Large payloads, from the engine to the programs that read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rolecast_protocol::{FlowId, InboxId, LargeEnd, Origin, Ticket};

use super::Driver;
use crate::download::Download;
use crate::large::PayloadError;

/// Large payloads that have not ended, or whose announcement has not come: their chunks may overtake it.
#[derive(Default)]
pub(super) struct Downloads(BTreeMap<Key, Entry>);

/// Which large payload, in which inbox.
pub(super) type Key = (InboxId, Origin, FlowId);

#[derive(Default)]
struct Entry {
    download: Arc<Download>,
    announced: bool,
    ended: bool,
}

/// The most payloads that are kept in mind which ended before their announcement came; of dead senders it may never come.
const UNANNOUNCED_MAX: usize = 1_024;

impl Downloads {
    /// A large payload was announced: here is what has come of it, and will come.
    pub(super) fn announced(&mut self, key: Key) -> Arc<Download> {
        let entry = self.0.entry(key).or_default();
        entry.announced = true;
        let download = Arc::clone(&entry.download);
        if entry.ended {
            self.0.remove(&key);
        }
        download
    }

    fn chunk(&mut self, key: Key, chunk: Bytes, ticket: Ticket) -> Result<(), Ticket> {
        self.0.entry(key).or_default().download.push(chunk, ticket)
    }

    fn ended(&mut self, key: Key, end: Result<(), PayloadError>) -> Arc<Download> {
        let entry = self.0.entry(key).or_default();
        entry.download.end(end);
        entry.ended = true;
        let download = Arc::clone(&entry.download);
        if entry.announced {
            self.0.remove(&key);
        }
        download
    }

    /// Whether too many ended without having been announced; gives one of them.
    fn excess(&mut self) -> Option<Arc<Download>> {
        let early = |entry: &&Entry| entry.ended && !entry.announced;
        if self.0.values().filter(early).count() <= UNANNOUNCED_MAX {
            return None;
        }
        let first = self.0.iter().find(|(_, entry)| early(entry));
        let key = first.map(|(&key, _)| key)?;
        self.0.remove(&key).map(|entry| entry.download)
    }

    /// An inbox is closed: what it has not got of any payload will not come.
    pub(super) fn close(&mut self, inbox: InboxId) {
        self.0.retain(|&(of, ..), entry| {
            if of == inbox {
                entry.download.end(Err(PayloadError::CutShort));
            }
            of != inbox
        });
    }

    /// All inboxes are closed.
    pub(super) fn close_all(&mut self) {
        for entry in std::mem::take(&mut self.0).into_values() {
            entry.download.end(Err(PayloadError::CutShort));
        }
    }
}

impl Driver {
    pub(super) fn take_chunk(&mut self, key: Key, chunk: Bytes, ticket: Ticket) {
        self.counters.bytes_delivered.increment(chunk.len() as u64);
        if let Err(ticket) = self.downloads.chunk(key, chunk, ticket) {
            self.shared.consume(ticket);
        }
    }

    pub(super) fn end_download(&mut self, key: Key, end: LargeEnd) {
        let end = match end {
            LargeEnd::Complete => Ok(()),
            LargeEnd::CutShort => Err(PayloadError::CutShort),
            LargeEnd::Lagged => {
                tracing::warn!(origin = %key.1.node, "a large payload was read too slowly: its sender goes on without this node");
                Err(PayloadError::Lagged)
            }
            LargeEnd::TooLarge => {
                let max = self.shared.limits.large_bytes_max;
                tracing::warn!(origin = %key.1.node, max, "a large payload was refused: it is longer than this node takes");
                Err(PayloadError::TooLarge { max })
            }
        };
        let lags = end == Err(PayloadError::Lagged);
        let download = self.downloads.ended(key, end);
        if lags {
            // What nobody has read for so long is of no use, and takes up memory.
            download.forget(&self.shared);
        }
        if let Some(forgotten) = self.downloads.excess() {
            forgotten.abandon(&self.shared);
        }
    }
}
