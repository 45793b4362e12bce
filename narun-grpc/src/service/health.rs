use std::time::Duration;

use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::call::live::stopped;
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

/// `grpc.health.v1`. tonic-health has no end of a Watch, and refuses one of an unknown service.
struct HealthService {
    /// Whether the service serves. Closed when that no longer changes.
    serving: watch::Receiver<bool>,
}

/// An open Watch.
struct Watch {
    serving: watch::Receiver<bool>,
    is_known: bool,
    /// Whether the current status was sent.
    is_sent: bool,
}

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
    /// are NOT_SERVING. A Check of another name is NOT_FOUND; a Watch of one is SERVICE_UNKNOWN and stays open.
    ///
    /// [`end_subscriptions`](Self::end_subscriptions) ends every Watch with UNAVAILABLE, after its last status.
    pub fn health(&self) -> (HealthServer<impl Health>, HealthWatch) {
        let (status, serving) = watch::channel(false);
        let (connection, mut stopping) = (self.connection().clone(), self.0.stopping.subscribe());
        let watch = tokio::spawn(async move {
            tokio::select! {
                () = follow(&connection, &status) => {}
                // An error means that the service was dropped.
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
            report(&status, false);
        });
        (HealthServer::new(HealthService { serving }), HealthWatch(watch.abort_handle()))
    }
}

async fn follow(connection: &Connection, status: &watch::Sender<bool>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        report(status, connection.round_trip().await);
    }
}

/// Sets the status. Watches see it if it is another one.
fn report(status: &watch::Sender<bool>, serving: bool) {
    status.send_if_modified(|before| std::mem::replace(before, serving) != serving);
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

fn serving_or_not(serving: bool) -> HealthCheckResponse {
    response(if serving { ServingStatus::Serving } else { ServingStatus::NotServing })
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !NAMES.contains(&&*request.get_ref().service) {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(serving_or_not(*self.serving.borrow())))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let is_known = NAMES.contains(&&*request.get_ref().service);
        let watch = Watch { serving: self.serving.clone(), is_known, is_sent: false };
        let statuses = unfold(Some(watch), async |watch| {
            let mut watch = watch?;
            match watch.next().await {
                Ok(status) => Some((Ok(status), Some(watch))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(statuses.boxed()))
    }
}

impl Watch {
    /// The next status. Fails when no other one will follow.
    async fn next(&mut self) -> Result<HealthCheckResponse, Status> {
        if !self.is_sent {
            self.is_sent = true;
        } else if self.is_known {
            self.serving.changed().await.map_err(|_| stopped())?;
        } else {
            while self.serving.changed().await.is_ok() {}
            return Err(stopped());
        }
        let serving = *self.serving.borrow_and_update();
        Ok(if self.is_known { serving_or_not(serving) } else { response(ServingStatus::ServiceUnknown) })
    }
}
