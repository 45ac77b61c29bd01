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
    /// The source that the flag or the environment names, if one does.
    ///
    /// `variable` looks up an environment variable; an empty one counts as none.
    pub(crate) fn from_flag_or_environment(
        flag: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Failure> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        match (flag, set(SECRET_FILE_VARIABLE), set(SECRET_VARIABLE)) {
            (Some(file), ..) => Ok(Some(SecretSource::File(file))),
            (None, Some(_), Some(_)) => Err(Failure::usage(format!(
                "both {SECRET_FILE_VARIABLE} and {SECRET_VARIABLE} are set: unset one of them"
            ))),
            (None, Some(file), None) => Ok(Some(SecretSource::File(file.into()))),
            (None, None, Some(text)) => Ok(Some(SecretSource::Variable(text))),
            (None, None, None) => Ok(None),
        }
    }

    /// What is said when nothing names a secret.
    pub(crate) fn missing() -> Failure {
        Failure::usage(format!(
            "the mesh secret is missing: pass --secret-file FILE or set {SECRET_FILE_VARIABLE} (`rolecast secret new --out FILE` makes one for a new mesh)"
        ))
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
    ) -> Result<Option<SecretSource>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        SecretSource::from_flag_or_environment(flag.map(PathBuf::from), variable)
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_flag_goes_over_the_environment() {
        let file = |path: &str| Ok(Some(SecretSource::File(path.into())));
        let env = [(SECRET_FILE_VARIABLE, "env")];
        assert_eq!(choose(Some("flag"), &env), file("flag"));
        assert_eq!(choose(None, &env), file("env"));
        assert_eq!(choose(None, &[(SECRET_FILE_VARIABLE, "")]), Ok(None));
        assert_eq!(
            choose(None, &[(SECRET_VARIABLE, "text")]),
            Ok(Some(SecretSource::Variable("text".into())))
        );
    }

    #[test]
    fn two_variables_are_one_too_many() {
        let both = [(SECRET_FILE_VARIABLE, "a"), (SECRET_VARIABLE, "b")];
        assert!(choose(None, &both).unwrap_err().contains("unset one"));
    }
}
