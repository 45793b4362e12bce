//! A tenant's consumers.

use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::stream::ClusterInfo;
use tokio::time::timeout;
use tonic::Status;

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
    /// was created again, or has no leader at the moment. DEADLINE_EXCEEDED if the call has no time for the look-up.
    pub(crate) async fn unanswered(&self, look: impl Future<Output = Result<(), Status>>) -> Status {
        found_out(self.time_to_wait(), look).await
    }

    /// A look-up after JetStream did not respond. UNAVAILABLE if it does not respond to the look-up, DEADLINE_EXCEEDED if the
    /// call has no time for it.
    pub(crate) async fn looked_up<T>(
        &self,
        look: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        in_time(self.time_to_wait(), look).await
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

/// The failure that the look-up finds. `left` is the time that the call has.
async fn found_out(left: Duration, look: impl Future<Output = Result<(), Status>>) -> Status {
    in_time(left, look).await.map_or_else(|status| status, |()| status::no_leader())
}

async fn in_time<T>(left: Duration, look: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = |_| if left <= LOOK { status::late() } else { status::silent() };
    timeout(LOOK.min(left), look).await.map_err(late)?
}

/// Fails without a cluster: there are no elections, so another call has deleted and created what did not respond.
fn has_leader_elections(cluster: Option<&ClusterInfo>) -> Result<(), Status> {
    cluster.map(|_| ()).ok_or_else(status::replaced)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tonic::Code;

    use super::{Duration, LOOK, Status, found_out};

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn the_failure_is_what_the_look_up_finds() {
        assert_eq!(found_out(LONG, ready(Ok(()))).await.message(), "there is no leader at the moment");
        for code in [Code::NotFound, Code::Aborted, Code::Unavailable, Code::PermissionDenied] {
            let found = found_out(LONG, ready(Err(Status::new(code, "found")))).await;
            assert_eq!((found.code(), found.message()), (code, "found"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_without_a_response_names_no_leader() {
        for left in [Duration::ZERO, Duration::from_millis(90), LOOK] {
            assert_eq!(found_out(left, pending()).await.code(), Code::DeadlineExceeded, "{left:?}");
        }
        let silent = found_out(LONG, pending()).await;
        assert_eq!(silent.code(), Code::Unavailable);
        assert_eq!(silent.message(), "JetStream does not respond at the moment");
    }
}
