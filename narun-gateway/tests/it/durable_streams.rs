//! How the stream of durable requests is declared and checked.

use std::error::Error as _;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::stream::{Config, StorageType};
use http::StatusCode;
use narun_gateway::{BuildError, Gateway, Namespace, Route, Storage, StreamSettings};
use narun_support::Server;
use narun_support::testing::Logs;

use crate::harness::{connect, eventually, get, new_app, new_namespace, post, send, spawn};
use crate::worker::{Worker, durable_builder, durable_route};

/// Creates a stream of this namespace that breaks a guarantee.
async fn create_wrong_stream(namespace: &Namespace) {
    let subjects = vec![namespace.task_subjects()];
    let config = Config { name: namespace.to_string(), subjects, ..Config::default() };
    async_nats::jetstream::new(connect().await).create_stream(config).await.expect("a stream");
}

#[tokio::test]
async fn a_stream_is_declared_with_its_settings() {
    let namespace = new_namespace();
    let settings = StreamSettings::new().storage(Storage::Memory).max_messages(7);
    let builder = durable_builder(connect().await, &namespace).stream_settings(settings);
    builder.route(durable_route(&new_app())).build().await.expect("a gateway");
    let context = async_nats::jetstream::new(connect().await);
    let stream = context.get_stream(namespace.as_str()).await.expect("a stream");
    let config = &stream.cached_info().config;
    assert_eq!((config.storage, config.max_messages), (StorageType::Memory, 7));
}

#[tokio::test]
async fn a_stream_with_other_settings_is_a_build_error_that_names_the_difference() {
    let namespace = new_namespace();
    create_wrong_stream(&namespace).await;
    let builder = durable_builder(connect().await, &namespace);
    let error = builder.route(durable_route(&new_app())).build().await.expect_err("the wrong stream");
    assert!(matches!(error, BuildError::Durable(_)), "{error:?}");
    let source = error.source().expect("a source").to_string();
    assert!(source.contains(namespace.as_str()) && source.contains("retention"), "{source}");
    // A gateway without a durable route is not affected.
    let builder = Gateway::builder(connect().await).namespace(namespace);
    builder.route(Route::any("/", "app")).build().await.expect("a gateway");
}

#[tokio::test]
async fn a_missing_stream_that_may_not_be_declared_is_an_error() {
    let builder = durable_builder(connect().await, &new_namespace());
    let builder = builder.stream_settings(StreamSettings::new().declare(false));
    let error = builder.route(durable_route(&new_app())).build().await.expect_err("no stream");
    assert!(matches!(error, BuildError::Durable(_)), "{error:?}");
}

#[tokio::test]
async fn the_first_durable_route_declares_the_stream() {
    let (namespace, app) = (new_namespace(), new_app());
    let gateway = durable_builder(connect().await, &namespace).build().await.expect("a gateway");
    gateway.replace_routes([durable_route(&app)]).expect("routes");
    let response = spawn(&gateway, post("/"));
    let context = async_nats::jetstream::new(connect().await);
    eventually("a stream", async || context.get_stream(namespace.as_str()).await.is_ok()).await;
    let mut worker = Worker::start(connect().await, &namespace, &app).await;
    worker.job().await.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
}

#[tokio::test]
async fn a_stream_with_other_settings_that_is_found_later_is_503_and_the_difference_is_logged() {
    let (logs, app) = (Logs::capture(), new_app());
    let namespace = new_namespace();
    create_wrong_stream(&namespace).await;
    let gateway = durable_builder(connect().await, &namespace).build().await.expect("a gateway");
    gateway.replace_routes([durable_route(&app)]).expect("routes");
    let response = send(&gateway, post("/")).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    let (_, event) = logs.event("the request failed", &[("app", &app)]).await;
    assert!(event["cause"].contains("retention"), "{event:?}");
}

#[tokio::test]
async fn a_gateway_that_was_built_without_nats_declares_the_stream_later() {
    let mut server = Server::builder().jetstream(true).start().expect("a nats-server");
    server.kill().expect("a dead server");
    let (namespace, app) = (new_namespace(), new_app());
    let client = ConnectOptions::new()
        .retry_on_initial_connect()
        .reconnect_delay_callback(|_| Duration::from_millis(10))
        .connect(server.url())
        .await
        .expect("a client");
    let gateway =
        durable_builder(client, &namespace).route(durable_route(&app)).build().await.expect("a gateway");
    assert_eq!(send(&gateway, get("/")).await.status, StatusCode::SERVICE_UNAVAILABLE);

    server.restart().expect("the server");
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let context = async_nats::jetstream::new(client.clone());
    eventually("a stream", async || context.get_stream(namespace.as_str()).await.is_ok()).await;
    let mut worker = Worker::start(client, &namespace, &app).await;
    let response = spawn(&gateway, post("/"));
    worker.job().await.ok("served").await;
    assert_eq!(response.await.expect("no panic").body, "served");
}
