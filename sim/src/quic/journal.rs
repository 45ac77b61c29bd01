//! What came out of a node's inboxes, compared with what its engine delivered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use rolecast_membership::RoleName;
use rolecast_protocol::{Delivery, FlowId, Gap, Lagged, LargeEnd, Origin, ReplyTo, Seq, Started};

/// What the engine of one process delivered to each of its roles, and what the program has not taken yet; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    roles: BTreeMap<RoleName, VecDeque<Entry>>,
    /// Of each large payload in the inbox of a role: the chunks, and how it ended.
    larges: BTreeMap<(RoleName, Origin, FlowId), (BytesMut, Option<LargeEnd>)>,
    /// Which of them are announced at which position: one for each way of spreading.
    announced: BTreeMap<(RoleName, Origin, Seq), Vec<FlowId>>,
}

/// Something that is to come out of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A multicast: its origin, its position, what it says and whether an answer is awaited.
    Message(Origin, u64, Bytes, bool),
    /// The announcement of a large payload: its origin, its position and its length.
    Large(Origin, u64, Option<u64>),
    /// A call.
    Call(Origin, Bytes, bool),
    /// A gap.
    Gap(Gap),
    /// Where the inbox begins with a flow.
    Started(Started),
    /// What the program was too slow for.
    Lagged(Lagged),
}

impl Journal {
    /// The role is taken up: nothing has been delivered.
    pub(crate) fn open(&self, role: &RoleName) {
        let mut state = self.state();
        state.roles.insert(role.clone(), VecDeque::new());
        state.announced.retain(|(of, ..), _| of != role);
        state.larges.retain(|(of, ..), _| of != role);
    }

    pub(crate) fn deliver(&self, role: &RoleName, delivery: &Delivery) {
        let mut state = self.state();
        let State {
            roles,
            larges,
            announced,
        } = &mut *state;
        let Some(entries) = roles.get_mut(role) else {
            return;
        };
        match delivery {
            Delivery::Large {
                origin,
                seq,
                large,
                length,
                ..
            } => {
                let place = announced.entry((role.clone(), *origin, *seq)).or_default();
                place.push(*large);
                entries.push_back(Entry::Large(*origin, seq.0, *length));
            }
            Delivery::Chunk {
                origin,
                flow,
                chunk,
                ..
            } => {
                let large = larges.entry((role.clone(), *origin, *flow)).or_default();
                large.0.extend_from_slice(chunk);
            }
            Delivery::LargeEnd { origin, flow, end } => {
                let large = larges.entry((role.clone(), *origin, *flow)).or_default();
                large.1 = Some(*end);
            }
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
            Delivery::Lagged(lagged) => entries.push_back(Entry::Lagged(*lagged)),
            Delivery::Started(started) => entries.push_back(Entry::Started(*started)),
        }
    }

    /// The program took something out of the inbox of a role: is it what is next?
    ///
    /// What was broadcast before the program asked for it never comes out.
    pub(crate) fn take(&self, role: &RoleName, taken: &Entry) -> Result<(), Option<Entry>> {
        let mut state = self.state();
        let entries = state.roles.get_mut(role).ok_or(None)?;
        let mut next = entries.pop_front();
        while *role == RoleName::everyone() && next.as_ref().is_some_and(|next| next != taken) {
            next = entries.pop_front();
        }
        match next {
            Some(next) if next == *taken => Ok(()),
            other => Err(other),
        }
    }

    /// The program has read a large payload to its end, whole or cut short: is it what came?
    ///
    /// What was read of a role that is held no longer is not known any more.
    pub(crate) fn read(
        &self,
        role: &RoleName,
        origin: Origin,
        seq: Seq,
        (bytes, complete): (&[u8], bool),
    ) -> Result<(), String> {
        let state = self.state();
        let place = state.announced.get(&(role.clone(), origin, seq));
        let came = place.into_iter().flatten().map(|&flow| {
            let large = state.larges.get(&(role.clone(), origin, flow));
            large.map_or((&[][..], None), |(bytes, end)| (&bytes[..], *end))
        });
        let came: Vec<(&[u8], Option<LargeEnd>)> = came.collect();
        let fits = |(delivered, end): &(&[u8], Option<LargeEnd>)| match complete {
            true => *delivered == bytes && *end == Some(LargeEnd::Complete),
            false => delivered.starts_with(bytes),
        };
        if !came.is_empty() && !came.iter().any(fits) {
            let ends: Vec<_> = came.iter().map(|(came, end)| (came.len(), end)).collect();
            let read = bytes.len();
            return Err(format!(
                "{read} bytes were read (all: {complete}), where these came: {ends:?}"
            ));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
