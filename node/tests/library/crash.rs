//! A node that dies without a word: its runtime is gone, and with it every task and socket.

use std::time::Duration;

use rolecast::{Dissemination, Inbox, InboxItem, MeshEvent, MeshSecret, Node, SendError, Unknown};
use tokio::runtime::Runtime;

use crate::mesh::{builder, message, within};

/// A node in a runtime of its own, which holds a role and takes nothing from its inbox.
struct Doomed {
    runtime: Runtime,
    node: Node,
    inbox: Inbox,
}

impl Doomed {
    async fn start(secret: &MeshSecret, seed: &Node, role: &'static str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let start = builder(secret).seeds([seed.addr()]);
        let started = runtime.spawn(async move {
            let node = start.start().await.expect("it starts");
            let inbox = node.register(role).await.expect("the role is free");
            (node, inbox)
        });
        let (node, inbox) = started.await.expect("no panic");
        Doomed {
            runtime,
            node,
            inbox,
        }
    }

    /// What is left of it says why it is closed.
    async fn die(self) -> Inbox {
        self.runtime.shutdown_background();
        self.node.closed().await;
        self.inbox
    }
}

#[tokio::test]
async fn the_sender_learns_which_holder_was_lost_and_what_may_have_arrived() {
    within(async {
        let secret = MeshSecret::generate();
        let sender = builder(&secret).start().await.expect("it starts");
        let mut kept = sender.register("pair").await.expect("the role is free");
        let doomed = Doomed::start(&secret, &sender, "pair").await;
        let lost = doomed.node.id();
        let channel = sender.channel("pair").dissemination(Dissemination::Eager);
        channel.wait_for_holders(2).await.expect("it is not closed");

        let receipt = channel
            .multicast("to both")
            .await
            .expect("there are holders");
        let asking = tokio::spawn({
            let channel = channel.clone();
            async move {
                channel
                    .request("x")
                    .to(lost)
                    .timeout(Duration::from_secs(60))
                    .await
            }
        });
        let mut watch = sender.watch();
        assert_eq!(message(&mut kept).await.payload(), "to both");
        let mut inbox = doomed.die().await;

        let outcome = receipt.acked().await.expect("the node is not closed");
        assert_eq!((outcome.acknowledged, outcome.lost), (1, vec![lost]));
        assert_eq!((outcome.declared_down, outcome.left), (vec![lost], vec![]));
        assert_eq!(outcome.acknowledged_by, [sender.id()]);
        let unknown = asking
            .await
            .expect("no panic")
            .expect_err("it cannot answer");
        assert_eq!(unknown, SendError::Unknown(Unknown::HolderGone));
        while watch.next().await.expect("it is not closed") != MeshEvent::Down(lost) {}

        // What had arrived may still be taken.
        let mut closed = false;
        while let Some(item) = inbox.next().await {
            closed |= matches!(item, InboxItem::Closed(_));
        }
        assert!(closed);
    })
    .await;
}

#[tokio::test]
async fn a_full_window_opens_when_the_holder_that_filled_it_is_gone() {
    within(async {
        let secret = MeshSecret::generate();
        let sender = builder(&secret).start().await.expect("it starts");
        let mut kept = sender.register("pair").await.expect("the role is free");
        let doomed = Doomed::start(&secret, &sender, "pair").await;
        let channel = sender.channel("pair");
        channel.wait_for_holders(2).await.expect("it is not closed");
        let patience = Duration::from_millis(300);
        while channel
            .multicast(vec![0u8; 60_000])
            .timeout(patience)
            .await
            .is_ok()
        {}
        let waiting = tokio::spawn({
            let channel = channel.clone();
            async move {
                channel
                    .multicast("after all")
                    .await
                    .map(|receipt| receipt.seq())
            }
        });
        doomed.die().await;
        let last = waiting
            .await
            .expect("no panic")
            .expect("one holder is left");
        loop {
            let message = message(&mut kept).await;
            if message.seq() == Some(last) {
                assert_eq!(message.payload(), "after all");
                break;
            }
        }
    })
    .await;
}
