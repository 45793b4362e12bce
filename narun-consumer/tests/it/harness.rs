//! The server, consumers on it, and ways to wait.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use narun_consumer::{Body, BoxError, Serve, ServeError};
use narun_core::frame::Frame;
use narun_support::Server;
use tokio::task::JoinHandle;
use tower::Service;

/// How long anything may take that is to happen at all.
const LIMIT: Duration = Duration::from_secs(60);

/// The server of all tests that do not stop theirs.
pub(crate) static SERVER: LazyLock<Server> =
    LazyLock::new(|| Server::builder().jetstream(true).start().expect("a nats-server"));

pub(crate) async fn connect() -> Client {
    async_nats::connect(SERVER.url()).await.expect("a connection")
}

/// A name that no other test uses.
pub(crate) fn new_app() -> String {
    static APPS: AtomicUsize = AtomicUsize::new(0);
    format!("app-{}", APPS.fetch_add(1, Ordering::Relaxed))
}

/// Where requests for an app go.
pub(crate) fn subject(app: &str) -> String {
    format!("call.TASK.{app}")
}

/// Starts a consumer, and waits until it listens.
pub(crate) async fn start<S, B>(app: &str, serve: Serve<S>) -> JoinHandle<Result<(), ServeError>>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let task = tokio::spawn(serve.into_future());
    listens(&connect().await, app).await;
    task
}

/// Waits until somebody listens for an app, who then has refused one message as a bad frame.
pub(crate) async fn listens(client: &Client, app: &str) {
    eventually("a consumer", async || match client.request(subject(app), Bytes::new()).await {
        Ok(message) => {
            let frame = Frame::decode(&message.payload, &Default::default()).expect("a frame");
            assert!(matches!(frame, Frame::Refused(_)), "{frame:?}");
            true
        }
        Err(_) => false,
    })
    .await;
}

/// What a future gives, which must be soon.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {LIMIT:?}: {what}"),
    }
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Waits until the server has dealt with all that this client sent, and the client has all that the server sent before.
pub(crate) async fn settle(client: &Client) {
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.expect("a subscription");
    client.publish(inbox, Bytes::new()).await.expect("a message sent");
    soon("a round trip", echo.next()).await.expect("an open subscription");
}

/// The metrics of this test, which must be on a current-thread runtime.
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    _guard: metrics::LocalRecorderGuard<'static>,
}

impl Metrics {
    pub(crate) fn install() -> Self {
        // Leaked, so that the guard needs no lifetime; once a test.
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Self { handle: recorder.handle(), _guard: metrics::set_default_local_recorder(recorder) }
    }

    /// The sum of all values of this metric that have these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let rendered = self.handle.render();
        rendered
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label)))
            .map(|rest| {
                rest.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")
            })
            .sum()
    }
}
