//! The mesh secret: one string that makes a node a member.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, DecodeKind};

use crate::entropy;

/// The secret that all nodes of a mesh share; who has it can join, and read and send everything.
///
/// Its text is `rolecast1-` and 52 characters of base32 (lower case, no padding).
/// `Display` gives this text; `Debug` does not reveal it.
///
/// ```
/// use rolecast_transport::MeshSecret;
///
/// let secret = MeshSecret::generate();
/// assert_eq!(secret.to_string().parse::<MeshSecret>().unwrap(), secret);
/// assert_eq!(format!("{secret:?}"), "MeshSecret(hidden)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct MeshSecret([u8; SECRET_BYTES]);

/// Why a text is no mesh secret.
///
/// ```
/// # use rolecast_transport::{MeshSecret, ParseSecretError};
/// assert_eq!("hunter2".parse::<MeshSecret>(), Err(ParseSecretError::Prefix));
/// let error = "rolecast1-cutoff".parse::<MeshSecret>().unwrap_err();
/// assert!(error.to_string().contains("was it cut off?"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseSecretError {
    /// The text is empty.
    #[error("the mesh secret is empty; make one with `rolecast secret new`")]
    Empty,
    /// The text does not start as secrets do.
    #[error("a mesh secret starts with `rolecast1-`; make one with `rolecast secret new`")]
    Prefix,
    /// Characters are missing or left over.
    #[error(
        "a mesh secret has 52 characters after `rolecast1-`, this one has {0}; was it cut off?"
    )]
    Length(usize),
    /// A character that base32 does not have.
    #[error("character {0} of the mesh secret is none of a-z and 2-7; was it mistyped?")]
    Character(usize),
    /// The last character has bits set that stand for nothing.
    #[error(
        "the last character of the mesh secret is not one that a secret ends with; was it mistyped?"
    )]
    LastCharacter,
}

impl MeshSecret {
    /// A secret from the operating system's entropy.
    ///
    /// ```
    /// # use rolecast_transport::MeshSecret;
    /// // Made once, and given to every node of the mesh.
    /// let secret = MeshSecret::generate();
    /// assert!(secret.to_string().starts_with("rolecast1-"));
    /// assert_ne!(secret, MeshSecret::generate());
    /// ```
    #[must_use]
    pub fn generate() -> Self {
        MeshSecret(entropy::bytes())
    }

    /// A secret of these bytes, for tests and simulations that must be repeatable.
    ///
    /// ```
    /// # use rolecast_transport::MeshSecret;
    /// assert_eq!(MeshSecret::from_bytes([7; 32]), MeshSecret::from_bytes([7; 32]));
    /// ```
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        MeshSecret(bytes)
    }

    /// The bytes that keys are derived from.
    pub(crate) fn as_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

impl fmt::Display for MeshSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for MeshSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshSecret(hidden)")
    }
}

impl FromStr for MeshSecret {
    type Err = ParseSecretError;

    /// Parses the text; white space around it and upper case are forgiven.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_ascii_lowercase();
        if text.is_empty() {
            return Err(ParseSecretError::Empty);
        }
        let digits = text.strip_prefix(PREFIX).ok_or(ParseSecretError::Prefix)?;
        let count = digits.chars().count();
        if count != DIGITS {
            return Err(ParseSecretError::Length(count));
        }
        let bytes = BASE32_NOPAD
            .decode(digits.to_ascii_uppercase().as_bytes())
            .map_err(|error| match error.kind {
                DecodeKind::Symbol => {
                    ParseSecretError::Character(PREFIX.len() + error.position + 1)
                }
                _ => ParseSecretError::LastCharacter,
            })?;
        let bytes = bytes
            .try_into()
            .map_err(|_| ParseSecretError::Length(count))?;
        Ok(MeshSecret(bytes))
    }
}

/// What every secret starts with; the digit is the version of the derivation.
const PREFIX: &str = "rolecast1-";
/// How many bytes a secret has.
const SECRET_BYTES: usize = 32;
/// How many characters of base32 that is.
const DIGITS: usize = 52;

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn secrets_survive_the_way_through_text() {
        let secret = MeshSecret::from_bytes(std::array::from_fn(|index| index as u8));
        let text = secret.to_string();
        assert_eq!(
            text,
            "rolecast1-aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq"
        );
        assert_eq!(text.parse(), Ok(secret.clone()));
        assert_eq!(format!(" {}\n", text.to_uppercase()).parse(), Ok(secret));
    }

    #[test]
    fn what_is_no_secret_is_told_apart() {
        let good = "rolecast1-aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";
        for (text, error) in [
            ("", ParseSecretError::Empty),
            (" \n", ParseSecretError::Empty),
            ("hunter2", ParseSecretError::Prefix),
            ("rolecast2-aaaq", ParseSecretError::Prefix),
            ("rolecast1-", ParseSecretError::Length(0)),
            (&good[..40], ParseSecretError::Length(30)),
            (&format!("{good}a"), ParseSecretError::Length(53)),
            (&good.replace("eay", "e0y"), ParseSecretError::Character(16)),
            (&good.replace("eay", "eéy"), ParseSecretError::Character(16)),
            (
                &good.replace("dypq", "dypr"),
                ParseSecretError::LastCharacter,
            ),
        ] {
            assert_eq!(text.parse::<MeshSecret>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn generated_secrets_differ() {
        assert_ne!(MeshSecret::generate(), MeshSecret::generate());
    }

    proptest! {
        #[test]
        fn whatever_is_given_is_a_secret_or_is_refused(text in "(rolecast1-)?\\PC{0,60}") {
            if let Ok(secret) = text.parse::<MeshSecret>() {
                prop_assert_eq!(secret.to_string(), text.trim().to_ascii_lowercase());
            }
        }
    }
}
