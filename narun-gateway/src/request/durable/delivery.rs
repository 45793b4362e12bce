use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, request};
use narun_core::frame::ResponseFrame;
use narun_core::{Body, ExchangeId, Failure};
use narun_nats::jetstream::body_digest;

use crate::held::HeldBytes;
use crate::jetstream::StoredBody;
use crate::route::compiled::{CompiledRoute, DurableRoute};
use crate::state::GatewayState;

/// A request that was received whole.
#[derive(Debug)]
pub(crate) struct DurableInput {
    /// The id for logs. It is also the id of the durable request, unless that has an `Idempotency-Key`.
    pub(crate) id: ExchangeId,
    /// The `X-Request-Id`.
    pub(crate) request_id: HeaderValue,
    pub(crate) parts: request::Parts,
    pub(crate) body: DurableBody,
    pub(crate) trailers: Option<HeaderMap>,
}

/// The body of a request that was received whole.
#[derive(Debug)]
pub(crate) enum DurableBody {
    /// In memory, which the budget counts.
    Inline { data: Bytes, held: HeldBytes },
    /// As an object. Boxed, because it is larger than a body in memory.
    Stored(Box<StoredBody>),
}

impl DurableBody {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Inline { data, .. } => data.len() as u64,
            Self::Stored(stored) => stored.object().size,
        }
    }

    /// The SHA-256 of the body.
    pub(crate) fn digest(&self) -> [u8; 32] {
        match self {
            Self::Inline { data, .. } => body_digest(data),
            Self::Stored(stored) => stored.object().digest,
        }
    }
}

/// Why there is no response, and where there may be one later.
#[derive(Debug)]
pub(crate) struct DurableFailure {
    pub(crate) failure: Failure,
    /// The status resource. `None` if there is no outcome record.
    pub(crate) location: Option<HeaderValue>,
}

impl<F: Into<Failure>> From<F> for DurableFailure {
    fn from(failure: F) -> Self {
        Self { failure: failure.into(), location: None }
    }
}

/// Handles one durable request. Each step is a method.
pub(super) struct DurableDelivery<'a> {
    pub(super) state: &'a GatewayState,
    pub(super) route: &'a CompiledRoute,
    pub(super) durable: &'a DurableRoute,
}

/// The response in a RESPONSE frame.
pub(super) fn response(frame: Box<ResponseFrame>) -> Response<Body> {
    Response::from_parts(frame.parts, Body::from(frame.body).with_trailers(frame.trailers))
}
