//! The end of a consumer: other consumers get the requests that it has not done at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::{Handler, SentRequest, World, start, through};
use crate::gate::Gate;
use crate::harness::{eventually, soon};

/// An ack wait so long that nothing is redelivered by it during a test.
const LONG: Duration = Duration::from_secs(60);

async fn ask(world: &World, requests: usize) -> Vec<SentRequest> {
    let mut asked = Vec::new();
    for _ in 0..requests {
        asked.push(world.ask("/").await);
    }
    asked
}

/// Checks that another consumer handles the remaining requests.
async fn others_do(world: &World, asked: &mut [SentRequest], left: usize) {
    let handler = Handler::default();
    start(world.serve(handler.clone()).await.ack_wait(LONG)).await;
    world.is_done().await;
    for asked in asked {
        asked.response().await;
    }
    assert_eq!(handler.runs(), left);
}

#[tokio::test]
async fn a_shutdown_waits_for_handlers_and_pulls_no_more() {
    let world = World::new().await;
    let (gate, signal) = (Gate::new(), Arc::new(Notify::new()));
    let shutdown = signal.clone();
    let (begins, begun) = oneshot::channel();
    let serve = world.serve(through(&gate)).await.ack_wait(LONG).durable_concurrency(2);
    let serve = serve.with_graceful_shutdown(async move {
        shutdown.notified().await;
        let _ = begins.send(());
    });
    let consumer = start(serve).await;
    let mut asked = ask(&world, 6).await;
    eventually("two handlers", async || gate.started() == 2).await;
    signal.notify_one();
    // The consumer stops in the poll in which it sees the signal, so no handler ends before it has stopped pulling.
    soon("the shutdown", begun).await.expect("a consumer");
    gate.open(2);
    soon("the end", consumer).await.expect("no panic").expect("a graceful end");
    assert_eq!((gate.started(), gate.finished()), (2, 2));
    others_do(&world, &mut asked, 4).await;
}

#[tokio::test]
async fn requests_are_given_back_after_the_shutdown_timeout() {
    let world = World::new().await;
    let (gate, signal) = (Gate::new(), Arc::new(Notify::new()));
    let shutdown = signal.clone();
    let serve = world.serve(through(&gate)).await.ack_wait(LONG).durable_concurrency(2);
    let serve = serve.shutdown_timeout(Duration::from_millis(100));
    let consumer = start(serve.with_graceful_shutdown(async move { shutdown.notified().await })).await;
    let mut asked = ask(&world, 3).await;
    eventually("two handlers", async || gate.started() == 2).await;
    signal.notify_one();
    soon("the end", consumer).await.expect("no panic").expect("a graceful end");
    assert_eq!((gate.started(), gate.dropped()), (2, 2));
    others_do(&world, &mut asked, 3).await;
}

#[tokio::test]
async fn a_dropped_consumer_gives_back_its_requests() {
    let world = World::new().await;
    let gate = Gate::new();
    // Its client stays alive.
    let client = crate::harness::connect().await;
    let serve = world.serve_over(client.clone(), through(&gate)).ack_wait(LONG).durable_concurrency(2);
    let consumer = start(serve).await;
    let mut asked = ask(&world, 3).await;
    eventually("two handlers", async || gate.started() == 2).await;
    consumer.abort();
    assert!(consumer.await.expect_err("an abort").is_cancelled());
    others_do(&world, &mut asked, 3).await;
    drop(client);
}

#[tokio::test]
async fn a_shutdown_without_requests_is_quick() {
    let world = World::new().await;
    let signal = Arc::new(Notify::new());
    let shutdown = signal.clone();
    let serve = world.serve(Handler::default()).await;
    let consumer = start(serve.with_graceful_shutdown(async move { shutdown.notified().await })).await;
    signal.notify_one();
    soon("the end", consumer).await.expect("no panic").expect("a graceful end");
}

#[tokio::test]
async fn requests_that_arrive_in_a_shutdown_are_given_back_once() {
    let world = World::new().await;
    let signal = Arc::new(Notify::new());
    let shutdown = signal.clone();
    let gate = Gate::new();
    let serve = world.serve(through(&gate)).await.ack_wait(LONG);
    let consumer = start(serve.with_graceful_shutdown(async move { shutdown.notified().await })).await;
    signal.notify_one();
    let mut asked = Vec::new();
    // Some are delivered to pulls that the server still has.
    while !consumer.is_finished() {
        asked.push(world.ask("/").await);
        gate.open(1);
    }
    consumer.await.expect("no panic").expect("a graceful end");
    let handler = Handler::default();
    start(world.serve(handler.clone()).await.ack_wait(LONG)).await;
    world.is_done().await;
    for asked in &mut asked {
        assert_eq!(asked.status().await, http::StatusCode::OK);
    }
    assert_eq!(handler.runs() + gate.finished(), asked.len());
    assert!(handler.seen().iter().all(|(_, count)| *count <= 2), "{:?}", handler.seen());
}
