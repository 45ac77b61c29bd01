//! The answers to a request to all holders.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use rolecast_membership::NodeId;

use crate::call::CancelOnDrop;
use crate::error::NoAnswer;
use crate::queue::Queue;

/// One holder's answer to a request to all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The holder.
    pub node: NodeId,
    /// What it replied, or why there is no reply.
    pub result: Result<Bytes, NoAnswer>,
}

/// The answers to a request to all holders, as they come; ends after the last holder's.
///
/// Every holder that the request went to is named exactly once, with its reply or with the reason why there is none.
/// To drop it before its end gives the request up: holders that still work on it are told.
#[must_use = "dropping the answers gives the request up"]
pub struct Answers {
    pub(crate) queue: Arc<Queue<Answer>>,
    pub(crate) taken: VecDeque<Answer>,
    pub(crate) holders: usize,
    pub(crate) cancel: CancelOnDrop,
}

impl Answers {
    /// How many holders were asked.
    #[must_use]
    pub fn holders(&self) -> usize {
        self.holders
    }

    /// The next answer; `None` after the last.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Answer> {
        std::future::poll_fn(|cx| self.poll_answer(cx)).await
    }

    /// Waits for all answers that are still to come.
    pub async fn collect(mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            answers.push(answer);
        }
        answers
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        if self.taken.is_empty() && !std::task::ready!(self.queue.poll_take(cx, &mut self.taken)) {
            self.cancel.armed = false;
        }
        Poll::Ready(self.taken.pop_front())
    }
}

impl Stream for Answers {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        self.poll_answer(cx)
    }
}
