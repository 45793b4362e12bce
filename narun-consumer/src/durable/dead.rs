//! Giving a request up: its place is the stream of dead letters.

use std::fmt;

use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use http::StatusCode;
use narun_core::{App, ExchangeId};
use narun_nats::jetstream::{TaskStreams, header};

use super::acks::Delivered;
use crate::handler::HandlerError;

/// Bytes of the text that says why.
const LONGEST: usize = 256;

/// Why a request is given up.
#[derive(Debug)]
pub(super) enum Reason {
    /// It cannot be read.
    Unreadable(String),
    /// It refers to buckets of another namespace.
    Foreign,
    /// The body that it refers to is not there.
    NoBody(String),
    /// Its last delivery failed.
    Failed(Failed),
    /// It was delivered too often: its consumers ended while they had it.
    Deliveries,
}

/// Why a delivery failed.
#[derive(Debug)]
pub(super) enum Failed {
    Panic,
    Service(String),
    Body(String),
    TimedOut,
    Status(StatusCode),
}

impl Reason {
    /// Its name in metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Foreign => "foreign_reference",
            Self::NoBody(_) => "no_body",
            Self::Failed(_) => "failed",
            Self::Deliveries => "deliveries",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "the message is no request: {why}"),
            Self::Foreign => f.write_str("it refers to a bucket that is not its namespace's"),
            Self::NoBody(why) => write!(f, "its body cannot be had: {why}"),
            Self::Failed(failed) => failed.fmt(f),
            Self::Deliveries => f.write_str("its consumers ended while they worked on it"),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic => f.write_str("the handler panicked"),
            Self::Service(error) => write!(f, "the handler's service failed: {error}"),
            Self::Body(error) => write!(f, "the response's body broke off: {error}"),
            Self::TimedOut => f.write_str("the handler took too long"),
            Self::Status(status) => write!(f, "the handler answered {}", status.as_u16()),
        }
    }
}

impl From<HandlerError> for Failed {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::Panic => Self::Panic,
            HandlerError::Service(error) => Self::Service(error.to_string()),
            HandlerError::Body(error) => Self::Body(error.to_string()),
            HandlerError::TooLarge => Self::Body("it is too large".to_owned()),
        }
    }
}

/// Copies a message to the stream of dead letters; the error is for people.
pub(super) async fn bury(
    tasks: &TaskStreams,
    app: &App,
    id: Option<ExchangeId>,
    payload: Bytes,
    delivered: &Delivered,
    reason: &Reason,
) -> Result<(), String> {
    let namespace = tasks.namespace();
    // Should the copy be made twice, because the first one was not confirmed, the stream keeps one of them.
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
    let confirmed = tasks
        .context()
        .send_publish(namespace.dead_subject(app), message)
        .await
        .map_err(|error| error.to_string())?;
    confirmed.await.map(drop).map_err(|error| error.to_string())
}

/// What of a text can stand in a NATS header: foreign bytes there can kill clients.
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
    fn nothing_foreign_gets_into_a_header() {
        let reason = Reason::Failed(Failed::Service(format!("a\r\nb: ü\0{}\r", "x".repeat(500))));
        let text = visible(&reason.to_string());
        assert!(text.starts_with("the handler's service failed: a??b: ??x"), "{text}");
        assert_eq!(text.len(), LONGEST);
    }
}
