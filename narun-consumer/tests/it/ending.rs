//! Requests that nobody waits for any more: their handlers are dropped.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Subject;
use narun_consumer::serve;
use narun_core::frame::{Frame, Reset, ResetCode, encode_probe};
use narun_support::Server;
use tower::service_fn;

use crate::gate::Gate;
use crate::gateway::{Actor, get, head, real, send};
use crate::harness::{Metrics, connect, eventually, new_app, settle, start};

const CANCELLED: &str = "http_consumer_cancelled_total";

/// A consumer with one slot and a queue.
async fn consumer(app: &str) -> Gate {
    let gate = Gate::new();
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    start(app, serve(connect().await, app, service).concurrency(1)).await;
    gate
}

#[tokio::test]
async fn a_cancelled_handler_is_dropped() {
    let metrics = Metrics::install();
    let app = new_app();
    let gate = consumer(&app).await;
    let actor = Actor::new(&app).await;
    let mut running = actor.get("/running").await;
    let mut queued = actor.get("/queued").await;
    let (running_token, queued_token) = (running.working().await, queued.working().await);
    assert_ne!(running_token, queued_token);

    // Cancelled while it waits, it never starts.
    queued.cancel(&queued_token).await;
    eventually("a cancelled request", async || metrics.value(CANCELLED, &[("reason", "caller")]) == 1.0)
        .await;
    assert_eq!((gate.started(), gate.dropped()), (1, 0));
    assert_eq!(metrics.value("http_consumer_requests_queued", &[]), 0.0);

    running.cancel(&running_token).await;
    eventually("a dropped handler", async || gate.dropped() == 1).await;
    assert_eq!(metrics.value(CANCELLED, &[("reason", "caller")]), 2.0);

    // Both places are free, and neither is answered.
    gate.open(1);
    assert_eq!(actor.get("/next").await.response().await.body, "/next");
    settle(actor.client()).await;
    assert!(running.waiting_frame().is_none());
    assert!(queued.waiting_frame().is_none());
    assert_eq!(gate.started(), 2);
}

#[tokio::test]
async fn time_that_is_over_drops_the_handler() {
    let metrics = Metrics::install();
    let app = new_app();
    let gate = consumer(&app).await;
    let actor = Actor::new(&app).await;
    let mut running = actor.get_within("/running", Duration::from_secs(3)).await;
    let mut total = head();
    total.head_timeout = Some(Duration::from_secs(60));
    total.total_timeout = Some(Duration::from_millis(200));
    let mut queued = actor.send(total, get("/queued")).await;
    assert_eq!(queued.reset().await.0, ResetCode::Deadline);
    assert_eq!((gate.started(), gate.dropped()), (1, 0));
    assert_eq!(running.reset().await.0, ResetCode::Deadline);
    eventually("a dropped handler", async || gate.dropped() == 1).await;
    assert_eq!(metrics.value(CANCELLED, &[("reason", "deadline")]), 2.0);
    gate.open(1);
    actor.get("/next").await.response().await;
}

#[tokio::test]
async fn a_gateway_that_is_gone_drops_the_handler() {
    let metrics = Metrics::install();
    let app = new_app();
    let gate = consumer(&app).await;
    let actor = Actor::new(&app).await;
    // Gone before anything was said: WORKING meets nobody.
    let exchange = actor.get("/").await;
    eventually("a started handler", async || gate.started() == 1).await;
    exchange.leave().await;
    eventually("a dropped handler", async || gate.dropped() == 1).await;
    assert_eq!(metrics.value(CANCELLED, &[("reason", "gone")]), 1.0);

    // Gone afterwards: the next WORKING, 5 s later.
    let mut exchange = actor.get("/").await;
    exchange.working().await;
    exchange.leave().await;
    eventually("a dropped handler", async || gate.dropped() == 2).await;
    assert_eq!(metrics.value(CANCELLED, &[("reason", "gone")]), 2.0);
}

#[tokio::test]
async fn a_gateway_that_is_back_soon_is_not_gone() {
    let metrics = Metrics::install();
    let app = new_app();
    let gate = consumer(&app).await;
    let actor = Actor::new(&app).await;
    let exchange = actor.get("/").await;
    eventually("a started handler", async || gate.started() == 1).await;
    // The first WORKING meets nobody.
    let mut exchange = exchange.away(Duration::from_millis(600)).await;
    exchange.working().await;
    gate.open(1);
    assert_eq!(exchange.response().await.body, "/");
    assert_eq!(gate.dropped(), 0);
    assert_eq!(metrics.value(CANCELLED, &[]), 0.0);
}

#[tokio::test]
async fn an_http_client_that_leaves_drops_the_handler() {
    let app = new_app();
    let gate = consumer(&app).await;
    let gateway = real(&app).await;
    // At once, and once the consumer is known.
    for (dropped, patience) in [(1, Duration::from_millis(20)), (2, Duration::from_millis(600))] {
        let left = tokio::time::timeout(patience, send(&gateway, get("/"))).await;
        assert!(left.is_err());
        eventually("a dropped handler", async || gate.dropped() == dropped).await;
    }
    gate.open(1);
    assert_eq!(send(&gateway, get("/next")).await.body, "/next");
}

#[tokio::test]
async fn strangers_are_told_that_it_is_not_theirs() {
    let app = new_app();
    let gate = consumer(&app).await;
    let actor = Actor::new(&app).await;
    let mut exchange = actor.get("/").await;
    let consumer = exchange.working().await;
    let mut stranger = actor.send_raw("".into()).await;
    assert!(matches!(stranger.frame().await.0, Frame::Refused(_)));
    stranger.tell(&consumer, encode_probe()).await;
    assert_eq!(stranger.reset().await.0, ResetCode::Gone);

    // Nobody is asked to publish anywhere else.
    let mut foreign = actor.client().subscribe(format!("foreign.{app}")).await.expect("a subscription");
    let reply = Subject::from(format!("foreign.{app}"));
    actor.client().publish_with_reply(consumer.clone(), reply, encode_probe()).await.expect("a message sent");
    gate.open(1);
    assert_eq!(exchange.response().await.body, "/");
    settle(actor.client()).await;
    assert!(futures::FutureExt::now_or_never(futures::StreamExt::next(&mut foreign)).is_none());
}

#[tokio::test]
async fn a_handler_outlives_a_lost_connection() {
    let mut server = Server::start().expect("a nats-server");
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let consumer_statistics = client.statistics();
    let consumer = tokio::spawn(serve(client, app.as_str(), service).into_future());
    let client = async_nats::connect(server.url()).await.expect("a connection");
    crate::harness::listens(&client, &app).await;
    let actor = Actor::over(client, &app);
    let mut exchange = actor.get("/").await;
    eventually("a started handler", async || gate.started() == 1).await;

    server.restart().expect("the server again");
    // What is sent before a client notices that its connection is gone is lost.
    for statistics in [actor.client().statistics(), consumer_statistics] {
        eventually("a new connection", async || statistics.connects.load(Ordering::Relaxed) == 2).await;
    }
    settle(actor.client()).await;
    gate.open(1);
    assert_eq!(exchange.response().await.body, "/");
    crate::harness::listens(actor.client(), &app).await;
    gate.open(1);
    assert_eq!(actor.get("/again").await.response().await.body, "/again");
    assert!(!consumer.is_finished());
    assert_eq!(gate.finished(), 2);
}

#[tokio::test]
async fn a_reset_is_never_answered() {
    let app = new_app();
    let gate = consumer(&app).await;
    let actor = Actor::new(&app).await;
    let mut exchange = actor.get("/").await;
    let token = exchange.working().await;
    gate.open(1);
    exchange.response().await;
    let reset = Reset { code: ResetCode::Gone, text: String::new(), ran: true };
    exchange.tell(&token, reset.encode()).await;
    // What comes behind it on the same way is.
    exchange.tell(&token, encode_probe()).await;
    assert_eq!(exchange.reset().await.0, ResetCode::Gone);
    settle(actor.client()).await;
    assert!(exchange.waiting_frame().is_none());
}
