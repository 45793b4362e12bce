//! HealthCheck, and `grpc.health.v1`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::connection::State;
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::convert::timestamp;
use crate::service::Shared;
use crate::{Connection, Method, pb};

/// How long a round trip may take.
const LIMIT: Duration = Duration::from_secs(2);

pub(crate) async fn check(
    shared: &Arc<Shared>,
    request: Request<pb::NatsHealthCheckRequest>,
) -> Result<Response<pb::NatsHealthCheckResponse>, Status> {
    let (metadata, extensions, request) = request.into_parts();
    let work = async { Ok(look(&shared.connection, request.deep_check).await) };
    shared.anonymous(Method::HealthCheck, &metadata, &extensions, work).await
}

async fn look(connection: &Connection, deep: bool) -> pb::NatsHealthCheckResponse {
    let reached = round_trip(connection).await;
    let jetstream = match deep && reached {
        true => Some(ask_jetstream(connection).await),
        false => None,
    };
    let message = match (reached, &jetstream) {
        (false, _) => "NATS does not answer",
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

/// Whether a message to oneself comes back soon.
pub(crate) async fn round_trip(connection: &Connection) -> bool {
    let Ok(mark) = connection.mark() else { return false };
    matches!(timeout(LIMIT, connection.confirm(mark)).await, Ok(Ok(())))
}

async fn ask_jetstream(connection: &Connection) -> Result<(), Status> {
    let info = connection.api::<serde_json::Value>("INFO".to_owned(), &());
    let answer = timeout(LIMIT, info).await;
    answer.unwrap_or_else(|_| Err(Status::unavailable("JetStream does not answer"))).map(drop)
}

#[cfg(feature = "health")]
mod serving {
    use std::time::Duration;

    use tokio::task::AbortHandle;
    use tonic_health::ServingStatus;
    use tonic_health::pb::health_server::{Health, HealthServer};
    use tonic_health::server::{HealthReporter, health_reporter};

    use super::round_trip;
    use crate::{Connection, NatsService, SERVICE};

    /// How often the connection is looked at.
    const EVERY: Duration = Duration::from_secs(1);

    /// The names that the service's health is asked for by: the whole server, the contract's, and the one that
    /// clients of it look up.
    const NAMES: [&str; 3] = ["", SERVICE, "nats-service"];

    /// Keeps `grpc.health.v1` up to date until it is dropped.
    #[derive(Debug)]
    #[must_use = "health is not looked at any more once this is dropped"]
    pub struct HealthWatch(AbortHandle);

    impl Drop for HealthWatch {
        fn drop(&mut self) {
            self.0.abort();
        }
    }

    impl NatsService {
        /// `grpc.health.v1`, to be added to the server, with what keeps it up to date.
        ///
        /// The names `""`, `isa.nats.NATSService` and `nats-service` are SERVING while messages go to the NATS
        /// server and back, which is tried every second; else, and after [`end_streams`](Self::end_streams),
        /// NOT_SERVING.
        pub fn health(&self) -> (HealthServer<impl Health>, HealthWatch) {
            let (reporter, server) = health_reporter();
            let (connection, mut stopping) = (self.connection().clone(), self.0.stopping.subscribe());
            let watch = tokio::spawn(async move {
                tokio::select! {
                    () = follow(&connection, &reporter) => {}
                    // An error is that the service is gone, which is as good.
                    _ = stopping.wait_for(|stopping| *stopping) => {}
                }
                report(&reporter, ServingStatus::NotServing).await;
            });
            (server, HealthWatch(watch.abort_handle()))
        }
    }

    async fn follow(connection: &Connection, reporter: &HealthReporter) {
        report(reporter, ServingStatus::NotServing).await;
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before = false;
        loop {
            ticks.tick().await;
            let now = round_trip(connection).await;
            if now != before {
                let status = if now { ServingStatus::Serving } else { ServingStatus::NotServing };
                report(reporter, status).await;
                before = now;
            }
        }
    }

    async fn report(reporter: &HealthReporter, status: ServingStatus) {
        for name in NAMES {
            reporter.set_service_status(name, status).await;
        }
    }
}

#[cfg(feature = "health")]
pub use serving::HealthWatch;
