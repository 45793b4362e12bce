//! Request bodies that do not fit one message.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use narun_core::BodyErrorKind;
use narun_core::exchange::Cancelled;
use narun_core::frame::ResetCode;
use narun_gateway::{Linger, Route};

use crate::harness::{eventually, open_tokens, pair, pair_with, send, spawn, spawn_open};
use crate::streaming::{Handler, broken, next, noise, pieces, streamed_response, upload};

const WINDOW: usize = 1024 * 1024;

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"x\""))])
}

#[tokio::test]
async fn a_large_body_arrives_whole_with_its_trailers() {
    let (gateway, mut consumer) = pair().await;
    let body = noise(5 * WINDOW + 17);
    let sent = pieces(&body, 100_000).with_trailers(async { Some(Ok(trailers())) });
    let request = Request::builder().method(Method::POST).uri("/").body(Box::pin(sent)).expect("a request");
    let response = spawn(&gateway, request);
    let mut handler = Handler::new(consumer.request().await).await;
    assert!(!handler.request.head.end);
    assert!(handler.request.body.len() > 60_000, "as much as there is room for goes with the head");
    assert_eq!(handler.read_all().await, Ok((body, Some(trailers()))));
    handler.ok("whole").await;
    assert_eq!(response.await.expect("no panic").body, "whole");
    eventually("a dropped exchange", async || open_tokens(&gateway) == 0).await;
}

#[tokio::test]
async fn trailers_that_do_not_fit_beside_a_body_follow_with_its_end() {
    let (gateway, mut consumer) = pair().await;
    let (uploader, mut request) = upload();
    request.headers_mut().insert("content-length", 60_000.into());
    let body = noise(60_000);
    uploader.send(body.clone());
    let trailers = HeaderMap::from_iter([(
        http::header::ETAG,
        HeaderValue::try_from("x".repeat(10_000)).expect("a value"),
    )]);
    uploader.finish(Some(trailers.clone()));
    let response = spawn(&gateway, request);
    let mut handler = Handler::new(consumer.request().await).await;
    assert!(!handler.request.head.end);
    let inline = handler.request.body.len();
    assert!((50_000..60_000).contains(&inline), "{inline}");
    assert_eq!(handler.read_all().await, Ok((body, Some(trailers))));
    handler.ok("whole").await;
    assert_eq!(response.await.expect("no panic").body, "whole");
}

#[tokio::test]
async fn a_short_body_of_known_length_is_collected_first() {
    let (gateway, mut consumer) = pair().await;
    let (uploader, mut request) = upload();
    request.headers_mut().insert("content-length", 10.into());
    let response = spawn(&gateway, request);
    for _ in 0..2 {
        uploader.send("12345");
        eventually("a part taken", async || uploader.taken() % 5 == 0 && uploader.taken() > 0).await;
        consumer.settle(consumer.client()).await;
    }
    uploader.finish(Some(trailers()));
    let exchange = consumer.request().await;
    assert!(exchange.request.head.end);
    assert_eq!(
        (&exchange.request.body[..], exchange.request.trailers.clone()),
        (&b"1234512345"[..], Some(trailers()))
    );
    exchange.ok("one message").await;
    assert_eq!(response.await.expect("no panic").body, "one message");
}

#[tokio::test]
async fn the_ready_part_of_a_body_of_unknown_length_is_sent_at_once() {
    let (gateway, mut consumer) = pair().await;
    let (uploader, request) = upload();
    uploader.send("first");
    let response = spawn_open(&gateway, request);
    let mut handler = Handler::new(consumer.request().await).await;
    assert_eq!((handler.request.head.end, &handler.request.body[..]), (false, &b"first"[..]));
    let inline = handler.read().await.expect("a part").expect("well").into_data().expect("bytes");
    assert_eq!(inline, "first");
    // A bidirectional stream must not wait for itself.
    handler.begin(streamed_response()).await;
    let mut body = response.await.expect("no panic").into_body();
    for text in ["ping", "pong"] {
        uploader.send(text);
        let part = handler.read().await.expect("a part").expect("well").into_data().expect("bytes");
        assert_eq!(part, text);
        assert!(handler.send(part).await);
        let echo = next(&mut body).await.expect("a part").expect("well").into_data().expect("bytes");
        assert_eq!(echo, text);
    }
    uploader.finish(None);
    assert_eq!(handler.read_all().await, Ok(("".into(), None)));
    handler.finish(None).await;
    assert!(next(&mut body).await.is_none());
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_when_the_handler_reads() {
    let (gateway, mut consumer) = pair().await;
    let (uploader, mut request) = upload();
    request.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
    request.headers_mut().insert("content-length", 4.into());
    uploader.send("body");
    let response = spawn(&gateway, request);
    let mut handler = Handler::new(consumer.request().await).await;
    assert_eq!((handler.request.head.end, handler.request.body.len()), (false, 0));
    handler.turn().await;
    assert_eq!(uploader.polled(), 0, "a server would have sent 100");
    let part = handler.read().await.expect("a part").expect("well").into_data().expect("bytes");
    assert_eq!(part, "body");
    uploader.finish(None);
    handler.ok("asked").await;
    assert_eq!(response.await.expect("no panic").body, "asked");

    // If the handler responds without reading the body, the client does not get 100.
    let (uploader, mut request) = upload();
    request.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
    let response = spawn(&gateway, request);
    let mut handler = Handler::new(consumer.request().await).await;
    handler.ok("no need").await;
    assert_eq!(response.await.expect("no panic").body, "no need");
    eventually("a dropped body", async || uploader.is_dropped()).await;
    assert_eq!(uploader.polled(), 0);
}

#[tokio::test]
async fn a_handler_that_does_not_read_stops_the_client() {
    let (gateway, mut consumer) = pair().await;
    let (uploader, request) = upload();
    for _ in 0..100 {
        uploader.send(noise(64 * 1024));
    }
    let response = spawn(&gateway, request);
    let mut handler = Handler::new(consumer.request().await).await;
    // It reads the first bytes and stops.
    handler.read().await.expect("a part").expect("well");
    handler.read().await.expect("a part").expect("well");
    eventually("a full window", async || {
        handler.turn().await;
        handler.queued() > WINDOW - 128 * 1024
    })
    .await;
    handler.turn().await;
    // The window, the inline bytes, what was read, and what is being sent.
    assert!(uploader.taken() <= WINDOW + 5 * 64 * 1024, "{}", uploader.taken());
    uploader.finish(None);
    let (rest, _) = handler.read_all().await.expect("the rest");
    assert!(rest.len() > 90 * 64 * 1024, "{}", rest.len());
    handler.ok("at last").await;
    assert_eq!(response.await.expect("no panic").body, "at last");
}

#[tokio::test]
async fn a_handler_that_stops_reading_can_respond() {
    let (gateway, mut consumer) = pair_with(|builder| builder.linger(Linger::off())).await;
    let (uploader, request) = upload();
    uploader.send("first");
    let response = spawn(&gateway, request);
    let mut handler = Handler::new(consumer.request().await).await;
    handler.read().await.expect("a part").expect("well");
    // Its next read would send CREDIT.
    uploader.send("second");
    handler.read().await.expect("a part").expect("well");
    handler.stop().await;
    consumer.settle(consumer.client()).await;
    // An HTTP server would close the connection.
    assert!(!uploader.is_dropped());
    handler.ok("enough").await;
    assert_eq!(response.await.expect("no panic").body, "enough");
    eventually("a dropped body", async || uploader.is_dropped()).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_before_the_head_and_aborts_the_response_after_it() {
    let (gateway, mut consumer) = pair_with(|builder| builder.linger(Linger::off())).await;
    gateway.replace_routes([Route::post("/", consumer.app()).max_body(100_000)]).expect("routes");
    for begun in [false, true] {
        let (uploader, request) = upload();
        uploader.send(noise(90_000));
        let response = spawn_open(&gateway, request);
        let mut handler = Handler::new(consumer.request().await).await;
        let mut received = 0;
        while received < 90_000 {
            let part = handler.read().await.expect("a part").expect("well").into_data().expect("bytes");
            received += part.len();
        }
        let response = match begun {
            false => {
                uploader.send(noise(10_001));
                let response = response.await.expect("no panic");
                assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
                None
            }
            true => {
                handler.begin(streamed_response()).await;
                let response = response.await.expect("no panic");
                uploader.send(noise(10_001));
                Some(response)
            }
        };
        assert_eq!(handler.cancelled().await, Cancelled::ByCaller);
        assert_eq!(handler.reset, Some(ResetCode::TooLarge));
        assert_eq!(handler.read_all().await, Err(BodyErrorKind::Reset));
        if let Some(response) = response {
            assert_eq!(broken(response.into_body()).await, BodyErrorKind::TooLarge);
        }
        eventually("a dropped body", async || uploader.is_dropped()).await;
    }

    // If its length is announced or it is ready at once, it is refused before anything is sent.
    let (_uploader, mut request) = upload();
    request.headers_mut().insert("content-length", 100_001.into());
    let at_once = Request::builder().method(Method::POST).uri("/");
    let at_once = at_once.body(pieces(&noise(100_001), 50_001)).expect("a request");
    assert_eq!(send(&gateway, request).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send(&gateway, at_once).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_request().is_none(), "nothing of it was sent");
}

#[tokio::test]
async fn a_body_that_fails_is_400_before_the_head_and_aborts_the_response_after_it() {
    let (gateway, mut consumer) = pair().await;
    for begun in [false, true] {
        let (uploader, request) = upload();
        uploader.send("some");
        let response = spawn_open(&gateway, request);
        let mut handler = Handler::new(consumer.request().await).await;
        handler.read().await.expect("a part").expect("well");
        uploader.send("more");
        handler.read().await.expect("a part").expect("well");
        if begun {
            handler.begin(streamed_response()).await;
            let response = response.await.expect("no panic");
            uploader.break_off();
            assert_eq!(broken(response.into_body()).await, BodyErrorKind::Reset);
        } else {
            uploader.break_off();
            assert_eq!(response.await.expect("no panic").status(), StatusCode::BAD_REQUEST);
        }
        assert_eq!(handler.cancelled().await, Cancelled::ByCaller);
        assert_eq!(handler.reset, Some(ResetCode::Cancel));
        assert_eq!(handler.read_all().await, Err(BodyErrorKind::Reset), "never an end");
    }
    eventually("dropped exchanges", async || open_tokens(&gateway) == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_it_sends_cancels_the_exchange() {
    let (gateway, mut consumer) = pair().await;
    let (uploader, request) = upload();
    uploader.send("some");
    let response = spawn(&gateway, request);
    let mut handler = Handler::new(consumer.request().await).await;
    handler.read().await.expect("a part").expect("well");
    uploader.send("more");
    handler.read().await.expect("a part").expect("well");
    response.abort();
    assert_eq!(handler.cancelled().await, Cancelled::ByCaller);
    assert_eq!(handler.reset, Some(ResetCode::Cancel));
    eventually("a dropped body", async || uploader.is_dropped()).await;
    eventually("a dropped exchange", async || open_tokens(&gateway) == 0).await;
}

#[tokio::test]
async fn progress_of_the_request_body_restarts_the_head_timeout() {
    const TIMEOUT: Duration = Duration::from_millis(400);
    let (gateway, mut consumer) = pair_with(|builder| builder.timeout(TIMEOUT)).await;
    let (uploader, request) = upload();
    let response = spawn(&gateway, request);
    let mut handler = Handler::new(consumer.request().await).await;
    let began = std::time::Instant::now();
    while began.elapsed() < TIMEOUT + TIMEOUT / 2 {
        uploader.send("more");
        handler.read().await.expect("a part").expect("well");
        handler.turn().await;
    }
    // From now on there is no progress, and it is the client that pauses.
    assert_eq!(response.await.expect("no panic").status, StatusCode::REQUEST_TIMEOUT);
    handler.cancelled().await;
    eventually("a dropped body", async || uploader.is_dropped()).await;
}
