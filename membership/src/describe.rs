//! What a node says of itself beside its roles, which may change while it runs.

use std::collections::BTreeMap;

use crate::{Membership, Record, RecordError, Service, Time};

/// Where a node is and what kind it is of.
///
/// ```
/// # use rolecast_membership::{Description, Epoch, Identity, NodeId, Record};
/// # let identity = Identity { id: NodeId::from_bytes([1; 32]), epoch: Epoch(1), addr: ([127, 0, 0, 1], 7400).into() };
/// # let record = Record::new(identity);
/// let mut description = Description::of(&record);
/// description.site = "ams".into();
/// description.labels.insert("rack".into(), "r12".into());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The place the node is in, such as `ams`; may be empty.
    pub site: String,
    /// The machine it runs on; may be empty.
    pub host: String,
    /// Its own kind.
    pub service: Service,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
}

impl Description {
    /// What a record says.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Description {
            site: record.site.clone(),
            host: record.host.clone(),
            service: record.service.clone(),
            labels: record.labels.clone(),
        }
    }
}

impl Membership {
    /// Says something else about this node from here on; says whether anything has changed.
    ///
    /// # Errors
    /// [`RecordError`] if the record would pass a limit; nothing has changed then.
    pub fn describe(&mut self, now: Time, description: Description) -> Result<bool, RecordError> {
        let own = self.record();
        if Description::of(own) == description {
            return Ok(false);
        }
        let Description {
            site,
            host,
            service,
            labels,
        } = description;
        let mut record = own.clone();
        record.version += 1;
        let since = record.version;
        let since = |moved: bool, before: u64| if moved { since } else { before };
        record.placed.site = since(record.site != site, record.placed.site);
        record.placed.host = since(record.host != host, record.placed.host);
        record.placed.service = since(record.service != service, record.placed.service);
        record.site = site;
        record.host = host;
        record.service = service;
        record.labels = labels;
        record.check()?;
        self.publish(now, record);
        Ok(true)
    }
}
