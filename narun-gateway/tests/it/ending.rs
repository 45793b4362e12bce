//! Exchanges that end early, and the hook for failures.

use std::time::Duration;

use futures::FutureExt;
use http::{Response, StatusCode};
use narun_core::frame::{Frame, Reset, ResetCode, VERSION, Working};
use narun_gateway::{Body, Failure, FailureContext, FailureKind};

use crate::harness::{
    Metrics, eventually, get, grpc, open_tokens, pair, pair_with, post, send, spawn, with_host,
};

#[tokio::test]
async fn a_client_that_leaves_cancels_its_consumer() {
    let metrics = Metrics::install();
    let (gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    exchange.working().await;
    // Its first PROBE shows that it knows the consumer.
    assert!(matches!(consumer.frame().await.0, Frame::Probe));
    assert_eq!(open_tokens(&gateway), 1);
    response.abort();
    let (frame, reply) = consumer.frame().await;
    assert!(matches!(frame, Frame::Reset(Reset { code: ResetCode::Cancel, .. })), "{frame:?}");
    assert_eq!(reply, None);
    assert_eq!(open_tokens(&gateway), 0);
    assert_eq!(metrics.value("http_gateway_requests_in_flight", &[]), 0.0);
    assert_eq!(metrics.value("http_gateway_requests_total", &[("status_code", "499")]), 1.0);
    assert_eq!(metrics.value("http_gateway_nats_requests_total", &[("status", "cancelled")]), 1.0);
}

#[tokio::test]
async fn a_consumer_that_responds_after_the_client_left_gets_gone() {
    let (gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, get("/"));
    let exchange = consumer.request().await;
    response.abort();
    eventually("a dropped exchange", async || open_tokens(&gateway) == 0).await;
    exchange.working().await;
    let (frame, _) = consumer.frame().await;
    assert!(matches!(frame, Frame::Reset(Reset { code: ResetCode::Gone, .. })), "{frame:?}");
    // A late response is dropped.
    exchange.ok("late").await;
    exchange.send_with_reply(Working { version: VERSION, instance: None }.encode(), exchange.token()).await;
    let (frame, _) = consumer.frame().await;
    assert!(matches!(frame, Frame::Reset(Reset { code: ResetCode::Gone, .. })), "{frame:?}");
}

#[tokio::test]
async fn a_request_that_is_never_polled_costs_nothing() {
    let (gateway, mut consumer) = pair().await;
    let mut service = gateway.service();
    let mut polled = Box::pin(tower::Service::call(&mut service, with_host(get("/polled"))));
    drop(tower::Service::call(&mut service, with_host(get("/unpolled"))));
    assert!(polled.as_mut().now_or_never().is_none());
    assert_eq!(open_tokens(&gateway), 1);
    assert_eq!(consumer.request().await.request.parts.uri, "/polled");
    drop(polled);
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_gateway_ends_with_its_last_clone() {
    let (gateway, mut consumer) = pair().await;
    let service = gateway.service();
    drop(gateway);
    let response = tokio::spawn(async move {
        let Ok(response) = tower::ServiceExt::oneshot(service, with_host(get("/"))).await;
        response.status()
    });
    let exchange = consumer.request().await;
    exchange.ok("").await;
    assert_eq!(response.await.expect("no panic"), StatusCode::OK);
    // Its inbox is closed.
    eventually("a missing inbox", async || {
        let response = consumer.client().request(exchange.gateway.clone(), "".into());
        let response = tokio::time::timeout(Duration::from_millis(50), response).await;
        matches!(response, Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders)
    })
    .await;
}

#[tokio::test]
async fn the_hook_makes_the_responses_to_failures() {
    let hook = |failure: &Failure, context: &FailureContext| {
        let mut response = Response::new(Body::from(format!("{:?} {}", failure.kind(), context.grpc)));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    };
    let (gateway, mut consumer) = pair_with(|builder| builder.on_failure(hook)).await;
    let response = spawn(&gateway, grpc(post("/")));
    consumer.request().await.send("junk").await;
    let response = response.await.expect("no panic");
    assert_eq!(response.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(response.body, format!("{:?} true", FailureKind::BadResponse));

    gateway.replace_routes([]).expect("routes");
    let response = send(&gateway, get("/")).await;
    assert_eq!(response.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(response.body, format!("{:?} false", FailureKind::NoRoute));
}
