//! Large payloads, from the programs that send them into the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use rolecast_membership::NodeId;
use rolecast_protocol::{Accepted, ChunkError, FlowId};

use super::Driver;
use crate::error::ClosedReason;
use crate::outcomes::HolderOutcome;
use crate::simulation::Sight;
use crate::upload::{Next, Upload};

/// Those that are not over.
#[derive(Default)]
pub(super) struct Uploads(BTreeMap<FlowId, Arc<Upload>>);

impl Uploads {
    /// Whether the engine has the end of each.
    pub(super) fn are_taken(&self) -> bool {
        self.0.values().all(|upload| upload.is_taken())
    }

    pub(super) fn lost(&self, flow: FlowId, node: NodeId, why: HolderOutcome) {
        if let Some(upload) = self.0.get(&flow) {
            upload.lost(node, why);
        }
    }

    pub(super) fn refused(&self, flow: FlowId, node: NodeId) {
        if let Some(upload) = self.0.get(&flow) {
            upload.refused(node);
        }
    }

    pub(super) fn evicted(&self, flow: FlowId, node: NodeId) {
        if let Some(upload) = self.0.get(&flow) {
            tracing::warn!(%node, "a holder reads a large payload too slowly and is left out");
            upload.evicted(node);
        }
    }

    pub(super) fn over(&mut self, flow: FlowId) {
        if let Some(upload) = self.0.remove(&flow) {
            upload.over();
        }
    }

    /// The node ends.
    pub(super) fn close(&mut self, reason: ClosedReason) {
        for upload in std::mem::take(&mut self.0).into_values() {
            upload.close(reason);
        }
    }
}

impl Driver {
    /// The engine has announced a large payload.
    pub(super) fn begin_upload(&mut self, large: FlowId, upload: &Arc<Upload>, to: &Accepted) {
        upload.announced(large, to.members);
        self.uploads.0.insert(large, Arc::clone(upload));
        self.send_upload(upload);
    }

    /// Hands over what gathered of a large payload, until the engine has no room.
    pub(super) fn send_upload(&mut self, upload: &Upload) {
        let Some(large) = upload.flow() else { return };
        upload.unschedule();
        while let Some(next) = upload.next() {
            self.witnessed.saw(&self.engine, || Sight::Asks);
            let sent = match &next {
                Next::Chunk(chunk) => self.engine.send_chunk(self.now, large, chunk.clone()),
                Next::End { complete } => self.engine.end_large(self.now, large, *complete),
            };
            match (sent, next) {
                (Ok(()), Next::Chunk(chunk)) => {
                    upload.chunk_taken();
                    let sight = || Sight::SentChunk {
                        flow: large,
                        chunk: &chunk,
                    };
                    self.witnessed.saw(&self.engine, sight);
                    self.counters.bytes_sent.increment(chunk.len() as u64);
                }
                (Ok(()), Next::End { complete }) => {
                    upload.all_taken();
                    let sight = || Sight::SentEnd {
                        flow: large,
                        complete,
                    };
                    self.witnessed.saw(&self.engine, sight);
                }
                // The engine says when there is room.
                (Err(ChunkError::Full), _) => {
                    let sight = || Sight::Refused { flow: large };
                    self.witnessed.saw(&self.engine, sight);
                    self.counters.full.increment(1);
                    return;
                }
                (Err(why), _) => {
                    tracing::debug!(%why, "a large payload ends early");
                    upload.all_taken();
                }
            }
        }
    }

    /// Goes on with a large payload that takes chunks again.
    pub(super) fn resume_upload(&mut self, large: FlowId) {
        if let Some(upload) = self.uploads.0.get(&large).cloned() {
            self.send_upload(&upload);
        }
    }
}
