//! Dead letters: why a request becomes one, and publishing it.

use std::fmt;

use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use http::StatusCode;
use narun_core::{App, ExchangeId, Failure, FailureKind};
use narun_nats::jetstream::{ApiError, TaskStreams, header};

use super::acks::DeliveryInfo;
use crate::handler::HandlerError;

/// The length limit of the reason.
const LONGEST: usize = 256;

/// Why a request becomes a dead letter.
#[derive(Clone, Debug)]
pub(crate) enum DeadLetterReason {
    /// The message is not a readable request.
    Unreadable(String),
    /// The request refers to buckets of another namespace.
    Foreign,
    /// The body that the request refers to is missing or corrupt.
    NoBody(String),
    /// The body that the request refers to is over the consumer's limit.
    TooLarge { size: u64, limit: u64 },
    /// The last delivery failed.
    Failed(DeliveryFailure),
    /// The request was delivered this many times, and none of the deliveries was concluded.
    Deliveries(u64),
}

/// Why a delivery failed.
#[derive(Clone, Debug)]
pub(crate) enum DeliveryFailure {
    Panic,
    Service(String),
    Body(String),
    TimedOut,
    Status(StatusCode),
}

impl DeadLetterReason {
    /// The label in metrics.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Foreign => "foreign_reference",
            Self::NoBody(_) => "no_body",
            Self::TooLarge { .. } => "too_large",
            Self::Failed(_) => "failed",
            Self::Deliveries(_) => "deliveries",
        }
    }
}

impl From<&DeadLetterReason> for FailureKind {
    /// What the client gets. [`may_be_dead_letter`] knows the statuses.
    fn from(reason: &DeadLetterReason) -> Self {
        match reason {
            DeadLetterReason::TooLarge { .. } => Self::ContentTooLarge,
            _ => Self::HandlerFailed,
        }
    }
}

/// Whether a client gets this status for a dead letter, or it is unknown (0).
pub(super) fn may_be_dead_letter(status: u16) -> bool {
    let kinds = [FailureKind::HandlerFailed, FailureKind::ContentTooLarge];
    status == 0 || kinds.into_iter().any(|kind| Failure::new(kind).status() == status)
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "the message is not a request: {why}"),
            Self::Foreign => f.write_str("it refers to a bucket of another namespace"),
            Self::NoBody(why) => write!(f, "its body cannot be read: {why}"),
            Self::TooLarge { size, limit } => {
                write!(f, "its body has {size} bytes, and the consumer's limit is {limit}")
            }
            Self::Failed(failed) => failed.fmt(f),
            Self::Deliveries(count) => {
                write!(f, "it was delivered {count} times, and no delivery was concluded")
            }
        }
    }
}

impl fmt::Display for DeliveryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic => f.write_str("the handler panicked"),
            Self::Service(error) => write!(f, "the handler's service failed: {error}"),
            Self::Body(error) => write!(f, "the response's body broke off: {error}"),
            Self::TimedOut => f.write_str("the handler timed out"),
            Self::Status(status) => write!(f, "the handler responded with {}", status.as_u16()),
        }
    }
}

impl From<HandlerError> for DeliveryFailure {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::Panic => Self::Panic,
            HandlerError::Service(error) => Self::Service(error.to_string()),
            HandlerError::Body(error) => Self::Body(error.to_string()),
            HandlerError::TooLarge => Self::Body("it is too large".to_owned()),
        }
    }
}

/// Publishes a message to the stream of dead letters.
pub(super) async fn publish_dead_letter(
    tasks: &TaskStreams,
    app: &App,
    id: Option<ExchangeId>,
    payload: Bytes,
    delivered: &DeliveryInfo,
    reason: &DeadLetterReason,
) -> Result<(), ApiError> {
    let namespace = tasks.namespace();
    // If it is published twice because the first ack was lost, the stream keeps one of them.
    let message_id = match id {
        Some(id) => format!("{id}-{}", delivered.sequence),
        None => format!("unreadable-{}-{}", delivered.sequence, delivered.stored_millis()),
    };
    let message = PublishMessage::build()
        .payload(payload)
        .message_id(message_id)
        .expected_stream(namespace.dead_stream())
        .header(header::REASON, visible(&reason.to_string()).as_str())
        .header(header::DELIVERIES, delivered.count.to_string().as_str())
        .header(header::ACCEPTED, delivered.stored_millis().to_string().as_str());
    let confirmed = tasks.context().send_publish(namespace.dead_subject(app), message).await?;
    Ok(confirmed.await.map(drop)?)
}

/// Makes a text fit for a NATS header, where other bytes can break clients.
fn visible(text: &str) -> String {
    let visible = |character: char| match character {
        ' '..='~' => character,
        _ => '?',
    };
    text.chars().take(LONGEST).map(visible).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_recognised_by_its_status() {
        for reason in [DeadLetterReason::Foreign, DeadLetterReason::TooLarge { size: 2, limit: 1 }] {
            assert!(may_be_dead_letter(Failure::new(FailureKind::from(&reason)).status().as_u16()));
        }
        assert!(may_be_dead_letter(0));
        assert!(!may_be_dead_letter(200) && !may_be_dead_letter(502));
    }

    #[test]
    fn the_reason_in_the_header_is_visible_ascii() {
        let reason =
            DeadLetterReason::Failed(DeliveryFailure::Service(format!("a\r\nb: ü\0{}\r", "x".repeat(500))));
        let text = visible(&reason.to_string());
        assert!(text.starts_with("the handler's service failed: a??b: ??x"), "{text}");
        assert_eq!(text.len(), LONGEST);
    }
}
