//! Metrics for Prometheus.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

/// Buckets of durations in seconds, from fast local handlers to the default timeout.
const BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];

/// How often durations are sorted into their buckets; otherwise that happens only when the metrics are requested.
const UPKEEP: Duration = Duration::from_secs(5);

/// Records all metrics of this process from now on.
///
/// # Errors
///
/// If a recorder is installed already.
pub fn record() -> anyhow::Result<PrometheusHandle> {
    let durations = Matcher::Suffix("_duration_seconds".to_owned());
    Ok(PrometheusBuilder::new().set_buckets_for_metric(durations, &BUCKETS)?.install_recorder()?)
}

/// Serves `/metrics` until `shutdown` completes.
pub async fn serve(listener: TcpListener, metrics: PrometheusHandle, shutdown: impl Future<Output = ()>) {
    let upkeep = async {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.run_upkeep();
        }
    };
    let render = metrics.clone();
    let metrics = async move || ([(CONTENT_TYPE, "text/plain; version=0.0.4")], render.render());
    let router = Router::new().route("/metrics", get(metrics));
    tokio::select! {
        () = crate::http::serve(listener, router, shutdown) => {}
        () = upkeep => {}
    }
}
