//! Durable requests that the stream refuses.

use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use http::StatusCode;
use narun_gateway::{BuildError, Gateway, StreamSettings};
use narun_support::{Cluster, Server};

use crate::harness::{
    HttpResponse, Metrics, connect, eventually, grpc, new_app, new_namespace, open_tokens, post, send, spawn,
};
use crate::worker::{durable_builder, durable_pair, durable_pair_with, durable_route};

#[track_caller]
fn assert_unavailable(response: &HttpResponse) {
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE, "{:?}", response.body);
    assert_eq!(response.header("retry-after"), Some("1"));
}

/// Sends a request as HTTP and as gRPC, and checks that it is refused.
async fn assert_refused(gateway: &Gateway) -> HttpResponse {
    let response = send(gateway, post("/")).await;
    assert_unavailable(&response);
    let answer_to_grpc = send(gateway, grpc(post("/"))).await;
    assert_eq!(answer_to_grpc.header("grpc-status"), Some("14"));
    response
}

#[tokio::test]
async fn a_deleted_stream_is_503_at_once_and_declared_again() {
    let metrics = Metrics::install();
    let (gateway, worker) = durable_pair().await;
    worker.delete_stream().await;
    let begin = Instant::now();
    assert_unavailable(&send(&gateway, post("/")).await);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(metrics.value("http_gateway_durable_publishes_total", &[("status", "missing")]), 1.0);
    eventually("a stream", async || worker.stored().await.is_some()).await;
    let response = spawn(&gateway, post("/"));
    eventually("a stored request", async || worker.stored().await == Some(1)).await;
    response.abort();
}

#[tokio::test]
async fn a_full_stream_is_503() {
    let metrics = Metrics::install();
    let settings = StreamSettings::new().max_messages(1);
    let (gateway, mut worker) =
        durable_pair_with(|route| route, |builder| builder.stream_settings(settings)).await;
    let waiting = spawn(&gateway, post("/"));
    let job = worker.job().await;
    assert_refused(&gateway).await;
    assert_eq!(metrics.value("http_gateway_durable_publishes_total", &[("status", "full")]), 2.0);
    job.ok("done").await;
    assert_eq!(waiting.await.expect("no panic").body, "done");
    // There is room again when the stream has the acknowledgement, which is sent after the response.
    eventually("an empty stream", async || worker.stored().await == Some(0)).await;
    let response = spawn(&gateway, post("/"));
    worker.job().await.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_message_over_the_streams_limit_is_413() {
    let (gateway, worker) = durable_pair().await;
    worker.replace_stream(RetentionPolicy::WorkQueue, 64).await;
    let response = send(&gateway, post("/")).await;
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send(&gateway, grpc(post("/"))).await.header("grpc-status"), Some("8"));
}

#[tokio::test]
async fn a_stream_of_another_name_is_503() {
    let (gateway, worker) = durable_pair().await;
    worker.delete_stream().await;
    let namespace = worker.namespace();
    let name = format!("{namespace}-other");
    let subjects = vec![namespace.task_subjects()];
    worker.create_stream(Config { name: name.clone(), subjects, ..Config::default() }).await;
    assert_unavailable(&send(&gateway, post("/")).await);
    assert_eq!(worker.messages_in(&name).await, Some(0), "it is not stored elsewhere");
}

#[tokio::test]
async fn without_jetstream_a_gateway_is_not_built() {
    let server = Server::start().expect("a nats-server");
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let builder = durable_builder(client, &new_namespace()).route(durable_route(&new_app()));
    let built = builder.start_timeout(Duration::from_millis(1)).build().await;
    let Err(BuildError::Durable(error)) = built else { panic!("{built:?}") };
    assert!(error.to_string().contains("JetStream is not enabled"), "{error}");
}

#[tokio::test]
async fn without_jetstream_the_response_is_503() {
    let mut server = Server::start().expect("a nats-server");
    let client = async_nats::connect(server.url()).await.expect("a connection");
    server.kill().expect("it is killed");
    eventually("a lost connection", async || client.connection_state() != State::Connected).await;
    let builder = durable_builder(client.clone(), &new_namespace()).route(durable_route(&new_app()));
    let gateway = builder.build().await.expect("a gateway, as NATS may come back");
    server.restart().expect("it starts again");
    eventually("a connection", async || client.connection_state() == State::Connected).await;
    assert_refused(&gateway).await;
}

#[tokio::test]
async fn an_unconfirmed_request_is_504_with_the_id() {
    let (namespace, app) = (new_namespace(), new_app());
    let proxy = crate::proxy::Proxy::start(crate::harness::SERVER.port()).await;
    let route = durable_route(&app).timeout(Duration::from_secs(1));
    let builder = durable_builder(proxy.connect().await, &namespace);
    let gateway = builder.route(route).build().await.expect("a gateway");
    proxy.hold();
    let response = spawn(&gateway, post("/"));
    let mut worker = crate::worker::Worker::start(connect().await, &namespace, &app).await;
    let job = worker.job().await;
    let response = response.await.expect("no panic");
    assert_eq!(response.status, StatusCode::GATEWAY_TIMEOUT);
    let text = String::from_utf8_lossy(&response.body);
    assert!(text.contains(&job.id()) && text.contains("may have been accepted"), "{text}");
}

#[tokio::test]
async fn without_a_leader_the_response_says_so() {
    let mut cluster = Cluster::start().expect("a cluster");
    let client = async_nats::connect(cluster.urls()).await.expect("a connection");
    let settings = StreamSettings::new().replicas(3);
    let gateway = durable_builder(client, &new_namespace())
        .stream_settings(settings)
        .route(durable_route(&new_app()).respond_async().timeout(Duration::from_secs(2)))
        .build()
        .await
        .expect("a gateway");
    assert_eq!(send(&gateway, post("/")).await.status, StatusCode::ACCEPTED);
    for server in [1, 2] {
        cluster.server(server).kill().expect("a dead server");
    }
    let without_a_leader = async || {
        let response = send(&gateway, post("/")).await;
        let text = String::from_utf8_lossy(&response.body).into_owned();
        // Shown if the test fails.
        println!("{text}");
        response.status == StatusCode::SERVICE_UNAVAILABLE && text.contains("JetStream has no leader")
    };
    eventually("no leader", without_a_leader).await;
    for server in [1, 2] {
        cluster.server(server).restart().expect("the server again");
    }
    eventually("a leader", async || send(&gateway, post("/")).await.status == StatusCode::ACCEPTED).await;
}
