//! A node of the demo: a process that does what its parent says, and reports.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use rolecast::{Inbox, InboxItem, MeshEvent, Node, Profile};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::demo::journal::{Journal, write_payload};
use crate::demo::orders::{Answer, Order, Report, SECRET_VARIABLE};
use crate::failure::Failure;
use crate::session::in_runtime;

/// What a node of the demo is told at its start; the rest comes as orders.
#[derive(Debug, Args)]
pub(crate) struct ActorArgs {
    /// Its number, from 1
    number: u32,
    /// Where the first node is
    #[arg(long)]
    seed: Option<String>,
}

/// Runs until the parent says that it is enough, or is gone.
pub(crate) fn run(args: ActorArgs) -> Result<(), Failure> {
    let secret = std::env::var(SECRET_VARIABLE)
        .map_err(|_| Failure::usage("this command is a part of `rolecast demo`: run that"))?;
    let mut orders = read_orders();
    in_runtime(async {
        let node = Node::builder()
            .secret(secret)
            .seeds(args.seed)
            .listen("127.0.0.1:0")
            .service("demo", args.number)
            .profile(Profile::Local)
            .start()
            .await
            .map_err(|error| Failure::failed(error.to_string()))?;
        let name = format!("n{}", args.number);
        let mut actor = Actor::new(name, node);
        actor.introduce();
        while let Some(order) = orders.recv().await {
            let leaves = matches!(order, Order::Leave);
            if let Err(why) = actor.obey(order).await {
                report(&Report::Failed { why });
            }
            if leaves {
                break;
            }
        }
        Ok(())
    })
}

/// Reads orders in a thread of its own; a parent that is gone ends the process.
fn read_orders() -> mpsc::Receiver<Order> {
    let (send, receive) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let order = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            let Some(order) = order else { break };
            if send.blocking_send(order).is_err() {
                break;
            }
        }
        std::process::exit(1);
    });
    receive
}

/// Writes one report; a parent that does not read is gone.
fn report(report: &Report) {
    let line = serde_json::to_string(report).unwrap_or_default();
    if writeln!(io::stdout().lock(), "{line}").is_err() {
        std::process::exit(1);
    }
}

/// The node, and what it is doing.
struct Actor {
    name: String,
    node: Node,
    journal: Arc<Mutex<Journal>>,
    held: BTreeMap<String, Holding>,
    sent: BTreeMap<String, Arc<AtomicU64>>,
    stop: watch::Sender<bool>,
}

/// A role that it holds.
struct Holding {
    give_up: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Actor {
    fn new(name: String, node: Node) -> Self {
        Actor {
            name,
            node,
            journal: Arc::default(),
            held: BTreeMap::new(),
            sent: BTreeMap::new(),
            stop: watch::Sender::new(false),
        }
    }

    /// Says who it is, and from here on who goes.
    fn introduce(&self) {
        let mut events = self.node.watch();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    MeshEvent::Down(node) => report(&Report::Down {
                        node: node.to_hex(),
                    }),
                    MeshEvent::Left(node) => report(&Report::Left {
                        node: node.to_hex(),
                    }),
                    _ => {}
                }
            }
        });
        report(&Report::Started {
            node: self.node.id().to_hex(),
            addr: self.node.addr(),
        });
    }

    /// Carries out one order; an error says why not.
    async fn obey(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::TakeUp { role } => self.take_up(role).await?,
            Order::Drop { role } => self.drop_role(role).await?,
            Order::Expect { members, holders } => self.expect(members, &holders).await?,
            Order::Stream {
                role,
                count,
                pace_per_s,
            } => self.stream(role, count, pace_per_s),
            Order::Stop => drop(self.stop.send_replace(true)),
            Order::Ask {
                role,
                question,
                all,
            } => self.ask(&role, question, all).await?,
            Order::Journal => report(&Report::Journal {
                entries: lock(&self.journal).entries(),
            }),
            Order::Plant { fault, origin } => lock(&self.journal).plant(fault, origin),
            Order::Leave => drop(self.node.shutdown().await),
        }
        Ok(())
    }

    async fn take_up(&mut self, role: String) -> Result<(), String> {
        let inbox = self
            .node
            .register(&role)
            .await
            .map_err(|error| error.to_string())?;
        let (give_up, given_up) = oneshot::channel();
        let (name, journal) = (self.name.clone(), Arc::clone(&self.journal));
        let task = tokio::spawn(hold(inbox, given_up, name, journal));
        self.held.insert(role.clone(), Holding { give_up, task });
        report(&Report::TakenUp { role });
        Ok(())
    }

    async fn drop_role(&mut self, role: String) -> Result<(), String> {
        let holding = self.held.remove(&role).ok_or("the role is not held")?;
        // The task ends by itself when the node is closed.
        let _ = holding.give_up.send(());
        holding.task.await.map_err(|error| error.to_string())?;
        report(&Report::Dropped { role });
        Ok(())
    }

    /// Waits until the view of the mesh is so.
    async fn expect(
        &self,
        members: usize,
        holders: &BTreeMap<String, usize>,
    ) -> Result<(), String> {
        let mut events = self.node.watch();
        loop {
            let seen = self.node.members().await;
            let known = |(role, wanted): (&String, &usize)| {
                seen.iter().filter(|member| member.holds(role)).count() == *wanted
            };
            if seen.len() == members && holders.iter().all(known) {
                report(&Report::Knows);
                return Ok(());
            }
            events.next().await.ok_or("the node is closed")?;
        }
    }

    fn stream(&mut self, role: String, count: Option<u64>, pace_per_s: Option<u64>) {
        self.stop.send_replace(false);
        let sent = Arc::clone(self.sent.entry(role.clone()).or_default());
        let stream = Stream {
            node: self.node.clone(),
            role,
            last: count.map(|count| sent.load(Ordering::Relaxed) + count),
            sent,
            pace_per_s,
            stop: self.stop.subscribe(),
        };
        tokio::spawn(async move {
            if let Err(why) = stream.run().await {
                report(&Report::Failed { why });
            }
        });
    }

    async fn ask(&self, role: &str, question: String, all: bool) -> Result<(), String> {
        let start = Instant::now();
        let channel = self.node.channel(role);
        let text = |bytes: rolecast::Bytes| String::from_utf8_lossy(&bytes).into_owned();
        let answers = if all {
            let answers = channel.request_all(question).await;
            let answers = answers.map_err(|error| error.to_string())?.collect().await;
            let answers = answers.into_iter().map(|answer| Answer {
                node: answer.node.to_hex(),
                said: answer.result.map(text).map_err(|why| why.to_string()),
            });
            answers.collect()
        } else {
            let reply = channel.request(question).await;
            let reply = reply.map_err(|error| error.to_string())?;
            vec![Answer {
                node: reply.node.to_hex(),
                said: Ok(text(reply.payload)),
            }]
        };
        let took_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        report(&Report::Answers { answers, took_us });
        Ok(())
    }
}

/// Writes down what comes to a role, and answers questions, until the role is to be given up.
async fn hold(
    mut inbox: Inbox,
    given_up: oneshot::Receiver<()>,
    name: String,
    journal: Arc<Mutex<Journal>>,
) {
    let mut given_up = Some(given_up);
    let mut items = Vec::new();
    loop {
        tokio::select! {
            biased;
            taken = inbox.next_many(&mut items, 1_024) => if taken == 0 {
                return;
            },
            Some(_) = async { Some(given_up.as_mut()?.await) }, if given_up.is_some() => {
                given_up = None;
                // What came before is still to be taken; then the inbox ends.
                let _ = inbox.unregister().await;
            }
        }
        for item in items.drain(..) {
            match item {
                InboxItem::Message(message) if message.is_request() => {
                    let question = String::from_utf8_lossy(message.payload());
                    let answer = format!("{name} heard {question:?}");
                    // Whoever asked may be gone; that needs no answer.
                    let _ = message.reply(answer).await;
                }
                InboxItem::Message(message) => lock(&journal).deliver(&message),
                InboxItem::Gap(gap) => lock(&journal).miss(inbox.role().as_str(), &gap),
                _ => {}
            }
        }
    }
}

/// Numbered messages to one role.
struct Stream {
    node: Node,
    role: String,
    /// The number of the last message that was sent, over all streams to this role.
    sent: Arc<AtomicU64>,
    /// Where to end, if that is known.
    last: Option<u64>,
    pace_per_s: Option<u64>,
    stop: watch::Receiver<bool>,
}

impl Stream {
    async fn run(self) -> Result<(), String> {
        let channel = self.node.channel(&self.role);
        let origin = self.node.id().to_hex();
        let mut tick = tokio::time::interval(TICK);
        let burst = self.pace_per_s.map(|pace| pace.div_ceil(TICKS_PER_S));
        let mut number = self.sent.load(Ordering::Relaxed);
        let mut announced = number;
        let mut receipt = None;
        while self.last.is_none_or(|last| number < last) && !*self.stop.borrow() {
            if number >= announced {
                announced = number + ANNOUNCED_AT_ONCE;
                // Said before it is done, so that a parent that kills this process knows what it can have sent.
                report(&Report::Announced {
                    role: self.role.clone(),
                    upto: announced,
                });
            }
            if burst.is_some_and(|burst| number.is_multiple_of(burst)) {
                tick.tick().await;
            }
            number += 1;
            let payload = write_payload(&self.role, &origin, number);
            let sent = channel.multicast(payload).await;
            receipt = Some(sent.map_err(|error| error.to_string())?);
        }
        self.sent.store(number, Ordering::Relaxed);
        let mut lost = 0;
        if let Some(receipt) = receipt {
            let outcome = receipt.acked().await.map_err(|error| error.to_string())?;
            lost = outcome.lost.len();
        }
        let role = self.role;
        report(&Report::Sent {
            role,
            upto: number,
            lost,
        });
        Ok(())
    }
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    // A journal is well-formed at every point.
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many messages are announced with one report.
const ANNOUNCED_AT_ONCE: u64 = 100;
/// How often a stream with a pace sends.
const TICK: Duration = Duration::from_millis(1);
/// How many ticks make a second.
const TICKS_PER_S: u64 = 1_000;
