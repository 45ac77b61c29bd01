//! What came out of a node's inboxes, compared with what its engine delivered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rolecast_membership::RoleName;
use rolecast_protocol::{Delivery, Gap, Origin, ReplyTo};

/// What the engine of one process delivered to each of its roles, and what the program has not taken yet; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Arc<Mutex<BTreeMap<RoleName, VecDeque<Entry>>>>);

/// Something that is to come out of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A multicast: its origin, its position, what it says and whether an answer is awaited.
    Message(Origin, u64, Bytes, bool),
    /// A call.
    Call(Origin, Bytes, bool),
    /// A gap.
    Gap(Gap),
}

impl Journal {
    /// The role is taken up: nothing has been delivered.
    pub(crate) fn open(&self, role: &RoleName) {
        self.roles().insert(role.clone(), VecDeque::new());
    }

    pub(crate) fn deliver(&self, role: &RoleName, delivery: &Delivery) {
        let mut roles = self.roles();
        let Some(entries) = roles.get_mut(role) else {
            return;
        };
        match delivery {
            Delivery::Messages {
                origin,
                first,
                batch,
                ..
            } => {
                let messages = batch.clone().into_messages();
                entries.extend((first.0..).zip(messages).map(|(seq, message)| {
                    Entry::Message(*origin, seq, message.payload, message.call.is_some())
                }));
            }
            Delivery::Call {
                from: ReplyTo { origin, .. },
                wants_reply,
                payload,
                ..
            } => entries.push_back(Entry::Call(*origin, payload.clone(), *wants_reply)),
            Delivery::Gap(gap) => entries.push_back(Entry::Gap(*gap)),
        }
    }

    /// The program took something out of the inbox of a role: is it what is next?
    ///
    /// What was broadcast before the program asked for it never comes out.
    pub(crate) fn take(&self, role: &RoleName, taken: &Entry) -> Result<(), Option<Entry>> {
        let mut roles = self.roles();
        let entries = roles.get_mut(role).ok_or(None)?;
        let mut next = entries.pop_front();
        while *role == RoleName::everyone() && next.as_ref().is_some_and(|next| next != taken) {
            next = entries.pop_front();
        }
        match next {
            Some(next) if next == *taken => Ok(()),
            other => Err(other),
        }
    }

    fn roles(&self) -> MutexGuard<'_, BTreeMap<RoleName, VecDeque<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
