//! Requests whose replies are values.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use rolecast_membership::NodeId;
use rolecast_protocol::Pick;
use serde::de::DeserializeOwned;

use super::codec::{DecodeError, decode};
use crate::answers::Answers;
use crate::error::{NoAnswer, NotSent, SendError};
use crate::request::{Request, RequestAll};

/// A request with a typed reply, to be awaited; see [`TypedChannel::request`](crate::TypedChannel::request).
#[must_use = "nothing is sent before this is awaited"]
pub struct TypedRequest<'a, R> {
    pub(super) request: Result<Request<'a>, NotSent>,
    pub(super) marker: PhantomData<fn() -> R>,
}

impl<'a, R> TypedRequest<'a, R> {
    /// As [`Request::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|request| request.timeout(timeout))
    }

    /// As [`Request::pick`].
    pub fn pick(self, pick: Pick) -> Self {
        self.with(|request| request.pick(pick))
    }

    /// As [`Request::sticky`].
    pub fn sticky(self, key: impl Into<Bytes>) -> Self {
        self.with(|request| request.sticky(key))
    }

    /// As [`Request::to`].
    pub fn to(self, node: NodeId) -> Self {
        self.with(|request| request.to(node))
    }

    fn with(self, change: impl FnOnce(Request<'a>) -> Request<'a>) -> Self {
        TypedRequest {
            request: self.request.map(change),
            marker: PhantomData,
        }
    }
}

/// A holder's typed reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypedReply<R> {
    /// The holder.
    pub node: NodeId,
    /// Its answer.
    pub value: R,
}

/// Why a typed request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypedRequestError {
    /// The request failed.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A holder replied with something else: it has acted on the request.
    #[error("node {node} replied with something else: {error}")]
    Decode {
        /// The holder.
        node: NodeId,
        /// What is wrong with its reply.
        error: DecodeError,
    },
}

impl<'a, R: DeserializeOwned> IntoFuture for TypedRequest<'a, R> {
    type Output = Result<TypedReply<R>, TypedRequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let request = self.request;
        Box::pin(async move {
            let reply = request.map_err(SendError::from)?.await?;
            match decode(&reply.payload) {
                Ok(value) => Ok(TypedReply {
                    node: reply.node,
                    value,
                }),
                Err(error) => Err(TypedRequestError::Decode {
                    node: reply.node,
                    error,
                }),
            }
        })
    }
}

/// A request to all with typed replies, to be awaited; see [`TypedChannel::request_all`](crate::TypedChannel::request_all).
#[must_use = "nothing is sent before this is awaited"]
pub struct TypedRequestAll<'a, R> {
    pub(super) request: Result<RequestAll<'a>, NotSent>,
    pub(super) marker: PhantomData<fn() -> R>,
}

impl<R> TypedRequestAll<'_, R> {
    /// As [`RequestAll::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        let request = self.request.map(|request| request.timeout(timeout));
        TypedRequestAll {
            request,
            marker: PhantomData,
        }
    }
}

impl<'a, R: DeserializeOwned> IntoFuture for TypedRequestAll<'a, R> {
    type Output = Result<TypedAnswers<R>, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let request = self.request;
        Box::pin(async move {
            Ok(TypedAnswers {
                answers: request?.await?,
                marker: PhantomData,
            })
        })
    }
}

/// One holder's typed answer to a request to all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypedAnswer<R> {
    /// The holder.
    pub node: NodeId,
    /// What it replied, or why there is no value.
    pub result: Result<R, TypedNoAnswer>,
}

/// Why one holder's answer has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypedNoAnswer {
    /// It did not answer.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// It replied with something else.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The typed answers to a request to all holders; see [`Answers`].
#[must_use = "dropping the answers gives the request up"]
pub struct TypedAnswers<R> {
    answers: Answers,
    pub(super) marker: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> TypedAnswers<R> {
    /// The next answer; `None` after the last.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<TypedAnswer<R>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<R: DeserializeOwned> Stream for TypedAnswers<R> {
    type Item = TypedAnswer<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TypedAnswer<R>>> {
        Pin::new(&mut self.answers).poll_next(cx).map(|answer| {
            let answer = answer?;
            let result = match answer.result {
                Ok(payload) => decode(&payload).map_err(TypedNoAnswer::from),
                Err(why) => Err(why.into()),
            };
            Some(TypedAnswer {
                node: answer.node,
                result,
            })
        })
    }
}
