//! A forum in which nobody sees an answer before the question.
//!
//! Every member holds the role and posts to it, and posts answer each other.
//! Of two people's posts FIFO order promises nothing: where the network is slow in one place, an answer overtakes the question.
//! On a channel in causal order a post comes after everything that its author had seen before writing it.
//!
//! `cargo run -p rolecast --example forum` lets four members discuss in one process, each answering the first post that it sees of every topic.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use rolecast::{MeshSecret, Node, Order, TypedChannel, TypedInbox, TypedItem};
use serde::{Deserialize, Serialize};

const ROLE: &str = "forum:member";
const MEMBERS: usize = 4;
const TOPICS: u32 = 25;

/// A post, and the one that it answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Post {
    topic: u32,
    author: usize,
    answers: Option<usize>,
}

struct Member {
    number: usize,
    node: Node,
    inbox: TypedInbox<Post>,
    forum: TypedChannel<Post>,
    seen: BTreeSet<Post>,
}

impl Member {
    async fn start(
        number: usize,
        secret: &MeshSecret,
        seeds: &[std::net::SocketAddr],
    ) -> Result<Self, Box<dyn Error>> {
        let builder = Node::builder().secret(secret).listen("127.0.0.1:0");
        let node = builder.seeds(seeds.to_vec()).start().await?;
        let inbox = node.register_of(ROLE).await?;
        let forum = node.channel_of(ROLE);
        Ok(Member {
            number,
            node,
            inbox,
            forum: forum.with(|channel| channel.order(Order::Causal)),
            seen: BTreeSet::new(),
        })
    }

    /// Reads, answers what it sees first of every topic, and ends when it has seen everybody's part in all of them.
    async fn discuss(mut self) -> Result<Node, Box<dyn Error + Send + Sync>> {
        while self.seen.len() < MEMBERS * TOPICS as usize {
            match self.inbox.next().await {
                Some(TypedItem::Message(message)) => self.read(message.value).await?,
                other => return Err(format!("a post was expected, not {other:?}").into()),
            }
        }
        Ok(self.node)
    }

    async fn read(&mut self, post: Post) -> Result<(), Box<dyn Error + Send + Sync>> {
        let about = |seen: &&Post| seen.topic == post.topic;
        if let Some(author) = post.answers
            && !self.seen.iter().filter(about).any(|p| p.author == author)
        {
            return Err(format!("{} saw an answer to nothing: {post:?}", self.number).into());
        }
        let mine = self.seen.iter().filter(about).count() == 0 && post.author != self.number;
        let answer = Post {
            topic: post.topic,
            author: self.number,
            answers: Some(post.author),
        };
        self.seen.insert(post);
        if mine {
            self.forum.multicast(&answer).await?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let started = forum().await;
    let members = started.map_err(|error| error.to_string())?;
    // The first member opens every topic.
    let forum = members[0].forum.clone();
    let mut discussions = tokio::task::JoinSet::new();
    for member in members {
        discussions.spawn(member.discuss());
    }
    for topic in 0..TOPICS {
        let question = Post {
            topic,
            author: 0,
            answers: None,
        };
        forum.multicast(&question).await?;
    }
    let nodes = discussions.join_all().await;
    let nodes: Vec<Node> = nodes.into_iter().collect::<Result<_, _>>()?;
    println!(
        "{} members saw {} posts each, and every answer after what it answers",
        nodes.len(),
        MEMBERS * TOPICS as usize
    );
    for node in nodes {
        node.shutdown().await;
    }
    Ok(())
}

/// Members that all see each other.
async fn forum() -> Result<Vec<Member>, Box<dyn Error>> {
    let secret = MeshSecret::generate();
    let mut members: Vec<Member> = Vec::new();
    let mut seeds = Vec::new();
    for number in 0..MEMBERS {
        let member = Member::start(number, &secret, &seeds).await?;
        seeds.truncate(0);
        seeds.push(member.node.addr());
        members.push(member);
    }
    for member in &members {
        let all = member.forum.untyped().wait_for_holders(MEMBERS);
        all.timeout(Duration::from_secs(30)).await?;
    }
    Ok(members)
}
