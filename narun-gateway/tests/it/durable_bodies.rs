//! Bodies of durable requests that do not fit a message.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use narun_gateway::StreamSettings;
use narun_nats::jetstream::StreamSettings as Settings;
use narun_nats::jetstream::TaskStreams;

use crate::harness::{SERVER, connect, eventually, new_app, new_namespace, post, send, spawn};
use crate::proxy::Proxy;
use crate::worker::{Worker, durable_builder, durable_pair, durable_pair_with, durable_route};

const MIB: usize = 1024 * 1024;

fn upload(length: usize) -> Request<Full<Bytes>> {
    let body: Vec<u8> = (0..length).map(|position| (position % 251) as u8).collect();
    Request::post("/").body(Full::new(body.into())).expect("a request")
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

    proxy.hold();
    let response = spawn(&gateway, upload(2 * MIB));
    eventually("chunks", async || worker.stored_bodies().await.is_some_and(|now| now > before)).await;
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
