//! The stream is declared, or found to be another one than it must be.

use std::error::Error as _;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::stream::{Config, StorageType};
use http::StatusCode;
use narun_gateway::{BuildError, Gateway, Namespace, Route, Storage, StreamSettings};
use narun_support::Server;

use crate::harness::{connect, eventually, get, new_app, new_namespace, post, send, spawn};
use crate::worker::{Worker, durable_builder, durable_route};

/// A stream of this namespace that drops what nobody has asked for.
async fn create_wrong_stream(namespace: &Namespace) {
    let subjects = vec![namespace.task_subjects()];
    let config = Config { name: namespace.to_string(), subjects, ..Config::default() };
    async_nats::jetstream::new(connect().await).create_stream(config).await.expect("a stream");
}

#[tokio::test]
async fn it_is_declared_as_set() {
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
async fn another_one_is_an_error_of_building_that_names_the_difference() {
    let namespace = new_namespace();
    create_wrong_stream(&namespace).await;
    let builder = durable_builder(connect().await, &namespace);
    let error = builder.route(durable_route(&new_app())).build().await.expect_err("the wrong stream");
    assert!(matches!(error, BuildError::Durable(_)), "{error:?}");
    let source = error.source().expect("a source").to_string();
    assert!(source.contains(namespace.as_str()) && source.contains("retention"), "{source}");
    // Who has no durable route need not care.
    let builder = Gateway::builder(connect().await).namespace(namespace);
    builder.route(Route::any("/", "app")).build().await.expect("a gateway");
}

#[tokio::test]
async fn one_that_is_missing_and_not_to_be_declared_is_an_error() {
    let builder = durable_builder(connect().await, &new_namespace());
    let builder = builder.stream_settings(StreamSettings::new().declare(false));
    let error = builder.route(durable_route(&new_app())).build().await.expect_err("no stream");
    assert!(matches!(error, BuildError::Durable(_)), "{error:?}");
}

#[tokio::test]
async fn the_first_durable_route_declares_it() {
    let (namespace, app) = (new_namespace(), new_app());
    let gateway = durable_builder(connect().await, &namespace).build().await.expect("a gateway");
    gateway.replace_routes([durable_route(&app)]).expect("routes");
    let answer = spawn(&gateway, post("/"));
    let context = async_nats::jetstream::new(connect().await);
    eventually("a stream", async || context.get_stream(namespace.as_str()).await.is_ok()).await;
    let mut worker = Worker::start(connect().await, &namespace, &app).await;
    worker.job().await.ok("done").await;
    assert_eq!(answer.await.expect("no panic").body, "done");
}

#[tokio::test]
async fn another_one_found_later_is_503_with_the_difference() {
    let namespace = new_namespace();
    create_wrong_stream(&namespace).await;
    let gateway = durable_builder(connect().await, &namespace).build().await.expect("a gateway");
    gateway.replace_routes([durable_route(&new_app())]).expect("routes");
    let answer = send(&gateway, post("/")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains("retention"), "{text}");
}

#[tokio::test]
async fn a_gateway_that_was_built_before_nats_was_there_declares_it_then() {
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
    let answer = spawn(&gateway, post("/"));
    worker.job().await.ok("served").await;
    assert_eq!(answer.await.expect("no panic").body, "served");
}
