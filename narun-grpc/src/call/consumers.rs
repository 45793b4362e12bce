//! A tenant's consumers.

use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::call::MethodCall;
use crate::status;

/// Longest name of a consumer, in bytes, as JetStream has it.
const LONGEST: usize = 255;

/// Checks the name of a consumer, which is within a stream and needs no tenant.
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

/// How long it may take to find out why nobody takes a message.
const LOOK: Duration = Duration::from_secs(2);

impl MethodCall<'_> {
    /// A consumer of the tenant's stream, and NATS's name of the stream.
    pub(crate) async fn consumer(&self, stream: &str, consumer: &str) -> Result<(String, Info), Status> {
        let consumer = consumer_name(consumer)?;
        let (stream, _) = self.stream(stream).await?;
        let info = self.connection().consumer_info(&stream, consumer).await?;
        Ok((stream, info))
    }

    /// Why nobody takes what is for something of JetStream's, as a look at it tells: it is not there, or in a cluster has
    /// no leader at the moment.
    pub(crate) async fn nobody<T>(&self, look: impl Future<Output = Result<T, Status>>) -> Status {
        match timeout(LOOK.min(self.time_to_wait()), look).await {
            Ok(Err(status)) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => status,
            _ => status::no_leader(),
        }
    }

    /// As [`nobody`](Self::nobody), of a consumer by NATS's names of its stream and of itself.
    pub(crate) async fn nobody_at(&self, stream: &str, consumer: &str) -> Status {
        self.nobody(self.connection().consumer_info(stream, consumer)).await
    }
}
