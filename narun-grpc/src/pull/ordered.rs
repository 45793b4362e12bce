//! A stream's messages in order, by a consumer that acknowledges nothing and is deleted when nobody reads it any more.

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

/// After so long without a pull the server forgets a consumer.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What is read of a stream.
pub(crate) struct Ordered {
    pub(crate) pulls: Pulls,
    /// The subject that deletes its consumer.
    delete: String,
    connection: Connection,
    /// How many messages it has delivered.
    delivered: u64,
}

/// A message where it is in its stream.
pub(crate) struct Placed {
    pub(crate) sequence: u64,
    /// How many are to follow.
    pub(crate) pending: u64,
    pub(crate) published: DateTime,
    pub(crate) message: Message,
}

impl Ordered {
    /// One that begins at a message, or with the last of each subject, and how much there is of that.
    pub(crate) async fn make(
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

    /// A message of its pulls, with what JetStream says of it; none if there should have been another before it.
    pub(crate) fn take(&mut self, message: Message) -> Option<Placed> {
        let context = self.connection.jetstream().ok()?.clone();
        let message = jetstream::Message { message, context };
        let info = message.info().ok().filter(|info| info.consumer_sequence == self.delivered + 1)?;
        self.delivered += 1;
        let (sequence, pending, published) = (info.stream_sequence, info.pending, info.published);
        Some(Placed { sequence, pending, published, message: message.message })
    }
}

impl Drop for Ordered {
    fn drop(&mut self) {
        self.pulls.discard();
        // With no room in the client's queue, the server forgets it by itself.
        let _ = self.connection.client().publish(self.delete.clone(), Bytes::new()).now_or_never();
    }
}
