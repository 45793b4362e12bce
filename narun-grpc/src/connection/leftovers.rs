use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, Message, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Inbox;
use crate::messages::give_back;

/// How long what is on its way may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Pulls that nobody reads any more: what has come of them, and what is still on its way, is given back.
#[derive(Debug, Default)]
pub(super) struct Leftovers(Mutex<JoinSet<()>>);

impl Leftovers {
    /// Takes an inbox to which a pull brings as many messages more at most. Without a runtime they are given back by the
    /// server, after the consumer's time.
    pub(super) fn take(&self, client: Client, inbox: Inbox, left: usize) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(
            async move {
                // What has not come by then comes again after the consumer's time.
                let _ = timeout(LIMIT, empty(client, inbox, left)).await;
            },
            &runtime,
        );
    }
}

async fn empty(client: Client, mut inbox: Inbox, mut left: usize) {
    let mut came = true;
    // A message to oneself comes after all that the server sent before it. Once nothing else came until then, the pull
    // only waits for what is yet to be stored.
    while left > 0 && std::mem::take(&mut came) {
        if client.publish(inbox.subject.clone(), Bytes::new()).await.is_err() {
            return;
        }
        loop {
            let Some(message) = inbox.messages.next().await else { return };
            match message.status {
                None if message.subject.as_str() == inbox.subject => break,
                None => {
                    (came, left) = (true, left.saturating_sub(1));
                    give_back(&client, message);
                }
                Some(_) if is_sign_of_life(&message) => {}
                Some(_) => return,
            }
        }
    }
    // The pull ends with the subscription. What is stored just now may still get through.
    if left > 0 && inbox.messages.drain().await.is_ok() {
        while let Some(message) = inbox.messages.next().await {
            give_back(&client, message);
        }
    }
}

/// Whether it says no more than that a pull goes on, or that the one before was over.
pub(crate) fn is_sign_of_life(message: &Message) -> bool {
    message.status == Some(StatusCode::IDLE_HEARTBEAT)
        || message.description.as_deref() == Some("Batch Completed")
}
