//! A file for each connection in which QUIC writes down what it does (qlog, draft-ietf-quic-qlog-main-schema).

use std::fs::File;
use std::io::BufWriter;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quinn::{QlogConfig, QlogStream};
use rolecast_membership::NodeId;

/// Where QUIC writes down what it does, one file for each connection; cheap to clone.
///
/// A file's name says which node wrote it, from which end, and who was at the other; its times are milliseconds since `since`.
#[derive(Clone, Debug)]
pub struct Qlog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    since: Instant,
    written: AtomicU64,
}

impl Qlog {
    /// Writes into this directory, which must be there.
    #[must_use]
    pub fn new(dir: &Path, since: Instant) -> Self {
        Qlog(Arc::new(Inner {
            dir: dir.to_owned(),
            since,
            written: AtomicU64::new(0),
        }))
    }

    /// The file of another connection; none if it cannot be written, which is logged.
    pub(crate) fn stream(&self, node: NodeId, end: &str, peer: SocketAddr) -> Option<QlogStream> {
        let number = self.0.written.fetch_add(1, Ordering::Relaxed);
        let peer = peer.to_string().replace([':', '[', ']'], "_");
        let path = self
            .0
            .dir
            .join(format!("{number:04}-{node}-{end}-{peer}.sqlog"));
        let file = File::create(&path)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "no qlog file"))
            .ok()?;
        let mut config = QlogConfig::default();
        config
            .writer(Box::new(BufWriter::new(file)))
            .title(Some(format!("{node}, {end} {peer}")))
            .start_time(self.0.since);
        config.into_stream()
    }
}
