//! What every system that is measured can do.

use bytes::Bytes;

use crate::bench::payload::Stray;
use crate::failure::Failure;

/// The sending end of a fan-out.
pub(crate) trait Sink {
    /// Sends a payload to all subscribers, or gathers it to be sent; waits while they are too slow.
    async fn send(&mut self, payload: Bytes) -> Result<(), Failure>;

    /// Sends what has been gathered.
    async fn flush(&mut self) -> Result<(), Failure>;

    /// Waits until all that was sent has arrived, if that can be known.
    async fn settle(&mut self) -> Result<(), Failure>;
}

/// The receiving end of a fan-out.
pub(crate) trait Source {
    /// Waits for payloads and hands over those that are there.
    ///
    /// Cancel safe.
    async fn take(&mut self, each: impl FnMut(&[u8]) -> Result<(), Stray>) -> Result<(), Failure>;
}

/// One who asks.
pub(crate) trait Caller {
    /// Sends a request and waits for its reply, which must be the same payload.
    async fn call(&mut self, payload: Bytes) -> Result<(), Failure>;
}

/// One who answers.
pub(crate) trait Replier {
    /// Answers every request with its own payload, for ever.
    async fn serve(self) -> Result<(), Failure>;
}
