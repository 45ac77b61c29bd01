//! A benchmark's ends as nodes of a mesh.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rolecast::{Channel, Inbox, InboxItem, Node, Profile, Receipt};

use crate::bench::ends::{Caller, Replier, Sink, Source};
use crate::bench::part::Desk;
use crate::bench::payload::Stray;
use crate::bench::plan::{Plan, Scenario};
use crate::bench::words::{Access, Job, Part, Word};
use crate::bench::{join, peer, publish, roundtrip, stream, subscribe};
use crate::failure::Failure;

/// Takes part as a node.
pub(crate) async fn run(job: &Job, desk: &mut Desk) -> Result<(), Failure> {
    let node = start(job).await?;
    match job.part {
        Part::Publisher => publisher(&node, &job.plan, desk).await,
        Part::Peer => {
            let mut end = hold_role(&node).await?;
            desk.say(&Word::Listening(node.addr()))?;
            let channel = find_all(&node, job.plan.subs()).await?;
            let promise = job.plan.promise().unwrap_or_default();
            let channel = channel.dissemination(promise.dissemination);
            let channel = channel.k_safe(promise.k_safe);
            peer::run(&channel, &mut end.inbox, &job.plan, desk).await?;
            std::future::pending().await
        }
        Part::Joiner => {
            let end = hold_role(&node).await?;
            desk.say(&Word::Listening(node.addr()))?;
            find_all(&node, job.plan.subs()).await?;
            join::report(desk)?;
            // The role is held as long as others look for it.
            std::future::pending::<()>().await;
            drop(end);
            Ok(())
        }
        Part::Subscriber => {
            let mut ends = hold_role(&node).await?;
            desk.say(&Word::Listening(node.addr()))?;
            match job.plan.scenario {
                Scenario::Reqrep { .. } => roundtrip::answer(ends, desk).await?,
                Scenario::Stream { .. } => {
                    stream::subscribe(&mut ends.inbox, &job.plan, desk).await?;
                }
                _ => subscribe::run(&mut ends, &job.plan, desk).await?,
            }
            // The role has to be held until the coordinator ends all processes: what others have not acknowledged is still relayed.
            std::future::pending().await
        }
    }
}

async fn start(job: &Job) -> Result<Node, Failure> {
    let Access::Secret(secret) = &job.access else {
        return Err(Failure::failed("a node needs a mesh secret"));
    };
    let started = Node::builder()
        .secret(secret.as_str())
        .seeds(&job.peers)
        .listen(SocketAddr::new(job.plan.addr_of(job.part), 0).to_string())
        .profile(Profile::Local)
        .start();
    started
        .await
        .map_err(|error| Failure::failed(error.to_string()))
}

/// Waits until all who receive are found.
async fn find_all(node: &Node, receivers: usize) -> Result<Channel, Failure> {
    let channel = node.channel(ROLE);
    let found = channel.wait_for_holders(receivers).timeout(FOUND_WITHIN);
    found
        .await
        .map_err(|error| Failure::failed(format!("the receivers were not found: {error}")))?;
    Ok(channel)
}

async fn publisher(node: &Node, plan: &Plan, desk: &mut Desk) -> Result<(), Failure> {
    let channel = find_all(node, plan.subs()).await?;
    if let Scenario::Reqrep { inflight, .. } = plan.scenario {
        let mut callers = vec![channel; inflight];
        return roundtrip::ask(&mut callers, plan, desk).await;
    }
    let promise = plan.promise().unwrap_or_default();
    let channel = channel.dissemination(promise.dissemination);
    let channel = channel.k_safe(promise.k_safe);
    if let Scenario::Stream { .. } = plan.scenario {
        return stream::publish(&channel, plan, desk).await;
    }
    let transfers = transfer(channel.clone(), plan.beside());
    let last = None;
    let mut sink = MeshSink { channel, last };
    tokio::select! {
        biased;
        published = publish::run(&mut sink, plan, desk) => published,
        failed = transfers => failed,
    }
}

/// Sends large payloads one after the other; never returns unless that fails.
async fn transfer(channel: Channel, bytes: u64) -> Result<(), Failure> {
    if bytes == 0 {
        return std::future::pending().await;
    }
    // In a task, as a program would have it.
    let sending = tokio::spawn(async move {
        loop {
            stream::send(&channel, bytes).await?;
        }
    });
    match sending.await {
        Ok(failed) => failed,
        Err(error) => Err(Failure::failed(error.to_string())),
    }
}

async fn hold_role(node: &Node) -> Result<MeshEnd, Failure> {
    let registered = node.register(ROLE).await;
    let inbox = registered.map_err(|error| Failure::failed(error.to_string()))?;
    let items = Vec::with_capacity(ITEMS_AT_ONCE);
    Ok(MeshEnd { inbox, items })
}

struct MeshSink {
    channel: Channel,
    /// The receipt of what was sent last.
    last: Option<Receipt>,
}

impl Sink for MeshSink {
    #[inline]
    async fn send(&mut self, payload: Bytes) -> Result<(), Failure> {
        let sent = self.channel.multicast(payload).await;
        self.last = Some(sent.map_err(|error| Failure::failed(error.to_string()))?);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        let Some(receipt) = &self.last else {
            return Ok(());
        };
        let outcome = receipt
            .acked()
            .await
            .map_err(|error| Failure::failed(error.to_string()))?;
        match outcome.is_complete() {
            true => Ok(()),
            false => Err(Failure::failed(format!(
                "{} subscribers went away in the middle of the measurement",
                outcome.lost.len()
            ))),
        }
    }
}

impl Caller for Channel {
    async fn call(&mut self, payload: Bytes) -> Result<(), Failure> {
        let reply = self
            .request(payload.clone())
            .await
            .map_err(|error| Failure::failed(error.to_string()))?;
        match reply.payload == payload {
            true => Ok(()),
            false => Err(Failure::failed("a reply came to another request")),
        }
    }
}

struct MeshEnd {
    inbox: Inbox,
    items: Vec<InboxItem>,
}

impl Source for MeshEnd {
    #[inline]
    async fn take(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), Stray>,
    ) -> Result<(), Failure> {
        self.inbox.next_many(&mut self.items, ITEMS_AT_ONCE).await;
        for item in self.items.drain(..) {
            match item {
                InboxItem::Message(message) => each(message.payload())
                    .map_err(|stray| Failure::failed(format!("a promise was broken: {stray}")))?,
                InboxItem::Large(large) => match large.length() {
                    Some(bytes) if bytes >= TRANSFER_BYTES_MIN => {
                        tokio::spawn(stream::drain(large.into_reader(), bytes));
                    }
                    _ => {
                        let payload = large.into_bytes().await;
                        let payload = payload.map_err(|e| Failure::failed(e.to_string()))?;
                        each(&payload).map_err(|stray| {
                            Failure::failed(format!("a promise was broken: {stray}"))
                        })?;
                    }
                },
                InboxItem::Closed(reason) => return Err(Failure::failed(reason.to_string())),
                // What is missing shows in the numbers of what follows, or at the end.
                _ => {}
            }
        }
        Ok(())
    }
}

impl MeshEnd {
    async fn reply_to_all(mut self) -> Result<(), Failure> {
        while self.inbox.next_many(&mut self.items, ITEMS_AT_ONCE).await > 0 {
            let requests = self.items.drain(..).filter_map(InboxItem::into_message);
            for request in requests {
                let payload = request.payload().clone();
                let replied = request.send_reply(payload);
                replied.map_err(|error| Failure::failed(error.to_string()))?;
            }
        }
        Err(Failure::failed("the node was closed"))
    }
}

impl Replier for MeshEnd {
    async fn serve(self) -> Result<(), Failure> {
        // In a task, as the bare connections' streams are: to wake the future that the runtime blocks on takes tokio one system call more.
        match tokio::spawn(self.reply_to_all()).await {
            Ok(ended) => ended,
            Err(error) => Err(Failure::failed(error.to_string())),
        }
    }
}

/// What all subscribers hold.
const ROLE: &str = "bench:subscriber";
/// What has so many bytes or more is no message of the measurement, but a transfer beside them.
pub(crate) const TRANSFER_BYTES_MIN: u64 = 17 << 20;
/// How many messages are taken out of the inbox at once.
const ITEMS_AT_ONCE: usize = 256;
/// How long the nodes may take to find each other.
const FOUND_WITHIN: Duration = Duration::from_secs(30);
