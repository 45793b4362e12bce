//! Metrics of requests.

use std::time::Duration;

use http::{Method, StatusCode};
use narun_core::frame::Refusal;
use narun_gateway::Route;

use crate::harness::{Metrics, eventually, get, open_tokens, pair, post, request, send, spawn};

#[tokio::test]
async fn metrics_count_outcomes_by_route() {
    let metrics = Metrics::install();
    let (gateway, mut consumer) = pair().await;
    let route = |timeout| Route::any("/{id}", consumer.app()).timeout(timeout);
    let (short, long) = (route(Duration::from_millis(100)), route(Duration::from_secs(60)));
    gateway.replace_routes([long.clone()]).expect("routes");
    let subject = format!("call.TASK.{}", consumer.app());
    let over_nats = |status: &str| {
        metrics.value("http_gateway_nats_requests_total", &[("subject", &subject), ("status", status)])
    };
    let requests = |method: &str, status: &str| {
        let labels = [("method", method), ("path", "/{id}"), ("status_code", status)];
        metrics.value("http_gateway_requests_total", &labels)
    };

    let success = spawn(&gateway, post("/1"));
    consumer.request().await.ok("four").await;
    success.await.expect("no panic");
    assert_eq!((over_nats("success"), requests("POST", "200")), (1.0, 1.0));
    let bytes = |direction: &str| {
        metrics.value(&format!("http_gateway_{direction}_body_bytes_total"), &[("path", "/{id}")])
    };
    assert_eq!((bytes("request"), bytes("response")), (7.0, 4.0));

    gateway.replace_routes([short]).expect("routes");
    let timeout = spawn(&gateway, request(Method::from_bytes(b"PROPFIND").expect("a method"), "/2", ""));
    consumer.request().await;
    timeout.await.expect("no panic");
    assert_eq!((over_nats("timeout"), requests("other", "504")), (1.0, 1.0));

    gateway.replace_routes([long]).expect("routes");
    let error = spawn(&gateway, get("/3"));
    consumer.request().await.send("junk").await;
    error.await.expect("no panic");
    assert_eq!((over_nats("error"), requests("GET", "502")), (1.0, 1.0));

    gateway
        .replace_routes([Route::any("/{id}", consumer.app()), Route::get("/nobody/{id}", "nobody-at-all")])
        .expect("routes");
    let retries = || metrics.value("http_gateway_retries_total", &[("path", "/{id}")]);
    let before = retries();
    let refused = spawn(&gateway, get("/4"));
    for _ in 0..4 {
        consumer.request().await.refuse(Refusal::Overloaded).await;
    }
    refused.await.expect("no panic");
    assert_eq!((over_nats("refused"), requests("GET", "503"), retries() - before), (1.0, 1.0, 3.0));

    assert_eq!(send(&gateway, get("/nobody/5")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let nobody = [("subject", "call.TASK.nobody-at-all"), ("status", "no_responders")];
    assert_eq!(metrics.value("http_gateway_nats_requests_total", &nobody), 1.0);

    let cancelled = spawn(&gateway, get("/6"));
    consumer.request().await;
    let in_flight = || metrics.value("http_gateway_requests_in_flight", &[]);
    assert_eq!(in_flight(), 1.0);
    cancelled.abort();
    eventually("a dropped exchange", async || open_tokens(&gateway) == 0).await;
    assert_eq!((over_nats("cancelled"), requests("GET", "499"), in_flight()), (1.0, 1.0, 0.0));

    // Requests that match no route are not counted: clients choose their paths.
    let all = || metrics.value("http_gateway_requests_total", &[]);
    let before = all();
    assert_eq!(send(&gateway, get("/no/route")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(all(), before);
    assert_eq!(metrics.value("http_gateway_request_duration_seconds_count", &[]), before);
}
