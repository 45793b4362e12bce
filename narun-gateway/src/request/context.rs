use http::{HeaderValue, Method, Version, request};
use narun_core::{ExchangeId, FailureContext};
use tokio::time::Instant;

use crate::forward::request_id::RequestId;
use crate::route::compiled::CompiledRoute;

/// What the response to a request depends on after its head was sent, small enough to keep.
#[derive(Debug)]
pub(super) struct RequestContext {
    pub(super) method: Method,
    /// When a gRPC response has to end. `None` if there is no limit, or if the client cannot receive trailers.
    pub(super) deadline: Option<Instant>,
    identity: RequestIdentity,
    grpc: bool,
}

/// The `X-Request-Id` of a request. It is made when it is needed, as most requests need none here.
#[derive(Clone, Debug)]
pub(super) struct RequestIdentity {
    /// The client's one. `None` if it is not passed on.
    given: Option<HeaderValue>,
    id: ExchangeId,
}

impl RequestContext {
    /// The context of a request that came in at `now`.
    pub(super) fn new(parts: &request::Parts, id: ExchangeId, route: &CompiledRoute, now: Instant) -> Self {
        let identity = RequestIdentity { given: RequestId::passed_on(&parts.headers).cloned(), id };
        let grpc = FailureContext::is_grpc(&parts.headers);
        // Clients of older versions may take the end of the content for the end of the response, and miss the trailers.
        let has_trailers = grpc && parts.version >= Version::HTTP_2;
        let limit = route.total_timeout(&parts.headers).filter(|_| has_trailers);
        Self { method: parts.method.clone(), deadline: limit.map(|limit| now + limit), identity, grpc }
    }

    /// What a failure's response depends on.
    pub(super) fn of_failure(&self) -> FailureContext {
        FailureContext::new(self.method.clone(), Some(self.identity.request_id()), self.grpc)
    }

    pub(super) const fn identity(&self) -> &RequestIdentity {
        &self.identity
    }
}

impl RequestIdentity {
    /// The request's `X-Request-Id`, as its handler gets it.
    pub(super) fn request_id(&self) -> HeaderValue {
        self.given.clone().unwrap_or_else(|| RequestId::made(&self.id))
    }
}
