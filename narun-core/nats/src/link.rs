//! Publishing to NATS.

#[cfg(test)]
pub(crate) mod memory;
mod outgoing;

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use futures::future::BoxFuture;

pub use outgoing::Outgoing;

/// What the driver needs of a NATS client.
///
/// [`NatsLink`](crate::NatsLink) is the only implementation outside of tests. Tests of the driver put one in memory in its
/// place: it loses and holds back messages at will, which no server does on demand.
pub trait Link: Send + Sync + 'static {
    /// Publishes a message if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// [`PublishError::Full`] if the client's queue has no room now; see [`Link::publish`].
    fn try_publish(&self, message: &OutgoingMessage<'_>) -> Result<(), PublishError>;

    /// Publishes a message, and waits for a connection and for room in the client's queue. Slow: for use after
    /// [`PublishError::Full`], or while the client is disconnected.
    fn publish(&self, message: OutgoingMessage<'_>) -> BoxFuture<'static, Result<(), PublishError>>;

    /// Returns whether the client is connected.
    fn is_connected(&self) -> bool;

    /// How many connections the client has made. The number changes with every reconnect.
    fn epoch(&self) -> u64;

    /// The largest payload that the server accepts, in bytes.
    fn max_payload(&self) -> usize;
}

/// A message to be published.
#[derive(Clone, Debug)]
pub struct OutgoingMessage<'a> {
    /// The subject.
    pub to: Subject,
    /// The reply subject.
    pub reply: Option<Subject>,
    /// NATS headers. Both names and values are narun's own: no HTTP field ever becomes one.
    pub headers: Option<&'a HeaderMap>,
    /// The payload.
    pub payload: Bytes,
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The client's queue is full.
    #[error("the client's queue is full")]
    Full,
    /// The payload exceeds the server's limit.
    #[error("the payload exceeds the server's limit")]
    TooLarge,
    /// The user lacks the permission to publish to the subject.
    #[error("the user may not publish to the subject")]
    Denied,
    /// The client has closed, or rejected the subject.
    #[error("the client does not accept messages")]
    Closed,
}
