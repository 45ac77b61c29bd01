//! Messages that go to one holder each.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesOrdered, StreamExt as _};
use rolecast::{Bytes, Delivered, NodeId, RoleName, SendError};
use serde_json::json;
use tokio::task::unconstrained;

use crate::acknowledgements::rate;
use crate::failure::Failure;
use crate::human;
use crate::messages::Messages;
use crate::output::Output;
use crate::style::{GOOD, NAME};

/// Sends every message with `send`, many at once and in order, and reports who took them.
pub(crate) async fn send_singles<F>(
    mut messages: Messages,
    send: impl Fn(Bytes) -> F,
    output: &Output,
) -> Result<(), Failure>
where
    F: IntoFuture<Output = Result<Delivered, SendError>>,
{
    let start = Instant::now();
    let mut taken = Taken::default();
    let sent = send_all(&mut messages, send, &mut taken).await;
    taken.report(messages.role(), start.elapsed(), output)?;
    sent
}

async fn send_all<F>(
    messages: &mut Messages,
    send: impl Fn(Bytes) -> F,
    taken: &mut Taken,
) -> Result<(), Failure>
where
    F: IntoFuture<Output = Result<Delivered, SendError>>,
{
    let mut outstanding = FuturesOrdered::new();
    let mut more = true;
    while more || !outstanding.is_empty() {
        tokio::select! {
            biased;
            payload = messages.next(), if more && outstanding.len() < OUTSTANDING_MAX => {
                match payload? {
                    // A turn that tokio cuts short would start later messages before earlier ones.
                    Some(payload) => outstanding.push_back(unconstrained(send(payload).into_future())),
                    None => more = false,
                }
            }
            Some(delivered) = outstanding.next() => match delivered {
                Ok(delivered) => *taken.by.entry(delivered.node).or_default() += 1,
                Err(error) => return Err(messages.failure_of(taken.total() + 1, &error)),
            },
        }
    }
    Ok(())
}

/// How many messages each node took.
#[derive(Default)]
struct Taken {
    by: BTreeMap<NodeId, u64>,
}

impl Taken {
    fn total(&self) -> u64 {
        self.by.values().sum()
    }

    fn report(&self, role: &RoleName, took: Duration, output: &Output) -> Result<(), Failure> {
        let total = self.total();
        if output.is_json() {
            let by: Vec<_> = self
                .by
                .iter()
                .map(|(node, messages)| json!({ "node": node.to_hex(), "messages": messages }))
                .collect();
            return output.object(&json!({
                "event": "receipt", "mode": "single", "role": role.as_str(),
                "messages": total, "taken_by": by, "ms": took.as_secs_f64() * 1_000.0,
            }));
        }
        if total == 0 {
            return output.line("nothing was taken");
        }
        let by: Vec<String> = self
            .by
            .iter()
            .map(|(node, messages)| match self.by.len() {
                1 => format!("{NAME}{node}{NAME:#}"),
                _ => format!("{NAME}{node}{NAME:#} ({})", human::count(*messages)),
            })
            .collect();
        output.line(format_args!(
            "{} to {NAME}{role}{NAME:#}, {GOOD}taken by{GOOD:#} {} in {}{}",
            human::number_of(usize::try_from(total).unwrap_or(usize::MAX), "message"),
            by.join(", "),
            crate::duration::show_duration(took),
            rate(total, took)
        ))
    }
}

/// So many messages are on their way at once at most.
const OUTSTANDING_MAX: usize = 256;
