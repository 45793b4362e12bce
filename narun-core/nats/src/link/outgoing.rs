use std::fmt;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;

use super::{Link, OutgoingMessage, PublishError};

/// Publishes one message after the other. It waits only while the client is disconnected or its queue is full.
#[derive(Default)]
pub struct Outgoing {
    waiting: Option<BoxFuture<'static, Result<(), PublishError>>>,
}

impl Outgoing {
    /// Ready if the last message has been handed to the client, or could not be.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        if let Some(waiting) = &mut self.waiting {
            let sent = ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
            return Poll::Ready(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Returns whether a message waits for a connection, or for room in the client's queue.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Publishes a message. Must not be called before [`Outgoing::poll_ready`] is ready.
    pub fn send(&mut self, link: &dyn Link, message: OutgoingMessage<'_>) -> Result<(), PublishError> {
        if !link.is_connected() {
            self.waiting = Some(link.publish(message));
            return Ok(());
        }
        match link.try_publish(&message) {
            Err(PublishError::Full) => self.waiting = Some(link.publish(message)),
            result => result?,
        }
        Ok(())
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("is_waiting", &self.waiting.is_some()).finish()
    }
}
