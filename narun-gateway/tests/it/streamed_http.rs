//! Streamed bodies as an HTTP/1.1 client sees them, byte by byte.

use http::{HeaderMap, HeaderValue, Response, header};
use narun_core::Body;
use narun_core::exchange::Cancelled;
use narun_core::frame::ResetCode;
use tokio::io::AsyncWriteExt;

use crate::harness::{eventually, open_tokens, pair};
use crate::http_server::{Http, read_to_end, read_until};
use crate::streaming::{Handler, noise, streamed_response};

const UPLOAD: &str = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n";
const DOWNLOAD: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn a_small_upload_of_unknown_length_is_one_message() {
    let (gateway, mut consumer) = pair().await;
    let http = Http::start(&gateway).await;
    let mut stream = http.send(&format!("{UPLOAD}\r\n4\r\nbody\r\n0\r\n\r\n")).await;
    let exchange = consumer.request().await;
    assert_eq!((exchange.request.head.end, &exchange.request.body[..]), (true, &b"body"[..]));
    exchange.ok("response").await;
    assert!(read_until(&mut stream, "response").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_gets_100_when_the_handler_reads() {
    let (gateway, mut consumer) = pair().await;
    let http = Http::start(&gateway).await;
    let mut stream =
        http.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n").await;
    let mut handler = Handler::new(consumer.request().await).await;
    handler.turn().await;
    let mut byte = [0];
    let early = stream.try_read(&mut byte).expect_err("nothing yet");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);

    let (part, ()) = tokio::join!(handler.read(), async {
        assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"body").await.expect("sent");
    });
    assert_eq!(part.expect("a part").expect("well").into_data().expect("bytes"), "body");
    handler.ok("response").await;
    assert!(read_until(&mut stream, "response").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_disconnects_cancels_the_exchange() {
    let (gateway, mut consumer) = pair().await;
    let http = Http::start(&gateway).await;
    // While it sends.
    let stream = http.send(&format!("{UPLOAD}\r\n4\r\nsome\r\n")).await;
    let mut handler = Handler::new(consumer.request().await).await;
    handler.read().await.expect("a part").expect("well");
    // It sends CREDIT, so the gateway knows its token.
    let more = tokio::time::timeout(std::time::Duration::from_millis(100), handler.read()).await;
    assert!(more.is_err());
    drop(stream);
    assert_eq!(handler.cancelled().await, Cancelled::ByCaller);
    assert_eq!(handler.reset, Some(ResetCode::Cancel));

    // While it receives, and does not read.
    let stream = http.send(DOWNLOAD).await;
    let mut handler = Handler::new(consumer.request().await).await;
    handler.begin(Response::new("begin")).await;
    handler.turn().await;
    drop(stream);
    let part = noise(64 * 1024);
    while handler.send(part.clone()).await {}
    assert_eq!(handler.cancelled().await, Cancelled::ByCaller);
    eventually("dropped exchanges", async || open_tokens(&gateway) == 0).await;
}

#[tokio::test]
async fn an_aborted_response_does_not_look_complete() {
    let (gateway, mut consumer) = pair().await;
    let http = Http::start(&gateway).await;
    for whole in [true, false] {
        let mut stream = http.send(DOWNLOAD).await;
        let mut handler = Handler::new(consumer.request().await).await;
        handler.begin(streamed_response()).await;
        assert!(handler.send("part".into()).await);
        assert!(read_until(&mut stream, "part\r\n").await.starts_with("HTTP/1.1 200"));
        if whole {
            handler.finish(None).await;
            assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "0\r\n\r\n");
        } else {
            handler.abort().await;
            assert_eq!(read_to_end(&mut stream).await, b"");
        }
    }
}

#[tokio::test]
async fn trailers_follow_even_a_short_body() {
    let (gateway, mut consumer) = pair().await;
    let http = Http::start(&gateway).await;
    let trailers = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("x"))]);
    for streamed in [false, true] {
        let mut stream =
            http.send("GET / HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: te\r\n\r\n").await;
        let exchange = consumer.request().await;
        let response = || Response::builder().header("trailer", "etag");
        if streamed {
            let mut handler = Handler::new(exchange).await;
            handler.begin(response().body("part").expect("a response")).await;
            handler.finish(Some(trailers.clone())).await;
        } else {
            let body = Body::from("part").with_trailers(Some(trailers.clone()));
            exchange.respond(response().body(body).expect("a response")).await;
        }
        assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
        assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "4\r\npart\r\n0\r\netag: x\r\n\r\n");
    }
}
