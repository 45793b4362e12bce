use std::fmt;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{RawMessageError, RawMessageErrorKind};
use narun_nats::jetstream::{BodyStoreError, DeclareError, OutcomeError};

/// Why dead letters were not listed, put back or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// There is none with this sequence, or not any more.
    #[error("there is no such dead letter")]
    NotFound,
    /// It is no request, which no consumer could read either: it can only be deleted.
    #[error("the dead letter is no request: {0}")]
    Unreadable(String),
    /// It refers to buckets of another namespace, so that no consumer takes it: it can only be deleted.
    #[error("the dead letter refers to a bucket that is not its namespace's")]
    Foreign,
    /// A stream or a bucket is not as it must be: for people to mend.
    #[error("{0}")]
    Declaration(String),
    /// No answer, no connection, no leader, a full stream: worth trying again.
    #[error("JetStream does not answer as it should: {0}")]
    Unavailable(String),
}

impl DeadLetterError {
    pub(super) fn unavailable(error: impl fmt::Display) -> Self {
        Self::Unavailable(error.to_string())
    }

    pub(super) fn from_raw(error: RawMessageError) -> Self {
        match error.kind() {
            RawMessageErrorKind::NoMessageFound => Self::NotFound,
            // There is no stream.
            RawMessageErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Self::NotFound
            }
            _ => Self::unavailable(error),
        }
    }
}

impl From<DeclareError> for DeadLetterError {
    fn from(error: DeclareError) -> Self {
        match error.is_temporary() {
            true => Self::unavailable(error),
            false => Self::Declaration(error.to_string()),
        }
    }
}

impl From<OutcomeError> for DeadLetterError {
    fn from(error: OutcomeError) -> Self {
        Self::unavailable(error)
    }
}

impl From<BodyStoreError> for DeadLetterError {
    fn from(error: BodyStoreError) -> Self {
        Self::unavailable(error)
    }
}
