//! Shutdown: no request is lost, and waiting gateways are notified.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode};
use narun_consumer::{Body, serve};
use narun_core::frame::ResetCode;
use narun_gateway::{Gateway, Route};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tower::limit::ConcurrencyLimit;
use tower::service_fn;

use crate::gate::Gate;
use crate::gateway::{ManualGateway, get, real, request, send};
use crate::harness::{Metrics, connect, eventually, listens, new_app, soon, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_gets_a_response_while_a_consumer_leaves() {
    let app = new_app();
    let answered = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let (signal, mut consumers) = (Arc::new(Notify::new()), Vec::new());
    for number in 0..2 {
        let answered = answered.clone();
        let service = service_fn(move |_: Request<Body>| {
            let answered = answered.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(2)).await;
                answered[number].fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        let signal = signal.clone();
        let shutdown = async move {
            match number {
                0 => signal.notified().await,
                _ => std::future::pending().await,
            }
        };
        let serve = serve(connect().await, app.as_str(), service).with_graceful_shutdown(shutdown);
        consumers.push(start(&app, serve).await);
    }
    let gateway = Gateway::builder(connect().await)
        .route(Route::any("/", &app))
        .timeout(Duration::from_secs(5))
        .build()
        .await
        .expect("a gateway");

    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..32 {
        let (gateway, stop) = (gateway.clone(), stop.clone());
        clients.spawn(async move {
            let mut statuses = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                // A POST is not retried if it was lost.
                statuses.push(send(&gateway, request(Method::POST, "/", "")).await.status);
            }
            statuses
        });
    }
    eventually("answers of both", async || answered.iter().all(|count| count.load(Ordering::SeqCst) > 100))
        .await;
    signal.notify_one();
    let leaving = consumers.swap_remove(0);
    soon("the end of one", leaving).await.expect("no panic").expect("a graceful end");
    let left = answered.each_ref().map(|count| count.load(Ordering::SeqCst));
    // The other consumer also gets the requests that the first one refuses because its queue is full.
    eventually("answers of the other", async || answered[1].load(Ordering::SeqCst) > left[1] + 200).await;
    stop.store(true, Ordering::SeqCst);

    let statuses = soon("the clients' end", clients.join_all()).await.concat();
    assert_eq!(answered[0].load(Ordering::SeqCst), left[0], "it handled nothing after its end");
    let lost = statuses.iter().filter(|status| **status != StatusCode::OK).collect::<Vec<_>>();
    // The server may deliver a request to a subscription that has just ended, which happened to 2 in 260,000.
    assert!(lost.len() <= 1, "{lost:?} of {}", statuses.len());
}

#[tokio::test]
async fn a_shutdown_waits_for_handlers() {
    let (gate, app) = (Gate::new(), new_app());
    let (handler, signal) = (gate.clone(), Arc::new(Notify::new()));
    let service = service_fn(move |request| handler.clone().handle(request));
    let shutdown = {
        let signal = signal.clone();
        async move { signal.notified().await }
    };
    let serve = serve(connect().await, app.as_str(), service).concurrency(1).with_graceful_shutdown(shutdown);
    let consumer = start(&app, serve).await;
    let manual = ManualGateway::new(&app).await;
    let (mut running, mut queued) = (manual.get("/running").await, manual.get("/queued").await);
    queued.working().await;
    signal.notify_one();
    // There is no other consumer, so it is known when this one has left.
    eventually("no subscriber", async || {
        matches!(manual.client().request(format!("call.TASK.{app}"), "".into()).await,
            Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders)
    })
    .await;
    assert!(!consumer.is_finished());
    gate.open(2);
    assert_eq!(running.response().await.body, "/running");
    assert_eq!(queued.response().await.body, "/queued");
    soon("the end", consumer).await.expect("no panic").expect("a graceful end");
    assert_eq!((gate.finished(), gate.dropped()), (2, 0));
}

#[tokio::test]
async fn handlers_are_dropped_after_the_shutdown_timeout() {
    const RUNNING: usize = 500;
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let (name, ready) = (app.clone(), Arc::new(Notify::new()));
    let signal = ready.clone();
    // A runtime of its own, like a program: messages that have not been sent when `serve` returns are never sent.
    let consumer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let service = service_fn(move |request| handler.clone().handle(request));
            serve(connect().await, name, service)
                .concurrency(RUNNING)
                .with_graceful_shutdown(async move { signal.notified().await })
                .shutdown_timeout(Duration::from_millis(50))
                .await
        })
    });
    let manual = ManualGateway::new(&app).await;
    listens(manual.client(), &app).await;
    let mut running = Vec::new();
    for _ in 0..RUNNING {
        running.push(manual.get("/running").await);
    }
    let mut queued = manual.get("/queued").await;
    queued.working().await;
    let begin = Instant::now();
    ready.notify_one();
    for exchange in &mut running {
        assert_eq!(exchange.reset().await, (ResetCode::Draining, true));
    }
    assert_eq!(queued.reset().await, (ResetCode::Draining, false));
    assert!(begin.elapsed() < Duration::from_secs(20));
    consumer.join().expect("no panic").expect("an end");
    assert_eq!((gate.started(), gate.dropped()), (RUNNING, RUNNING));
}

#[tokio::test]
async fn queued_requests_go_to_another_consumer() {
    let metrics = Metrics::install();
    let (gate, app) = (Gate::new(), new_app());
    let (handler, signal) = (gate.clone(), Arc::new(Notify::new()));
    let service = service_fn(move |request| handler.clone().handle(request));
    let shutdown = {
        let signal = signal.clone();
        async move { signal.notified().await }
    };
    let serve_first = serve(connect().await, app.as_str(), service)
        .concurrency(1)
        .queue(1)
        .with_graceful_shutdown(shutdown)
        .shutdown_timeout(Duration::ZERO);
    let first = start(&app, serve_first).await;
    let gateway = real(&app).await;
    let call = |path: &'static str| {
        let gateway = gateway.clone();
        tokio::spawn(async move { send(&gateway, request(Method::POST, path, "")).await })
    };
    let running = call("/running");
    eventually("a started handler", async || gate.started() == 1).await;
    let queued = call("/queued");
    // Both requests are with the first consumer, as there is no other one yet.
    eventually("a queued request", async || metrics.value("http_consumer_requests_queued", &[]) == 1.0).await;
    let other = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from("other"))));
    start(&app, serve(connect().await, app.as_str(), other)).await;
    // The other consumer also gets the requests that the first one refuses because its queue is full.
    eventually("answers of the other", async || send(&gateway, get("/")).await.body == "other").await;

    signal.notify_one();
    assert_eq!(queued.await.expect("no panic").body, "other");
    assert_eq!(running.await.expect("no panic").status, StatusCode::BAD_GATEWAY);
    soon("the end", first).await.expect("no panic").expect("an end");
    assert_eq!((gate.started(), gate.dropped()), (1, 1));
}

#[tokio::test]
async fn a_request_that_was_not_called_is_reported_as_not_run() {
    let app = new_app();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let service = service_fn(move |_: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<Response<Body>, Infallible>>()
    });
    // Shared by all clones: the second call waits in `poll_ready`, and holds a slot.
    let service = ConcurrencyLimit::new(service, 1);
    let client = connect().await;
    let consumer = start(&app, serve(client.clone(), app.as_str(), service)).await;
    let manual = ManualGateway::new(&app).await;
    let (mut called, mut uncalled) = (manual.get("/").await, manual.get("/").await);
    called.working().await;
    uncalled.working().await;
    consumer.abort();
    assert_eq!(called.reset().await, (ResetCode::Draining, true));
    assert_eq!(uncalled.reset().await, (ResetCode::Draining, false));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_dropped_consumer_notifies_its_gateways() {
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    // A client sends nothing more once its last clone has been dropped.
    let client = connect().await;
    let consumer = start(&app, serve(client.clone(), app.as_str(), service).concurrency(1)).await;
    let manual = ManualGateway::new(&app).await;
    let (mut running, mut queued) = (manual.get("/running").await, manual.get("/queued").await);
    queued.working().await;
    consumer.abort();
    assert_eq!(running.reset().await, (ResetCode::Draining, true));
    assert_eq!(queued.reset().await, (ResetCode::Draining, false));
    eventually("a dropped handler", async || gate.dropped() == 1).await;
    eventually("no subscriber", async || {
        matches!(manual.client().request(format!("call.TASK.{app}"), "".into()).await,
            Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders)
    })
    .await;
}
