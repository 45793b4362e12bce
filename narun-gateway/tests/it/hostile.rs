//! Messages that no correct peer sends.

use std::time::{Duration, Instant};

use async_nats::{Client, Subject};
use bytes::Bytes;
use http::StatusCode;
use narun_core::frame::{Data, Frame, Reset, ResetCode, VERSION, Working, encode_probe};

use crate::consumer::Consumer;
use crate::harness::{
    Metrics, SERVER, builder, connect, eventually, get, new_app, open_tokens, pair, post, send, settle, soon,
    spawn,
};
use narun_support::testing::poison;

const DISCARDED: &str = "http_gateway_inbox_discarded_total";

/// The prefix of a gateway's tokens.
fn inbox(token: &Subject) -> String {
    let (prefix, _) = token.rsplit_once('.').expect("a token");
    prefix.to_owned()
}

async fn publish(client: &Client, subject: String, reply: Option<Subject>, payload: Bytes) {
    let published = match reply {
        Some(reply) => client.publish_with_reply(subject, reply, payload).await,
        None => client.publish(subject, payload).await,
    };
    published.expect("a message sent");
}

#[tokio::test]
async fn invalid_messages_in_the_inbox_are_counted_and_ignored() {
    const JUNK: usize = 2000;
    let metrics = Metrics::install();
    let (gateway, mut consumer) = pair().await;
    let waiting = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    let inbox = inbox(&exchange.gateway);

    // Bytes that look random, from none to some hundred. None of them is a valid frame.
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for number in 0..JUNK {
        let payload: Bytes = (0..number % 300).map(|_| byte()).collect();
        assert!(Frame::decode(&payload, &Default::default()).is_err());
        let reply = (number % 2 == 0).then(|| exchange.token());
        // Tokens of the right length, of other lengths, and with invalid characters.
        let token = ["x", "0123456789012345678901", "ä", "!"][number % 4];
        publish(consumer.client(), format!("{inbox}.{token}"), reply, payload).await;
    }
    let counted = async || metrics.value(DISCARDED, &[("reason", "junk")]) == JUNK as f64;
    eventually("junk counted", counted).await;

    exchange.ok("unharmed").await;
    assert_eq!(waiting.await.expect("no panic").body, "unharmed");
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_frame().is_none(), "the gateway published nothing");
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn frames_for_an_unknown_exchange_are_counted_and_reset() {
    let metrics = Metrics::install();
    let (gateway, mut consumer) = pair().await;
    let waiting = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    let unknown = format!("{}.0123456789012345678901", inbox(&exchange.gateway));
    let working = || Working { version: VERSION, instance: None }.encode();

    publish(consumer.client(), unknown.clone(), Some(exchange.token()), working()).await;
    let (frame, reply) = consumer.frame().await;
    assert!(matches!(frame, Frame::Reset(Reset { code: ResetCode::Gone, .. })), "{frame:?}");
    assert_eq!(reply, None);

    // There is no response to a RESET, which could go on for ever, nor to a frame without a reply subject.
    let reset = Reset { code: ResetCode::Gone, text: String::new(), ran: true }.encode();
    publish(consumer.client(), unknown.clone(), Some(exchange.token()), reset).await;
    publish(consumer.client(), unknown, None, working()).await;
    eventually("frames counted", async || metrics.value(DISCARDED, &[("reason", "unknown_exchange")]) == 3.0)
        .await;
    exchange.ok("").await;
    waiting.await.expect("no panic");
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_frame().is_none());
}

#[tokio::test]
async fn the_gateway_never_publishes_to_a_foreign_reply_subject() {
    let metrics = Metrics::install();
    let app = new_app();
    let client = connect().await;
    let gateway = builder(client.clone(), &app).build().await.expect("a gateway");
    let mut consumer = Consumer::start(connect().await, &app).await;
    let foreign = format!("foreign.{app}");
    let mut messages = consumer.client().subscribe(foreign.clone()).await.expect("a subscription");
    settle(consumer.client()).await;

    // A consumer that could get a PROBE and a RESET.
    let response = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    exchange.send_with_reply(Working { version: VERSION, instance: None }.encode(), foreign.clone()).await;
    exchange.send_with_reply(encode_probe(), foreign.clone()).await;
    // Frames to which the inbox itself responds.
    let unknown = format!("{}.0123456789012345678901", inbox(&exchange.gateway));
    let data = Data { sequence: 1, body: Bytes::new(), end: true, trailers: None }.encode();
    publish(consumer.client(), unknown, Some(foreign.into()), data).await;
    eventually("foreign replies counted", async || {
        metrics.value(DISCARDED, &[("reason", "foreign_reply")]) == 3.0
    })
    .await;
    response.abort();
    eventually("a dropped exchange", async || open_tokens(&gateway) == 0).await;
    settle(&client).await;
    settle(consumer.client()).await;
    assert!(futures::FutureExt::now_or_never(futures::StreamExt::next(&mut messages)).is_none());
}

#[tokio::test]
async fn a_dead_nats_client_closes_the_gateway() {
    let (gateway, mut consumer) = pair().await;
    let waiting = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    let begin = Instant::now();
    poison(SERVER.port(), &exchange.gateway).await;
    soon("the gateway's end", gateway.closed()).await;
    soon("the same again", gateway.clone().closed()).await;
    for request in [get("/"), post("/")] {
        assert_eq!(send(&gateway, request).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(waiting.await.expect("no panic").status, StatusCode::BAD_GATEWAY);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(open_tokens(&gateway), 0);
}
