//! `Received`, metrics and spans of requests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderValue, Request, Response};
use narun_consumer::{Body, Delivery, Received, serve};
use narun_support::testing::Logs;
use tokio::time::Instant;
use tower::service_fn;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::gateway::{ManualGateway, get, head};
use crate::harness::{Metrics, connect, eventually, new_app, start};

#[tokio::test]
async fn a_handler_sees_how_its_request_was_received() {
    let app = new_app();
    let seen = Arc::new(Mutex::new(Vec::<Received>::new()));
    let sink = seen.clone();
    let service = service_fn(move |request: Request<Body>| {
        sink.lock().expect("no panic").push(request.extensions().get().cloned().expect("Received"));
        std::future::ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    });
    start(&app, serve(connect().await, app.as_str(), service)).await;
    let manual = ManualGateway::new(&app).await;
    manual.get("/").await.response().await;
    let mut complete = head();
    complete.attempt = 2;
    complete.peer = Some(([192, 0, 2, 1], 1234).into());
    complete.scheme = Scheme::HTTPS;
    complete.head_timeout = Some(Duration::from_secs(40));
    complete.total_timeout = Some(Duration::from_secs(30));
    manual.send(complete.clone(), get("/")).await.response().await;

    let seen = seen.lock().expect("no panic");
    let [bare, full] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((bare.peer(), bare.scheme(), bare.deadline()), (None, &Scheme::HTTP, None));
    assert_eq!(bare.delivery(), Delivery::Direct { attempt: 0 });
    assert_eq!(full.id(), complete.id);
    assert_eq!(full.app().as_str(), app);
    assert_eq!((full.peer(), full.scheme()), (complete.peer, &Scheme::HTTPS));
    assert_eq!(full.delivery(), Delivery::Direct { attempt: 2 });
    let left = full.deadline().expect("a deadline") - Instant::now();
    assert!((Duration::from_secs(15)..=Duration::from_secs(30)).contains(&left), "{left:?}");
}

#[tokio::test]
async fn requests_are_counted_by_status_class() {
    let metrics = Metrics::install();
    let app = new_app();
    let service = service_fn(|request: Request<Body>| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = request.uri().path()[1..].parse().expect("a status");
        std::future::ready(Ok::<_, Infallible>(response))
    });
    start(&app, serve(connect().await, app.as_str(), service)).await;
    let manual = ManualGateway::new(&app).await;
    for (path, class) in [("/201", "2xx"), ("/302", "3xx"), ("/404", "4xx"), ("/503", "5xx")] {
        manual.get(path).await.response().await;
        let labels = [("app", app.as_str()), ("status_class", class)];
        assert_eq!(metrics.value("http_consumer_requests_total", &labels), 1.0, "{path}");
    }
    assert_eq!(metrics.value("http_consumer_request_duration_seconds_count", &[("app", &app)]), 4.0);
}

/// The fields of all closed spans, of all tests. Subscribers for one thread each would disturb each other, as tracing
/// caches interest for all of them.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(&'static str, Fields)>>>);

static SPANS: LazyLock<Spans> = LazyLock::new(|| {
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone()).with(LOGS.clone());
    tracing::subscriber::set_global_default(subscriber).expect("no other subscriber");
    spans
});

static LOGS: LazyLock<Logs> = LazyLock::new(Logs::default);

/// The log of all tests.
pub(crate) fn logs() -> &'static Logs {
    LazyLock::force(&SPANS);
    &LOGS
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).expect("a span").extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(fields) = context.span(id).expect("a span").extensions_mut().get_mut::<Fields>() {
            record.record(fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).expect("a span");
        let fields = span.extensions_mut().remove::<Fields>().unwrap_or_default();
        self.0.lock().expect("no panic").push((span.name(), fields));
    }
}

impl Spans {
    /// Waits for the first closed span with this name and field, and returns its fields.
    async fn closed(&self, name: &str, field: &str, value: &str) -> BTreeMap<&'static str, String> {
        let mut found = None;
        eventually("a closed span", async || {
            let spans = self.0.lock().expect("no panic");
            let mut of_name = spans.iter().filter(|span| span.0 == name).map(|span| &span.1.0);
            found = of_name.find(|fields| fields.get(field).is_some_and(|found| found == value)).cloned();
            found.is_some()
        })
        .await;
        found.expect("a span")
    }
}

#[tokio::test]
async fn a_span_has_the_clients_span_as_its_parent() {
    let spans = &*SPANS;
    let app = new_app();
    let service = service_fn(async |_: Request<Body>| {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    start(&app, serve(connect().await, app.as_str(), service)).await;
    let manual = ManualGateway::new(&app).await;
    let mut request = get("/traced?secret");
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let traceparent = HeaderValue::try_from(format!("00-{trace}-{parent}-01")).expect("a value");
    request.headers_mut().insert("traceparent", traceparent);
    manual.send(head(), request).await.response().await;

    let span = spans.closed("http.consumer", "messaging.consumer.group.name", &app).await;
    for (field, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.path", "/traced"),
        ("messaging.system", "nats"),
        ("trace_id", trace),
        ("parent_id", parent),
    ] {
        assert_eq!(span.get(field).map(String::as_str), Some(value), "{field}");
    }
}

#[tokio::test]
async fn a_custom_span_is_used() {
    let spans = &*SPANS;
    let app = new_app();
    let service = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let serve = serve(connect().await, app.as_str(), service)
        .make_span(|parts, app| tracing::info_span!("mine", method = %parts.method, app = app.as_str()));
    start(&app, serve).await;
    ManualGateway::new(&app).await.get("/").await.response().await;
    assert_eq!(spans.closed("mine", "app", &app).await["method"], "GET");
}
