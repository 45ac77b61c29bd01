//! The configuration file: TOML, with the names of the flags as keys.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::nearest::nearest;
use crate::node_options::MeshProfile;
use crate::trust::TrustFiles;

/// What a configuration file says; everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    /// Where the node listens.
    pub(crate) listen: Option<String>,
    /// Where others dial it.
    pub(crate) advertise: Option<String>,
    /// Where some other node may be found.
    pub(crate) seeds: Vec<String>,
    /// The file with the mesh secret, or the files of a certificate.
    pub(crate) trust: TrustFiles,
    /// The place the node is in.
    pub(crate) site: Option<String>,
    /// The machine it runs on.
    pub(crate) host: Option<String>,
    /// The node's own kind.
    pub(crate) service: Option<String>,
    /// Which of its kind it is.
    pub(crate) instance: Option<u32>,
    /// Free key-value pairs.
    pub(crate) labels: BTreeMap<String, String>,
    /// Where the node's key and epoch are kept.
    pub(crate) state_dir: Option<PathBuf>,
    /// How patient failure detection is.
    pub(crate) profile: Option<MeshProfile>,
    /// Of more links than this, those rest that nobody uses.
    pub(crate) links_max: Option<usize>,
    /// The roles that `rolecast node` holds.
    pub(crate) roles: Vec<String>,
}

impl ConfigFile {
    /// Reads a file; paths in it are relative to the directory it lies in.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = read_text(path).map_err(|error| {
            Failure::usage(format!(
                "the configuration file {shown} cannot be read: {error}; name another one with --config, or leave it out"
            ))
        })?;
        let mut file = ConfigFile::parse(&text).map_err(|problem| {
            Failure::usage(format!("in the configuration file {shown}, {problem}"))
        })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let certificates = &mut file.trust.certificates;
        for relative in [
            &mut file.trust.secret_file,
            &mut certificates.ca,
            &mut certificates.cert,
            &mut certificates.key,
            &mut file.state_dir,
        ] {
            *relative = relative.take().map(|path| directory.join(path));
        }
        Ok(file)
    }

    /// Reads the text of a file; an error is the end of a sentence.
    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error| syntax_problem(text, &error))?;
        let mut file = ConfigFile::default();
        for (key, value) in table {
            file.set(&key, value)?;
        }
        Ok(file)
    }

    fn set(&mut self, key: &str, value: toml::Value) -> Result<(), String> {
        match key {
            "listen" => self.listen = Some(typed(key, value, TEXT)?),
            "advertise" => self.advertise = Some(typed(key, value, TEXT)?),
            "seeds" => self.seeds = typed(key, value, TEXTS)?,
            "ca" => self.trust.certificates.ca = Some(typed(key, value, TEXT)?),
            "cert" => self.trust.certificates.cert = Some(typed(key, value, TEXT)?),
            "key" => self.trust.certificates.key = Some(typed(key, value, TEXT)?),
            "secret-file" => self.trust.secret_file = Some(typed(key, value, TEXT)?),
            "site" => self.site = Some(typed(key, value, TEXT)?),
            "host" => self.host = Some(typed(key, value, TEXT)?),
            "service" => self.service = Some(typed(key, value, TEXT)?),
            "instance" => self.instance = Some(typed(key, value, "a number, such as 1")?),
            "labels" => self.labels = typed(key, value, "a table, such as { rack = \"7\" }")?,
            "state-dir" => self.state_dir = Some(typed(key, value, TEXT)?),
            "profile" => self.profile = Some(typed(key, value, "\"lan\", \"wan\" or \"local\"")?),
            "links-max" => match typed(key, value, "a number, such as 64")? {
                0 => return Err("`links-max` should be at least 1".to_owned()),
                links_max => self.links_max = Some(links_max),
            },
            "roles" => self.roles = typed(key, value, TEXTS)?,
            unknown => return Err(unknown_key(unknown)),
        }
        Ok(())
    }
}

fn typed<T: DeserializeOwned>(key: &str, value: toml::Value, wanted: &str) -> Result<T, String> {
    value
        .try_into()
        .map_err(|_| format!("`{key}` should be {wanted}"))
}

fn unknown_key(key: &str) -> String {
    let like_a_flag = key.replace('_', "-");
    match nearest(&like_a_flag, KEYS) {
        Some(meant) => format!("the key `{key}` is unknown; did you mean `{meant}`?"),
        None => format!(
            "the key `{key}` is unknown; the keys are {}",
            KEYS.join(", ")
        ),
    }
}

/// Says in which line a text stops being TOML.
fn syntax_problem(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', ", ");
    match error.span() {
        Some(span) => {
            let before = text.get(..span.start).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            format!("line {line} is not TOML: {message}")
        }
        None => format!("something is not TOML: {message}"),
    }
}

const TEXT: &str = "a text in quotation marks";
const TEXTS: &str = "a list of texts, such as [\"a\", \"b\"]";

/// Every key, for suggestions.
const KEYS: [&str; 16] = [
    "advertise",
    "ca",
    "cert",
    "host",
    "instance",
    "key",
    "labels",
    "links-max",
    "listen",
    "profile",
    "roles",
    "secret-file",
    "seeds",
    "service",
    "site",
    "state-dir",
];

/// Reads a text that is not longer than a configuration can be.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let bytes = File::open(path)?
        .take(CONFIG_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if bytes as u64 > CONFIG_BYTES_MAX {
        let why = format!("it has more than {CONFIG_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

/// A longer file is no configuration.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_known() {
        let text = r#"
            listen = "127.0.0.1:7400"
            advertise = "10.0.0.1:7400"
            seeds = ["10.0.0.2:7400"]
            secret-file = "mesh.secret"
            ca = "ca.pem"
            cert = "node.pem"
            key = "node.key"
            site = "ams"
            host = "rack-7"
            service = "db"
            instance = 2
            labels = { rack = "7" }
            state-dir = "state"
            profile = "wan"
            links-max = 64
            roles = ["db:master"]
        "#;
        let file = ConfigFile::parse(text).unwrap();
        assert_eq!(file.instance, Some(2));
        assert_eq!(file.profile, Some(MeshProfile::Wan));
        assert_eq!(file.links_max, Some(64));
        let written: toml::Table = text.parse().unwrap();
        assert!(KEYS.into_iter().eq(written.keys().map(String::as_str)));
    }

    #[test]
    fn problems_are_named() {
        for (text, part) in [
            (
                "sseds = []",
                "the key `sseds` is unknown; did you mean `seeds`?",
            ),
            ("secret_file = \"x\"", "did you mean `secret-file`?"),
            (
                "secret = \"x\"",
                "the key `secret` is unknown; the keys are advertise,",
            ),
            (
                "seeds = \"10.0.0.1:7400\"",
                "`seeds` should be a list of texts",
            ),
            ("instance = -1", "`instance` should be a number"),
            (
                "profile = \"moon\"",
                "`profile` should be \"lan\", \"wan\" or \"local\"",
            ),
            ("site = \"ams\"\nlisten =", "line 2 is not TOML"),
        ] {
            let problem = ConfigFile::parse(text).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
