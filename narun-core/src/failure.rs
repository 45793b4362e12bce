mod response;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

pub use response::FailureContext;

/// The failure of a request that got no response from its handler. [`Failure::to_response`] makes the response instead.
///
/// `Display` is the text for the HTTP client; [`Failure::cause`] is for the log.
///
/// | kind | HTTP | gRPC |
/// |---|---|---|
/// | [`NoRoute`](FailureKind::NoRoute) | 404 | unimplemented |
/// | [`MethodNotAllowed`](FailureKind::MethodNotAllowed) | 405 | unimplemented |
/// | [`NotImplemented`](FailureKind::NotImplemented) | 501 | unimplemented |
/// | [`InvalidHead`](FailureKind::InvalidHead) | 400 | internal |
/// | [`BadRequest`](FailureKind::BadRequest) | 400 | internal |
/// | [`RequestTimedOut`](FailureKind::RequestTimedOut) | 408 | deadline exceeded |
/// | [`ContentTooLarge`](FailureKind::ContentTooLarge) | 413 | resource exhausted |
/// | [`UriTooLong`](FailureKind::UriTooLong) | 414 | resource exhausted |
/// | [`FieldsTooLarge`](FailureKind::FieldsTooLarge) | 431 | resource exhausted |
/// | [`NoConsumer`](FailureKind::NoConsumer) | 503, Retry-After | unavailable |
/// | [`Overloaded`](FailureKind::Overloaded) | 503, Retry-After | unavailable |
/// | [`Draining`](FailureKind::Draining) | 503, Retry-After | unavailable |
/// | [`Disconnected`](FailureKind::Disconnected) | 503, Retry-After | unavailable |
/// | [`NotPermitted`](FailureKind::NotPermitted) | 503, Retry-After | unavailable |
/// | [`Incompatible`](FailureKind::Incompatible) | 502 | internal |
/// | [`BadResponse`](FailureKind::BadResponse) | 502 | internal |
/// | [`ConsumerGone`](FailureKind::ConsumerGone) | 502 | unavailable |
/// | [`ConnectionLost`](FailureKind::ConnectionLost) | 502 | unavailable |
/// | [`TimedOut`](FailureKind::TimedOut) | 504 | deadline exceeded |
/// | [`HandlerFailed`](FailureKind::HandlerFailed) | 500 | internal |
/// | [`TooManyBodies`](FailureKind::TooManyBodies) | 503, Retry-After | unavailable |
/// | [`StreamFull`](FailureKind::StreamFull) | 503, Retry-After | unavailable |
/// | [`StreamMissing`](FailureKind::StreamMissing) | 503, Retry-After | unavailable |
/// | [`JetStreamUnavailable`](FailureKind::JetStreamUnavailable) | 503, Retry-After | unavailable |
/// | [`NoLeader`](FailureKind::NoLeader) | 503, Retry-After | unavailable |
/// | [`NotConfirmed`](FailureKind::NotConfirmed) | 504 | deadline exceeded |
/// | [`ResponseLate`](FailureKind::ResponseLate) | 504 | deadline exceeded |
/// | [`Expired`](FailureKind::Expired) | 504 | deadline exceeded |
/// | [`KeyReused`](FailureKind::KeyReused) | 422 | failed precondition |
/// | [`InProgress`](FailureKind::InProgress) | 409 | aborted |
/// | [`BadIdempotencyKey`](FailureKind::BadIdempotencyKey) | 400 | invalid argument |
/// | [`UnknownRequest`](FailureKind::UnknownRequest) | 404 | not found |
/// | [`ResponseNotKept`](FailureKind::ResponseNotKept) | 410 | data loss |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    detail: Option<Cow<'static, str>>,
    cause: Option<Box<str>>,
    retry_after: Option<Duration>,
}

/// The cause of a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// No route has this host and path.
    NoRoute,
    /// Routes have this host and path, but not the method.
    MethodNotAllowed,
    /// The request is a CONNECT or an `Upgrade: websocket`, or has a transfer coding other than `chunked`.
    NotImplemented,
    /// The request's `Host` or target is missing, repeated or invalid.
    InvalidHead,
    /// The request's body broke off before its end.
    BadRequest,
    /// The request's body did not arrive in time.
    RequestTimedOut,
    /// The request's body is over the limit.
    ContentTooLarge,
    /// The request's target is over the limit.
    UriTooLong,
    /// The request's fields are over a limit.
    FieldsTooLarge,
    /// No consumer subscribes to the app's subject.
    NoConsumer,
    /// Every consumer that was asked has neither a slot nor a place in its queue.
    Overloaded,
    /// Every consumer that was asked is stopping.
    Draining,
    /// The gateway is not connected to NATS.
    Disconnected,
    /// The gateway's NATS user lacks the permission to publish the request.
    NotPermitted,
    /// The consumer supports no common protocol version, or could not decode the request.
    Incompatible,
    /// The response could not be decoded, had a gap, or broke off before its head.
    BadResponse,
    /// The consumer had taken the request and is gone.
    ConsumerGone,
    /// The connection to NATS was lost while the gateway waited for the response.
    ConnectionLost,
    /// No response arrived before the deadline.
    TimedOut,
    /// The handler panicked or returned an error.
    HandlerFailed,
    /// Durable: the gateway receives so many bodies that it has no memory for another one.
    TooManyBodies,
    /// Durable: the stream, or the account, is full.
    StreamFull,
    /// Durable: no stream captures the request.
    StreamMissing,
    /// Durable: JetStream is not available.
    JetStreamUnavailable,
    /// Durable: JetStream, or the stream, has no leader, as too many servers of the cluster are missing.
    NoLeader,
    /// Durable: the stream did not acknowledge the request in time. The request may be stored.
    NotConfirmed,
    /// Durable: the request is stored and will be executed, but its response did not arrive in time.
    ResponseLate,
    /// Durable: the request expired before it was executed.
    Expired,
    /// Durable: the same `Idempotency-Key` was used for another request.
    KeyReused,
    /// Durable: a request with the same `Idempotency-Key` is in progress.
    InProgress,
    /// The `Idempotency-Key` is invalid.
    BadIdempotencyKey,
    /// The request whose outcome is asked for is unknown, or its outcome has expired.
    UnknownRequest,
    /// Durable: the request was done, but there was no room to store its response.
    ResponseNotKept,
}

/// A gRPC status code, as in the field `grpc-status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrpcCode(u8);

impl GrpcCode {
    /// INVALID_ARGUMENT, 3.
    pub const INVALID_ARGUMENT: Self = Self(3);
    /// DEADLINE_EXCEEDED, 4.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// NOT_FOUND, 5.
    pub const NOT_FOUND: Self = Self(5);
    /// RESOURCE_EXHAUSTED, 8.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// FAILED_PRECONDITION, 9.
    pub const FAILED_PRECONDITION: Self = Self(9);
    /// ABORTED, 10.
    pub const ABORTED: Self = Self(10);
    /// UNIMPLEMENTED, 12.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// INTERNAL, 13.
    pub const INTERNAL: Self = Self(13);
    /// UNAVAILABLE, 14.
    pub const UNAVAILABLE: Self = Self(14);
    /// DATA_LOSS, 15.
    pub const DATA_LOSS: Self = Self(15);

    /// Returns the number of the code.
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

impl FailureKind {
    /// Returns the row of the table: HTTP status, gRPC status, whether the response has `Retry-After`, and a text.
    const fn row(self) -> (StatusCode, GrpcCode, bool, &'static str) {
        type S = StatusCode;
        type G = GrpcCode;
        match self {
            Self::NoRoute => (S::NOT_FOUND, G::UNIMPLEMENTED, false, "no route for this host and path"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, G::UNIMPLEMENTED, false, "method not allowed here")
            }
            Self::NotImplemented => (S::NOT_IMPLEMENTED, G::UNIMPLEMENTED, false, "not implemented"),
            Self::InvalidHead => (S::BAD_REQUEST, G::INTERNAL, false, "the request's head is invalid"),
            Self::BadRequest => (S::BAD_REQUEST, G::INTERNAL, false, "the request's body broke off"),
            Self::RequestTimedOut => {
                (S::REQUEST_TIMEOUT, G::DEADLINE_EXCEEDED, false, "the request's body did not come in time")
            }
            Self::ContentTooLarge => {
                (S::PAYLOAD_TOO_LARGE, G::RESOURCE_EXHAUSTED, false, "the request's body is too large")
            }
            Self::UriTooLong => {
                (S::URI_TOO_LONG, G::RESOURCE_EXHAUSTED, false, "the request target is too long")
            }
            Self::FieldsTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                G::RESOURCE_EXHAUSTED,
                false,
                "the request's fields are too large",
            ),
            Self::NoConsumer => (S::SERVICE_UNAVAILABLE, G::UNAVAILABLE, true, "no consumer is running"),
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, G::UNAVAILABLE, true, "all consumers are busy"),
            Self::Draining => (S::SERVICE_UNAVAILABLE, G::UNAVAILABLE, true, "the consumer is stopping"),
            Self::Disconnected => (S::SERVICE_UNAVAILABLE, G::UNAVAILABLE, true, "not connected to NATS"),
            Self::NotPermitted => (
                S::SERVICE_UNAVAILABLE,
                G::UNAVAILABLE,
                true,
                "the gateway lacks a permission for this request",
            ),
            Self::Incompatible => {
                (S::BAD_GATEWAY, G::INTERNAL, false, "the consumer does not understand this gateway")
            }
            Self::BadResponse => (S::BAD_GATEWAY, G::INTERNAL, false, "the consumer's response is invalid"),
            Self::ConsumerGone => {
                (S::BAD_GATEWAY, G::UNAVAILABLE, false, "the consumer went away while it was working")
            }
            Self::ConnectionLost => {
                (S::BAD_GATEWAY, G::UNAVAILABLE, false, "the connection to NATS was lost while waiting")
            }
            Self::TimedOut => (S::GATEWAY_TIMEOUT, G::DEADLINE_EXCEEDED, false, "no response in time"),
            Self::HandlerFailed => (S::INTERNAL_SERVER_ERROR, G::INTERNAL, false, "the handler failed"),
            Self::TooManyBodies => {
                (S::SERVICE_UNAVAILABLE, G::UNAVAILABLE, true, "the gateway receives too many bodies")
            }
            Self::StreamFull => (S::SERVICE_UNAVAILABLE, G::UNAVAILABLE, true, "the stream is full"),
            Self::StreamMissing => {
                (S::SERVICE_UNAVAILABLE, G::UNAVAILABLE, true, "there is no stream for this request")
            }
            Self::JetStreamUnavailable => {
                (S::SERVICE_UNAVAILABLE, G::UNAVAILABLE, true, "JetStream does not work at the moment")
            }
            Self::NoLeader => (S::SERVICE_UNAVAILABLE, G::UNAVAILABLE, true, "JetStream has no leader"),
            Self::NotConfirmed => (
                S::GATEWAY_TIMEOUT,
                G::DEADLINE_EXCEEDED,
                false,
                "no confirmation in time: the request may have been accepted",
            ),
            Self::ResponseLate => (
                S::GATEWAY_TIMEOUT,
                G::DEADLINE_EXCEEDED,
                false,
                "the request is accepted and will be done, but was not answered in time",
            ),
            Self::Expired => {
                (S::GATEWAY_TIMEOUT, G::DEADLINE_EXCEEDED, false, "the request expired before it was run")
            }
            Self::KeyReused => (
                S::UNPROCESSABLE_ENTITY,
                G::FAILED_PRECONDITION,
                false,
                "the idempotency key was used for another request",
            ),
            Self::InProgress => {
                (S::CONFLICT, G::ABORTED, false, "the request with this idempotency key is not done yet")
            }
            Self::BadIdempotencyKey => {
                (S::BAD_REQUEST, G::INVALID_ARGUMENT, false, "the idempotency key cannot be used")
            }
            Self::UnknownRequest => (S::NOT_FOUND, G::NOT_FOUND, false, "nothing is known of this request"),
            Self::ResponseNotKept => (
                S::GONE,
                G::DATA_LOSS,
                false,
                "the request was done, but there was no room to keep its response",
            ),
        }
    }
}

impl Failure {
    /// The `Retry-After` of failures that do not state one: 1 s.
    pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

    /// Creates a failure of this kind without a detail and a cause.
    pub const fn new(kind: FailureKind) -> Self {
        Self { kind, detail: None, cause: None, retry_after: None }
    }

    /// Adds a text for people. The HTTP client sees it, so it must not have names of streams, subjects or servers, nor
    /// texts of other processes: these are a [cause](Self::with_cause). Default none.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what led to the failure, for the operator: it is logged, and is neither in the response nor in `Display`. Default
    /// none.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<str>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Sets the time after which the client may retry; `None` means [`Failure::DEFAULT_RETRY_AFTER`]. Ignored by kinds
    /// without `Retry-After`.
    #[must_use]
    pub const fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Returns the cause.
    pub const fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns what led to the failure, which the HTTP client must not see. Returns `None` if nothing more is known.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Returns the status for an HTTP client.
    pub const fn status(&self) -> StatusCode {
        self.kind.row().0
    }

    /// Returns the status code for a gRPC client.
    pub const fn grpc_code(&self) -> GrpcCode {
        self.kind.row().1
    }

    /// Returns the value of `Retry-After`, or `None` if a retry is no more likely to succeed.
    pub fn retry_after(&self) -> Option<Duration> {
        self.kind.row().2.then(|| self.retry_after.unwrap_or(Self::DEFAULT_RETRY_AFTER))
    }
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.row().3)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    /// All kinds, as Rust cannot list the variants of an enum.
    const ALL: [FailureKind; 33] = {
        use FailureKind::*;
        [
            NoRoute,
            MethodNotAllowed,
            NotImplemented,
            InvalidHead,
            BadRequest,
            RequestTimedOut,
            ContentTooLarge,
            UriTooLong,
            FieldsTooLarge,
            NoConsumer,
            Overloaded,
            Draining,
            Disconnected,
            NotPermitted,
            Incompatible,
            BadResponse,
            ConsumerGone,
            ConnectionLost,
            TimedOut,
            HandlerFailed,
            TooManyBodies,
            StreamFull,
            StreamMissing,
            JetStreamUnavailable,
            NoLeader,
            NotConfirmed,
            ResponseLate,
            Expired,
            KeyReused,
            InProgress,
            BadIdempotencyKey,
            UnknownRequest,
            ResponseNotKept,
        ]
    };

    fn words(code: GrpcCode) -> &'static str {
        match code.as_u8() {
            3 => "invalid argument",
            4 => "deadline exceeded",
            5 => "not found",
            8 => "resource exhausted",
            9 => "failed precondition",
            10 => "aborted",
            12 => "unimplemented",
            13 => "internal",
            14 => "unavailable",
            15 => "data loss",
            other => panic!("{other} is in no row"),
        }
    }

    #[test]
    fn the_table_matches_its_documentation() {
        let documented: Vec<_> =
            include_str!("failure.rs").lines().filter(|line| line.starts_with("/// | [`")).collect();
        let rows = ALL.map(|kind| {
            let failure = Failure::new(kind);
            let retry_after = if failure.retry_after().is_some() { ", Retry-After" } else { "" };
            let (status, grpc) = (failure.status().as_u16(), words(failure.grpc_code()));
            format!("/// | [`{kind:?}`](FailureKind::{kind:?}) | {status}{retry_after} | {grpc} |")
        });
        assert_eq!(rows[..], documented);
    }

    #[test]
    fn every_kind_has_a_text_of_its_own() {
        let mut texts = ALL.map(|kind| Failure::new(kind).to_string()).to_vec();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), ALL.len());
    }
}
