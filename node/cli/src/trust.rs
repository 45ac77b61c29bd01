//! How a node proves that it belongs to the mesh: with the mesh secret, or with certificates.

use std::path::PathBuf;

use clap::Args;
use rolecast::NodeBuilder;

use crate::failure::Failure;
use crate::secret_source::SecretSource;

/// The files of a node with a certificate of the user's own CA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct CertificateFiles {
    /// Instead of a secret: the CA certificates that nodes of the mesh are signed by (PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "secret_file")]
    pub(crate) ca: Option<PathBuf>,
    /// This node's certificate and its chain (PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "secret_file")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of this node's certificate (PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "secret_file")]
    pub(crate) key: Option<PathBuf>,
}

/// How a node proves that it belongs to the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It knows the mesh secret.
    Secret(SecretSource),
    /// It has a certificate.
    Certificates {
        /// Whom it believes.
        ca: PathBuf,
        /// Who it is.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// What a flag or a file says about trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrustFiles {
    /// The file with the mesh secret.
    pub(crate) secret_file: Option<PathBuf>,
    /// The files of a certificate.
    pub(crate) certificates: CertificateFiles,
}

impl Trust {
    /// Chooses: the flags over the environment over the configuration file.
    ///
    /// `variable` looks up an environment variable.
    pub(crate) fn choose(
        flags: TrustFiles,
        variable: impl Fn(&str) -> Option<String>,
        configured: TrustFiles,
    ) -> Result<Self, Failure> {
        if flags.certificates.is_any() {
            return flags.certificates.complete("flags");
        }
        let from_flag_or_environment =
            SecretSource::from_flag_or_environment(flags.secret_file, variable)?;
        if let Some(source) = from_flag_or_environment {
            return Ok(Trust::Secret(source));
        }
        match (configured.secret_file, configured.certificates.is_any()) {
            (Some(_), true) => Err(Failure::usage(
                "the configuration file names a secret and a certificate: a node has one of them",
            )),
            (None, true) => configured.certificates.complete("configuration file"),
            (Some(file), false) => Ok(Trust::Secret(SecretSource::File(file))),
            (None, false) => Err(SecretSource::missing()),
        }
    }

    /// Gives the builder what it needs; also says what is unwise about it.
    pub(crate) fn apply(
        &self,
        builder: NodeBuilder,
    ) -> Result<(NodeBuilder, Option<String>), Failure> {
        match self {
            Trust::Secret(source) => {
                let found = source.read()?;
                Ok((builder.secret(found.secret), found.warning))
            }
            Trust::Certificates { ca, cert, key } => {
                Ok((builder.certificate_files(ca, cert, key), None))
            }
        }
    }

    /// The flags with which another node of the same mesh is started, with a blank before them.
    pub(crate) fn flags_of_others(&self) -> String {
        match self {
            Trust::Secret(SecretSource::File(path)) => format!(" --secret-file {}", path.display()),
            Trust::Secret(SecretSource::Variable(_)) => String::new(),
            Trust::Certificates { ca, .. } => {
                format!(" --ca {} --cert FILE --key FILE", ca.display())
            }
        }
    }
}

impl CertificateFiles {
    fn is_any(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }

    fn complete(self, said_in: &str) -> Result<Trust, Failure> {
        match (self.ca, self.cert, self.key) {
            (Some(ca), Some(cert), Some(key)) => Ok(Trust::Certificates { ca, cert, key }),
            _ => Err(Failure::usage(format!(
                "a certificate needs three files, and the {said_in} do not name them all: ca, cert and key"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(path: &str) -> TrustFiles {
        TrustFiles {
            secret_file: Some(path.into()),
            ..TrustFiles::default()
        }
    }

    fn certificates(names: [Option<&str>; 3]) -> TrustFiles {
        let [ca, cert, key] = names.map(|name| name.map(PathBuf::from));
        TrustFiles {
            certificates: CertificateFiles { ca, cert, key },
            ..TrustFiles::default()
        }
    }

    fn choose(flags: TrustFiles, configured: TrustFiles) -> Result<Trust, String> {
        Trust::choose(flags, |_| None, configured).map_err(|failure| failure.to_string())
    }

    #[test]
    fn flags_go_over_the_file() {
        let complete = || certificates([Some("ca"), Some("cert"), Some("key")]);
        let by_secret = |path: &str| Ok(Trust::Secret(SecretSource::File(path.into())));
        let by_certificate = Ok(Trust::Certificates {
            ca: "ca".into(),
            cert: "cert".into(),
            key: "key".into(),
        });
        let none = TrustFiles::default;
        assert_eq!(choose(complete(), secret("file")), by_certificate);
        assert_eq!(choose(none(), complete()), by_certificate);
        assert_eq!(choose(secret("flag"), complete()), by_secret("flag"));
        assert_eq!(choose(none(), secret("file")), by_secret("file"));
    }

    #[test]
    fn halves_and_doubles_are_refused() {
        let half = || certificates([Some("ca"), None, Some("key")]);
        let refused = choose(half(), TrustFiles::default()).unwrap_err();
        assert!(refused.contains("ca, cert and key"), "{refused}");
        let both = TrustFiles {
            certificates: half().certificates,
            ..secret("file")
        };
        let refused = choose(TrustFiles::default(), both).unwrap_err();
        assert!(refused.contains("one of them"), "{refused}");
    }
}
