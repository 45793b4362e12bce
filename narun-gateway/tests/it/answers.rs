//! Answers that are of no use.

use http::{Response, StatusCode};
use narun_core::Body;
use narun_core::fields::Edit;
use narun_core::frame::{Data, Frame, Reset, ResetCode, ResponseHead, encode_probe};

use crate::harness::{get, grpc, open_tokens, pair, post, request, spawn};

#[tokio::test]
async fn a_malformed_answer_is_502() {
    let (gateway, mut consumer) = pair().await;
    let data = Data { sequence: 1, body: "x".into(), end: true, trailers: None }.encode();
    for bad in [&b"no frame"[..], b"", b"\x82\x02\xa0", b"\x82\x18\x63\xa0", &data] {
        for (request, status, grpc_status) in [
            (get("/"), StatusCode::BAD_GATEWAY, None),
            (post("/"), StatusCode::BAD_GATEWAY, None),
            (grpc(post("/")), StatusCode::OK, Some("13")),
        ] {
            let answer = spawn(&gateway, request);
            consumer.request().await.send(bad.to_vec()).await;
            let answer = answer.await.expect("no panic");
            assert_eq!((answer.status, answer.header("grpc-status")), (status, grpc_status), "{bad:?}");
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
        // It was begun: not to be sent again, although the process is only stopping.
        (ResetCode::Draining, true),
    ] {
        let answer = spawn(&gateway, post("/"));
        consumer.request().await.reset(code, ran).await;
        assert_eq!(answer.await.expect("no panic").status, StatusCode::BAD_GATEWAY, "{code:?}");
    }
    let answer = spawn(&gateway, post("/"));
    consumer.request().await.reset(ResetCode::Deadline, true).await;
    assert_eq!(answer.await.expect("no panic").status, StatusCode::GATEWAY_TIMEOUT);
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_request().is_none(), "none was sent again");
}

#[tokio::test]
async fn a_response_over_the_limit_is_502_and_says_so() {
    let (gateway, mut consumer) = pair().await;
    let answer = spawn(&gateway, get("/"));
    let text = "over the limit of 65536 bytes".to_owned();
    consumer.request().await.send(Reset { code: ResetCode::TooLarge, text, ran: true }.encode()).await;
    let answer = answer.await.expect("no panic");
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(String::from_utf8_lossy(&answer.body).contains("65536"), "{:?}", answer.body);
}

#[tokio::test]
async fn one_consumer_alone_speaks_in_an_exchange() {
    let (gateway, mut consumer) = pair().await;
    let answer = spawn(&gateway, post("/"));
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
    assert_eq!(answer.await.expect("no panic").body, "genuine");
}

#[tokio::test]
async fn a_probe_from_the_consumer_is_answered() {
    let (gateway, mut consumer) = pair().await;
    let answer = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    exchange.send_with_reply(encode_probe(), exchange.token()).await;
    let (frame, reply) = consumer.frame().await;
    assert!(matches!(frame, Frame::Credit(_)), "{frame:?}");
    assert_eq!(reply, Some(exchange.gateway.clone()));
    exchange.ok("").await;
    answer.await.expect("no panic");

    // Now it is over, and whoever asks is told so.
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
        let answer = spawn(&gateway, request(method, "/", ""));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response.headers_mut().insert("etag", http::HeaderValue::from_static("\"x\""));
        consumer.request().await.respond(response).await;
        let answer = answer.await.expect("no panic");
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("etag"), Some("\"x\""));
        assert!(answer.body.is_empty());
    }
}
