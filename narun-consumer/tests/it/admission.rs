//! Who runs, who waits, and who is turned away.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response};
use narun_consumer::{Body, serve};
use narun_core::frame::{Frame, Refusal, Refused, encode_probe};
use tower::service_fn;

use crate::gate::Gate;
use crate::gateway::Actor;
use crate::harness::{Metrics, connect, eventually, new_app, settle, start};

#[tokio::test]
async fn beyond_slots_and_queue_requests_are_refused() {
    let metrics = Metrics::install();
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    start(&app, serve(connect().await, app.as_str(), service).concurrency(2).queue(1)).await;
    let actor = Actor::new(&app).await;

    let mut running = [actor.get("/1").await, actor.get("/2").await];
    let mut queued = actor.get("/3").await;
    let mut refused = actor.get("/4").await;
    let (frame, reply) = refused.frame().await;
    assert!(matches!(frame, Frame::Refused(Refused { reason: Refusal::Overloaded, .. })), "{frame:?}");
    assert_eq!(reply, None);
    assert_eq!(gate.started(), 2);
    let gauge = |name: &str| metrics.value(name, &[("app", &app)]);
    assert_eq!(gauge("http_consumer_requests_in_flight"), 2.0);
    assert_eq!(gauge("http_consumer_requests_queued"), 1.0);
    assert_eq!(metrics.value("http_consumer_refused_total", &[("reason", "overloaded")]), 1.0);

    // Whoever waits says so too.
    queued.working().await;
    assert_eq!(gate.started(), 2);

    gate.open(1);
    eventually("the next one's turn", async || gate.started() == 3).await;
    gate.open(2);
    for (exchange, path) in running.iter_mut().chain([&mut queued]).zip(["/1", "/2", "/3"]) {
        assert_eq!(exchange.response().await.body, path);
    }
    // Their places are free again.
    gate.open(1);
    assert_eq!(actor.get("/5").await.response().await.body, "/5");
    eventually("idle gauges", async || {
        gauge("http_consumer_requests_in_flight") == 0.0 && gauge("http_consumer_requests_queued") == 0.0
    })
    .await;
}

#[tokio::test]
async fn without_a_queue_nobody_waits() {
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    start(&app, serve(connect().await, app.as_str(), service).concurrency(1).queue(0)).await;
    let actor = Actor::new(&app).await;
    let mut running = actor.get("/").await;
    let (frame, _) = actor.get("/").await.frame().await;
    assert!(matches!(frame, Frame::Refused(Refused { reason: Refusal::Overloaded, .. })), "{frame:?}");
    gate.open(1);
    running.response().await;
}

#[tokio::test]
async fn whoever_takes_longer_says_so_and_can_be_asked() {
    let (gate, app) = (Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    start(&app, serve(connect().await, app.as_str(), service).instance("here")).await;
    let actor = Actor::new(&app).await;
    let begin = Instant::now();
    let mut exchange = actor.get("/").await;
    let (frame, reply) = exchange.frame().await;
    let Frame::Working(working) = frame else { panic!("{frame:?}") };
    assert_eq!(working.instance.as_deref(), Some("here"));
    assert!(begin.elapsed() >= Duration::from_millis(250), "{:?}", begin.elapsed());
    let consumer = reply.expect("a token");

    exchange.tell(&consumer, encode_probe()).await;
    let (frame, reply) = exchange.frame().await;
    assert!(matches!(frame, Frame::Credit(_)), "{frame:?}");
    assert_eq!(reply.as_ref(), Some(&consumer));

    gate.open(1);
    exchange.response().await;
    // It is over: whoever asks again is told so.
    exchange.tell(&consumer, encode_probe()).await;
    let (frame, reply) = exchange.frame().await;
    assert!(matches!(frame, Frame::Reset(_)), "{frame:?}");
    assert_eq!(reply, None);
}

#[tokio::test]
async fn a_quick_answer_is_one_message() {
    let app = new_app();
    let service =
        service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("quick"))) });
    start(&app, serve(connect().await, app.as_str(), service)).await;
    let actor = Actor::new(&app).await;
    let mut exchange = actor.get("/").await;
    let (frame, reply) = exchange.frame().await;
    assert!(matches!(frame, Frame::Response(_)), "{frame:?}");
    assert_eq!(reply, None);
    settle(actor.client()).await;
    assert!(exchange.waiting_frame().is_none());
}

/// The tasks that handlers run in, in the order of their calls.
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
    let actor = Actor::new(&app).await;
    let call = async |path| {
        actor.get(path).await.response().await;
        std::mem::take(&mut *tasks.lock().expect("no panic"))
    };

    // A poll during which the thread was preempted for long counts as well, so it may take more than one try.
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

    // Once first polls take long on average, none is made in place, so that all workers of a runtime are used.
    for _ in 0..30 {
        call("/busy").await;
    }
    let (one, other) = (call("/").await, call("/").await);
    assert_ne!(one, dispatcher);
    assert_ne!(other, dispatcher);
    assert_ne!(one, other);
}
