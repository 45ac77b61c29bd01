//! Starting meshes for the tests.

use std::future::Future;
use std::time::Duration;

use rolecast::{Bytes, Inbox, InboxItem, MeshSecret, Message, Node, NodeBuilder, Profile};

/// Fails a test that hangs.
pub(crate) async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), test)
        .await
        .expect("the test takes too long")
}

/// A node on loopback, not started.
pub(crate) fn builder(secret: &MeshSecret) -> NodeBuilder {
    Node::builder()
        .secret(secret)
        .listen("127.0.0.1:0")
        .profile(Profile::Local)
}

/// Nodes of one mesh that all know each other.
pub(crate) async fn mesh(nodes: usize) -> Vec<Node> {
    mesh_of(&MeshSecret::generate(), nodes, |builder| builder).await
}

/// As `mesh`, with a secret and a change to every builder.
pub(crate) async fn mesh_of(
    secret: &MeshSecret,
    nodes: usize,
    change: impl Fn(NodeBuilder) -> NodeBuilder,
) -> Vec<Node> {
    let mut mesh: Vec<Node> = Vec::new();
    for _ in 0..nodes {
        let seeds: Vec<String> = mesh
            .iter()
            .take(1)
            .map(|node| node.addr().to_string())
            .collect();
        let node = change(builder(secret).seeds(seeds)).start().await;
        mesh.push(node.expect("a node starts on loopback"));
    }
    for node in &mesh {
        node.wait_for("*", nodes)
            .await
            .expect("the node is not closed");
    }
    mesh
}

/// Takes up a role, and waits until all nodes see so many holders.
pub(crate) async fn register_on(mesh: &[Node], holders: &[usize], role: &str) -> Vec<Inbox> {
    let mut inboxes = Vec::new();
    for &holder in holders {
        inboxes.push(mesh[holder].register(role).await.expect("the role is free"));
    }
    for node in mesh {
        node.wait_for(role, holders.len())
            .await
            .expect("the node is not closed");
    }
    inboxes
}

/// The next message, before which only comes where the inbox begins; a large one is gathered.
pub(crate) async fn message(inbox: &mut Inbox) -> Message {
    loop {
        match inbox.next().await {
            Some(InboxItem::Message(message)) => return message,
            Some(InboxItem::Large(large)) => {
                return large.into_message().await.expect("it is complete");
            }
            Some(InboxItem::Started(_)) => {}
            other => panic!("a message was expected, and there is {other:?}"),
        }
    }
}

/// The payloads of the next messages.
pub(crate) async fn payloads(inbox: &mut Inbox, count: usize) -> Vec<Bytes> {
    let mut payloads = Vec::with_capacity(count);
    while payloads.len() < count {
        payloads.push(message(inbox).await.payload().clone());
    }
    payloads
}

/// Answers every request with what `reply` makes of it, until the inbox ends.
pub(crate) fn answer(mut inbox: Inbox, reply: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) {
    tokio::spawn(async move {
        while let Some(item) = inbox.next().await {
            if let Some(message) = item.into_message() {
                let payload = reply(message.payload());
                // Whoever asked may have given up.
                let _ = message.reply(payload).await;
            }
        }
    });
}
