//! No more requests are pulled than there are slots.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use narun_consumer::Body;
use tower::service_fn;

use super::{World, start, through};
use crate::gate::Gate;
use crate::harness::eventually;

#[tokio::test]
async fn no_more_requests_are_pulled_than_there_are_slots() {
    let world = World::new().await;
    for _ in 0..12 {
        world.ask("/").await;
    }
    let (gate, other) = (Gate::new(), Gate::new());
    start(world.serve(through(&gate)).await.durable_concurrency(3)).await;
    eventually("three handlers", async || gate.started() == 3).await;
    let mut consumer = world.consumer(std::time::Duration::from_secs(5)).await;
    let info = consumer.info().await.expect("the consumer's state");
    assert_eq!((info.num_ack_pending, info.num_pending), (3, 9));
    start(world.serve(through(&other)).await.durable_concurrency(5)).await;
    eventually("five more handlers", async || other.started() == 5).await;
    assert_eq!(gate.started(), 3);
    // Each request that ends releases a slot.
    gate.open(1);
    eventually("one more handler", async || gate.started() == 4).await;
    gate.open(20);
    other.open(20);
    world.is_done().await;
    assert_eq!(gate.started() + other.started(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_are_never_exceeded_and_every_request_is_handled_once() {
    let world = World::new().await;
    let (now, most, runs) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = [now.clone(), most.clone(), runs.clone()];
    let service = service_fn(move |_: Request<Body>| {
        let [now, most, runs] = counters.clone();
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            runs.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    start(world.serve(service).await.durable_concurrency(7)).await;
    let mut asked = Vec::new();
    for _ in 0..300 {
        asked.push(world.ask("/").await);
    }
    for asked in &mut asked {
        asked.response().await;
    }
    world.is_done().await;
    assert_eq!(runs.load(Ordering::SeqCst), 300);
    assert!((1..=7).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[tokio::test]
async fn direct_requests_have_separate_slots() {
    let world = World::new().await;
    let gate = Gate::new();
    start(world.serve(through(&gate)).await.concurrency(1).queue(0)).await;
    let mut durable = world.ask("/durable").await;
    eventually("a handler", async || gate.started() == 1).await;
    let request = Request::get("/direct").body(Body::empty()).expect("a request");
    let frame = crate::gateway::encode(&super::new_head(), request).await;
    let inbox = world.client.new_inbox();
    world
        .client
        .publish_with_reply(world.namespace.call_subject(&world.app), inbox, frame)
        .await
        .expect("a message sent");
    eventually("another handler", async || gate.started() == 2).await;
    gate.open(2);
    assert_eq!(durable.response().await.body, "/durable");
}
