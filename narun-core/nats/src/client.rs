use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Message, Statistics, StatusCode};
use futures::future::{BoxFuture, FutureExt};
use narun_core::Limits;
use narun_core::exchange::ConnectionChange;
use tokio::sync::Notify;

use crate::inbox::{Endpoint, Notice, ReplyPolicy};
use crate::link::{Link, OutgoingMessage, PublishError};
use crate::nats_client::{ClientLost, NatsClient};
use crate::subscription::Subscription;

/// How often the client's state is looked at. It reports no change by itself.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// A [`Link`] over async-nats.
///
/// A message that waits for the connection is dropped with the future that publishes it, while the client's own queue would
/// send it when it is out of date.
pub struct NatsLink {
    client: Client,
    statistics: Arc<Statistics>,
    restored: Arc<Restored>,
}

/// Wakes the messages that wait for the connection.
#[derive(Debug, Default)]
struct Restored {
    notify: Notify,
    /// Whether no task watches the connection any more, so that there is nothing to wait for.
    is_over: AtomicBool,
}

/// Delivers the messages of an inbox to its endpoint.
#[derive(Debug)]
#[must_use = "nothing is delivered unless it runs"]
pub struct InboxReader {
    endpoint: Arc<Endpoint>,
    subscription: Subscription,
    /// The connection as it was last seen: its epoch, and whether it was up.
    seen: (u64, bool),
    restored: Arc<Restored>,
}

/// Opens an endpoint over this client, with an inbox of its own below the client's inbox prefix. Its exchanges are notified
/// of messages that the server denies, if the client has events.
///
/// `observe` is called for what arrives there and belongs to no exchange.
///
/// # Errors
///
/// [`ClientLost`] if the client is dead.
pub async fn open(
    nats: &NatsClient,
    replies: ReplyPolicy,
    limits: Limits,
    observe: impl Fn(Notice) + Send + Sync + 'static,
) -> Result<(Arc<Endpoint>, InboxReader), ClientLost> {
    let client = nats.client();
    let prefix = inbox_prefix(client);
    let restored = Arc::<Restored>::default();
    let link =
        NatsLink { statistics: client.statistics(), client: client.clone(), restored: restored.clone() };
    let endpoint = Arc::new(Endpoint::new(link, &prefix, replies, limits, observe));
    nats.listen(&endpoint);
    let subscription = Subscription::open(nats, endpoint.subject(), None).await?;
    let seen = (endpoint.epoch(), endpoint.is_connected());
    Ok((endpoint.clone(), InboxReader { endpoint, subscription, seen, restored }))
}

/// The prefix that the client was given for its inboxes.
fn inbox_prefix(client: &Client) -> String {
    let mut inbox = client.new_inbox();
    inbox.truncate(inbox.rfind('.').unwrap_or(inbox.len()));
    inbox
}

impl Link for NatsLink {
    fn try_publish(&self, message: &OutgoingMessage<'_>) -> Result<(), PublishError> {
        let client = &self.client;
        let OutgoingMessage { to, reply, headers, payload } = message.clone();
        let published = match (reply, headers) {
            (Some(reply), None) => at_once(client.publish_with_reply(to, reply, payload)),
            (None, None) => at_once(client.publish(to, payload)),
            (Some(reply), Some(headers)) => {
                at_once(client.publish_with_reply_and_headers(to, reply, headers.clone(), payload))
            }
            (None, Some(headers)) => at_once(client.publish_with_headers(to, headers.clone(), payload)),
        };
        published.ok_or(PublishError::Full)?.map_err(|error| classify(&error))
    }

    fn publish(&self, message: OutgoingMessage<'_>) -> BoxFuture<'static, Result<(), PublishError>> {
        let OutgoingMessage { to, reply, headers, payload } = message;
        let (client, headers) = (self.client.clone(), headers.cloned());
        let restored = self.restored.clone();
        async move {
            restored.wait(&client).await;
            let published = match (reply, headers) {
                (Some(reply), None) => client.publish_with_reply(to, reply, payload).await,
                (None, None) => client.publish(to, payload).await,
                (Some(reply), Some(headers)) => {
                    client.publish_with_reply_and_headers(to, reply, headers, payload).await
                }
                (None, Some(headers)) => client.publish_with_headers(to, headers, payload).await,
            };
            published.map_err(|error| classify(&error))
        }
        .boxed()
    }

    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    fn epoch(&self) -> u64 {
        self.statistics.connects.load(Ordering::Relaxed)
    }

    fn max_payload(&self) -> usize {
        self.client.max_payload()
    }
}

impl fmt::Debug for NatsLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsLink").field("state", &self.client.connection_state()).finish_non_exhaustive()
    }
}

impl Restored {
    /// Waits until the client is connected. It has no limit of its own, as every exchange has one.
    async fn wait(&self, client: &Client) {
        loop {
            let mut notified = pin!(self.notify.notified());
            notified.as_mut().enable();
            if client.connection_state() == State::Connected || self.is_over.load(Ordering::Relaxed) {
                return;
            }
            notified.await;
        }
    }
}

/// Polls a publication once. It waits for nothing but room in the client's queue.
///
/// Without `unconstrained`, a task that publishes more than tokio's budget of 128 operations in one poll would find the
/// queue full.
fn at_once<T>(publication: impl Future<Output = T>) -> Option<T> {
    tokio::task::unconstrained(publication).now_or_never()
}

fn classify(error: &async_nats::PublishError) -> PublishError {
    match error.kind() {
        async_nats::client::PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge,
        _ => PublishError::Closed,
    }
}

impl InboxReader {
    /// Delivers messages, and changes of the connection, until the client is dead.
    pub async fn run(mut self) -> ClientLost {
        let mut ticks = tokio::time::interval(WATCH_EVERY);
        loop {
            let next = std::future::poll_fn(|cx| match self.subscription.poll_next(cx) {
                Poll::Ready(message) => Poll::Ready(Some(message)),
                Poll::Pending => ticks.poll_tick(cx).map(|_| None),
            });
            match next.await {
                Some(None) => {
                    // Without this, exchanges would wait until they time out for what cannot arrive.
                    self.endpoint.deliver_connection(ConnectionChange::Lost, u64::MAX);
                    return ClientLost;
                }
                Some(Some(message)) => {
                    // Messages of a new connection must not be taken for those of the one before.
                    if self.seen != (self.endpoint.epoch(), true) {
                        self.watch();
                    }
                    self.deliver(message);
                }
                None => self.watch(),
            }
        }
    }

    fn deliver(&self, message: Message) {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            self.endpoint.deliver_no_responders(&message.subject);
        } else {
            self.endpoint.deliver(&message.subject, message.payload, message.reply);
        }
    }

    /// Notifies the exchanges if the connection has changed since it was last looked at.
    fn watch(&mut self) {
        let seen = std::mem::replace(&mut self.seen, (self.endpoint.epoch(), self.endpoint.is_connected()));
        let (epoch, connected) = self.seen;
        if seen == self.seen {
            return;
        }
        if seen.1 || epoch != seen.0 {
            self.endpoint.deliver_connection(ConnectionChange::Lost, epoch + u64::from(!connected));
        }
        if connected {
            self.endpoint.deliver_connection(ConnectionChange::Restored, u64::MAX);
            self.restored.notify.notify_waiters();
        }
    }
}

impl Drop for InboxReader {
    fn drop(&mut self) {
        self.restored.is_over.store(true, Ordering::Relaxed);
        self.restored.notify.notify_waiters();
    }
}
