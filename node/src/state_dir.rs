//! What a node remembers from one life to the next: its key and its epoch.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rolecast_membership::Epoch;
use rolecast_transport::NodeKey;

use crate::clock::wall_clock_ms;
use crate::error::StartError;

/// A directory with two files, each written as a whole or not at all.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Uses this directory, and makes it if need be.
    pub(crate) fn open(path: PathBuf) -> Result<Self, StartError> {
        match fs::create_dir_all(&path) {
            Ok(()) => Ok(StateDir { path }),
            Err(error) => Err(unusable(&path, "cannot be made a directory", error)),
        }
    }

    /// The node's key, made on the first call.
    pub(crate) fn key(&self) -> Result<NodeKey, StartError> {
        let path = self.path.join(KEY_FILE);
        if let Some(pem) = read(&path)? {
            return NodeKey::from_pem(&pem).map_err(|error| StartError::State {
                path,
                problem: format!("holds no node key: {error}; remove it to become another node"),
                source: None,
            });
        }
        let key = NodeKey::generate();
        self.write(KEY_FILE, &key.to_pkcs8_pem())
            .map_err(|error| unusable(&path, "cannot be written", error))?;
        Ok(key)
    }

    /// The epoch of the life that starts, which is above all former ones and is remembered before it is used.
    pub(crate) fn next_epoch(&self) -> Result<Epoch, StartError> {
        let path = self.path.join(EPOCH_FILE);
        let former = match read(&path)? {
            None => 0,
            Some(text) => text.trim().parse::<u64>().map_err(|_| StartError::State {
                path: path.clone(),
                problem: "holds no number; remove it if no other process of this node runs".into(),
                source: None,
            })?,
        };
        let epoch = Epoch(former.saturating_add(1).max(wall_clock_ms()));
        self.remember(epoch)
            .map_err(|error| unusable(&path, "cannot be written", error))?;
        Ok(epoch)
    }

    /// Remembers the epoch of the present life.
    pub(crate) fn remember(&self, epoch: Epoch) -> io::Result<()> {
        self.write(EPOCH_FILE, &format!("{epoch}\n"))
    }

    /// Replaces a file as a whole: after a crash it holds either the former or the new text.
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let draft = self.path.join(format!("{name}.new"));
        let mut file = create_private(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, self.path.join(name))?;
        sync_directory(&self.path)
    }
}

/// The epoch of a node that remembers nothing.
pub(crate) fn fresh_epoch() -> Epoch {
    Epoch(wall_clock_ms().max(1))
}

fn read(path: &Path) -> Result<Option<String>, StartError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, "cannot be read", error)),
    }
}

fn unusable(path: &Path, problem: &str, source: io::Error) -> StartError {
    StartError::State {
        path: path.to_owned(),
        problem: format!("{problem}: {source}"),
        source: Some(source),
    }
}

/// A file that only this user can read.
#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

#[cfg(not(unix))]
fn create_private(path: &Path) -> io::Result<File> {
    File::create(path)
}

/// A renamed file survives a crash only once its directory is written.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

const KEY_FILE: &str = "node.key";
const EPOCH_FILE: &str = "epoch";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_rise_from_life_to_life_and_are_read_back() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = StateDir::open(dir.path().join("a/b")).expect("makes it");
        let first = state.next_epoch().expect("writes it");
        let far = Epoch(u64::MAX / 2);
        state.remember(far).expect("writes it");
        let second = state.next_epoch().expect("writes it");
        assert!(
            first < far && second == Epoch(far.0 + 1),
            "{first} {second}"
        );
    }

    #[test]
    fn damaged_state_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = StateDir::open(dir.path().to_owned()).expect("is there");
        fs::write(dir.path().join(EPOCH_FILE), "soon").expect("writes it");
        let error = state.next_epoch().expect_err("is no number").to_string();
        assert!(error.contains("epoch holds no number"), "{error}");
        fs::create_dir(dir.path().join(KEY_FILE)).expect("makes it");
        let error = state.key().expect_err("is a directory").to_string();
        assert!(error.contains("node.key cannot be read"), "{error}");
        let error = StateDir::open(dir.path().join(EPOCH_FILE)).expect_err("is a file");
        assert!(
            error.to_string().contains("cannot be made a directory"),
            "{error}"
        );
    }
}
