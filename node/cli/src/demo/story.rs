//! The story of the demo, act by act.

mod ask;
mod compare;
mod trouble;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::demo::account::Account;
use crate::demo::cast::{Cast, Going, name};
use crate::demo::orders::{Fault, Order, Report};
use crate::demo::parts::{FEED, FIRST_LEDGER, LEDGER, ORACLE, Parts, names};
use crate::demo::verdict::{Evidence, Promise};
use crate::duration::show_duration;
use crate::failure::Failure;
use crate::human;

/// One performance.
pub(crate) struct Story<'a> {
    /// The processes.
    pub(crate) cast: &'a mut Cast,
    /// Where it is told.
    pub(crate) account: &'a Account<'a>,
    /// Who plays what.
    pub(crate) parts: Parts,
    /// A lie that one node is to tell.
    pub(crate) fault: Option<Fault>,
}

impl Story<'_> {
    /// Plays all acts; gives what is to be judged, and the promises that were judged on the way.
    pub(crate) async fn play(mut self) -> Result<(Evidence, Vec<Promise>), Failure> {
        self.start().await?;
        self.spread_roles().await?;
        let first = self.stream().await?;
        let requests = self.ask().await?;
        self.plant().await?;
        let ledger = self.move_role().await?;
        let feeds = self.kill(first).await?;
        let evidence = self.compare([feeds, vec![ledger]].concat()).await?;
        self.leave().await?;
        Ok((evidence, vec![requests]))
    }

    async fn start(&mut self) -> Result<(), Failure> {
        let all = self.parts.all();
        self.cast.spawn()?;
        self.cast.await_started(&all[..1]).await?;
        for _ in &all[1..] {
            self.cast.spawn()?;
        }
        self.cast.await_started(&all[1..]).await?;
        let pids: Vec<u32> = all
            .iter()
            .filter_map(|&index| self.cast.pid(index))
            .collect();
        let shown: Vec<String> = pids.iter().map(u32::to_string).collect();
        self.account.tell(
            "start",
            &format!(
                "{} are processes {}, and know nothing but n1's address",
                names(&all),
                shown.join(" ")
            ),
            json!({ "pids": pids }),
        )
    }

    async fn spread_roles(&mut self) -> Result<(), Failure> {
        let Parts {
            survivors, oracles, ..
        } = self.parts.clone();
        let start = Instant::now();
        let taken: Vec<(usize, &str)> = survivors
            .iter()
            .map(|&index| (index, FEED))
            .chain(oracles.iter().map(|&index| (index, ORACLE)))
            .chain([(FIRST_LEDGER, LEDGER)])
            .collect();
        for (index, role) in &taken {
            let role = (*role).to_owned();
            self.cast.order(*index, &Order::TakeUp { role }).await?;
        }
        let holders = BTreeMap::from([
            (FEED.to_owned(), survivors.len()),
            (ORACLE.to_owned(), oracles.len()),
            (LEDGER.to_owned(), 1),
        ]);
        self.all_know(&self.parts.all(), holders).await?;
        let took = start.elapsed();
        self.account.tell(
            "roles",
            &format!(
                "feed is held by {}; oracle by {}; ledger by {}",
                names(&survivors),
                names(&oracles),
                name(FIRST_LEDGER)
            ),
            json!({}),
        )?;
        self.account.tell(
            "know",
            &format!(
                "every node knows all {} and who holds what, {} after the first order",
                human::number_of(self.parts.nodes, "node"),
                show_duration(took)
            ),
            json!({ "ms": ms(took) }),
        )
    }

    async fn all_know(
        &mut self,
        who: &[usize],
        holders: BTreeMap<String, usize>,
    ) -> Result<(), Failure> {
        let members = self.parts.nodes;
        for &index in who {
            let holders = holders.clone();
            self.cast
                .order(index, &Order::Expect { members, holders })
                .await?;
        }
        let knows = |report| matches!(report, Report::Knows).then_some(());
        self.cast
            .await_each(who, "knows all nodes and roles", knows)
            .await?;
        Ok(())
    }

    /// Two nodes multicast to one role at once; gives how many messages each sent.
    async fn stream(&mut self) -> Result<u64, Failure> {
        let (sender, victim) = (self.parts.sender, self.parts.victim);
        let start = Instant::now();
        for index in [sender, victim] {
            self.send(index, FEED, Some(STREAM), None).await?;
        }
        let sent = |report| match report {
            Report::Sent { lost, .. } => Some(lost),
            _ => None,
        };
        let doing = "has an acknowledgement of everything";
        let lost = self.cast.await_each(&[sender, victim], doing, sent).await?;
        if let Some((index, lost)) = lost.into_iter().find(|&(_, lost)| lost > 0) {
            return Err(Failure::failed(format!(
                "{} lost {} of feed, though none has left",
                name(index),
                human::number_of(lost, "holder")
            )));
        }
        let took = start.elapsed();
        let holders = self.parts.survivors.len();
        let deliveries = 2 * STREAM * holders as u64;
        self.account.tell(
            "stream",
            &format!(
                "{} and {} multicast {} messages each to feed at once: {} deliveries in {} ({} a second)",
                name(sender),
                name(victim),
                human::count(STREAM),
                human::count(deliveries),
                show_duration(took),
                human::count((deliveries as f64 / took.as_secs_f64()) as u64)
            ),
            json!({ "deliveries": deliveries, "ms": ms(took) }),
        )?;
        Ok(STREAM)
    }

    async fn send(
        &mut self,
        index: usize,
        role: &str,
        count: Option<u64>,
        pace_per_s: Option<u64>,
    ) -> Result<(), Failure> {
        let role = role.to_owned();
        let order = Order::Stream {
            role,
            count,
            pace_per_s,
        };
        self.cast.order(index, &order).await
    }

    /// Ends a stream; gives its last number when everything is acknowledged.
    async fn stop(&mut self, index: usize) -> Result<u64, Failure> {
        self.cast.order(index, &Order::Stop).await?;
        let sent = |report| match report {
            Report::Sent { upto, .. } => Some(upto),
            _ => None,
        };
        let doing = "has an acknowledgement of everything";
        self.cast.await_one(index, doing, sent).await
    }

    /// One survivor leaves in good order, the others see it, and follow.
    async fn leave(&mut self) -> Result<(), Failure> {
        let survivors = self.parts.survivors.clone();
        let (&first, rest) = survivors
            .split_first()
            .ok_or_else(|| Failure::failed("nobody is left"))?;
        let start = Instant::now();
        self.cast.may_end(first);
        self.cast.order(first, &Order::Leave).await?;
        self.cast.await_gone(rest, first, Going::Left).await?;
        let seen = start.elapsed();
        for &index in rest {
            self.cast.may_end(index);
            self.cast.order(index, &Order::Leave).await?;
        }
        for &index in rest {
            self.cast.await_end(index).await?;
        }
        self.account.tell(
            "leave",
            &format!(
                "{} leaves and the others know it {} later; then they leave too",
                name(first),
                show_duration(seen)
            ),
            json!({ "ms": ms(seen) }),
        )
    }
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// How many messages each of the two senders multicasts.
const STREAM: u64 = 10_000;
