//! A gateway and a consumer on different servers of a cluster.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame as Piece;
use http_body_util::{BodyExt, StreamBody};
use narun_consumer::{Body, BoxError, serve};
use narun_core::Limits;
use narun_core::frame::Frame;
use narun_gateway::{Gateway, Route};
use narun_support::{Cluster, Server};
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};
use tower::{ServiceExt, service_fn};

use crate::gateway::{request, send};
use crate::harness::{eventually, listens, settle, soon};
use crate::stream::{AnyBody, boxed};

/// How long clients in Go and Python wait before they connect again.
const SLOW: Duration = Duration::from_secs(2);

/// Connects to one server, and to no other after a loss.
async fn connect(server: &Server) -> Client {
    let first = AtomicBool::new(true);
    let delay = move |_| if first.swap(false, Ordering::SeqCst) { Duration::ZERO } else { SLOW };
    let options = ConnectOptions::new().ignore_discovered_servers().reconnect_delay_callback(delay);
    options.connect(server.url()).await.expect("a connection")
}

/// The path says what a handler does.
async fn handle(
    request: Request<Body>,
    mut stage: watch::Receiver<u8>,
) -> Result<Response<AnyBody>, BoxError> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/up" => {
            let body = request.into_body().collect().await?.to_bytes();
            return Ok(Response::new(boxed(Body::from(body))));
        }
        "/down" => {
            let pieces = futures::stream::unfold((0, stage), |(number, mut stage)| async move {
                if number > 0 {
                    stage.wait_for(|stage| *stage == 2).await.ok()?;
                }
                let piece = Piece::data(Bytes::from_static(b"part "));
                (number < 2).then_some((Ok::<_, BoxError>(piece), (number + 1, stage)))
            });
            return Ok(Response::new(boxed(StreamBody::new(pieces))));
        }
        // The consumer is absent.
        "/soon" => stage.wait_for(|stage| *stage >= 1).await?,
        // It is back.
        _ => stage.wait_for(|stage| *stage == 2).await?,
    };
    Ok(Response::new(boxed(Body::from("done"))))
}

struct Site {
    cluster: Cluster,
    gateway: Gateway,
    observer: Client,
    consumer: Client,
    stage: watch::Sender<u8>,
    task: tokio::task::JoinHandle<()>,
}

impl Site {
    /// Starts a cluster, and a gateway with this patience.
    async fn start(patience: Duration) -> Self {
        let cluster = block_in_place(Cluster::start).expect("a cluster");
        let [here, there, _] = cluster.servers() else { panic!("three servers") };
        let (stage, stages) = watch::channel(0);
        let consumer = connect(there).await;
        let service = service_fn(move |request| handle(request, stages.clone()));
        let serving = serve(consumer.clone(), "app", service).into_future();
        let task = tokio::spawn(async move {
            let ended = serving.await;
            assert!(ended.is_ok(), "{ended:?}");
        });
        let observer = connect(here).await;
        listens(&observer, "app").await;
        let route = Route::any("/", "app").prefix();
        let builder = Gateway::builder(connect(here).await).route(route).reconnect_grace(patience);
        let gateway = builder.timeout(3 * patience).build().await.expect("a gateway");
        Self { cluster, gateway, observer, consumer, stage, task }
    }

    /// Begins an upload, and returns when its handler has asked for more of the body.
    async fn upload(&self) -> (UnboundedSender<Piece<Bytes>>, tokio::task::JoinHandle<Response<Bytes>>) {
        let mut frames = self.observer.subscribe("_INBOX.>").await.expect("a subscription");
        settle(&self.observer).await;
        let (source, pieces) = unbounded();
        let body = StreamBody::new(pieces.map(Ok::<_, Infallible>));
        let request = Request::post("/up").header("host", "narun.example").body(body).expect("a request");
        let service = self.gateway.service();
        let response = tokio::spawn(async move {
            let Ok(response) = service.oneshot(request).await;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            Response::from_parts(parts, body)
        });
        loop {
            let message = soon("ACCEPT", frames.next()).await.expect("a subscription");
            if let Ok(Frame::Accept(_)) = Frame::decode(&message.payload, &Limits::default()) {
                break;
            }
        }
        frames.unsubscribe().await.expect("a connection");
        settle(&self.observer).await;
        (source, response)
    }

    /// Begins requests, and returns when the gateway knows their consumer.
    async fn begin(&self, paths: &[&'static str], clients: &mut JoinSet<(StatusCode, Bytes)>) {
        let mut frames = self.observer.subscribe("_INBOX.>").await.expect("a subscription");
        settle(&self.observer).await;
        for &path in paths {
            let gateway = self.gateway.clone();
            clients.spawn(async move {
                let response = send(&gateway, request(Method::POST, path, "")).await;
                (response.status, response.body)
            });
        }
        let mut known = HashSet::new();
        while known.len() < paths.len() {
            let message = soon("a frame", frames.next()).await.expect("a subscription");
            let frame = Frame::decode(&message.payload, &Limits::default());
            if matches!(frame, Ok(Frame::Working(_) | Frame::Response(_))) {
                known.insert(message.subject.to_string());
            }
        }
        // Otherwise the observer would receive what the consumer misses.
        frames.unsubscribe().await.expect("a connection");
        settle(&self.observer).await;
    }

    async fn consumer_is(&self, state: State) {
        eventually("a change of the connection", async || self.consumer.connection_state() == state).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_survive_the_restart_of_the_consumers_server() {
    let mut site = Site::start(Duration::from_secs(5)).await;
    let mut clients = JoinSet::new();
    let (source, uploaded) = site.upload().await;
    site.begin(&["/soon", "/late", "/soon", "/late", "/down"], &mut clients).await;
    block_in_place(|| site.cluster.server(1).kill()).expect("a dead server");
    block_in_place(|| site.cluster.server(1).restart()).expect("the server again");
    site.consumer_is(State::Disconnected).await;
    site.stage.send_replace(1);
    // The gateway probes the consumer meanwhile.
    site.consumer_is(State::Connected).await;
    listens(&site.observer, "app").await;
    site.stage.send_replace(2);
    source.unbounded_send(Piece::data(Bytes::from_static(b"all of it"))).expect("the body is read");
    drop(source);

    let uploaded = soon("the upload", uploaded).await.expect("no panic");
    assert_eq!((uploaded.status(), &uploaded.body()[..]), (StatusCode::OK, &b"all of it"[..]));
    let mut responses = soon("responses", clients.join_all()).await;
    responses.sort();
    let expected = ["done", "done", "done", "done", "part part "];
    assert_eq!(responses, expected.map(|body| (StatusCode::OK, Bytes::from(body))));
    site.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_a_body_that_no_consumer_received_fails_the_request_at_once() {
    // The test does not wait until the consumer is given up.
    let mut site = Site::start(Duration::from_secs(600)).await;
    let (source, response) = site.upload().await;
    let pieces = tokio::spawn(async move {
        while source.unbounded_send(Piece::data(Bytes::from_static(b"piece"))).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    block_in_place(|| site.cluster.server(1).kill()).expect("a dead server");
    let response = soon("a response", response).await.expect("no panic");
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    soon("the end of the body", pieces).await.expect("no panic");
    site.task.abort();
}
