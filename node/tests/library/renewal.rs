//! A node that is declared down while it lives: the only thread of its runtime is held up until the others have given it up.

use std::sync::mpsc;

use rolecast::{Channel, Gap, InboxItem, MeshEvent, MeshSecret, NotSent, Receipt, SendError, Seq};
use tokio::runtime::Runtime;

use crate::mesh::{builder, message, within};

/// Holds up everything that runs there, until the answer is sent or dropped.
fn hold_up(runtime: &Runtime) -> mpsc::Sender<()> {
    let (go_on, held) = mpsc::channel();
    runtime.spawn(async move {
        // An error means to go on as well.
        let _ = held.recv();
    });
    go_on
}

/// Sends as soon as there is a holder: a node that slept may have given the others up, too.
async fn multicast(channel: &Channel, payload: &'static str) -> Receipt {
    loop {
        channel.wait_for_holders(1).await.expect("it is not closed");
        match channel.multicast(payload).await {
            Ok(receipt) => return receipt,
            Err(SendError::NotSent(NotSent::NoHolder { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_node_that_was_given_up_goes_on_in_another_life_and_says_what_may_be_lost() {
    within(async {
        let secret = MeshSecret::generate();
        let state = tempfile::tempdir().expect("a temporary directory");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let other = builder(&secret).start().await.expect("it starts");
        let mut heard = other.register("other").await.expect("the role is free");
        let start = builder(&secret)
            .seeds([other.addr()])
            .state_dir(state.path());
        let started = runtime.spawn(async move {
            let node = start.start().await.expect("it starts");
            let inbox = node.register("sleeper").await.expect("the role is free");
            node.wait_for("other", 1).await.expect("it is not closed");
            (node, inbox)
        });
        let (node, mut inbox) = started.await.expect("no panic");
        other
            .wait_for("sleeper", 1)
            .await
            .expect("it is not closed");
        let former = node.epoch();
        let channel = node.channel("other");
        let before = channel
            .multicast("before")
            .await
            .expect("there is a holder");
        assert_eq!(
            (before.seq(), message(&mut heard).await.seq()),
            (Seq(1), Some(Seq(1)))
        );

        let mut watch = other.watch();
        let go_on = hold_up(&runtime);
        while watch.next().await.expect("it is not closed") != MeshEvent::Down(node.id()) {}
        drop(go_on);

        match inbox.next().await {
            Some(InboxItem::Gap(Gap::DeclaredDown { epoch })) => assert_eq!(epoch, former),
            item => panic!("{item:?}"),
        }
        let present = node.epoch();
        assert!(present > former);
        multicast(&other.channel("sleeper"), "hello again").await;
        assert_eq!(message(&mut inbox).await.payload(), "hello again");

        let after = multicast(&channel, "after").await;
        assert_eq!(after.seq(), Seq(2));
        let received = message(&mut heard).await;
        assert_eq!((received.seq(), received.epoch()), (Some(Seq(2)), present));

        node.shutdown().await;
        let again = builder(&secret)
            .state_dir(state.path())
            .start()
            .await
            .expect("it starts");
        assert!(again.id() == node.id() && again.epoch() > present);
        runtime.shutdown_background();
    })
    .await;
}
