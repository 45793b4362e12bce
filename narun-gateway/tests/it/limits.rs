//! Requests that are too large, and bodies that stall.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderName, Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use narun_gateway::Route;
use narun_support::Server;
use tokio::time::sleep;

use crate::consumer::Consumer;
use crate::harness::{builder, eventually, get, new_app, open_tokens, pair, pair_with, send, spawn};
use crate::streaming::Handler;

fn upload<B>(body: B) -> Request<B> {
    Request::builder().method(Method::POST).uri("/").body(body).expect("a request")
}

fn zeros(length: usize) -> Full<Bytes> {
    Full::new(Bytes::from(vec![0; length]))
}

#[tokio::test]
async fn a_body_that_fits_is_one_message_and_a_longer_one_more() {
    let (gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, upload(pieces(&[30_000, 30_000])));
    let exchange = consumer.request().await;
    assert!(exchange.request.head.end);
    assert_eq!(exchange.request.body.len(), 60_000);
    exchange.ok("fits").await;
    assert_eq!(response.await.expect("no panic").body, "fits");

    for length in [64 * 1024 - 500, 64 * 1024, 64 * 1024 + 1] {
        let response = spawn(&gateway, upload(zeros(length)));
        let mut handler = Handler::new(consumer.request().await).await;
        let (body, _) = handler.read_all().await.expect("a whole body");
        assert_eq!(body.len(), length);
        handler.ok("followed").await;
        assert_eq!(response.await.expect("no panic").body, "followed");
    }
    eventually("no token open", async || open_tokens(&gateway) == 0).await;
}

#[tokio::test]
async fn too_large_a_grpc_request_is_resource_exhausted() {
    let (gateway, consumer) = pair().await;
    gateway.replace_routes([Route::post("/", consumer.app()).max_body(10)]).expect("routes");
    let mut request = upload(zeros(11));
    request.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc+proto"));
    let response = send(&gateway, request).await;
    assert_eq!((response.status, response.header("grpc-status")), (StatusCode::OK, Some("8")));
}

#[tokio::test]
async fn a_route_limits_the_body() {
    let (gateway, mut consumer) = pair().await;
    gateway.replace_routes([Route::post("/", consumer.app()).max_body(10)]).expect("routes");
    assert_eq!(send(&gateway, upload(zeros(11))).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let response = spawn(&gateway, upload(zeros(10)));
    consumer.request().await.ok("fits").await;
    assert_eq!(response.await.expect("no panic").body, "fits");
}

#[tokio::test]
async fn the_server_limits_each_message() {
    let server = Server::builder().config("max_payload: 4096").start().expect("a nats-server");
    let app = new_app();
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let gateway = builder(client, &app).build().await.expect("a gateway");
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let mut consumer = Consumer::start(client, &app).await;
    let response = spawn(&gateway, upload(zeros(3000)));
    consumer.request().await.ok("fits").await;
    assert_eq!(response.await.expect("no panic").body, "fits");

    let response = spawn(&gateway, upload(zeros(100_000)));
    let mut handler = Handler::new(consumer.request().await).await;
    assert_eq!(handler.read_all().await.map(|(body, _)| body.len()), Ok(100_000));
    handler.ok("fits in pieces").await;
    assert_eq!(response.await.expect("no panic").body, "fits in pieces");
}

#[tokio::test]
async fn too_many_or_too_large_fields_are_431() {
    let (gateway, mut consumer) = pair().await;
    let with_fields = |count: usize, length: usize| {
        let mut request = get("/");
        let value: http::HeaderValue = "x".repeat(length).try_into().expect("a value");
        for number in 0..count {
            let name: HeaderName = format!("x-{number}").parse().expect("a name");
            request.headers_mut().insert(name, value.clone());
        }
        request
    };
    for (count, length) in [(257, 1), (1, 64 * 1024), (65, 1024)] {
        let response = send(&gateway, with_fields(count, length)).await;
        assert_eq!(response.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{count} of {length} bytes");
    }
    for (count, length) in [(250, 1), (1, 60_000), (60, 1000)] {
        let response = spawn(&gateway, with_fields(count, length));
        consumer.request().await.ok("fits").await;
        assert_eq!(response.await.expect("no panic").body, "fits");
    }
}

#[tokio::test]
async fn a_target_that_is_too_long_is_414() {
    let (gateway, mut consumer) = pair().await;
    let target = |length: usize| format!("/{}", "a".repeat(length - 1));
    assert_eq!(send(&gateway, get(&target(8193))).await.status, StatusCode::URI_TOO_LONG);
    let response = spawn(&gateway, get(&target(8192)));
    consumer.request().await.ok("fits").await;
    assert_eq!(response.await.expect("no panic").body, "fits");
}

#[tokio::test]
async fn a_body_that_stalls_is_408() {
    const PATIENCE: Duration = Duration::from_millis(1500);
    let (gateway, mut consumer) = pair_with(|builder| builder.timeout(PATIENCE)).await;
    let response = send(&gateway, upload(Announced(10))).await;
    assert_eq!(response.status, StatusCode::REQUEST_TIMEOUT);

    // Slower in total than one pause may be.
    let slow = stream::unfold(0, |count| async move {
        sleep(PAUSE).await;
        (count < 6).then(|| (Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"."))), count + 1))
    });
    const PAUSE: Duration = Duration::from_millis(300);
    let mut request = upload(StreamBody::new(Box::pin(slow)));
    request.headers_mut().insert("content-length", 6.into());
    let response = spawn(&gateway, request);
    let exchange = consumer.request().await;
    assert_eq!(exchange.request.body, "......");
    exchange.ok("slow").await;
    assert_eq!(response.await.expect("no panic").body, "slow");
}

#[tokio::test]
async fn a_body_that_fails_is_400() {
    let (gateway, mut consumer) = pair().await;
    let frames = [Ok(Frame::data(Bytes::from_static(b"some"))), Err(std::io::Error::other("broken"))];
    let response = send(&gateway, upload(StreamBody::new(stream::iter(frames)))).await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_request().is_none(), "nothing of it was sent");
}

fn pieces(lengths: &[usize]) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + use<> {
    let frames: Vec<_> =
        lengths.iter().map(|length| Ok(Frame::data(Bytes::from(vec![0; *length])))).collect();
    StreamBody::new(stream::iter(frames))
}

/// A body that announces its length and then stalls.
struct Announced(u64);

impl http_body::Body for Announced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0)
    }
}
