//! Which requests are handled, queued and refused.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response};
use narun_consumer::{Body, serve};
use narun_core::frame::{Frame, Refusal, Refused, encode_probe};
use tower::service_fn;

use crate::gate::Gate;
use crate::gateway::ManualGateway;
use crate::harness::{Metrics, connect, eventually, new_app, settle, start};

#[tokio::test]
async fn requests_beyond_slots_and_queue_are_refused() {
    let metrics = Metrics::install();
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    start(&app, serve(connect().await, app.as_str(), service).concurrency(2).queue(1)).await;
    let manual = ManualGateway::new(&app).await;

    let mut running = [manual.get("/1").await, manual.get("/2").await];
    let mut queued = manual.get("/3").await;
    let mut refused = manual.get("/4").await;
    let (frame, reply) = refused.frame().await;
    assert!(matches!(frame, Frame::Refused(Refused { reason: Refusal::Overloaded, .. })), "{frame:?}");
    assert_eq!(reply, None);
    assert_eq!(gate.started(), 2);
    let gauge = |name: &str| metrics.value(name, &[("app", &app)]);
    assert_eq!(gauge("http_consumer_requests_in_flight"), 2.0);
    assert_eq!(gauge("http_consumer_requests_queued"), 1.0);
    assert_eq!(metrics.value("http_consumer_refused_total", &[("reason", "overloaded")]), 1.0);

    // Queued requests send WORKING too.
    queued.working().await;
    assert_eq!(gate.started(), 2);

    gate.open(1);
    eventually("the next one's turn", async || gate.started() == 3).await;
    gate.open(2);
    for (exchange, path) in running.iter_mut().chain([&mut queued]).zip(["/1", "/2", "/3"]) {
        assert_eq!(exchange.response().await.body, path);
    }
    // Their places have been released.
    gate.open(1);
    assert_eq!(manual.get("/5").await.response().await.body, "/5");
    eventually("idle gauges", async || {
        gauge("http_consumer_requests_in_flight") == 0.0 && gauge("http_consumer_requests_queued") == 0.0
    })
    .await;
}

#[tokio::test]
async fn requests_are_refused_without_a_queue() {
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    start(&app, serve(connect().await, app.as_str(), service).concurrency(1).queue(0)).await;
    let manual = ManualGateway::new(&app).await;
    let mut running = manual.get("/").await;
    let (frame, _) = manual.get("/").await.frame().await;
    assert!(matches!(frame, Frame::Refused(Refused { reason: Refusal::Overloaded, .. })), "{frame:?}");
    gate.open(1);
    running.response().await;
}

#[tokio::test]
async fn a_slow_handler_sends_working_and_responds_to_probes() {
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    start(&app, serve(connect().await, app.as_str(), service).instance("here")).await;
    let manual = ManualGateway::new(&app).await;
    let begin = Instant::now();
    let mut exchange = manual.get("/").await;
    let (frame, reply) = exchange.frame().await;
    let Frame::Working(working) = frame else { panic!("{frame:?}") };
    assert_eq!(working.instance.as_deref(), Some("here"));
    assert!(begin.elapsed() >= Duration::from_millis(250), "{:?}", begin.elapsed());
    let consumer = reply.expect("a token");

    exchange.send_frame(&consumer, encode_probe()).await;
    let (frame, reply) = exchange.frame().await;
    assert!(matches!(frame, Frame::Credit(_)), "{frame:?}");
    assert_eq!(reply.as_ref(), Some(&consumer));

    gate.open(1);
    exchange.response().await;
    // The exchange has ended: another PROBE is answered with RESET(gone).
    exchange.send_frame(&consumer, encode_probe()).await;
    let (frame, reply) = exchange.frame().await;
    assert!(matches!(frame, Frame::Reset(_)), "{frame:?}");
    assert_eq!(reply, None);
}

#[tokio::test]
async fn a_quick_response_is_one_message() {
    let app = new_app();
    let service =
        service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("quick"))) });
    start(&app, serve(connect().await, app.as_str(), service)).await;
    let manual = ManualGateway::new(&app).await;
    let mut exchange = manual.get("/").await;
    let (frame, reply) = exchange.frame().await;
    assert!(matches!(frame, Frame::Response(_)), "{frame:?}");
    assert_eq!(reply, None);
    settle(manual.client()).await;
    assert!(exchange.waiting_frame().is_none());
}

/// The tasks in which the handlers ran, in the order of their calls.
type Tasks = Arc<Mutex<Vec<tokio::task::Id>>>;

#[tokio::test]
async fn handlers_that_are_ready_at_once_share_a_task() {
    let (tasks, app) = (Tasks::default(), new_app());
    let seen = tasks.clone();
    let service = service_fn(move |request: Request<Body>| {
        let seen = seen.clone();
        async move {
            seen.lock().expect("no panic").push(tokio::task::id());
            match request.uri().path() {
                "/busy" => std::thread::sleep(Duration::from_millis(3)),
                "/pending" => {
                    tokio::task::yield_now().await;
                    seen.lock().expect("no panic").push(tokio::task::id());
                }
                _ => {}
            }
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    start(&app, serve(connect().await, app.as_str(), service)).await;
    let manual = ManualGateway::new(&app).await;
    let call = async |path| {
        manual.get(path).await.response().await;
        std::mem::take(&mut *tasks.lock().expect("no panic"))
    };

    // A poll in which the thread was preempted counts as long, so it may take several attempts.
    let mut dispatcher = call("/").await;
    eventually("a shared task", async || {
        let before = std::mem::replace(&mut dispatcher, call("/").await);
        before == dispatcher
    })
    .await;
    eventually("a handler begun in place", async || {
        let pending = call("/pending").await;
        assert_ne!(pending[1..], dispatcher, "it went on in a task of its own");
        pending[..1] == dispatcher
    })
    .await;

    // Once first polls are long on average, all handlers are spawned, so that all workers of a runtime are used.
    for _ in 0..30 {
        call("/busy").await;
    }
    let (one, other) = (call("/").await, call("/").await);
    assert_ne!(one, dispatcher);
    assert_ne!(other, dispatcher);
    assert_ne!(one, other);
}
