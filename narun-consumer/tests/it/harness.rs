//! The test server, consumers on it, and ways to wait.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::Client;
use bytes::Bytes;
use http::{Request, Response};
use narun_consumer::{Body, BoxError, Serve, ServeError};
use narun_core::frame::Frame;
use narun_support::Server;
use tokio::task::JoinHandle;
use tower::Service;

pub(crate) use narun_support::testing::{Metrics, eventually, settle, soon};

/// The server of all tests that do not stop it.
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

/// The subject of direct requests for an app.
pub(crate) fn subject(app: &str) -> String {
    format!("call.TASK.{app}")
}

/// Starts a consumer, and waits until it receives requests.
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

/// Waits until a consumer receives requests for an app. It has then refused one message as a bad frame.
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
