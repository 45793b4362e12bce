//! Requests that are not whole.

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
use crate::gateway::{Actor, encode, head};
use crate::harness::{Metrics, eventually, settle, soon};

const CANCELLED: &str = "http_consumer_cancelled_total";

/// A consumer whose handlers give their request to the test, and answer with what that says.
pub(super) async fn handed(
    window: u64,
) -> (Actor, mpsc::UnboundedReceiver<(Request<Body>, oneshot::Sender<AnyBody>)>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let service = service_fn(move |request| {
        let sender = sender.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            sender.send((request, answer)).map_err(|_| "nobody takes it")?;
            Ok::<_, BoxError>(Response::new(answered.await?))
        }
    });
    (consumer_with(service, |serve| serve.window(window)).await, receiver)
}

#[tokio::test]
async fn the_rest_is_asked_for_when_it_is_read() {
    let (actor, mut handlers) = handed(1 << 20).await;
    let mut exchange = post(&actor, "abc").await;
    let (request, answer) = soon("a request", handlers.recv()).await.expect("a consumer");
    let mut body = request.into_body();
    assert_eq!(body.frame().await.expect("a part").expect("no error").into_data().expect("data"), "abc");
    settle(actor.client()).await;
    while let Some(frame) = exchange.waiting_frame() {
        assert!(matches!(frame, Frame::Working(_)), "asked for what nobody reads: {frame:?}");
    }
    let rest = tokio::spawn(body.collect());
    let (credit, token) = exchange.accepted().await;
    assert_eq!(credit, 3 + (1 << 20));
    exchange.tell(&token, data(1, "def", false)).await;
    let last = Data { sequence: 2, body: "g".into(), end: true, trailers: Some(trailers()) };
    exchange.tell(&token, last.encode()).await;
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
    let actor = consumer(service).await;
    let mut exchange = post(&actor, "").await;
    let (_, token) = exchange.accepted().await;
    for sequence in 1..100 {
        exchange.tell(&token, data(sequence, "x", false)).await;
    }
    exchange.tell(&token, data(100, "", true)).await;
    loop {
        match exchange.news().await {
            (Frame::Credit(_), _) => {}
            (Frame::Response(response), None) => break assert_eq!(response.body, "x".repeat(99)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn more_is_granted_only_as_it_is_read() {
    let (actor, mut handlers) = handed(64 * 1024).await;
    let mut exchange = post(&actor, "").await;
    let (request, _answer) = soon("a request", handlers.recv()).await.expect("a consumer");
    let mut body = request.into_body();
    let first = tokio::spawn(async move { (body.frame().await, body) });
    let (granted, token) = exchange.accepted().await;
    assert_eq!(granted, 64 * 1024);
    for sequence in 1..=4 {
        exchange.tell(&token, data(sequence, vec![0; 16 * 1024], false)).await;
    }
    let (_, mut body) = soon("a part", first).await.expect("no panic");
    // A quarter was read: that is no reason yet. PROBE is answered all the same.
    exchange.tell(&token, encode_probe()).await;
    assert_eq!(exchange.credit().await.offset, granted);
    for _ in 0..3 {
        body.frame().await.expect("a part").expect("no error");
    }
    let mut offset = granted;
    while offset < granted + 32 * 1024 {
        offset = exchange.credit().await.offset;
    }
    // More than that is not taken.
    for sequence in 5..=9 {
        exchange.tell(&token, data(sequence, vec![0; 16 * 1024], false)).await;
    }
    loop {
        match exchange.news().await.0 {
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
async fn what_is_lost_drops_the_handler_and_tells_the_reader() {
    let metrics = Metrics::install();
    let (actor, mut handlers) = handed(1 << 20).await;
    for nonsense in [data(2, "after a gap", false), Bytes::from_static(b"no frame")] {
        let malformed = nonsense.starts_with(b"no");
        let mut exchange = post(&actor, "abc").await;
        let (request, mut answer) = soon("a request", handlers.recv()).await.expect("a consumer");
        let rest = tokio::spawn(request.into_body().collect());
        let (_, token) = exchange.accepted().await;
        exchange.tell(&token, nonsense).await;
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
async fn a_body_that_nobody_reads_any_more_is_stopped() {
    let (actor, mut handlers) = handed(1 << 20).await;
    let mut exchange = post(&actor, "").await;
    let (request, answer) = soon("a request", handlers.recv()).await.expect("a consumer");
    let mut body = request.into_body();
    let part = tokio::spawn(async move {
        body.frame().await;
    });
    let (_, token) = exchange.accepted().await;
    exchange.tell(&token, data(1, "x", false)).await;
    soon("a part", part).await.expect("no panic");
    loop {
        if exchange.credit().await.stop {
            break;
        }
    }
    // What was on its way is passed over, and the answer comes as ever.
    exchange.tell(&token, data(2, "y", false)).await;
    answer.send(boxed(Body::from("enough"))).expect("a handler");
    assert_eq!(exchange.response().await.body, "enough");
}

#[tokio::test]
async fn an_answer_need_not_wait_for_the_request() {
    let metrics = Metrics::install();
    let (actor, mut handlers) = handed(1 << 20).await;
    let mut exchange = post(&actor, "abc").await;
    let (request, answer) = soon("a request", handlers.recv()).await.expect("a consumer");
    answer.send(boxed(Body::from("early"))).expect("a handler");
    assert_eq!(exchange.response().await.body, "early");
    // With the response the exchange has ended.
    let error = request.into_body().collect().await.expect_err("it broke off");
    assert_eq!(error.kind(), BodyErrorKind::Reset);

    // A response that goes on lets the request go on, too.
    let mut exchange = post(&actor, "abc").await;
    let (request, answer) = soon("a request", handlers.recv()).await.expect("a consumer");
    answer.send(boxed(request.into_body())).expect("a handler");
    let (response, token) = exchange.begun().await;
    assert_eq!(response.body, "abc");
    exchange.tell(&token, super::credit(1000)).await;
    let mut granted = 0;
    for sequence in 1..=3 {
        exchange.tell(&token, data(sequence, "def", sequence == 3)).await;
        loop {
            match exchange.news().await.0 {
                Frame::Credit(credit) => granted = credit.offset,
                Frame::Data(data) => {
                    assert_eq!((data.sequence, &data.body[..]), (sequence, &b"def"[..]));
                    // The end comes by itself, as the body knew of it only afterwards, or with the last part.
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
async fn a_body_is_held_against_its_content_length() {
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
    let actor = consumer(service).await;
    for (length, seen) in [(3, "Err(Gap)"), (4, "Ok(4)"), (5, "Err(Gap)")] {
        let mut head = head();
        head.end = false;
        let request =
            Request::post("/").header("content-length", length).body(Body::from("ab")).expect("a request");
        let mut exchange = actor.send_raw(encode(&head, request).await).await;
        let (_, token) = exchange.accepted().await;
        exchange.tell(&token, data(1, "cd", true)).await;
        assert_eq!(exchange.response().await.body, seen, "{length}");
    }
    assert_eq!(*hints.lock().expect("no panic"), [Some(3), Some(4), Some(5)]);
}

/// Counts how often a future is polled.
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
async fn who_waits_for_a_body_is_left_alone() {
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
        let actor = consumer(service).await;
        let mut exchange = post(&actor, "a").await;
        let (_, token) = exchange.accepted().await;
        let waits = async || {
            settle(actor.client()).await;
            let before = polls.load(Ordering::SeqCst);
            for _ in 0..20 {
                settle(actor.client()).await;
            }
            // WORKING may fall in here, which polls the handler as well.
            assert!(polls.load(Ordering::SeqCst) <= before + 4, "{elsewhere}: {before}, {polls:?}");
        };
        waits().await;
        exchange.tell(&token, data(1, "b", false)).await;
        waits().await;
        exchange.tell(&token, data(2, "c", true)).await;
        assert_eq!(exchange.response().await.body, "abc");
    }
}
