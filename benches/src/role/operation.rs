//! The operations that are done through gRPC and directly through async-nats.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream;
use bytes::Bytes;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::round::{GRACE, Order};

/// Messages of a batch, and of a burst to subscribers.
pub(crate) const BATCH: usize = 100;

/// Subscribers of a subject.
pub(crate) const SUBSCRIBERS: usize = 4;

/// The number of keys that are put and got in turn.
pub(super) const KEYS: u64 = 1000;

/// More messages than a client can pull in a second.
const PULLED: f64 = 80_000.0;

/// Messages that are published to a stream at a time: a server drops messages that it cannot store soon enough.
const AT_A_TIME: u64 = 4000;

/// The pause between two polls of a stream.
const PAUSE: Duration = Duration::from_millis(2);

/// The user of gRPC calls.
pub(super) const USER: &str = "bench";

/// Names of the bucket, the stream and its consumer.
pub(super) const BUCKET: &str = "settings";
pub(super) const STREAM: &str = "jobs";
pub(super) const CONSUMER: &str = "workers";

/// An operation that is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// Publish a message
    Publish,
    /// Publish 100 messages
    #[value(alias = "publish_batch")]
    PublishBatch,
    /// Pull a message, and acknowledge it
    #[value(alias = "pull_and_ack")]
    PullAndAck,
    /// Put a key
    #[value(alias = "kv_put")]
    KvPut,
    /// Get a key
    #[value(alias = "kv_get")]
    KvGet,
    /// Receive 100 messages at each of four subscriptions
    #[value(alias = "fan_out")]
    FanOut,
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::PublishBatch => "publish_batch",
            Self::PullAndAck => "pull_and_ack",
            Self::KvPut => "kv_put",
            Self::KvGet => "kv_get",
            Self::FanOut => "fan_out",
        }
    }

    /// How many operations run at a time, given the wanted number in flight: bursts are limited to 4.
    pub(crate) fn at_a_time(self, in_flight: usize) -> usize {
        match self {
            Self::FanOut => in_flight.min(4),
            _ => in_flight,
        }
    }

    /// The number of gRPC calls per operation.
    pub(crate) fn calls(self) -> f64 {
        match self {
            Self::PullAndAck => 2.0,
            _ => 1.0,
        }
    }
}

/// The next key.
pub(super) fn next_key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("key-{}", NEXT.fetch_add(1, Ordering::Relaxed) % KEYS)
}

/// A name that is unique in this process.
pub(super) fn unique(beginning: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{beginning}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Fills a stream with more messages than can be pulled during an order.
pub(super) async fn fill(
    client: &Client,
    stream: &str,
    subject: &str,
    body: &Bytes,
    order: &Order,
) -> Result<(), Error> {
    let stream = jetstream::new(client.clone()).get_stream(stream).await?;
    stream.purge().await?;
    let wanted = (PULLED * (order.warm_up + order.window).as_secs_f64()) as u64;
    let mut published = 0;
    while published < wanted {
        for _ in 0..AT_A_TIME {
            client.publish(subject.to_owned(), body.clone()).await?;
        }
        published += AT_A_TIME;
        let stored = async {
            while stream.get_info().await?.state.messages < published {
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<_, Error>(())
        };
        tokio::time::timeout(GRACE, stored).await.map_err(|_| "filling the stream timed out")??;
    }
    Ok(())
}
