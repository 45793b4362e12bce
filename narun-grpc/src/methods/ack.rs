//! AckMessage and NakMessage.
//!
//! A message is acknowledged on its reply subject. The subject comes from the client's token, or else from the recent
//! deliveries of this replica. Otherwise it is synthesized, on consumers with explicit acknowledgements only: there the
//! server reads nothing but the stream sequence. On a consumer with `AckPolicy::All`, a synthesized subject would
//! corrupt the ack floor for good.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Info};
use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use crate::call::consumers::consumer_name;
use crate::call::{MethodCall, Unary};
use crate::convert::duration;
use crate::state::ack_tokens::stream_sequence;
use crate::{Method, pb, status};

/// How long the server may take to confirm. It never confirms a message that was not delivered.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);

/// The message to acknowledge.
struct AckTarget<'a> {
    stream: String,
    consumer: &'a str,
    sequence: u64,
    /// Its reply subject, if that is known.
    subject: Option<String>,
}

impl MethodCall<'_> {
    async fn target<'a>(
        &self,
        stream: &str,
        consumer: &'a str,
        sequence: i64,
        token: &str,
    ) -> Result<AckTarget<'a>, Status> {
        let consumer = consumer_name(consumer)?;
        let sequence = u64::try_from(sequence).unwrap_or_default();
        if sequence == 0 && token.is_empty() {
            return Err(Status::invalid_argument("sequence and ack_token are both missing"));
        }
        let stream = self.owned_stream(stream).await?;
        let subject = self.state.tokens.subject(&stream, consumer, token);
        if sequence == 0 && subject.is_none() {
            return Err(Status::invalid_argument("the ack_token is invalid for this consumer"));
        }
        let subject = subject.or_else(|| self.state.recent.subject(&stream, consumer, sequence));
        Ok(AckTarget { stream, consumer, sequence, subject })
    }

    async fn info_of(&self, target: &AckTarget<'_>) -> Result<Info, Status> {
        let info: Info = self.connection().consumer_info(&target.stream, target.consumer).await?;
        match info.config.ack_policy {
            AckPolicy::None => {
                Err(Status::failed_precondition("the consumer does not take acknowledgements"))
            }
            _ => Ok(info),
        }
    }

    /// Sends an acknowledgement. Returns `false` if it is not confirmed in time and the message is not pending.
    async fn acknowledge(
        &self,
        target: &AckTarget<'_>,
        subject: String,
        what: Bytes,
    ) -> Result<bool, Status> {
        let mark = self.connection().mark()?;
        let sequence = stream_sequence(&subject).unwrap_or(target.sequence);
        let (since, is_nak) = (Instant::now(), what.starts_with(b"-NAK"));
        let request = self.connection().request(subject, what);
        match timeout(CONFIRMED_WITHIN.min(self.time_to_wait()), request).await {
            Ok(Err(status)) => Err(status),
            Ok(Ok(Some(_))) => {
                self.connection().confirmed(&target.stream, target.consumer, sequence, since, is_nak);
                Ok(true)
            }
            Ok(Ok(None)) => match self.unanswered_consumer(&target.stream, target.consumer).await {
                status if status.code() == Code::NotFound => Ok(false),
                status => Err(status),
            },
            Err(_) if self.connection().is_lost(mark) => Err(status::lost()),
            Err(_) => self.unconfirmed(target, sequence).await,
        }
    }

    /// Looks up why an acknowledgement was not confirmed in time. Returns `false` if the message is not pending, and fails
    /// if it may be. Subscribers of acknowledgements take "no responders" from those who send them.
    async fn unconfirmed(&self, target: &AckTarget<'_>, sequence: u64) -> Result<bool, Status> {
        let info = self.looked_up(self.connection().consumer_info(&target.stream, target.consumer)).await;
        match status::if_found(info)? {
            Some(info) if info.cluster.as_ref().is_some_and(|cluster| cluster.leader.is_none()) => {
                Err(status::no_leader())
            }
            Some(info) if is_pending(&info, sequence) => Err(status::silent()),
            Some(_) | None => Ok(false),
        }
    }
}

/// Whether the message may be delivered and not acknowledged.
fn is_pending(info: &Info, sequence: u64) -> bool {
    info.num_ack_pending > 0
        && (info.ack_floor.stream_sequence + 1..=info.delivered.stream_sequence).contains(&sequence)
}

/// A reply subject made from the stream sequence. Fails unless the consumer has explicit acknowledgements.
fn synthesized_subject(
    target: &AckTarget<'_>,
    info: &Info,
    consumer_sequence: u64,
) -> Result<String, Status> {
    if info.config.ack_policy != AckPolicy::Explicit {
        return Err(Status::failed_precondition("the consumer takes acknowledgements by ack_token only"));
    }
    let AckTarget { stream, consumer, sequence, .. } = target;
    Ok(format!("$JS.ACK.{stream}.{consumer}.1.{sequence}.{consumer_sequence}.0.0"))
}

impl Unary for pb::AckMessageRequest {
    const METHOD: Method = Method::AckMessage;
    type Response = pb::AckMessageResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::AckMessageResponse, Status> {
        let target =
            call.target(&self.stream_name, &self.consumer_name, self.sequence, &self.ack_token).await?;
        let subject = match &target.subject {
            Some(subject) => subject.clone(),
            None => {
                let info = call.info_of(&target).await?;
                let subject = synthesized_subject(&target, &info, 1)?;
                // Old servers would acknowledge a message that is not delivered yet.
                if target.sequence > info.delivered.stream_sequence {
                    return Ok(pb::AckMessageResponse { success: false });
                }
                subject
            }
        };
        let success = call.acknowledge(&target, subject, Bytes::from_static(b"+ACK")).await?;
        Ok(pb::AckMessageResponse { success })
    }
}

impl Unary for pb::NakMessageRequest {
    const METHOD: Method = Method::NakMessage;
    type Response = pb::NakMessageResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::NakMessageResponse, Status> {
        let delay = duration("delay", self.delay.as_ref())?.unwrap_or_default();
        let target =
            call.target(&self.stream_name, &self.consumer_name, self.sequence, &self.ack_token).await?;
        // The server confirms a nak of any sequence, so check first.
        let info = call.info_of(&target).await?;
        let sequence = target.subject.as_deref().and_then(stream_sequence).unwrap_or(target.sequence);
        if !is_pending(&info, sequence) {
            return Ok(pb::NakMessageResponse { success: false });
        }
        let subject = match &target.subject {
            Some(subject) => subject.clone(),
            None => synthesized_subject(&target, &info, info.delivered.consumer_sequence)?,
        };
        let nanoseconds = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX).min(i64::MAX as u64);
        let what = match nanoseconds {
            0 => "-NAK".to_owned(),
            delay => format!("-NAK {}", json!({ "delay": delay })),
        };
        let success = call.acknowledge(&target, subject, what.into()).await?;
        Ok(pb::NakMessageResponse { success })
    }
}
