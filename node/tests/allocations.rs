//! How often a steady stream of small messages allocates: once for many of them, at either end.
//!
//! Each end is a node of its own on loopback, in a thread of its own in which its program, its driver and QUIC all run, so that what is counted in that thread is all that the end does.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use rolecast::{Channel, Inbox, InboxItem, MeshSecret, Node, Profile};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

#[test]
fn an_allocation_serves_many_messages_at_either_end() {
    let secret = MeshSecret::generate();
    let (address, wanted) = channel();
    let (over, until_over) = oneshot::channel();
    let holder_secret = secret.clone();
    let holder = thread::spawn(move || allocations_of_holder(holder_secret, &address, until_over));
    let sent = allocations_of_sender(secret, &wanted);
    over.send(()).expect("the holder waits for it");
    let taken = holder.join().expect("the holder takes everything");
    println!("allocations for a message: {sent:.4} to send it, {taken:.4} to take it");
    assert!(
        sent <= ALLOCATIONS_MAX,
        "{sent:.4} for a message that is sent"
    );
    assert!(
        taken <= ALLOCATIONS_MAX,
        "{taken:.4} for a message that is taken"
    );
}

fn allocations_of_sender(secret: MeshSecret, holder: &Receiver<String>) -> f64 {
    let runtime = runtime();
    let seed = holder.recv().expect("the holder starts");
    let node = runtime.block_on(start(secret, Some(seed)));
    let numbers = node.channel(ROLE);
    let found = numbers.wait_for_holders(1).timeout(PATIENCE);
    runtime.block_on(async { found.await.expect("the holder is there") });
    runtime.block_on(send(&numbers, WARM_UP));
    let counted = measure(|| runtime.block_on(send(&numbers, MESSAGES)));
    counted.count_total as f64 / MESSAGES as f64
}

async fn send(numbers: &Channel, count: usize) {
    let mut last = None;
    for _ in 0..count {
        last = Some(
            numbers
                .multicast(&PAYLOAD[..])
                .await
                .expect("the holder takes it"),
        );
    }
    let outcome = last.expect("something was sent").acked().await;
    let outcome = outcome.expect("the node is up");
    assert!(outcome.is_complete(), "{outcome:?}");
}

fn allocations_of_holder(
    secret: MeshSecret,
    address: &Sender<String>,
    over: oneshot::Receiver<()>,
) -> f64 {
    let runtime = runtime();
    let node = runtime.block_on(start(secret, None));
    let registered = runtime.block_on(async { node.register(ROLE).await });
    let mut inbox = registered.expect("it is free");
    address
        .send(node.addr().to_string())
        .expect("the sender waits for it");
    let mut items = Vec::with_capacity(ITEMS_AT_ONCE);
    runtime.block_on(take(&mut inbox, &mut items, WARM_UP));
    let counted = measure(|| runtime.block_on(take(&mut inbox, &mut items, MESSAGES)));
    // Acknowledgements leave the node as long as its runtime runs.
    runtime.block_on(over).expect("the sender says so");
    counted.count_total as f64 / MESSAGES as f64
}

async fn take(inbox: &mut Inbox, items: &mut Vec<InboxItem>, count: usize) {
    let mut left = count;
    while left > 0 {
        inbox.next_many(items, ITEMS_AT_ONCE.min(left)).await;
        for item in items.drain(..) {
            let message = item.into_message().expect("nothing is lost");
            assert_eq!(message.payload(), &PAYLOAD[..]);
            left -= 1;
        }
    }
}

async fn start(secret: MeshSecret, seed: Option<String>) -> Node {
    let started = Node::builder()
        .secret(secret)
        .seeds(seed)
        .listen("127.0.0.1:0")
        .profile(Profile::Local)
        .start();
    started.await.expect("it starts")
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("there are threads and files enough")
}

const ROLE: &str = "numbers";
const PAYLOAD: [u8; 64] = [7; 64];
/// Until every list has the room that it needs, and the window is as large as it gets.
const WARM_UP: usize = 100_000;
const MESSAGES: usize = 200_000;
const ITEMS_AT_ONCE: usize = 256;
const ALLOCATIONS_MAX: f64 = 0.1;
const PATIENCE: Duration = Duration::from_secs(60);
