//! Requests that somebody may have, and does not answer.

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
    let answer = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    assert_eq!(exchange.request.head.head_timeout, Some(SHORT));
    assert_eq!(exchange.request.head.total_timeout, None);
    assert_eq!(answer.await.expect("no panic").status, StatusCode::GATEWAY_TIMEOUT);
    assert!(begin.elapsed() >= SHORT);

    let answer = spawn(&gateway, grpc(post("/")));
    consumer.request().await;
    let answer = answer.await.expect("no panic");
    assert_eq!((answer.status, answer.header("grpc-status")), (StatusCode::OK, Some("4")));
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_route_has_a_timeout_of_its_own() {
    let (gateway, mut consumer) = pair_with(|builder| builder).await;
    for route in
        [Route::any("/", consumer.app()).timeout(SHORT), Route::any("/", consumer.app()).total_timeout(SHORT)]
    {
        gateway.replace_routes([route]).expect("routes");
        let answer = spawn(&gateway, post("/"));
        let head = consumer.request().await.request.head;
        assert!([head.head_timeout, head.total_timeout].contains(&Some(SHORT)));
        assert_eq!(answer.await.expect("no panic").status, StatusCode::GATEWAY_TIMEOUT);
    }
}

#[tokio::test]
async fn whoever_is_at_work_when_the_time_is_over_is_told() {
    let (gateway, mut consumer) = pair_with(|builder| builder.timeout(SHORT)).await;
    let answer = spawn(&gateway, post("/"));
    consumer.request().await.working().await;
    let (frame, reply) = consumer.frame().await;
    assert!(matches!(frame, Frame::Reset(Reset { code: ResetCode::Deadline, .. })), "{frame:?}");
    assert_eq!(reply, None);
    assert_eq!(answer.await.expect("no panic").status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn what_nobody_reacts_to_is_sent_again_once_if_it_is_idempotent() {
    let (gateway, mut consumer) = pair_with(|builder| builder.timeout(Duration::from_millis(2500))).await;
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = spawn(&gateway, request(method, "/", ""));
        let first = consumer.request().await;
        let second = consumer.request().await;
        assert_eq!((first.request.head.attempt, second.request.head.attempt), (0, 1));
        assert_eq!(first.request.head.id, second.request.head.id);
        assert_ne!(first.gateway, second.gateway);
        second.ok("second").await;
        assert_eq!(answer.await.expect("no panic").body, "second");
    }
}

#[tokio::test]
async fn silence_is_broken_no_more_than_once_and_never_for_others() {
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
async fn the_first_answer_wins_and_the_other_consumer_is_told() {
    let (gateway, mut consumer) = pair_with(|builder| builder).await;
    let answer = spawn(&gateway, get("/"));
    let first = consumer.request().await;
    let second = consumer.request().await;
    first.working().await;
    // Sent on one connection, so the gateway knows of the first when the second answers.
    second.ok("second").await;
    assert_eq!(answer.await.expect("no panic").body, "second");
    let (frame, _) = consumer.frame().await;
    assert!(matches!(frame, Frame::Reset(Reset { code: ResetCode::Cancel, .. })), "{frame:?}");
}

#[tokio::test]
async fn a_consumer_that_is_gone_is_noticed() {
    let app = new_app();
    let gateway = builder(connect().await, &app).build().await.expect("a gateway");
    for (request, status, grpc_status) in [
        (get("/"), StatusCode::BAD_GATEWAY, None),
        (post("/"), StatusCode::BAD_GATEWAY, None),
        (grpc(post("/")), StatusCode::OK, Some("14")),
    ] {
        let begin = Instant::now();
        let mut consumer = Consumer::start(connect().await, &app).await;
        let answer = spawn(&gateway, request);
        consumer.request().await.working().await;
        consumer.leave().await;
        let answer = answer.await.expect("no panic");
        assert_eq!((answer.status, answer.header("grpc-status")), (status, grpc_status));
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    }
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_consumer_that_answers_probes_is_waited_for() {
    let (gateway, mut consumer) = pair_with(|builder| builder).await;
    let answer = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    exchange.working().await;
    for _ in 0..2 {
        let (frame, reply) = consumer.frame().await;
        assert!(matches!(frame, Frame::Probe), "{frame:?}");
        assert_eq!(reply.as_ref(), Some(&exchange.gateway));
        exchange.alive().await;
    }
    exchange.ok("at last").await;
    assert_eq!(answer.await.expect("no panic").body, "at last");
}
