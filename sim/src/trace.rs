//! The trace of a run: one hash over everything that happened, and the lines for whoever wants to read them.

use std::fmt;
use std::hash::Hasher as _;
use std::io::Write;

use rolecast_membership::Time;
use siphasher::sip::SipHasher13;

use crate::check::Name;

/// Where events are noted.
pub(crate) struct Trace {
    hasher: SipHasher13,
    sink: Option<Box<dyn Write + Send>>,
}

/// The hash over all events of a run: two runs with the same hash were the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceHash(pub u64);

impl Trace {
    pub(crate) fn new(sink: Option<Box<dyn Write + Send>>) -> Self {
        // The keys are fixed: a hash means the same on every machine and in every run.
        Trace {
            hasher: SipHasher13::new_with_keys(0x524f_4c45, 0x4341_5354),
            sink,
        }
    }

    /// Chains one event: when, where, what kind, and its bytes.
    pub(crate) fn note(&mut self, now: Time, name: Name, kind: u8, number: u64, bytes: &[u8]) {
        let place = u64::from(name.slot) << 24 | u64::from(name.incarnation) << 8 | u64::from(kind);
        self.hasher.write_u64(now.as_micros());
        self.hasher.write_u64(place);
        self.hasher.write_u64(number);
        self.hasher.write_u64(bytes.len() as u64);
        self.hasher.write(bytes);
    }

    pub(crate) fn is_read(&self) -> bool {
        self.sink.is_some()
    }

    /// A line for the reader, if there is one.
    pub(crate) fn line(&mut self, now: Time, name: Name, what: fmt::Arguments<'_>) {
        if let Some(sink) = &mut self.sink {
            // A reader who went away does not change the run.
            let _ = writeln!(sink, "{now} {name:<5} {what}");
        }
    }

    pub(crate) fn hash(&self) -> TraceHash {
        TraceHash(self.hasher.finish())
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("hash", &self.hash())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl serde::Serialize for TraceHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
