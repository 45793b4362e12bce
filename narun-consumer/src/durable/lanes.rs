//! The subscriptions to which messages of the stream come.

use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use narun_nats::{Lost, NatsEndpoint};
use tokio::time::timeout;

use super::acks::{Claim, Delivered};
use super::pull::{Asked, LANES};

/// Without a message for so long, the server has sent what it had to.
const QUIET: Duration = Duration::from_millis(100);

/// How long each step of leaving may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lanes of one consumer of a stream; what has come and was not taken is given back when they are dropped.
pub(super) struct Lanes {
    client: Client,
    stream: String,
    consumer: String,
    /// The subject of pulls.
    next: Subject,
    /// What the lanes' inboxes begin with.
    prefix: String,
    subscribers: [Subscriber; LANES],
    /// The lane that is looked at first.
    first: usize,
    /// What is given back. Dropped last: as long as the server keeps our pulls, it would send that here again at once,
    /// and count a delivery each time.
    returned: Vec<Claim>,
}

impl Lanes {
    pub(super) async fn open(endpoint: &NatsEndpoint, stream: &str, consumer: &str) -> Result<Self, Lost> {
        let client = endpoint.link().client().clone();
        // Nobody else can guess it: whoever knows it can have us do work.
        let prefix = endpoint.register().reply(0);
        let subscribe = |lane: usize| client.subscribe(format!("{prefix}.{lane}.*"));
        let [one, other] = [subscribe(0), subscribe(1)];
        let subscribers = [one.await.map_err(|_| Lost)?, other.await.map_err(|_| Lost)?];
        Ok(Self {
            next: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}").into(),
            stream: stream.to_owned(),
            consumer: consumer.to_owned(),
            prefix,
            subscribers,
            first: 0,
            returned: Vec::new(),
            client,
        })
    }

    /// Sends a pull; false if there is no room for it in the client's queue.
    pub(super) fn ask(&self, asked: &Asked) -> bool {
        let inbox = format!("{}.{}.{}", self.prefix, asked.lane, asked.number);
        let sent =
            self.client.publish_with_reply(self.next.clone(), inbox, Bytes::from(asked.payload.clone()));
        matches!(sent.now_or_never(), Some(Ok(())))
    }

    /// The next message and its lane; none once a lane has ended. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<(usize, Message)> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Message)>> {
        for lane in [self.first, (self.first + 1) % LANES] {
            if let Poll::Ready(message) = self.subscribers[lane].poll_next_unpin(cx) {
                self.first = (lane + 1) % LANES;
                return Poll::Ready(message.map(|message| (lane, message)));
            }
        }
        Poll::Pending
    }

    /// What a message is a delivery of, and the right to acknowledge it; none if it is no delivery of this consumer.
    pub(super) fn read(&self, message: &Message) -> Option<(Delivered, Claim)> {
        let reply = message.reply.as_ref().filter(|_| message.status.is_none())?;
        let delivered = Delivered::read(reply, &self.stream, &self.consumer)?;
        Some((delivered, Claim::new(self.client.clone(), reply.clone())))
    }

    /// Takes what still comes, until nothing does, unsubscribes, and gives it back.
    pub(super) async fn leave(mut self) {
        let quiet = async {
            while let Ok(Some((_, message))) = timeout(QUIET, self.next()).await {
                self.give_back(&message);
            }
        };
        let _ = timeout(PATIENCE, quiet).await;
        for lane in 0..LANES {
            let rest = async {
                let _ = self.subscribers[lane].drain().await;
                while let Some(message) = self.subscribers[lane].next().await {
                    self.give_back(&message);
                }
            };
            let _ = timeout(PATIENCE, rest).await;
        }
    }

    fn give_back(&mut self, message: &Message) {
        let claim = self.read(message).map(|(_, claim)| claim);
        self.returned.extend(claim);
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for lane in 0..LANES {
            while let Some(Some(message)) = self.subscribers[lane].next().now_or_never() {
                self.give_back(&message);
            }
        }
    }
}
