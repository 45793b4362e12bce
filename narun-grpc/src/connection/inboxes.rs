use std::sync::{Mutex, PoisonError};

use async_nats::{Client, Message, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::task::unconstrained;
use tokio::time::Instant;
use tonic::Status;

use super::mark::Mark;
use crate::random;
use crate::status::OrStatus;

/// Inboxes kept for reuse, at most.
const KEPT: usize = 64;

/// Idle inboxes for reuse: a new subscription for each pull would cost more than the pull.
#[derive(Debug, Default)]
pub(super) struct Inboxes(Mutex<Vec<Inbox>>);

/// A private subject, and its messages.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) subject: String,
    pub(super) messages: Subscriber,
    /// The number of messages taken since it was opened.
    pub(super) taken: u64,
    /// The connection that it was opened on. After a reconnect, the server counts from 0 again.
    pub(super) mark: Mark,
    /// The last message arrived after this: until then, the inbox was empty.
    pub(crate) arrived: Instant,
}

impl Inboxes {
    /// Takes an idle inbox, or opens one.
    pub(super) async fn take(&self, client: &Client, mark: Mark) -> Result<Inbox, Status> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(mut inbox) = kept() {
            if inbox.mark == mark {
                inbox.arrived = Instant::now();
                return Ok(inbox);
            }
        }
        let subject = random::inbox(client);
        let messages = client.subscribe(subject.clone()).await.or_status()?;
        Ok(Inbox { subject, messages, taken: 0, mark, arrived: Instant::now() })
    }

    /// Keeps an idle inbox, unless there are enough.
    pub(super) fn keep(&self, inbox: Inbox) {
        let mut inboxes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inboxes.len() < KEPT {
            inboxes.push(inbox);
        }
    }
}

impl Inbox {
    /// The next message. Returns `None` if the client is closed.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let mut next = self.messages.next();
        // Whether it is empty, not whether this task has run for long.
        let message = match unconstrained(&mut next).now_or_never() {
            Some(message) => message?,
            None => {
                self.arrived = Instant::now();
                let message = next.await?;
                self.arrived = Instant::now();
                message
            }
        };
        self.taken += 1;
        Some(message)
    }
}
