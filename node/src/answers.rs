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
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # let mut inbox = node.register("cache").await?;
/// # tokio::spawn(async move {
/// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
/// #         let _ = message.reply("3").await;
/// #     }
/// # });
///
/// use rolecast::Answer;
///
/// let mut answers = node.channel("cache").request_all("how many entries?").await?;
/// let mut entries = 0;
/// while let Some(Answer { node, result, .. }) = answers.next().await {
///     match result {
///         Ok(payload) => entries += std::str::from_utf8(&payload)?.parse::<u32>()?,
///         Err(why) => println!("without those of {node}: {why}"),
///     }
/// }
/// assert_eq!(entries, 3);
/// # Ok(())
/// # }
/// ```
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
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # let mut inbox = node.register("cache").await?;
/// # tokio::spawn(async move {
/// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
/// #         let _ = message.reply("3").await;
/// #     }
/// # });
///
/// use futures_util::StreamExt as _;
/// use rolecast::Answers;
///
/// // It is a stream: whoever is content with the first answer drops the rest.
/// let answers: Answers = node.channel("cache").request_all("how many entries?").await?;
/// let mut replies = answers.filter_map(|answer| std::future::ready(answer.result.ok()));
/// assert_eq!(replies.next().await, Some("3".into()));
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping the answers gives the request up"]
pub struct Answers {
    pub(crate) queue: Arc<Queue<Answer>>,
    pub(crate) taken: VecDeque<Answer>,
    pub(crate) holders: usize,
    pub(crate) cancel: CancelOnDrop,
    /// Those of the other roles, if a pattern was asked.
    pub(crate) others: Vec<Answers>,
}

impl Answers {
    /// How many holders were asked.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let secret = MeshSecret::generate();
    /// # let first = Node::builder().secret(&secret).listen("127.0.0.1:0").start().await?;
    /// # let second = Node::builder().secret(&secret).listen("127.0.0.1:0").seeds([first.addr()]).start().await?;
    /// let _not_read = (first.register("cache").await?, second.register("cache").await?);
    /// let caches = first.channel("cache");
    /// caches.wait_for_holders(2).await?;
    /// let answers = caches.request_all("how many entries?").await?;
    /// assert_eq!(answers.holders(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn holders(&self) -> usize {
        let others = self.others.iter().map(Answers::holders);
        self.holders + others.sum::<usize>()
    }

    /// The answers of several roles as one.
    pub(crate) fn of_all(mut all: Vec<Answers>) -> Option<Self> {
        let mut first = all.pop()?;
        first.others = all;
        Some(first)
    }

    /// The next answer; `None` after the last.
    ///
    /// Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # let mut inbox = node.register("cache").await?;
    /// # tokio::spawn(async move {
    /// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
    /// #         let _ = message.reply("3").await;
    /// #     }
    /// # });
    ///
    /// let mut answers = node.channel("cache").request_all("how many entries?").await?;
    /// let answer = answers.next().await.expect("there is a holder");
    /// assert_eq!((answer.node, answer.result), (node.id(), Ok("3".into())));
    /// assert!(answers.next().await.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Answer> {
        std::future::poll_fn(|cx| self.poll_answer(cx)).await
    }

    /// Waits for all answers that are still to come.
    /// Dropped before it resolved, it gives the request up: the answers that came are lost, and holders that have not answered are told.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use rolecast::{MeshSecret, Node};
    /// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
    /// # let mut inbox = node.register("cache").await?;
    /// # tokio::spawn(async move {
    /// #     while let Some(rolecast::InboxItem::Message(message)) = inbox.next().await {
    /// #         let _ = message.reply("3").await;
    /// #     }
    /// # });
    ///
    /// let answers = node.channel("cache").request_all("how many entries?").await?;
    /// let answered = answers.collect().await.into_iter().filter(|answer| answer.result.is_ok()).count();
    /// assert_eq!(answered, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn collect(mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            answers.push(answer);
        }
        answers
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let own = self.poll_own(cx);
        if let Poll::Ready(Some(_)) = own {
            return own;
        }
        let mut waits = own.is_pending();
        for other in &mut self.others {
            match other.poll_answer(cx) {
                Poll::Ready(Some(answer)) => return Poll::Ready(Some(answer)),
                Poll::Ready(None) => {}
                Poll::Pending => waits = true,
            }
        }
        match waits {
            true => Poll::Pending,
            false => Poll::Ready(None),
        }
    }

    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
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
