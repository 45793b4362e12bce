//! PublishToStream and PullMessages.

use std::time::{Duration, SystemTime};

use async_nats::StatusCode;
use async_nats::header::NATS_EXPECTED_STREAM;
use async_nats::jetstream::Message;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Status};

use crate::call::{Call, Unary};
use crate::connection::{Due, Inbox, ends_the_one_before};
use crate::convert::{date, header_length, patience, publish_subject, saturating, timestamp, to_headers};
use crate::methods::consumers::consumer_name;
use crate::service::Shared;
use crate::status::{self, OrStatus};
use crate::tenant::Tenant;
use crate::{Connection, Method, pb};

/// Messages that PullMessages takes if it does not say, and at most.
const BATCH: i32 = 10;
const LARGEST_BATCH: i32 = 1000;

/// How long PullMessages waits if it does not say.
const WAIT: Duration = Duration::from_secs(1);

/// How long the server may take to say that there is no more, once it should.
const SLACK: Duration = Duration::from_secs(5);

/// How long it may take to find out why nobody takes a message.
const LOOK: Duration = Duration::from_secs(2);

/// What an answer has to spare for a message's fields beside its payload.
const OVERHEAD: usize = 256;

impl Call<'_> {
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

impl Unary for pb::PublishToStreamRequest {
    const METHOD: Method = Method::PublishToStream;
    type Response = pb::PublishToStreamResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::PublishToStreamResponse, Status> {
        let subject = publish_subject(call.tenant(), &self.subject)?;
        let mut headers = call.shared.headers(&self.headers)?.unwrap_or_default();
        let stream = call.stream_of(&self.stream_name, &subject).await?;
        headers.insert(NATS_EXPECTED_STREAM, stream.as_str());
        let size = self.data.len();
        call.fits(header_length(Some(&headers)) + size)?;
        call.room_for(size).await?;
        call.connection().mark()?;
        let message = PublishMessage::build().payload(self.data).headers(headers);
        let ack = call.connection().jetstream()?.send_publish(subject.clone(), message).await.or_status()?;
        let ack = match ack.await {
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                call.connection().verified().remove(&stream);
                return Err(call.nobody(call.stream_of(&self.stream_name, &subject)).await);
            }
            result => result.or_status()?,
        };
        call.received(1, size);
        Ok(pb::PublishToStreamResponse {
            success: true,
            sequence: saturating(ack.sequence),
            timestamp: Some(timestamp(SystemTime::now())),
            message: if ack.duplicate { "duplicate".to_owned() } else { String::new() },
        })
    }
}

impl Unary for pb::PullMessagesRequest {
    const METHOD: Method = Method::PullMessages;
    type Response = pb::PullMessagesResponse;

    fn patience(&self) -> Duration {
        patience(self.max_wait.as_ref(), WAIT)
    }

    async fn run(self, call: &Call<'_>) -> Result<pb::PullMessagesResponse, Status> {
        let batch = match self.batch_size {
            ..=0 => BATCH,
            size => size.min(LARGEST_BATCH),
        };
        let wait = self.patience().min(call.time_to_wait());
        let consumer = consumer_name(&self.consumer_name)?;
        let stream = call.owned_stream(&self.stream_name).await?;
        let mut pull = Pull::open(call.connection(), call.shared.message_limit, &stream, consumer).await?;
        let deadline = Instant::now() + wait;

        // First what is there already, which is answered at once; only if that is nothing, what comes. The server ends
        // both by itself: to stop listening before it has would lose what is on its way.
        let batch = usize::try_from(batch).unwrap_or_default();
        pull.ask(Due::AtOnce(batch), &format!("\"batch\":{batch},\"no_wait\":true")).await?;
        let mut taken = pull.take(call, batch, Instant::now() + SLACK).await?;
        if taken.0.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                let expires = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
                // One is waited for, and what comes with it is taken.
                pull.ask(Due::Waiting(1), &format!("\"batch\":1,\"expires\":{expires}")).await?;
                taken = pull.take(call, 1, deadline + SLACK).await?;
            }
        }
        taken.into_response(call, &stream, consumer)
    }
}

/// A pull of a consumer, on an inbox that is its own meanwhile.
pub(crate) struct Pull {
    pub(crate) connection: Connection,
    stream: String,
    consumer: String,
    /// None once it is given away.
    pub(crate) inbox: Option<Inbox>,
    /// What can still come. With nothing, others can have the inbox.
    pub(crate) due: Due,
    /// Bytes that the answer takes.
    pub(crate) room: usize,
}

/// Messages that were delivered. Those that nobody takes out are given back.
struct Taken(Vec<async_nats::Message>, Connection);

impl Pull {
    pub(crate) async fn open(
        connection: &Connection,
        room: usize,
        stream: &str,
        consumer: &str,
    ) -> Result<Self, Status> {
        connection.mark()?;
        Ok(Self {
            inbox: Some(connection.inbox().await?),
            connection: connection.clone(),
            stream: stream.to_owned(),
            consumer: consumer.to_owned(),
            due: Due::Nothing,
            room,
        })
    }

    pub(crate) async fn ask(&mut self, due: Due, what: &str) -> Result<(), Status> {
        let request = format!("{{{what},\"max_bytes\":{}}}", self.room * 9 / 10);
        let inbox = self.inbox.as_ref().map(|inbox| inbox.subject.clone()).unwrap_or_default();
        let next = format!("CONSUMER.MSG.NEXT.{}.{}", self.stream, self.consumer);
        let next = self.connection.api_subject(&next);
        self.due = due;
        self.connection.client().publish_with_reply(next, inbox, request.into()).await.or_status()
    }

    async fn take(&mut self, call: &Call<'_>, batch: usize, deadline: Instant) -> Result<Taken, Status> {
        let mut taken = Taken(Vec::new(), self.connection.clone());
        while taken.0.len() < batch {
            let next = async { self.inbox.as_mut()?.next().await };
            let message = match timeout_at(deadline, next).await {
                Ok(Some(message)) => message,
                Ok(None) => return Err(status::disconnected()),
                Err(_) if taken.0.is_empty() => return Err(status::jetstream_late()),
                Err(_) => return Ok(taken),
            };
            match message.status {
                None => {
                    let size = message.length + OVERHEAD;
                    let fits = size <= self.room || taken.0.is_empty();
                    self.room = self.room.saturating_sub(size);
                    taken.0.push(message);
                    if let Due::AtOnce(due) = &mut self.due {
                        *due = due.saturating_sub(1);
                    }
                    if !fits {
                        return Ok(taken);
                    }
                }
                Some(StatusCode::NO_RESPONDERS) => {
                    self.due = Due::Nothing;
                    return Err(call.nobody_at(&self.stream, &self.consumer).await);
                }
                // No messages, the time is over, or the limit of bytes was met.
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => break,
                // That of the pull before, all of which had come.
                Some(_) if ends_the_one_before(&message) => {}
                // There is no room for the next one, which is the next pull's.
                Some(_) if exceeds_room(&message) && !taken.0.is_empty() => break,
                Some(status) => {
                    self.due = Due::Nothing;
                    return Err(refusal(status, message.description.as_deref()));
                }
            }
        }
        self.due = Due::Nothing;
        Ok(taken)
    }
}

pub(crate) fn exceeds_room(message: &async_nats::Message) -> bool {
    message.description.as_deref().is_some_and(|text| text.contains("MaxBytes"))
}

pub(crate) fn refusal(status: StatusCode, description: Option<&str>) -> Status {
    tracing::debug!(%status, description, "pull refused");
    match (status.as_u16(), description) {
        (409, Some(text)) if text.contains("Consumer Deleted") => Status::not_found("no such consumer"),
        (409, Some(text)) if text.contains("MaxBytes") => {
            Status::resource_exhausted("the next message is larger than an answer may be")
        }
        (409, Some(text)) if text.contains("MaxWaiting") => {
            Status::resource_exhausted("too many pulls wait at this consumer")
        }
        (400, _) => Status::invalid_argument("the consumer does not take such a pull"),
        _ => Status::unavailable("the pull was ended by the NATS server"),
    }
}

impl Taken {
    fn into_response(
        mut self,
        call: &Call<'_>,
        stream: &str,
        consumer: &str,
    ) -> Result<pb::PullMessagesResponse, Status> {
        let jetstream = call.connection().jetstream()?;
        let messages = std::mem::take(&mut self.0).into_iter();
        let messages = messages.filter_map(|message| {
            let message = Message { message, context: jetstream.clone() };
            let message = call.shared.delivered(call.tenant(), stream, consumer, message)?;
            call.sent(1, message.data.len());
            Some(message)
        });
        Ok(pb::PullMessagesResponse { messages: messages.collect() })
    }
}

impl Shared {
    /// A message as its client gets it, who can acknowledge it from now on; none if it is none of JetStream's.
    pub(crate) fn delivered(
        &self,
        tenant: &Tenant,
        stream: &str,
        consumer: &str,
        message: Message,
    ) -> Option<pb::JetStreamMessage> {
        let (sequence, delivered, published) = {
            let info = message.info().ok()?;
            (info.stream_sequence, info.delivered, info.published)
        };
        let reply = message.reply.as_deref()?;
        self.recent.add(stream, consumer, sequence, reply);
        let ack_token = self.tokens.issue(stream, consumer, reply);
        let message = message.message;
        Some(pb::JetStreamMessage {
            subject: tenant.own_subject(&message.subject).unwrap_or_default().to_owned(),
            headers: to_headers(message.headers.as_ref()),
            sequence: saturating(sequence),
            timestamp: date(published),
            num_delivered: saturating(delivered),
            ack_token,
            data: message.payload,
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.1.give_back(std::mem::take(&mut self.0));
        }
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        match (self.inbox.take(), self.due) {
            (Some(inbox), Due::Nothing) => self.connection.keep(inbox),
            (Some(inbox), due) => self.connection.leave(inbox, due),
            (None, _) => {}
        }
    }
}
