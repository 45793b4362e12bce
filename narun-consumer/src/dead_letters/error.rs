use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{RawMessageError, RawMessageErrorKind};
use narun_nats::jetstream::{ApiError, BodyStoreError, DeclareError, OutcomeError};

/// Why dead letters could not be listed, put back or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// No dead letter has this sequence.
    #[error("no such dead letter")]
    NotFound,
    /// The message is not a request, so no consumer can read it. It can only be deleted.
    #[error("the dead letter is not a request: {0}")]
    Unreadable(String),
    /// The request refers to a bucket of another namespace, so no consumer accepts it. It can only be deleted.
    #[error("the dead letter refers to a bucket of another namespace")]
    Foreign,
    /// A bucket differs from the settings, or is missing: change it, or the settings.
    #[error("{0}")]
    Declaration(String),
    /// No response, no connection, no leader, or a full stream. A retry may succeed.
    #[error("JetStream is unavailable: {0}")]
    Unavailable(String),
}

impl DeadLetterError {
    pub(super) fn unavailable(error: impl std::error::Error + 'static) -> Self {
        Self::Unavailable(ApiError::describe(&error))
    }

    pub(super) fn from_raw(error: RawMessageError) -> Self {
        match error.kind() {
            RawMessageErrorKind::NoMessageFound => Self::NotFound,
            // Without a stream there are no dead letters.
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
