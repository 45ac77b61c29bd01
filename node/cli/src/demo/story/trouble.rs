//! A role moves and a sender dies, both while messages are on their way.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;

use super::{Story, ms};
use crate::demo::cast::{Going, name};
use crate::demo::orders::{Order, Report};
use crate::demo::parts::{FEED, FIRST_LEDGER, LEDGER, LIAR, Parts, SECOND_LEDGER};
use crate::demo::verdict::{Flow, Holders};
use crate::duration::show_duration;
use crate::failure::Failure;
use crate::human;

impl Story<'_> {
    /// A role moves from one node to another while messages to it are on their way.
    pub(super) async fn move_role(&mut self) -> Result<Flow, Failure> {
        let (sender, from, to) = (self.parts.sender, FIRST_LEDGER, SECOND_LEDGER);
        self.send(sender, LEDGER, None, Some(PACE_PER_S)).await?;
        self.cast
            .await_announced(sender, LEDGER, MOVE_AFTER)
            .await?;
        let start = Instant::now();
        let role = || LEDGER.to_owned();
        self.cast.order(to, &Order::TakeUp { role: role() }).await?;
        // The first holder gives the role up when the sender counts on the second one.
        self.all_know(&[sender], BTreeMap::from([(role(), 2)]))
            .await?;
        let shared = self.cast.announced(sender, LEDGER) + SHARED_FOR;
        self.cast.await_announced(sender, LEDGER, shared).await?;
        self.cast.order(from, &Order::Drop { role: role() }).await?;
        let dropped = |report| matches!(report, Report::Dropped { .. }).then_some(());
        self.cast
            .await_one(from, "gives the ledger up", dropped)
            .await?;
        self.all_know(&[sender], BTreeMap::from([(role(), 1)]))
            .await?;
        let took = start.elapsed();
        let announced = self.cast.announced(sender, LEDGER);
        self.cast
            .await_announced(sender, LEDGER, announced + MOVE_AFTER)
            .await?;
        let upto = self.stop(sender).await?;
        self.account.tell(
            "move",
            &format!(
                "ledger moves from {} to {} while {} multicasts {} messages to it; for {} both hold it",
                name(from),
                name(to),
                name(sender),
                human::count(upto),
                show_duration(took),
            ),
            json!({ "from": name(from), "to": name(to), "messages": upto, "ms": ms(took) }),
        )?;
        Ok(Flow {
            role: role(),
            sender: name(sender),
            announced: upto,
            finished: Some(upto),
            holders: Holders::Moved {
                from: name(from),
                to: name(to),
            },
        })
    }

    /// Has one node lie about the next message from the victim, if it shall.
    /// It has heard of that before it takes the role that moves to it, because it obeys in order.
    pub(super) async fn plant(&mut self) -> Result<(), Failure> {
        let Some(fault) = self.fault else {
            return Ok(());
        };
        let origin = self.cast.node(self.parts.victim).to_owned();
        self.cast.order(LIAR, &Order::Plant { fault, origin }).await
    }

    /// One of two senders is killed while both send.
    pub(super) async fn kill(&mut self, sent_before: u64) -> Result<Vec<Flow>, Failure> {
        let Parts {
            sender,
            victim,
            survivors,
            ..
        } = self.parts.clone();
        self.send(sender, FEED, None, Some(PACE_PER_S)).await?;
        self.send(victim, FEED, None, None).await?;
        self.cast.await_announced(sender, FEED, sent_before).await?;
        self.cast
            .await_announced(victim, FEED, sent_before + KILL_AFTER)
            .await?;
        self.cast.kill(victim).await?;
        let killed = Instant::now();
        let announced = self.cast.announced(victim, FEED);
        self.account.tell(
            "kill",
            &format!(
                "both multicast again, and {} is killed (SIGKILL) in between, before message {} at the latest",
                name(victim),
                human::count(announced),
            ),
            json!({ "announced": announced }),
        )?;
        self.cast
            .await_gone(&survivors, victim, Going::Down)
            .await?;
        let took = killed.elapsed();
        self.account.tell(
            "down",
            &format!(
                "every survivor knows that {} is down, {} after",
                name(victim),
                show_duration(took)
            ),
            json!({ "ms": ms(took) }),
        )?;
        let upto = self.stop(sender).await?;
        let flow = |sender, announced, finished| Flow {
            role: FEED.to_owned(),
            sender: name(sender),
            announced,
            finished,
            holders: Holders::Fixed(survivors.iter().map(|&index| name(index)).collect()),
        };
        Ok(vec![
            flow(sender, upto, Some(upto)),
            flow(victim, announced, None),
        ])
    }
}

/// How many messages a second the steady sender multicasts.
const PACE_PER_S: u64 = 10_000;
/// How many messages are sent before and after a role moves.
const MOVE_AFTER: u64 = 2_000;
/// For how many messages a role that moves has two holders.
const SHARED_FOR: u64 = 500;
/// How many messages the victim has begun to send when it is killed: several times what fits into its outbox, so that some of them have left it.
const KILL_AFTER: u64 = 50_000;
