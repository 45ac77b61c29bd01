//! What travelled between engines, for whoever wants to see it.

use bytes::Bytes;
use rolecast_membership::Time;
use rolecast_protocol::{Class, explain};

use crate::check::ProcessId;

/// By which a film finds a frame again when it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u32);

/// Something on its way from one process to another.
#[derive(Clone, Debug)]
pub struct Passage {
    /// From whom.
    pub from: ProcessId,
    /// To whom.
    pub to: ProcessId,
    /// In which of the link's streams; `None` for a datagram.
    pub class: Option<Class>,
    /// When it left.
    pub left: Time,
    /// When it arrived, if it did.
    pub arrived: Option<Time>,
    /// What it says.
    pub says: String,
}

/// All passages of a run, or nothing.
#[derive(Debug)]
pub(crate) struct Film(Option<Vec<Passage>>);

impl Film {
    pub(crate) fn off() -> Self {
        Film(None)
    }

    pub(crate) fn on() -> Self {
        Film(Some(Vec::new()))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Something leaves.
    pub(crate) fn leaves(
        &mut self,
        now: Time,
        (from, to): (ProcessId, ProcessId),
        class: Option<Class>,
        bytes: &Bytes,
    ) -> Stamp {
        let Some(passages) = &mut self.0 else {
            return Stamp(u32::MAX);
        };
        let says = match class {
            Some(class) => explain(class, bytes),
            None => format!("{} bytes of gossip", bytes.len()),
        };
        let stamp = Stamp(u32::try_from(passages.len()).unwrap_or(u32::MAX));
        passages.push(Passage {
            from,
            to,
            class,
            left: now,
            arrived: None,
            says,
        });
        stamp
    }

    /// Something arrives; what arrives twice counts once.
    pub(crate) fn arrives(&mut self, now: Time, Stamp(stamp): Stamp) {
        let passages = self.0.as_mut();
        if let Some(passage) = passages.and_then(|all| all.get_mut(stamp as usize)) {
            passage.arrived.get_or_insert(now);
        }
    }

    pub(crate) fn into_passages(self) -> Vec<Passage> {
        self.0.unwrap_or_default()
    }
}
