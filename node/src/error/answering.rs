//! Why there is no answer: at the end that asked, and at the one that was to reply.

use rolecast_protocol::Refusal;

use super::{ClosedReason, Unknown};

/// Why one holder did not answer a request to all.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # use rolecast::InboxItem;
/// use rolecast::{NoAnswer, Refusal};
///
/// let mut inbox = node.register("cache").await?;
/// let answers = node.channel("cache").request_all("how many entries?").await?;
/// // A request that is dropped is refused.
/// drop(inbox.next().await);
/// for answer in answers.collect().await {
///     match answer.result {
///         Ok(payload) => panic!("there was no reply: {payload:?}"),
///         Err(NoAnswer::Refused(why)) => assert_eq!(why, Refusal::Dropped),
///         Err(why) => println!("{} is silent: {why}", answer.node),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// It never got the request.
    #[error("it was not sent")]
    NotSent,
    /// It may have got it, and no answer will come.
    #[error("unknown whether it arrived: {0}")]
    Unknown(Unknown),
    /// It did nothing with it.
    #[error("it refused: {}", refusal_text(*.0))]
    Refused(Refusal),
}

/// Why a reply was not sent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// # use rolecast::InboxItem;
/// use rolecast::ReplyError;
///
/// let mut inbox = node.register("oracle").await?;
/// let channel = node.channel("oracle");
/// let asking = tokio::spawn(async move { channel.request("what is the answer?").await });
///
/// let Some(InboxItem::Message(message)) = inbox.next().await else { panic!("nothing is lost here") };
/// match message.reply(vec![0; 17 << 20]).await {
///     Err(ReplyError::TooLarge { bytes, max }) => println!("{bytes} bytes are more than {max}"),
///     other => panic!("it is too large: {other:?}"),
/// }
/// // Whoever asked learns that there is no reply.
/// assert!(asking.await?.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The message is not a request.
    #[error("the message is not a request")]
    NotARequest,
    /// Whoever asked is gone, or no longer waits.
    #[error("whoever asked no longer waits")]
    Gone,
    /// The reply is too large.
    #[error("a reply has at most {max} bytes, and this one has {bytes}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The value cannot be written as bytes.
    #[error("the value cannot be encoded: {0}")]
    Encode(postcard::Error),
    /// The node is closed.
    #[error(transparent)]
    Closed(#[from] ClosedReason),
}

pub(super) fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotHolder => "it does not hold the role",
        Refusal::Busy => "its inbox is full",
        Refusal::Dropped => "its program dropped the message without a reply",
    }
}
