//! Between values and bytes.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::NotSent;

/// Bytes that are not a value of the expected type.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use rolecast::{MeshSecret, Node};
/// # let node = Node::builder().secret(MeshSecret::generate()).listen("127.0.0.1:0").start().await?;
/// use rolecast::{DecodeError, TypedItem};
///
/// /// What a program tells whoever runs it.
/// fn complain(error: &DecodeError) -> String {
///     format!("is there an older version in the mesh? {error}")
/// }
///
/// let mut inbox = node.register_of::<(u32, String)>("users").await?;
/// node.channel_of::<u32>("users").multicast(&17).await?;
/// let Some(TypedItem::Undecodable { error, .. }) = inbox.next().await else { panic!("it is no pair") };
/// assert!(complain(&error).contains("the payload is no (u32, alloc::string::String)"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload is no {expected}: {source}")]
pub struct DecodeError {
    expected: &'static str,
    source: postcard::Error,
}

/// Writes a value with postcard.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Bytes, NotSent> {
    postcard::to_stdvec(value)
        .map(Bytes::from)
        .map_err(NotSent::Encode)
}

/// A value must use up all of the payload: left-over bytes mean another type.
pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeError> {
    let error = |source| DecodeError {
        expected: std::any::type_name::<T>(),
        source,
    };
    let (value, rest) = postcard::take_from_bytes(payload).map_err(error)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(error(postcard::Error::DeserializeBadEncoding))
    }
}
