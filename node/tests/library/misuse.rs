//! What a program can get wrong.

use rolecast::{
    DialError, Limits, MeshEvent, MeshSecret, Node, NotSent, RegisterError, RoleNameError,
    SendError, StartError,
};

use crate::mesh::{builder, mesh_of, register_on, within};

#[tokio::test]
async fn a_start_that_cannot_be_is_refused_with_a_reason() {
    within(async {
        let secret = MeshSecret::generate();
        let busy = builder(&secret).start().await.expect("it starts");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("writes it");
        let long = "x".repeat(300);
        for (builder, words) in [
            (
                Node::builder().listen("127.0.0.1:0"),
                "mesh secret or certificates",
            ),
            (
                builder(&secret).secret("rolecast1-short"),
                "was it cut off?",
            ),
            (builder(&secret).secret(""), "the mesh secret is empty"),
            (
                builder(&secret).seeds(["10.0.0.1"]),
                "\"10.0.0.1\" is not of the form HOST:PORT",
            ),
            (
                builder(&secret).seeds(["10.0.0.1:x"]),
                "\"10.0.0.1:x\" is not of the form HOST:PORT",
            ),
            (builder(&secret).listen("here"), "listen address \"here\""),
            (builder(&secret).listen(busy.addr()), "in use"),
            (
                builder(&secret).advertise("1.2.3.4"),
                "advertise address \"1.2.3.4\"",
            ),
            (
                builder(&secret).advertise("0.0.0.0:7400"),
                "nobody can dial 0.0.0.0:7400",
            ),
            (builder(&secret).site(long), "at most 256 bytes"),
            (
                builder(&secret).state_dir(&file),
                "cannot be made a directory",
            ),
            (
                builder(&secret).certificate_files("/none/ca", "/none/c", "/none/k"),
                "/none/ca",
            ),
        ] {
            let error = builder.start().await.expect_err(words).to_string();
            assert!(error.contains(words), "{error:?} does not say {words:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_of_another_mesh_hears_why_it_does_not_get_in() {
    within(async {
        let member = builder(&MeshSecret::generate())
            .start()
            .await
            .expect("it starts");
        let stranger = builder(&MeshSecret::generate())
            .seeds([member.addr()])
            .start()
            .await
            .expect("it starts");
        let mut events = stranger.watch();
        let expected = MeshEvent::DialFailed {
            addr: member.addr(),
            why: DialError::AnotherMesh,
        };
        assert_eq!(events.next().await, Some(expected));
    })
    .await;
}

#[tokio::test]
async fn damaged_state_is_refused_before_anything_is_sent() {
    within(async {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("node.key"), "rubbish").expect("writes it");
        let error = builder(&MeshSecret::generate())
            .state_dir(dir.path())
            .start()
            .await;
        assert!(matches!(error, Err(StartError::State { .. })), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn names_and_payloads_are_checked() {
    within(async {
        let limits = Limits {
            payload_bytes_max: 100_000,
            ..Limits::default()
        };
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 1, |builder| builder.limits(limits.clone())).await;
        let node = &mesh[0];
        let long = "r".repeat(129);
        let name_error = RoleNameError::TooLong { bytes: 129 };
        assert!(matches!(
            node.register(&long).await,
            Err(RegisterError::Name(_))
        ));
        let channel = node.channel(&long);
        assert!(channel.role().is_none());
        let error = SendError::NotSent(NotSent::Role(name_error));
        assert_eq!(channel.multicast("x").await.expect_err("no name"), error);
        assert_eq!(channel.request("x").await.expect_err("no name"), error);

        let _inboxes = register_on(&mesh, &[0], "sink").await;
        assert!(matches!(
            node.register("sink").await,
            Err(RegisterError::Held { .. })
        ));
        assert!(matches!(
            node.register("*").await,
            Err(RegisterError::Held { .. })
        ));
        let channel = node.channel("sink");
        channel
            .multicast(vec![0; 100_000])
            .await
            .expect("it is not too large");
        let too_large = SendError::NotSent(NotSent::TooLarge {
            bytes: 100_001,
            max: 100_000,
        });
        let payload = vec![0; 100_001];
        assert_eq!(
            channel.anycast(payload.clone()).await.expect_err("large"),
            too_large
        );
        assert_eq!(
            channel.request(payload.clone()).await.expect_err("large"),
            too_large
        );
        assert!(
            channel
                .request_all(payload)
                .await
                .is_err_and(|error| error == too_large)
        );
    })
    .await;
}

#[tokio::test]
async fn outstanding_calls_are_bounded() {
    within(async {
        let limits = Limits {
            calls_max: 2,
            ..Limits::default()
        };
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 1, |builder| builder.limits(limits.clone())).await;
        let inboxes = register_on(&mesh, &[0], "silent").await;
        let channel = mesh[0].channel("silent");
        let first = channel.request_all("x").await.expect("there is a holder");
        let second = channel.request_all("x").await.expect("there is a holder");
        let error = SendError::NotSent(NotSent::TooManyCalls { max: 2 });
        assert_eq!(
            channel.request("x").await.expect_err("two are outstanding"),
            error
        );
        drop(first);
        let third = loop {
            match channel.request_all("x").await {
                Ok(third) => break third,
                Err(again) => assert_eq!(again, error),
            }
            tokio::task::yield_now().await;
        };
        drop((second, third, inboxes));
    })
    .await;
}
