//! Roles that move while messages flow.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rolecast::{Inbox, InboxItem, Node};
use rolecast_tests::PATIENCE;
use rolecast_tests::mesh::Mesh;

use crate::senders::Sender;

const MOVES: usize = 8;

/// What each holding of the role received, as (sender, number).
type Holdings = Arc<Mutex<Vec<Vec<(String, u64)>>>>;

/// Two processes send all the time; the role goes to and fro between two nodes, which hold it together for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_moves_under_traffic_without_loss() {
    let mut mesh = Mesh::new();
    let nodes = [mesh.node().await, mesh.node().await];
    let holdings = Holdings::default();
    let (mut inbox, mut reader) = hold(&nodes[0], &holdings).await;
    let senders = ["one", "two"].map(|name| Sender::start(&mesh, "moving", name));
    let mut present = 0;
    for moved in 1..=MOVES {
        wait_for_both(&holdings, present).await;
        let next = hold(&nodes[moved % 2], &holdings).await;
        // Both senders know the next holder when something of both has arrived there.
        present += 1;
        wait_for_both(&holdings, present).await;
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
    check(&holdings.lock().expect("nobody panicked"), fed);
    for node in nodes {
        node.shutdown().await;
    }
}

/// Takes the role up, and reads until told to give it up; then reads to the end.
async fn hold(
    node: &Node,
    holdings: &Holdings,
) -> (
    tokio::sync::oneshot::Sender<()>,
    tokio::task::JoinHandle<()>,
) {
    let mut inbox = node.register("moving").await.expect("it does not hold it");
    let index = {
        let mut holdings = holdings.lock().expect("nobody panicked");
        holdings.push(Vec::new());
        holdings.len() - 1
    };
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

async fn finish(inbox: &mut Inbox, holdings: &Holdings, index: usize) {
    inbox.unregister().await.expect("the node is up");
    while let Some(item) = inbox.next().await {
        note(holdings, index, item);
    }
}

fn note(holdings: &Holdings, index: usize, item: InboxItem) {
    let message = match item {
        InboxItem::Message(message) => message,
        InboxItem::Started(_) | InboxItem::Closed(_) => return,
        other => panic!("nothing is lost to a holder: {other:?}"),
    };
    let payload = std::str::from_utf8(message.payload()).expect("it is text");
    let (name, number) = payload.rsplit_once('-').expect("it is numbered");
    let number = number.parse().expect("it is numbered");
    let mut holdings = holdings.lock().expect("nobody panicked");
    holdings[index].push((name.to_owned(), number));
}

/// Waits until something of both senders has arrived at this holding.
async fn wait_for_both(holdings: &Holdings, index: usize) {
    let arrived = async {
        loop {
            let names: BTreeSet<String> = {
                let holdings = holdings.lock().expect("nobody panicked");
                holdings[index]
                    .iter()
                    .map(|(name, _)| name.clone())
                    .collect()
            };
            if names.len() == 2 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, arrived).await;
    waited.expect("something of both senders arrives");
}

/// Each holding has an unbroken run of each sender's messages, and together they have all.
fn check(holdings: &[Vec<(String, u64)>], fed: [u64; 2]) {
    for (name, fed) in ["one", "two"].into_iter().zip(fed) {
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
