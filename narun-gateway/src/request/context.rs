use http::{HeaderValue, Method, Version, request};
use narun_core::{ExchangeId, FailureContext};
use tokio::time::Instant;

use crate::forward::request_id;
use crate::route::compiled::CompiledRoute;

/// What the response to a request depends on after its head was sent, small enough to keep.
#[derive(Debug)]
pub(super) struct RequestContext {
    pub(super) method: Method,
    /// When a gRPC response has to end. `None` if there is no limit, or if the client cannot receive trailers.
    pub(super) deadline: Option<Instant>,
    /// The `X-Request-Id` of the request, and of its response if that has none.
    pub(super) request_id: HeaderValue,
    grpc: bool,
}

impl RequestContext {
    /// The context of a request that came in at `now`.
    pub(super) fn new(parts: &request::Parts, id: &ExchangeId, route: &CompiledRoute, now: Instant) -> Self {
        let request_id = request_id::of_request(&parts.headers, id);
        let grpc = FailureContext::is_grpc(&parts.headers);
        // Clients of older versions may take the end of the content for the end of the response, and miss the trailers.
        let has_trailers = grpc && parts.version >= Version::HTTP_2;
        let limit = route.total_timeout(&parts.headers).filter(|_| has_trailers);
        Self { method: parts.method.clone(), deadline: limit.map(|limit| now + limit), request_id, grpc }
    }

    /// What a failure's response depends on.
    pub(super) fn of_failure(&self) -> FailureContext {
        FailureContext::new(self.method.clone(), Some(self.request_id.clone()), self.grpc)
    }
}
