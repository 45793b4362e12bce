//! The operations, directly through async-nats.

use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{self, kv, stream};
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt;

use super::operation::{
    BATCH, BUCKET, CONSUMER, KEYS, Operation, STREAM, SUBSCRIBERS, fill, next_key, unique,
};
use crate::Error;
use crate::round::{Connect, Order, RoundTrip, RoundTripError};

/// Connects for an operation; all connections share one NATS connection.
#[derive(Clone)]
pub(super) struct Connector {
    client: Client,
    body: Bytes,
    target: Target,
}

/// The operation, with the handle that it needs.
#[derive(Clone)]
enum Target {
    Publish,
    PublishBatch,
    PullAndAck(PullConsumer),
    KvPut(kv::Store),
    KvGet(kv::Store),
    FanOut,
}

/// Runs an operation, with the subscribers of its subject or its inbox.
pub(super) struct Runner {
    connector: Connector,
    subject: String,
    inbox: String,
    subscribers: Vec<Subscriber>,
}

impl Connector {
    pub(super) async fn new(nats: &str, operation: Operation, length: usize) -> Result<Self, Error> {
        let client = async_nats::connect(nats).await?;
        let jetstream = jetstream::new(client.clone());
        let body = Bytes::from(vec![b'x'; length]);
        let target = match operation {
            Operation::Publish => Target::Publish,
            Operation::PublishBatch => Target::PublishBatch,
            Operation::FanOut => Target::FanOut,
            Operation::PullAndAck => {
                let subjects = vec![format!("{STREAM}.>")];
                let config = stream::Config { name: STREAM.to_owned(), subjects, ..Default::default() };
                let stream = jetstream.create_stream(config).await?;
                let durable_name = Some(CONSUMER.to_owned());
                let config = pull::Config { durable_name, max_ack_pending: -1, ..Default::default() };
                Target::PullAndAck(stream.create_consumer(config).await?)
            }
            Operation::KvPut | Operation::KvGet => {
                let config = kv::Config { bucket: BUCKET.to_owned(), ..Default::default() };
                let store = jetstream.create_or_update_key_value(config).await?;
                for number in 0..KEYS {
                    store.put(format!("key-{number}"), body.clone()).await?;
                }
                if operation == Operation::KvPut { Target::KvPut(store) } else { Target::KvGet(store) }
            }
        };
        Ok(Self { client, body, target })
    }
}

impl Connect for Connector {
    type Connection = Runner;

    async fn prepare(&self, order: &Order) -> Result<(), Error> {
        match self.target {
            Target::PullAndAck(_) => {
                fill(&self.client, STREAM, &format!("{STREAM}.new"), &self.body, order).await
            }
            _ => Ok(()),
        }
    }

    async fn connect(&self) -> Result<Runner, Error> {
        let subject = unique("direct");
        let inbox = self.client.new_inbox();
        let (subscribed, count) = match self.target {
            Target::FanOut => (&subject, SUBSCRIBERS),
            Target::Publish => (&inbox, 1),
            _ => (&inbox, 0),
        };
        let mut subscribers = Vec::new();
        for _ in 0..count {
            subscribers.push(self.client.subscribe(subscribed.clone()).await?);
        }
        Ok(Runner { connector: self.clone(), subject, inbox, subscribers })
    }
}

impl RoundTrip for Runner {
    async fn once(&mut self) -> Result<(), RoundTripError> {
        self.work().await.map_err(|error| RoundTripError::Response(error.to_string()))
    }
}

impl Runner {
    async fn work(&mut self) -> Result<(), Error> {
        let Connector { client, body, target } = &self.connector;
        match target {
            Target::Publish => {
                client.publish(self.subject.clone(), body.clone()).await?;
                // A message that comes back shows that the server has the earlier one; a flush ends before that.
                client.publish(self.inbox.clone(), Bytes::new()).await?;
                for subscriber in &mut self.subscribers {
                    next(subscriber).await?;
                }
            }
            Target::PublishBatch => {
                for _ in 0..BATCH {
                    client.publish(self.subject.clone(), body.clone()).await?;
                }
                client.flush().await?;
            }
            Target::PullAndAck(consumer) => {
                let mut messages = consumer.fetch().max_messages(1).messages().await?;
                let message = messages.next().await.ok_or("nothing to pull")??;
                message.double_ack().await?;
            }
            Target::KvPut(store) => {
                store.put(next_key(), body.clone()).await?;
            }
            Target::KvGet(store) => {
                store.get(next_key()).await?.ok_or("no such key")?;
            }
            Target::FanOut => {
                for _ in 0..BATCH {
                    client.publish(self.subject.clone(), body.clone()).await?;
                }
                for subscriber in &mut self.subscribers {
                    for _ in 0..BATCH {
                        next(subscriber).await?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Waits for the next message.
async fn next(subscriber: &mut Subscriber) -> Result<(), Error> {
    let message = tokio::time::timeout(Duration::from_secs(10), subscriber.next()).await;
    message?.ok_or("the NATS connection is gone")?;
    Ok(())
}
