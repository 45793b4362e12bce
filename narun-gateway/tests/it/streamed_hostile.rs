//! Consumers that break the rules of streamed bodies.

use bytes::Bytes;
use http::{Method, StatusCode};
use narun_core::BodyErrorKind;
use narun_core::frame::{Accept, Credit, Data, Frame, RequestHead, Reset, ResetCode, VERSION};
use narun_core::{ExchangeId, Limits, fields::Edit};
use narun_gateway::{Body, Gateway, ResponseBody};

use crate::consumer::Consumer;
use crate::harness::{Metrics, eventually, get, open_tokens, pair, pair_with, request, spawn, spawn_open};
use crate::streaming::{Handler, broken, next, noise, pieces, streamed_response};

const WINDOW: u64 = 64 * 1024;

/// A response that follows the rules.
struct Honest {
    handler: Handler,
    body: ResponseBody<Body>,
}

impl Honest {
    async fn begin(gateway: &Gateway, consumer: &mut Consumer) -> Self {
        let response = spawn_open(gateway, get("/"));
        let mut handler = Handler::new(consumer.request().await).await;
        handler.begin(streamed_response()).await;
        Self { handler, body: response.await.expect("no panic").into_body() }
    }

    /// Its next part arrives as if nothing had happened.
    async fn goes_on(&mut self) {
        assert!(self.handler.send("tick".into()).await);
        let part = next(&mut self.body).await.expect("a part").expect("well").into_data().expect("bytes");
        assert_eq!(part, "tick");
    }

    async fn ends(mut self) {
        self.handler.finish(None).await;
        assert!(next(&mut self.body).await.is_none());
    }
}

fn data(sequence: u64, body: impl Into<Bytes>) -> Bytes {
    Data { sequence, body: body.into(), end: false, trailers: None }.encode()
}

/// DATA with a wrong length.
fn giant() -> Bytes {
    let honest = data(1, "x");
    let (head, body) = honest.split_at(honest.len() - 2);
    assert_eq!(body, b"\x41x");
    [head, &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], b"x"].concat().into()
}

/// A frame that no consumer sends.
fn question() -> Bytes {
    let (parts, ()) = http::Request::new(()).into_parts();
    let head = RequestHead::new(ExchangeId::from_bytes([7; 16]));
    head.encode(&parts, Edit::default(), Bytes::new(), None, &Limits::default()).expect("a REQUEST")
}

#[tokio::test]
async fn invalid_frames_in_a_response_are_reset_and_counted() {
    let metrics = Metrics::install();
    let (gateway, mut consumer) = pair_with(|builder| builder.window(WINDOW)).await;
    let mut honest = Honest::begin(&gateway, &mut consumer).await;
    let overrun = (1..=3).map(|sequence| data(sequence, noise(40_000))).collect();
    let sent = |sent| Credit { offset: 0, stop: false, sent }.encode();
    for (lies, code, kind, reason) in [
        (overrun, ResetCode::Flow, BodyErrorKind::Reset, "reset"),
        (
            vec![data(1, noise(usize::try_from(WINDOW).expect("it fits") + 1))],
            // Over the inline limit.
            ResetCode::Internal,
            BodyErrorKind::Reset,
            "reset",
        ),
        (vec![data(1, noise(400_000))], ResetCode::Internal, BodyErrorKind::Reset, "reset"),
        (vec![data(2, "x")], ResetCode::Gap, BodyErrorKind::Gap, "gap"),
        (vec![data(u64::MAX, "x")], ResetCode::Gap, BodyErrorKind::Gap, "gap"),
        (vec![sent(1)], ResetCode::Gap, BodyErrorKind::Gap, "gap"),
        (vec![sent(u64::MAX)], ResetCode::Gap, BodyErrorKind::Gap, "gap"),
        (vec![data(0, "x")], ResetCode::Internal, BodyErrorKind::Reset, "reset"),
        (vec![giant()], ResetCode::Internal, BodyErrorKind::Reset, "reset"),
        (vec![question()], ResetCode::Internal, BodyErrorKind::Reset, "reset"),
        (vec![Bytes::from_static(b"no frame")], ResetCode::Internal, BodyErrorKind::Reset, "reset"),
    ] {
        let resets = || metrics.value("http_gateway_stream_resets_total", &[("reason", reason)]);
        let (before, first) = (resets(), lies[0].slice(..lies[0].len().min(40)));
        let response = spawn_open(&gateway, get("/"));
        let mut handler = Handler::new(consumer.request().await).await;
        handler.begin(streamed_response()).await;
        let response = response.await.expect("no panic");
        for lie in lies {
            handler.publish(lie).await;
        }
        assert_eq!(broken(response.into_body()).await, kind, "{first:?}");
        handler.cancelled().await;
        assert_eq!(handler.reset, Some(code), "{first:?}");
        assert_eq!(resets() - before, 1.0, "{first:?}");
        honest.goes_on().await;
    }
    assert_eq!(metrics.value("http_gateway_stream_resets_total", &[]), 11.0);
    honest.ends().await;
    eventually("dropped exchanges", async || open_tokens(&gateway) == 0).await;
}

#[tokio::test]
async fn invalid_frames_before_a_response_are_502() {
    let (gateway, mut consumer) = pair().await;
    let mut honest = Honest::begin(&gateway, &mut consumer).await;
    for (lie, code) in [
        (data(1, "x"), ResetCode::Gap),
        (Credit { offset: 0, stop: false, sent: 1 }.encode(), ResetCode::Gap),
        (giant(), ResetCode::Internal),
        (question(), ResetCode::Internal),
    ] {
        let response = spawn(&gateway, get("/"));
        let mut handler = Handler::new(consumer.request().await).await;
        handler.publish(Credit::default().encode()).await;
        handler.publish(lie).await;
        assert_eq!(response.await.expect("no panic").status, StatusCode::BAD_GATEWAY);
        handler.cancelled().await;
        assert_eq!(handler.reset, Some(code));
        honest.goes_on().await;
    }
    honest.ends().await;
    eventually("dropped exchanges", async || open_tokens(&gateway) == 0).await;
}

#[tokio::test]
async fn repeated_frames_are_ignored() {
    let (gateway, mut consumer) = pair().await;
    let mut honest = Honest::begin(&gateway, &mut consumer).await;
    honest.goes_on().await;
    for again in
        [data(1, "other"), Data { sequence: 1, body: "end".into(), end: true, trailers: None }.encode()]
    {
        honest.handler.publish(again).await;
        honest.goes_on().await;
    }
    honest.ends().await;
}

#[tokio::test]
async fn frames_of_another_consumer_are_ignored_and_get_gone() {
    let (gateway, mut consumer) = pair().await;
    let mut honest = Honest::begin(&gateway, &mut consumer).await;
    let mut other = Honest::begin(&gateway, &mut consumer).await;
    let mut stranger = consumer.open_inbox().await;
    let token = honest.handler.gateway.clone();
    for frame in [
        data(1, "evil"),
        Data { sequence: 1, body: "evil".into(), end: true, trailers: None }.encode(),
        Credit { offset: u64::MAX, stop: true, sent: u64::MAX }.encode(),
        Accept { version: VERSION, instance: None, max_payload: 1, credit: u64::MAX }.encode(),
        crate::consumer::encode_response(http::Response::new(Body::from("evil"))).await,
        question(),
    ] {
        let client = consumer.client();
        let reply = stranger.subject.clone();
        client.publish_with_reply(token.clone(), reply, frame).await.expect("a message sent");
        let reset = stranger.frame().await;
        assert!(matches!(reset, Frame::Reset(Reset { code: ResetCode::Gone, .. })), "{reset:?}");
        honest.goes_on().await;
        other.goes_on().await;
    }
    honest.ends().await;
    other.ends().await;
}

#[tokio::test]
async fn invalid_frames_about_a_request_end_only_its_exchange() {
    let (gateway, mut consumer) = pair().await;
    let mut honest = Honest::begin(&gateway, &mut consumer).await;
    let body = noise(3_000_000);
    let upload = || request(Method::POST, "/", "").map(|_| pieces(&body, 100_000));
    let accept = |credit| Accept { version: VERSION, instance: None, max_payload: 0, credit }.encode();

    // Credit for more bytes than there are is valid, and a smaller offset takes no credit back.
    let response = spawn(&gateway, upload());
    let exchange = consumer.request().await;
    exchange.send_with_reply(accept(u64::MAX), exchange.token()).await;
    exchange.send_with_reply(Credit { offset: 1, stop: false, sent: 0 }.encode(), exchange.token()).await;
    let mut received = exchange.request.body.len();
    loop {
        let (Frame::Data(data), _) = consumer.frame().await else { panic!("not DATA") };
        received += data.body.len();
        if data.end {
            break;
        }
    }
    assert_eq!(received, body.len());
    exchange.ok("all").await;
    assert_eq!(response.await.expect("no panic").body, "all");
    honest.goes_on().await;

    for lie in [data(1, "x"), Credit { offset: 100, stop: false, sent: 9 }.encode(), giant()] {
        let response = spawn(&gateway, upload());
        let mut handler = Handler::new(consumer.request().await).await;
        handler.publish(accept(100_000)).await;
        handler.publish(lie).await;
        assert_eq!(response.await.expect("no panic").status, StatusCode::BAD_GATEWAY);
        handler.cancelled().await;
        honest.goes_on().await;
    }
    honest.ends().await;
    eventually("dropped exchanges", async || open_tokens(&gateway) == 0).await;
}
