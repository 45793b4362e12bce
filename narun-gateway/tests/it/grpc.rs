//! gRPC calls, frame by frame.

use std::time::Duration;

use http::{Request, StatusCode, Version};
use narun_core::BodyErrorKind;
use narun_core::exchange::Cancelled;
use narun_core::frame::RequestHead;
use narun_gateway::{Body, Gateway, ResponseBody, Route};

use crate::consumer::Consumer;
use crate::harness::{grpc, pair, post, send, spawn, spawn_open};
use crate::streaming::{Handler, broken, next, streamed_response};

const CALL: &str = "/a.Service/Call";

/// A gateway with a route for a gRPC service, and another one.
async fn service() -> (Gateway, Consumer) {
    let (gateway, consumer) = pair().await;
    let routes = [Route::grpc("a.Service", consumer.app()), Route::any("/other", consumer.app())];
    gateway.replace_routes(routes).expect("routes");
    (gateway, consumer)
}

fn call(target: &str, timeout: &'static str) -> Request<Body> {
    let mut request = grpc(post(target));
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().insert("grpc-timeout", http::HeaderValue::from_static(timeout));
    request
}

/// Sends a request, responds to it, and returns the head of its REQUEST.
async fn sent(gateway: &Gateway, consumer: &mut Consumer, request: Request<Body>) -> RequestHead {
    let response = spawn(gateway, request);
    let exchange = consumer.request().await;
    let head = exchange.request.head.clone();
    exchange.ok("").await;
    assert_eq!(response.await.expect("no panic").status, StatusCode::OK);
    head
}

#[tokio::test]
async fn grpc_timeout_limits_a_call() {
    let (gateway, mut consumer) = service().await;
    let head = sent(&gateway, &mut consumer, call(CALL, "90S")).await;
    assert_eq!(head.head_timeout, None);
    let total = head.total_timeout.expect("a limit");
    assert!(total <= Duration::from_secs(90) && total > Duration::from_secs(20), "{total:?}");

    for request in [grpc(post(CALL)), call(CALL, "soon")] {
        let head = sent(&gateway, &mut consumer, request).await;
        assert_eq!((head.head_timeout, head.total_timeout), (None, None));
    }
    // An ordinary route keeps its own limit.
    let head = sent(&gateway, &mut consumer, call("/other", "90S")).await;
    assert_eq!(head.head_timeout, Some(Duration::from_secs(15)));
    assert!(head.total_timeout.is_some_and(|total| total <= Duration::from_secs(90)));
    assert_eq!(head.credit, 0);
    // In other requests the field has no meaning.
    let mut other = call("/other", "90S");
    other.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain"));
    assert_eq!(sent(&gateway, &mut consumer, other).await.total_timeout, None);
}

#[tokio::test]
async fn grpc_timeout_is_passed_on_unchanged() {
    let (gateway, mut consumer) = service().await;
    for timeout in ["90S", "soon"] {
        let response = spawn(&gateway, call(CALL, timeout));
        let exchange = consumer.request().await;
        assert_eq!(exchange.request.parts.headers["grpc-timeout"], timeout);
        exchange.ok("").await;
        response.await.expect("no panic");
    }
}

#[tokio::test]
async fn a_response_stream_begins_without_a_round_trip() {
    let (gateway, mut consumer) = service().await;
    let response = spawn_open(&gateway, call(CALL, "90S"));
    let mut handler = Handler::new(consumer.request().await).await;
    handler.begin(streamed_response()).await;
    // The gateway has not sent any CREDIT yet.
    assert!(handler.wants_data());
    assert!(handler.send("a message".into()).await);
    let mut body = response.await.expect("no panic").into_body();
    let part = next(&mut body).await.expect("a part").expect("well").into_data().expect("bytes");
    assert_eq!(part, "a message");
    handler.finish(None).await;
    assert!(next(&mut body).await.is_none());
}

#[tokio::test]
async fn a_late_call_is_a_status_if_the_client_can_see_it() {
    let (gateway, mut consumer) = service().await;
    let late = send(&gateway, call(CALL, "0S")).await;
    assert_eq!((late.status, late.header("grpc-status")), (StatusCode::OK, Some("4")));

    for version in [Version::HTTP_2, Version::HTTP_11] {
        let (mut body, mut handler) = begun(&gateway, &mut consumer, version).await;
        if version == Version::HTTP_2 {
            let end = next(&mut body).await.expect("an end").expect("well");
            assert_eq!(end.into_trailers().expect("trailers")["grpc-status"], "4");
            assert!(next(&mut body).await.is_none());
        } else {
            assert_eq!(broken(body).await, BodyErrorKind::TimedOut);
        }
        assert_eq!(handler.cancelled().await, Cancelled::Deadline);
    }
}

/// Starts a response whose first part is in time, and which does not go on.
async fn begun(
    gateway: &Gateway,
    consumer: &mut Consumer,
    version: Version,
) -> (ResponseBody<Body>, Handler) {
    // On a slow machine, the first calls may be late.
    for timeout in ["200m", "2S", "20S"] {
        let mut request = call(CALL, timeout);
        *request.version_mut() = version;
        let response = spawn_open(gateway, request);
        let mut handler = Handler::new(consumer.request().await).await;
        handler.begin(streamed_response()).await;
        let in_time = handler.send("a message".into()).await;
        let response = response.await.expect("no panic");
        if !in_time || response.headers().contains_key("grpc-status") {
            continue;
        }
        let mut body = response.into_body();
        if next(&mut body).await.is_some_and(|part| part.is_ok_and(|part| part.is_data())) {
            return (body, handler);
        }
    }
    panic!("no response has begun");
}

#[tokio::test]
async fn any_other_failure_after_the_head_aborts_the_response() {
    let (gateway, mut consumer) = service().await;
    let response = spawn_open(&gateway, call(CALL, "90S"));
    let mut handler = Handler::new(consumer.request().await).await;
    handler.begin(streamed_response()).await;
    let body = response.await.expect("no panic").into_body();
    handler.abort().await;
    assert_eq!(broken(body).await, BodyErrorKind::Reset);
}
