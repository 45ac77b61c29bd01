//! A replicated counter: every replica counts for itself, and all agree.
//!
//! Each replica keeps how far every *node* has counted (a grow-only counter, as in Shapiro et al., "Conflict-free Replicated Data Types", 2011) and multicasts its own part when it changes.
//! Parts only grow, so a replica that comes later, or missed something, asks all others for theirs and takes the maximum of each.
//!
//! `cargo run -p rolecast --example counter` shows four replicas in one process.
//!
//! Across terminals, the first one prints what the others need; every line of input counts one up:
//!
//! ```text
//! cargo run -p rolecast --example counter -- start
//! cargo run -p rolecast --example counter -- join 127.0.0.1:PORT SECRET
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use rolecast::{MeshSecret, Node, NodeId, TypedChannel, TypedInbox, TypedItem, TypedMessage};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const ROLE: &str = "counter:replica";

#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The sender has counted this far.
    Counted(u64),
    /// What do you know?
    Tell,
}

/// What a replica knows: how far each node has counted.
type Parts = BTreeMap<NodeId, u64>;

struct Replica {
    node: Node,
    inbox: TypedInbox<Word>,
    all: TypedChannel<Word>,
    parts: Parts,
}

impl Replica {
    async fn start(secret: &MeshSecret, seeds: &[String]) -> Result<Self, Box<dyn Error>> {
        let builder = Node::builder().secret(secret).listen("127.0.0.1:0");
        let node = builder.seeds(seeds).start().await?;
        let inbox = node.register_of(ROLE).await?;
        let all = node.channel_of(ROLE);
        Ok(Replica {
            node,
            inbox,
            all,
            parts: Parts::new(),
        })
    }

    fn value(&self) -> u64 {
        self.parts.values().sum()
    }

    /// Counts one up and tells the others.
    async fn count(&mut self) -> Result<(), Box<dyn Error>> {
        let part = self.parts.entry(self.node.id()).or_default();
        *part += 1;
        let word = Word::Counted(*part);
        self.all.multicast(&word).await?;
        Ok(())
    }

    /// Asks all others what they know.
    async fn catch_up(&mut self) -> Result<(), Box<dyn Error>> {
        let asked = self.all.request_all::<Vec<(NodeId, u64)>>(&Word::Tell);
        let mut answers = asked.timeout(Duration::from_secs(1)).await?;
        loop {
            // Its own question is among those it answers.
            tokio::select! {
                answer = answers.next() => match answer {
                    Some(answer) => answer.result.into_iter().flatten().for_each(|part| self.merge(part)),
                    None => return Ok(()),
                },
                item = self.inbox.next() => self.on_item(item).await?,
            }
        }
    }

    fn merge(&mut self, (node, part): (NodeId, u64)) {
        let known = self.parts.entry(node).or_default();
        *known = part.max(*known);
    }

    async fn on_item(&mut self, item: Option<TypedItem<Word>>) -> Result<(), Box<dyn Error>> {
        match item {
            Some(TypedItem::Message(message)) => self.on_word(message).await,
            // What is lost is in every later word of the same node.
            Some(_) => Ok(()),
            None => Err("the node is closed".into()),
        }
    }

    async fn on_word(&mut self, message: TypedMessage<Word>) -> Result<(), Box<dyn Error>> {
        match message.value {
            Word::Counted(part) => self.merge((message.origin(), part)),
            Word::Tell => {
                let parts: Vec<(NodeId, u64)> = self.parts.clone().into_iter().collect();
                message.reply(&parts).await?;
            }
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => demonstrate().await,
        ["start"] => {
            let secret = MeshSecret::generate();
            let replica = Replica::start(&secret, &[]).await?;
            println!("others join with: join {} {secret}", replica.node.addr());
            by_hand(replica).await
        }
        ["join", seed, secret] => {
            let mut replica = Replica::start(&secret.parse()?, &[(*seed).to_owned()]).await?;
            replica.node.wait_for(ROLE, 2).await?;
            replica.catch_up().await?;
            by_hand(replica).await
        }
        _ => Err("usage: counter [start | join SEED SECRET]".into()),
    }
}

/// Every line that is typed counts one up.
async fn by_hand(mut replica: Replica) -> Result<(), Box<dyn Error>> {
    let mut typed = BufReader::new(tokio::io::stdin()).lines();
    loop {
        println!("{}", replica.value());
        tokio::select! {
            line = typed.next_line() => match line? {
                Some(_) => replica.count().await?,
                None => break,
            },
            item = replica.inbox.next() => replica.on_item(item).await?,
        }
    }
    replica.node.shutdown().await;
    Ok(())
}

/// Three replicas count a thousand each, all at once; a fourth comes later and catches up.
async fn demonstrate() -> Result<(), Box<dyn Error>> {
    let secret = MeshSecret::generate();
    let mut replicas = vec![Replica::start(&secret, &[]).await?];
    let seeds = [replicas[0].node.addr().to_string()];
    for _ in 0..2 {
        replicas.push(Replica::start(&secret, &seeds).await?);
    }
    for replica in &replicas {
        replica.node.wait_for(ROLE, 3).await?;
    }
    let mut counting = tokio::task::JoinSet::new();
    for mut replica in replicas {
        counting.spawn(async move {
            for _ in 0..1_000 {
                replica.count().await.map_err(|error| error.to_string())?;
            }
            while replica.value() < 3_000 {
                let item = replica.inbox.next().await;
                replica
                    .on_item(item)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            Ok::<Replica, String>(replica)
        });
    }
    let mut replicas = Vec::new();
    while let Some(replica) = counting.join_next().await {
        let replica = replica??;
        println!(
            "replica {} has counted to {}",
            replica.node.id(),
            replica.value()
        );
        replicas.push(replica);
    }

    let mut late = Replica::start(&secret, &seeds).await?;
    late.node.wait_for(ROLE, 4).await?;
    let answering: Vec<_> = replicas
        .into_iter()
        .map(|mut replica| {
            tokio::spawn(async move {
                while let Some(item) = replica.inbox.next().await {
                    if replica.on_item(Some(item)).await.is_err() {
                        break;
                    }
                }
            })
        })
        .collect();
    late.catch_up().await?;
    println!(
        "replica {} came late and has learnt {}",
        late.node.id(),
        late.value()
    );
    for task in answering {
        task.abort();
    }
    late.node.shutdown().await;
    Ok(())
}
