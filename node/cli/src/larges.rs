//! Large payloads as they come: into files, or counted and dropped.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rolecast::{LargeMessage, NodeId, RoleName};
use tokio::fs;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

/// Reads large payloads while other messages go on.
pub(crate) struct Larges {
    /// Where they are written, if anywhere.
    dir: Option<Arc<Path>>,
    reading: JoinSet<Read>,
}

/// A large payload that has been read to its end.
pub(crate) struct Read {
    pub(crate) role: RoleName,
    pub(crate) origin: NodeId,
    pub(crate) epoch: u64,
    pub(crate) seq: Option<u64>,
    /// How many bytes came.
    pub(crate) bytes: u64,
    /// The file that has them, if they were to be kept.
    pub(crate) file: Option<PathBuf>,
    /// Why it is not complete, if so.
    pub(crate) problem: Option<String>,
}

impl Larges {
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        Larges {
            dir: dir.map(Arc::from),
            reading: JoinSet::new(),
        }
    }

    /// Starts to read.
    pub(crate) fn read(&mut self, large: LargeMessage) {
        self.reading.spawn(read(large, self.dir.clone()));
    }

    /// The next one that has been read; waits for ever if none is being read.
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Read {
        match self.reading.join_next().await {
            Some(Ok(read)) => read,
            // A panic is shown by its task; there is nothing to tell of what was read.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }
}

async fn read(large: LargeMessage, dir: Option<Arc<Path>>) -> Read {
    let mut read = Read {
        role: large.role().clone(),
        origin: large.origin(),
        epoch: large.epoch().0,
        seq: large.seq().map(|seq| seq.0),
        bytes: 0,
        file: None,
        problem: None,
    };
    let taken = match dir {
        Some(dir) => read.write(large, &dir).await,
        None => read.count(large).await,
    };
    read.problem = taken.err().map(|error| error.to_string());
    read
}

impl Read {
    async fn count(&mut self, large: LargeMessage) -> io::Result<()> {
        let mut reader = large.into_reader();
        while let Some(chunk) = reader.chunk().await? {
            self.bytes += chunk.len() as u64;
        }
        Ok(())
    }

    /// Writes it into a file, which has its name only once it is complete.
    async fn write(&mut self, large: LargeMessage, dir: &Path) -> io::Result<()> {
        let path = dir.join(self.file_name());
        let part = path.with_extension("part");
        fs::create_dir_all(dir).await?;
        let written = self.write_part(large, &part).await;
        if let Err(error) = written {
            // What is left of it is of no use, and was reported.
            let _ = fs::remove_file(&part).await;
            return Err(error);
        }
        fs::rename(&part, &path).await?;
        self.file = Some(path);
        Ok(())
    }

    async fn write_part(&mut self, large: LargeMessage, part: &Path) -> io::Result<()> {
        let mut file = fs::File::create(part).await?;
        let mut reader = large.into_reader();
        while let Some(chunk) = reader.chunk().await? {
            file.write_all(&chunk).await?;
            self.bytes += chunk.len() as u64;
        }
        file.flush().await
    }

    /// A name that no other payload has, without anything in it that means something to a file system.
    fn file_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let role: String = self.role.as_str().chars().map(plain).collect();
        let seq = self.seq.unwrap_or(0);
        format!("{role}-{}-{}-{seq}", self.origin, self.epoch)
    }
}
