//! Futures that are dropped before they resolve: those of holders, services, broadcasts and values.

use rolecast::{HolderChange, TypedItem, TypedMessage};

use crate::cancel::{POLLS_MAX, dropped_after, others_run};
use crate::mesh::{mesh, message, within};

#[tokio::test]
async fn no_change_of_holders_is_lost_by_looking_at_it() {
    within(async {
        let mesh = mesh(2).await;
        let channel = mesh[0].channel("moving");
        let mut changes = channel.holder_changes().expect("it is a role");
        let mut held = Vec::new();
        for polls in 0..POLLS_MAX {
            let inbox = mesh[1].register("moving").await.expect("it is free");
            held.push(HolderChange::Came(mesh[1].id()));
            channel.wait_for_holders(1).await.expect("it comes");
            let _ = dropped_after(polls, channel.holders()).await;
            assert_eq!(channel.holders().await, Ok(vec![mesh[1].id()]));
            drop(inbox);
            held.push(HolderChange::Went(mesh[1].id()));
            let mut seen = Vec::new();
            while seen.len() < 2 {
                match dropped_after(polls, changes.next()).await {
                    Some(change) => seen.extend(change),
                    None => tokio::task::yield_now().await,
                }
            }
            assert_eq!(seen, held.split_off(held.len() - 2));
        }
    })
    .await;
}

#[tokio::test]
async fn a_service_is_free_after_its_registration_was_dropped() {
    within(async {
        let mesh = mesh(1).await;
        let described = mesh[0].describe().service("db", 1).await;
        described.expect("the node runs");
        for polls in 0..POLLS_MAX {
            drop(dropped_after(polls, mesh[0].register_service()).await);
            others_run().await;
            let again = mesh[0].register_service().await;
            drop(again.expect("nobody holds it"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_broadcast_that_was_dropped_before_it_was_polled_is_not_sent_and_any_other_once_at_most()
{
    within(async {
        let mesh = mesh(1).await;
        let mut inbox = mesh[0].broadcasts().await.expect("it is free");
        for polls in 0..POLLS_MAX {
            drop(mesh[0].broadcast("never polled"));
            let sent = dropped_after(polls, mesh[0].broadcast(format!("{polls}"))).await;
            let last = mesh[0].broadcast("last").await.expect("the node runs");
            if let Some(sent) = sent {
                let before = sent.expect("the node runs").seq().0;
                assert_eq!(last.seq().0, before + 1, "it was sent once");
                assert_eq!(message(&mut inbox).await.payload(), &*format!("{polls}"));
            }
            assert_eq!(message(&mut inbox).await.payload(), "last");
        }
    })
    .await;
}

#[tokio::test]
async fn values_and_their_answers_are_not_lost_by_looking_and_answered_once_at_most() {
    within(async {
        let mesh = mesh(2).await;
        let mut inbox = mesh[1].register_of::<usize>("square").await.expect("free");
        let channel = mesh[0].channel_of::<usize>("square");
        channel
            .untyped()
            .wait_for_holders(1)
            .await
            .expect("it comes");
        for polls in 0..2 * POLLS_MAX {
            let mut answers = channel
                .request_all::<usize>(&polls)
                .await
                .expect("there is a holder");
            let message: TypedMessage<usize> = loop {
                match dropped_after(polls % POLLS_MAX, inbox.next()).await {
                    Some(Some(TypedItem::Message(message))) => break message,
                    Some(other) => panic!("nothing else comes: {other:?}"),
                    None => tokio::task::yield_now().await,
                }
            };
            assert_eq!(message.value, polls);
            let _ = dropped_after(polls % POLLS_MAX, message.cancelled()).await;
            let square = polls * polls;
            // Polled once, there is room for it, and it goes.
            match polls % 3 {
                0 => _ = dropped_after(0, message.reply(&square)).await,
                1 => {
                    let (_, message) = message.into_parts();
                    _ = dropped_after(0, message.reply_with(&square)).await;
                }
                _ => {
                    let (_, message) = message.into_parts();
                    let (_, responder) = message.into_parts();
                    let responder = responder.expect("it is a request");
                    _ = dropped_after(0, responder.reply("no number")).await;
                }
            }
            let mut got = Vec::new();
            loop {
                match dropped_after(polls % POLLS_MAX, answers.next()).await {
                    Some(Some(answer)) => got.push(answer.result),
                    Some(None) => break,
                    None => tokio::task::yield_now().await,
                }
            }
            assert_eq!(got.len(), 1, "one answer, whatever it says");
            if polls % 3 < 2 {
                assert_eq!(got[0], Ok(square));
            }
            assert!(answers.next().await.is_none());
        }
        let left = dropped_after(POLLS_MAX, inbox.next()).await;
        assert!(left.is_none(), "nothing is left over");
    })
    .await;
}
