//! Receiving values.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use rolecast_membership::{Epoch, NodeId, RoleName};
use rolecast_protocol::{Gap, Seq};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{DecodeError, decode};
use crate::error::{ClosedReason, ReplyError};
use crate::inbox::{Inbox, InboxItem};
use crate::message::Message;

/// What comes out of a [`TypedInbox`].
#[derive(Debug)]
#[non_exhaustive]
pub enum TypedItem<T> {
    /// A value.
    Message(TypedMessage<T>),
    /// A message that is no value of type `T`.
    Undecodable {
        /// The message.
        message: Message,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// Messages that were meant for this inbox and will never come.
    Gap(Gap),
    /// Nothing more will come; the inbox ends after this.
    Closed(ClosedReason),
}

impl<T> TypedItem<T> {
    /// The value with what is known about it, if it is one.
    #[must_use]
    pub fn into_message(self) -> Option<TypedMessage<T>> {
        match self {
            TypedItem::Message(message) => Some(message),
            _ => None,
        }
    }
}

/// A value that came to a role.
#[derive(Debug)]
pub struct TypedMessage<T> {
    /// The value.
    pub value: T,
    message: Message,
}

impl<T> TypedMessage<T> {
    /// The node that sent it.
    #[must_use]
    pub fn origin(&self) -> NodeId {
        self.message.origin()
    }

    /// The life in which that node sent it.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.message.epoch()
    }

    /// The role that it was sent to.
    #[must_use]
    pub fn role(&self) -> &RoleName {
        self.message.role()
    }

    /// As [`Message::seq`].
    #[must_use]
    pub fn seq(&self) -> Option<Seq> {
        self.message.seq()
    }

    /// Whether the origin awaits a reply.
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.message.is_request()
    }

    /// Answers a request with a value; as [`Message::reply`].
    ///
    /// # Errors
    /// [`ReplyError`] says why no answer was sent.
    pub async fn reply<R: Serialize>(self, value: &R) -> Result<(), ReplyError> {
        self.message.reply_with(value).await
    }

    /// As [`Message::cancelled`].
    pub async fn cancelled(&self) {
        self.message.cancelled().await;
    }

    /// The value, and the message it came in.
    #[must_use = "dropping a request without a reply refuses it"]
    pub fn into_parts(self) -> (T, Message) {
        (self.value, self.message)
    }
}

impl Message {
    /// Answers a request with a value; as [`Message::reply`].
    ///
    /// # Errors
    /// [`ReplyError`] says why no answer was sent.
    pub async fn reply_with<R: Serialize>(self, value: &R) -> Result<(), ReplyError> {
        let payload = postcard::to_stdvec(value).map_err(ReplyError::Encode)?;
        self.reply(payload).await
    }
}

/// An [`Inbox`] of values of type `T`.
///
/// Bytes that are no such value come out as [`TypedItem::Undecodable`]; a request among them is refused when the item is dropped.
pub struct TypedInbox<T> {
    pub(super) inbox: Inbox,
    pub(super) marker: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> TypedInbox<T> {
    /// The next item; `None` after the end.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<TypedItem<T>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// As [`Inbox::unregister`].
    ///
    /// # Errors
    /// As [`Inbox::unregister`].
    pub async fn unregister(&mut self) -> Result<(), ClosedReason> {
        self.inbox.unregister().await
    }
}

impl<T: DeserializeOwned> Stream for TypedInbox<T> {
    type Item = TypedItem<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TypedItem<T>>> {
        Pin::new(&mut self.inbox).poll_next(cx).map(|item| {
            Some(match item? {
                InboxItem::Message(message) => match decode(message.payload()) {
                    Ok(value) => TypedItem::Message(TypedMessage { value, message }),
                    Err(error) => TypedItem::Undecodable { message, error },
                },
                InboxItem::Gap(gap) => TypedItem::Gap(gap),
                InboxItem::Closed(reason) => TypedItem::Closed(reason),
            })
        })
    }
}

impl<T> fmt::Debug for TypedInbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inbox.fmt(f)
    }
}
