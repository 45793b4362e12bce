//! The server, gateways, and requests to them.

use std::fmt::Debug;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::Client;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use narun_gateway::{Body, BoxError, Gateway, GatewayBuilder, Namespace, ResponseBody, Route};
use narun_support::Server;
use tower::ServiceExt;

use crate::consumer::Consumer;

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

/// A namespace that no other test uses, with a stream of its own for durable requests.
pub(crate) fn new_namespace() -> Namespace {
    Namespace::new(new_app().to_uppercase()).expect("a name")
}

/// A gateway that sends everything to `app`.
pub(crate) fn builder(client: Client, app: &str) -> GatewayBuilder {
    Gateway::builder(client).route(Route::any("/", app).prefix())
}

/// A gateway with one app, and the consumer of that app.
pub(crate) async fn pair() -> (Gateway, Consumer) {
    pair_with(|builder| builder).await
}

/// The same with other settings.
pub(crate) async fn pair_with(set: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> (Gateway, Consumer) {
    let app = new_app();
    let consumer = Consumer::start(connect().await, &app).await;
    (set(builder(connect().await, &app)).build().await.expect("a gateway"), consumer)
}

/// A response as an HTTP client gets it, read whole.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl HttpResponse {
    pub(crate) async fn of<B>(response: Response<B>) -> Self
    where
        B: http_body::Body,
        B::Error: Debug,
    {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body");
        let trailers = body.trailers().cloned();
        Self { status: parts.status, headers: parts.headers, body: body.to_bytes(), trailers }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }
}

pub(crate) fn request(method: Method, target: &str, body: &'static str) -> Request<Body> {
    Request::builder().method(method).uri(target).body(Body::from(body)).expect("a request")
}

pub(crate) fn get(target: &str) -> Request<Body> {
    request(Method::GET, target, "")
}

pub(crate) fn post(target: &str) -> Request<Body> {
    request(Method::POST, target, "content")
}

/// The same request as a gRPC client sends it.
pub(crate) fn grpc(mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    request
}

/// Adds a `Host` if there is none: HTTP/1.1 needs one, and most tests do not care about it.
pub(crate) fn with_host<B>(mut request: Request<B>) -> Request<B> {
    request.headers_mut().entry(HOST).or_insert(http::HeaderValue::from_static("narun.example"));
    request
}

/// Sends a request and waits for the whole response. A `Host` is added if there is none.
pub(crate) async fn send<B>(gateway: &Gateway, request: Request<B>) -> HttpResponse
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Ok(response) = gateway.service().oneshot(with_host(request)).await;
    HttpResponse::of(response).await
}

/// Sends a request and returns the response with its unread body.
pub(crate) async fn open<B>(gateway: &Gateway, request: Request<B>) -> Response<ResponseBody<Body>>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Ok(response) = gateway.service().oneshot(with_host(request)).await;
    response
}

/// The same in a task.
pub(crate) fn spawn_open<B>(
    gateway: &Gateway,
    request: Request<B>,
) -> tokio::task::JoinHandle<Response<ResponseBody<Body>>>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let gateway = gateway.clone();
    tokio::spawn(async move { open(&gateway, request).await })
}

/// The same as [`send`] in a task.
pub(crate) fn spawn<B>(gateway: &Gateway, request: Request<B>) -> tokio::task::JoinHandle<HttpResponse>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let gateway = gateway.clone();
    tokio::spawn(async move { send(&gateway, request).await })
}

/// How many exchanges of a gateway are open.
pub(crate) fn open_tokens(gateway: &Gateway) -> usize {
    let debug = format!("{gateway:?}");
    let (_, after) = debug.split_once("open_tokens: ").expect("a count");
    after
        .split(|other: char| !other.is_ascii_digit())
        .next()
        .and_then(|count| count.parse().ok())
        .expect("a number")
}
