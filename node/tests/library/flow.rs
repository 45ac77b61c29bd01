//! What holds a sender back.

use std::time::Duration;

use rolecast::{Limits, MeshSecret, NotSent, SendError};

use crate::mesh::{mesh_of, message, register_on, within};

const WINDOW_BYTES: usize = 256 << 10;

fn small_window() -> Limits {
    Limits {
        flow_window_bytes: WINDOW_BYTES,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_slow_consumer_holds_the_sender_back_and_nothing_is_lost() {
    within(async {
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 2, |builder| builder.limits(small_window())).await;
        let mut inboxes = register_on(&mesh, &[1], "slow").await;
        let channel = mesh[0].channel("slow");
        let payload = vec![7u8; 1_000];
        let mut sent = 0u64;
        loop {
            match channel
                .multicast(payload.clone())
                .timeout(Duration::from_millis(300))
                .await
            {
                Ok(receipt) => {
                    sent += 1;
                    assert_eq!(receipt.seq().0, sent);
                }
                Err(error) => {
                    assert_eq!(error, SendError::NotSent(NotSent::TimedOut));
                    break;
                }
            }
        }
        let kept = sent as usize * payload.len();
        // The window, one batch above it, and what gathers in the outbox.
        assert!(
            (WINDOW_BYTES..WINDOW_BYTES + (320 << 10)).contains(&kept),
            "{kept} bytes"
        );

        let more = tokio::spawn({
            let channel = channel.clone();
            async move {
                let receipt = channel
                    .multicast("the last")
                    .await
                    .expect("there is a holder");
                receipt.acked().await.expect("the node is not closed")
            }
        });
        for _ in 0..sent {
            assert_eq!(
                message(&mut inboxes[0]).await.payload().len(),
                payload.len()
            );
        }
        assert_eq!(message(&mut inboxes[0]).await.payload(), "the last");
        assert_eq!(more.await.expect("no panic").acknowledged, 1);
    })
    .await;
}

#[tokio::test]
async fn a_multicast_that_is_dropped_before_it_resolved_is_not_sent() {
    within(async {
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 2, |builder| builder.limits(small_window())).await;
        let mut inboxes = register_on(&mesh, &[1], "slow").await;
        let channel = mesh[0].channel("slow");
        let mut sent = 0;
        let patience = Duration::from_millis(300);
        while let Ok(result) = tokio::time::timeout(patience, async {
            channel.multicast(vec![0u8; 60_000]).await
        })
        .await
        {
            result.expect("there is a holder");
            sent += 1;
        }
        for _ in 0..sent {
            message(&mut inboxes[0]).await;
        }
        channel.multicast("next").await.expect("there is a holder");
        assert_eq!(message(&mut inboxes[0]).await.payload(), "next");
    })
    .await;
}

#[tokio::test]
async fn slow_inboxes_do_not_hold_other_roles_back() {
    within(async {
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 2, |builder| builder.limits(small_window())).await;
        let _stuck = register_on(&mesh, &[1], "stuck").await;
        let mut moving = register_on(&mesh, &[1], "moving").await;
        let stuck = mesh[0].channel("stuck");
        let patience = Duration::from_millis(300);
        while stuck
            .multicast(vec![0u8; 10_000])
            .timeout(patience)
            .await
            .is_ok()
        {}
        let channel = mesh[0].channel("moving");
        for _ in 0..100 {
            channel
                .multicast(vec![1u8; 10_000])
                .await
                .expect("there is a holder");
            message(&mut moving[0]).await;
        }
    })
    .await;
}
