//! Servers that restart, and streams that are missing or differ.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, RetentionPolicy};
use narun_consumer::{ServeError, StreamSettings, serve};
use narun_support::Server;
use narun_support::testing::poison;
use tracing::Level;

use super::{Handler, World, start};
use crate::harness::{SERVER, connect, eventually, soon, subject};
use crate::observed::logs;

#[tokio::test]
async fn a_deleted_consumer_is_declared_again() {
    let (logs, world) = (logs(), World::new().await);
    start(world.serve(Handler::default()).await).await;
    assert_eq!(world.ask("/before").await.response().await.body, "/before");
    let (stream, app) = (world.namespace.task_stream(), world.app.as_str());
    world.tasks.context().delete_consumer_from_stream(app, stream).await.expect("a consumer deleted");
    assert_eq!(world.ask("/after").await.response().await.body, "/after");
    let text = "the consumer of the stream is missing: declaring it again";
    assert_eq!(logs.event(text, &[("app", app)]).await.0, Level::WARN);

    world.tasks.context().delete_stream(stream).await.expect("a stream deleted");
    eventually("a stream", async || world.tasks.context().get_stream(stream).await.is_ok()).await;
    assert_eq!(world.ask("/anew").await.response().await.body, "/anew");
    world.is_done().await;
}

#[tokio::test]
async fn accepted_requests_are_handled_after_the_server_was_killed() {
    let mut server = Server::builder().jetstream(true).start().expect("a nats-server");
    let url = server.url().to_owned();
    let connect = async || async_nats::connect(&url).await.expect("a connection");
    let world = World::over(connect().await);
    let gate = crate::gate::Gate::new();
    let serve = world.serve_over(connect().await, super::through(&gate));
    start(serve.ack_wait(Duration::from_millis(500)).durable_concurrency(4)).await;
    for _ in 0..10 {
        world.ask("/").await;
    }
    eventually("four handlers", async || gate.started() == 4).await;
    server.restart().expect("a restart");
    gate.open(100);
    let observer = World { client: connect().await, ..world };
    let context = async_nats::jetstream::new(observer.client.clone());
    eventually("an empty stream", async || {
        match context.get_stream(observer.namespace.task_stream()).await {
            Ok(stream) => stream.cached_info().state.messages == 0,
            Err(_) => false,
        }
    })
    .await;
    assert!(gate.finished() >= 10);
}

#[tokio::test]
async fn a_stream_with_other_settings_is_an_error() {
    let world = World::new().await;
    let config = Config {
        name: world.namespace.task_stream().to_owned(),
        subjects: vec![world.namespace.task_subjects()],
        retention: RetentionPolicy::Limits,
        ..Config::default()
    };
    world.tasks.context().create_stream(config).await.expect("a stream");
    let ended = soon("an end", world.serve(Handler::default()).await.into_future()).await;
    let Err(error @ ServeError::Stream(_)) = ended else { panic!("{ended:?}") };
    let text = error.to_string();
    assert!(text.contains(world.namespace.task_stream()) && text.contains("retention"), "{text}");
}

#[tokio::test]
async fn a_missing_stream_that_must_not_be_declared_is_an_error() {
    let world = World::new().await;
    let serve = world.serve(Handler::default()).await.stream_settings(StreamSettings::new().declare(false));
    let ended = soon("an end", serve.into_future()).await;
    assert!(matches!(ended, Err(ServeError::Stream(_))), "{ended:?}");
}

#[tokio::test]
async fn direct_requests_are_served_while_jetstream_is_unavailable() {
    let server = Server::start().expect("a nats-server");
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let consumer =
        tokio::spawn(serve(client.clone(), "app", Handler::default()).stream("TASK").into_future());
    eventually("a consumer", async || client.request(subject("app"), "".into()).await.is_ok()).await;
    assert!(!consumer.is_finished());
}

#[tokio::test]
async fn without_jetstream_a_consumer_says_so_and_ends() {
    let server = Server::start().expect("a nats-server");
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let served = serve(client, "app", Handler::default()).stream("TASK");
    let served = soon("an end", served.start_timeout(Duration::from_millis(1)).into_future()).await;
    assert!(
        matches!(&served, Err(ServeError::Stream(text)) if text.contains("JetStream is not enabled")),
        "{served:?}"
    );
}

#[tokio::test]
async fn a_message_that_stops_the_client_ends_the_consumer() {
    let world = World::new().await;
    let consumer = start(world.serve(Handler::default()).await).await;
    poison(SERVER.port(), &world.namespace.task_subject(&world.app)).await;
    let ended = soon("an end", consumer).await.expect("no panic");
    assert!(matches!(ended, Err(ServeError::ClientLost)), "{ended:?}");
}

#[tokio::test]
async fn invalid_settings_are_refused() {
    let make = async || serve(connect().await, "app", Handler::default()).stream("NEVER");
    let second = Duration::from_secs(1);
    for serve in [
        make().await.durable_concurrency(0),
        make().await.max_deliveries(0),
        make().await.ack_wait(Duration::from_millis(99)),
        make().await.redelivery_delay(second..=second / 2),
    ] {
        let ended = soon("an end", serve.into_future()).await;
        assert!(matches!(ended, Err(ServeError::Setting(_))), "{ended:?}");
    }
}
