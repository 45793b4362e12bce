use std::time::Duration;

use tokio::task::AbortHandle;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

use crate::{Connection, NatsService, SERVICE};

/// How often the connection is checked.
const EVERY: Duration = Duration::from_secs(1);

/// The names that clients ask for: the whole server, the service of the contract, and the name that it is registered
/// by.
const NAMES: [&str; 3] = ["", SERVICE, "nats-service"];

/// Keeps `grpc.health.v1` up to date until it is dropped.
#[derive(Debug)]
#[must_use = "health is no longer updated once this is dropped"]
pub struct HealthWatch(AbortHandle);

impl Drop for HealthWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl NatsService {
    /// Returns `grpc.health.v1` for the server, and what keeps it up to date until it is dropped.
    ///
    /// The names `""`, `isa.nats.NATSService` and `nats-service` are SERVING while a round trip to the NATS server
    /// succeeds, which is tried every second. Otherwise, and after [`end_subscriptions`](Self::end_subscriptions), they
    /// are NOT_SERVING.
    pub fn health(&self) -> (HealthServer<impl Health>, HealthWatch) {
        let (reporter, server) = health_reporter();
        let (connection, mut stopping) = (self.connection().clone(), self.0.stopping.subscribe());
        let watch = tokio::spawn(async move {
            tokio::select! {
                () = follow(&connection, &reporter) => {}
                // An error means that the service was dropped.
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
        let now = connection.round_trip().await;
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
