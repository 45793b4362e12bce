//! Calls to JetStream, each of them within a limit.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind, RequestError};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::RawMessage;
use async_nats::jetstream::{Error, ErrorCode};
use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long a call may take.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// What a call came to that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApiError {
    /// The server refuses, and would do so again.
    Refused {
        /// The server's code.
        code: ErrorCode,
        /// The server's words.
        words: String,
    },
    /// The message is over the server's limit of any message.
    TooLarge,
    /// It may have been done or not; worth trying again.
    Unavailable(String),
}

/// A message that a stream keeps.
#[derive(Debug)]
pub(super) struct StoredMessage {
    pub(super) message: RawMessage,
    pub(super) payload: Bytes,
}

impl ApiError {
    /// Whether this is the server's code.
    pub(super) fn is(&self, expected: ErrorCode) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == expected)
    }

    /// Whether there is no room, in the stream or on the server.
    pub(super) const fn is_full(&self) -> bool {
        // Maximum messages and bytes are both "store failed".
        matches!(self, Self::Refused { code: ErrorCode(10002 | 10023 | 10028 | 10047 | 10077), .. })
    }

    /// Whether the message is over a limit, of the server, of the stream or of headers.
    pub(super) const fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge | Self::Refused { code: ErrorCode(10054 | 10097), .. })
    }

    /// Whether the subject had changed since the expected revision.
    pub(super) const fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: ErrorCode(10071 | 10164), .. })
    }

    /// What went wrong, for people.
    pub(super) fn words(self) -> String {
        match self {
            Self::Refused { words, .. } | Self::Unavailable(words) => words,
            Self::TooLarge => "the message is over the server's limit".to_owned(),
        }
    }

    fn late() -> Self {
        Self::Unavailable(format!("no answer within {LIMIT:?}"))
    }
}

impl From<&Error> for ApiError {
    fn from(error: &Error) -> Self {
        let words = error.to_string();
        match error.error_code() {
            // A cluster without a leader or with servers missing: incomplete, no peers, not available, not the leader,
            // not assigned; stream and consumer offline; a change of members under way.
            ErrorCode(10004 | 10005 | 10008 | 10009 | 10010 | 10118 | 10119 | 10202) => {
                Self::Unavailable(words)
            }
            code => Self::Refused { code, words },
        }
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        let refused = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Error>());
        match (error.kind(), refused) {
            (_, Some(refused)) => refused.into(),
            (PublishErrorKind::MaxPayloadExceeded, None) => Self::TooLarge,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// What the server answers to a request to the JetStream API.
pub(super) async fn answer<T>(
    request: impl Future<Output = Result<Response<T>, RequestError>>,
) -> Result<T, ApiError> {
    // The client's own limit begins once the request is in its queue.
    match timeout(LIMIT, request).await {
        Err(_) => Err(ApiError::late()),
        Ok(Err(error)) => Err(ApiError::Unavailable(error.to_string())),
        Ok(Ok(Response::Err { error })) => Err((&error).into()),
        Ok(Ok(Response::Ok(answer))) => Ok(answer),
    }
}

/// Publishes to a stream; returns the sequence number once the message is stored.
pub(super) async fn publish(
    context: &Context,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<u64, ApiError> {
    stored(send(context, subject, headers, payload).await?).await
}

/// Publishes to a stream; returns what tells that the message is stored.
pub(super) async fn send(
    context: &Context,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<PublishAckFuture, ApiError> {
    match timeout(LIMIT, context.publish_with_headers(subject, headers, payload)).await {
        Err(_) => Err(ApiError::late()),
        Ok(sent) => Ok(sent?),
    }
}

/// The sequence number of a message that was sent, once it is stored.
pub(super) async fn stored(ack: PublishAckFuture) -> Result<u64, ApiError> {
    match timeout(LIMIT, ack.into_future()).await {
        Err(_) => Err(ApiError::late()),
        Ok(stored) => Ok(stored?.sequence),
    }
}

/// The last message of this subject.
pub(super) async fn last_message(
    context: &Context,
    stream: &str,
    subject: &str,
) -> Result<Option<StoredMessage>, ApiError> {
    message(context, stream, &json!({ "last_by_subj": subject })).await
}

/// The first message of this subject that has this sequence number or a higher one.
pub(super) async fn next_message(
    context: &Context,
    stream: &str,
    subject: &str,
    sequence: u64,
) -> Result<Option<StoredMessage>, ApiError> {
    message(context, stream, &json!({ "next_by_subj": subject, "seq": sequence })).await
}

/// Asks the stream's leader. A direct get is answered by any replica, also by one that has not heard yet of what another
/// one has acknowledged; and the headers come encoded, which keeps malformed ones off the client.
async fn message(context: &Context, stream: &str, query: &Value) -> Result<Option<StoredMessage>, ApiError> {
    let mut found: Value = match answer(context.request(format!("STREAM.MSG.GET.{stream}"), query)).await {
        Err(error) if error.is(ErrorCode::NO_MESSAGE_FOUND) => return Ok(None),
        found => found?,
    };
    let malformed = || ApiError::Unavailable("a malformed answer".to_owned());
    let message: RawMessage = serde_json::from_value(found["message"].take()).map_err(|_| malformed())?;
    let payload = BASE64.decode(message.payload.as_bytes()).map_err(|_| malformed())?;
    Ok(Some(StoredMessage { message, payload: payload.into() }))
}

/// Deletes all messages of these subjects.
pub(super) async fn purge(context: &Context, stream: &str, subjects: &str) -> Result<(), ApiError> {
    let request = json!({ "filter": subjects });
    let _: Value = answer(context.request(format!("STREAM.PURGE.{stream}"), &request)).await?;
    Ok(())
}
