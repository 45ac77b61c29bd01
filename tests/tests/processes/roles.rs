//! Roles that move while messages flow.

use std::collections::BTreeSet;
use std::sync::Arc;

use rolecast::{Inbox, InboxItem, Node};
use rolecast_tests::PATIENCE;
use rolecast_tests::mesh::Mesh;
use tokio::sync::watch;

use crate::senders::Sender;

const MOVES: usize = 8;
const NAMES: [&str; 2] = ["one", "two"];

/// What each holding of the role received, as (sender, number).
type Holdings = Vec<Vec<(String, u64)>>;

/// Two processes send all the time; the role goes to and fro between two nodes, which hold it together for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_moves_under_traffic_without_loss() {
    let mut mesh = Mesh::new();
    let nodes = [mesh.node().await, mesh.node().await];
    let holdings = Arc::new(watch::Sender::new(Holdings::new()));
    let (mut inbox, mut reader) = hold(&nodes[0], &holdings).await;
    let senders = NAMES.map(|name| Sender::start(&mesh, "moving", name));
    let mut present = 0;
    for moved in 1..=MOVES {
        wait_for_both(&holdings, present).await;
        let next = hold(&nodes[moved % 2], &holdings).await;
        present += 1;
        wait_for_handover(&holdings, present).await;
        let former = std::mem::replace(&mut inbox, next.0);
        former.send(()).expect("the reader waits for it");
        std::mem::replace(&mut reader, next.1)
            .await
            .expect("it does not panic");
    }
    wait_for_both(&holdings, present).await;
    let fed = tokio::task::spawn_blocking(|| senders.map(Sender::finish)).await;
    let fed = fed.expect("both senders end well");
    inbox.send(()).expect("the reader waits for it");
    reader.await.expect("it does not panic");
    check(&holdings.borrow(), fed);
    for node in nodes {
        node.shutdown().await;
    }
}

/// Takes the role up, and reads until told to give it up; then reads to the end.
async fn hold(
    node: &Node,
    holdings: &Arc<watch::Sender<Holdings>>,
) -> (
    tokio::sync::oneshot::Sender<()>,
    tokio::task::JoinHandle<()>,
) {
    let mut inbox = node.register("moving").await.expect("it does not hold it");
    let index = holdings.borrow().len();
    holdings.send_modify(|holdings| holdings.push(Vec::new()));
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let holdings = Arc::clone(holdings);
    let reader = tokio::spawn(async move {
        let told = loop {
            tokio::select! {
                biased;
                told = &mut stopped => break told,
                item = inbox.next() => note(&holdings, index, item.expect("it is held")),
            }
        };
        told.expect("the test goes on");
        finish(&mut inbox, &holdings, index).await;
    });
    (stop, reader)
}

async fn finish(inbox: &mut Inbox, holdings: &watch::Sender<Holdings>, index: usize) {
    inbox.unregister().await.expect("the node is up");
    while let Some(item) = inbox.next().await {
        note(holdings, index, item);
    }
}

fn note(holdings: &watch::Sender<Holdings>, index: usize, item: InboxItem) {
    let message = match item {
        InboxItem::Message(message) => message,
        InboxItem::Started(_) | InboxItem::Closed(_) => return,
        other => panic!("nothing is lost to a holder: {other:?}"),
    };
    let payload = std::str::from_utf8(message.payload()).expect("it is text");
    let (name, number) = payload.rsplit_once('-').expect("it is numbered");
    let number = number.parse().expect("it is numbered");
    holdings.send_modify(|holdings| holdings[index].push((name.to_owned(), number)));
}

/// Waits until something of both senders has arrived at this holding.
async fn wait_for_both(holdings: &watch::Sender<Holdings>, index: usize) {
    let is_there = |holding: &[(String, u64)], name| run(holding, name).is_some();
    wait_until(holdings, |all| {
        NAMES.iter().all(|name| is_there(&all[index], name))
    })
    .await;
}

/// Waits until this holding has begun for both senders, and the one before it has come to where it began: what is still on its way to the former holder then is for the next one too.
async fn wait_for_handover(holdings: &watch::Sender<Holdings>, index: usize) {
    let is_over = |former: &[(String, u64)], next: &[(String, u64)], name| matches!((run(former, name), run(next, name)), (Some((_, last)), Some((first, _))) if last >= first);
    wait_until(holdings, |all| {
        let (former, next) = (&all[index - 1], &all[index]);
        NAMES.iter().all(|name| is_over(former, next, name))
    })
    .await;
}

/// The first and the last message of a sender in a holding.
fn run(holding: &[(String, u64)], name: &str) -> Option<(u64, u64)> {
    let mut of_sender = holding.iter().filter(|(sender, _)| sender == name);
    let (_, first) = of_sender.next()?;
    let last = of_sender.next_back().map_or(*first, |(_, last)| *last);
    Some((*first, last))
}

async fn wait_until(holdings: &watch::Sender<Holdings>, holds: impl Fn(&Holdings) -> bool) {
    let mut holdings = holdings.subscribe();
    let waited = tokio::time::timeout(PATIENCE, holdings.wait_for(|all| holds(all))).await;
    let arrived = waited.expect("both senders' messages arrive in time");
    arrived.expect("the senders are there");
}

/// Each holding has an unbroken run of each sender's messages, and together they have all.
fn check(holdings: &[Vec<(String, u64)>], fed: [u64; 2]) {
    for (name, fed) in NAMES.into_iter().zip(fed) {
        let mut all = BTreeSet::new();
        for holding in holdings {
            let of_sender = holding.iter().filter(|(sender, _)| sender == name);
            let numbers: Vec<u64> = of_sender.map(|(_, number)| *number).collect();
            let unbroken = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
            assert!(
                unbroken,
                "a holder got the messages of {name} out of order or not all"
            );
            all.extend(numbers);
        }
        let lost: Vec<u64> = (1..=fed).filter(|number| !all.contains(number)).collect();
        assert!(
            lost.is_empty(),
            "of {fed} messages of {name}, {lost:?} reached nobody"
        );
    }
}
