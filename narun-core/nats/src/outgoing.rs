use std::fmt;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{Link, PublishError};

/// Publishes one message after the other, waiting only while the client's queue is full.
#[derive(Default)]
pub struct Outgoing {
    waiting: Option<BoxFuture<'static, Result<(), PublishError>>>,
}

impl Outgoing {
    /// Ready when the last message is out.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        if let Some(waiting) = &mut self.waiting {
            let sent = ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
            return Poll::Ready(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Publishes; to be called only when ready.
    pub fn send<L: Link>(
        &mut self,
        link: &L,
        to: L::Address,
        reply: Option<L::Address>,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.send_with_headers(link, to, reply, None, payload)
    }

    /// The same with headers.
    pub fn send_with_headers<L: Link>(
        &mut self,
        link: &L,
        to: L::Address,
        reply: Option<L::Address>,
        headers: Option<&L::Headers>,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        match link.try_publish(to.clone(), reply.clone(), headers, payload.clone()) {
            Err(PublishError::Full) => self.waiting = Some(link.publish(to, reply, headers, payload)),
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
