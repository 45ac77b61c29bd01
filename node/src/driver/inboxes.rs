//! From the engine into the inboxes of the application.

use std::collections::BTreeMap;
use std::sync::Arc;

use rolecast_membership::RoleName;
use rolecast_protocol::{Delivery, InboxId, Refusal, TakeUpError};
use tokio::sync::oneshot;

use super::Driver;
use crate::error::{ClosedReason, RegisterError};
use crate::inbox::{Announced, Arrival, Inbox, InboxQueue, refuse};
use crate::queue::Queue;
use crate::simulation::Sight;

/// Where deliveries go.
pub(super) struct Inboxes {
    queues: BTreeMap<InboxId, Arc<InboxQueue>>,
    /// The inbox of what is broadcast; nobody has to take it.
    everyone: InboxId,
}

impl Inboxes {
    pub(super) fn new(everyone: InboxId) -> Self {
        Inboxes {
            queues: BTreeMap::new(),
            everyone,
        }
    }

    /// Ends all inboxes; what was delivered may still be taken.
    pub(super) fn close(&mut self, reason: ClosedReason) {
        for queue in std::mem::take(&mut self.queues).into_values() {
            // Nobody minds if nobody listens.
            let _ = queue.push(Arrival::Closed(reason));
            queue.close();
        }
    }
}

impl Driver {
    pub(super) fn deliver(&mut self, inbox: InboxId, delivery: Delivery) {
        let sight = || Sight::Delivered {
            inbox,
            delivery: &delivery,
        };
        self.witnessed.saw(&self.engine, sight);
        let arrival = match delivery {
            Delivery::Chunk {
                origin,
                flow,
                chunk,
                ticket,
            } => return self.take_chunk((inbox, origin, flow), chunk, ticket),
            Delivery::LargeEnd { origin, flow, end } => {
                return self.end_download((inbox, origin, flow), end);
            }
            Delivery::Large {
                origin,
                seq,
                large,
                length,
                ticket,
                ..
            } => {
                self.counters.messages_delivered.increment(1);
                let download = self.downloads.announced((inbox, origin, large));
                Arrival::Large(Announced {
                    origin,
                    seq,
                    length,
                    download,
                    ticket,
                })
            }
            other => {
                self.count(&other);
                Arrival::Delivery(other)
            }
        };
        let left = match self.inboxes.queues.get(&inbox) {
            Some(queue) => queue.push(arrival),
            None => Err(arrival),
        };
        if let Err(arrival) = left {
            let everyone = inbox == self.inboxes.everyone;
            let refusal = if everyone {
                Refusal::Dropped
            } else {
                Refusal::NotHolder
            };
            refuse(&self.shared, arrival, refusal);
        }
    }

    fn count(&self, delivery: &Delivery) {
        match delivery {
            Delivery::Messages { batch, .. } => {
                self.counters
                    .messages_delivered
                    .increment(u64::from(batch.count()));
                self.counters
                    .bytes_delivered
                    .increment(batch.len_bytes() as u64);
            }
            Delivery::Call { payload, .. } => {
                self.counters.messages_delivered.increment(1);
                self.counters
                    .bytes_delivered
                    .increment(payload.len() as u64);
            }
            Delivery::Lagged(lagged) => {
                tracing::warn!(
                    ?lagged,
                    "a sender went on without this node, which was too slow"
                );
            }
            Delivery::Started(started) => {
                tracing::debug!(?started, "an inbox begins in the middle");
            }
            Delivery::Gap(gap) => {
                self.counters.gaps.increment(1);
                tracing::warn!(?gap, "messages are lost to an inbox");
            }
            // They go their own ways.
            Delivery::Large { .. } | Delivery::Chunk { .. } | Delivery::LargeEnd { .. } => {}
        }
    }

    pub(super) fn register(
        &mut self,
        role: RoleName,
        replay: u32,
        done: oneshot::Sender<Result<Inbox, RegisterError>>,
    ) {
        if done.is_closed() {
            // Whoever asks next finds it free.
            return;
        }
        if role == RoleName::service() && self.engine.record().service.name.is_empty() {
            drop(done.send(Err(RegisterError::NoService)));
            return;
        }
        self.witnessed.saw(&self.engine, || Sight::Asks);
        let result = match self.engine.take_up_with(self.now, role.clone(), replay) {
            Ok(id) => {
                tracing::info!(%role, "took up a role");
                let sight = || Sight::TookUp {
                    inbox: id,
                    role: &role,
                    replay,
                };
                self.witnessed.saw(&self.engine, sight);
                let queue = Arc::new(Queue::new());
                self.inboxes.queues.insert(id, Arc::clone(&queue));
                Ok(Inbox::new(Arc::clone(&self.shared), id, role, queue))
            }
            Err(TakeUpError::Held) => Err(RegisterError::Held {
                role: role.to_string(),
            }),
            Err(TakeUpError::Record(error)) => Err(error.into()),
            Err(_) => Err(RegisterError::Closed(self.closing_reason())),
        };
        // An inbox that nobody waits for gives its role up as it is dropped.
        drop(done.send(result));
    }

    pub(super) fn unregister(&mut self, inbox: InboxId, done: Option<oneshot::Sender<()>>) {
        // What the engine has delivered to it is in it before it closes.
        self.carry_out();
        if let Some(queue) = self.inboxes.queues.remove(&inbox) {
            self.downloads.close(inbox);
            if inbox != self.inboxes.everyone {
                self.witnessed.saw(&self.engine, || Sight::Drops { inbox });
                self.engine.drop_role(self.now, inbox);
            }
            // A dropped inbox is closed already.
            let _ = queue.push(Arrival::Closed(ClosedReason::Unregistered));
            queue.close();
        }
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    pub(super) fn take_broadcasts(&mut self, done: oneshot::Sender<Option<Inbox>>) {
        let everyone = self.inboxes.everyone;
        let free = !self.inboxes.queues.contains_key(&everyone);
        let inbox = free.then(|| {
            let queue = Arc::new(Queue::new());
            self.inboxes.queues.insert(everyone, Arc::clone(&queue));
            let shared = Arc::clone(&self.shared);
            Inbox::new(shared, everyone, RoleName::everyone(), queue)
        });
        // One that nobody waits for ends as it is dropped.
        drop(done.send(inbox));
    }
}
