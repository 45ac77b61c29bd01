//! Seeds as people write them.

use std::net::UdpSocket;

use rolecast::{MeshSecret, Node};

use crate::mesh::{builder, within};

/// An address of the loopback interface that is free.
fn free(ip: &str) -> Option<std::net::SocketAddr> {
    let socket = UdpSocket::bind((ip, 0)).ok()?;
    socket.local_addr().ok()
}

async fn meet(nodes: &[&Node]) {
    for node in nodes {
        node.wait_for("*", nodes.len())
            .await
            .expect("the node is not closed");
    }
    for node in nodes {
        assert_eq!(node.members().await.len(), nodes.len());
    }
}

#[tokio::test]
async fn the_own_address_among_the_seeds_does_no_harm() {
    within(async {
        let secret = MeshSecret::generate();
        let addrs = [free("127.0.0.1"), free("127.0.0.1")];
        let addrs = addrs.map(|addr| addr.expect("loopback has free ports"));
        // The same list on every host, as one would write it.
        let start = |at: usize| {
            builder(&secret)
                .listen(addrs[at].to_string())
                .seeds(addrs)
                .start()
        };
        let first = start(0).await.expect("it starts");
        assert_eq!(first.members().await.len(), 1, "it is not its own peer");
        let second = start(1).await.expect("it starts");
        meet(&[&first, &second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_seed_that_nobody_answers_at_holds_nobody_up() {
    within(async {
        let secret = MeshSecret::generate();
        let first = builder(&secret).start().await.expect("it starts");
        let nobody = free("127.0.0.1").expect("loopback has free ports");
        let second = builder(&secret).seeds([nobody, first.addr()]).start().await;
        let second = second.expect("an unreachable seed is no reason not to start");
        meet(&[&first, &second]).await;
    })
    .await;
}

#[tokio::test]
async fn nodes_that_are_each_others_seeds_meet_whoever_is_first() {
    within(async {
        let secret = MeshSecret::generate();
        let addrs = [free("127.0.0.1"), free("127.0.0.1")];
        let addrs = addrs.map(|addr| addr.expect("loopback has free ports"));
        let start = |own: usize, other: usize| {
            let builder = builder(&secret).listen(addrs[own].to_string());
            builder.seeds([addrs[other]]).start()
        };
        let (first, second) = tokio::join!(start(0, 1), start(1, 0));
        meet(&[&first.expect("it starts"), &second.expect("it starts")]).await;
    })
    .await;
}

#[tokio::test]
async fn a_mesh_runs_over_ipv6() {
    if free("::1").is_none() {
        println!("skipped: this machine has no IPv6 on loopback");
        return;
    }
    within(async {
        let secret = MeshSecret::generate();
        let start = || builder(&secret).listen("[::1]:0");
        let first = start().start().await.expect("it starts");
        assert!(first.addr().is_ipv6());
        let second = start().seeds([first.addr()]).start().await;
        meet(&[&first, &second.expect("it starts")]).await;
    })
    .await;
}

#[tokio::test]
async fn a_name_with_several_addresses_leads_to_the_one_that_answers() {
    within(async {
        let secret = MeshSecret::generate();
        let first = builder(&secret).start().await.expect("it starts");
        // Where there is IPv6, this is ::1 too, at which nobody listens.
        let name = format!("localhost:{}", first.addr().port());
        let second = builder(&secret).seeds([name]).start().await;
        meet(&[&first, &second.expect("it starts")]).await;
    })
    .await;
}
