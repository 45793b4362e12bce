use async_nats::StatusCode;
use tonic::Status;

use crate::Connection;
use crate::connection::{Due, Inbox};
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
