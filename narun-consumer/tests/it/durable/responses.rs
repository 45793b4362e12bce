//! Durable requests that succeed, and their responses.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Request, StatusCode};
use narun_consumer::{Body, Delivery, Received};
use narun_core::Limits;
use narun_core::frame::ResponseFrame;
use narun_nats::jetstream::header;
use tower::service_fn;

use super::{Handler, World, new_head, start, through};
use crate::gate::Gate;
use crate::gateway::encode;
use crate::harness::{Metrics, eventually, soon};
use crate::observed::logs;

#[tokio::test]
async fn a_request_gets_its_response_and_leaves_the_stream() {
    let world = World::new().await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await).await;
    let mut asked = world.ask("/echo").await;
    let response = asked.response().await;
    assert_eq!((response.parts.status, response.body), (StatusCode::OK, Bytes::from("body of it")));
    world.is_done().await;
    assert_eq!(handler.seen(), [("/echo".to_owned(), 1)]);
}

#[tokio::test]
async fn requests_older_than_their_consumer_are_served() {
    let world = World::new().await;
    let mut asked = Vec::new();
    for number in 0..20 {
        asked.push(world.ask(&format!("/{number}")).await);
    }
    start(world.serve(Handler::default()).await.durable_concurrency(3)).await;
    for (number, asked) in asked.iter_mut().enumerate() {
        assert_eq!(asked.response().await.body, format!("/{number}"));
    }
    world.is_done().await;
}

#[tokio::test]
async fn direct_and_durable_requests_are_served_together() {
    let world = World::new().await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await).await;
    let mut durable = world.ask("/durable").await;
    let request = Request::get("/direct").body(Body::empty()).expect("a request");
    let subject = world.namespace.call_subject(&world.app);
    let direct = world.client.request(subject, encode(&new_head(), request).await);
    let direct = soon("a response", direct).await.expect("a consumer");
    let direct = ResponseFrame::decode(&direct.payload, &Limits::default()).expect("a RESPONSE");
    assert_eq!(direct.body, "/direct");
    assert_eq!(durable.response().await.body, "/durable");
    let mut seen = handler.seen();
    seen.sort();
    assert_eq!(seen, [("/direct".to_owned(), 0), ("/durable".to_owned(), 1)]);
}

#[tokio::test]
async fn a_handler_sees_how_its_request_was_delivered() {
    let world = World::new().await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        let _ = sender.send(request.extensions().get::<Received>().cloned().expect("Received"));
        std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty())))
    });
    start(world.serve(service).await.handler_timeout(Duration::from_secs(60))).await;
    let asked = world.ask("/").await;
    let received = soon("a request", receiver.recv()).await.expect("a handler");
    assert_eq!((received.id(), received.app()), (asked.id, &world.app));
    assert!(received.deadline().is_some());
    let Delivery::Durable { count: 1, first_received } = received.delivery() else {
        panic!("{:?}", received.delivery())
    };
    let age = SystemTime::now().duration_since(first_received).unwrap_or_default();
    assert!(age < Duration::from_secs(60), "{age:?}");
}

#[tokio::test]
async fn a_handler_that_takes_longer_than_the_ack_wait_keeps_its_request() {
    let world = World::new().await;
    let gate = Gate::new();
    let acks = format!("$JS.ACK.{}.{}.>", world.namespace.task_stream(), world.app);
    let mut acks = world.client.subscribe(acks).await.expect("a subscription");
    start(world.serve(through(&gate)).await.ack_wait(Duration::from_secs(1))).await;
    let mut asked = world.ask("/slow").await;
    eventually("a started handler", async || gate.started() == 1).await;
    // One is sent every third of the ack wait: after ten of them, it has elapsed three times.
    for _ in 0..10 {
        let ack = soon("an ack", acks.next()).await.expect("an open subscription");
        assert_eq!(ack.payload, "+WPI");
    }
    gate.open(10);
    assert_eq!(asked.response().await.body, "/slow");
    world.is_done().await;
    assert_eq!(gate.started(), 1);
}

#[tokio::test]
async fn requests_without_an_inbox_are_handled() {
    let world = World::new().await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await).await;
    let request = Request::post("/alone").body(Body::empty()).expect("a request");
    world.publish("alone", encode(&new_head(), request).await, &[]).await;
    eventually("a run", async || handler.runs() == 1).await;
    world.is_done().await;
}

#[tokio::test]
async fn a_foreign_inbox_gets_no_response() {
    let metrics = Metrics::install();
    let world = World::new().await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await).await;
    let mut foreign = world.client.subscribe("elsewhere.>").await.expect("a subscription");
    let mut asked = world.send(new_head(), "/done", &[(header::INBOX, "elsewhere.x")]).await;
    world.is_done().await;
    assert_eq!(handler.runs(), 1);
    assert!(asked.has_no_response());
    assert!(foreign.next().now_or_never().is_none());
    assert_eq!(metrics.value("http_consumer_discarded_total", &[("reason", "foreign_reply")]), 1.0);
}

#[tokio::test]
async fn a_response_that_is_too_large_is_502_and_the_reason_is_logged() {
    let logs = logs();
    let world = World::new().await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await).await;
    let response = world.ask("/large").await.response().await;
    assert_eq!(response.parts.status, StatusCode::BAD_GATEWAY);
    let (_, event) = logs.event("the response cannot be sent", &[("app", world.app.as_str())]).await;
    assert!(event["cause"].contains("1044480"), "{event:?}");
    world.is_done().await;
    assert_eq!(handler.runs(), 1);
}

#[tokio::test]
async fn waiting_requests_are_counted() {
    let metrics = Metrics::install();
    let world = World::new().await;
    for _ in 0..3 {
        world.ask("/").await;
    }
    let gate = Gate::new();
    start(world.serve(through(&gate)).await.durable_concurrency(1)).await;
    let labels = [("app", world.app.as_str())];
    eventually("a count", async || metrics.value("http_consumer_pending", &labels) >= 2.0).await;
    gate.open(3);
    world.is_done().await;
    assert_eq!(metrics.value("http_consumer_requests_total", &labels), 3.0);
    eventually("no request in flight", async || {
        metrics.value("http_consumer_requests_in_flight", &labels) == 0.0
    })
    .await;
}
