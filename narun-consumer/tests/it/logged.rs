//! What operators see in the log at INFO and above.

use std::convert::Infallible;

use http::{HeaderValue, Request, Response, StatusCode};
use narun_consumer::{Body, serve};
use tower::service_fn;
use tracing::Level;

use crate::gate::Gate;
use crate::gateway::{ManualGateway, get, head, real, send};
use crate::harness::{connect, new_app, start};
use crate::observed::logs;

#[tokio::test]
async fn a_panic_is_logged_with_its_request_once_and_then_counted() {
    let (logs, app) = (logs(), new_app());
    let service = service_fn(async |_: Request<Body>| -> Result<Response<Body>, Infallible> {
        panic!("on purpose");
    });
    start(&app, serve(connect().await, app.as_str(), service)).await;
    let gateway = real(&app).await;
    for id in ["first", "second"] {
        let mut request = get("/");
        request.headers_mut().insert("x-request-id", HeaderValue::from_static(id));
        assert_eq!(send(&gateway, request).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let (level, event) = logs.event("the handler panicked", &[("app", &app)]).await;
    assert_eq!((level, &event["request_id"][..]), (Level::ERROR, "first"));
    let (_, more) = logs.event("more of these: the handler panicked", &[("app", &app)]).await;
    assert_eq!((&more["count"][..], &more["last_request_id"][..]), ("1", "second"));
    assert_eq!(logs.events("the handler panicked", &[("app", &app)]).len(), 1);
}

#[tokio::test]
async fn a_consumer_logs_that_it_refuses_requests() {
    let (logs, gate, app) = (logs(), Gate::new(), new_app());
    let handler = gate.clone();
    let service = service_fn(move |request| handler.clone().handle(request));
    start(&app, serve(connect().await, app.as_str(), service).concurrency(1).queue(0)).await;
    let manual = ManualGateway::new(&app).await;
    let _running = manual.get("/1").await;
    let mut second = get("/2");
    second.headers_mut().insert("x-request-id", HeaderValue::from_static("the second"));
    manual.send(head(), second).await.frame().await;
    let text = "refused a request: all slots and places are taken";
    let (level, event) = logs.event(text, &[("app", &app)]).await;
    assert_eq!((level, &event["request_id"][..]), (Level::WARN, "the second"));
}

#[tokio::test]
async fn a_consumer_says_what_it_serves() {
    let (logs, app) = (logs(), new_app());
    let service = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    start(&app, serve(connect().await, app.as_str(), service)).await;
    let (level, event) = logs.event("serving", &[("app", &app)]).await;
    assert_eq!((level, &event["subject"][..]), (Level::INFO, &*format!("call.TASK.{app}")));
    assert_eq!(event["namespace"], "TASK");
}
