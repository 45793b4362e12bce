//! The subscriptions that receive the messages of the stream.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{Client, Message, Subject};
use bytes::Bytes;
use futures::FutureExt;
use narun_nats::{ClientLost, NatsClient, Subscription};
use tokio::task::unconstrained;
use tokio::time::timeout;

use super::acker::Acker;
use super::acks::DeliveryInfo;
use super::pull::{LANES, PullRequest};
use super::state::WorkerState;

/// After this time without a message, the server has sent all of them.
const QUIET: Duration = Duration::from_millis(100);

/// The time limit of each step of leaving.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lanes of a consumer: one subscription for each pull in flight. Messages that were received but not taken are
/// given back when the lanes are dropped.
pub(super) struct Lanes {
    client: Client,
    state: Arc<WorkerState>,
    stream: String,
    consumer: String,
    /// The subject to which pulls are published.
    next: Subject,
    /// The prefix of the lanes' inboxes.
    prefix: String,
    subscriptions: [Subscription; LANES],
    /// The lane that is polled first.
    first: usize,
    /// The deliveries that are given back. Dropped last: while the server has pulls of this consumer, it would deliver
    /// them here again at once, and count a delivery each time.
    returned: Vec<Acker>,
}

impl Lanes {
    pub(super) async fn open(nats: &NatsClient, state: Arc<WorkerState>) -> Result<Self, ClientLost> {
        let owner = &state.consumer;
        let tasks = &state.tasks;
        let (stream, consumer) = (tasks.namespace().task_stream(), owner.app.as_str());
        // Not guessable: anyone who knows this subject can make the consumer handle requests.
        let prefix = owner.endpoint.register().reply(0);
        let subscribe = |lane: usize| Subscription::open(nats, format!("{prefix}.{lane}.*"), None);
        let subscriptions = [subscribe(0).await?, subscribe(1).await?];
        Ok(Self {
            next: tasks.api_subject(&format!("CONSUMER.MSG.NEXT.{stream}.{consumer}")).into(),
            stream: stream.to_owned(),
            consumer: consumer.to_owned(),
            prefix,
            subscriptions,
            first: 0,
            returned: Vec::new(),
            client: nats.client().clone(),
            state,
        })
    }

    /// Sends a pull. Returns `false` if the client's queue is full.
    pub(super) fn send(&self, pull: &PullRequest) -> bool {
        let inbox = format!("{}.{}.{}", self.prefix, pull.lane, pull.number);
        let sent =
            self.client.publish_with_reply(self.next.clone(), inbox, Bytes::from(pull.payload.clone()));
        matches!(sent.now_or_never(), Some(Ok(())))
    }

    /// Waits for the next message, and returns it with its lane. Returns `None` once a lane has ended. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<(usize, Message)> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Message)>> {
        for lane in [self.first, (self.first + 1) % LANES] {
            if let Poll::Ready(message) = self.subscriptions[lane].poll_next(cx) {
                self.first = (lane + 1) % LANES;
                return Poll::Ready(message.map(|message| (lane, message)));
            }
        }
        Poll::Pending
    }

    /// Reads the ack subject of a message. Returns `None` if the message is not a delivery of this consumer.
    pub(super) fn read<'m>(&self, message: &'m Message) -> Option<(DeliveryInfo, &'m Subject)> {
        let reply = message.reply.as_ref().filter(|_| message.status.is_none())?;
        let delivered = DeliveryInfo::read(reply, &self.stream, &self.consumer)?;
        Some((delivered, reply))
    }

    /// Unsubscribes, and gives back all messages that still arrive.
    pub(super) async fn leave(mut self) {
        let quiet = async {
            while let Ok(Some((_, message))) = timeout(QUIET, self.next()).await {
                self.give_back(&message);
            }
        };
        let _ = timeout(PATIENCE, quiet).await;
        for lane in 0..LANES {
            let rest = async {
                let _ = self.subscriptions[lane].drain().await;
                while let Some(message) = self.subscriptions[lane].next().await {
                    self.give_back(&message);
                }
            };
            let _ = timeout(PATIENCE, rest).await;
        }
    }

    fn give_back(&mut self, message: &Message) {
        let entered =
            self.read(message).and_then(|(delivered, reply)| Acker::enter(&self.state, &delivered, reply));
        self.returned.extend(entered.map(|(acker, _)| acker));
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for lane in 0..LANES {
            // Unconstrained: with tokio's budget for a poll, only some of the messages would be found.
            while let Some(Some(message)) = unconstrained(self.subscriptions[lane].next()).now_or_never() {
                self.give_back(&message);
            }
        }
    }
}
