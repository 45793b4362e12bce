use async_nats::{Message, StatusCode};
use tonic::Status;

use crate::Connection;
use crate::connection::{Due, Inbox, ends_the_one_before};
use crate::status::OrStatus;

/// A pull of a consumer, on an inbox that is its own meanwhile.
pub(crate) struct Pull {
    pub(crate) connection: Connection,
    pub(crate) stream: String,
    pub(crate) consumer: String,
    /// None once it is given away.
    pub(crate) inbox: Option<Inbox>,
    /// What can still come. With nothing, others can have the inbox.
    pub(crate) due: Due,
    /// Bytes that the answer takes.
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

/// What the server says of a pull, in a message that is none of the consumer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullStatus {
    /// The pull goes on: a heartbeat, or the end of the previous pull, whose messages have all come.
    GoesOn,
    /// There are no more messages, or the pull has expired.
    Ended,
    /// The next message does not fit the bytes that were asked for.
    TooLarge,
    /// Nothing serves the consumer: it does not exist, or has no leader.
    NoResponders,
    /// The consumer was deleted, or its server stopped or lost leadership.
    Lost,
    /// The server does not take the pull.
    Refused,
}

impl PullStatus {
    /// Returns `None` for a message of the consumer's.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let status = message.status?;
        let says = |text: &str| message.description.as_deref().is_some_and(|said| said.contains(text));
        Some(match status {
            _ if status == StatusCode::IDLE_HEARTBEAT || ends_the_one_before(message) => Self::GoesOn,
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
            Status::resource_exhausted("the next message is larger than an answer may be")
        }
        (409, Some(text)) if text.contains("MaxWaiting") => {
            Status::resource_exhausted("too many pulls wait at this consumer")
        }
        (400, _) => Status::invalid_argument("the consumer does not take such a pull"),
        _ => Status::unavailable("the pull was ended by the NATS server"),
    }
}
