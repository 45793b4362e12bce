use std::fmt;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_nats::{Message, Subscriber, UnsubscribeError};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::StreamExt;
use tokio::time::{sleep, timeout};

use crate::jetstream::Backoff;
use crate::nats_client::{ClientLost, NatsClient};
use crate::nats_events::DenialWatch;
use crate::permissions::{Denied, Permission};

/// The pauses before a subscription that was denied is made again. The permission may be granted at any time.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// A subscription counts as accepted if it was not denied for this long.
const ACCEPTED: Duration = Duration::from_secs(2);

/// A subscription that is made again after the server has denied it, as far as the client has events.
///
/// A server that takes a permission away ends the subscriptions that need it, and does not restore them when it grants the
/// permission again. To the client, they look as before.
pub struct Subscription {
    subscriber: Subscriber,
    /// Completes with the next subscriber. `None` without events, or when it is ending.
    next: Option<BoxFuture<'static, Result<(Subscriber, Renewal), ClientLost>>>,
    /// How often it was made again.
    renewals: u64,
}

/// What is needed to subscribe again.
struct Renewal {
    nats: NatsClient,
    subject: String,
    group: Option<String>,
    denials: DenialWatch,
    backoff: Backoff,
    /// Whether it was made again just now.
    renewed: bool,
}

impl Subscription {
    /// Subscribes to this subject, as a member of this queue group if there is one.
    ///
    /// # Errors
    ///
    /// [`ClientLost`] if the client is dead.
    pub async fn open(nats: &NatsClient, subject: String, group: Option<String>) -> Result<Self, ClientLost> {
        let denials = nats.watch();
        let renewal =
            Renewal { nats: nats.clone(), subject, group, denials, backoff: BACKOFF, renewed: false };
        let subscriber = renewal.subscribe().await?;
        let next = nats.has_events().then(|| renewal.renew().boxed());
        Ok(Self { subscriber, next, renewals: 0 })
    }

    /// Returns the next message. Returns `None` when the subscription has ended, or the client is dead.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        loop {
            if let Poll::Ready(message) = self.subscriber.poll_next_unpin(cx) {
                return Poll::Ready(message);
            }
            let Some(next) = &mut self.next else { return Poll::Pending };
            let Ok((subscriber, renewal)) = ready!(next.as_mut().poll(cx)) else {
                self.next = None;
                return Poll::Ready(None);
            };
            self.subscriber = subscriber;
            self.next = Some(renewal.renew().boxed());
            self.renewals += 1;
        }
    }

    /// Like [`poll_next`](Self::poll_next). Cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// How often it was made again. The server counts the messages of each anew.
    pub const fn renewals(&self) -> u64 {
        self.renewals
    }

    /// As [`Subscriber::unsubscribe_after`]. From now on it is not made again.
    ///
    /// # Errors
    ///
    /// If the client is dead.
    pub async fn unsubscribe_after(&mut self, messages: u64) -> Result<(), UnsubscribeError> {
        self.next = None;
        self.subscriber.unsubscribe_after(messages).await
    }

    /// As [`Subscriber::drain`]. From now on it is not made again.
    ///
    /// # Errors
    ///
    /// If the client is dead.
    pub async fn drain(&mut self) -> Result<(), UnsubscribeError> {
        self.next = None;
        self.subscriber.drain().await
    }
}

impl Renewal {
    async fn subscribe(&self) -> Result<Subscriber, ClientLost> {
        let (client, subject) = (self.nats.client(), self.subject.clone());
        let subscribed = match self.group.clone() {
            Some(group) => client.queue_subscribe(subject, group).await,
            None => client.subscribe(subject).await,
        };
        subscribed.map_err(|_| ClientLost)
    }

    /// Waits until the subscription is denied, and makes it again after a pause.
    async fn renew(mut self) -> Result<(Subscriber, Self), ClientLost> {
        if !self.renewed || timeout(ACCEPTED, self.denied()).await.is_err() {
            if self.renewed {
                tracing::info!(subject = self.subject, "the subscription is accepted again");
                self.backoff.reset();
            }
            self.denied().await;
        }
        loop {
            sleep(self.backoff.advance()).await;
            // The client has made it again itself if it has connected since.
            if self.denials.is_current() {
                break;
            }
            self.backoff.reset();
            self.denied().await;
        }
        let subscriber = self.subscribe().await?;
        self.renewed = true;
        Ok((subscriber, self))
    }

    async fn denied(&mut self) -> Denied {
        let Self { denials, subject, .. } = self;
        denials.next(|denied| denied.permission == Permission::Subscribe && denied.subject == *subject).await
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("renewals", &self.renewals).finish_non_exhaustive()
    }
}
