//! The same work as through gRPC, straight through async-nats.

use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{self, kv, stream};
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt;

use super::deed::{BATCH, BUCKET, CONSUMER, Deed, KEYS, STREAM, SUBSCRIBERS, fill, next_key, unique};
use crate::Error;
use crate::round::{Connect, Exchange, Failure, Order};

/// Does a deed over one NATS connection.
#[derive(Clone)]
pub(super) struct Connector {
    client: Client,
    body: Bytes,
    means: Means,
}

/// What a deed is done with.
#[derive(Clone)]
enum Means {
    Publish,
    PublishBatch,
    PullAndAck(PullConsumer),
    KvPut(kv::Store),
    KvGet(kv::Store),
    FanOut,
}

/// A deed that can be done, with the subscribers of its subject or its inbox.
pub(super) struct Doer {
    connector: Connector,
    subject: String,
    inbox: String,
    subscribers: Vec<Subscriber>,
}

impl Connector {
    pub(super) async fn new(nats: &str, deed: Deed, length: usize) -> Result<Self, Error> {
        let client = async_nats::connect(nats).await?;
        let jetstream = jetstream::new(client.clone());
        let body = Bytes::from(vec![b'x'; length]);
        let means = match deed {
            Deed::Publish => Means::Publish,
            Deed::PublishBatch => Means::PublishBatch,
            Deed::FanOut => Means::FanOut,
            Deed::PullAndAck => {
                let subjects = vec![format!("{STREAM}.>")];
                let config = stream::Config { name: STREAM.to_owned(), subjects, ..Default::default() };
                let stream = jetstream.create_stream(config).await?;
                let durable_name = Some(CONSUMER.to_owned());
                let config = pull::Config { durable_name, max_ack_pending: -1, ..Default::default() };
                Means::PullAndAck(stream.create_consumer(config).await?)
            }
            Deed::KvPut | Deed::KvGet => {
                let config = kv::Config { bucket: BUCKET.to_owned(), ..Default::default() };
                let store = jetstream.create_or_update_key_value(config).await?;
                for number in 0..KEYS {
                    store.put(format!("key-{number}"), body.clone()).await?;
                }
                if deed == Deed::KvPut { Means::KvPut(store) } else { Means::KvGet(store) }
            }
        };
        Ok(Self { client, body, means })
    }
}

impl Connect for Connector {
    type Exchange = Doer;

    async fn prepare(&self, order: &Order) -> Result<(), Error> {
        match self.means {
            Means::PullAndAck(_) => {
                fill(&self.client, STREAM, &format!("{STREAM}.new"), &self.body, order).await
            }
            _ => Ok(()),
        }
    }

    async fn connect(&self) -> Result<Doer, Error> {
        let subject = unique("direct");
        let inbox = self.client.new_inbox();
        let (subscribed, count) = match self.means {
            Means::FanOut => (&subject, SUBSCRIBERS),
            Means::Publish => (&inbox, 1),
            _ => (&inbox, 0),
        };
        let mut subscribers = Vec::new();
        for _ in 0..count {
            subscribers.push(self.client.subscribe(subscribed.clone()).await?);
        }
        Ok(Doer { connector: self.clone(), subject, inbox, subscribers })
    }
}

impl Exchange for Doer {
    async fn once(&mut self) -> Result<(), Failure> {
        self.work().await.map_err(|error| Failure::Answer(error.to_string()))
    }
}

impl Doer {
    async fn work(&mut self) -> Result<(), Error> {
        let Connector { client, body, means } = &self.connector;
        match means {
            Means::Publish => {
                client.publish(self.subject.clone(), body.clone()).await?;
                // The server has it once what was sent after it is back: a flush ends when it is written.
                client.publish(self.inbox.clone(), Bytes::new()).await?;
                for subscriber in &mut self.subscribers {
                    next(subscriber).await?;
                }
            }
            Means::PublishBatch => {
                for _ in 0..BATCH {
                    client.publish(self.subject.clone(), body.clone()).await?;
                }
                client.flush().await?;
            }
            Means::PullAndAck(consumer) => {
                let mut messages = consumer.fetch().max_messages(1).messages().await?;
                let message = messages.next().await.ok_or("nothing to pull")??;
                message.double_ack().await?;
            }
            Means::KvPut(store) => {
                store.put(next_key(), body.clone()).await?;
            }
            Means::KvGet(store) => {
                store.get(next_key()).await?.ok_or("no such key")?;
            }
            Means::FanOut => {
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

/// Waits for what comes next.
async fn next(subscriber: &mut Subscriber) -> Result<(), Error> {
    let message = tokio::time::timeout(Duration::from_secs(10), subscriber.next()).await;
    message?.ok_or("the NATS connection is gone")?;
    Ok(())
}
