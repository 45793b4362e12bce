//! PullMessages.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::call::consumers::consumer_name;
use crate::call::{MethodCall, Unary};
use crate::connection::Due;
use crate::convert::patience;
use crate::pull::single::{Pull, PullStatus, refusal};
use crate::{Connection, Method, pb, status};

/// Messages of a batch: the default, and the limit.
const BATCH: i32 = 10;
const LARGEST_BATCH: i32 = 1000;

/// How long to wait for messages by default.
const WAIT: Duration = Duration::from_secs(1);

/// How long the end of a pull may be late.
const SLACK: Duration = Duration::from_secs(5);

/// What a message takes in a response besides its bytes in NATS, at most: fields of its own, and more for each header.
const OVERHEAD: usize = 256;
const HEADER_OVERHEAD: usize = 8;

impl Unary for pb::PullMessagesRequest {
    const METHOD: Method = Method::PullMessages;
    type Response = pb::PullMessagesResponse;

    fn patience(&self) -> Duration {
        patience(self.max_wait.as_ref(), WAIT)
    }

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::PullMessagesResponse, Status> {
        let batch = match self.batch_size {
            ..=0 => BATCH,
            size => size.min(LARGEST_BATCH),
        };
        let wait = self.patience().min(call.time_to_wait());
        let consumer = consumer_name(&self.consumer_name)?;
        let stream = call.owned_stream(&self.stream_name).await?;
        let mut pull = Pull::open(call.connection(), call.state.response_limit, &stream, consumer).await?;
        let deadline = Instant::now() + wait;

        // First the messages that wait already; only if there are none, wait for one. The server ends both pulls by
        // itself: to stop listening earlier would lose messages on their way.
        let batch = usize::try_from(batch).unwrap_or_default();
        pull.ask(Due::AtOnce(batch), &format!("\"batch\":{batch},\"no_wait\":true")).await?;
        let mut taken = take(&mut pull, call, batch, Instant::now() + SLACK).await?;
        if taken.0.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                let expires = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
                // Wait for a single message.
                pull.ask(Due::Waiting(1), &format!("\"batch\":1,\"expires\":{expires}")).await?;
                taken = take(&mut pull, call, 1, deadline + SLACK).await?;
            }
        }
        taken.into_response(call, &stream, consumer)
    }
}

/// Pulled messages. Dropping it gives back those that are left.
struct Taken(Vec<async_nats::Message>, Connection);

/// Collects the messages of a pull, until the batch is complete, the server ends the pull, or the deadline.
async fn take(
    pull: &mut Pull,
    call: &MethodCall<'_>,
    batch: usize,
    deadline: Instant,
) -> Result<Taken, Status> {
    let mut taken = Taken(Vec::new(), pull.connection.clone());
    while taken.0.len() < batch {
        let next = async { pull.inbox.as_mut()?.next().await };
        let message = match timeout_at(deadline, next).await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(status::disconnected()),
            Err(_) if taken.0.is_empty() => return Err(status::jetstream_late()),
            Err(_) => return Ok(taken),
        };
        match PullStatus::of(&message) {
            None => {
                let headers = message.headers.as_ref().map_or(0, HeaderMap::len);
                let size = message.length + OVERHEAD + HEADER_OVERHEAD * headers;
                let fits = size <= pull.room || taken.0.is_empty();
                pull.room = pull.room.saturating_sub(size);
                match fits {
                    true => taken.0.push(message),
                    false => pull.connection.give_back(vec![message]),
                }
                if let Due::AtOnce(due) = &mut pull.due {
                    *due = due.saturating_sub(1);
                }
                if !fits {
                    return Ok(taken);
                }
            }
            Some(PullStatus::GoesOn) => {}
            Some(PullStatus::Ended) => break,
            // The next message does not fit: it comes with the next pull.
            Some(PullStatus::TooLarge) if !taken.0.is_empty() => break,
            Some(PullStatus::NoResponders) => {
                pull.due = Due::Nothing;
                return Err(call.unanswered_consumer(&pull.stream, &pull.consumer).await);
            }
            Some(PullStatus::TooLarge | PullStatus::Lost | PullStatus::Refused) => {
                pull.due = Due::Nothing;
                return Err(refusal(&message));
            }
        }
    }
    pull.due = Due::Nothing;
    Ok(taken)
}

impl Taken {
    fn into_response(
        mut self,
        call: &MethodCall<'_>,
        stream: &str,
        consumer: &str,
    ) -> Result<pb::PullMessagesResponse, Status> {
        let jetstream = call.connection().jetstream()?;
        let messages = std::mem::take(&mut self.0).into_iter();
        let messages = messages.filter_map(|message| {
            let message = Message { message, context: jetstream.clone() };
            let message = call.state.delivered(call.tenant(), stream, consumer, message)?;
            call.sent(1, message.data.len());
            Some(message)
        });
        Ok(pb::PullMessagesResponse { messages: messages.collect() })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.1.give_back(std::mem::take(&mut self.0));
        }
    }
}
