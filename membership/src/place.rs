//! Which of a role's holders are meant: those in one place.
//!
//! A *narrowed* role, such as `news [site=ams]`, is a role of its own, which nobody takes up: whoever holds `news` and says that it is in `ams` holds it too, from the version of its record on at which both became true.
//! So whatever is promised of a role is promised of a narrowed one, and a node that changes its site drops some of them and takes up others.
//! Its name has a space in it, so that no program can take it for a role of its own.

use std::fmt::Write as _;

use crate::record::{LABEL_BYTES_MAX, RoleName, RoleNameError};
use crate::{NodeId, Record, Tenure};

/// A place, by whatever of it is named: what is not named may be anything.
///
/// ```
/// # use rolecast_membership::{Place, RoleName};
/// let ams = Place { site: Some("ams".into()), ..Place::default() };
/// let news: RoleName = "news".parse()?;
/// let there = news.narrowed(&ams)?;
/// assert_eq!(there.as_str(), "news [site=ams]");
/// assert_eq!((there.base(), there.place()), (news, ams));
/// # Ok::<(), rolecast_membership::RoleNameError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// This very node.
    pub node: Option<NodeId>,
    /// Nodes in this site.
    pub site: Option<String>,
    /// Nodes on this host.
    pub host: Option<String>,
    /// Nodes of this service.
    pub service: Option<String>,
    /// Nodes that are this one of their kind on their host.
    pub instance: Option<u32>,
}

/// The versions of a record at which its node was last put somewhere else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Placed {
    /// Since when it is in its site.
    pub site: u64,
    /// Since when it is on its host.
    pub host: u64,
    /// Since when it is what it is of its service.
    pub service: u64,
}

impl Place {
    /// Whether every node is there.
    #[must_use]
    pub fn is_anywhere(&self) -> bool {
        *self == Place::default()
    }

    /// Whether a node that says this about itself is there.
    ///
    /// ```
    /// # use rolecast_membership::{Epoch, Identity, NodeId, Place, Record};
    /// # let identity = Identity { id: NodeId::from_bytes([1; 32]), epoch: Epoch(1), addr: ([127, 0, 0, 1], 7400).into() };
    /// let mut record = Record::new(identity);
    /// record.site = "ams".into();
    /// let site = |site: &str| Place { site: Some(site.into()), ..Place::default() };
    /// assert!(site("ams").holds(&record) && !site("fra").holds(&record));
    /// ```
    #[must_use]
    pub fn holds(&self, record: &Record) -> bool {
        fn allows<T: PartialEq + ?Sized>(wanted: Option<&T>, is: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        allows(self.node.as_ref(), &record.identity.id)
            && allows(self.site.as_deref(), &record.site)
            && allows(self.host.as_deref(), &record.host)
            && allows(self.service.as_deref(), &record.service.name)
            && allows(self.instance.as_ref(), &record.service.instance)
    }

    /// A node's holding of the narrowed role, if it is there and holds the role so.
    #[must_use]
    pub fn tenure(&self, record: &Record, held: Tenure) -> Option<Tenure> {
        let Placed {
            site,
            host,
            service,
        } = record.placed;
        let since = [
            self.site.as_ref().map(|_| site),
            self.host.as_ref().map(|_| host),
            self.service.as_ref().map(|_| service),
            self.instance.map(|_| service),
        ];
        let since = since.into_iter().flatten().max().unwrap_or(0);
        self.holds(record).then(|| held.max(Tenure(since)))
    }

    /// What both name, what only one of them names, or what this one names where they differ.
    #[must_use]
    pub fn over(self, other: Place) -> Place {
        Place {
            node: self.node.or(other.node),
            site: self.site.or(other.site),
            host: self.host.or(other.host),
            service: self.service.or(other.service),
            instance: self.instance.or(other.instance),
        }
    }

    fn check(&self) -> Result<(), RoleNameError> {
        let texts = [&self.site, &self.host, &self.service];
        let longest = texts.into_iter().flatten().map(String::len).max();
        match longest {
            Some(bytes) if bytes > LABEL_BYTES_MAX => Err(RoleNameError::PlaceTooLong { bytes }),
            _ => Ok(()),
        }
    }

    /// The part of a narrowed name behind the space.
    fn write(&self) -> String {
        let node = self.node.map(|node| node.to_hex());
        let instance = self.instance.map(|instance| instance.to_string());
        let named = [
            (KEYS[0], node.as_deref()),
            (KEYS[1], self.site.as_deref()),
            (KEYS[2], self.host.as_deref()),
            (KEYS[3], self.service.as_deref()),
            (KEYS[4], instance.as_deref()),
        ];
        let named = named
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", escape(value?))));
        format!("[{}]", named.collect::<Vec<_>>().join(SEPARATOR))
    }

    /// Reads what was written so; `None` if this is nothing of that kind.
    fn read(text: &str) -> Option<Self> {
        let mut place = Place::default();
        let named = text.strip_prefix('[')?.strip_suffix(']')?;
        for part in named.split(SEPARATOR) {
            let (key, value) = part.split_once('=')?;
            let value = unescape(value)?;
            match KEYS.iter().position(|known| *known == key)? {
                0 => place.node = Some(value.parse().ok()?),
                1 => place.site = Some(value),
                2 => place.host = Some(value),
                3 => place.service = Some(value),
                _ => place.instance = Some(value.parse().ok()?),
            }
        }
        // Of each place there is one name.
        (place.write() == text && place.check().is_ok()).then_some(place)
    }
}

impl RoleName {
    /// The role that whoever holds this one in a place holds as well.
    ///
    /// Of a narrowed role, the place narrows further; what both name counts as it is named here.
    ///
    /// ```
    /// # use rolecast_membership::{Place, RoleName, RoleNameError};
    /// let ams = Place { site: Some("ams".into()), ..Place::default() };
    /// let news = RoleName::new("news")?.narrowed(&ams)?;
    /// assert_eq!(news.to_string(), "news [site=ams]");
    /// # Ok::<(), RoleNameError>(())
    /// ```
    ///
    /// # Errors
    /// [`RoleNameError::PlaceTooLong`]: no node says so much about itself.
    pub fn narrowed(&self, place: &Place) -> Result<RoleName, RoleNameError> {
        place.check()?;
        let place = place.clone().over(self.place());
        let base = self.base();
        Ok(match place.is_anywhere() {
            true => base,
            false => RoleName::unchecked(&format!("{base} {}", place.write())),
        })
    }

    /// What a message is addressed to: a role, or by a pattern that ends with `*`, every role whose name begins as it does.
    ///
    /// A pattern is a role that nobody takes up and everybody holds who holds one of those roles.
    ///
    /// ```
    /// # use rolecast_membership::{RoleName, RoleNameError};
    /// let lists = RoleName::address("user-list:*")?;
    /// let listener = RoleName::new("user-list:listener")?;
    /// assert!(lists.is_pattern() && lists.matches(&listener));
    /// assert_eq!(RoleName::address("*")?, RoleName::everyone());
    /// assert_eq!(RoleName::address("*:listener"), Err(RoleNameError::Star));
    /// # Ok::<(), RoleNameError>(())
    /// ```
    ///
    /// # Errors
    /// [`RoleNameError`] says what is wrong with it.
    pub fn address(address: &str) -> Result<RoleName, RoleNameError> {
        match address.strip_suffix('*') {
            Some(prefix) if !prefix.is_empty() => {
                RoleName::new(prefix)?;
                Ok(RoleName::unchecked(address))
            }
            _ => RoleName::new(address),
        }
    }

    /// Whether it stands for every role whose name begins as it does.
    ///
    /// ```
    /// # use rolecast_membership::{RoleName, RoleNameError};
    /// assert!(RoleName::address("user-list:*")?.is_pattern());
    /// assert!(!RoleName::everyone().is_pattern());
    /// # Ok::<(), RoleNameError>(())
    /// ```
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.prefix().is_some()
    }

    /// What the names begin with that a pattern stands for.
    ///
    /// ```
    /// # use rolecast_membership::{RoleName, RoleNameError};
    /// assert_eq!(RoleName::address("user-list:*")?.prefix(), Some("user-list:"));
    /// assert_eq!(RoleName::new("user-list:listener")?.prefix(), None);
    /// # Ok::<(), RoleNameError>(())
    /// ```
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        let name = self.as_str();
        let name = name.split_once(' ').map_or(name, |(base, _)| base);
        name.strip_suffix('*').filter(|prefix| !prefix.is_empty())
    }

    /// Whether this is a pattern that stands for that role.
    ///
    /// ```
    /// # use rolecast_membership::{RoleName, RoleNameError};
    /// let lists = RoleName::address("user-list:*")?;
    /// assert!(lists.matches(&RoleName::new("user-list:listener")?));
    /// assert!(!lists.matches(&RoleName::new("db:master")?));
    /// # Ok::<(), RoleNameError>(())
    /// ```
    #[must_use]
    pub fn matches(&self, role: &RoleName) -> bool {
        let prefix = self.prefix();
        prefix.is_some_and(|prefix| role.as_str().starts_with(prefix) && !role.is_pattern())
    }

    /// Whether it is narrowed to a place.
    ///
    /// ```
    /// # use rolecast_membership::{Place, RoleName, RoleNameError};
    /// let ams = Place { site: Some("ams".into()), ..Place::default() };
    /// let news = RoleName::new("news")?;
    /// assert!(news.narrowed(&ams)?.is_narrowed() && !news.is_narrowed());
    /// # Ok::<(), RoleNameError>(())
    /// ```
    #[must_use]
    pub fn is_narrowed(&self) -> bool {
        self.as_str().contains(' ')
    }

    /// The role that a node takes up to hold this one in its place.
    ///
    /// ```
    /// # use rolecast_membership::{Place, RoleName, RoleNameError};
    /// let ams = Place { site: Some("ams".into()), ..Place::default() };
    /// let news = RoleName::new("news")?;
    /// assert_eq!(news.narrowed(&ams)?.base(), news);
    /// # Ok::<(), RoleNameError>(())
    /// ```
    #[must_use]
    pub fn base(&self) -> RoleName {
        match self.as_str().split_once(' ') {
            Some((base, _)) => RoleName::unchecked(base),
            None => self.clone(),
        }
    }

    /// The place that it is narrowed to.
    ///
    /// ```
    /// # use rolecast_membership::{Place, RoleName, RoleNameError};
    /// let ams = Place { site: Some("ams".into()), ..Place::default() };
    /// let news = RoleName::new("news")?;
    /// assert_eq!(news.narrowed(&ams)?.place(), ams);
    /// assert_eq!(news.place(), Place::default());
    /// # Ok::<(), RoleNameError>(())
    /// ```
    #[must_use]
    pub fn place(&self) -> Place {
        let place = self.as_str().split_once(' ').map(|(_, place)| place);
        let place = place.map(|place| Place::read(place).expect("the name was checked"));
        place.unwrap_or_default()
    }

    /// Whether this role is the other one, or that one narrowed.
    ///
    /// ```
    /// # use rolecast_membership::{Place, RoleName, RoleNameError};
    /// let ams = Place { site: Some("ams".into()), ..Place::default() };
    /// let news = RoleName::new("news")?;
    /// let there = news.narrowed(&ams)?;
    /// assert!(there.is_within(&news) && news.is_within(&news) && !news.is_within(&there));
    /// # Ok::<(), RoleNameError>(())
    /// ```
    #[must_use]
    pub fn is_within(&self, base: &RoleName) -> bool {
        let rest = self.as_str().strip_prefix(base.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }

    /// A name from a peer, which may be narrowed or reserved.
    pub(crate) fn parse_any(name: &str) -> Result<RoleName, RoleNameError> {
        let (base, place) = match name.split_once(' ') {
            Some((base, place)) => (base, Some(place)),
            None => (name, None),
        };
        if base != RoleName::service().as_str() {
            RoleName::new(base)?;
        }
        if place.is_some_and(|place| Place::read(place).is_none()) {
            return Err(RoleNameError::BadCharacter { character: ' ' });
        }
        Ok(RoleName::unchecked(name))
    }
}

/// What a place is told by, in the order in which it is written.
const KEYS: [&str; 5] = ["node", "site", "host", "service", "instance"];
const SEPARATOR: &str = ", ";

/// A value without the characters that mean something in a narrowed name, or are in no name.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if c.is_whitespace() || c.is_control() || "%,[]".contains(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                write!(escaped, "%{byte:02x}").expect("a string takes everything");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Epoch, Identity};

    fn place() -> impl Strategy<Value = Place> {
        let text = || proptest::option::of("\\PC{0,8}|[ ,=%\\[\\]\n]{0,6}");
        let node = proptest::option::of(any::<[u8; 32]>().prop_map(NodeId::from_bytes));
        let place = (node, text(), text(), text(), any::<Option<u32>>());
        place.prop_map(|(node, site, host, service, instance)| Place {
            node,
            site,
            host,
            service,
            instance,
        })
    }

    proptest! {
        #[test]
        fn a_narrowed_role_says_what_it_was_made_of(place in place()) {
            let base = RoleName::new("user-list:listener").expect("a good name");
            let role = base.narrowed(&place).expect("a place that may be");
            prop_assert_eq!(role.base(), base.clone());
            prop_assert_eq!(role.is_narrowed(), !place.is_anywhere());
            prop_assert!(role.is_within(&base) && !RoleName::new("user-list").expect("a name").is_within(&role));
            prop_assert_eq!(RoleName::parse_any(role.as_str()), Ok(role.clone()));
            prop_assert_eq!(role.place(), place);
            prop_assert!(!role.is_narrowed() || RoleName::new(role.as_str()).is_err());
        }

        #[test]
        fn whatever_a_peer_calls_a_role_has_one_name(name in "[a-z*]{1,3}( \\[.{0,20}\\])?|.{0,30}") {
            if let Ok(role) = RoleName::parse_any(&name) {
                let again = role.base().narrowed(&role.place()).expect("it was checked");
                prop_assert_eq!(again.as_str(), name);
            }
        }
    }

    #[test]
    fn a_node_holds_a_narrowed_role_since_it_is_there() {
        let identity = Identity {
            id: NodeId::from_bytes([1; 32]),
            epoch: Epoch(1),
            addr: ([127, 0, 0, 1], 7400).into(),
        };
        let mut record = Record::new(identity);
        record.site = "ams".into();
        record.placed.site = 7;
        record.placed.host = 9;
        let site = |site: &str| Place {
            site: Some(site.into()),
            ..Place::default()
        };
        assert_eq!(site("ams").tenure(&record, Tenure(3)), Some(Tenure(7)));
        assert_eq!(site("ams").tenure(&record, Tenure(8)), Some(Tenure(8)));
        assert_eq!(site("fra").tenure(&record, Tenure(8)), None);
        let host = Place {
            host: Some(String::new()),
            ..site("ams")
        };
        assert_eq!(host.tenure(&record, Tenure(8)), Some(Tenure(9)));
        assert_eq!(Place::default().tenure(&record, Tenure(3)), Some(Tenure(3)));
    }
}
