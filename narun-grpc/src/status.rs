//! What becomes of a failure: the one table from NATS's errors to gRPC statuses.
//!
//! Messages are in the caller's terms. What NATS says itself may have names that are not the caller's, so none of it is
//! passed on; it is logged at debug.

use std::error::Error as StdError;

use async_nats::client::{PublishErrorKind, SubscribeErrorKind};
use async_nats::jetstream;
use async_nats::jetstream::context::PublishErrorKind as StoreErrorKind;
use async_nats::jetstream::stream::{LastRawMessageError, LastRawMessageErrorKind};
use narun_nats::jetstream::ApiError;
use tonic::{Code, Status};
use tracing::debug;

use crate::tenant::TenantError;

/// The deadline of the call is over.
pub(crate) fn late() -> Status {
    Status::deadline_exceeded("not done within the call's time")
}

/// NATS cannot be reached.
pub(crate) fn disconnected() -> Status {
    Status::unavailable("no connection to NATS")
}

/// A tenant has as much as it may have.
pub(crate) fn over_quota(what: &str, limit: impl std::fmt::Display) -> Status {
    Status::resource_exhausted(format!("over the limit of {limit} {what}"))
}

/// Larger than the NATS server takes.
pub(crate) fn too_large(size: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!("a message of {size} bytes is over the limit of {limit}"))
}

fn too_large_for_nats() -> Status {
    Status::resource_exhausted("the message is larger than the NATS server takes")
}

fn invalid_subject() -> Status {
    Status::invalid_argument("a subject that NATS does not take")
}

/// An error as a status.
pub(crate) trait IntoStatus {
    fn into_status(self) -> Status;
}

/// Turns the error of a result into a status.
pub(crate) trait OrStatus<T> {
    fn or_status(self) -> Result<T, Status>;
}

impl<T, E: IntoStatus> OrStatus<T> for Result<T, E> {
    fn or_status(self) -> Result<T, Status> {
        self.map_err(IntoStatus::into_status)
    }
}

impl IntoStatus for TenantError {
    fn into_status(self) -> Status {
        Status::invalid_argument(self.to_string())
    }
}

impl IntoStatus for async_nats::PublishError {
    fn into_status(self) -> Status {
        debug!(error = %self, "publish failed");
        match self.kind() {
            PublishErrorKind::MaxPayloadExceeded => too_large_for_nats(),
            PublishErrorKind::InvalidSubject => invalid_subject(),
            PublishErrorKind::Send => disconnected(),
        }
    }
}

impl IntoStatus for async_nats::SubscribeError {
    fn into_status(self) -> Status {
        debug!(error = %self, "subscribe failed");
        match self.kind() {
            SubscribeErrorKind::InvalidSubject => invalid_subject(),
            SubscribeErrorKind::InvalidQueueName => {
                Status::invalid_argument("a queue group that NATS does not take")
            }
            SubscribeErrorKind::Other => disconnected(),
        }
    }
}

impl IntoStatus for jetstream::context::PublishError {
    fn into_status(self) -> Status {
        debug!(error = %self, "JetStream publish failed");
        match self.kind() {
            // They are looked at before.
            StoreErrorKind::StreamNotFound => no_leader(),
            StoreErrorKind::WrongLastMessageId | StoreErrorKind::WrongLastSequence => {
                Status::failed_precondition("the stream is not at the expected message")
            }
            StoreErrorKind::TimedOut => {
                Status::deadline_exceeded("JetStream did not confirm in time; the message may be stored")
            }
            StoreErrorKind::BrokenPipe => disconnected(),
            StoreErrorKind::MaxAckPending => Status::resource_exhausted("too many messages are on their way"),
            StoreErrorKind::MaxPayloadExceeded => too_large_for_nats(),
            StoreErrorKind::Other => from_source(&self, "the message could not be stored"),
        }
    }
}

impl IntoStatus for ApiError {
    fn into_status(self) -> Status {
        let error = match self {
            Self::Server(error) => return error.into_status(),
            error => error,
        };
        debug!(%error, "a request to JetStream failed");
        match error {
            Self::TimedOut(_) => jetstream_late(),
            Self::NoResponders => no_jetstream(),
            Self::TooLarge => too_large_for_nats(),
            Self::InvalidSubject => invalid_subject(),
            Self::Encode(_) => Status::internal("no JSON"),
            Self::Malformed => Status::internal("an answer of JetStream that cannot be read"),
            Self::Server(_) | Self::Disconnected | Self::Client(_) => disconnected(),
        }
    }
}

impl IntoStatus for jetstream::Error {
    fn into_status(self) -> Status {
        debug!(error = %self, "JetStream refused");
        api(self.error_code().0, self.code())
    }
}

impl IntoStatus for LastRawMessageError {
    fn into_status(self) -> Status {
        match self.kind() {
            LastRawMessageErrorKind::NoMessageFound => Status::not_found("no such message"),
            LastRawMessageErrorKind::JetStream(error) => error.into_status(),
            _ => no_jetstream(),
        }
    }
}

/// An error whose kinds hide what JetStream said: what its sources tell.
pub(crate) fn from_source(error: &(dyn StdError + 'static), otherwise: &'static str) -> Status {
    refusal(error)
        .map_or_else(|| Status::unavailable(otherwise), |refusal| api(refusal.error_code().0, refusal.code()))
}

/// Whether something was not stored because the last of its subject is another than was expected.
pub(crate) fn is_mismatch(error: &jetstream::context::PublishError) -> bool {
    refusal(error).is_some_and(|refusal| ApiError::Server(refusal.clone()).is_conflict())
}

/// What JetStream said, if it did.
fn refusal<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a jetstream::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref::<jetstream::Error>() {
            return Some(refusal);
        }
        next = match error.downcast_ref::<std::io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// What is not found is none.
pub(crate) fn if_found<T>(result: Result<T, Status>) -> Result<Option<T>, Status> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// JetStream is not there.
pub(crate) fn no_jetstream() -> Status {
    Status::unavailable("JetStream is not available")
}

/// JetStream is there, and slow.
pub(crate) fn jetstream_late() -> Status {
    Status::deadline_exceeded("JetStream did not answer in time")
}

/// What is there has nobody to answer for it, as in a cluster while its servers elect a leader.
pub(crate) fn no_leader() -> Status {
    Status::unavailable("there is no leader at the moment")
}

/// JetStream's own error codes, and the HTTP-like class that it gives besides.
fn api(error: u64, class: usize) -> Status {
    let (code, message) = match error {
        10059 => (Code::NotFound, "no such stream"),
        10014 | 10149 => (Code::NotFound, "no such consumer"),
        10037 | 10043 => (Code::NotFound, "no such message"),
        10058 => (Code::AlreadyExists, "there is a stream of this name with another configuration"),
        // The first is that of a change which cannot be made.
        10012 | 10013 | 10105 | 10106 | 10148 => {
            (Code::AlreadyExists, "there is a consumer of this name with another configuration")
        }
        10065 => (Code::FailedPrecondition, "the subjects are those of another stream"),
        10060 => (Code::FailedPrecondition, "the subject is not one of this stream"),
        10063 | 10070 | 10071 | 10164 => {
            (Code::FailedPrecondition, "the stream is not at the expected message")
        }
        10109 => (Code::FailedPrecondition, "the stream takes no more messages"),
        10074 => (Code::FailedPrecondition, "this NATS server has no cluster for replicas"),
        10099 | 10100 => (Code::FailedPrecondition, "another consumer takes these messages"),
        10026 => (Code::ResourceExhausted, "there are as many consumers as there may be"),
        10027 => (Code::ResourceExhausted, "there are as many streams as there may be"),
        10002 | 10023 | 10028 | 10047 => (Code::ResourceExhausted, "there is no room left for it"),
        10077 => (Code::ResourceExhausted, "the stream is full"),
        10054 => (Code::ResourceExhausted, "the message is larger than the stream takes"),
        10097 => (Code::ResourceExhausted, "the headers are over JetStream's limit of 65536 bytes"),
        10122 => (Code::ResourceExhausted, "the message limit of the account is too small for it"),
        10093 => (Code::InvalidArgument, "the filter is outside the stream's subjects"),
        10039 | 10076 | 10035 => return no_jetstream(),
        10005 | 10007 | 10008 | 10009 | 10041 | 10118 | 10119 | 10167 | 10194 | 10195 => {
            (Code::Unavailable, "JetStream cannot do it at the moment")
        }
        // Of class 500, though it is the request that is wrong.
        10052 => (Code::InvalidArgument, "JetStream does not take this configuration"),
        _ => match class {
            400 => (Code::InvalidArgument, "JetStream does not take this configuration"),
            404 => (Code::NotFound, "there is no such thing"),
            408 => return jetstream_late(),
            503 => (Code::Unavailable, "JetStream cannot do it at the moment"),
            _ => (Code::Internal, "JetStream failed"),
        },
    };
    match message {
        "JetStream does not take this configuration" | "JetStream failed" => {
            Status::new(code, format!("{message} (error {error})"))
        }
        message => Status::new(code, message),
    }
}
