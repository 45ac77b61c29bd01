//! Sending to every role whose name begins as a pattern does.
//!
//! A pattern has no flow of its own: what is sent to it is sent to each of the roles that it stands for and somebody holds at that moment, over the same outboxes as what is sent to them one by one.
//! So every one of these roles keeps its order and its promises, and nothing is promised across them.

use std::sync::Arc;

use bytes::Bytes;
use rolecast_membership::RoleName;
use tokio::sync::{SemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::answers::Answers;
use crate::channel::Channel;
use crate::command::Command;
use crate::error::{ClosedReason, NotSent, SendError, Unknown};
use crate::multicast::{check_key, reserve};
use crate::outbox::Outbox;
use crate::receipt::Receipt;
use crate::request::Asking;
use crate::shared::Shared;

/// Sends to all holders of all matching roles: to all of these roles, or if there is no room in time, to none.
pub(crate) async fn multicast(
    channel: &Channel,
    (payload, key): (Bytes, Bytes),
    deadline: Option<Instant>,
) -> Result<Receipt, SendError> {
    let shared = &channel.shared;
    check_key(&key)?;
    let (bytes, max) = (payload.len(), shared.whole_bytes_max());
    if bytes > max {
        return Err(NotSent::TooLarge { bytes, max }.into());
    }
    let outboxes = outboxes(channel).await?;
    let rooms = rooms(channel, &outboxes, bytes + key.len(), deadline).await?;
    let mut receipts = Vec::with_capacity(rooms.len());
    for (outbox, room) in rooms {
        match outbox.push(shared, (&payload, &key), room) {
            Ok(seq) => receipts.push(Receipt::new(shared, outbox, seq)),
            Err(why) if receipts.is_empty() => return Err(why.into()),
            // The others may have gone out before the node was closed.
            Err(_) => return Err(Unknown::Closed(shared.closed_reason()).into()),
        }
    }
    let first = receipts.remove(0);
    Ok(Receipt {
        others: (!receipts.is_empty()).then(|| receipts.into()),
        ..first
    })
}

/// Asks all holders of all matching roles.
pub(crate) async fn request_all(
    channel: &Channel,
    payload: Bytes,
    deadline: Instant,
) -> Result<Answers, SendError> {
    let shared = &channel.shared;
    let outboxes = outboxes(channel).await?;
    let rooms = rooms(channel, &outboxes, payload.len(), Some(deadline)).await?;
    let mut permits = Vec::with_capacity(rooms.len());
    for _ in &rooms {
        permits.push(shared.begin_call()?);
    }
    let mut asking = Vec::with_capacity(rooms.len());
    for ((outbox, room), permit) in rooms.into_iter().zip(permits) {
        let payload = payload.clone();
        asking.push(Asking::begin(
            shared,
            outbox,
            (payload, deadline),
            (room, permit),
        )?);
    }
    let (mut all, mut failure) = (Vec::new(), None);
    for asking in asking {
        match asking.sent(shared, deadline).await {
            Ok(answers) => all.push(answers),
            // Whoever held that role does not any longer.
            Err(SendError::NotSent(why)) => failure = Some(why),
            Err(other) => return Err(other),
        }
    }
    let none = || no_holder(channel);
    Answers::of_all(all).ok_or_else(|| failure.unwrap_or_else(none).into())
}

/// The outboxes of the roles that the channel's pattern stands for.
async fn outboxes(channel: &Channel) -> Result<Vec<Arc<Outbox>>, NotSent> {
    let outbox = channel.outbox.as_ref().map_err(Clone::clone)?;
    let pattern = outbox.role.name.clone();
    let roles = matching(&channel.shared, pattern).await?;
    let outbox = |role| channel.shared.outbox(role, outbox.mode, outbox.policy);
    Ok(roles.into_iter().map(outbox).collect())
}

async fn matching(shared: &Shared, pattern: RoleName) -> Result<Vec<RoleName>, ClosedReason> {
    let (done, roles) = oneshot::channel();
    shared.submit(Command::Matching { pattern, done })?;
    roles.await.map_err(|_| shared.closed_reason())
}

/// Room in each of the outboxes whose role somebody holds, in the order of their names, so that no two senders wait for each other.
async fn rooms<'a>(
    channel: &'a Channel,
    outboxes: &'a [Arc<Outbox>],
    payload_bytes: usize,
    deadline: Option<Instant>,
) -> Result<Vec<(&'a Arc<Outbox>, SemaphorePermit<'a>)>, NotSent> {
    let mut rooms = Vec::with_capacity(outboxes.len());
    for outbox in outboxes {
        match reserve(&channel.shared, outbox, payload_bytes, deadline).await {
            Ok(room) => rooms.push((outbox, room)),
            Err(NotSent::NoHolder { .. }) => {}
            Err(why) => return Err(why),
        }
    }
    match rooms.is_empty() {
        true => Err(no_holder(channel)),
        false => Ok(rooms),
    }
}

fn no_holder(channel: &Channel) -> NotSent {
    let role = channel.role().map(RoleName::to_string);
    NotSent::NoHolder {
        role: role.unwrap_or_default(),
    }
}
