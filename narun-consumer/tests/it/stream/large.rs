//! Large bodies, with narun's driver as the gateway.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::Subject;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame as Piece;
use http_body_util::{BodyExt, StreamBody};
use narun_consumer::{Body, BoxError};
use narun_core::exchange::{Caller, CallerConfig, FlowConfig};
use narun_core::fields::Edit;
use narun_core::frame::ResponseFrame;
use narun_core::{Failure, FailureKind, Limits};
use narun_nats::drive::{IncomingResponse, StreamedExchange};
use narun_nats::inbox::{Endpoint, ReplyPolicy};
use tower::service_fn;

use super::{boxed, consumer, watched};
use crate::gateway::{ManualGateway, head};
use crate::harness::{connect, eventually, soon, subject};

pub(super) const SIZE: u64 = 12 * 1024 * 1024;

/// A body whose bytes depend on their position, in pieces of odd sizes.
pub(super) fn content(size: u64) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static {
    let mut sent = 0;
    let pieces = std::iter::from_fn(move || {
        let length = (size - sent).min(1 + sent % 99_991);
        let piece: Vec<u8> = (sent..sent + length).map(byte).collect();
        sent += length;
        (length > 0).then(|| Ok(Piece::data(piece.into())))
    });
    StreamBody::new(futures::stream::iter(pieces))
}

fn byte(place: u64) -> u8 {
    (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Reads a body to its end, checks its bytes, and returns their number.
pub(super) async fn check<B>(mut body: B) -> Result<u64, BoxError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let mut place = 0;
    while let Some(frame) = body.frame().await {
        for actual in frame.map_err(Into::into)?.into_data().unwrap_or_default() {
            assert_eq!(actual, byte(place), "at {place}");
            place += 1;
        }
    }
    Ok(place)
}

/// A gateway that sends a streamed body.
struct Streaming {
    endpoint: Arc<Endpoint>,
    app: String,
}

impl Streaming {
    async fn before(manual: &ManualGateway) -> Self {
        let opened =
            narun_nats::open(&connect().await.into(), ReplyPolicy::default(), Limits::default(), |_| {})
                .await;
        let (endpoint, reader) = opened.expect("a subscription");
        tokio::spawn(reader.run());
        Self { endpoint, app: manual.app().to_owned() }
    }

    async fn send<B>(&self, path: &str, body: B) -> (Box<ResponseFrame>, IncomingResponse)
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
    {
        let (parts, ()) =
            Request::builder().method(Method::POST).uri(path).body(()).expect("a request").into_parts();
        let mut head = head();
        head.end = false;
        let frame =
            head.encode(&parts, Edit::default(), Bytes::new(), None, &Limits::default()).expect("a frame");
        let now = self.endpoint.now();
        let machine =
            Caller::new(now, CallerConfig::default(), 1).with_body(now, 0, Arc::new(FlowConfig::default()));
        let to = Subject::from(subject(&self.app));
        let body = body.map_err(|_| Failure::from(FailureKind::BadRequest));
        let (exchange, incoming) =
            StreamedExchange::new(self.endpoint.clone(), to, frame, machine, Some(body));
        tokio::spawn(exchange);
        let head = soon("a head", poll_fn(|cx| incoming.poll_start(cx))).await.expect("a response");
        (head, incoming)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_are_transferred_both_ways() {
    let service = service_fn(async |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let body = request.into_body();
        Ok::<_, BoxError>(Response::new(match path.as_str() {
            "/up" => boxed(Body::from(check(body).await?.to_string())),
            "/down" => boxed(content(SIZE)),
            _ => boxed(body),
        }))
    });
    let manual = consumer(service).await;
    let gateway = Streaming::before(&manual).await;
    let (response, _) = gateway.send("/up", content(SIZE)).await;
    assert_eq!(response.body, SIZE.to_string());
    let (_, body) = gateway.send("/down", content(0)).await;
    assert_eq!(soon("a body down", check(body)).await.expect("whole"), SIZE);
    let (_, body) = gateway.send("/echo", content(SIZE)).await;
    assert_eq!(soon("a body", check(body)).await.expect("whole"), SIZE);
}

#[tokio::test]
async fn a_client_that_does_not_read_pauses_the_handler() {
    let (body, watch) = watched(content(u64::MAX));
    let manual = consumer(super::answering(Response::new(boxed(body)))).await;
    let gateway = Streaming::before(&manual).await;
    let (_, body) = gateway.send("/", content(0)).await;
    let window = FlowConfig::default().window as usize;
    eventually("a full window", async || watch.yielded() >= window).await;
    // Small requests on the same connection continue, and the body is not polled.
    for _ in 0..50 {
        manual.get("/next").await.response().await;
    }
    assert!(watch.yielded() <= window + 3 * 100_000, "{}", watch.yielded());
    assert!(!watch.is_dropped());
    drop(body);
    eventually("a dropped body", async || watch.is_dropped()).await;
}

#[tokio::test]
async fn a_handler_that_does_not_read_pauses_the_client() {
    let read = Arc::new(AtomicU64::new(0));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (opened, counted) = (gate.clone(), read.clone());
    let service = service_fn(move |request: Request<Body>| {
        let (gate, read) = (opened.clone(), counted.clone());
        async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                read.fetch_add(frame?.into_data().unwrap_or_default().len() as u64, Ordering::SeqCst);
                drop(gate.acquire().await);
            }
            Ok::<_, BoxError>(Response::new(boxed(Body::from("all"))))
        }
    });
    let manual = consumer(service).await;
    let gateway = Streaming::before(&manual).await;
    let (body, watch) = watched(content(SIZE));
    let exchange = tokio::spawn(async move { gateway.send("/", body).await });
    let window = FlowConfig::default().window as usize;
    eventually("a full window", async || watch.yielded() >= window).await;
    assert!(watch.yielded() <= window + 3 * 100_000, "{}", watch.yielded());
    assert!(read.load(Ordering::SeqCst) <= 100_000);
    gate.add_permits(1);
    let (response, _) = soon("a response", exchange).await.expect("no panic");
    assert_eq!(response.body, "all");
    assert_eq!(read.load(Ordering::SeqCst), SIZE);
}
