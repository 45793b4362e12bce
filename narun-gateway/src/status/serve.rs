use std::sync::Arc;

use http::{HeaderValue, Method, Response, header, request};
use narun_core::{Body, ExchangeId, Failure, FailureContext, FailureKind};
use narun_nats::jetstream::OutcomeState;
use tokio::time::{Instant, timeout_at};

use super::response;
use super::response::stored;
use crate::idempotency::{failure, not_kept};
use crate::state::GatewayState;

/// The methods of a status resource.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// Responds to a request for a status resource.
pub(crate) async fn respond(state: Arc<GatewayState>, parts: request::Parts) -> Response<Body> {
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    let outcome =
        if is_read { status(&state, &parts).await } else { Err(FailureKind::MethodNotAllowed.into()) };
    let mut response = outcome.unwrap_or_else(|failure| {
        tracing::debug!(%failure, path = parts.uri.path(), "the status cannot be returned");
        state.respond(&failure, &FailureContext::of_request(&parts.method, &parts.headers))
    });
    if !is_read {
        response.headers_mut().insert(header::ALLOW, ALLOW);
    }
    if parts.method == Method::HEAD { response::without_content(response) } else { response }
}

async fn status(state: &GatewayState, parts: &request::Parts) -> Result<Response<Body>, Failure> {
    let id: ExchangeId = state
        .status()
        .id_of(parts.uri.path())
        .and_then(|id| id.parse().ok())
        .ok_or(FailureKind::UnknownRequest)?;
    if state.is_disconnected() {
        return Err(FailureKind::Disconnected.into());
    }
    let deadline = Instant::now() + state.timeout();
    let kept = timeout_at(deadline, async {
        let outcomes = state.store().outcomes().await?;
        outcomes.get(id).await.map_err(|error| failure(&error))
    });
    let kept = kept.await.map_err(|_| FailureKind::JetStreamUnavailable)??;
    let scope = state.scope(parts);
    // To other callers, the request does not exist.
    let outcome = kept
        .map(|kept| kept.outcome)
        .filter(|outcome| outcome.scope == scope)
        .ok_or(FailureKind::UnknownRequest)?;
    match outcome.state {
        OutcomeState::Done { response } => stored(&response, state.endpoint().limits()),
        OutcomeState::NotKept { status } => Err(not_kept(status)),
        OutcomeState::Pending { .. } => Ok(response::pending(&id)),
    }
}
