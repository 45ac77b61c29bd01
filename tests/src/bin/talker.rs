//! A process under test: it holds a role, talks to it when it is told to, and reports what it hears; see `rolecast_tests::talk`.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rolecast::{Channel, Gap, Inbox, InboxItem, MeshEvent, Node, Profile};
use rolecast_tests::talk::{Life, ROLE, Report, Task, Way, Word};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut tasks = read_tasks();
    let mut talker = None;
    while let Some(task) = tasks.recv().await {
        match (task, &talker) {
            (
                Task::Start {
                    secret,
                    seeds,
                    state_dir,
                },
                None,
            ) => {
                let node = Node::builder()
                    .secret(secret)
                    .seeds(seeds)
                    .state_dir(state_dir)
                    .listen("127.0.0.1:0")
                    .profile(Profile::Local);
                talker = Some(Talker::new(node.start().await.expect("it can be started")).await);
            }
            (Task::Expect { lives }, Some(talker)) => talker.expect(&lives).await,
            (Task::Say { round, way, count }, Some(talker)) => talker.say(round, way, count),
            (task, _) => panic!("not now: {task:?}"),
        }
    }
}

/// Reads what there is to do, in a thread of its own; the process ends with the one that tells it.
fn read_tasks() -> mpsc::Receiver<Task> {
    let (send, receive) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let line = line.expect("the standard input can be read");
            let task = serde_json::from_str(&line).expect("tasks are well-formed");
            if send.blocking_send(task).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    receive
}

/// Writes a line at once, so that a killed process leaves whole lines.
fn report(report: &Report) {
    let mut line = serde_json::to_vec(report).expect("reports are plain data");
    line.push(b'\n');
    if io::stdout().lock().write_all(&line).is_err() {
        // Nobody listens.
        std::process::exit(0);
    }
}

/// How far every life has been heard in the round.
#[derive(Default)]
struct Heard {
    round: u64,
    upto: BTreeMap<Life, u64>,
}

struct Talker {
    node: Node,
    heard: Arc<Mutex<Heard>>,
}

impl Talker {
    async fn new(node: Node) -> Self {
        let inbox = node
            .register(ROLE)
            .await
            .expect("it is held by nobody here");
        let heard = Arc::default();
        tokio::spawn(hear(inbox, Arc::clone(&heard)));
        tokio::spawn(watch(node.clone()));
        report(&Report::Started {
            life: Life {
                node: node.id(),
                epoch: node.epoch(),
            },
            addr: node.addr(),
        });
        Talker { node, heard }
    }

    async fn expect(&self, lives: &[Life]) {
        let mut events = self.node.watch();
        loop {
            let members = self.node.members().await;
            let holders = members.iter().filter(|member| member.holds(ROLE));
            let mut seen: Vec<Life> = holders
                .map(|member| Life {
                    node: member.id,
                    epoch: member.epoch,
                })
                .collect();
            seen.sort_unstable();
            let reached = |life: &Life| {
                let mut same = seen.iter().filter(|seen| seen.node == life.node);
                same.any(|seen| seen.epoch >= life.epoch)
            };
            if seen.len() == lives.len() && lives.iter().all(reached) {
                return report(&Report::Sees { lives: seen });
            }
            events.next().await.expect("the node is not closed");
        }
    }

    fn say(&self, round: u64, way: Way, count: Option<u64>) {
        *lock(&self.heard) = Heard {
            round,
            ..Heard::default()
        };
        let channel = self
            .node
            .channel(ROLE)
            .dissemination(way.dissemination)
            .order(way.order)
            .k_safe(way.k_safe);
        let causal = way.order == rolecast::Order::Causal;
        tokio::spawn(say(channel, Arc::clone(&self.heard), round, causal, count));
    }
}

async fn say(
    channel: Channel,
    heard: Arc<Mutex<Heard>>,
    round: u64,
    causal: bool,
    count: Option<u64>,
) {
    let mut receipt = None;
    for number in 1..=count.unwrap_or(u64::MAX) {
        let after = if causal {
            lock(&heard).upto.clone().into_iter().collect()
        } else {
            Vec::new()
        };
        let word = Word {
            round,
            number,
            after,
        };
        let sent = channel.multicast(word.to_payload()).await;
        receipt = Some(sent.expect("this node holds the role itself"));
        // Those who hear are tasks of the same thread.
        tokio::task::yield_now().await;
    }
    report(&Report::Said { round });
    let receipt = receipt.expect("there is a word in each round");
    let outcome = receipt.acked().await.expect("the node is not closed");
    let lost = outcome.lost;
    report(&Report::Settled { round, lost });
}

async fn hear(mut inbox: Inbox, heard: Arc<Mutex<Heard>>) {
    while let Some(item) = inbox.next().await {
        match item {
            InboxItem::Message(message) => {
                let from = Life {
                    node: message.origin(),
                    epoch: message.epoch(),
                };
                let word = Word::from_payload(message.payload());
                let mut heard = lock(&heard);
                if word.round == heard.round {
                    heard.upto.insert(from, word.number);
                }
                report(&Report::Heard { from, word });
            }
            InboxItem::Gap(Gap::DeclaredDown { .. }) => {
                let mut heard = lock(&heard);
                // Nobody waits for what was given to a former life.
                heard.upto.clear();
                report(&Report::Interrupted { round: heard.round });
            }
            InboxItem::Gap(Gap::Range { origin, .. }) => report(&Report::Lost {
                from: Life {
                    node: origin.node,
                    epoch: origin.epoch,
                },
            }),
            _ => {}
        }
    }
}

async fn watch(node: Node) {
    let mut events = node.watch();
    while let Some(event) = events.next().await {
        if let MeshEvent::Down(node) = event {
            report(&Report::Down { node });
        }
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
