//! What a receipt says of each holder.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use rolecast::{HolderOutcome, Node, NodeId, Outcome, Receipt};

use crate::mesh::{mesh, message, register_on, within};

async fn outcome(receipt: &Receipt) -> Outcome {
    receipt.acked().await.expect("the node is not closed")
}

fn sorted(mut nodes: Vec<NodeId>) -> Vec<NodeId> {
    nodes.sort_unstable();
    nodes
}

fn ids<const N: usize>(nodes: [&Node; N]) -> Vec<NodeId> {
    sorted(nodes.map(Node::id).into())
}

#[tokio::test]
async fn each_holder_is_named_once_with_what_became_of_the_message_there() {
    within(async {
        let mesh = mesh(4).await;
        let mut inboxes = register_on(&mesh, &[0, 1, 2, 3], "news").await;
        let receipt = mesh[0].channel("news").multicast("hello").await;
        let receipt = receipt.expect("there are holders");
        let mut outcomes = receipt.outcomes();
        assert_eq!(outcomes.next().now_or_never(), None, "nobody has it");
        // One after the other, as it becomes known.
        for taker in [1, 0] {
            message(&mut inboxes[taker]).await;
            let known = (mesh[taker].id(), HolderOutcome::Acknowledged);
            assert_eq!(outcomes.next().await, Some(known));
        }
        mesh[2].shutdown_within(Duration::ZERO).await;
        let known = (mesh[2].id(), HolderOutcome::Left);
        assert_eq!(outcomes.next().await, Some(known));
        let given_up = inboxes.remove(3).unregister().await;
        given_up.expect("the node is not closed");
        let known = (mesh[3].id(), HolderOutcome::Unregistered);
        assert_eq!(outcomes.next().await, Some(known));
        assert_eq!(outcomes.next().await, None);

        let outcome = outcome(&receipt).await;
        assert_eq!(sorted(outcome.acknowledged_by), ids([&mesh[0], &mesh[1]]));
        assert_eq!(sorted(outcome.lost), ids([&mesh[2], &mesh[3]]));
        assert_eq!(outcome.left, ids([&mesh[2]]));
        assert_eq!(outcome.declared_down, []);
        // Who asks later is told the same.
        let again: BTreeMap<_, _> = receipt.outcomes().collect().await;
        assert_eq!(again.len(), 4);
        assert_eq!(again[&mesh[3].id()], HolderOutcome::Unregistered);
    })
    .await;
}

#[tokio::test]
async fn a_look_that_is_given_up_loses_no_outcome() {
    within(async {
        let mesh = mesh(3).await;
        let mut inboxes = register_on(&mesh, &[0, 1, 2], "news").await;
        let channel = mesh[0].channel("news");
        let mut receipts = Vec::new();
        for number in 0..20u8 {
            let sent = channel.multicast(vec![number]).await;
            receipts.push(sent.expect("there are holders").outcomes());
        }
        let mut told: Vec<BTreeMap<NodeId, HolderOutcome>> = vec![BTreeMap::new(); receipts.len()];
        for inbox in &mut inboxes {
            for _ in 0..receipts.len() {
                message(inbox).await;
                for (outcomes, told) in receipts.iter_mut().zip(&mut told) {
                    // Dropped wherever it has to wait.
                    let short = tokio::time::timeout(Duration::from_micros(100), outcomes.next());
                    if let Ok(Some((node, how))) = short.await {
                        assert_eq!(told.insert(node, how), None, "{node} is told twice");
                    }
                }
            }
        }
        for (mut outcomes, mut told) in receipts.into_iter().zip(told) {
            while let Some((node, how)) = outcomes.next().await {
                assert_eq!(told.insert(node, how), None, "{node} is told twice");
            }
            assert_eq!(told.len(), 3);
            let taken = |how: &HolderOutcome| *how == HolderOutcome::Acknowledged;
            assert!(told.values().all(taken), "{told:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_large_payload_and_each_role_of_a_pattern_name_their_holders() {
    within(async {
        let mesh = mesh(2).await;
        let mut film = register_on(&mesh, &[1], "film:a").await.remove(0);
        let mut text = register_on(&mesh, &[0], "film:b").await.remove(0);
        let films = mesh[0].channel("film:a");
        let sent = films.multicast(vec![7; 300_000]).await;
        let receipt = sent.expect("there is a holder");
        message(&mut film).await;
        let known = (mesh[1].id(), HolderOutcome::Acknowledged);
        assert_eq!(receipt.outcomes().collect::<Vec<_>>().await, [known]);
        assert_eq!(outcome(&receipt).await.acknowledged_by, [mesh[1].id()]);

        let sent = mesh[0].channel("film:*").multicast("to both").await;
        let receipt = sent.expect("there are holders");
        message(&mut film).await;
        message(&mut text).await;
        let named: Vec<NodeId> = receipt.outcomes().map(|(node, _)| node).collect().await;
        assert_eq!(named, [mesh[1].id(), mesh[0].id()], "role by role");
        assert_eq!(outcome(&receipt).await.acknowledged_by, named);
        // What will never be known is not waited for.
        let sent = films.multicast("to nobody in particular").await;
        let mut outcomes = sent.expect("there is a holder").outcomes();
        mesh[0].shutdown_within(Duration::ZERO).await;
        while outcomes.next().await.is_some() {}
    })
    .await;
}
