//! Requests and replies with typed messages: a tiny key-value store behind the role `store`.
//!
//! `cargo run -p rolecast --example typed_request` shows two servers and a client in one process.
//!
//! Across terminals, the server prints what the client needs:
//!
//! ```text
//! cargo run -p rolecast --example typed_request -- serve
//! cargo run -p rolecast --example typed_request -- ask 127.0.0.1:PORT SECRET KEY [VALUE]
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use rolecast::{MeshSecret, Node, Pick, TypedChannel, TypedInbox, TypedItem};
use serde::{Deserialize, Serialize};

const STORE: &str = "store";

#[derive(Debug, Serialize, Deserialize)]
enum Query {
    Read { key: String },
    Write { key: String, value: String },
    Count,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    Value(Option<String>),
    Written { before: Option<String> },
    Count(usize),
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => demonstrate().await,
        ["serve"] => {
            let secret = MeshSecret::generate();
            let node = start(&secret, None).await?;
            println!("clients ask with: ask {} {secret} KEY [VALUE]", node.addr());
            serve(node.register_of(STORE).await?).await;
            Ok(())
        }
        ["ask", seed, secret, key, value @ ..] => {
            let node = start(&secret.parse()?, Some(seed)).await?;
            let query = match value.first() {
                Some(value) => write(key, value),
                None => Query::Read {
                    key: (*key).to_owned(),
                },
            };
            let store = node.channel_of(STORE);
            store
                .untyped()
                .wait_for_holders(1)
                .timeout(Duration::from_secs(5))
                .await?;
            println!("{:?}", ask(&store, &query).await?);
            node.shutdown().await;
            Ok(())
        }
        _ => Err("usage: typed_request [serve | ask SEED SECRET KEY [VALUE]]".into()),
    }
}

async fn start(secret: &MeshSecret, seed: Option<&str>) -> Result<Node, Box<dyn Error>> {
    let builder = Node::builder().secret(secret).listen("127.0.0.1:0");
    Ok(builder.seeds(seed).start().await?)
}

/// Answers queries until the inbox ends.
async fn serve(mut inbox: TypedInbox<Query>) {
    let mut entries = BTreeMap::new();
    while let Some(item) = inbox.next().await {
        match item {
            TypedItem::Message(message) => {
                let (query, message) = message.into_parts();
                let answer = match query {
                    Query::Read { key } => Answer::Value(entries.get(&key).cloned()),
                    Query::Write { key, value } => Answer::Written {
                        before: entries.insert(key, value),
                    },
                    Query::Count => Answer::Count(entries.len()),
                };
                if let Err(error) = message.reply_with(&answer).await {
                    eprintln!("no reply was sent: {error}");
                }
            }
            TypedItem::Undecodable { message, error } => {
                eprintln!("{} does not speak our language: {error}", message.origin());
            }
            _ => {}
        }
    }
}

/// Asks the one holder that is responsible for the key.
async fn ask(store: &TypedChannel<Query>, query: &Query) -> Result<Answer, Box<dyn Error>> {
    let key = match query {
        Query::Read { key } | Query::Write { key, .. } => key.clone(),
        Query::Count => String::new(),
    };
    let request = store.request(query).pick(Pick::Sticky(key.into()));
    Ok(request.timeout(Duration::from_secs(2)).await?.value)
}

fn write(key: &str, value: &str) -> Query {
    Query::Write {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// Two servers share the keys between them.
async fn demonstrate() -> Result<(), Box<dyn Error>> {
    let secret = MeshSecret::generate();
    let client = start(&secret, None).await?;
    let mut servers = Vec::new();
    for _ in 0..2 {
        let server = start(&secret, Some(&client.addr().to_string())).await?;
        tokio::spawn(serve(server.register_of(STORE).await?));
        servers.push(server);
    }
    let store = client.channel_of(STORE);
    store.untyped().wait_for_holders(2).await?;

    for (key, value) in [
        ("ada", "1815"),
        ("alan", "1912"),
        ("grace", "1906"),
        ("edsger", "1930"),
    ] {
        println!("write {key}: {:?}", ask(&store, &write(key, value)).await?);
    }
    for key in ["ada", "grace", "nobody"] {
        let query = Query::Read {
            key: key.to_owned(),
        };
        println!("read {key}: {:?}", ask(&store, &query).await?);
    }
    let mut answers = store.request_all::<Answer>(&Query::Count).await?;
    while let Some(answer) = answers.next().await {
        println!("server {} has {:?}", answer.node, answer.result?);
    }
    for node in servers.iter().chain([&client]) {
        node.shutdown().await;
    }
    Ok(())
}
