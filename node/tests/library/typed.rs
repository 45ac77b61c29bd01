//! Values instead of bytes.

use rolecast::{SendError, TypedItem, TypedNoAnswer, TypedRequestError};
use serde::{Deserialize, Serialize};

use crate::mesh::{mesh, within};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Added { user: u32, name: String },
    Removed { user: u32 },
}

#[tokio::test]
async fn values_arrive_and_rubbish_is_an_item() {
    within(async {
        let mesh = mesh(2).await;
        let mut inbox = mesh[1]
            .register_of::<Event>("users")
            .await
            .expect("the role is free");
        mesh[0]
            .wait_for("users", 1)
            .await
            .expect("it is not closed");
        let channel = mesh[0].channel_of::<Event>("users");
        let added = Event::Added {
            user: 17,
            name: "Ada".into(),
        };
        channel.multicast(&added).await.expect("there is a holder");
        channel
            .untyped()
            .multicast("rubbish")
            .await
            .expect("there is a holder");
        channel
            .multicast(&Event::Removed { user: 17 })
            .await
            .expect("there is a holder");

        let message = inbox
            .next()
            .await
            .and_then(TypedItem::into_message)
            .expect("a value");
        assert_eq!((&message.value, message.origin()), (&added, mesh[0].id()));
        match inbox.next().await {
            Some(TypedItem::Undecodable { message, error }) => {
                assert_eq!(message.payload(), "rubbish");
                assert!(error.to_string().contains("Event"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        let message = inbox
            .next()
            .await
            .and_then(TypedItem::into_message)
            .expect("a value");
        assert_eq!(message.value, Event::Removed { user: 17 });
    })
    .await;
}

#[tokio::test]
async fn typed_requests_have_typed_replies() {
    within(async {
        let mesh = mesh(2).await;
        let mut inbox = mesh[1]
            .register_of::<(u32, u32)>("sum")
            .await
            .expect("the role is free");
        mesh[0].wait_for("sum", 1).await.expect("it is not closed");
        tokio::spawn(async move {
            while let Some(item) = inbox.next().await {
                if let TypedItem::Message(message) = item {
                    let (a, b) = message.value;
                    message.reply(&(a + b)).await.expect("it is awaited");
                }
            }
        });
        let channel = mesh[0].channel_of::<(u32, u32)>("sum");
        let reply = channel
            .request::<u32>(&(40, 2))
            .await
            .expect("it is answered");
        assert_eq!((reply.value, reply.node), (42, mesh[1].id()));

        let other_type = channel.request::<String>(&(40, 2)).await;
        assert!(
            matches!(other_type, Err(TypedRequestError::Decode { .. })),
            "{other_type:?}"
        );
        let rubbish = channel
            .untyped()
            .request("rubbish that is no pair of numbers")
            .await;
        assert!(
            matches!(rubbish, Err(SendError::Refused { .. })),
            "{rubbish:?}"
        );

        let mut answers = channel
            .request_all::<u32>(&(1, 2))
            .await
            .expect("there is a holder");
        assert_eq!(answers.next().await.expect("one answer").result, Ok(3));
        assert!(answers.next().await.is_none());
        let mut answers = channel
            .request_all::<String>(&(1, 2))
            .await
            .expect("there is a holder");
        let answer = answers.next().await.expect("one answer").result;
        assert!(
            matches!(answer, Err(TypedNoAnswer::Decode(_))),
            "{answer:?}"
        );
    })
    .await;
}
