//! The messages of a stream in order, from a consumer without acknowledgements, which is deleted when it is dropped.

use std::time::Duration;

use async_nats::Message;
use async_nats::datetime::DateTime;
use async_nats::jetstream;
use async_nats::jetstream::consumer::Info;
use bytes::Bytes;
use futures::FutureExt;
use serde_json::json;
use tonic::Status;

use crate::pull::pulls::{PullLimits, Pulls};
use crate::{Connection, random};

/// How long the server keeps the consumer without a pull.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// A consumer that reads a stream in order.
pub(crate) struct OrderedConsumer {
    pub(crate) pulls: Pulls,
    /// The API subject that deletes the consumer.
    delete: String,
    connection: Connection,
    /// The number of messages delivered.
    delivered: u64,
}

/// A message and its place in the stream.
pub(crate) struct OrderedMessage {
    pub(crate) sequence: u64,
    /// How many messages follow.
    pub(crate) pending: u64,
    pub(crate) published: DateTime,
    pub(crate) message: Message,
}

impl OrderedConsumer {
    /// Creates a consumer that starts at a sequence, or with the last message of each subject if `from` is `None`. Also
    /// returns the number of messages that wait.
    pub(crate) async fn create(
        connection: &Connection,
        limits: PullLimits,
        stream: &str,
        subject: &str,
        from: Option<u64>,
    ) -> Result<(Self, u64), Status> {
        let name = format!("ordered-{}", random::token());
        let mut config = json!({
            "name": name,
            "filter_subject": subject,
            "deliver_policy": if from.is_some() { "by_start_sequence" } else { "last_per_subject" },
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": u64::try_from(FORGOTTEN.as_nanos()).unwrap_or(u64::MAX),
            "num_replicas": 1,
            "mem_storage": true,
        });
        if let Some(from) = from {
            config["opt_start_seq"] = from.into();
        }
        let request = json!({ "stream_name": stream, "config": config });
        let info: Info = connection.api(format!("CONSUMER.CREATE.{stream}.{name}"), &request).await?;
        let delete = connection.api_subject(&format!("CONSUMER.DELETE.{stream}.{name}"));
        let pulls = Pulls::open(connection, limits, stream, &name).await?;
        Ok((Self { pulls, delete, connection: connection.clone(), delivered: 0 }, info.num_pending))
    }

    /// Reads the metadata of a pulled message. Returns `None` if a message is missing before it.
    pub(crate) fn take(&mut self, message: Message) -> Option<OrderedMessage> {
        let context = self.connection.jetstream().ok()?.clone();
        let message = jetstream::Message { message, context };
        let info = message.info().ok().filter(|info| info.consumer_sequence == self.delivered + 1)?;
        self.delivered += 1;
        let (sequence, pending, published) = (info.stream_sequence, info.pending, info.published);
        Some(OrderedMessage { sequence, pending, published, message: message.message })
    }
}

impl Drop for OrderedConsumer {
    fn drop(&mut self) {
        self.pulls.discard();
        // If the client's queue is full, the server deletes it later by itself.
        let _ = self.connection.client().publish(self.delete.clone(), Bytes::new()).now_or_never();
    }
}
