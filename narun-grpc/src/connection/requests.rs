use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::connection::State;
use async_nats::{Client, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use narun_nats::jetstream::{ApiError, Requester};
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;
use tracing::debug;

use crate::random;

/// Requests whose replies come to one inbox, which is opened with the first request.
///
/// The client's own `request` keeps an entry for ever if no reply comes, such as for an acknowledgement of a message that
/// was not delivered. Here, dropping the future removes the entry.
#[derive(Debug)]
pub(super) struct Requests {
    client: Client,
    replies: OnceCell<Replies>,
}

/// The inbox, and the requests that wait for a reply in it.
#[derive(Debug)]
struct Replies {
    inbox: String,
    waiting: Arc<Waiting>,
    reader: JoinHandle<()>,
}

/// The callers that wait for a reply, by the last token of its subject, which nobody can guess.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<String, oneshot::Sender<Message>>>);

/// A caller that waits, until this is dropped.
struct Waiter<'a> {
    token: String,
    waiting: &'a Waiting,
}

impl Requests {
    /// Subscribes to nothing yet.
    pub(super) fn new(client: Client) -> Self {
        Self { client, replies: OnceCell::new() }
    }
}

impl Requests {
    /// Whether the client is connected.
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}

impl Requester for Requests {
    async fn send(&self, subject: String, payload: Bytes) -> Result<Message, ApiError> {
        let replies = self.replies.get_or_try_init(|| Replies::open(&self.client)).await?;
        let (reply, replied) = oneshot::channel();
        let waiter = replies.waiting.add(random::token(), reply);
        if replies.reader.is_finished() {
            return Err(ApiError::Disconnected);
        }
        let inbox = format!("{}.{}", replies.inbox, waiter.token);
        self.client.publish_with_reply(subject, inbox, payload).await?;
        let reply = replied.await.map_err(|_| ApiError::Disconnected)?;
        match reply.status {
            Some(StatusCode::NO_RESPONDERS) => Err(ApiError::NoResponders),
            _ => Ok(reply),
        }
    }
}

impl Replies {
    async fn open(client: &Client) -> Result<Self, ApiError> {
        let inbox = random::inbox(client);
        let replies = client.subscribe(format!("{inbox}.*")).await.map_err(|error| {
            debug!(%error, "subscribe failed");
            ApiError::Disconnected
        })?;
        let waiting = Arc::<Waiting>::default();
        let reader = tokio::spawn(read(replies, waiting.clone()));
        Ok(Self { inbox, waiting, reader })
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Waiting {
    fn add(&self, token: String, reply: oneshot::Sender<Message>) -> Waiter<'_> {
        self.table().insert(token.clone(), reply);
        Waiter { token, waiting: self }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Message>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.waiting.table().remove(&self.token);
    }
}

async fn read(mut replies: Subscriber, waiting: Arc<Waiting>) {
    while let Some(reply) = replies.next().await {
        let token = reply.subject.rsplit('.').next();
        let waiter = token.and_then(|token| waiting.table().remove(token));
        if let Some(waiter) = waiter {
            // An error means that the caller has gone.
            let _ = waiter.send(reply);
        }
    }
    // The client is closed: dropping the senders wakes all callers.
    waiting.table().clear();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use narun_support::Server;
    use tokio::time::timeout;

    use super::{ApiError, Requester, Requests};

    #[tokio::test]
    async fn a_request_without_a_reply_is_forgotten() {
        let server = Server::start().expect("a nats-server");
        let client = async_nats::connect(server.url()).await.expect("a connection");
        let _silent = client.subscribe("silent").await.expect("a subscription");
        let requests = Requests::new(client);
        let waiting = || requests.replies.get().expect("an inbox").waiting.table().len();
        for _ in 0..10 {
            let request = requests.send("silent".to_owned(), Bytes::new());
            assert!(timeout(Duration::from_millis(1), request).await.is_err());
        }
        assert_eq!(waiting(), 0);
        let reply = requests.send("unused".to_owned(), Bytes::new()).await;
        assert_eq!(reply.expect_err("no reply"), ApiError::NoResponders);
        assert_eq!(waiting(), 0);
    }
}
