//! Requests in flight when a holder dies.

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use rolecast::{Reply, SendError, Unknown};
use rolecast_tests::PATIENCE;
use rolecast_tests::mesh::Mesh;

const REQUESTS: usize = 200;

/// One of two holders is stopped, so that its half of the requests is on the way for sure, and then killed.
#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_requests_is_answered_or_says_whether_it_may_have_arrived() {
    let mut mesh = Mesh::new();
    let asker = mesh.node().await;
    let healthy = mesh.member(&["listen", "db", "--reply", "done"]);
    let mut dying = mesh.member(&["listen", "db", "--reply", "done"]);
    let channel = asker.channel("db");
    channel
        .wait_for_holders(2)
        .timeout(PATIENCE)
        .await
        .expect("both join");
    for member in [&healthy, &dying] {
        let node = member.id.parse().expect("it is an id");
        channel
            .request("ready?")
            .to(node)
            .await
            .expect("it answers");
    }

    dying.process.signal(Signal::SIGSTOP);
    let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let requests = (0..REQUESTS).map(|number| {
        let (channel, answered) = (channel.clone(), answered.clone());
        tokio::spawn(async move {
            let payload = format!("request {number}");
            let end = channel.request(payload).timeout(PATIENCE).await;
            answered.send(()).expect("the test waits");
            end
        })
    });
    let requests: Vec<_> = requests.collect();
    for _ in 0..REQUESTS / 4 {
        answers.recv().await.expect("the healthy holder answers");
    }
    dying.process.kill();

    let ends = tokio::time::timeout(PATIENCE * 2, join_all(requests)).await;
    let ends = ends.expect("every request ends");
    let ends: Vec<Result<Reply, SendError>> =
        ends.into_iter().map(|end| end.expect("no panic")).collect();
    let replied = ends.iter().filter(|end| end.is_ok()).count();
    let unknown = ends
        .iter()
        .filter(|end| matches!(end, Err(SendError::Unknown(Unknown::HolderGone))));
    let unknown = unknown.count();
    assert_eq!(replied + unknown, REQUESTS, "{ends:?}");
    // About half each, since each holder has its turn.
    assert!(
        replied >= REQUESTS / 4 && unknown >= REQUESTS / 4,
        "{replied} {unknown}"
    );
    for end in &ends {
        match end {
            Ok(reply) => assert_eq!(reply.node.to_hex(), healthy.id),
            Err(error) => assert!(error.may_have_arrived(), "{error}"),
        }
    }
    asker.shutdown().await;
}
