//! The story of the demo, act by act.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::demo::account::Account;
use crate::demo::cast::{Cast, Going, name};
use crate::demo::journal::JournalEntry;
use crate::demo::orders::{Answer, Fault, Order, Report};
use crate::demo::verdict::{Evidence, Flow, Holders, NodeJournal, Promise, judge};
use crate::duration::show_duration;
use crate::failure::Failure;
use crate::human;

/// Who plays what; processes by their index.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// How many processes there are.
    pub(crate) nodes: usize,
    /// Sends from beginning to end.
    sender: usize,
    /// Is killed while it sends.
    victim: usize,
    /// Hold `feed` from beginning to end, and survive.
    survivors: Vec<usize>,
    /// Hold `oracle`.
    oracles: Vec<usize>,
}

impl Parts {
    /// Hands the parts out: the last node dies, the one before sends, and the rest listens.
    pub(crate) fn of(nodes: usize) -> Self {
        Parts {
            nodes,
            sender: nodes - 2,
            victim: nodes - 1,
            survivors: (0..nodes - 1).collect(),
            oracles: (0..nodes - 2).collect(),
        }
    }

    fn all(&self) -> Vec<usize> {
        (0..self.nodes).collect()
    }
}

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
            Report::Sent { upto, lost: 0, .. } => Some(upto),
            _ => None,
        };
        let doing = "has an acknowledgement of everything";
        self.cast.await_each(&[sender, victim], doing, sent).await?;
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

    /// One node asks any one holder of a role, and then all.
    async fn ask(&mut self) -> Result<Promise, Failure> {
        let sender = self.parts.sender;
        let mut broken = Vec::new();
        let (answers, took) = self.question(false).await?;
        let one = answers.first().map_or("nobody".to_owned(), |answer| {
            self.cast.name_of(&answer.node)
        });
        broken.extend(self.check_answers(&answers));
        self.account.tell(
            "ask one",
            &format!(
                "{} asks any one oracle: {one} answers in {}",
                name(sender),
                show_duration(took)
            ),
            json!({ "answered_by": one, "ms": ms(took) }),
        )?;
        let (answers, took) = self.question(true).await?;
        broken.extend(self.check_answers(&answers));
        let mut who: Vec<String> = answers
            .iter()
            .filter(|answer| answer.said.is_ok())
            .map(|answer| self.cast.name_of(&answer.node))
            .collect();
        who.sort();
        let wanted: Vec<String> = self
            .parts
            .oracles
            .iter()
            .map(|&index| name(index))
            .collect();
        if who != wanted {
            broken.push(format!(
                "of the oracles {} the question to all was answered by {}",
                wanted.join(" "),
                who.join(" ")
            ));
        }
        self.account.tell(
            "ask all",
            &format!(
                "{} asks every oracle: {} answer in {}",
                name(sender),
                who.join(" "),
                show_duration(took)
            ),
            json!({ "answered_by": who, "ms": ms(took) }),
        )?;
        Ok(Promise {
            name: "requests",
            meaning:
                "the question to one was answered by one holder, the question to all by each, once"
                    .to_owned(),
            broken,
        })
    }

    async fn question(&mut self, all: bool) -> Result<(Vec<Answer>, Duration), Failure> {
        let sender = self.parts.sender;
        let order = Order::Ask {
            role: ORACLE.to_owned(),
            question: QUESTION.to_owned(),
            all,
        };
        self.cast.order(sender, &order).await?;
        let answers = |report| match report {
            Report::Answers { answers, took_us } => Some((answers, Duration::from_micros(took_us))),
            _ => None,
        };
        self.cast
            .await_one(sender, "has its answers", answers)
            .await
    }

    fn check_answers(&self, answers: &[Answer]) -> Vec<String> {
        let wrong = |answer: &Answer| {
            let who = self.cast.name_of(&answer.node);
            match &answer.said {
                Ok(said) if *said == format!("{who} heard {QUESTION:?}") => None,
                Ok(said) => Some(format!("{who} answered {said:?}")),
                Err(why) => Some(format!("{who} did not answer: {why}")),
            }
        };
        answers.iter().filter_map(wrong).collect()
    }

    /// A role moves from one node to another while messages to it are on their way.
    async fn move_role(&mut self) -> Result<Flow, Failure> {
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

    /// One of two senders is killed while both send.
    async fn kill(&mut self, sent_before: u64) -> Result<Vec<Flow>, Failure> {
        let Parts {
            sender,
            victim,
            survivors,
            ..
        } = self.parts.clone();
        if let Some(fault) = self.fault {
            let origin = self.cast.node(victim).to_owned();
            self.cast
                .order(LIAR, &Order::Plant { fault, origin })
                .await?;
        }
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

    /// Collects the journals until they agree, or patience ends.
    async fn compare(&mut self, flows: Vec<Flow>) -> Result<Evidence, Failure> {
        let start = Instant::now();
        loop {
            let journals = self.journals().await?;
            let evidence = Evidence {
                flows: flows.clone(),
                journals,
            };
            let held = judge(&evidence).iter().all(Promise::is_held);
            if held || start.elapsed() > COMPARE_PATIENCE {
                let messages: u64 = evidence
                    .journals
                    .iter()
                    .flat_map(|journal| journal.entries.iter().map(JournalEntry::deliveries))
                    .sum();
                self.account.tell(
                    "compare",
                    &format!(
                        "the journals of {} with {} deliveries are compared",
                        names(&self.parts.survivors),
                        human::count(messages)
                    ),
                    json!({ "deliveries": messages }),
                )?;
                return Ok(evidence);
            }
            // What is still on its way between survivors takes a moment.
            sleep(COMPARE_AGAIN).await;
        }
    }

    async fn journals(&mut self) -> Result<Vec<NodeJournal>, Failure> {
        let survivors = self.parts.survivors.clone();
        for &index in &survivors {
            self.cast.order(index, &Order::Journal).await?;
        }
        let journal = |report| match report {
            Report::Journal { entries } => Some(entries),
            _ => None,
        };
        let journals = self
            .cast
            .await_each(&survivors, "shows its journal", journal)
            .await?;
        let named = |entry: JournalEntry| JournalEntry {
            origin: self.cast.name_of(&entry.origin),
            ..entry
        };
        let journals = journals.into_iter().map(|(index, entries)| NodeJournal {
            node: name(index),
            entries: entries.into_iter().map(named).collect(),
        });
        Ok(journals.collect())
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

/// Names in a row.
fn names(indices: &[usize]) -> String {
    let names: Vec<String> = indices.iter().map(|&index| name(index)).collect();
    names.join(" ")
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// The role that two nodes send to at once.
const FEED: &str = "feed";
/// The role that answers questions.
const ORACLE: &str = "oracle";
/// The role that moves.
const LEDGER: &str = "ledger";
/// Who holds the ledger at first, and who in the end.
const FIRST_LEDGER: usize = 0;
const SECOND_LEDGER: usize = 1;
/// Who tells the planted lie.
const LIAR: usize = 1;
/// What the oracles are asked.
const QUESTION: &str = "what is the time?";
/// How many messages each of the two senders multicasts.
const STREAM: u64 = 10_000;
/// How many messages a second the steady sender multicasts.
const PACE_PER_S: u64 = 10_000;
/// How many messages are sent before and after a role moves.
const MOVE_AFTER: u64 = 2_000;
/// For how many messages a role that moves has two holders.
const SHARED_FOR: u64 = 500;
/// How many messages the victim has begun to send when it is killed.
const KILL_AFTER: u64 = 10_000;
/// How long the survivors may take to agree.
const COMPARE_PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait before the journals are looked at again.
const COMPARE_AGAIN: Duration = Duration::from_millis(50);
