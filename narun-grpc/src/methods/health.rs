//! HealthCheck.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::connection::State;
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::convert::timestamp;
use crate::state::ServiceState;
use crate::{Connection, Method, pb};

/// How long JetStream may take to respond.
const LIMIT: Duration = Duration::from_secs(2);

pub(crate) async fn check(
    state: &Arc<ServiceState>,
    request: Request<pb::NatsHealthCheckRequest>,
) -> Result<Response<pb::NatsHealthCheckResponse>, Status> {
    let (metadata, extensions, request) = request.into_parts();
    let work = async { Ok(look(&state.connection, request.deep_check).await) };
    state.anonymous(Method::HealthCheck, &metadata, &extensions, work).await
}

async fn look(connection: &Connection, deep: bool) -> pb::NatsHealthCheckResponse {
    let reached = connection.round_trip().await;
    let jetstream = match deep && reached {
        true => Some(ask_jetstream(connection).await),
        false => None,
    };
    let message = match (reached, &jetstream) {
        (false, _) => "no response from NATS",
        (true, Some(Err(status))) => status.message(),
        (true, _) => "",
    };
    pb::NatsHealthCheckResponse {
        healthy: message.is_empty(),
        nats_status: match connection.client().connection_state() {
            State::Connected => "connected",
            State::Pending => "pending",
            State::Disconnected => "disconnected",
        }
        .to_owned(),
        jetstream_enabled: matches!(jetstream, Some(Ok(()))),
        connections: i32::from(connection.client().connection_state() == State::Connected),
        checked_at: Some(timestamp(SystemTime::now())),
        message: message.to_owned(),
    }
}

async fn ask_jetstream(connection: &Connection) -> Result<(), Status> {
    let info = connection.api::<serde_json::Value>("INFO".to_owned(), &());
    let response = timeout(LIMIT, info).await;
    response.unwrap_or_else(|_| Err(Status::unavailable("no response from JetStream"))).map(drop)
}
