//! What becomes of requests, told under their ids: the status resource.

mod paths;
mod response;

use http::{HeaderValue, Method, Response, header, request};
use narun_core::{Body, ExchangeId, Failure, FailureContext, FailureKind};
use narun_nats::jetstream::OutcomeState;
use tokio::time::{Instant, timeout_at};

use crate::Gateway;
use crate::idempotency::failure;

pub(crate) use paths::StatusPaths;
pub(crate) use response::{accepted, stored};

/// The methods of a status resource.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// Answers a request for the status of the request that `id` names.
pub(crate) async fn respond(gateway: Gateway, parts: request::Parts) -> Response<Body> {
    let reading = parts.method == Method::GET || parts.method == Method::HEAD;
    let outcome =
        if reading { status(&gateway, &parts).await } else { Err(FailureKind::MethodNotAllowed.into()) };
    let mut response = outcome.unwrap_or_else(|failure| {
        tracing::debug!(%failure, path = parts.uri.path(), "no status");
        gateway.respond(&failure, &FailureContext::of_request(&parts.method, &parts.headers))
    });
    if !reading {
        response.headers_mut().insert(header::ALLOW, ALLOW);
    }
    if parts.method == Method::HEAD { response::without_content(response) } else { response }
}

async fn status(gateway: &Gateway, parts: &request::Parts) -> Result<Response<Body>, Failure> {
    let id: ExchangeId = gateway
        .status()
        .id_of(parts.uri.path())
        .and_then(|id| id.parse().ok())
        .ok_or(FailureKind::UnknownRequest)?;
    if gateway.is_disconnected() {
        return Err(FailureKind::Disconnected.into());
    }
    let deadline = Instant::now() + gateway.timeout();
    let kept = timeout_at(deadline, async {
        let outcomes = gateway.store().outcomes().await?;
        outcomes.get(id).await.map_err(|error| failure(&error))
    });
    let kept = kept.await.map_err(|_| FailureKind::JetStreamUnavailable)??;
    let scope = gateway.scope(parts);
    // Another caller is not even told that there is something.
    let outcome = kept
        .map(|kept| kept.outcome)
        .filter(|outcome| outcome.scope == scope)
        .ok_or(FailureKind::UnknownRequest)?;
    match outcome.state {
        OutcomeState::Done { response } => stored(&response, gateway.endpoint().limits()),
        OutcomeState::Pending { .. } => Ok(response::pending(&id)),
    }
}
