//! What can go wrong with a connection, and how it is told: to the driver, to the log, to the peer.

use quinn::{ConnectionError, ReadError, TransportErrorCode, VarInt, WriteError};
use rolecast_membership::NodeId;

use crate::event::{DialError, LinkEnd, RefusalReason};

/// Why a connection did not become, or is no longer, a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// QUIC or TLS ended it, here or there.
    Connection(ConnectionError),
    /// The peer broke the protocol above QUIC.
    Violation(String),
    /// It took too long.
    TimedOut,
    /// Another node than the expected one answered.
    NotExpected(NodeId),
    /// The peer has this node's own key; whether it also is this very process.
    SameKey { same_process: bool },
    /// The address cannot be dialled.
    Unreachable(String),
    /// This transport is closing.
    Closing,
}

/// What this crate's own reasons for closing a connection are called on the wire; what drivers give is below them.
pub(crate) mod code {
    use quinn::VarInt;

    /// There is another connection to the same node.
    pub(crate) const DUPLICATE: VarInt = VarInt::from_u32(0x1_0000);
    /// Another connection to the same node took the place of this one.
    pub(crate) const REPLACED: VarInt = VarInt::from_u32(0x1_0001);
    /// The dialler looked for another node.
    pub(crate) const NOT_EXPECTED: VarInt = VarInt::from_u32(0x1_0002);
    /// Both ends have the same key, in two processes.
    pub(crate) const SAME_KEY: VarInt = VarInt::from_u32(0x1_0003);
    /// Both ends are the same process.
    pub(crate) const MYSELF: VarInt = VarInt::from_u32(0x1_0007);
    /// The peer broke the protocol.
    pub(crate) const VIOLATION: VarInt = VarInt::from_u32(0x1_0004);
    /// The peer did not get ready in time.
    pub(crate) const TIMED_OUT: VarInt = VarInt::from_u32(0x1_0005);
    /// The whole transport is closing.
    pub(crate) const CLOSING: VarInt = VarInt::from_u32(0x1_0006);
}

impl Problem {
    /// The code and the words that tell the peer.
    pub(crate) fn to_peer(&self) -> (VarInt, String) {
        match self {
            Problem::Violation(what) => (code::VIOLATION, what.clone()),
            Problem::NotExpected(_) => (code::NOT_EXPECTED, "another node was expected".into()),
            Problem::SameKey { same_process } => {
                let code = if *same_process {
                    code::MYSELF
                } else {
                    code::SAME_KEY
                };
                (code, "both ends have the same key".into())
            }
            Problem::Closing => (code::CLOSING, "the node is closing down".into()),
            Problem::TimedOut | Problem::Connection(_) | Problem::Unreachable(_) => {
                (code::TIMED_OUT, "not ready in time".into())
            }
        }
    }

    /// What the peer found out and told in its close becomes this end's own finding.
    pub(crate) fn seen_from_here(self) -> Self {
        match self.closed_with() {
            Some(code::SAME_KEY) => Problem::SameKey {
                same_process: false,
            },
            Some(code::MYSELF) => Problem::SameKey { same_process: true },
            _ => self,
        }
    }

    /// Whether this is how a connection ends that loses to another one between the same nodes.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self.closed_with(), Some(code::DUPLICATE | code::REPLACED))
    }

    /// What the dialler's driver hears.
    pub(crate) fn as_dial_error(&self) -> DialError {
        match self {
            Problem::Violation(what) => DialError::Violation(what.clone()),
            Problem::TimedOut => DialError::TimedOut,
            Problem::NotExpected(found) => DialError::NotExpected { found: *found },
            Problem::SameKey { same_process: true } => DialError::Myself,
            Problem::SameKey {
                same_process: false,
            } => DialError::DuplicateIdentity,
            Problem::Unreachable(why) => DialError::Unreachable(why.clone()),
            Problem::Closing => DialError::Closed("this node is closing down".to_owned()),
            Problem::Connection(error) => match handshake_failure(error) {
                Some(Failure::Certificate { foreign: true, .. }) => DialError::AnotherMesh,
                Some(Failure::Certificate {
                    here: true, why, ..
                }) => DialError::CertificateRefused(why),
                Some(Failure::Certificate { why, .. }) => DialError::RefusedByPeer(why),
                Some(Failure::Version(why)) => DialError::Version(why),
                None if *error == ConnectionError::TimedOut => DialError::TimedOut,
                None => DialError::Closed(clean(&error.to_string())),
            },
        }
    }

    /// What the driver at the accepting end hears; `None` if the dialler merely went away.
    pub(crate) fn as_refusal(&self) -> Option<RefusalReason> {
        match self {
            Problem::Violation(what) => Some(RefusalReason::Violation(what.clone())),
            Problem::TimedOut | Problem::Connection(ConnectionError::TimedOut) => {
                Some(RefusalReason::TimedOut)
            }
            Problem::SameKey {
                same_process: false,
            } => Some(RefusalReason::DuplicateIdentity),
            Problem::SameKey { same_process: true }
            | Problem::NotExpected(_)
            | Problem::Unreachable(_)
            | Problem::Closing => None,
            Problem::Connection(error) => match handshake_failure(error) {
                Some(Failure::Certificate {
                    here: true, why, ..
                }) => Some(RefusalReason::Certificate(why)),
                Some(Failure::Certificate { why, .. }) => Some(RefusalReason::RefusedByPeer(why)),
                Some(Failure::Version(why)) => Some(RefusalReason::Version(why)),
                None => match error {
                    ConnectionError::TransportError(error) => {
                        Some(RefusalReason::Violation(clean(&error.to_string())))
                    }
                    _ => None,
                },
            },
        }
    }

    /// What the driver hears when this ends a link.
    pub(crate) fn as_link_end(&self) -> LinkEnd {
        let error = match self {
            Problem::Violation(what) => return LinkEnd::Violation(what.clone()),
            Problem::Connection(error) => error,
            other => return LinkEnd::Lost(format!("{other:?}")),
        };
        match error {
            ConnectionError::ApplicationClosed(_) if self.is_duplicate() => LinkEnd::Replaced,
            ConnectionError::ApplicationClosed(close) => LinkEnd::ClosedByPeer {
                code: close.error_code.into_inner(),
                reason: clean(&String::from_utf8_lossy(&close.reason)),
            },
            ConnectionError::LocallyClosed => LinkEnd::ClosedHere,
            ConnectionError::TimedOut => LinkEnd::TimedOut,
            ConnectionError::Reset => LinkEnd::Reset,
            ConnectionError::TransportError(error) => LinkEnd::Violation(clean(&error.to_string())),
            other => LinkEnd::Lost(clean(&other.to_string())),
        }
    }

    /// The code with which the peer closed the connection.
    fn closed_with(&self) -> Option<VarInt> {
        match self {
            Problem::Connection(ConnectionError::ApplicationClosed(close)) => {
                Some(close.error_code)
            }
            _ => None,
        }
    }
}

impl From<ConnectionError> for Problem {
    fn from(error: ConnectionError) -> Self {
        Problem::Connection(error)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => Problem::Connection(error),
            other => Problem::Violation(format!("a stream ended: {other}")),
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => Problem::Connection(error),
            other => Problem::Violation(format!("a stream was refused: {other}")),
        }
    }
}

/// How TLS failed.
enum Failure {
    /// One end refused the other's certificate.
    Certificate {
        /// Whether it was this end.
        here: bool,
        /// Whether it was for the authority that signed it.
        foreign: bool,
        /// What it said.
        why: String,
    },
    /// There is no protocol version that both speak.
    Version(String),
}

fn handshake_failure(error: &ConnectionError) -> Option<Failure> {
    let (here, code, words) = match error {
        ConnectionError::VersionMismatch => {
            return Some(Failure::Version("no QUIC version in common".to_owned()));
        }
        ConnectionError::TransportError(error) => (true, error.code, error.reason.clone()),
        ConnectionError::ConnectionClosed(close) => (
            false,
            close.error_code,
            String::from_utf8_lossy(&close.reason).into_owned(),
        ),
        _ => return None,
    };
    let alert = tls_alert(code)?;
    if alert == alert::NO_APPLICATION_PROTOCOL {
        return Some(Failure::Version("no protocol version in common".to_owned()));
    }
    let why = match alert {
        alert::UNKNOWN_CA => "it is of another mesh (signed by another authority)",
        alert::CERTIFICATE_EXPIRED => "it has expired or is not valid yet",
        alert::CERTIFICATE_REQUIRED => "there is none",
        alert::UNSUPPORTED_CERTIFICATE => "it is not made for this purpose",
        _ => "TLS failed",
    };
    Some(Failure::Certificate {
        here,
        foreign: alert == alert::UNKNOWN_CA,
        why: format!("{why}: {}", clean(&words)),
    })
}

/// The TLS alert in a QUIC error code (RFC 9001, section 4.8).
fn tls_alert(code: TransportErrorCode) -> Option<u8> {
    let code = u64::from(code).checked_sub(0x100)?;
    u8::try_from(code).ok()
}

/// The TLS alerts that are told apart (RFC 8446, section 6.2).
mod alert {
    pub(super) const UNSUPPORTED_CERTIFICATE: u8 = 43;
    pub(super) const CERTIFICATE_EXPIRED: u8 = 45;
    pub(super) const UNKNOWN_CA: u8 = 48;
    pub(super) const CERTIFICATE_REQUIRED: u8 = 116;
    pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// A peer's words, made fit for one line of a log.
pub(crate) fn clean(words: &str) -> String {
    words
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(WORDS_MAX)
        .collect()
}

/// Characters of a peer's words that are kept.
const WORDS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit_on_one_line() {
        assert_eq!(clean("a\nb\u{1b}[31mc"), "a b [31mc");
        assert_eq!(clean(&"é".repeat(1000)).chars().count(), WORDS_MAX);
    }
}
