//! Handlers that fail: their requests are delivered again, and become dead letters in the end.

use std::time::Duration;

use http::StatusCode;

use super::{Handler, World, start, take_and_give_back};
use crate::harness::{Metrics, eventually};

#[tokio::test]
async fn a_failed_delivery_is_repeated() {
    let metrics = Metrics::install();
    let world = World::new().await;
    let handler = Handler::default();
    let serve = world.serve(handler.clone()).await.handler_timeout(Duration::from_secs(1));
    start(serve).await;
    for target in ["/panic-once", "/error-once", "/never-once"] {
        assert_eq!(world.ask(target).await.response().await.body, target);
    }
    world.is_done().await;
    let expected = [("/panic-once", 1), ("/panic-once", 2), ("/error-once", 1), ("/error-once", 2)];
    let expected = expected.into_iter().chain([("/never-once", 1), ("/never-once", 2)]);
    let expected: Vec<_> = expected.map(|(target, count)| (target.to_owned(), count)).collect();
    assert_eq!(handler.seen(), expected);
    let app = ("app", world.app.as_str());
    assert_eq!(metrics.value("http_consumer_redelivered_total", &[app]), 3.0);
    for reason in ["panic", "error", "timed_out"] {
        let failures = metrics.value("http_consumer_handler_failures_total", &[app, ("reason", reason)]);
        assert_eq!(failures, 1.0, "{reason}");
    }
}

#[tokio::test]
async fn a_server_error_is_a_response() {
    let world = World::new().await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await).await;
    assert_eq!(world.ask("/503").await.status().await, StatusCode::SERVICE_UNAVAILABLE);
    world.is_done().await;
    assert_eq!(handler.runs(), 1);
}

#[tokio::test]
async fn a_server_error_is_a_failed_delivery_if_so_configured() {
    let world = World::new().await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await.retry_server_errors(true).max_deliveries(2)).await;
    assert_eq!(world.ask("/503-once").await.response().await.body, "/503-once");
    assert_eq!(world.ask("/503").await.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    let dead = world.dead().await;
    assert_eq!(dead.len(), 1);
    assert!(dead[0].reason().contains("503"), "{}", dead[0].reason());
    assert_eq!(handler.runs(), 4);
}

#[tokio::test]
async fn a_request_that_always_fails_is_500_and_a_dead_letter_with_its_reason() {
    let metrics = Metrics::install();
    let world = World::new().await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await.max_deliveries(3)).await;
    let mut asked = world.ask("/error").await;
    assert_eq!(asked.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    let dead = world.dead().await;
    let [letter] = &dead[..] else { panic!("{dead:?}") };
    assert_eq!((letter.id(), letter.app(), letter.deliveries()), (Some(asked.id), world.app.as_str(), 3));
    assert!(letter.reason().contains("not??today"), "{}", letter.reason());
    assert!(letter.accepted().is_some());
    assert_eq!(letter.request().map(|request| request.uri.path()), Some("/error"));
    assert_eq!(handler.runs(), 3);
    assert!(asked.has_no_response(), "answered once");
    let labels = [("app", world.app.as_str()), ("reason", "failed")];
    assert_eq!(metrics.value("http_consumer_dead_lettered_total", &labels), 1.0);
}

#[tokio::test]
async fn a_request_that_was_delivered_too_often_is_not_handled() {
    let world = World::new().await;
    let consumer = world.consumer(Duration::from_secs(1)).await;
    let mut asked = world.ask("/kills").await;
    // Two processes pulled it and ended.
    for _ in 0..2 {
        take_and_give_back(&consumer).await;
    }
    let handler = Handler::default();
    start(world.serve(handler.clone()).await.max_deliveries(2)).await;
    assert_eq!(asked.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    let dead = world.dead().await;
    // One delivery more, as another process could have handled it.
    assert_eq!((dead.len(), dead[0].deliveries()), (1, 4));
    assert_eq!(handler.runs(), 0);
}

#[tokio::test]
async fn a_failing_request_does_not_delay_others() {
    let world = World::new().await;
    let handler = Handler::default();
    let serve = world.serve(handler.clone()).await.durable_concurrency(1);
    start(serve.redelivery_delay(Duration::from_secs(60)..=Duration::from_secs(60))).await;
    let mut failing = world.ask("/panic").await;
    assert_eq!(world.ask("/fine").await.response().await.body, "/fine");
    eventually("one left", async || world.kept().await == 1).await;
    assert!(failing.has_no_response());
}
