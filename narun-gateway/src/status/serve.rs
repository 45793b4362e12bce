use std::sync::Arc;

use http::{HeaderValue, Method, Response, header, request};
use narun_core::{Body, ExchangeId, Failure, FailureKind};
use narun_nats::jetstream::OutcomeState;
use tokio::time::{Instant, timeout_at};

use super::response;
use super::response::stored;
use crate::forward::request_id;
use crate::idempotency::{failure, not_kept};
use crate::state::GatewayState;

/// The methods of a status resource.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// Responds to a request for a status resource.
///
/// `problem` says what is wrong with the request's host. `None` if nothing is.
pub(crate) async fn respond(
    state: Arc<GatewayState>,
    parts: request::Parts,
    problem: Option<&'static str>,
) -> Response<Body> {
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    let outcome = match problem {
        Some(problem) => Err(Failure::new(FailureKind::InvalidHead).with_detail(problem)),
        None if is_read => status(&state, &parts).await,
        None => Err(FailureKind::MethodNotAllowed.into()),
    };
    let context = request_id::unrouted_context(&parts.method, &parts.headers);
    let mut response = outcome.unwrap_or_else(|failure| {
        state.failures().no_status(&failure, context.request_id.as_ref());
        let mut response = state.respond(&failure, &context);
        response::not_cached(response.headers_mut());
        response
    });
    request_id::complete(&mut response, context.request_id.as_ref());
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
