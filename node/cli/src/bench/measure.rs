//! One measurement from its first process to its result.

use std::net::SocketAddr;

use futures_util::future::try_join_all;
use rolecast::MeshSecret;

use crate::bench::ceiling;
use crate::bench::fleet::Process;
use crate::bench::plan::{Plan, System};
use crate::bench::progress::Progress;
use crate::bench::result::Measured;
use crate::bench::words::{Access, Job, Order, Part, Tally, Word};
use crate::failure::Failure;

/// Starts the processes, lets them work, and ends them.
pub(crate) async fn measure(plan: Plan, progress: &Progress) -> Result<Measured, Failure> {
    let access = match plan.system {
        System::Rolecast => Access::Secret(MeshSecret::generate().to_string()),
        System::Ceiling => ceiling::access()?,
    };
    progress.note("starting the processes");
    let (mut subscribers, addrs) = start_subscribers(plan, &access).await?;
    let mut publisher = start(plan, Part::Publisher, &access, addrs).await?;

    progress.note("warming up");
    let warm = |word| matches!(word, Word::Warm).then_some(());
    publisher.await_word(warm).await?;
    for subscriber in &mut subscribers {
        subscriber.await_word(warm).await?;
        subscriber.order(&Order::Begin).await?;
        let begun = |word| matches!(word, Word::Begun).then_some(());
        subscriber.await_word(begun).await?;
    }

    publisher.order(&Order::Begin).await?;
    let sent = published(&mut publisher, &plan, progress).await?;
    let mut received = Vec::new();
    for subscriber in &mut subscribers {
        subscriber.order(&Order::End).await?;
        received.push(*subscriber.await_word(done).await?);
    }
    for process in subscribers.into_iter().chain([publisher]) {
        process.end().await;
    }
    Ok(Measured::new(plan, &sent, &received))
}

async fn start(
    plan: Plan,
    part: Part,
    access: &Access,
    peers: Vec<SocketAddr>,
) -> Result<Process, Failure> {
    let access = access.clone();
    Process::start(Job {
        plan,
        part,
        access,
        peers,
    })
    .await
}

/// Starts the first subscriber, and then the others, which find the first.
async fn start_subscribers(
    plan: Plan,
    access: &Access,
) -> Result<(Vec<Process>, Vec<SocketAddr>), Failure> {
    let (first, addr) = start_subscriber(plan, access, Vec::new()).await?;
    let others = (1..plan.subs()).map(|_| start_subscriber(plan, access, vec![addr]));
    let others = try_join_all(others).await?;
    Ok(std::iter::once((first, addr)).chain(others).unzip())
}

async fn start_subscriber(
    plan: Plan,
    access: &Access,
    peers: Vec<SocketAddr>,
) -> Result<(Process, SocketAddr), Failure> {
    let mut process = start(plan, Part::Subscriber, access, peers).await?;
    let listening = |word| match word {
        Word::Listening(addr) => Some(addr),
        _ => None,
    };
    let addr = process.await_word(listening).await?;
    Ok((process, addr))
}

/// Waits until the publisher has sent everything.
async fn published(
    publisher: &mut Process,
    plan: &Plan,
    progress: &Progress,
) -> Result<Tally, Failure> {
    loop {
        match publisher.word().await? {
            Word::Progress(sent) => progress.part(sent, plan.count()),
            Word::Done(tally) => return Ok(*tally),
            _ => {}
        }
    }
}

fn done(word: Word) -> Option<Box<Tally>> {
    match word {
        Word::Done(tally) => Some(tally),
        _ => None,
    }
}
