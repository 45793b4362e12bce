//! Requests that no handler has seen, which are sent again with any method.

use std::time::{Duration, Instant};

use http::StatusCode;
use narun_core::frame::{Refusal, Refused, ResetCode};
use narun_gateway::Gateway;

use crate::consumer::Consumer;
use crate::harness::{builder, connect, get, grpc, new_app, open_tokens, pair, post, send, spawn};

#[tokio::test]
async fn no_consumer_is_503_at_once() {
    let gateway = builder(connect().await, &new_app()).build().await.expect("a gateway");
    let begin = Instant::now();
    for request in [get("/"), post("/")] {
        let response = send(&gateway, request).await;
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    let response = send(&gateway, grpc(post("/"))).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.header("content-type"), Some("application/grpc"));
    assert_eq!(response.header("grpc-status"), Some("14"));
    assert!(response.body.is_empty());
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_refused_request_is_sent_again_three_times_and_no_more() {
    let client = connect().await;
    let app = new_app();
    let gateway = builder(client.clone(), &app).build().await.expect("a gateway");
    let mut consumer = Consumer::start(connect().await, &app).await;
    for (request, reason) in
        [(get("/"), Refusal::Overloaded), (post("/"), Refusal::Overloaded), (post("/"), Refusal::Draining)]
    {
        let response = spawn(&gateway, request);
        let mut ids = Vec::new();
        for attempt in 0..4 {
            let exchange = consumer.request().await;
            assert_eq!(exchange.request.head.attempt, attempt);
            ids.push(exchange.request.head.id);
            exchange.refuse(reason).await;
        }
        let response = response.await.expect("no panic");
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.header("retry-after"), Some("1"));
        ids.dedup();
        assert_eq!(ids.len(), 1, "one exchange has one id");
        consumer.settle(&client).await;
        assert!(consumer.waiting_request().is_none());
    }
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_refusal_carries_retry_after() {
    let (gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, post("/"));
    for _ in 0..4 {
        let retry_after = Some(Duration::from_millis(6500));
        let refused = Refused { reason: Refusal::Overloaded, retry_after, versions: vec![] };
        consumer.request().await.send(refused.encode()).await;
    }
    assert_eq!(response.await.expect("no panic").header("retry-after"), Some("7"));
}

#[tokio::test]
async fn another_consumer_gets_a_refused_request() {
    for refuse in [refuse_overloaded, refuse_draining, reset_draining] {
        let (gateway, mut one) = pair().await;
        let mut other = Consumer::start(connect().await, one.app()).await;
        for request in [get("/"), post("/")] {
            let response = spawn(&gateway, request);
            // The server chooses the member of the group: the first one refuses, the next one responds, even if it is the
            // same.
            refuse(next(&mut one, &mut other).await).await;
            let exchange = next(&mut one, &mut other).await;
            assert_eq!(exchange.request.head.attempt, 1);
            exchange.ok("done").await;
            assert_eq!(response.await.expect("no panic").body, "done");
        }
        assert_clean(&gateway);
    }
}

#[tokio::test]
async fn a_refusal_of_the_frame_is_502() {
    let (gateway, mut consumer) = pair().await;
    for reason in [Refusal::Version, Refusal::BadFrame] {
        for (request, status, grpc_status) in
            [(post("/"), StatusCode::BAD_GATEWAY, None), (grpc(post("/")), StatusCode::OK, Some("13"))]
        {
            let response = spawn(&gateway, request);
            let refused = Refused { reason, retry_after: None, versions: vec![7, 8] };
            consumer.request().await.send(refused.encode()).await;
            let response = response.await.expect("no panic");
            assert_eq!(response.status, status);
            assert_eq!(response.header("grpc-status"), grpc_status);
            assert_eq!(response.header("retry-after"), None);
        }
    }
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_request().is_none());
    assert_clean(&gateway);
}

type Exchange = crate::consumer::Exchange;
type Refusing = std::pin::Pin<Box<dyn Future<Output = ()>>>;

fn refuse_overloaded(exchange: Exchange) -> Refusing {
    Box::pin(async move { exchange.refuse(Refusal::Overloaded).await })
}

fn refuse_draining(exchange: Exchange) -> Refusing {
    Box::pin(async move { exchange.refuse(Refusal::Draining).await })
}

/// A consumer that is stopping gives back a request from its queue.
fn reset_draining(exchange: Exchange) -> Refusing {
    Box::pin(async move { exchange.reset(ResetCode::Draining, false).await })
}

async fn next(one: &mut Consumer, other: &mut Consumer) -> Exchange {
    tokio::select! {
        exchange = one.request() => exchange,
        exchange = other.request() => exchange,
    }
}

fn assert_clean(gateway: &Gateway) {
    assert_eq!(open_tokens(gateway), 0);
}
