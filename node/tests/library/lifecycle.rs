//! How nodes come, go and come again.

use std::time::Duration;

use rolecast::{
    ClosedReason, InboxItem, Limits, LinkState, MemberInfo, MeshEvent, MeshSecret, NotSent,
    RegisterError, SendError, WaitError,
};

use crate::mesh::{builder, mesh, mesh_of, message, register_on, within};

#[tokio::test]
async fn members_say_what_they_are() {
    within(async {
        let secret = MeshSecret::generate();
        let first = builder(&secret)
            .site("ams")
            .host("h1")
            .service("db", 3)
            .label("rack", "7");
        let first = first.start().await.expect("it starts");
        let second = builder(&secret)
            .seeds([first.addr()])
            .start()
            .await
            .expect("it starts");
        let _inbox = first.register("db:master").await.expect("the role is free");
        second
            .wait_for("db:master", 1)
            .await
            .expect("it is not closed");
        let members = second.members().await;
        assert_eq!(members.len(), 2);
        assert_eq!(
            (members[0].id, members[0].link),
            (second.id(), LinkState::Myself)
        );
        let member = &members[1];
        assert_eq!(
            (member.id, member.addr, member.epoch),
            (first.id(), first.addr(), first.epoch())
        );
        assert_eq!((&*member.site, &*member.host), ("ams", "h1"));
        assert_eq!((&*member.service.name, member.service.instance), ("db", 3));
        assert_eq!(member.labels["rack"], "7");
        assert!(member.holds("db:master") && member.roles.len() == 1);
        assert!(
            matches!(member.link, LinkState::Direct { .. }),
            "{:?}",
            member.link
        );
    })
    .await;
}

#[tokio::test]
async fn links_that_nobody_uses_rest_and_carry_what_is_sent_all_the_same() {
    within(async {
        let limits = Limits {
            links_max: 1,
            link_idle: Duration::from_millis(100),
            ..Limits::default()
        };
        let mesh = mesh_of(&MeshSecret::generate(), 5, |builder| {
            builder.limits(limits.clone())
        })
        .await;
        let mut inboxes = register_on(&mesh, &[1, 2, 3, 4], "sink").await;
        let mut events = mesh[0].watch();
        let resting = |member: &MemberInfo| member.link == LinkState::Resting;
        for number in 0..5_u8 {
            while !mesh[0].members().await.iter().any(resting) {
                let event = events.next().await.expect("the node goes on");
                assert!(!matches!(event, MeshEvent::Down(_)), "{event:?}");
            }
            let sent = mesh[0].channel("sink").multicast(vec![number]).await;
            let receipt = sent.expect("nobody is slow");
            for inbox in &mut inboxes {
                assert_eq!(message(inbox).await.payload()[..], [number]);
            }
            let outcome = receipt.acked().await.expect("the node goes on");
            assert_eq!((outcome.acknowledged, outcome.lost.len()), (4, 0));
        }
        assert_eq!(mesh[0].members().await.len(), 5);
    })
    .await;
}

#[tokio::test]
async fn the_order_of_start_does_not_matter() {
    within(async {
        let secret = MeshSecret::generate();
        let port = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let addr = port.local_addr().expect("it is bound");
        drop(port);
        let early = builder(&secret)
            .seeds([addr])
            .start()
            .await
            .expect("it starts");
        let late = builder(&secret)
            .listen(addr)
            .start()
            .await
            .expect("the port is free");
        early.wait_for("*", 2).await.expect("it is not closed");
        late.wait_for("*", 2).await.expect("it is not closed");
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_waits_until_everything_is_acknowledged_and_is_known_at_once() {
    within(async {
        let mesh = mesh(3).await;
        let mut inboxes = register_on(&mesh, &[1], "sink").await;
        let mut watch = mesh[2].watch();
        let channel = mesh[0].channel("sink");
        for number in 0..5_000u32 {
            channel
                .multicast(number.to_string())
                .await
                .expect("there is a holder");
        }
        let leaving = mesh[0].clone();
        let shutdown = tokio::spawn(async move { leaving.shutdown().await });
        for number in 0..5_000u32 {
            let message = message(&mut inboxes[0]).await;
            assert_eq!(message.payload(), number.to_string().as_bytes());
        }
        assert_eq!(shutdown.await.expect("no panic"), ClosedReason::Shutdown);
        loop {
            match watch.next().await.expect("it is not closed") {
                MeshEvent::Left(node) => {
                    assert_eq!(node, mesh[0].id());
                    break;
                }
                MeshEvent::Down(node) => panic!("{node} left, and is said to be down"),
                _ => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_of_a_closed_node_fails_with_the_reason() {
    within(async {
        let mesh = mesh(2).await;
        let mut inboxes = register_on(&mesh, &[0], "db").await;
        let channel = mesh[0].channel("db");
        let receipt = channel
            .multicast("before")
            .await
            .expect("there is a holder");
        let mut watch = mesh[0].watch();
        // Nobody takes the message, so that the patience runs out.
        let reason = mesh[0].shutdown_within(Duration::from_millis(100)).await;
        assert_eq!(reason, ClosedReason::Shutdown);

        let closed = SendError::NotSent(NotSent::Closed(reason));
        assert_eq!(channel.multicast("x").await.expect_err("closed"), closed);
        assert_eq!(channel.request("x").await.expect_err("closed"), closed);
        assert_eq!(channel.anycast("x").await.expect_err("closed"), closed);
        assert!(
            channel
                .request_all("x")
                .await
                .is_err_and(|error| error == closed)
        );
        let other = mesh[0].channel("other");
        assert_eq!(other.multicast("x").await.expect_err("closed"), closed);
        assert_eq!(
            other.wait_for_holders(1).await,
            Err(WaitError::Closed(reason))
        );
        let register = mesh[0].register("other").await;
        assert!(matches!(
            register,
            Err(RegisterError::Closed(ClosedReason::Shutdown))
        ));
        assert!(receipt.acked().await.is_err());
        assert!(mesh[0].members().await.is_empty());

        assert_eq!(message(&mut inboxes[0]).await.payload(), "before");
        assert!(matches!(
            inboxes[0].next().await,
            Some(InboxItem::Closed(ClosedReason::Shutdown))
        ));
        assert!(inboxes[0].next().await.is_none());
        while let Some(event) = watch.next().await {
            if event == MeshEvent::Closed(reason) {
                assert_eq!(watch.next().await, None);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn dropping_the_last_handle_leaves_the_mesh() {
    within(async {
        let mut mesh = mesh(2).await;
        let mut inboxes = register_on(&mesh, &[1], "sink").await;
        let mut watch = mesh[1].watch();
        let leaver = mesh.remove(0);
        let id = leaver.id();
        leaver
            .channel("sink")
            .multicast("bye")
            .await
            .expect("there is a holder");
        drop(leaver);
        assert_eq!(message(&mut inboxes[0]).await.payload(), "bye");
        while watch.next().await.expect("it is not closed") != MeshEvent::Left(id) {}
    })
    .await;
}

#[tokio::test]
async fn a_node_with_a_state_directory_is_the_same_node_in_a_later_life() {
    within(async {
        let secret = MeshSecret::generate();
        let state = tempfile::tempdir().expect("a temporary directory");
        let other = builder(&secret).start().await.expect("it starts");
        let start = || {
            builder(&secret)
                .seeds([other.addr()])
                .state_dir(state.path())
                .start()
        };
        let first = start().await.expect("it starts");
        let (id, epoch) = (first.id(), first.epoch());
        other.wait_for("*", 2).await.expect("it is not closed");
        first.shutdown().await;
        let second = start().await.expect("it starts again");
        assert_eq!(second.id(), id);
        assert!(second.epoch() > epoch);
        let mut inbox = second.register("again").await.expect("the role is free");
        other.wait_for("again", 1).await.expect("it is not closed");
        other
            .channel("again")
            .multicast("x")
            .await
            .expect("there is a holder");
        assert_eq!(message(&mut inbox).await.payload(), "x");
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_key_is_used_by_a_later_process_stops_and_says_so() {
    within(async {
        let secret = MeshSecret::generate();
        let state = tempfile::tempdir().expect("a temporary directory");
        let other = builder(&secret).start().await.expect("it starts");
        let start = || {
            builder(&secret)
                .seeds([other.addr()])
                .state_dir(state.path())
                .start()
        };
        let first = start().await.expect("it starts");
        let mut inbox = first.register("db").await.expect("the role is free");
        other.wait_for("db", 1).await.expect("it is not closed");
        let second = start().await.expect("nothing keeps it from starting");
        let reason = first.closed().await;
        assert_eq!(
            reason,
            ClosedReason::Superseded {
                epoch: second.epoch()
            }
        );
        assert!(matches!(inbox.next().await, Some(InboxItem::Closed(why)) if why == reason));
        second
            .wait_for("*", 2)
            .await
            .expect("the later one goes on");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_is_free_once_the_node_is_closed() {
    within(async {
        let secret = MeshSecret::generate();
        let port = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let addr = port.local_addr().expect("it is bound");
        drop(port);
        let first = builder(&secret)
            .listen(addr)
            .start()
            .await
            .expect("it starts");
        let other = builder(&secret)
            .seeds([addr])
            .start()
            .await
            .expect("it starts");
        let mut node = first;
        for _ in 0..5 {
            other.wait_for("*", 2).await.expect("it is not closed");
            node.shutdown().await;
            node = builder(&secret)
                .listen(addr)
                .seeds([other.addr()])
                .start()
                .await
                .expect("free");
        }
    })
    .await;
}
