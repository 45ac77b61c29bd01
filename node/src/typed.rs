//! Channels and inboxes of values instead of bytes, written with postcard.

mod channel;
mod codec;
mod inbox;
mod request;

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use channel::TypedChannel;
pub use codec::DecodeError;
pub use inbox::{TypedInbox, TypedItem, TypedMessage};
pub use request::{
    TypedAnswer, TypedAnswers, TypedNoAnswer, TypedReply, TypedRequest, TypedRequestAll,
    TypedRequestError,
};

use crate::error::RegisterError;
use crate::node::Node;

impl Node {
    /// A handle to send values of type `T` to a role.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # use rolecast::TypedItem;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// enum Event {
    ///     UserAdded { id: u32 },
    /// }
    ///
    /// let mut inbox = node.register_of::<Event>("users").await?;
    /// node.channel_of("users").multicast(&Event::UserAdded { id: 17 }).await?;
    /// let Some(TypedItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
    /// assert_eq!(message.value, Event::UserAdded { id: 17 });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn channel_of<T: Serialize>(&self, role: impl AsRef<str>) -> TypedChannel<T> {
        TypedChannel {
            channel: self.channel(role),
            marker: PhantomData,
        }
    }

    /// Takes up a role that receives values of type `T`.
    /// Cancel safe: if the future is dropped, the role is given up again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// use rolecast::TypedItem;
    ///
    /// let mut inbox = node.register_of::<(u32, String)>("pairs").await?;
    /// node.channel("pairs").multicast("rubbish").await?;
    /// match inbox.next().await {
    ///     Some(TypedItem::Undecodable { message, error }) => println!("{}: {error}", message.origin()),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Node::register`].
    pub async fn register_of<T: DeserializeOwned>(
        &self,
        role: impl AsRef<str>,
    ) -> Result<TypedInbox<T>, RegisterError> {
        Ok(TypedInbox {
            inbox: self.register(role).await?,
            large: None,
            marker: PhantomData,
        })
    }
}
