//! JetStream's storage is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use narun_consumer::{Body, BoxError};
use narun_gateway::{Gateway, Route};
use narun_nats::jetstream::{StreamSettings, TaskStreams};
use narun_support::Server;
use tower::service_fn;
use tracing::Level;

use super::{Handler, World, start};
use crate::gateway::{HttpResponse, get, send};
use crate::harness::{Metrics, SERVER, eventually};
use crate::observed::logs;

/// The size of a request's body.
const BODY: usize = 10_000;

/// The configuration of a server whose only account has this many kilobytes.
fn kilobytes(limit: usize) -> String {
    format!(
        "jetstream {{}}\n\
         accounts {{ A {{ users: [{{ user: a, password: a }}], jetstream {{ max_file: {limit}KB }} }} }}\n\
         no_auth_user: a\n"
    )
}

fn server(limit: usize) -> Server {
    Server::builder().config(kilobytes(limit)).start().expect("a nats-server")
}

/// Streams and buckets that reserve nothing: the account is full first.
fn unlimited() -> StreamSettings {
    let settings = StreamSettings::new().max_bytes(u64::MAX).bodies_max_bytes(u64::MAX);
    settings.outcomes_max_bytes(u64::MAX).dead_letters_max_bytes(u64::MAX)
}

/// A gateway, and what its requests do.
struct Site {
    world: World,
    gateway: Gateway,
}

impl Site {
    async fn over(server: &Server) -> Self {
        Self::with(server, unlimited()).await
    }

    async fn with(server: &Server, settings: StreamSettings) -> Self {
        let connect = async || async_nats::connect(server.url()).await.expect("a connection");
        let mut world = World::over(connect().await);
        world.tasks = TaskStreams::new(world.client.clone(), world.namespace.clone(), settings.clone());
        let gateway = Gateway::builder(connect().await)
            .namespace(world.namespace.clone())
            .stream_settings(settings)
            .route(Route::any("/", world.app.as_str()).prefix().durable())
            .build()
            .await
            .expect("a gateway");
        Self { world, gateway }
    }

    /// Posts a request for a later response. Returns its status resource.
    async fn post(&self) -> Result<String, HttpResponse> {
        let request = Request::post("/").header("prefer", "respond-async");
        let request = request.body(Body::from(Bytes::from(vec![b'x'; BODY]))).expect("a request");
        let response = send(&self.gateway, request).await;
        match response.status {
            StatusCode::ACCEPTED => Ok(response.headers["location"].to_str().expect("text").to_owned()),
            _ => Err(response),
        }
    }

    /// Posts so many requests that the storage is full. Returns those that were accepted.
    async fn fill(&self, requests: usize) -> Vec<String> {
        let mut accepted = Vec::new();
        for _ in 0..requests {
            match self.post().await {
                Ok(location) => accepted.push(location),
                Err(refused) => {
                    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
                    assert_eq!(refused.headers["retry-after"], "1");
                }
            }
        }
        assert!((1..requests).contains(&accepted.len()), "{}", accepted.len());
        accepted
    }

    /// Waits until a request is done, and returns its stored response.
    async fn done(&self, location: &str) -> HttpResponse {
        let mut response = send(&self.gateway, get(location)).await;
        eventually("an outcome", async || {
            response = send(&self.gateway, get(location)).await;
            response.status != StatusCode::ACCEPTED
        })
        .await;
        response
    }

    /// The number of requests in the stream. `None` if the server does not respond.
    async fn stored(&self) -> Option<u64> {
        let stream = self.world.tasks.context().get_stream(self.world.namespace.task_stream()).await;
        stream.ok().map(|stream| stream.cached_info().state.messages)
    }

    async fn messages(&self, stream: &str) -> u64 {
        let stream = self.world.tasks.context().get_stream(stream).await.expect("a stream");
        stream.cached_info().state.messages
    }
}

/// A service that counts its calls and responds with "done", or fails.
fn counting(
    runs: &Arc<AtomicUsize>,
    fails: bool,
) -> impl tower::Service<
    Request<Body>,
    Response = Response<Body>,
    Error = BoxError,
    Future = impl Future<Output = Result<Response<Body>, BoxError>> + Send + use<>,
> + Clone
+ Send
+ use<> {
    let runs = runs.clone();
    service_fn(move |_: Request<Body>| {
        runs.fetch_add(1, Ordering::SeqCst);
        async move { if fails { Err("on purpose".into()) } else { Ok(Response::new(Body::from("done"))) } }
    })
}

#[tokio::test]
async fn the_backlog_of_a_full_account_drains_by_itself() {
    drains_by_itself(&server(200)).await;
}

#[tokio::test]
async fn the_backlog_of_a_full_server_drains_by_itself() {
    let server = Server::builder().config("jetstream { max_file_store: 200KB }").start();
    drains_by_itself(&server.expect("a nats-server")).await;
}

async fn drains_by_itself(server: &Server) {
    let site = Site::over(server).await;
    let accepted = site.fill(40).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let client = async_nats::connect(server.url()).await.expect("a connection");
    start(site.world.serve_over(client, counting(&runs, false)).stream_settings(unlimited())).await;
    for location in &accepted {
        let response = site.done(location).await;
        assert_eq!((response.status, &response.body[..]), (StatusCode::OK, &b"done"[..]));
    }
    assert!(site.world.dead().await.is_empty());
    assert_eq!(runs.load(Ordering::SeqCst), accepted.len());
    let location = site.post().await.expect("accepted");
    assert_eq!(site.done(&location).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refused_request_leaves_nothing_behind() {
    let server = server(200);
    let site = Site::over(&server).await;
    let accepted = site.fill(40).await.len() as u64;
    let bucket = format!("KV_{}", site.world.namespace.outcomes_bucket());
    eventually("records of the accepted requests", async || site.messages(&bucket).await == accepted).await;
}

#[tokio::test]
async fn a_full_account_works_again_once_it_is_larger() {
    let mut server = server(200);
    let site = Site::over(&server).await;
    site.fill(40).await;
    server.reload(kilobytes(400)).expect("a new limit");
    eventually("an accepted request", async || site.post().await.is_ok()).await;
}

#[tokio::test]
async fn dead_letters_wait_for_room_without_running_again() {
    let (logs, metrics) = (logs(), Metrics::install());
    let mut server = server(200);
    let site = Site::over(&server).await;
    let accepted = site.fill(40).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let serve = site.world.serve_over(client, counting(&runs, true)).stream_settings(unlimited());
    start(serve.max_deliveries(1)).await;
    let labels = [("app", site.world.app.as_str()), ("what", "dead_letter")];
    // Each of them is delivered several times meanwhile.
    eventually("attempts to store them", async || {
        metrics.value("http_consumer_not_stored_total", &labels) >= 4.0 * accepted.len() as f64
    })
    .await;
    let (level, event) = logs.event("JetStream's storage is full", &labels).await;
    assert_eq!(level, Level::WARN);
    assert!(event.contains_key("request_id"), "{event:?}");
    assert_eq!(runs.load(Ordering::SeqCst), accepted.len());
    server.reload(kilobytes(1000)).expect("a new limit");
    // The server has no JetStream for a moment while it changes the limit.
    eventually("an empty stream", async || site.stored().await == Some(0)).await;
    let dead = site.world.dead().await;
    assert_eq!(dead.len(), accepted.len());
    assert!(dead.iter().all(|letter| letter.reason().contains("on purpose")), "{dead:?}");
    assert_eq!(runs.load(Ordering::SeqCst), accepted.len());
    for location in &accepted {
        assert_eq!(site.done(location).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test]
async fn a_response_without_room_is_replaced_by_a_record_that_the_request_is_done() {
    let metrics = Metrics::install();
    // Enough for three records, but not for a response.
    let settings = StreamSettings::new().outcomes_max_bytes(700);
    let Site { world, gateway } = Site::with(&SERVER, settings.clone()).await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await.stream_settings(settings)).await;
    let request = || {
        let request = Request::post("/echo").header("idempotency-key", "key");
        request.body(Body::from(Bytes::from(vec![b'x'; BODY]))).expect("a request")
    };
    let response = send(&gateway, request()).await;
    assert_eq!((response.status, response.body.len()), (StatusCode::OK, BODY));
    // The outcome is stored after the response was sent.
    let labels = [("app", world.app.as_str()), ("what", "response")];
    eventually("a short outcome", async || metrics.value("http_consumer_not_stored_total", &labels) == 1.0)
        .await;
    assert_eq!(send(&gateway, request()).await.status, StatusCode::GONE);
    world.is_done().await;
    assert_eq!(handler.runs(), 1);
}
