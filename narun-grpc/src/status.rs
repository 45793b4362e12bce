//! The table from errors to gRPC statuses.
//!
//! Messages use the caller's terms. Error texts of NATS may have names of other tenants, so they are logged at debug and
//! never passed on.

use std::error::Error as StdError;

use async_nats::client::{PublishErrorKind, SubscribeErrorKind};
use async_nats::jetstream;
use async_nats::jetstream::context::PublishErrorKind as StoreErrorKind;
use async_nats::jetstream::stream::{LastRawMessageError, LastRawMessageErrorKind};
use narun_nats::jetstream::ApiError;
use tonic::{Code, Status};
use tracing::debug;

use crate::tenant::TenantError;

/// The call timed out.
pub(crate) fn late() -> Status {
    Status::deadline_exceeded("the call timed out")
}

/// NATS cannot be reached.
pub(crate) fn disconnected() -> Status {
    Status::unavailable("no connection to NATS")
}

/// The connection to NATS was lost while a call waited for a response.
pub(crate) fn lost() -> Status {
    Status::unavailable("the connection to NATS was lost; the call may have been done")
}

/// A tenant has reached a quota.
pub(crate) fn over_quota(what: &str, limit: impl std::fmt::Display) -> Status {
    Status::resource_exhausted(format!("over the limit of {limit} {what}"))
}

/// A message is larger than the NATS server takes.
pub(crate) fn too_large(size: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!("a message of {size} bytes is over the limit of {limit}"))
}

/// A response that clients do not take.
pub(crate) fn response_too_large(size: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!("a response of {size} bytes is over the limit of {limit}"))
}

fn too_large_for_nats() -> Status {
    Status::resource_exhausted("the message is larger than the NATS server takes")
}

fn invalid_subject() -> Status {
    Status::invalid_argument("invalid subject")
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
            SubscribeErrorKind::InvalidQueueName => Status::invalid_argument("invalid queue group"),
            SubscribeErrorKind::Other => disconnected(),
        }
    }
}

impl IntoStatus for jetstream::context::PublishError {
    fn into_status(self) -> Status {
        debug!(error = %self, "JetStream publish failed");
        match self.kind() {
            // Callers handle a missing stream themselves.
            StoreErrorKind::StreamNotFound => no_leader(),
            StoreErrorKind::WrongLastMessageId | StoreErrorKind::WrongLastSequence => {
                Status::failed_precondition("the stream is not at the expected message")
            }
            StoreErrorKind::TimedOut => {
                Status::deadline_exceeded("JetStream did not confirm in time; the message may be stored")
            }
            StoreErrorKind::BrokenPipe => disconnected(),
            StoreErrorKind::MaxAckPending => {
                Status::resource_exhausted("too many messages wait for an acknowledgement")
            }
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
            // The multiplexer notifies of no denials: what is denied gets no response.
            Self::TimedOut(_) | Self::NoResponse { .. } | Self::Denied(_) => jetstream_late(),
            Self::NoResponders | Self::NoLeader => no_jetstream(),
            Self::TooLarge => too_large_for_nats(),
            Self::InvalidSubject => invalid_subject(),
            Self::Encode(_) => Status::internal("the request could not be encoded"),
            Self::Malformed => Status::internal("JetStream sent a malformed response"),
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

/// An error whose kind hides the JetStream error: finds it among the sources.
pub(crate) fn from_source(error: &(dyn StdError + 'static), otherwise: &'static str) -> Status {
    refusal(error)
        .map_or_else(|| Status::unavailable(otherwise), |refusal| api(refusal.error_code().0, refusal.code()))
}

/// Whether a message was not stored because the last message of its subject is not the expected one.
pub(crate) fn is_mismatch(error: &jetstream::context::PublishError) -> bool {
    refusal(error).is_some_and(|refusal| ApiError::Server(refusal.clone()).is_conflict())
}

/// The JetStream error among the sources of an error.
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

/// Turns NOT_FOUND into `None`.
pub(crate) fn if_found<T>(result: Result<T, Status>) -> Result<Option<T>, Status> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// JetStream is not available.
pub(crate) fn no_jetstream() -> Status {
    Status::unavailable("JetStream is not available")
}

/// JetStream did not respond in time.
pub(crate) fn jetstream_late() -> Status {
    Status::deadline_exceeded("JetStream did not respond in time")
}

/// JetStream did not respond to a look-up, as when there is no leader that could.
pub(crate) fn silent() -> Status {
    Status::unavailable("JetStream does not respond at the moment")
}

/// A consumer was deleted and created again while a call used it.
pub(crate) fn replaced() -> Status {
    Status::aborted("the stream or consumer was created again meanwhile")
}

/// A stream or consumer has no leader, as during an election in a cluster.
pub(crate) fn no_leader() -> Status {
    Status::unavailable("there is no leader at the moment")
}

/// The status of a JetStream error, by its code, or else by its HTTP-like class.
fn api(error: u64, class: usize) -> Status {
    let (code, message) = match error {
        10059 => (Code::NotFound, "no such stream"),
        10014 | 10149 => (Code::NotFound, "no such consumer"),
        10037 | 10043 => (Code::NotFound, "no such message"),
        10058 => (Code::AlreadyExists, "a stream of this name exists with another configuration"),
        // The first code is that of an update that is not possible.
        10012 | 10013 | 10105 | 10106 | 10148 => {
            (Code::AlreadyExists, "a consumer of this name exists with another configuration")
        }
        10065 => (Code::FailedPrecondition, "the subjects overlap with another stream"),
        10060 => (Code::FailedPrecondition, "the subject is not one of this stream"),
        10063 | 10070 | 10071 | 10164 => {
            (Code::FailedPrecondition, "the stream is not at the expected message")
        }
        10109 => (Code::FailedPrecondition, "the stream takes no more messages"),
        10074 => (Code::FailedPrecondition, "this NATS server has no cluster for replicas"),
        10099 | 10100 => (Code::FailedPrecondition, "another consumer has this filter"),
        10026 => (Code::ResourceExhausted, "the account has reached its limit of consumers"),
        10027 => (Code::ResourceExhausted, "the account has reached its limit of streams"),
        10002 | 10023 | 10028 | 10047 => (Code::ResourceExhausted, "there is not enough storage"),
        10077 => (Code::ResourceExhausted, "the stream is full"),
        10054 => (Code::ResourceExhausted, "the message is larger than the stream takes"),
        10097 => (Code::ResourceExhausted, "the headers are over JetStream's limit of 65536 bytes"),
        10122 => (Code::ResourceExhausted, "the message limit of the account is too small"),
        10093 => (Code::InvalidArgument, "the filter is outside the stream's subjects"),
        10039 | 10076 | 10035 => return no_jetstream(),
        10005 | 10007 | 10008 | 10009 | 10041 | 10118 | 10119 | 10167 | 10194 | 10195 => {
            (Code::Unavailable, "JetStream is temporarily unavailable")
        }
        // Its class is 500, but the request is invalid.
        10052 => (Code::InvalidArgument, "JetStream refused the configuration"),
        _ => match class {
            400 => (Code::InvalidArgument, "JetStream refused the configuration"),
            404 => (Code::NotFound, "not found"),
            408 => return jetstream_late(),
            503 => (Code::Unavailable, "JetStream is temporarily unavailable"),
            _ => (Code::Internal, "JetStream failed"),
        },
    };
    match message {
        "JetStream refused the configuration" | "JetStream failed" => {
            Status::new(code, format!("{message} (error {error})"))
        }
        message => Status::new(code, message),
    }
}
