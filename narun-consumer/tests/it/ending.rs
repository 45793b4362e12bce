//! Cancelled and timed out requests: their handlers are dropped.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Subject;
use narun_consumer::serve;
use narun_core::frame::{Frame, Reset, ResetCode, encode_probe};
use narun_support::Server;
use tower::service_fn;

use crate::gate::Gate;
use crate::gateway::{ManualGateway, get, head, real, send};
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
    let manual = ManualGateway::new(&app).await;
    let mut running = manual.get("/running").await;
    let mut queued = manual.get("/queued").await;
    let (running_token, queued_token) = (running.working().await, queued.working().await);
    assert_ne!(running_token, queued_token);

    // Cancelled while it is queued, its handler never starts.
    queued.cancel(&queued_token).await;
    eventually("a cancelled request", async || metrics.value(CANCELLED, &[("reason", "caller")]) == 1.0)
        .await;
    assert_eq!((gate.started(), gate.dropped()), (1, 0));
    assert_eq!(metrics.value("http_consumer_requests_queued", &[]), 0.0);

    running.cancel(&running_token).await;
    eventually("a dropped handler", async || gate.dropped() == 1).await;
    assert_eq!(metrics.value(CANCELLED, &[("reason", "caller")]), 2.0);

    // Both places have been released, and neither request gets a response.
    gate.open(1);
    assert_eq!(manual.get("/next").await.response().await.body, "/next");
    settle(manual.client()).await;
    assert!(running.waiting_frame().is_none());
    assert!(queued.waiting_frame().is_none());
    assert_eq!(gate.started(), 2);
}

#[tokio::test]
async fn a_handler_is_dropped_at_its_deadline() {
    let metrics = Metrics::install();
    let app = new_app();
    let gate = consumer(&app).await;
    let manual = ManualGateway::new(&app).await;
    let mut running = manual.get_within("/running", Duration::from_secs(3)).await;
    let mut total = head();
    total.head_timeout = Some(Duration::from_secs(60));
    total.total_timeout = Some(Duration::from_millis(200));
    let mut queued = manual.send(total, get("/queued")).await;
    assert_eq!(queued.reset().await.0, ResetCode::Deadline);
    assert_eq!((gate.started(), gate.dropped()), (1, 0));
    assert_eq!(running.reset().await.0, ResetCode::Deadline);
    eventually("a dropped handler", async || gate.dropped() == 1).await;
    assert_eq!(metrics.value(CANCELLED, &[("reason", "deadline")]), 2.0);
    gate.open(1);
    manual.get("/next").await.response().await;
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_gateway_is_gone() {
    let metrics = Metrics::install();
    let app = new_app();
    let gate = consumer(&app).await;
    let manual = ManualGateway::new(&app).await;
    // The client leaves before the first frame: WORKING has no receiver.
    let exchange = manual.get("/").await;
    eventually("a started handler", async || gate.started() == 1).await;
    exchange.leave().await;
    eventually("a dropped handler", async || gate.dropped() == 1).await;
    assert_eq!(metrics.value(CANCELLED, &[("reason", "gone")]), 1.0);

    // Gone afterwards: noticed by the next WORKING, 5 s later.
    let mut exchange = manual.get("/").await;
    exchange.working().await;
    exchange.leave().await;
    eventually("a dropped handler", async || gate.dropped() == 2).await;
    assert_eq!(metrics.value(CANCELLED, &[("reason", "gone")]), 2.0);
}

#[tokio::test]
async fn a_handler_survives_a_short_absence_of_its_gateway() {
    let metrics = Metrics::install();
    let app = new_app();
    let gate = consumer(&app).await;
    let manual = ManualGateway::new(&app).await;
    let exchange = manual.get("/").await;
    eventually("a started handler", async || gate.started() == 1).await;
    // The first WORKING has no receiver.
    let mut exchange = exchange.away(Duration::from_millis(600)).await;
    exchange.working().await;
    gate.open(1);
    assert_eq!(exchange.doubtful_response().await.body, "/");
    assert_eq!(gate.dropped(), 0);
    assert_eq!(metrics.value(CANCELLED, &[]), 0.0);
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_http_client_leaves() {
    let app = new_app();
    let gate = consumer(&app).await;
    let gateway = real(&app).await;
    // Before and after the gateway knows the consumer's token.
    for (dropped, patience) in [(1, Duration::from_millis(20)), (2, Duration::from_millis(600))] {
        let left = tokio::time::timeout(patience, send(&gateway, get("/"))).await;
        assert!(left.is_err());
        eventually("a dropped handler", async || gate.dropped() == dropped).await;
    }
    gate.open(1);
    assert_eq!(send(&gateway, get("/next")).await.body, "/next");
}

#[tokio::test]
async fn frames_from_other_tokens_are_answered_with_gone() {
    let app = new_app();
    let gate = consumer(&app).await;
    let manual = ManualGateway::new(&app).await;
    let mut exchange = manual.get("/").await;
    let consumer = exchange.working().await;
    let mut stranger = manual.send_raw("".into()).await;
    assert!(matches!(stranger.frame().await.0, Frame::Refused(_)));
    stranger.send_frame(&consumer, encode_probe()).await;
    assert_eq!(stranger.reset().await.0, ResetCode::Gone);

    // Nothing is published to other subjects.
    let mut foreign = manual.client().subscribe(format!("foreign.{app}")).await.expect("a subscription");
    let reply = Subject::from(format!("foreign.{app}"));
    manual
        .client()
        .publish_with_reply(consumer.clone(), reply, encode_probe())
        .await
        .expect("a message sent");
    gate.open(1);
    assert_eq!(exchange.response().await.body, "/");
    settle(manual.client()).await;
    assert!(futures::FutureExt::now_or_never(futures::StreamExt::next(&mut foreign)).is_none());
}

#[tokio::test]
async fn a_handler_survives_a_lost_connection() {
    let mut server = Server::start().expect("a nats-server");
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let consumer_statistics = client.statistics();
    let consumer = tokio::spawn(serve(client, app.as_str(), service).into_future());
    let client = async_nats::connect(server.url()).await.expect("a connection");
    crate::harness::listens(&client, &app).await;
    let manual = ManualGateway::over(client, &app);
    let mut exchange = manual.get("/").await;
    eventually("a started handler", async || gate.started() == 1).await;

    server.restart().expect("the server again");
    // Messages sent before a client notices that its connection is lost are lost too.
    for statistics in [manual.client().statistics(), consumer_statistics] {
        eventually("a new connection", async || statistics.connects.load(Ordering::Relaxed) == 2).await;
    }
    settle(manual.client()).await;
    gate.open(1);
    assert_eq!(exchange.doubtful_response().await.body, "/");
    crate::harness::listens(manual.client(), &app).await;
    gate.open(1);
    assert_eq!(manual.get("/again").await.response().await.body, "/again");
    assert!(!consumer.is_finished());
    assert_eq!(gate.finished(), 2);
}

#[tokio::test]
async fn a_response_that_waits_for_its_gateway_takes_no_slot() {
    let mut server = Server::start().expect("a nats-server");
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let consumer_statistics = client.statistics();
    let serving = serve(client, app.as_str(), service).concurrency(1).queue(0);
    let consumer = tokio::spawn(serving.into_future());
    let client = async_nats::connect(server.url()).await.expect("a connection");
    crate::harness::listens(&client, &app).await;
    let manual = ManualGateway::over(client, &app);
    let mut first = manual.get("/first").await;
    eventually("a started handler", async || gate.started() == 1).await;

    server.restart().expect("the server again");
    for statistics in [manual.client().statistics(), consumer_statistics] {
        eventually("a new connection", async || statistics.connects.load(Ordering::Relaxed) == 2).await;
    }
    crate::harness::listens(manual.client(), &app).await;
    gate.open(1);
    while !matches!(first.frame().await, (Frame::Response(_), Some(_))) {}
    // It has not confirmed the response.
    gate.open(1);
    assert_eq!(manual.get("/second").await.response().await.body, "/second");
    while !matches!(first.frame().await, (Frame::Response(_), Some(_))) {}
    consumer.abort();
}

#[tokio::test]
async fn a_reset_is_never_answered() {
    let app = new_app();
    let gate = consumer(&app).await;
    let manual = ManualGateway::new(&app).await;
    let mut exchange = manual.get("/").await;
    let token = exchange.working().await;
    gate.open(1);
    exchange.response().await;
    let reset = Reset { code: ResetCode::Gone, text: String::new(), ran: true };
    exchange.send_frame(&token, reset.encode()).await;
    // A later frame on the same path is answered.
    exchange.send_frame(&token, encode_probe()).await;
    assert_eq!(exchange.reset().await.0, ResetCode::Gone);
    settle(manual.client()).await;
    assert!(exchange.waiting_frame().is_none());
}
