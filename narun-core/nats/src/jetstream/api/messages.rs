use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::RawMessage;
use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{Api, ApiError, Requester};

/// A message that a stream has.
#[derive(Debug)]
pub(in crate::jetstream) struct StoredMessage {
    pub(in crate::jetstream) message: RawMessage,
    pub(in crate::jetstream) payload: Bytes,
}

impl<R: Requester> Api<R> {
    /// The last message of this subject, `None` if there is none.
    pub(in crate::jetstream) async fn last_message(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<StoredMessage>, ApiError> {
        self.message(stream, &json!({ "last_by_subj": subject })).await
    }

    /// The first message of this subject with this sequence number or a higher one, `None` if there is none.
    pub(in crate::jetstream) async fn next_message(
        &self,
        stream: &str,
        subject: &str,
        sequence: u64,
    ) -> Result<Option<StoredMessage>, ApiError> {
        self.message(stream, &json!({ "next_by_subj": subject, "seq": sequence })).await
    }

    /// Asks the stream's leader. A direct get is answered by any replica, also by one that has not yet received what
    /// another one has acknowledged; and the leader sends headers encoded, which keeps malformed ones off the client.
    async fn message(&self, stream: &str, query: &Value) -> Result<Option<StoredMessage>, ApiError> {
        let mut found: Value = match self.request(&format!("STREAM.MSG.GET.{stream}"), query).await {
            Err(error) if error.is(ErrorCode::NO_MESSAGE_FOUND) => return Ok(None),
            found => found?,
        };
        let message: RawMessage =
            serde_json::from_value(found["message"].take()).map_err(|_| ApiError::Malformed)?;
        let payload = BASE64.decode(message.payload.as_bytes()).map_err(|_| ApiError::Malformed)?;
        Ok(Some(StoredMessage { message, payload: payload.into() }))
    }

    /// Deletes all messages of these subjects.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub async fn purge(&self, stream: &str, subjects: &str) -> Result<(), ApiError> {
        let _: Value =
            self.request(&format!("STREAM.PURGE.{stream}"), &json!({ "filter": subjects })).await?;
        Ok(())
    }

    /// Deletes the messages of these subjects up to this sequence number. Returns how many there were.
    pub(in crate::jetstream) async fn purge_until(
        &self,
        stream: &str,
        subjects: &str,
        sequence: u64,
    ) -> Result<u64, ApiError> {
        // The first sequence number that stays.
        let query = json!({ "filter": subjects, "seq": sequence.saturating_add(1) });
        let purged: Value = self.request(&format!("STREAM.PURGE.{stream}"), &query).await?;
        purged["purged"].as_u64().ok_or(ApiError::Malformed)
    }
}
