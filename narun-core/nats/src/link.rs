use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use narun_core::Time;

/// A message bus, as far as an exchange needs one.
pub trait Link: Send + Sync + 'static {
    /// A subject.
    type Address: AsRef<str> + Clone + Debug + PartialEq + Send + Sync + Unpin + 'static;
    /// What goes with a payload, apart from it.
    type Headers: Clone + Send + Sync + Unpin + 'static;
    /// Wakes at a given time.
    type Timer: Timer;

    /// The address with this text.
    fn address(text: String) -> Self::Address;

    /// Headers with these names and values. Both are narun's own: nothing foreign may get here.
    fn headers(fields: &[(&'static str, &str)]) -> Self::Headers;

    /// Publishes at once, or says why not.
    fn try_publish(
        &self,
        to: Self::Address,
        reply: Option<Self::Address>,
        headers: Option<&Self::Headers>,
        payload: Bytes,
    ) -> Result<(), PublishError>;

    /// Publishes when there is room. The slow way: called only after [`PublishError::Full`].
    fn publish(
        &self,
        to: Self::Address,
        reply: Option<Self::Address>,
        headers: Option<&Self::Headers>,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<(), PublishError>>;

    /// Whether there is a connection at the moment.
    fn is_connected(&self) -> bool;

    /// Counts connections made: it changes when one was lost.
    fn epoch(&self) -> u64;

    /// The moment now.
    fn now(&self) -> Time;

    /// A timer on the same time.
    fn timer(&self) -> Self::Timer;
}

/// Wakes a task at a given time.
pub trait Timer: Send {
    /// Ready once `deadline` has come; otherwise wakes then.
    fn poll_until(self: Pin<&mut Self>, cx: &mut Context<'_>, deadline: Time) -> Poll<()>;
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The client's queue is full.
    #[error("the client's queue is full")]
    Full,
    /// The payload is over the server's limit.
    #[error("the payload is over the server's limit")]
    TooLarge,
    /// The client is dead, or took the subject for invalid.
    #[error("the client does not take messages any more")]
    Closed,
}
