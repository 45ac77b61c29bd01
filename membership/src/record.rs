//! What a node says about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use crate::place::Placed;
use crate::{Identity, NodeId};

/// The longest role name, in bytes.
pub const ROLE_NAME_BYTES_MAX: usize = 128;
/// The most roles one node may hold at once.
pub const ROLES_MAX: usize = 4_096;
/// The most labels one node may carry.
pub const LABELS_MAX: usize = 64;
/// The most members that one node names as out of its reach: with more of them, it is the node that is cut off.
pub const UNREACHABLE_MAX: usize = 256;
/// The largest encoded record, in bytes: it has to fit into one frame.
pub const RECORD_BYTES_MAX: usize = 240 * 1024;
/// The longest site, service, host name, label key or label value, in bytes.
pub const LABEL_BYTES_MAX: usize = 256;

/// The name of a role, such as `db:master`.
///
/// At most [`ROLE_NAME_BYTES_MAX`] bytes of UTF-8, without white space, control characters or `*`.
/// The single character `*` is the role that every node holds: [`RoleName::everyone`].
/// A role may be [narrowed](RoleName::narrowed) to those of its holders that are in one [`Place`](crate::Place); such a name has a space in it and comes from nowhere else.
///
/// ```
/// # use rolecast_membership::{RoleName, RoleNameError};
/// let role: RoleName = "db:master".parse()?;
/// assert_eq!(role.to_string(), "db:master");
/// # Ok::<(), RoleNameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RoleName(Arc<str>);

impl RoleName {
    /// Checks a name.
    ///
    /// ```
    /// # use rolecast_membership::{RoleName, RoleNameError};
    /// assert!(RoleName::new("db:master").is_ok());
    /// assert_eq!(RoleName::new("the master"), Err(RoleNameError::BadCharacter { character: ' ' }));
    /// assert_eq!(RoleName::new("user-list:*"), Err(RoleNameError::Star));
    /// ```
    ///
    /// # Errors
    /// [`RoleNameError`] says what is wrong with it; nothing has changed.
    pub fn new(name: &str) -> Result<Self, RoleNameError> {
        if name.is_empty() {
            return Err(RoleNameError::Empty);
        }
        if name.len() > ROLE_NAME_BYTES_MAX {
            return Err(RoleNameError::TooLong { bytes: name.len() });
        }
        match name.chars().find(|c| c.is_whitespace() || c.is_control()) {
            Some(character) => Err(RoleNameError::BadCharacter { character }),
            None if name.contains('*') && name != EVERYONE => Err(RoleNameError::Star),
            None => Ok(RoleName(name.into())),
        }
    }

    /// A name that is known to be one.
    pub(crate) fn unchecked(name: &str) -> Self {
        RoleName(name.into())
    }

    /// The role that every node holds as long as it lives; multicasts to it are broadcasts.
    ///
    /// ```
    /// # use rolecast_membership::RoleName;
    /// assert_eq!(RoleName::everyone().as_str(), "*");
    /// ```
    #[must_use]
    pub fn everyone() -> Self {
        RoleName(EVERYONE.into())
    }

    /// The role of the nodes that take what is sent to their service; narrowed to a service, it is that service's.
    ///
    /// No program can take it up under its name.
    ///
    /// ```
    /// # use rolecast_membership::{Place, RoleName, RoleNameError};
    /// let db = Place { service: Some("db".into()), ..Place::default() };
    /// let role = RoleName::service().narrowed(&db)?;
    /// assert_eq!(role.as_str(), "*service [service=db]");
    /// assert!(RoleName::new(RoleName::service().as_str()).is_err());
    /// # Ok::<(), RoleNameError>(())
    /// ```
    #[must_use]
    pub fn service() -> Self {
        RoleName(SERVICE.into())
    }

    /// The name as text.
    ///
    /// ```
    /// # use rolecast_membership::{RoleName, RoleNameError};
    /// let role = RoleName::new("db:master")?;
    /// assert_eq!(role.as_str().split_once(':'), Some(("db", "master")));
    /// # Ok::<(), RoleNameError>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const EVERYONE: &str = "*";
const SERVICE: &str = "*service";

/// Why a text is no role name.
///
/// ```
/// # use rolecast_membership::{RoleName, RoleNameError};
/// match RoleName::new(&"x".repeat(200)) {
///     Err(RoleNameError::TooLong { bytes }) => assert_eq!(bytes, 200),
///     other => panic!("it is too long: {other:?}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleNameError {
    /// The name has no characters.
    #[error("a role name cannot be empty")]
    Empty,
    /// The name has more than [`ROLE_NAME_BYTES_MAX`] bytes.
    #[error("a role name has at most {ROLE_NAME_BYTES_MAX} bytes, and this one has {bytes}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// White space or a control character is in the name.
    #[error(
        "a role name cannot contain {character:?}: use letters, digits and marks like ':' or '-'"
    )]
    BadCharacter {
        /// The first such character.
        character: char,
    },
    /// A `*` is in the name, which stands for whatever a name may go on with.
    #[error(
        "a role name cannot contain '*': alone it means every node, and at the end of an address every role whose name begins so"
    )]
    Star,
    /// A role was narrowed to a place of which more is said than any node says about itself.
    #[error(
        "site, host and service have at most {LABEL_BYTES_MAX} bytes each, and this one has {bytes}"
    )]
    PlaceTooLong {
        /// The length of the longest, in bytes.
        bytes: usize,
    },
}

impl FromStr for RoleName {
    type Err = RoleNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        RoleName::new(name)
    }
}

impl<'de> Deserialize<'de> for RoleName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <&str>::deserialize(deserializer)?;
        RoleName::parse_any(name).map_err(serde::de::Error::custom)
    }
}

impl AsRef<str> for RoleName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// One holding of a role by one node: the version of the node's record at which it took the role up.
///
/// A node that drops a role and takes it up again has a new tenure, with a new inbox that owes nothing to the old one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Tenure(pub u64);

/// A node's own kind, and which of them it is.
///
/// ```
/// # use rolecast_membership::Service;
/// let second = Service { name: "db".into(), instance: 2 };
/// assert_ne!(second, Service { instance: 1, ..second.clone() });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The kind, such as `db`; empty if the node did not say.
    pub name: String,
    /// Which one of its kind on its host.
    pub instance: u32,
}

/// What one node says about itself; the newest version replaces all older ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which node, in which life, dialled where.
    pub identity: Identity,
    /// Rises with every change; starts at 1, and goes on when a running node gets a new epoch, so that tenures stay distinct.
    pub version: u64,
    /// The place the node is in, such as `ams`; may be empty.
    pub site: String,
    /// The machine it runs on; may be empty.
    pub host: String,
    /// Its own kind.
    pub service: Service,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
    /// The roles it holds, each with the tenure of this holding.
    pub roles: BTreeMap<RoleName, Tenure>,
    /// Of how many messages that were sent to a role before the node took it up it wants to be told, by each sender that keeps some; none, if the role is not named.
    pub replays: BTreeMap<RoleName, u32>,
    /// Since when it is where it is.
    pub placed: Placed,
    /// The members to which it has no link although it tried; what is for them goes over others.
    pub unreachable: BTreeSet<NodeId>,
}

impl Record {
    /// The record of a node that holds nothing yet and says nothing of itself.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Record {
            identity,
            version: 1,
            site: String::new(),
            host: String::new(),
            service: Service::default(),
            labels: BTreeMap::new(),
            roles: BTreeMap::new(),
            replays: BTreeMap::new(),
            placed: Placed::default(),
            unreachable: BTreeSet::new(),
        }
    }

    /// Whether this record replaces `other`: a later life, or a later version of the same life.
    #[must_use]
    pub fn is_newer_than(&self, other: &Record) -> bool {
        (self.identity.epoch, self.version) > (other.identity.epoch, other.version)
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// [`RecordError`] names the first limit that is passed.
    pub fn check(&self) -> Result<(), RecordError> {
        self.check_parts()?;
        match self.encode().len() {
            bytes if bytes > RECORD_BYTES_MAX => Err(RecordError::TooLarge { bytes }),
            _ => Ok(()),
        }
    }

    fn check_parts(&self) -> Result<(), RecordError> {
        if self.roles.keys().any(RoleName::is_narrowed) {
            return Err(RecordError::Narrowed);
        }
        let roles = self.roles.len().max(self.replays.len());
        if roles > ROLES_MAX {
            return Err(RecordError::TooManyRoles { roles });
        }
        if self.labels.len() > LABELS_MAX {
            return Err(RecordError::TooManyLabels {
                labels: self.labels.len(),
            });
        }
        if self.unreachable.len() > UNREACHABLE_MAX {
            return Err(RecordError::TooManyUnreachable {
                nodes: self.unreachable.len(),
            });
        }
        let texts = [&self.site, &self.host, &self.service.name];
        let labels = self.labels.iter().flat_map(|(key, value)| [key, value]);
        match texts
            .into_iter()
            .chain(labels)
            .find(|text| text.len() > LABEL_BYTES_MAX)
        {
            Some(text) => Err(RecordError::TextTooLong { bytes: text.len() }),
            None => Ok(()),
        }
    }

    /// The record as it travels.
    pub(crate) fn encode(&self) -> Bytes {
        postcard::to_stdvec(self)
            .expect("a record can be encoded")
            .into()
    }

    /// Reads the head of an encoded record, which says whose it is and how new.
    pub(crate) fn peek(bytes: &[u8]) -> Option<(Identity, u64)> {
        postcard::take_from_bytes(bytes).ok().map(|(head, _)| head)
    }

    /// Reads an encoded record; `None` if it is malformed, passes a limit or has something behind it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > RECORD_BYTES_MAX {
            return None;
        }
        match postcard::take_from_bytes::<Record>(bytes) {
            Ok((record, [])) => record.check_parts().is_ok().then_some(record),
            _ => None,
        }
    }
}

/// Which limit a record passes.
///
/// ```
/// # use rolecast_membership::{Epoch, Identity, NodeId, Record, RecordError};
/// # let identity = Identity { id: NodeId::from_bytes([1; 32]), epoch: Epoch(1), addr: ([127, 0, 0, 1], 7400).into() };
/// let mut record = Record::new(identity);
/// record.labels.insert("motto".into(), "x".repeat(300));
/// assert_eq!(record.check(), Err(RecordError::TextTooLong { bytes: 300 }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A narrowed role, which a node holds because of where it is.
    #[error("a narrowed role cannot be taken up: take up the role, and say where the node is")]
    Narrowed,
    /// More than [`ROLES_MAX`] roles.
    #[error("a node holds at most {ROLES_MAX} roles at once, and this would be {roles}")]
    TooManyRoles {
        /// How many.
        roles: usize,
    },
    /// More than [`LABELS_MAX`] labels.
    #[error("a node carries at most {LABELS_MAX} labels, and this would be {labels}")]
    TooManyLabels {
        /// How many.
        labels: usize,
    },
    /// More than [`UNREACHABLE_MAX`] members out of reach.
    #[error(
        "a node names at most {UNREACHABLE_MAX} members out of its reach, and these are {nodes}"
    )]
    TooManyUnreachable {
        /// How many.
        nodes: usize,
    },
    /// A site, host, service, label key or label value above [`LABEL_BYTES_MAX`] bytes.
    #[error(
        "site, host, service and labels have at most {LABEL_BYTES_MAX} bytes each, and this one has {bytes}"
    )]
    TextTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The whole record is above [`RECORD_BYTES_MAX`].
    #[error(
        "a node's roles and labels have at most {RECORD_BYTES_MAX} bytes together, and these have {bytes}: use shorter names"
    )]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Epoch;

    fn text() -> impl Strategy<Value = String> {
        proptest::string::string_regex("\\PC{0,12}").expect("a pattern")
    }

    fn identity() -> impl Strategy<Value = Identity> {
        let addr = (any::<std::net::IpAddr>(), any::<u16>());
        (any::<[u8; 32]>(), any::<u64>(), addr).prop_map(|(id, epoch, addr)| Identity {
            id: NodeId::from_bytes(id),
            epoch: Epoch(epoch),
            addr: addr.into(),
        })
    }

    fn record() -> impl Strategy<Value = Record> {
        let role = || {
            let name = proptest::string::string_regex("[a-z:-]{1,12}").expect("a pattern");
            name.prop_map(|name| RoleName::new(&name).expect("a role's name"))
        };
        let roles = proptest::collection::btree_map(role(), any::<u64>().prop_map(Tenure), 0..5);
        let replays = proptest::collection::btree_map(role(), any::<u32>(), 0..5);
        let node = any::<[u8; 32]>().prop_map(NodeId::from_bytes);
        let unreachable = proptest::collection::btree_set(node, 0..3);
        let labels = proptest::collection::btree_map(text(), text(), 0..5);
        let service = (text(), any::<u32>());
        let service = service.prop_map(|(name, instance)| Service { name, instance });
        let parts = (
            identity(),
            any::<u64>(),
            text(),
            text(),
            service,
            labels,
            (roles, replays, any::<[u64; 3]>(), unreachable),
        );
        parts.prop_map(
            |(
                identity,
                version,
                site,
                host,
                service,
                labels,
                (roles, replays, placed, unreachable),
            )| Record {
                identity,
                version,
                site,
                host,
                service,
                labels,
                roles,
                replays,
                placed: Placed {
                    site: placed[0],
                    host: placed[1],
                    service: placed[2],
                },
                unreachable,
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in record(), more in any::<u8>()) {
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes), Some(record.clone()));
            prop_assert_eq!(Record::peek(&bytes), Some((record.identity, record.version)));
            prop_assert_eq!(Record::decode(&[&bytes[..], &[more]].concat()), None);
            prop_assert_eq!(Record::decode(&bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn rubbish_is_no_record_or_is_written_as_it_was_read(
            bytes in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            if let Some(record) = Record::decode(&bytes) {
                prop_assert_eq!(Record::decode(&record.encode()), Some(record));
            }
        }
    }
}
