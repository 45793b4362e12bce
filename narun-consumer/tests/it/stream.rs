//! Streamed bodies.

mod downloads;
mod ending;
mod hostile;
mod large;
mod loss;
mod through;
mod uploads;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use async_nats::Subject;
use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::{Frame as Piece, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use narun_consumer::{Body, BoxError, Serve, serve};
use narun_core::frame::{Credit, Data, Frame, ResponseFrame};
use tower::Service;

use crate::gateway::{Exchange, ManualGateway, encode, head, request};
use crate::harness::{connect, new_app, start};

pub(crate) type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// Starts a consumer with this service, and returns a gateway to drive by hand.
async fn consumer<S>(service: S) -> ManualGateway
where
    S: Service<Request<Body>, Response = Response<AnyBody>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    consumer_with(service, |serve| serve).await
}

async fn consumer_with<S>(service: S, set: impl FnOnce(Serve<S>) -> Serve<S>) -> ManualGateway
where
    S: Service<Request<Body>, Response = Response<AnyBody>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    let app = new_app();
    start(&app, set(serve(connect().await, app.as_str(), service))).await;
    ManualGateway::new(&app).await
}

/// A service that responds to its first request with this response, and to all others with an empty one.
fn answering(
    response: Response<AnyBody>,
) -> impl Service<
    Request<Body>,
    Response = Response<AnyBody>,
    Error = BoxError,
    Future = std::future::Ready<Result<Response<AnyBody>, BoxError>>,
> + Clone
+ Send
+ 'static {
    let response = Arc::new(Mutex::new(Some(response)));
    tower::service_fn(move |_| {
        let response = response.lock().expect("no panic").take();
        std::future::ready(Ok(response.unwrap_or_else(|| Response::new(boxed(Body::empty())))))
    })
}

pub(crate) fn boxed<B>(body: B) -> AnyBody
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// The sender of a body that a test feeds. The body ends when it is dropped.
struct Source(UnboundedSender<Result<Piece<Bytes>, BoxError>>);

impl Source {
    fn data(&self, data: impl Into<Bytes>) {
        self.0.unbounded_send(Ok(Piece::data(data.into()))).expect("a body");
    }

    fn trailers(&self, trailers: HeaderMap) {
        self.0.unbounded_send(Ok(Piece::trailers(trailers))).expect("a body");
    }

    fn fail(&self) {
        self.0.unbounded_send(Err("on purpose".into())).expect("a body");
    }
}

/// A body that a test feeds.
fn fed() -> (Source, Watched, Watch) {
    let (sender, receiver) = unbounded();
    let (body, watch) = watched(StreamBody::new(receiver));
    (Source(sender), body, watch)
}

/// Watches a body.
#[derive(Clone, Default)]
struct Watch(Arc<[AtomicUsize; 2]>);

impl Watch {
    /// The number of bytes that the body has yielded.
    fn yielded(&self) -> usize {
        self.0[0].load(Ordering::SeqCst)
    }

    fn is_dropped(&self) -> bool {
        self.0[1].load(Ordering::SeqCst) > 0
    }
}

/// A watched body.
struct Watched {
    body: AnyBody,
    watch: Watch,
}

fn watched<B>(body: B) -> (Watched, Watch)
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let watch = Watch::default();
    (Watched { body: boxed(body), watch: watch.clone() }, watch)
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.watch.0[0].fetch_add(frame.data_ref().map_or(0, Bytes::len), Ordering::SeqCst);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.0[1].fetch_add(1, Ordering::SeqCst);
    }
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("17"));
    trailers
}

/// Sends a POST with these first bytes of its body.
async fn post(manual: &ManualGateway, inline: &'static str) -> Exchange {
    let mut head = head();
    head.end = false;
    manual.send_raw(encode(&head, request(Method::POST, "/", inline)).await).await
}

fn data(sequence: u64, body: impl Into<Bytes>, end: bool) -> Bytes {
    Data { sequence, body: body.into(), end, trailers: None }.encode()
}

fn credit(offset: u64) -> Bytes {
    Credit { offset, ..Credit::default() }.encode()
}

impl Exchange {
    /// Waits for the next frame other than WORKING and PROBE, and returns it with the consumer's token.
    async fn next_frame(&mut self) -> (Frame, Option<Subject>) {
        loop {
            match self.frame().await {
                (Frame::Working(_) | Frame::Probe, _) => {}
                news => return news,
            }
        }
    }

    /// Waits for ACCEPT, and returns its credit and the consumer's token.
    async fn accepted(&mut self) -> (u64, Subject) {
        match self.next_frame().await {
            (Frame::Accept(accept), Some(token)) => (accept.credit, token),
            other => panic!("{other:?}"),
        }
    }

    /// Waits for a response with a streamed body, and returns it with the consumer's token.
    async fn begun(&mut self) -> (Box<ResponseFrame>, Subject) {
        match self.next_frame().await {
            (Frame::Response(response), Some(token)) if !response.head.end => (response, token),
            other => panic!("{other:?}"),
        }
    }

    async fn data(&mut self) -> Data {
        match self.next_frame().await.0 {
            Frame::Data(data) => data,
            other => panic!("{other:?}"),
        }
    }

    async fn credit(&mut self) -> Credit {
        match self.next_frame().await.0 {
            Frame::Credit(credit) => credit,
            other => panic!("{other:?}"),
        }
    }
}
