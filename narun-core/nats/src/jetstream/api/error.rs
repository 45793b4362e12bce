use std::time::Duration;

use async_nats::jetstream::context::{
    PublishError, PublishErrorKind, RequestErrorKind as ContextRequestErrorKind,
};
use async_nats::jetstream::{Error, ErrorCode};
use async_nats::{RequestError, RequestErrorKind};

use crate::permissions::Denied;

/// Why a request to JetStream failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApiError {
    /// The server's error.
    #[error("{0}")]
    Server(Error),
    /// The message is over the server's limit for any message.
    #[error("the message is over the server's limit")]
    TooLarge,
    /// The subject is invalid.
    #[error("the subject is invalid")]
    InvalidSubject,
    /// The request cannot be encoded.
    #[error("the request cannot be encoded: {0}")]
    Encode(String),
    /// A message was not stored within this limit.
    #[error("no response within {0:?}")]
    TimedOut(Duration),
    /// There was no response to a request.
    #[error(
        "no response to `{subject}` within {limit:?}: JetStream has no leader or is slow, or the NATS user lacks the \
         permission to publish to this subject"
    )]
    NoResponse {
        /// The subject of the request.
        subject: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// Nothing subscribes to the API: JetStream is turned off, or the server has no contact with one that runs it.
    #[error("JetStream is not enabled, or no server that runs it can be reached")]
    NoResponders,
    /// The user may not publish to the subject of the request.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The stream has no leader.
    #[error("the stream has no leader")]
    NoLeader,
    /// There is no connection to a server.
    #[error("no connection to NATS")]
    Disconnected,
    /// The response cannot be decoded.
    #[error("the response is malformed")]
    Malformed,
    /// The client failed otherwise.
    #[error("{0}")]
    Client(String),
}

impl ApiError {
    /// Whether the same request may succeed later without a change by an operator. It may have been done already.
    ///
    /// This is the case unless the server rejected the request itself. A permission may be granted at any time. The server's
    /// errors that are temporary are those of a cluster without a leader or with servers missing.
    pub fn is_temporary(&self) -> bool {
        match self {
            // Incomplete, no peers, not available, not the leader, not assigned; stream and consumer offline; a change of
            // members under way.
            Self::Server(_) => {
                matches!(self.code(), Some(10004 | 10005 | 10008 | 10009 | 10010 | 10118 | 10119 | 10202))
            }
            Self::TooLarge | Self::InvalidSubject | Self::Encode(_) => false,
            Self::TimedOut(_)
            | Self::NoResponse { .. }
            | Self::NoResponders
            | Self::Denied(_)
            | Self::NoLeader
            | Self::Disconnected
            | Self::Malformed
            | Self::Client(_) => true,
        }
    }

    /// Whether the server gave this code.
    pub fn is(&self, expected: ErrorCode) -> bool {
        self.code() == Some(expected.0)
    }

    /// Whether JetStream, or the stream, has no leader.
    pub fn is_leaderless(&self) -> bool {
        matches!(self, Self::NoLeader) || matches!(self.code(), Some(10008 | 10009))
    }

    /// Whether there is no room, in the stream or on the server.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Server(error) if says_full(error.error_code(), &error.to_string()))
    }

    /// Whether there is no room for the bytes that a stream reserves.
    pub(in crate::jetstream) fn is_out_of_room(&self) -> bool {
        match self.code() {
            // Limits of the account, of servers, and of the size of one stream.
            Some(10002 | 10023 | 10028 | 10047 | 10122) => true,
            // A cluster says for each server why it cannot take the stream.
            Some(10005) => self.to_string().contains("insufficient"),
            _ => false,
        }
    }

    /// Whether the message is over a limit, of the server, of the stream or of headers.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge) || matches!(self.code(), Some(10054 | 10097))
    }

    /// Whether the subject has changed since the expected revision.
    pub fn is_conflict(&self) -> bool {
        // The second one is that of a cluster whose servers do not agree yet.
        matches!(self.code(), Some(10071 | 10164))
    }

    /// Whether there is a consumer of this name with another configuration.
    pub fn is_other_consumer(&self) -> bool {
        matches!(self.code(), Some(10013 | 10105 | 10148))
    }

    /// Returns the text of any error of async-nats. That of a request to JetStream that has no responders says what it means.
    pub fn describe(error: &(dyn std::error::Error + 'static)) -> String {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        let is_absent = causes.any(|cause| {
            let request = cause.downcast_ref::<async_nats::jetstream::context::RequestError>();
            request.is_some_and(|error| error.kind() == ContextRequestErrorKind::NoResponders)
        });
        if is_absent { Self::NoResponders.to_string() } else { error.to_string() }
    }

    fn code(&self) -> Option<u64> {
        match self {
            Self::Server(error) => Some(error.error_code().0),
            _ => None,
        }
    }
}

/// Whether an error of the server, with this code and text, says that there is no room, in the stream or on the server.
pub(in crate::jetstream) fn says_full(code: ErrorCode, text: &str) -> bool {
    match code {
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED => true,
        // This is the code of all failures to store. Only the text tells which are limits.
        ErrorCode::STREAM_STORE_FAILED => text.contains("maximum"),
        _ => false,
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        let refused = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Error>());
        match (error.kind(), refused) {
            (_, Some(refused)) => Self::Server(refused.clone()),
            (PublishErrorKind::MaxPayloadExceeded, None) => Self::TooLarge,
            _ => Self::Client(error.to_string()),
        }
    }
}

impl From<async_nats::PublishError> for ApiError {
    fn from(error: async_nats::PublishError) -> Self {
        use async_nats::client::PublishErrorKind;
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Self::TooLarge,
            PublishErrorKind::InvalidSubject => Self::InvalidSubject,
            PublishErrorKind::Send => Self::Disconnected,
        }
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        match error.kind() {
            RequestErrorKind::NoResponders => Self::NoResponders,
            RequestErrorKind::InvalidSubject => Self::InvalidSubject,
            RequestErrorKind::MaxPayloadExceeded => Self::TooLarge,
            RequestErrorKind::TimedOut | RequestErrorKind::Other => Self::Client(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        Self::Encode(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u64) -> ApiError {
        saying(code, "text")
    }

    fn saying(code: u64, text: &str) -> ApiError {
        let error = serde_json::json!({ "code": 500, "err_code": code, "description": text });
        ApiError::Server(serde_json::from_value(error).unwrap())
    }

    #[test]
    fn an_absent_jetstream_is_named() {
        use async_nats::jetstream::context::RequestError;
        use async_nats::jetstream::stream::{RawMessageError, RawMessageErrorKind};

        let request = RequestError::new(ContextRequestErrorKind::NoResponders);
        let error = RawMessageError::with_source(RawMessageErrorKind::Other, request);
        assert_eq!(ApiError::describe(&error), ApiError::NoResponders.to_string());
        let error = RawMessageError::new(RawMessageErrorKind::NoMessageFound);
        assert_eq!(ApiError::describe(&error), error.to_string());
    }

    #[test]
    fn a_failure_to_store_is_a_lack_of_room_only_if_the_server_says_so() {
        for text in ["maximum messages exceeded", "maximum bytes exceeded"] {
            assert!(saying(10077, text).is_full(), "{text}");
        }
        for text in ["no space left on device", "store is closed", ""] {
            assert!(!saying(10077, text).is_full(), "{text}");
        }
        for code in [10002, 10023, 10028, 10047] {
            assert!(server(code).is_full(), "{code}");
        }
        assert!(!ApiError::TooLarge.is_full());
    }

    #[test]
    fn only_refusals_are_final() {
        for code in [10004, 10005, 10008, 10009, 10010, 10118, 10119, 10202] {
            assert!(server(code).is_temporary(), "{code}");
        }
        for code in [10013, 10039, 10047, 10054, 10058, 10059, 10071, 10077, 0] {
            assert!(!server(code).is_temporary(), "{code}");
        }
        assert!(!ApiError::TooLarge.is_temporary());
        assert!(ApiError::TimedOut(Duration::ZERO).is_temporary());
        assert!(ApiError::NoResponders.is_temporary());
    }
}
