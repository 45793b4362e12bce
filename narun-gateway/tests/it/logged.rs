//! What operators see in the log at INFO and above, and what clients do not see.

use async_nats::jetstream::stream::RetentionPolicy;
use http::StatusCode;
use narun_core::frame::{Refusal, Reset, ResetCode};
use narun_gateway::Gateway;
use narun_support::testing::Logs;
use tracing::Level;

use crate::harness::{HttpResponse, builder, connect, get, new_app, new_namespace, pair, post, send, spawn};
use crate::outcomes::site::{Site, keyed, route, with};
use crate::worker::{durable_builder, durable_pair, durable_route};

fn text(response: &HttpResponse) -> String {
    let fields = format!("{:?}", response.headers);
    format!("{fields} {}", String::from_utf8_lossy(&response.body))
}

#[tokio::test]
async fn an_app_without_a_consumer_is_named_once_and_then_counted() {
    let logs = Logs::capture();
    let app = new_app();
    let gateway = builder(connect().await, &app).build().await.expect("a gateway");
    for id in ["first", "second"] {
        let response = send(&gateway, with(get("/"), "x-request-id", id)).await;
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text(&response).contains(&format!("app {app}")), "{}", text(&response));
    }
    let (level, event) = logs.event("the request failed", &[("app", &app)]).await;
    assert_eq!(level, Level::WARN);
    assert_eq!(event["request_id"], "first");
    assert_eq!(event["failure"], format!("no consumer is running: app {app}"));
    let (_, more) = logs.event("more requests failed", &[("app", &app)]).await;
    assert_eq!((&more["count"][..], &more["last_request_id"][..]), ("1", "second"));
    assert_eq!(logs.events("the request failed", &[("app", &app)]).len(), 1);
}

#[tokio::test]
async fn a_refused_request_is_logged_with_its_id() {
    let logs = Logs::capture();
    let (gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, with(post("/"), "x-request-id", "refused"));
    for _ in 0..4 {
        consumer.request().await.refuse(Refusal::Overloaded).await;
    }
    assert_eq!(response.await.expect("no panic").status, StatusCode::SERVICE_UNAVAILABLE);
    let (_, event) = logs.event("the request failed", &[("app", consumer.app())]).await;
    assert_eq!((&event["request_id"][..], &event["failure"][..]), ("refused", "all consumers are busy"));
}

#[tokio::test]
async fn the_text_of_a_reset_is_logged_but_not_sent_to_the_client() {
    let logs = Logs::capture();
    let (gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, get("/"));
    let secret = "stream TASK on nats://10.0.0.1:4222";
    let reset = Reset { code: ResetCode::Internal, text: secret.to_owned(), ran: true };
    consumer.request().await.send(reset.encode()).await;
    let response = response.await.expect("no panic");
    assert_eq!(response.status, StatusCode::BAD_GATEWAY);
    assert!(
        !text(&response).contains("TASK") && !text(&response).contains("10.0.0.1"),
        "{}",
        text(&response)
    );
    let (_, event) = logs.event("the request failed", &[("app", consumer.app())]).await;
    assert_eq!(event["cause"], secret);
    assert_eq!(Some(&event["request_id"][..]), response.header("x-request-id"));
}

#[tokio::test]
async fn names_of_streams_and_texts_of_the_server_do_not_reach_clients() {
    let logs = Logs::capture();
    // The stream has other settings than required.
    let (gateway, worker) = durable_pair().await;
    let namespace = worker.namespace().clone();
    worker.replace_stream(RetentionPolicy::WorkQueue, 64).await;
    let too_large = send(&gateway, post("/")).await;
    assert_eq!(too_large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(!text(&too_large).contains("message size"), "{}", text(&too_large));

    worker.replace_stream(RetentionPolicy::Limits, -1).await;
    let app = new_app();
    let gateway = later_gateway(&namespace, &app).await;
    let response = send(&gateway, post("/")).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!text(&response).contains(namespace.as_str()), "{}", text(&response));
    let (_, event) = logs.event("the request failed", &[("app", &app)]).await;
    assert!(event["cause"].contains(&format!("stream {namespace}")), "{event:?}");
}

/// A gateway whose stream is checked in the background.
async fn later_gateway(namespace: &narun_core::Namespace, app: &str) -> Gateway {
    let gateway = durable_builder(connect().await, namespace).build().await.expect("a gateway");
    gateway.replace_routes([durable_route(app)]).expect("a route");
    gateway
}

#[tokio::test]
async fn a_bucket_that_cannot_be_read_is_not_named() {
    let site = Site::new().await;
    let gateway = site.gateway_with(|builder| builder.route(route())).await;
    site.outcomes().await;
    let id = site.id("k", None).await;
    site.spoil(id).await;
    for request in [keyed("k", "/", "content"), get(&format!("/.narun/requests/{id}"))] {
        let response = send(&gateway, request).await;
        assert_eq!(response.status, StatusCode::BAD_GATEWAY);
        assert!(!text(&response).contains("outcome"), "{}", text(&response));
    }
}

#[tokio::test]
async fn a_gateway_says_its_routes_when_it_starts() {
    let logs = Logs::capture();
    let (namespace, app) = (new_namespace(), new_app());
    let gateway = durable_builder(connect().await, &namespace).route(durable_route(&app)).build().await;
    drop(gateway.expect("a gateway"));
    let (level, event) = logs.event("routing", &[("app", &app)]).await;
    assert_eq!((level, &event["delivery"][..]), (Level::INFO, "durable"));
    assert_eq!(event["subject"], format!("task.{namespace}.{app}"));
    assert!(event["route"].contains('/'), "{event:?}");
    logs.event("the gateway has its routes", &[("namespace", namespace.as_str()), ("routes", "1")]).await;
    let what = format!("stream {namespace}");
    let (level, _) = logs.event("declaring what is missing", &[("what", &what)]).await;
    assert_eq!(level, Level::INFO);
}
