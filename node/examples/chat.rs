//! A chat over a role: whoever holds `chat:ROOM` reads along.
//!
//! `cargo run -p rolecast --example chat` shows three people in one process.
//!
//! Across terminals, the first one starts a mesh and prints what the others need:
//!
//! ```text
//! cargo run -p rolecast --example chat -- Ada
//! cargo run -p rolecast --example chat -- Bob 127.0.0.1:PORT SECRET
//! ```

use std::error::Error;

use rolecast::{MeshEvent, MeshSecret, Node, TypedChannel, TypedInbox, TypedItem};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const ROOM: &str = "chat:lobby";

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    name: String,
    text: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [] => demonstrate().await,
        [name] => {
            let secret = MeshSecret::generate();
            let node = start(&secret, &[]).await?;
            println!("others join with: NAME {} {secret}", node.addr());
            converse(node, name).await
        }
        [name, seed, secret] => {
            let node = start(&secret.parse()?, &[seed]).await?;
            converse(node, name).await
        }
        _ => Err("usage: chat [NAME [SEED SECRET]]".into()),
    }
}

async fn start(secret: &MeshSecret, seeds: &[&String]) -> Result<Node, Box<dyn Error>> {
    let builder = Node::builder().secret(secret).listen("127.0.0.1:0");
    Ok(builder.seeds(seeds).start().await?)
}

/// What is typed goes to everybody in the room, what they type is printed.
async fn converse(node: Node, name: &str) -> Result<(), Box<dyn Error>> {
    let mut inbox = node.register_of::<Line>(ROOM).await?;
    let room = node.channel_of::<Line>(ROOM);
    let mut watch = node.watch();
    let mut typed = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = typed.next_line() => {
                let Some(text) = line? else { break };
                room.multicast(&Line { name: name.to_owned(), text }).await?;
            }
            item = inbox.next() => match item {
                Some(TypedItem::Message(message)) => {
                    if message.origin() != node.id() {
                        println!("{}: {}", message.value.name, message.value.text);
                    }
                }
                Some(TypedItem::Gap(_)) => println!("(some lines are lost)"),
                Some(_) => {}
                None => break,
            },
            event = watch.next() => match event {
                Some(MeshEvent::Joined(member)) => println!("({} is here)", member.id),
                Some(MeshEvent::Left(id) | MeshEvent::Down(id)) => println!("({id} is gone)"),
                _ => {}
            },
        }
    }
    println!("({})", node.shutdown().await);
    Ok(())
}

/// Three people in one process.
async fn demonstrate() -> Result<(), Box<dyn Error>> {
    let secret = MeshSecret::generate();
    let ada = start(&secret, &[]).await?;
    let bob = start(&secret, &[&ada.addr().to_string()]).await?;
    let eve = start(&secret, &[&ada.addr().to_string()]).await?;
    let mut readers = Vec::new();
    for (name, node) in [("Ada", &ada), ("Bob", &bob), ("Eve", &eve)] {
        let inbox = node.register_of::<Line>(ROOM).await?;
        readers.push(tokio::spawn(read(name, inbox)));
    }
    for (name, node, text) in [
        ("Ada", &ada, "Hello, who is there?"),
        ("Bob", &bob, "Bob, on another node."),
        ("Eve", &eve, "And Eve. No server in the middle!"),
    ] {
        node.wait_for(ROOM, 3).await?;
        say(&node.channel_of(ROOM), name, text).await?;
    }
    for node in [&eve, &bob, &ada] {
        node.shutdown().await;
    }
    for reader in readers {
        reader.await?;
    }
    Ok(())
}

/// Says a line, and waits until everybody has read it.
async fn say(room: &TypedChannel<Line>, name: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let line = Line {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let outcome = room.multicast(&line).await?.acked().await?;
    println!("{name} was heard by {}", outcome.acknowledged);
    Ok(())
}

async fn read(reader: &str, mut inbox: TypedInbox<Line>) {
    while let Some(item) = inbox.next().await {
        if let TypedItem::Message(message) = item {
            println!(
                "  {reader} reads: {}: {}",
                message.value.name, message.value.text
            );
        }
    }
}
