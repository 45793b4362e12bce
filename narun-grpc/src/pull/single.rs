use std::time::Duration;

use async_nats::{Message, StatusCode};
use tonic::Status;

use crate::Connection;
use crate::connection::{Due, Inbox, completes_previous_pull};
use crate::status::OrStatus;

/// What a message takes in a response besides its bytes in NATS, at most: fields of its own, and more for each header.
pub(crate) const OVERHEAD: usize = 256;

/// A pull of a consumer, with an inbox of its own. Dropping it gives back messages that still arrive.
pub(crate) struct Pull {
    pub(crate) connection: Connection,
    pub(crate) stream: String,
    pub(crate) consumer: String,
    /// `None` once it was given away.
    pub(crate) inbox: Option<Inbox>,
    /// What may still arrive. If it is nothing, the inbox can be reused.
    pub(crate) due: Due,
    /// How long after its delivery a message is redelivered, if messages can wait that long in the inbox.
    pub(crate) ack_wait: Option<Duration>,
    /// The bytes that fit the response.
    pub(crate) room: usize,
}

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
            ack_wait: None,
            room,
        })
    }

    /// Asks for this many messages. `patience` is how long the server waits for them, as fields of JSON.
    pub(crate) async fn ask(&mut self, due: Due, batch: usize, patience: &str) -> Result<(), Status> {
        let bytes = match batch {
            1 => self.room.saturating_sub(OVERHEAD).max(1),
            // Each message takes more in the response.
            _ => self.room * 9 / 10,
        };
        let request = format!("{{\"batch\":{batch},{patience},\"max_bytes\":{bytes}}}");
        let inbox = self.inbox.as_ref().map(|inbox| inbox.subject.clone()).unwrap_or_default();
        let next = format!("CONSUMER.MSG.NEXT.{}.{}", self.stream, self.consumer);
        let next = self.connection.api_subject(&next);
        self.due = due;
        self.connection.client().publish_with_reply(next, inbox, request.into()).await.or_status()
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        match (self.inbox.take(), self.due) {
            (Some(inbox), Due::Nothing) => self.connection.keep(inbox),
            (Some(inbox), due) => self.connection.leave(inbox, due, self.ack_wait),
            (None, _) => {}
        }
    }
}

/// A status message of the server about a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullStatus {
    /// The pull goes on: a heartbeat, or the completion of the previous pull.
    GoesOn,
    /// There are no more messages, or the pull has expired.
    Ended,
    /// The next message is larger than the remaining bytes of the pull.
    TooLarge,
    /// The consumer does not exist, or has no leader.
    NoResponders,
    /// The consumer was deleted, or its server stopped or lost leadership.
    Lost,
    /// The server refused the pull.
    Refused,
}

impl PullStatus {
    /// Returns `None` if this is a message of the consumer.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let status = message.status?;
        let says = |text: &str| message.description.as_deref().is_some_and(|said| said.contains(text));
        Some(match status {
            _ if status == StatusCode::IDLE_HEARTBEAT || completes_previous_pull(message) => Self::GoesOn,
            StatusCode::NOT_FOUND | StatusCode::TIMEOUT => Self::Ended,
            StatusCode::NO_RESPONDERS => Self::NoResponders,
            _ if says("MaxBytes") => Self::TooLarge,
            _ if ["Consumer Deleted", "Leadership Change", "Server Shutdown"].into_iter().any(says) => {
                Self::Lost
            }
            _ => Self::Refused,
        })
    }
}

/// The failure of a call whose pull the server ended with this message.
pub(crate) fn refusal(message: &Message) -> Status {
    let (status, description) = (message.status.unwrap_or_default(), message.description.as_deref());
    tracing::debug!(%status, description, "pull refused");
    match (status.as_u16(), description) {
        (409, Some(text)) if text.contains("Consumer Deleted") => Status::not_found("no such consumer"),
        (409, Some(text)) if text.contains("MaxBytes") => {
            Status::resource_exhausted("the next message does not fit a response")
        }
        (409, Some(text)) if text.contains("MaxWaiting") => {
            Status::resource_exhausted("too many pulls wait at the consumer")
        }
        (400, _) => Status::invalid_argument("the consumer refused the pull"),
        _ => Status::unavailable("the NATS server ended the pull"),
    }
}
