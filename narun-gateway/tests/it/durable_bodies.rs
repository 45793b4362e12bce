//! Bodies of durable requests that do not fit a message.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use narun_gateway::StreamSettings;
use narun_nats::jetstream::StreamSettings as Settings;
use narun_nats::jetstream::TaskStreams;

use crate::harness::{Metrics, SERVER, connect, eventually, new_app, new_namespace, post, send, spawn};
use crate::proxy::Proxy;
use crate::worker::{Worker, durable_builder, durable_pair, durable_pair_with, durable_route};

pub(crate) const MIB: usize = 1024 * 1024;

fn upload(length: usize) -> Request<Full<Bytes>> {
    let body: Vec<u8> = (0..length).map(|position| (position % 251) as u8).collect();
    Request::post("/").body(Full::new(body.into())).expect("a request")
}

/// The body of a client that sends it piece by piece.
type Pieces = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A request without a length, and what sends its body.
pub(crate) fn open_upload() -> (UnboundedSender<Bytes>, Request<Pieces>) {
    let (sender, pieces) = unbounded();
    let body = StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece))).boxed());
    (sender, Request::post("/").body(body).expect("a request"))
}

pub(crate) fn piece(length: usize) -> Bytes {
    vec![7; length].into()
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_stored_as_an_object() {
    let (gateway, mut worker) = durable_pair().await;
    // A body that fits stays in the message.
    let response = spawn(&gateway, upload(MIB - 8192));
    let job = worker.job().await;
    assert_eq!((job.request.body.len(), &job.request.head.object), (MIB - 8192, &None));
    job.ok("inline").await;
    assert_eq!(response.await.expect("no panic").body, "inline");
    assert_eq!(worker.stored_bodies().await, None, "no bucket before it is needed");

    let response = spawn(&gateway, upload(3 * MIB));
    let job = worker.job().await;
    assert!(job.request.body.is_empty() && job.request.head.end);
    let object = job.request.head.object.as_deref().expect("an object");
    assert_eq!((object.bucket.clone(), object.size), (worker.namespace().bodies_bucket(), 3 * MIB as u64));
    let tasks = TaskStreams::new(connect().await, worker.namespace().clone(), Settings::new());
    let body = tasks.bodies().await.expect("a bucket").get(object).await.expect("a body");
    assert_eq!(body.len(), 3 * MIB);
    assert!(body.iter().enumerate().all(|(position, byte)| *byte == (position % 251) as u8));
    job.ok("beside").await;
    assert_eq!(response.await.expect("no panic").body, "beside");
}

#[tokio::test]
async fn a_body_over_the_limit_of_the_route_is_413() {
    let (gateway, worker) = durable_pair_with(|route| route.max_body(2_000_000), |builder| builder).await;
    assert_eq!(send(&gateway, upload(2_000_001)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let (gateway, _worker) = durable_pair().await;
    assert_eq!(send(&gateway, upload(10 * MIB + 1)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(worker.stored_bodies().await, None);
}

#[tokio::test]
async fn the_body_of_a_refused_request_is_deleted() {
    let settings = StreamSettings::new().max_messages(1);
    let (gateway, mut worker) =
        durable_pair_with(|route| route, |builder| builder.stream_settings(settings)).await;
    let waiting = spawn(&gateway, post("/"));
    let job = worker.job().await;
    assert_eq!(send(&gateway, upload(2 * MIB)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    eventually("an empty bucket", async || worker.stored_bodies().await == Some(0)).await;
    job.ok("done").await;
    waiting.await.expect("no panic");
}

#[tokio::test]
async fn the_body_of_a_client_that_leaves_before_the_publish_is_deleted() {
    let (namespace, app) = (new_namespace(), new_app());
    let proxy = Proxy::start(SERVER.port()).await;
    let builder = durable_builder(proxy.connect().await, &namespace);
    let gateway = builder.route(durable_route(&app)).build().await.expect("a gateway");
    let mut worker = Worker::start(connect().await, &namespace, &app).await;
    // This declares the bucket.
    let response = spawn(&gateway, upload(2 * MIB));
    worker.job().await.ok("done").await;
    response.await.expect("no panic");
    let before = worker.stored_bodies().await.expect("a bucket");

    let (client, request) = open_upload();
    let response = spawn(&gateway, request);
    client.unbounded_send(piece(2 * MIB)).expect("sent");
    eventually("chunks", async || worker.stored_bodies().await.is_some_and(|now| now > before)).await;
    proxy.hold();
    client.unbounded_send(piece(MIB)).expect("sent");
    drop(client);
    response.abort();
    assert!(response.await.is_err_and(|error| error.is_cancelled()));
    proxy.release();
    eventually("no more than before", async || worker.stored_bodies().await == Some(before)).await;
    assert!(worker.waiting_job().await.is_none());
}

#[tokio::test]
async fn a_deleted_bucket_is_declared_again() {
    let (gateway, mut worker) = durable_pair().await;
    let response = spawn(&gateway, upload(2 * MIB));
    worker.job().await.ok("done").await;
    response.await.expect("no panic");
    worker.delete_bodies().await;
    assert_eq!(send(&gateway, upload(2 * MIB)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    eventually("a bucket", async || worker.stored_bodies().await.is_some()).await;
    let response = spawn(&gateway, upload(2 * MIB));
    worker.job().await.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
}

#[tokio::test]
async fn a_large_body_is_stored_while_it_is_received() {
    let (gateway, mut worker) = durable_pair().await;
    let (client, request) = open_upload();
    let response = spawn(&gateway, request);
    for sent in 1..=4 {
        client.unbounded_send(piece(MIB)).expect("sent");
        // 8 chunks a MiB, of which the last ones may still be on their way; the first MiB may fit a message.
        eventually("chunks", async || worker.stored_bodies().await.unwrap_or(0) >= (sent - 1) * 8).await;
    }
    drop(client);
    let job = worker.job().await;
    assert_eq!(job.request.head.object.as_deref().expect("an object").size, 4 * MIB as u64);
    job.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
}

#[tokio::test]
async fn a_body_that_grows_over_the_limit_of_the_route_is_413_and_deleted() {
    let (gateway, worker) = durable_pair_with(|route| route.max_body(3_000_000), |builder| builder).await;
    let (client, request) = open_upload();
    let response = spawn(&gateway, request);
    client.unbounded_send(piece(2_000_000)).expect("sent");
    eventually("chunks", async || worker.stored_bodies().await.is_some_and(|chunks| chunks > 0)).await;
    client.unbounded_send(piece(1_000_001)).expect("sent");
    assert_eq!(response.await.expect("no panic").status, StatusCode::PAYLOAD_TOO_LARGE);
    eventually("an empty bucket", async || worker.stored_bodies().await == Some(0)).await;
    assert_eq!(worker.stored().await, Some(0));
}

#[tokio::test]
async fn the_parts_of_a_body_whose_client_leaves_are_deleted() {
    let (gateway, worker) = durable_pair().await;
    let (client, request) = open_upload();
    let response = spawn(&gateway, request);
    client.unbounded_send(piece(2 * MIB)).expect("sent");
    eventually("chunks", async || worker.stored_bodies().await.is_some_and(|chunks| chunks > 0)).await;
    response.abort();
    assert!(response.await.is_err_and(|error| error.is_cancelled()));
    eventually("an empty bucket", async || worker.stored_bodies().await == Some(0)).await;
    drop(client);
}

#[tokio::test]
async fn a_client_that_pauses_or_takes_too_long_is_408() {
    let metrics = Metrics::install();
    let second = Duration::from_secs(1);
    for length in [1, 2 * MIB] {
        let (gateway, worker) = durable_pair_with(|route| route.timeout(second / 2), |builder| builder).await;
        let (client, request) = open_upload();
        let response = spawn(&gateway, request);
        client.unbounded_send(piece(length)).expect("sent");
        assert_eq!(response.await.expect("no panic").status, StatusCode::REQUEST_TIMEOUT, "{length}");
        eventually("no chunks", async || worker.stored_bodies().await.unwrap_or(0) == 0).await;
        assert_eq!(worker.stored().await, Some(0));

        let (gateway, _worker) =
            durable_pair_with(|route| route, |builder| builder.body_timeout(second / 2)).await;
        let (client, request) = open_upload();
        let response = spawn(&gateway, request);
        client.unbounded_send(piece(length)).expect("sent");
        eventually("a response", async || {
            let _ = client.unbounded_send(piece(1));
            response.is_finished()
        })
        .await;
        assert_eq!(response.await.expect("no panic").status, StatusCode::REQUEST_TIMEOUT, "{length}");
    }
    let requests = |status: &str| metrics.value("http_gateway_requests_total", &[("status_code", status)]);
    assert_eq!((requests("408"), requests("504")), (4.0, 0.0));
    // None was sent.
    assert_eq!(metrics.value("http_gateway_nats_requests_total", &[]), 0.0);
}

#[tokio::test]
async fn a_full_bucket_of_bodies_is_503_and_nothing_is_left_of_the_body() {
    let settings = StreamSettings::new().bodies_max_bytes(4 << 20);
    let (gateway, mut worker) =
        durable_pair_with(|route| route, |builder| builder.stream_settings(settings)).await;
    let waiting = spawn(&gateway, upload(3 * MIB));
    let job = worker.job().await;
    let before = worker.stored_bodies().await;
    for _ in 0..3 {
        let response = send(&gateway, upload(3 * MIB)).await;
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.header("retry-after").is_some());
        eventually("as before", async || worker.stored_bodies().await == before).await;
    }
    // Requests without such a body are stored.
    let small = spawn(&gateway, post("/"));
    worker.job().await.ok("small").await;
    assert_eq!(small.await.expect("no panic").body, "small");
    job.ok("done").await;
    assert_eq!(waiting.await.expect("no panic").body, "done");
}

#[tokio::test]
async fn a_bucket_of_bodies_for_which_there_is_no_room_is_503() {
    let settings = StreamSettings::new().bodies_max_bytes(1 << 60);
    let (gateway, worker) =
        durable_pair_with(|route| route, |builder| builder.stream_settings(settings)).await;
    let response = send(&gateway, upload(3 * MIB)).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.header("retry-after").is_some());
    assert_eq!(worker.stored_bodies().await, None);
}

#[tokio::test]
async fn bodies_that_are_received_at_once_share_the_budget() {
    let (gateway, mut worker) =
        durable_pair_with(|route| route, |builder| builder.body_budget(1 << 20)).await;
    // Some fit a message, and all hold something at the same time.
    let uploads: Vec<_> = (0..24)
        .map(|number| {
            let (client, request) = open_upload();
            let response = spawn(&gateway, request);
            client.unbounded_send(piece(100_000 + number)).expect("sent");
            (client, response, number)
        })
        .collect();
    let mut responses = Vec::new();
    for (client, response, number) in uploads {
        client.unbounded_send(piece(if number % 2 == 0 { 2 * MIB } else { 10 })).expect("sent");
        responses.push(response);
    }
    for _ in 0..24 {
        worker.job().await.ok("done").await;
    }
    for response in responses {
        assert_eq!(response.await.expect("no panic").body, "done");
    }
}

#[tokio::test]
async fn a_key_with_a_large_body_is_taken_once_and_copies_are_deleted() {
    let (gateway, mut worker) =
        durable_pair_with(|route| route.timeout(Duration::from_secs(3)), |builder| builder).await;
    let keyed = |length| {
        let mut request = upload(length);
        request.headers_mut().insert("idempotency-key", http::HeaderValue::from_static("large"));
        request
    };
    let first = spawn(&gateway, keyed(2 * MIB));
    worker.job().await.ok("done").await;
    assert_eq!(first.await.expect("no panic").body, "done");
    let stored = worker.stored_bodies().await;
    for other in [2 * MIB + 1, 1] {
        assert_eq!(send(&gateway, keyed(other)).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        eventually("one copy", async || worker.stored_bodies().await == stored).await;
    }
    // This worker stores no outcomes.
    assert_eq!(send(&gateway, keyed(2 * MIB)).await.status, StatusCode::CONFLICT);
    eventually("one copy", async || worker.stored_bodies().await == stored).await;
    assert!(worker.waiting_job().await.is_none());
}
