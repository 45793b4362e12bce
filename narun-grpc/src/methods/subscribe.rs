//! Subscribe, QueueSubscribe and Unsubscribe.

mod queue;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use async_nats::{Message, Subscriber};
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;

use self::queue::SubscriptionQueue;
use crate::call::live::{SubscriptionPermit, stopped};
use crate::call::{MethodCall, Streaming, Unary, Weighed};
use crate::connection::Ending;
use crate::convert::{filter_subject, queue_group, timestamp, to_headers};
use crate::status::{self, OrStatus};
use crate::tenant::Tenant;
use crate::{Method, pb};

impl Weighed for pb::MessageResponse {
    fn weight(&self) -> u64 {
        self.data.len() as u64
    }
}

impl Streaming for pb::SubscribeRequest {
    const METHOD: Method = Method::Subscribe;
    type Item = pb::MessageResponse;
    type Items = Subscription;

    async fn open(self, call: &MethodCall<'_>) -> Result<Subscription, Status> {
        Subscription::open(call, &self.subject, queue_group(&self.queue_group)?).await
    }
}

impl Streaming for pb::QueueSubscribeRequest {
    const METHOD: Method = Method::QueueSubscribe;
    type Item = pb::MessageResponse;
    type Items = Subscription;

    async fn open(self, call: &MethodCall<'_>) -> Result<Subscription, Status> {
        let group = queue_group(&self.queue_group)?;
        let group = group.ok_or_else(|| Status::invalid_argument("queue_group is empty"))?;
        Subscription::open(call, &self.subject, Some(group)).await
    }
}

impl Unary for pb::UnsubscribeRequest {
    const METHOD: Method = Method::Unsubscribe;
    type Response = pb::UnsubscribeResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::UnsubscribeResponse, Status> {
        let subject = filter_subject(call.tenant(), &self.subject)?;
        let mark = call.connection().mark()?;
        call.connection().live(&call.state.control).await?.end(&subject).await?;
        call.connection().confirm(mark).await?;
        Ok(pb::UnsubscribeResponse { success: true })
    }
}

/// The messages of a subject. Dropping it ends the NATS subscription.
pub(crate) struct Subscription {
    queue: Arc<SubscriptionQueue>,
    tenant: Tenant,
    sequence: i64,
    reader: JoinHandle<()>,
    _permit: SubscriptionPermit,
}

impl Subscription {
    async fn open(call: &MethodCall<'_>, subject: &str, group: Option<&str>) -> Result<Self, Status> {
        let subject = filter_subject(call.tenant(), subject)?;
        let permit = SubscriptionPermit::open(call)?;
        let connection = call.connection();
        let mark = connection.mark()?;
        let ending = connection.live(&call.state.control).await?.add(&subject);
        let subscriber = match group {
            Some(group) => connection.client().queue_subscribe(subject, group.to_owned()).await,
            None => connection.client().subscribe(subject).await,
        }
        .or_status()?;
        // Respond once the server has the subscription, so that the client misses no message after that.
        connection.confirm(mark).await?;

        let queue = Arc::new(SubscriptionQueue::new(call));
        Ok(Self {
            reader: tokio::spawn(read(subscriber, queue.clone(), ending, permit.stopping())),
            queue,
            tenant: call.tenant().clone(),
            sequence: 0,
            _permit: permit,
        })
    }

    fn response(&mut self, message: Message, received: SystemTime) -> pb::MessageResponse {
        let own = |subject: &str| self.tenant.own_subject(subject).map(str::to_owned).unwrap_or_default();
        self.sequence += 1;
        pb::MessageResponse {
            subject: own(&message.subject),
            headers: to_headers(message.headers.as_ref()),
            reply_to: message.reply.as_deref().map(own).unwrap_or_default(),
            timestamp: Some(timestamp(received)),
            sequence: self.sequence,
            data: message.payload,
        }
    }
}

impl Stream for Subscription {
    type Item = Result<pb::MessageResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.queue.poll(cx));
        Poll::Ready(match next {
            Ok((message, received)) => Some(Ok(self.response(message, received))),
            Err(end) => end.map(Err),
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Moves messages to the queue, and never waits for the gRPC client: the NATS client drops messages that are not read.
async fn read(
    mut subscriber: Subscriber,
    queue: Arc<SubscriptionQueue>,
    mut ending: Ending,
    mut stopping: watch::Receiver<bool>,
) {
    let end = loop {
        tokio::select! {
            biased;
            _ = &mut ending.end => break None,
            _ = stopping.changed() => break Some(stopped()),
            message = subscriber.next() => match message {
                Some(message) => if !take(message, &mut subscriber, &queue) {
                    break Some(Status::resource_exhausted("the subscriber reads too slowly: messages would be lost"));
                },
                None => break Some(status::disconnected()),
            }
        }
    };
    drop(subscriber);
    queue.end(end);
}

/// Moves a message and all that are ready, which is faster than waiting for each. Returns `false` if the queue is full.
fn take(first: Message, subscriber: &mut Subscriber, queue: &SubscriptionQueue) -> bool {
    let received = SystemTime::now();
    let mut next = Some(first);
    while let Some(message) = next {
        if !queue.push(message, received) {
            return false;
        }
        next = subscriber.next().now_or_never().flatten();
    }
    true
}
