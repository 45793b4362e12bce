//! Invalid responses, and frames around a response.

use http::{Response, StatusCode};
use narun_core::Body;
use narun_core::fields::Edit;
use narun_core::frame::{Data, Frame, Reset, ResetCode, ResponseHead, encode_probe};
use narun_support::testing::Logs;

use crate::harness::{get, grpc, open_tokens, pair, post, request, spawn};

#[tokio::test]
async fn a_malformed_response_is_502() {
    let (gateway, mut consumer) = pair().await;
    let data = Data { sequence: 1, body: "x".into(), end: true, trailers: None }.encode();
    for bad in [&b"no frame"[..], b"", b"\x82\x02\xa0", b"\x82\x18\x63\xa0", &data] {
        for (request, status, grpc_status) in [
            (get("/"), StatusCode::BAD_GATEWAY, None),
            (post("/"), StatusCode::BAD_GATEWAY, None),
            (grpc(post("/")), StatusCode::OK, Some("13")),
        ] {
            let response = spawn(&gateway, request);
            consumer.request().await.send(bad.to_vec()).await;
            let response = response.await.expect("no panic");
            assert_eq!((response.status, response.header("grpc-status")), (status, grpc_status), "{bad:?}");
        }
    }
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_reset_before_the_head_is_502() {
    let (gateway, mut consumer) = pair().await;
    for (code, ran) in [
        (ResetCode::Internal, true),
        (ResetCode::Gap, true),
        (ResetCode::Gone, true),
        (ResetCode::Other(77), false),
        // The handler has begun, so it is not sent again, although the consumer is only draining.
        (ResetCode::Draining, true),
    ] {
        let response = spawn(&gateway, post("/"));
        consumer.request().await.reset(code, ran).await;
        assert_eq!(response.await.expect("no panic").status, StatusCode::BAD_GATEWAY, "{code:?}");
    }
    let response = spawn(&gateway, post("/"));
    consumer.request().await.reset(ResetCode::Deadline, true).await;
    assert_eq!(response.await.expect("no panic").status, StatusCode::GATEWAY_TIMEOUT);
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_request().is_none(), "no request was sent again");
}

#[tokio::test]
async fn a_response_over_the_limit_is_502_and_the_reason_is_logged() {
    let logs = Logs::capture();
    let (gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, get("/"));
    let text = "over the limit of 65536 bytes".to_owned();
    consumer.request().await.send(Reset { code: ResetCode::TooLarge, text, ran: true }.encode()).await;
    let response = response.await.expect("no panic");
    assert_eq!(response.status, StatusCode::BAD_GATEWAY);
    let (_, event) = logs.event("the request failed", &[("app", consumer.app())]).await;
    assert!(event["cause"].contains("65536"), "{event:?}");
}

#[tokio::test]
async fn an_exchange_accepts_frames_of_one_consumer() {
    let (gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    exchange.working().await;
    let mut stranger = consumer.open_inbox().await;
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = StatusCode::IM_A_TEAPOT;
    let forged = ResponseHead::new()
        .encode(&parts, Edit::default(), &b""[..], None, &Default::default())
        .expect("a frame");
    exchange.send_with_reply(forged, stranger.subject.clone()).await;
    let frame = stranger.frame().await;
    assert!(matches!(frame, Frame::Reset(Reset { code: ResetCode::Gone, .. })), "{frame:?}");
    exchange.ok("genuine").await;
    assert_eq!(response.await.expect("no panic").body, "genuine");
}

#[tokio::test]
async fn a_probe_from_the_consumer_gets_a_credit() {
    let (gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    exchange.send_with_reply(encode_probe(), exchange.token()).await;
    let (frame, reply) = consumer.frame().await;
    assert!(matches!(frame, Frame::Credit(_)), "{frame:?}");
    assert_eq!(reply, Some(exchange.gateway.clone()));
    exchange.ok("").await;
    response.await.expect("no panic");

    // The exchange is over, and a PROBE gets RESET(gone).
    exchange.send_with_reply(encode_probe(), exchange.token()).await;
    let (frame, reply) = consumer.frame().await;
    assert!(matches!(frame, Frame::Reset(Reset { code: ResetCode::Gone, .. })), "{frame:?}");
    assert_eq!(reply, None);
}

#[tokio::test]
async fn responses_without_content_have_none() {
    let (gateway, mut consumer) = pair().await;
    for (method, status) in [
        (http::Method::HEAD, StatusCode::OK),
        (http::Method::GET, StatusCode::NO_CONTENT),
        (http::Method::GET, StatusCode::NOT_MODIFIED),
    ] {
        let client = spawn(&gateway, request(method, "/", ""));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response.headers_mut().insert("etag", http::HeaderValue::from_static("\"x\""));
        consumer.request().await.respond(response).await;
        let response = client.await.expect("no panic");
        assert_eq!(response.status, status);
        assert_eq!(response.header("etag"), Some("\"x\""));
        assert!(response.body.is_empty());
    }
}
