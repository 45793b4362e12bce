//! A tenant's consumers.

use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::stream::ClusterInfo;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::call::MethodCall;
use crate::status;

/// The longest consumer name of JetStream, in bytes.
const LONGEST: usize = 255;

/// Checks the name of a consumer. It is unique within its stream, so it has no tenant prefix.
pub(crate) fn consumer_name(name: &str) -> Result<&str, Status> {
    let bad = |character: char| {
        character.is_whitespace() || character.is_control() || ['.', '*', '>', '/', '\\'].contains(&character)
    };
    if name.is_empty() || name.len() > LONGEST || name.contains(bad) {
        return Err(Status::invalid_argument(format!(
            "a consumer name has 1 to {LONGEST} bytes, and no white space, dots, wildcards or slashes"
        )));
    }
    Ok(name)
}

/// How long the look-up after "no responders" may take.
const LOOK: Duration = Duration::from_secs(4);

impl MethodCall<'_> {
    /// Looks up a consumer: the NATS name of its stream, and its state.
    pub(crate) async fn consumer(&self, stream: &str, consumer: &str) -> Result<(String, Info), Status> {
        let consumer = consumer_name(consumer)?;
        let (stream, _) = self.stream(stream).await?;
        let info = self.connection().consumer_info(&stream, consumer).await?;
        Ok((stream, info))
    }

    /// The failure of a call to which JetStream had no responders, by a look-up: the stream or consumer does not exist,
    /// was created again, or has no leader at the moment.
    pub(crate) async fn unanswered<T>(&self, look: impl Future<Output = Result<T, Status>>) -> Status {
        let known = [Code::NotFound, Code::FailedPrecondition, Code::Aborted];
        match timeout(LOOK.min(self.time_to_wait()), look).await {
            Ok(Err(status)) if known.contains(&status.code()) => status,
            _ => status::no_leader(),
        }
    }

    /// As [`unanswered`](Self::unanswered), for a consumer by its NATS names.
    pub(crate) async fn unanswered_consumer(&self, stream: &str, consumer: &str) -> Status {
        self.unanswered(async {
            let info = self.connection().consumer_info(stream, consumer).await?;
            has_leader_elections(info.cluster.as_ref())
        })
        .await
    }

    /// As [`unanswered`](Self::unanswered), for a message to a stream, by the client's name for it.
    pub(crate) async fn unanswered_publish(&self, stream: &str, subject: &str) -> Status {
        self.unanswered(async {
            let (_, info) = self.stream(stream).await?;
            self.stream_of(stream, subject).await?;
            has_leader_elections(info.cluster.as_ref())
        })
        .await
    }
}

/// Fails without a cluster: there are no elections, so another call has deleted and created what did not respond.
fn has_leader_elections(cluster: Option<&ClusterInfo>) -> Result<(), Status> {
    cluster.map(|_| ()).ok_or_else(status::replaced)
}
