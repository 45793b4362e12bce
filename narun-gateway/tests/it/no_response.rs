//! Requests that a consumer may have, but does not respond to.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use narun_core::frame::{Frame, Reset, ResetCode};
use narun_gateway::Route;

use crate::consumer::Consumer;
use crate::harness::{builder, connect, get, grpc, new_app, open_tokens, pair_with, post, request, spawn};

const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn no_response_in_time_is_504() {
    let (gateway, mut consumer) = pair_with(|builder| builder.timeout(SHORT)).await;
    let begin = Instant::now();
    let response = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    assert_eq!(exchange.request.head.head_timeout, Some(SHORT));
    assert_eq!(exchange.request.head.total_timeout, None);
    assert_eq!(response.await.expect("no panic").status, StatusCode::GATEWAY_TIMEOUT);
    assert!(begin.elapsed() >= SHORT);

    let response = spawn(&gateway, grpc(post("/")));
    consumer.request().await;
    let response = response.await.expect("no panic");
    assert_eq!((response.status, response.header("grpc-status")), (StatusCode::OK, Some("4")));
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_route_has_its_own_timeout() {
    let (gateway, mut consumer) = pair_with(|builder| builder).await;
    for route in
        [Route::any("/", consumer.app()).timeout(SHORT), Route::any("/", consumer.app()).total_timeout(SHORT)]
    {
        gateway.replace_routes([route]).expect("routes");
        let response = spawn(&gateway, post("/"));
        let head = consumer.request().await.request.head;
        assert!([head.head_timeout, head.total_timeout].contains(&Some(SHORT)));
        assert_eq!(response.await.expect("no panic").status, StatusCode::GATEWAY_TIMEOUT);
    }
}

#[tokio::test]
async fn a_timeout_cancels_the_consumer() {
    let (gateway, mut consumer) = pair_with(|builder| builder.timeout(SHORT)).await;
    let response = spawn(&gateway, post("/"));
    consumer.request().await.working().await;
    let (frame, reply) = consumer.frame().await;
    assert!(matches!(frame, Frame::Reset(Reset { code: ResetCode::Deadline, .. })), "{frame:?}");
    assert_eq!(reply, None);
    assert_eq!(response.await.expect("no panic").status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn an_idempotent_request_without_a_reaction_is_sent_again_once() {
    let (gateway, mut consumer) = pair_with(|builder| builder.timeout(Duration::from_millis(2500))).await;
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let response = spawn(&gateway, request(method, "/", ""));
        let first = consumer.request().await;
        let second = consumer.request().await;
        assert_eq!((first.request.head.attempt, second.request.head.attempt), (0, 1));
        assert_eq!(first.request.head.id, second.request.head.id);
        assert_ne!(first.gateway, second.gateway);
        second.ok("second").await;
        assert_eq!(response.await.expect("no panic").body, "second");
    }
}

#[tokio::test]
async fn other_requests_without_a_reaction_are_not_sent_again() {
    let client = connect().await;
    let app = new_app();
    let gateway =
        builder(client.clone(), &app).timeout(Duration::from_millis(2500)).build().await.expect("a gateway");
    let mut consumer = Consumer::start(connect().await, &app).await;
    let (idempotent, other) = (spawn(&gateway, get("/get")), spawn(&gateway, post("/post")));
    assert_eq!(idempotent.await.expect("no panic").status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(other.await.expect("no panic").status, StatusCode::GATEWAY_TIMEOUT);
    consumer.settle(&client).await;
    let mut seen = std::iter::from_fn(|| consumer.waiting_request())
        .map(|exchange| (exchange.request.parts.uri.path().to_owned(), exchange.request.head.attempt))
        .collect::<Vec<_>>();
    seen.sort();
    assert_eq!(seen, [("/get".to_owned(), 0), ("/get".to_owned(), 1), ("/post".to_owned(), 0)]);
}

#[tokio::test]
async fn the_first_response_wins_and_the_other_consumer_is_cancelled() {
    let (gateway, mut consumer) = pair_with(|builder| builder).await;
    let response = spawn(&gateway, get("/"));
    let first = consumer.request().await;
    let second = consumer.request().await;
    first.working().await;
    // Both use one connection, so the gateway knows the first when the second responds.
    second.ok("second").await;
    assert_eq!(response.await.expect("no panic").body, "second");
    let (frame, _) = consumer.frame().await;
    assert!(matches!(frame, Frame::Reset(Reset { code: ResetCode::Cancel, .. })), "{frame:?}");
}

#[tokio::test]
async fn a_consumer_that_is_gone_is_502() {
    let app = new_app();
    let gateway = builder(connect().await, &app).build().await.expect("a gateway");
    for (request, status, grpc_status) in [
        (get("/"), StatusCode::BAD_GATEWAY, None),
        (post("/"), StatusCode::BAD_GATEWAY, None),
        (grpc(post("/")), StatusCode::OK, Some("14")),
    ] {
        let begin = Instant::now();
        let mut consumer = Consumer::start(connect().await, &app).await;
        let response = spawn(&gateway, request);
        consumer.request().await.working().await;
        consumer.leave().await;
        let response = response.await.expect("no panic");
        assert_eq!((response.status, response.header("grpc-status")), (status, grpc_status));
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    }
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_consumer_that_responds_to_probes_gets_more_time() {
    let (gateway, mut consumer) = pair_with(|builder| builder).await;
    let response = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    exchange.working().await;
    for _ in 0..2 {
        let (frame, reply) = consumer.frame().await;
        assert!(matches!(frame, Frame::Probe), "{frame:?}");
        assert_eq!(reply.as_ref(), Some(&exchange.gateway));
        exchange.alive().await;
    }
    exchange.ok("at last").await;
    assert_eq!(response.await.expect("no panic").body, "at last");
}
