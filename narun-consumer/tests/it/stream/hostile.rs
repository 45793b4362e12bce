//! Gateways that violate the protocol of streamed bodies.

use bytes::Bytes;
use http::Response;
use narun_core::frame::{Credit, Data, Frame, Reset, ResetCode};

use super::uploads::handed;
use super::{Source, Watch, answering, boxed, consumer, credit, data, fed, post};
use crate::gateway::{Exchange, ManualGateway, encode, get, head};
use crate::harness::{Metrics, eventually, soon};

const WINDOW: usize = 64 * 1024;
const RESETS: &str = "http_consumer_stream_resets_total";

/// DATA with a wrong length.
fn giant() -> Bytes {
    let honest = data(1, "x", false);
    let (head, body) = honest.split_at(honest.len() - 2);
    assert_eq!(body, b"\x41x");
    [head, &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], b"x"].concat().into()
}

#[tokio::test]
async fn invalid_frames_reset_their_exchange_and_no_other() {
    let metrics = Metrics::install();
    let (manual, mut handlers) = handed(WINDOW as u64).await;
    let mut honest = post(&manual, "").await;
    let (request, answer) = soon("a request", handlers.recv()).await.expect("a consumer");
    answer.send(boxed(request.into_body())).expect("a handler");
    let ((_, token), mut sequence) = (honest.begun().await, 0);
    honest.send_frame(&token, credit(1000)).await;

    let overrun = (1..=3).map(|sequence| data(sequence, vec![0; 40_000], false)).collect();
    let sent = |sent| Credit { offset: 0, stop: false, sent }.encode();
    let mut lies = 0.0;
    for (frames, code) in [
        (overrun, ResetCode::Flow),
        // Over the inline limit.
        (vec![data(1, vec![0; WINDOW + 1], false)], ResetCode::Internal),
        (vec![data(1, vec![0; 400_000], false)], ResetCode::Internal),
        (vec![data(2, "x", false)], ResetCode::Gap),
        (vec![data(u64::MAX, "x", true)], ResetCode::Gap),
        (vec![sent(1)], ResetCode::Gap),
        (vec![sent(u64::MAX)], ResetCode::Gap),
        (vec![data(0, "x", false)], ResetCode::Internal),
        (vec![giant()], ResetCode::Internal),
        (vec![Bytes::from_static(b"no frame")], ResetCode::Internal),
    ] {
        let first = frames[0].slice(..frames[0].len().min(40));
        let mut exchange = post(&manual, "").await;
        let (request, mut answer) = soon("a request", handlers.recv()).await.expect("a consumer");
        let mut body = request.into_body();
        let reading =
            tokio::spawn(async move { http_body_util::BodyExt::frame(&mut body).await.map(|_| body) });
        let (_, consumer) = exchange.accepted().await;
        for frame in frames {
            exchange.send_frame(&consumer, frame).await;
        }
        let received = loop {
            match exchange.next_frame().await.0 {
                Frame::Reset(reset) => break reset.code,
                Frame::Credit(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(received, code, "{first:?}");
        soon("a dropped handler", answer.closed()).await;
        soon("an end of the body", reading).await.expect("no panic");
        lies += 1.0;
        assert_eq!(metrics.value(RESETS, &[("reason", "broken")]), lies, "{first:?}");

        sequence += 1;
        honest.send_frame(&token, data(sequence, "tick", false)).await;
        assert_eq!(honest.tick().await, "tick");
    }
    honest.send_frame(&token, data(sequence + 1, "", true)).await;
    eventually("the end", async || metrics.value("http_consumer_requests_in_flight", &[]) == 0.0).await;
    assert_eq!(metrics.value(RESETS, &[]), lies);
}

impl Exchange {
    /// Waits for the next part of the response's body.
    async fn tick(&mut self) -> Bytes {
        loop {
            match self.next_frame().await.0 {
                Frame::Credit(_) => {}
                Frame::Data(data) => return data.body,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A download that has started, with credit.
async fn begun() -> (ManualGateway, Exchange, async_nats::Subject, Source, Watch) {
    let (source, body, watch) = fed();
    source.data("a");
    let manual = consumer(answering(Response::new(boxed(body)))).await;
    let mut exchange = manual.get("/").await;
    let (_, token) = exchange.begun().await;
    exchange.send_frame(&token, credit(1000)).await;
    (manual, exchange, token, source, watch)
}

#[tokio::test]
async fn frames_from_other_tokens_change_nothing() {
    let (manual, mut exchange, token, source, watch) = begun().await;
    let mut stranger = manual.get("/other").await;
    stranger.response().await;
    let end = Data { sequence: 1, body: "evil".into(), end: true, trailers: None };
    for (frame, tick) in [
        (Credit { offset: u64::MAX, stop: true, sent: u64::MAX }.encode(), "b"),
        (data(1, "evil", false), "c"),
        (end.encode(), "d"),
        (encode(&head(), get("/")).await, "e"),
    ] {
        stranger.send_frame(&token, frame).await;
        assert_eq!(stranger.reset().await.0, ResetCode::Gone);
        source.data(tick);
        assert_eq!(exchange.tick().await, tick);
    }
    assert!(!watch.is_dropped());
    // A frame without a reply is accepted from any sender that knows the token.
    let reset = Reset { code: ResetCode::Cancel, text: String::new(), ran: true };
    manual.client().publish(token, reset.encode()).await.expect("a message sent");
    eventually("a dropped body", async || watch.is_dropped()).await;
}

#[tokio::test]
async fn credit_never_shrinks_and_is_capped() {
    let (_actor, mut exchange, token, source, _watch) = begun().await;
    for (offset, tick) in [(0, "b"), (1, "c"), (u64::MAX, "d"), (5, "e"), (u64::MAX, "f")] {
        exchange.send_frame(&token, credit(offset)).await;
        source.data(tick);
        assert_eq!(exchange.tick().await, tick);
    }
    source.data(vec![0; 100_000]);
    let mut rest = 0;
    while rest < 100_000 {
        rest += exchange.tick().await.len();
    }
}
