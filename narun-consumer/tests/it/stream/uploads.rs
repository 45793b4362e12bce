//! Streamed request bodies.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use narun_consumer::{Body, BodyErrorKind, BoxError};
use narun_core::frame::{Data, Frame, ResetCode, encode_probe};
use tokio::sync::{mpsc, oneshot};
use tower::service_fn;

use super::{AnyBody, boxed, consumer, consumer_with, data, post, trailers};
use crate::gateway::{ManualGateway, encode, head};
use crate::harness::{Metrics, eventually, settle, soon};

const CANCELLED: &str = "http_consumer_cancelled_total";

/// A consumer whose handlers pass their request to the test, and respond with a body from it.
pub(super) async fn handed(
    window: u64,
) -> (ManualGateway, mpsc::UnboundedReceiver<(Request<Body>, oneshot::Sender<AnyBody>)>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let service = service_fn(move |request| {
        let sender = sender.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            sender.send((request, answer)).map_err(|_| "no receiver")?;
            Ok::<_, BoxError>(Response::new(answered.await?))
        }
    });
    (consumer_with(service, |serve| serve.window(window)).await, receiver)
}

#[tokio::test]
async fn the_rest_of_a_body_is_requested_when_it_is_read() {
    let (manual, mut handlers) = handed(1 << 20).await;
    let mut exchange = post(&manual, "abc").await;
    let (request, answer) = soon("a request", handlers.recv()).await.expect("a consumer");
    let mut body = request.into_body();
    assert_eq!(body.frame().await.expect("a part").expect("no error").into_data().expect("data"), "abc");
    settle(manual.client()).await;
    while let Some(frame) = exchange.waiting_frame() {
        assert!(matches!(frame, Frame::Working(_)), "asked for a body that is not read: {frame:?}");
    }
    let rest = tokio::spawn(body.collect());
    let (credit, token) = exchange.accepted().await;
    assert_eq!(credit, 3 + (1 << 20));
    exchange.send_frame(&token, data(1, "def", false)).await;
    let last = Data { sequence: 2, body: "g".into(), end: true, trailers: Some(trailers()) };
    exchange.send_frame(&token, last.encode()).await;
    let rest = soon("the rest", rest).await.expect("no panic").expect("a whole body");
    assert_eq!(rest.trailers(), Some(&trailers()));
    assert_eq!(rest.to_bytes(), "defg");
    answer.send(boxed(Body::from("thanks"))).expect("a handler");
    assert_eq!(exchange.response().await.body, "thanks");
}

#[tokio::test]
async fn a_body_is_read_in_place_by_its_handler() {
    let service = service_fn(async |request: Request<Body>| {
        let body = request.into_body().collect().await?;
        let trailers = body.trailers().cloned();
        Ok::<_, BoxError>(Response::new(boxed(Body::from(body.to_bytes()).with_trailers(trailers))))
    });
    let manual = consumer(service).await;
    let mut exchange = post(&manual, "").await;
    let (_, token) = exchange.accepted().await;
    for sequence in 1..100 {
        exchange.send_frame(&token, data(sequence, "x", false)).await;
    }
    exchange.send_frame(&token, data(100, "", true)).await;
    loop {
        match exchange.next_frame().await {
            (Frame::Credit(_), _) => {}
            (Frame::Response(response), None) => break assert_eq!(response.body, "x".repeat(99)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn credit_is_granted_as_the_body_is_read() {
    let (manual, mut handlers) = handed(64 * 1024).await;
    let mut exchange = post(&manual, "").await;
    let (request, _answer) = soon("a request", handlers.recv()).await.expect("a consumer");
    let mut body = request.into_body();
    let first = tokio::spawn(async move { (body.frame().await, body) });
    let (granted, token) = exchange.accepted().await;
    assert_eq!(granted, 64 * 1024);
    for sequence in 1..=4 {
        exchange.send_frame(&token, data(sequence, vec![0; 16 * 1024], false)).await;
    }
    let (_, mut body) = soon("a part", first).await.expect("no panic");
    // A quarter has been read, which is too little for new credit. PROBE is answered with the old credit.
    exchange.send_frame(&token, encode_probe()).await;
    assert_eq!(exchange.credit().await.offset, granted);
    for _ in 0..3 {
        body.frame().await.expect("a part").expect("no error");
    }
    let mut offset = granted;
    while offset < granted + 32 * 1024 {
        offset = exchange.credit().await.offset;
    }
    // Frames beyond the credit reset the exchange.
    for sequence in 5..=9 {
        exchange.send_frame(&token, data(sequence, vec![0; 16 * 1024], false)).await;
    }
    loop {
        match exchange.next_frame().await.0 {
            Frame::Credit(_) => {}
            Frame::Reset(reset) => break assert_eq!(reset.code, ResetCode::Flow),
            other => panic!("{other:?}"),
        }
    }
    while let Some(frame) = soon("a part", body.frame()).await {
        if let Err(error) = frame {
            return assert_eq!(error.kind(), BodyErrorKind::Gap);
        }
    }
    panic!("a body that was cut off came to an end");
}

#[tokio::test]
async fn a_lost_frame_drops_the_handler_and_fails_the_body() {
    let metrics = Metrics::install();
    let (manual, mut handlers) = handed(1 << 20).await;
    for nonsense in [data(2, "after a gap", false), Bytes::from_static(b"no frame")] {
        let malformed = nonsense.starts_with(b"no");
        let mut exchange = post(&manual, "abc").await;
        let (request, mut answer) = soon("a request", handlers.recv()).await.expect("a consumer");
        let rest = tokio::spawn(request.into_body().collect());
        let (_, token) = exchange.accepted().await;
        exchange.send_frame(&token, nonsense).await;
        let code = if malformed { ResetCode::Internal } else { ResetCode::Gap };
        assert_eq!(exchange.reset().await, (code, true));
        soon("a dropped handler", answer.closed()).await;
        let error = soon("an error", rest).await.expect("no panic").expect_err("it broke off");
        assert_eq!(error.kind(), BodyErrorKind::Gap);
    }
    assert_eq!(metrics.value(CANCELLED, &[("reason", "broken")]), 2.0);
    assert_eq!(metrics.value("http_consumer_stream_resets_total", &[("reason", "broken")]), 2.0);
}

#[tokio::test]
async fn a_dropped_body_stops_the_sender() {
    let (manual, mut handlers) = handed(1 << 20).await;
    let mut exchange = post(&manual, "").await;
    let (request, answer) = soon("a request", handlers.recv()).await.expect("a consumer");
    let mut body = request.into_body();
    let part = tokio::spawn(async move {
        body.frame().await;
    });
    let (_, token) = exchange.accepted().await;
    exchange.send_frame(&token, data(1, "x", false)).await;
    soon("a part", part).await.expect("no panic");
    loop {
        if exchange.credit().await.stop {
            break;
        }
    }
    // Frames that were in flight are ignored, and the response is sent.
    exchange.send_frame(&token, data(2, "y", false)).await;
    answer.send(boxed(Body::from("enough"))).expect("a handler");
    assert_eq!(exchange.response().await.body, "enough");
}

#[tokio::test]
async fn a_response_may_come_before_the_end_of_the_request() {
    let metrics = Metrics::install();
    let (manual, mut handlers) = handed(1 << 20).await;
    let mut exchange = post(&manual, "abc").await;
    let (request, answer) = soon("a request", handlers.recv()).await.expect("a consumer");
    answer.send(boxed(Body::from("early"))).expect("a handler");
    assert_eq!(exchange.response().await.body, "early");
    // The exchange has ended with the response.
    let error = request.into_body().collect().await.expect_err("it broke off");
    assert_eq!(error.kind(), BodyErrorKind::Reset);

    // While the response is streamed, the request's body continues.
    let mut exchange = post(&manual, "abc").await;
    let (request, answer) = soon("a request", handlers.recv()).await.expect("a consumer");
    answer.send(boxed(request.into_body())).expect("a handler");
    let (response, token) = exchange.begun().await;
    assert_eq!(response.body, "abc");
    exchange.send_frame(&token, super::credit(1000)).await;
    let mut granted = 0;
    for sequence in 1..=3 {
        exchange.send_frame(&token, data(sequence, "def", sequence == 3)).await;
        loop {
            match exchange.next_frame().await.0 {
                Frame::Credit(credit) => granted = credit.offset,
                Frame::Data(data) => {
                    assert_eq!((data.sequence, &data.body[..]), (sequence, &b"def"[..]));
                    // The end comes in a frame of its own, as the body noticed it late, or with the last part.
                    break if sequence == 3 && !data.end {
                        let end = exchange.data().await;
                        assert!(end.end && end.body.is_empty(), "{end:?}");
                    };
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(granted, 3 + (1 << 20));
    eventually("the end", async || metrics.value("http_consumer_requests_in_flight", &[]) == 0.0).await;
    assert_eq!(metrics.value("http_consumer_stream_resets_total", &[]), 0.0);
    assert_eq!(metrics.value("http_consumer_requests_total", &[("status_class", "2xx")]), 2.0);
}

#[tokio::test]
async fn a_body_must_have_its_content_length() {
    let hints = Arc::new(Mutex::new(Vec::new()));
    let seen = hints.clone();
    let service = service_fn(move |request: Request<Body>| {
        let body = request.into_body();
        seen.lock().expect("no panic").push(body.size_hint().exact());
        async move {
            let result = body.collect().await.map(|body| body.to_bytes().len());
            Ok::<_, BoxError>(Response::new(boxed(Body::from(format!(
                "{:?}",
                result.map_err(|error| error.kind())
            )))))
        }
    });
    let manual = consumer(service).await;
    for (length, seen) in [(3, "Err(Gap)"), (4, "Ok(4)"), (5, "Err(Gap)")] {
        let mut head = head();
        head.end = false;
        let request =
            Request::post("/").header("content-length", length).body(Body::from("ab")).expect("a request");
        let mut exchange = manual.send_raw(encode(&head, request).await).await;
        let (_, token) = exchange.accepted().await;
        exchange.send_frame(&token, data(1, "cd", true)).await;
        assert_eq!(exchange.response().await.body, seen, "{length}");
    }
    assert_eq!(*hints.lock().expect("no panic"), [Some(3), Some(4), Some(5)]);
}

/// Counts the polls of a future.
#[pin_project::pin_project]
struct Counted<F>(#[pin] F, Arc<AtomicUsize>);

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.1.fetch_add(1, Ordering::SeqCst);
        this.0.poll(cx)
    }
}

#[tokio::test]
async fn a_handler_that_waits_for_its_body_is_not_polled() {
    for elsewhere in [false, true] {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let service = service_fn(move |request: Request<Body>| {
            let read = Counted(request.into_body().collect(), counted.clone());
            async move {
                let body = if elsewhere { tokio::spawn(read).await? } else { read.await };
                Ok::<_, BoxError>(Response::new(boxed(Body::from(body?.to_bytes()))))
            }
        });
        let manual = consumer(service).await;
        let mut exchange = post(&manual, "a").await;
        let (_, token) = exchange.accepted().await;
        let waits = async || {
            settle(manual.client()).await;
            let before = polls.load(Ordering::SeqCst);
            for _ in 0..20 {
                settle(manual.client()).await;
            }
            // Sending WORKING polls the handler as well.
            assert!(polls.load(Ordering::SeqCst) <= before + 4, "{elsewhere}: {before}, {polls:?}");
        };
        waits().await;
        exchange.send_frame(&token, data(1, "b", false)).await;
        waits().await;
        exchange.send_frame(&token, data(2, "c", true)).await;
        assert_eq!(exchange.response().await.body, "abc");
    }
}
