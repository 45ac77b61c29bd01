//! Where the mesh secret comes from.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rolecast::MeshSecret;

use crate::failure::Failure;

/// The environment variable that names the file with the secret.
pub(crate) const SECRET_FILE_VARIABLE: &str = "ROLECAST_SECRET_FILE";
/// The environment variable that is the secret itself, for where files are inconvenient.
pub(crate) const SECRET_VARIABLE: &str = "ROLECAST_SECRET";

/// Where the mesh secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// A file.
    File(PathBuf),
    /// The text of [`SECRET_VARIABLE`].
    Variable(String),
}

/// A secret, and what its owner should hear about it.
#[derive(Debug)]
pub(crate) struct FoundSecret {
    /// The secret.
    pub(crate) secret: MeshSecret,
    /// One sentence, if something about its keeping is unwise.
    pub(crate) warning: Option<String>,
}

impl SecretSource {
    /// Chooses the source: the flag over the environment over the configuration file.
    ///
    /// `variable` looks up an environment variable; an empty one counts as none.
    pub(crate) fn choose(
        flag: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<String>,
        configured: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        match (
            flag,
            set(SECRET_FILE_VARIABLE),
            set(SECRET_VARIABLE),
            configured,
        ) {
            (Some(file), ..) => Ok(SecretSource::File(file)),
            (None, Some(_), Some(_), _) => Err(Failure::usage(format!(
                "both {SECRET_FILE_VARIABLE} and {SECRET_VARIABLE} are set: unset one of them"
            ))),
            (None, Some(file), None, _) => Ok(SecretSource::File(file.into())),
            (None, None, Some(text), _) => Ok(SecretSource::Variable(text)),
            (None, None, None, Some(file)) => Ok(SecretSource::File(file)),
            (None, None, None, None) => Err(Failure::usage(format!(
                "the mesh secret is missing: pass --secret-file FILE or set {SECRET_FILE_VARIABLE} (`rolecast secret new --out FILE` makes one for a new mesh)"
            ))),
        }
    }

    /// Reads and checks the secret.
    pub(crate) fn read(&self) -> Result<FoundSecret, Failure> {
        match self {
            SecretSource::File(path) => read_file(path),
            SecretSource::Variable(text) => match text.parse() {
                Ok(secret) => Ok(FoundSecret {
                    secret,
                    warning: None,
                }),
                Err(error) => Err(Failure::usage(format!(
                    "{SECRET_VARIABLE} holds no mesh secret: {error}"
                ))),
            },
        }
    }
}

fn read_file(path: &Path) -> Result<FoundSecret, Failure> {
    let shown = path.display();
    let (text, mode) = read_text(path).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => format!("; `rolecast secret new --out {shown}` makes one"),
            io::ErrorKind::PermissionDenied => "; run as the user that owns it".to_owned(),
            _ => String::new(),
        };
        Failure::usage(format!(
            "the secret file {shown} cannot be read: {error}{hint}"
        ))
    })?;
    if text.trim().is_empty() {
        return Err(Failure::usage(format!(
            "the secret file {shown} is empty; copy the mesh's secret into it, or make a new one with `rolecast secret new`"
        )));
    }
    let secret = text.parse().map_err(|error| {
        Failure::usage(format!(
            "the secret file {shown} holds no mesh secret: {error}"
        ))
    })?;
    let warning = (mode & OTHERS != 0).then(|| {
        format!(
            "every user of this machine can read the secret file {shown}; run `chmod 600 {shown}`"
        )
    });
    Ok(FoundSecret { secret, warning })
}

/// The file's text, as far as a secret can be long, and its permissions.
fn read_text(path: &Path) -> io::Result<(String, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(LONGEST_BYTES).read_to_end(&mut bytes)?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), mode))
}

/// Permissions of users who are neither the owner nor in the owner's group.
const OTHERS: u32 = 0o007;
/// A file that is longer than this is no secret, and is not read to its end.
const LONGEST_BYTES: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(
        flag: Option<&str>,
        variables: &[(&str, &str)],
        configured: Option<&str>,
    ) -> Result<SecretSource, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        SecretSource::choose(
            flag.map(PathBuf::from),
            variable,
            configured.map(PathBuf::from),
        )
        .map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_flag_goes_over_the_environment_over_the_file() {
        let file = |path: &str| Ok(SecretSource::File(path.into()));
        let env = [(SECRET_FILE_VARIABLE, "env")];
        assert_eq!(choose(Some("flag"), &env, Some("config")), file("flag"));
        assert_eq!(choose(None, &env, Some("config")), file("env"));
        assert_eq!(choose(None, &[], Some("config")), file("config"));
        let empty = [(SECRET_FILE_VARIABLE, "")];
        assert_eq!(choose(None, &empty, Some("config")), file("config"));
        let text = [(SECRET_VARIABLE, "text")];
        assert_eq!(
            choose(None, &text, Some("config")),
            Ok(SecretSource::Variable("text".into()))
        );
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        let both = [(SECRET_FILE_VARIABLE, "a"), (SECRET_VARIABLE, "b")];
        assert!(choose(None, &both, None).unwrap_err().contains("unset one"));
        assert!(
            choose(None, &[], None)
                .unwrap_err()
                .contains("--secret-file")
        );
    }
}
