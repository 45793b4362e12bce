use std::sync::{Mutex, PoisonError};

use async_nats::{Client, Message, Subscriber};
use futures::StreamExt;
use tonic::Status;

use super::Mark;
use crate::status::OrStatus;

/// Inboxes that are kept, at most.
const KEPT: usize = 64;

/// Inboxes on which nothing more comes, to be used again: a subscription each time would cost more than what is asked
/// for.
#[derive(Debug, Default)]
pub(super) struct Inboxes(Mutex<Vec<Inbox>>);

/// A subject that only this process knows, and what comes there.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) subject: String,
    pub(super) messages: Subscriber,
    /// How many have been taken from it since it was opened.
    pub(super) taken: u64,
    /// The connection that it was opened on. On another one, the server counts anew.
    pub(super) mark: Mark,
}

impl Inboxes {
    /// One that nobody uses.
    pub(super) async fn take(&self, client: &Client, mark: Mark) -> Result<Inbox, Status> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(inbox) = kept() {
            if inbox.mark == mark {
                return Ok(inbox);
            }
        }
        let subject = client.new_inbox();
        let messages = client.subscribe(subject.clone()).await.or_status()?;
        Ok(Inbox { subject, messages, taken: 0, mark })
    }

    /// Keeps one for others.
    pub(super) fn keep(&self, inbox: Inbox) {
        let mut inboxes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inboxes.len() < KEPT {
            inboxes.push(inbox);
        }
    }
}

impl Inbox {
    /// The next message; none if the client is dead.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let message = self.messages.next().await?;
        self.taken += 1;
        Some(message)
    }
}
