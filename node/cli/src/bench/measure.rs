//! One measurement from its first process to its result.

use std::net::SocketAddr;

use futures_util::future::try_join_all;
use rolecast::MeshSecret;

use crate::bench::ceiling;
use crate::bench::fleet::Process;
use crate::bench::plan::{Plan, Scenario, System};
use crate::bench::progress::Progress;
use crate::bench::result::Measured;
use crate::bench::usage::Traffic;
use crate::bench::words::{Access, Job, Order, Part, Tally, Word};
use crate::failure::Failure;

/// Starts the processes, lets them work, and ends them.
pub(crate) async fn measure(plan: Plan, progress: &Progress) -> Result<Measured, Failure> {
    if let Scenario::Mesh { secs, .. } = plan.scenario {
        return all_to_all(plan, secs, progress).await;
    }
    let access = match plan.system {
        System::Rolecast => Access::Secret(MeshSecret::generate().to_string()),
        System::Ceiling => ceiling::access()?,
    };
    progress.note("starting the processes");
    let (mut subscribers, addrs) = start_receivers(plan, Part::Subscriber, &access).await?;
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

    let traffic = Traffic::so_far().filter(|_| plan.apart.is_none());
    publisher.order(&Order::Begin).await?;
    let sent = published(&mut publisher, &plan, progress).await?;
    let mut received = Vec::new();
    for subscriber in &mut subscribers {
        subscriber.order(&Order::End).await?;
        received.push(*subscriber.await_word(done).await?);
    }
    let traffic = since(traffic);
    for process in subscribers.into_iter().chain([publisher]) {
        process.end().await;
    }
    Ok(Measured::new(plan, &sent, &received).over(traffic))
}

/// The same where everybody sends to everybody.
async fn all_to_all(plan: Plan, secs: u64, progress: &Progress) -> Result<Measured, Failure> {
    let access = Access::Secret(MeshSecret::generate().to_string());
    progress.note("starting the processes");
    let (mut peers, _) = start_receivers(plan, Part::Peer, &access).await?;

    progress.note("warming up");
    for peer in &mut peers {
        let warm = |word| matches!(word, Word::Warm).then_some(());
        peer.await_word(warm).await?;
    }
    progress.note(&format!("measuring for {secs} s"));
    let traffic = Traffic::so_far();
    for peer in &mut peers {
        peer.order(&Order::Begin).await?;
    }
    let mut count = 0;
    for peer in &mut peers {
        let sent = |word| match word {
            Word::Sent(sent) => Some(sent),
            _ => None,
        };
        count += peer.await_word(sent).await?;
    }
    let mut tallies = Vec::new();
    for peer in &mut peers {
        peer.order(&Order::Expect(count)).await?;
        tallies.push(*peer.await_word(done).await?);
    }
    let traffic = since(traffic);
    for peer in peers {
        peer.end().await;
    }
    let began = tallies.iter().map(|tally| tally.began_ns).min();
    let all = Tally {
        began_ns: began.unwrap_or(0),
        ..Tally::default()
    };
    let measured = Measured::new(plan, &all, &tallies).over(traffic);
    Ok(Measured { count, ..measured })
}

/// What the loopback device has carried since then.
fn since(earlier: Option<Traffic>) -> Option<Traffic> {
    Some(Traffic::so_far()?.since(earlier?))
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

/// Starts the first process that receives, and then the others, which find the first.
pub(crate) async fn start_receivers(
    plan: Plan,
    part: Part,
    access: &Access,
) -> Result<(Vec<Process>, Vec<SocketAddr>), Failure> {
    let (first, addr) = start_receiver(plan, part, access, Vec::new()).await?;
    let others = (1..plan.subs()).map(|_| start_receiver(plan, part, access, vec![addr]));
    let others = try_join_all(others).await?;
    Ok(std::iter::once((first, addr)).chain(others).unzip())
}

async fn start_receiver(
    plan: Plan,
    part: Part,
    access: &Access,
    peers: Vec<SocketAddr>,
) -> Result<(Process, SocketAddr), Failure> {
    let mut process = start(plan, part, access, peers).await?;
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

pub(crate) fn done(word: Word) -> Option<Box<Tally>> {
    match word {
        Word::Done(tally) => Some(tally),
        _ => None,
    }
}
