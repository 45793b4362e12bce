//! PullMessages.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::call::consumers::consumer_name;
use crate::call::{MethodCall, OnLoss, Unary};
use crate::connection::{Due, Mark, Unread};
use crate::convert::{patience, saturating};
use crate::pull::single::{OVERHEAD, Pull, PullStatus, refusal};
use crate::state::ack_tokens::stream_sequence;
use crate::{Connection, Method, pb, status};

/// Messages of a batch: the default, and the limit.
const BATCH: i32 = 10;
const LARGEST_BATCH: i32 = 1000;

/// How long to wait for messages by default.
const WAIT: Duration = Duration::from_secs(1);

/// How long the end of a pull may be late.
const SLACK: Duration = Duration::from_secs(5);

/// How long a pull without waiting may pause until the consumer is looked up. The next such pause is twice as long.
const STALL: Duration = Duration::from_millis(50);

/// What a header takes in a response besides its bytes in NATS, at most.
const HEADER_OVERHEAD: usize = 8;

impl Unary for pb::PullMessagesRequest {
    const METHOD: Method = Method::PullMessages;
    const ON_LOSS: OnLoss = OnLoss::Handle;
    type Response = pb::PullMessagesResponse;

    fn patience(&self) -> Duration {
        patience(self.max_wait.as_ref(), WAIT)
    }

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::PullMessagesResponse, Status> {
        let batch = match self.batch_size {
            ..=0 => BATCH,
            size => size.min(LARGEST_BATCH),
        };
        let batch = usize::try_from(batch).unwrap_or_default();
        let deadline = Instant::now() + self.patience().min(call.time_to_wait());
        let consumer = consumer_name(&self.consumer_name)?;
        let connection = call.connection();
        let stream = connection.repeat(|| call.owned_stream(&self.stream_name)).await?;
        loop {
            let mark = connection.mark()?;
            let pull = Pull::open(connection, call.state.response_limit, &stream, consumer).await?;
            let batch = Batch { call, pull, mark, limit: batch, deadline };
            match batch.pull().await {
                // The pull is lost with the connection: pull again on the next one.
                Err(status) if connection.is_reason(mark, &status) => connection.restored(deadline).await?,
                taken => return taken?.into_response(call, &stream, consumer),
            }
        }
    }
}

/// The pulls of a call.
struct Batch<'a> {
    call: &'a MethodCall<'a>,
    pull: Pull,
    /// The connection of the pull.
    mark: Mark,
    /// How many messages to take.
    limit: usize,
    /// When to end without a message.
    deadline: Instant,
}

/// Pulled messages. Dropping it gives back those that are left.
struct Taken(Vec<async_nats::Message>, Connection);

/// What happened to a pull.
enum Event {
    Message(async_nats::Message),
    /// Nothing, for a while.
    Stall,
    /// The connection is lost.
    Lost,
}

impl Batch<'_> {
    /// First the messages that wait already; only if there are none, waits for one. The server ends both pulls by itself: to
    /// stop listening earlier could lose messages on their way.
    async fn pull(mut self) -> Result<Taken, Status> {
        let batch = self.limit;
        self.pull.ask(Due::AtOnce(batch), batch, "\"no_wait\":true").await?;
        let taken = self.take(Instant::now() + SLACK).await?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        if !taken.0.is_empty() || left.is_zero() {
            return Ok(taken);
        }
        let expires = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        // Wait for a single message.
        self.limit = 1;
        self.pull.ask(Due::Waiting(1), 1, &format!("\"expires\":{expires}")).await?;
        self.take(self.deadline + SLACK).await
    }

    /// Collects the messages of a pull, until the batch is complete, the server ends the pull, or `until`.
    ///
    /// The server does not end a pull without waiting while the consumer has as many unacknowledged messages as it may have.
    async fn take(&mut self, mut until: Instant) -> Result<Taken, Status> {
        let mut taken = Taken(Vec::new(), self.pull.connection.clone());
        let at_once = matches!(self.pull.due, Due::AtOnce(_));
        let (mut pause, mut is_full) = (STALL, !at_once);
        while taken.0.len() < self.limit {
            let now = Instant::now();
            let wake = if is_full { until } else { until.min(now + pause) };
            let message = match self.next(wake).await? {
                Event::Message(message) => message,
                Event::Lost if taken.0.is_empty() => return Err(status::lost()),
                Event::Lost => return Ok(taken),
                Event::Stall if is_full && at_once => return Ok(self.abandon(taken)),
                Event::Stall if Instant::now() >= until && taken.0.is_empty() => {
                    return Err(status::jetstream_late());
                }
                Event::Stall if Instant::now() >= until => return Ok(taken),
                Event::Stall => {
                    pause *= 2;
                    is_full = self.is_full().await?;
                    match (is_full, taken.0.is_empty()) {
                        (true, false) => return Ok(self.abandon(taken)),
                        // The pull gets what is acknowledged elsewhere.
                        (true, true) => until = self.deadline,
                        (false, _) => {}
                    }
                    continue;
                }
            };
            match PullStatus::of(&message) {
                None => {
                    (pause, is_full) = (STALL, !at_once);
                    let headers = message.headers.as_ref().map_or(0, HeaderMap::len);
                    let size = message.length + OVERHEAD + HEADER_OVERHEAD * headers;
                    let fits = size <= self.pull.room || taken.0.is_empty();
                    self.pull.room = self.pull.room.saturating_sub(size);
                    if let Due::AtOnce(due) = &mut self.pull.due {
                        *due = due.saturating_sub(1);
                    }
                    if !fits {
                        self.pull.connection.give_back(unread(message).into_iter().collect());
                        return Ok(taken);
                    }
                    if taken.add(message) {
                        return Ok(self.abandon(taken));
                    }
                }
                Some(PullStatus::GoesOn) => {}
                Some(PullStatus::Ended) => break,
                // The next message does not fit: it comes with the next pull.
                Some(PullStatus::TooLarge) if !taken.0.is_empty() => break,
                Some(PullStatus::TooLarge) if self.limit > 1 => {
                    // By itself, it may be larger.
                    self.limit = 1;
                    self.pull.ask(Due::AtOnce(1), 1, "\"no_wait\":true").await?;
                }
                Some(PullStatus::NoResponders) => {
                    self.pull.due = Due::Nothing;
                    return Err(self.call.unanswered_consumer(&self.pull.stream, &self.pull.consumer).await);
                }
                Some(PullStatus::TooLarge | PullStatus::Lost | PullStatus::Refused) => {
                    self.pull.due = Due::Nothing;
                    return Err(refusal(&message));
                }
            }
        }
        self.pull.due = Due::Nothing;
        Ok(taken)
    }

    async fn next(&mut self, wake: Instant) -> Result<Event, Status> {
        let (inbox, connection) = (&mut self.pull.inbox, &self.pull.connection);
        tokio::select! {
            biased;
            next = timeout_at(wake, async { inbox.as_mut()?.next().await }) => match next {
                Ok(Some(message)) => Ok(Event::Message(message)),
                Ok(None) => Err(status::disconnected()),
                Err(_) => Ok(Event::Stall),
            },
            () = connection.lost(self.mark) => Ok(Event::Lost),
        }
    }

    /// Whether the consumer has as many unacknowledged messages as it may have.
    async fn is_full(&self) -> Result<bool, Status> {
        let Pull { connection, stream, consumer, .. } = &self.pull;
        let info = connection.repeat(|| connection.consumer_info(stream, consumer)).await?;
        let (pending, limit) = (saturating::<i64, _>(info.num_ack_pending), info.config.max_ack_pending);
        Ok(limit > 0 && pending >= limit)
    }

    /// Leaves a pull that the server would not end.
    fn abandon(&mut self, taken: Taken) -> Taken {
        if let Due::AtOnce(due) = self.pull.due {
            self.pull.due = Due::Waiting(due);
        }
        taken
    }
}

impl Taken {
    /// Adds a message. Returns `true` if it is in the place of an earlier delivery of the same.
    fn add(&mut self, message: async_nats::Message) -> bool {
        let sequence = |message: &async_nats::Message| message.reply.as_deref().and_then(stream_sequence);
        let added = sequence(&message);
        // Only a message that is delivered again comes after one with a higher sequence.
        let before = match added <= self.0.last().and_then(sequence) {
            true => self.0.iter_mut().find(|before| sequence(before) == added),
            false => None,
        };
        match before {
            Some(before) => *before = message,
            None => {
                self.0.push(message);
                return false;
            }
        }
        true
    }

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

/// A message to give back, which has just arrived.
fn unread(message: async_nats::Message) -> Option<Unread> {
    message.reply.map(|reply| Unread { reply, redelivered: None })
}

impl Drop for Taken {
    fn drop(&mut self) {
        let messages = std::mem::take(&mut self.0).into_iter();
        self.1.give_back(messages.filter_map(unread).collect());
    }
}
