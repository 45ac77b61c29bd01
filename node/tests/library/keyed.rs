//! Keys, whichever way a message is sent.

use std::collections::BTreeMap;

use rolecast::{InboxItem, LagReason, Limits, MeshSecret, NotSent, SlowReceivers, TrySendError};

use crate::mesh::{mesh_of, register_on, within};

#[tokio::test]
async fn the_last_of_each_key_comes_whichever_way_it_was_sent() {
    const MESSAGES: usize = 1_200;
    const KEYS: usize = 4;
    within(async {
        let limits = Limits {
            flow_window_bytes: 16 << 10,
            ..Limits::default()
        };
        let secret = MeshSecret::generate();
        let mesh = mesh_of(&secret, 2, |builder| builder.limits(limits.clone())).await;
        let mut inboxes = register_on(&mesh, &[1], "state").await;
        let channel = mesh[0].channel("state");
        let channel = channel.slow_receivers(SlowReceivers::KeepLast);
        for number in 0..MESSAGES {
            let (key, payload) = ((number % KEYS).to_string(), format!("{number:>600}"));
            match number / KEYS % 3 {
                0 => drop(channel.multicast(payload).key(key).await.expect("a holder")),
                1 => {
                    let permit = channel.reserve(601).await.expect("there is a holder");
                    permit.send_keyed(payload, key).expect("there is room");
                }
                _ => {
                    let mut again = payload.into();
                    while let Err(error) = channel.try_send_keyed(again, key.clone()) {
                        assert!(matches!(error, TrySendError::Full { .. }), "{error}");
                        again = error.into_payload();
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
        let (mut last, mut superseded) = (BTreeMap::new(), 0);
        while last.get(&(KEYS - 1)) != Some(&(MESSAGES - 1)) {
            match inboxes[0].next().await.expect("the node is not closed") {
                InboxItem::Message(message) => {
                    let text = String::from_utf8(message.payload().to_vec()).expect("it is text");
                    let number: usize = text.trim().parse().expect("a number");
                    last.insert(number % KEYS, number);
                }
                InboxItem::Lagged(lagged) => {
                    assert_eq!(lagged.reason, LagReason::Superseded);
                    superseded += lagged.last.0 - lagged.first.0 + 1;
                }
                other => panic!("nothing is lost here: {other:?}"),
            }
        }
        let newest = (MESSAGES - KEYS..MESSAGES).map(|number| (number % KEYS, number));
        assert!(last.into_iter().eq(newest), "of each key the last one");
        assert!(superseded > 600, "{superseded} of {MESSAGES}");
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_too_long_is_refused_and_the_room_for_it_counts() {
    within(async {
        let mesh = mesh_of(&MeshSecret::generate(), 1, |builder| builder).await;
        let _inbox = register_on(&mesh, &[0], "state").await;
        let channel = mesh[0].channel("state");
        let channel = channel.slow_receivers(SlowReceivers::KeepLast);
        let permit = channel.reserve(300).await.expect("there is a holder");
        let (long, too_long) = (
            "k".repeat(257),
            NotSent::KeyTooLong {
                bytes: 257,
                max: 256,
            },
        );
        let error = permit.send_keyed("x", long.clone()).expect_err("too long");
        assert_eq!(error, too_long.clone().into());
        let permit = channel.reserve(4).await.expect("there is a holder");
        let error = permit.send_keyed("abc", "de").expect_err("one byte more");
        assert_eq!(error, NotSent::TooLarge { bytes: 5, max: 4 }.into());
        match channel.try_send_keyed("x", long) {
            Err(TrySendError::NotSent { why, payload }) => {
                assert_eq!((why, payload), (too_long, "x".into()));
            }
            other => panic!("it is too long: {other:?}"),
        }
        let receipt = channel.try_send_keyed("x", "k".repeat(256));
        assert_eq!(receipt.expect("it is short enough").seq().0, 1);
    })
    .await;
}
