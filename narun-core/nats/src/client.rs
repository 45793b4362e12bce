use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, HeaderName, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::StreamExt;
use pin_project::pin_project;
use tokio::time::{Instant, Sleep};

use crate::inbox::Endpoint;
use crate::link::{Link, PublishError, Timer};
use narun_core::Time;
use narun_core::exchange::Connection;

/// How often the client's state is looked at: it tells nobody by itself.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// An endpoint over a NATS client.
pub type NatsEndpoint = Endpoint<NatsLink>;

/// A NATS client, with the origin of its time.
pub struct NatsLink {
    client: Client,
    statistics: Arc<async_nats::Statistics>,
    origin: Instant,
}

/// The client's connection task has ended: nothing will ever come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the NATS client is dead")]
pub struct Lost;

impl NatsLink {
    /// A link over this client.
    pub fn new(client: Client) -> Self {
        Self { statistics: client.statistics(), client, origin: Instant::now() }
    }

    /// The client.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The prefix that the client was given for its inboxes.
    pub fn inbox_prefix(&self) -> String {
        let mut inbox = self.client.new_inbox();
        inbox.truncate(inbox.rfind('.').unwrap_or(inbox.len()));
        inbox
    }
}

impl Link for NatsLink {
    type Address = Subject;
    type Headers = HeaderMap;
    type Timer = TokioTimer;

    fn address(text: String) -> Subject {
        Subject::from(text)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(HeaderName::from_static(name), *value);
        }
        headers
    }

    fn try_publish(
        &self,
        to: Subject,
        reply: Option<Subject>,
        headers: Option<&HeaderMap>,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        // Publishing waits for nothing but room in the client's queue.
        let client = &self.client;
        let published = match (reply, headers) {
            (Some(reply), None) => client.publish_with_reply(to, reply, payload).now_or_never(),
            (None, None) => client.publish(to, payload).now_or_never(),
            (Some(reply), Some(headers)) => {
                client.publish_with_reply_and_headers(to, reply, headers.clone(), payload).now_or_never()
            }
            (None, Some(headers)) => client.publish_with_headers(to, headers.clone(), payload).now_or_never(),
        };
        published.ok_or(PublishError::Full)?.map_err(|error| classify(&error))
    }

    fn publish(
        &self,
        to: Subject,
        reply: Option<Subject>,
        headers: Option<&HeaderMap>,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<(), PublishError>> {
        let (client, headers) = (self.client.clone(), headers.cloned());
        async move {
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

    fn now(&self) -> Time {
        Time::new(self.origin.elapsed())
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer { origin: self.origin, sleep: None }
    }
}

impl fmt::Debug for NatsLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsLink").field("state", &self.client.connection_state()).finish_non_exhaustive()
    }
}

fn classify(error: &async_nats::PublishError) -> PublishError {
    match error.kind() {
        async_nats::client::PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge,
        _ => PublishError::Closed,
    }
}

/// A timer of tokio's, registered when it is first waited for.
#[derive(Debug)]
#[pin_project]
pub struct TokioTimer {
    origin: Instant,
    #[pin]
    sleep: Option<Sleep>,
}

impl Timer for TokioTimer {
    fn poll_until(self: Pin<&mut Self>, cx: &mut Context<'_>, deadline: Time) -> Poll<()> {
        let mut this = self.project();
        let at = *this.origin + deadline.since_origin();
        match this.sleep.as_mut().as_pin_mut() {
            None => this.sleep.set(Some(tokio::time::sleep_until(at))),
            Some(sleep) if sleep.deadline() != at => sleep.reset(at),
            Some(_) => {}
        }
        this.sleep.as_pin_mut().map_or(Poll::Ready(()), |sleep| sleep.poll(cx))
    }
}

impl NatsEndpoint {
    /// Opens the inbox.
    ///
    /// # Errors
    ///
    /// [`Lost`] if the client is dead.
    pub async fn subscribe(&self) -> Result<Subscriber, Lost> {
        self.link().client.subscribe(self.subject()).await.map_err(|_| Lost)
    }

    /// Delivers what comes to the inbox until the client is dead.
    pub async fn run(self: Arc<Self>, mut inbox: Subscriber) -> Lost {
        let mut ticks = tokio::time::interval(WATCH_EVERY);
        let mut seen = (self.link().epoch(), self.link().is_connected());
        loop {
            let next = std::future::poll_fn(|cx| match inbox.poll_next_unpin(cx) {
                Poll::Ready(message) => Poll::Ready(Some(message)),
                Poll::Pending => ticks.poll_tick(cx).map(|_| None),
            });
            match next.await {
                Some(None) => {
                    // Or they would wait out their time for what cannot come.
                    self.deliver_connection(Connection::Lost, u64::MAX);
                    return Lost;
                }
                Some(Some(message)) if message.status == Some(StatusCode::NO_RESPONDERS) => {
                    self.deliver_no_responders(&message.subject);
                }
                Some(Some(message)) => self.deliver(&message.subject, message.payload, message.reply),
                None => self.watch(&mut seen),
            }
        }
    }

    /// Tells the exchanges if the connection has changed since it was last looked at.
    fn watch(&self, seen: &mut (u64, bool)) {
        let (epoch, connected) = (self.link().epoch(), self.link().is_connected());
        if (seen.1 && !connected) || epoch != seen.0 {
            self.deliver_connection(Connection::Lost, epoch + u64::from(!connected));
        }
        if epoch != seen.0 {
            self.deliver_connection(Connection::Restored, epoch);
        }
        *seen = (epoch, connected);
    }
}
