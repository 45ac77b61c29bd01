//! Channels for some holders of a role, for a service, and for many roles at once.

use rolecast::{
    HolderChange, InboxItem, MeshEvent, MeshSecret, Node, NotSent, RegisterError, RoleNameError,
    SendError, TrySendError,
};

use crate::mesh::{answer, builder, mesh_of, message, register_on, within};

/// A mesh whose nodes are in these sites.
async fn in_sites(sites: &[&str]) -> Vec<Node> {
    let secret = MeshSecret::generate();
    let mut mesh: Vec<Node> = Vec::new();
    for site in sites {
        let seeds = mesh.iter().take(1).map(|node| node.addr().to_string());
        let seeds: Vec<String> = seeds.collect();
        let node = builder(&secret).seeds(seeds).site(*site).service("db", 1);
        mesh.push(node.start().await.expect("it starts on loopback"));
    }
    for node in &mesh {
        node.wait_for("*", sites.len()).await.expect("it is open");
    }
    mesh
}

#[tokio::test]
async fn what_is_sent_into_a_site_reaches_the_holders_there() {
    within(async {
        let mesh = in_sites(&["ams", "ams", "fra"]).await;
        let mut inboxes = register_on(&mesh, &[1, 2], "news").await;
        let news = mesh[0].channel("news");
        let ams = news.clone().in_site("ams");
        assert_eq!(ams.holders().await.expect("open"), [mesh[1].id()]);
        ams.multicast("in ams").await.expect("somebody is there");
        news.multicast("everywhere").await.expect("two hold it");
        let got = [
            message(&mut inboxes[0]).await,
            message(&mut inboxes[0]).await,
        ];
        assert_eq!(got[0].payload(), "in ams");
        assert_eq!(got[1].payload(), "everywhere");
        assert_eq!(message(&mut inboxes[1]).await.payload(), "everywhere");

        let nobody = news.clone().in_site("oslo").multicast("hello").await;
        let role = "news [site=oslo]".to_owned();
        assert_eq!(
            nobody.expect_err("nobody is there"),
            NotSent::NoHolder { role }.into()
        );
        let too_long = news.in_site("x".repeat(300)).multicast("hello").await;
        let error = RoleNameError::PlaceTooLong { bytes: 300 };
        assert_eq!(
            too_long.expect_err("no such site"),
            NotSent::from(error).into()
        );
    })
    .await;
}

#[tokio::test]
async fn a_node_that_moves_is_sent_what_follows() {
    within(async {
        let mesh = in_sites(&["ams", "ams", "fra"]).await;
        let mut inboxes = register_on(&mesh, &[1, 2], "news").await;
        let fra = mesh[0].channel("news").in_site("fra");
        let mut changes = fra.holder_changes().expect("a good name");
        assert_eq!(changes.next().await, Some(HolderChange::Came(mesh[2].id())));
        fra.multicast("one").await.expect("one is there");

        mesh[1].describe().site("fra").await.expect("a short name");
        assert_eq!(changes.next().await, Some(HolderChange::Came(mesh[1].id())));
        fra.multicast("two").await.expect("two are there");
        match inboxes[0].next().await {
            Some(InboxItem::Started(started)) => assert_eq!(started.first.0, 2),
            other => panic!("it comes later: {other:?}"),
        }
        assert_eq!(message(&mut inboxes[0]).await.payload(), "two");

        mesh[2].describe().site("oslo").await.expect("a short name");
        assert_eq!(changes.next().await, Some(HolderChange::Went(mesh[2].id())));
        let receipt = fra.multicast("three").await.expect("one is there");
        assert_eq!(message(&mut inboxes[0]).await.payload(), "three");
        assert_eq!(receipt.acked().await.expect("it is open").acknowledged, 1);
        for before in ["one", "two"] {
            assert_eq!(message(&mut inboxes[1]).await.payload(), before);
        }
        let news = mesh[0].channel("news");
        news.multicast("last").await.expect("two hold it");
        let next = message(&mut inboxes[1]).await;
        assert_eq!(next.payload(), "last", "it keeps its role and its inbox");
    })
    .await;
}

#[tokio::test]
async fn calls_go_near_as_long_as_somebody_is_there() {
    within(async {
        let mesh = in_sites(&["ams", "fra", "fra"]).await;
        for inbox in register_on(&mesh, &[0, 1, 2], "cache").await {
            let own = inbox.role().to_string();
            answer(inbox, move |_| own.clone().into_bytes());
        }
        let near = mesh[0].channel("cache").prefer_site("fra");
        for node in [&mesh[1], &mesh[2]] {
            for _ in 0..4 {
                let reply = near.request("?").await.expect("there are two");
                assert_ne!(reply.node, mesh[0].id());
            }
            node.shutdown().await;
        }
        let reply = near.request("?").await.expect("there is one elsewhere");
        assert_eq!(reply.node, mesh[0].id());
    })
    .await;
}

#[tokio::test]
async fn a_service_has_an_inbox_of_its_own() {
    within(async {
        let mesh = in_sites(&["ams", "ams", "fra"]).await;
        for (instance, node) in (1..).zip(&mesh) {
            let moved = node.describe().service("db", instance).host("rack-7");
            moved.await.expect("short names");
        }
        let mut first = mesh[1].register_service().await.expect("it is free");
        let mut second = mesh[2].register_service().await.expect("it is free");
        let again = mesh[2].register_service().await;
        assert!(matches!(again, Err(RegisterError::Held { .. })));
        let db = mesh[0].service("db");
        db.wait_for_holders(2).await.expect("it is open");
        db.multicast("all").await.expect("two are there");
        let third = mesh[0].service("db").on_host("rack-7").instance(3);
        third.multicast("third").await.expect("it is there");
        assert_eq!(message(&mut first).await.payload(), "all");
        let got = [message(&mut second).await, message(&mut second).await];
        assert_eq!(
            got.map(|message| message.payload().clone()),
            ["all", "third"]
        );
        let reply = mesh[0].service("db").in_site("fra").anycast("one").await;
        assert_eq!(reply.expect("it is there").node, mesh[2].id());
        assert_eq!(message(&mut second).await.payload(), "one");

        mesh[2].describe().service("cache", 1).await.expect("short");
        let cache = mesh[0].service("cache");
        cache.wait_for_holders(1).await.expect("it is open");
        cache.multicast("to the cache").await.expect("it is there");
        assert_eq!(message(&mut second).await.payload(), "to the cache");
    })
    .await;
}

#[tokio::test]
async fn a_pattern_reaches_every_role_whose_name_begins_so() {
    within(async {
        let mesh = in_sites(&["ams", "ams", "fra"]).await;
        let lists = mesh[0].channel("list:*");
        let nobody = lists.multicast("hello").await.expect_err("nobody");
        let role = "list:*".to_owned();
        assert_eq!(nobody, NotSent::NoHolder { role }.into());

        let mut readers = register_on(&mesh, &[1, 2], "list:readers").await;
        let mut writers = register_on(&mesh, &[2], "list:writers").await;
        let _others = register_on(&mesh, &[1], "lists").await;
        assert_eq!(lists.wait_for_holders(2).await.expect("open"), 2);
        let receipt = lists.multicast("changed").await.expect("three hold one");
        assert_eq!(receipt.each().count(), 2);
        for inbox in readers.iter_mut().chain(&mut writers) {
            assert_eq!(message(inbox).await.payload(), "changed");
        }
        let outcome = receipt.acked().await.expect("it is open");
        assert_eq!((outcome.acknowledged, outcome.is_complete()), (3, true));

        let ams = lists.clone().in_site("ams");
        ams.multicast("in ams").await.expect("a reader is there");
        assert_eq!(message(&mut readers[0]).await.payload(), "in ams");

        for inbox in readers.into_iter().chain(writers) {
            let role = inbox.role().to_string();
            answer(inbox, move |_| role.clone().into_bytes());
        }
        let answers = lists.request_all("who are you?").await.expect("three");
        assert_eq!(answers.holders(), 3);
        let mut roles: Vec<_> = answers.collect().await;
        roles.sort_by_key(|answer| answer.result.clone().expect("it answers"));
        let roles = roles
            .iter()
            .map(|answer| answer.result.clone().expect("it answers"));
        assert!(roles.eq(["list:readers", "list:readers", "list:writers"]));
        let one = lists.request("who are you?").await.expect("three hold one");
        assert!(one.payload.starts_with(b"list:"));
        let there = lists.in_site("fra").request("?").await.expect("one is");
        assert_eq!(there.node, mesh[2].id());
    })
    .await;
}

#[tokio::test]
async fn what_a_pattern_cannot_do_is_said() {
    within(async {
        let mesh = in_sites(&["ams"]).await;
        let _inbox = mesh[0].register("list:readers").await.expect("free");
        for name in ["list:*", "*:readers", "**", "*service"] {
            let refused = mesh[0].register(name).await;
            assert!(
                matches!(refused, Err(RegisterError::Name(RoleNameError::Star))),
                "{name}"
            );
        }
        let star = SendError::NotSent(RoleNameError::Star.into());
        let misnamed = mesh[0].channel("*:readers").multicast("x").await;
        assert_eq!(misnamed.expect_err("no pattern"), star);
        let lists = mesh[0].channel("list:*");
        assert_eq!(
            lists.reserve(1).await.expect_err("one role only"),
            NotSent::Pattern
        );
        match lists.try_send("x") {
            Err(TrySendError::NotSent { why, .. }) => assert_eq!(why, NotSent::Pattern),
            other => panic!("one role only: {other:?}"),
        }
        let large = lists.multicast(vec![0; 1 << 20]).await;
        assert!(matches!(
            large,
            Err(SendError::NotSent(NotSent::TooLarge { .. }))
        ));
    })
    .await;
}

#[tokio::test]
async fn a_watcher_sees_roles_and_descriptions_change() {
    within(async {
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 1, |builder| builder).await;
        let mut watch = mesh[0].watch();
        let seeds = [mesh[0].addr().to_string()];
        let other = builder(&secret).seeds(seeds).start().await.expect("starts");
        other.wait_for("*", 2).await.expect("it is open");
        mesh[0].wait_for("*", 2).await.expect("it is open");
        let id = other.id();
        let inbox = other.register("news").await.expect("it is free");
        mesh[0].wait_for("news", 1).await.expect("it is open");
        other.describe().label("load", "9").await.expect("short");
        drop(inbox);
        let mut gone = mesh[0].channel("news").holder_changes().expect("named");
        while gone.next().await != Some(HolderChange::Went(id)) {}
        other.shutdown().await;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != "left") {
            seen.extend(match watch.next().await.expect("it is open") {
                MeshEvent::Joined(member) if member.id == id => Some("joined".to_owned()),
                MeshEvent::RoleTakenUp { node, role } if node == id => Some(format!("+{role}")),
                MeshEvent::RoleDropped { node, role } if node == id => Some(format!("-{role}")),
                MeshEvent::Left(node) if node == id => Some("left".to_owned()),
                _ => None,
            });
        }
        assert_eq!(seen, ["joined", "+news", "-news", "left"]);
    })
    .await;
}
