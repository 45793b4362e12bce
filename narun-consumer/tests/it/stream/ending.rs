//! Streamed bodies that end early.

use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use http_body::Frame as Piece;
use http_body_util::StreamBody;
use narun_consumer::{BoxError, serve};
use narun_core::frame::{Credit, Frame, Refusal, Reset, ResetCode};
use narun_support::Server;
use tokio::sync::oneshot;

use super::{Watch, answering, boxed, consumer, consumer_with, credit, fed};
use crate::gateway::{Exchange, ManualGateway, get, head, request};
use crate::harness::{Metrics, connect, eventually, listens, new_app, settle, soon, start};

const RESETS: &str = "http_consumer_stream_resets_total";
const FAILURES: &str = "http_consumer_handler_failures_total";

/// A response with a streamed body that has started, with credit.
async fn begun() -> (ManualGateway, Exchange, async_nats::Subject, super::Source, Watch) {
    let (source, body, watch) = fed();
    source.data("a");
    let manual = consumer(answering(Response::new(boxed(body)))).await;
    let mut exchange = manual.get("/").await;
    let (_, token) = exchange.begun().await;
    exchange.send_frame(&token, credit(1000)).await;
    (manual, exchange, token, source, watch)
}

async fn dropped(watch: &Watch) {
    eventually("a dropped body", async || watch.is_dropped()).await;
}

#[tokio::test]
async fn a_reset_or_stop_drops_the_body() {
    let metrics = Metrics::install();
    let stop = Credit { offset: 1000, stop: true, sent: 0 }.encode();
    let reset = |code| Reset { code, text: String::new(), ran: true }.encode();
    for (frame, reason) in [
        (reset(ResetCode::Cancel), "caller"),
        (stop, "caller"),
        (reset(ResetCode::Idle), "idle"),
        (reset(ResetCode::Gap), "broken"),
        (reset(ResetCode::Gone), "gone"),
        (reset(ResetCode::Deadline), "deadline"),
    ] {
        let before = metrics.value(RESETS, &[("reason", reason)]);
        let (manual, exchange, token, _source, watch) = begun().await;
        exchange.send_frame(&token, frame).await;
        dropped(&watch).await;
        assert_eq!(metrics.value(RESETS, &[("reason", reason)]), before + 1.0, "{reason}");
        manual.get("/next").await.response().await;
    }
    assert_eq!(metrics.value("http_consumer_cancelled_total", &[("reason", "idle")]), 1.0);
}

#[tokio::test]
async fn a_wrong_count_of_sent_bytes_is_a_gap() {
    let (_actor, mut exchange, token, _source, watch) = begun().await;
    exchange.send_frame(&token, Credit { offset: 1000, stop: false, sent: 7 }.encode()).await;
    assert_eq!(exchange.reset().await.0, ResetCode::Gap);
    dropped(&watch).await;
}

#[tokio::test]
async fn a_body_that_fails_resets_its_exchange_only() {
    let metrics = Metrics::install();
    let (manual, mut exchange, _, source, watch) = begun().await;
    source.data("b");
    assert_eq!(exchange.data().await.body, "b");
    source.fail();
    assert_eq!(exchange.reset().await, (ResetCode::Internal, true));
    dropped(&watch).await;
    assert_eq!(metrics.value(FAILURES, &[("reason", "error")]), 1.0);
    manual.get("/next").await.response().await;

    let mut polls = 0;
    let panicking = futures::stream::poll_fn(move |_| -> Poll<Option<Result<Piece<Bytes>, BoxError>>> {
        polls += 1;
        match polls {
            1 => Poll::Ready(Some(Ok(Piece::data("a".into())))),
            2 => Poll::Pending,
            _ => panic!("on purpose"),
        }
    });
    let manual = consumer(answering(Response::new(boxed(StreamBody::new(panicking))))).await;
    let mut exchange = manual.get("/").await;
    let (_, token) = exchange.begun().await;
    exchange.send_frame(&token, credit(1000)).await;
    assert_eq!(exchange.reset().await, (ResetCode::Internal, true));
    assert_eq!(metrics.value(FAILURES, &[("reason", "panic")]), 1.0);
    assert_eq!(metrics.value(RESETS, &[("reason", "failed")]), 2.0);
    manual.get("/next").await.response().await;
    eventually("the end", async || metrics.value("http_consumer_requests_in_flight", &[]) == 0.0).await;
}

#[tokio::test]
async fn a_slot_is_held_until_the_body_has_ended() {
    let (source, body, _) = fed();
    source.data("a");
    let service = answering(Response::new(boxed(body)));
    let manual = consumer_with(service, |serve| serve.concurrency(1).queue(0)).await;
    let mut exchange = manual.get("/").await;
    let (_, token) = exchange.begun().await;
    let (frame, _) = manual.get("/next").await.frame().await;
    assert!(matches!(&frame, Frame::Refused(refused) if refused.reason == Refusal::Overloaded), "{frame:?}");
    exchange.send_frame(&token, credit(1000)).await;
    drop(source);
    assert!(exchange.data().await.end);
    eventually("a free slot", async || {
        matches!(manual.get("/next").await.frame().await.0, Frame::Response(_))
    })
    .await;
}

#[tokio::test]
async fn a_body_is_dropped_at_its_deadline() {
    let metrics = Metrics::install();
    let (source, body, watch) = fed();
    source.data("a");
    let manual = consumer(answering(Response::new(boxed(body)))).await;
    let mut limited = head();
    limited.head_timeout = Some(Duration::from_secs(1));
    limited.total_timeout = Some(Duration::from_secs(2));
    let mut exchange = manual.send(limited, get("/")).await;
    exchange.begun().await;
    let code = loop {
        match exchange.next_frame().await.0 {
            Frame::Reset(reset) => break reset.code,
            Frame::Credit(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, ResetCode::Deadline);
    dropped(&watch).await;
    assert_eq!(metrics.value(RESETS, &[("reason", "deadline")]), 1.0);
}

#[tokio::test]
async fn a_body_is_dropped_when_its_gateway_is_gone() {
    let (source, body, watch) = fed();
    source.data("a");
    let manual = consumer(answering(Response::new(boxed(body)))).await;
    let mut exchange = manual.get("/").await;
    exchange.begun().await;
    // It waits for credit, so it sends PROBE soon.
    exchange.leave().await;
    dropped(&watch).await;
}

#[tokio::test]
async fn a_shutdown_waits_for_streamed_bodies_then_aborts_them() {
    let metrics = Metrics::install();
    for finishes in [true, false] {
        let (source, body, watch) = fed();
        source.data("a");
        let (app, (stop, stopped)) = (new_app(), oneshot::channel::<()>());
        let patience = Duration::from_millis(if finishes { 20_000 } else { 50 });
        let serve = serve(connect().await, app.as_str(), answering(Response::new(boxed(body))))
            .shutdown_timeout(patience)
            .with_graceful_shutdown(async { drop(stopped.await) });
        let consumer = start(&app, serve).await;
        let manual = ManualGateway::new(&app).await;
        let mut exchange = manual.send(head(), request(Method::POST, "/", "")).await;
        let (_, token) = exchange.begun().await;
        exchange.send_frame(&token, credit(1000)).await;
        stop.send(()).expect("a consumer");
        if finishes {
            source.data("b");
            assert_eq!(exchange.data().await.body, "b");
            drop(source);
            assert!(exchange.data().await.end);
        } else {
            let reset = loop {
                match exchange.next_frame().await.0 {
                    Frame::Reset(reset) => break reset,
                    Frame::Credit(_) => {}
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!((reset.code, reset.ran), (ResetCode::Draining, true));
            dropped(&watch).await;
        }
        soon("the consumer's end", consumer).await.expect("no panic").expect("no error");
    }
    assert_eq!(metrics.value(RESETS, &[("reason", "draining")]), 1.0);
    assert_eq!(metrics.value(RESETS, &[]), 1.0);
}

#[tokio::test]
async fn a_streamed_body_survives_a_lost_connection_without_loss() {
    let mut server = Server::start().expect("a nats-server");
    let (source, body, watch) = fed();
    source.data("a");
    let app = new_app();
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let consumer_statistics = client.statistics();
    tokio::spawn(serve(client, app.as_str(), answering(Response::new(boxed(body)))).into_future());
    let client = async_nats::connect(server.url()).await.expect("a connection");
    listens(&client, &app).await;
    let manual = ManualGateway::over(client, &app);
    let mut exchange = manual.get("/").await;
    let (_, token) = exchange.begun().await;
    exchange.send_frame(&token, credit(1000)).await;
    source.data("b");
    assert_eq!(exchange.data().await.sequence, 1);

    server.restart().expect("the server again");
    for statistics in [manual.client().statistics(), consumer_statistics] {
        eventually("a new connection", async || statistics.connects.load(Ordering::Relaxed) == 2).await;
    }
    settle(manual.client()).await;
    // It shows what was sent, and PROBE follows.
    assert_eq!(exchange.credit().await.sent, 1);
    exchange.send_frame(&token, credit(1000)).await;
    source.data("c");
    let data = exchange.data().await;
    assert_eq!((data.sequence, &data.body[..]), (2, &b"c"[..]));
    assert!(!watch.is_dropped());
}
