//! Response bodies that do not fit one message.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use narun_core::BodyErrorKind;
use narun_core::exchange::Cancelled;
use narun_core::frame::{Data, ResetCode};
use narun_gateway::{Body, Gateway, ResponseBody, Route};

use crate::consumer::Consumer;
use crate::harness::{eventually, get, open_tokens, pair, pair_with, post, request, spawn, spawn_open};
use crate::streaming::{Handler, broken, next, noise, streamed_response};

const WINDOW: usize = 1024 * 1024;

/// A response that has begun.
async fn begun(
    gateway: &Gateway,
    consumer: &mut Consumer,
    response: Response<&'static str>,
) -> (Handler, Response<ResponseBody<Body>>) {
    let client = spawn_open(gateway, get("/"));
    let mut handler = Handler::new(consumer.request().await).await;
    handler.begin(response).await;
    (handler, client.await.expect("no panic"))
}

fn with_length(length: usize, inline: &'static str) -> Response<&'static str> {
    Response::builder().header("content-length", length).body(inline).expect("a response")
}

#[tokio::test]
async fn a_large_body_arrives_whole_with_its_trailers() {
    let (gateway, mut consumer) = pair().await;
    let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"x\""))]);
    for length in [1, 5 * WINDOW + 17] {
        let body = noise(length);
        let response = spawn(&gateway, get("/"));
        let mut handler = Handler::new(consumer.request().await).await;
        handler.begin(streamed_response()).await;
        handler.send_all(&body, Some(trailers.clone())).await;
        let response = response.await.expect("no panic");
        assert!(response.body == body, "{} bytes of {length}", response.body.len());
        assert_eq!(response.trailers, Some(trailers.clone()));
    }
    eventually("dropped exchanges", async || open_tokens(&gateway) == 0).await;
}

#[tokio::test]
async fn each_part_is_passed_on_at_once() {
    let (gateway, mut consumer) = pair().await;
    let (mut handler, response) = begun(&gateway, &mut consumer, Response::new("begin")).await;
    let mut body = response.into_body();
    let first = next(&mut body).await.expect("a part").expect("well").into_data().expect("bytes");
    assert_eq!(first, "begin");
    for tick in ["a", "b", "c"] {
        assert!(handler.send(tick.into()).await);
        let part = next(&mut body).await.expect("a part").expect("well").into_data().expect("bytes");
        assert_eq!(part, tick);
    }
    handler.finish(None).await;
    assert!(next(&mut body).await.is_none());
    assert!(http_body::Body::is_end_stream(&body));
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_handler() {
    const SMALL: usize = 128 * 1024;
    let (gateway, mut consumer) = pair_with(|builder| builder.window(SMALL as u64)).await;
    let (mut handler, response) = begun(&gateway, &mut consumer, streamed_response()).await;
    let part = noise(10_000);
    let mut body = response.into_body();
    for round in 1..4 {
        eventually("a used up window", async || {
            while handler.wants_data() {
                assert!(handler.send(part.clone()).await);
            }
            handler.turn().await;
            handler.sent >= round * SMALL
        })
        .await;
        // The handler cannot send more until the client reads.
        handler.turn().await;
        assert!(!handler.wants_data());
        assert!(handler.sent <= round * SMALL + part.len(), "{}", handler.sent);
        let mut read = 0;
        while read < SMALL {
            let part = next(&mut body).await.expect("a part").expect("well").into_data().expect("bytes");
            read += part.len();
        }
    }
    drop(body);
    assert_eq!(handler.cancelled().await, Cancelled::ByCaller);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_exchange() {
    let (gateway, mut consumer) = pair().await;
    for read in [false, true] {
        let (mut handler, response) = begun(&gateway, &mut consumer, Response::new("begin")).await;
        let mut body = response.into_body();
        if read {
            next(&mut body).await.expect("a part").expect("well");
        }
        drop(body);
        assert_eq!(handler.cancelled().await, Cancelled::ByCaller);
        assert_eq!(handler.reset, Some(ResetCode::Cancel));
    }
    eventually("dropped exchanges", async || open_tokens(&gateway) == 0).await;
}

#[tokio::test]
async fn a_consumer_that_vanishes_aborts_the_body() {
    let (gateway, mut consumer) = pair().await;
    let (handler, response) = begun(&gateway, &mut consumer, Response::new("begin")).await;
    handler.vanish().await;
    assert_eq!(broken(response.into_body()).await, BodyErrorKind::TimedOut);
    eventually("a dropped exchange", async || open_tokens(&gateway) == 0).await;
}

#[tokio::test]
async fn a_handler_that_is_aborted_aborts_the_body() {
    let (gateway, mut consumer) = pair().await;
    let response = spawn_open(&gateway, get("/"));
    let exchange = consumer.request().await;
    let mut handler = Handler::new(exchange).await;
    handler.begin(Response::new("begin")).await;
    let mut body = response.await.expect("no panic").into_body();
    next(&mut body).await.expect("a part").expect("well");
    handler.abort().await;
    assert_eq!(broken(body).await, BodyErrorKind::Reset);
}

#[tokio::test]
async fn a_gap_aborts_the_body() {
    let (gateway, mut consumer) = pair().await;
    let (mut handler, response) = begun(&gateway, &mut consumer, Response::new("begin")).await;
    let mut body = response.into_body();
    next(&mut body).await.expect("a part").expect("well");
    // The first DATA is lost, and the second would be the last.
    handler.publish(Data { sequence: 2, body: Bytes::new(), end: true, trailers: None }.encode()).await;
    assert_eq!(broken(body).await, BodyErrorKind::Gap);
    assert_eq!(handler.cancelled().await, Cancelled::Broken);
    assert_eq!(handler.reset, Some(ResetCode::Gap));
}

#[tokio::test]
async fn more_bytes_than_the_credit_abort_the_body() {
    let (gateway, mut consumer) = pair_with(|builder| builder.window(64 * 1024)).await;
    let (mut handler, response) = begun(&gateway, &mut consumer, streamed_response()).await;
    for sequence in 1..5 {
        handler.publish(Data { sequence, body: noise(40_000), end: false, trailers: None }.encode()).await;
    }
    assert_eq!(handler.cancelled().await, Cancelled::Broken);
    assert_eq!(handler.reset, Some(ResetCode::Flow));
    assert_eq!(broken(response.into_body()).await, BodyErrorKind::Reset);
}

#[tokio::test]
async fn the_total_timeout_aborts_the_body() {
    let (gateway, mut consumer) = pair().await;
    let route = Route::get("/", consumer.app()).total_timeout(Duration::from_secs(2));
    gateway.replace_routes([route]).expect("routes");
    let (mut handler, response) = begun(&gateway, &mut consumer, Response::new("begin")).await;
    assert_eq!(broken(response.into_body()).await, BodyErrorKind::TimedOut);
    assert_eq!(handler.cancelled().await, Cancelled::Deadline);
}

#[tokio::test]
async fn the_head_timeout_does_not_limit_the_body() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let (gateway, mut consumer) = pair_with(|builder| builder.timeout(TIMEOUT)).await;
    let (mut handler, response) = begun(&gateway, &mut consumer, Response::new("begin")).await;
    let began = std::time::Instant::now();
    while began.elapsed() < 2 * TIMEOUT {
        handler.turn().await;
    }
    handler.send_all(&" end".into(), None).await;
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert_eq!(body, "begin end");
}

#[tokio::test]
async fn a_body_must_have_its_announced_length() {
    let (gateway, mut consumer) = pair().await;
    for (length, right) in [(8, true), (9, false), (7, false)] {
        let (mut handler, response) = begun(&gateway, &mut consumer, with_length(length, "four")).await;
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(length as u64));
        assert!(handler.send("four".into()).await);
        handler.finish(None).await;
        match right {
            true => {
                let body = response.into_body().collect().await.expect("a whole body").to_bytes();
                assert_eq!(body, "fourfour");
            }
            false => assert_eq!(broken(response.into_body()).await, BodyErrorKind::Length),
        }
    }

    // A whole response with a wrong length is not passed on.
    for (length, status) in [("4", 200), ("3", 502), ("5", 502), ("+4", 502), ("4, 4", 502), ("four", 502)] {
        let client = spawn(&gateway, get("/"));
        let response = Response::builder().header("content-length", length).body(Body::from("four"));
        consumer.request().await.respond(response.expect("a response")).await;
        assert_eq!(client.await.expect("no panic").status, status, "{length}");
    }
    let (mut handler, response) = begun(
        &gateway,
        &mut consumer,
        Response::builder()
            .header("content-length", 1)
            .header("content-length", 2)
            .body("")
            .expect("a response"),
    )
    .await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(handler.cancelled().await, Cancelled::ByCaller);
}

#[tokio::test]
async fn responses_without_content_drop_what_the_consumer_sends() {
    let (gateway, mut consumer) = pair().await;
    for (method, status, length) in [
        (Method::HEAD, StatusCode::OK, Some("100")),
        (Method::GET, StatusCode::NO_CONTENT, None),
        (Method::POST, StatusCode::RESET_CONTENT, None),
        (Method::POST, StatusCode::NOT_MODIFIED, Some("100")),
    ] {
        let client = spawn(&gateway, request(method, "/", ""));
        let mut handler = Handler::new(consumer.request().await).await;
        let mut response = with_length(100, "begin");
        *response.status_mut() = status;
        handler.begin(response).await;
        let response = client.await.expect("no panic");
        assert_eq!((response.status, response.header("content-length")), (status, length));
        assert!(response.body.is_empty());
        assert_eq!(handler.cancelled().await, Cancelled::ByCaller);
    }
}

#[tokio::test]
async fn concurrent_bodies_do_not_mix() {
    const MANY: usize = 48;
    let (gateway, mut consumer) = pair_with(|builder| builder.budget(2 * WINDOW as u64)).await;
    let echo = tokio::spawn(async move {
        let mut handlers = tokio::task::JoinSet::new();
        for _ in 0..MANY {
            let mut handler = Handler::new(consumer.request().await).await;
            handlers.spawn(async move {
                let (body, _) = handler.read_all().await.expect("a whole body");
                handler.begin(streamed_response()).await;
                handler.send_all(&body, None).await;
            });
        }
        handlers.join_all().await;
    });
    let noise = noise(200_000 + MANY);
    let responses: Vec<_> = (0..MANY)
        .map(|number| {
            let body = noise.slice(number..number + 200_000);
            let request = http::Request::post("/").body(http_body_util::Full::new(body.clone()));
            (body, spawn(&gateway, request.expect("a request")))
        })
        .collect();
    for (body, response) in responses {
        assert!(response.await.expect("no panic").body == body);
    }
    echo.await.expect("no panic");
    eventually("dropped exchanges", async || open_tokens(&gateway) == 0).await;
}

#[tokio::test]
async fn a_shutdown_waits_and_then_cancels() {
    let (gateway, mut consumer) = pair().await;
    let (mut short, short_answer) = begun(&gateway, &mut consumer, Response::new("begin")).await;
    let (mut long, long_answer) = begun(&gateway, &mut consumer, Response::new("begin")).await;
    let shutdown = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.shutdown(Duration::from_millis(500)).await }
    });
    short.send_all(&" end".into(), None).await;
    assert_eq!(short_answer.into_body().collect().await.expect("a whole body").to_bytes(), "begin end");
    assert_eq!(long.cancelled().await, Cancelled::ByCaller);
    shutdown.await.expect("no panic");
    assert_eq!(broken(long_answer.into_body()).await, BodyErrorKind::Reset);
}

#[tokio::test]
async fn a_response_outlives_its_services() {
    let (gateway, mut consumer) = pair().await;
    let (mut handler, response) = begun(&gateway, &mut consumer, Response::new("begin")).await;
    drop(gateway);
    handler.send_all(&" end".into(), None).await;
    assert_eq!(response.into_body().collect().await.expect("a whole body").to_bytes(), "begin end");
}

#[tokio::test]
async fn exchanges_of_one_message_each_way_spawn_no_task() {
    let (gateway, mut consumer) = pair().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let response = spawn(&gateway, post("/"));
    let exchange = consumer.request().await;
    assert_eq!(tasks(), before + 1, "the test's own");
    exchange.ok("whole").await;
    assert_eq!(response.await.expect("no panic").body, "whole");
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_frame().is_none(), "one message each way");

    let (mut handler, response) = begun(&gateway, &mut consumer, streamed_response()).await;
    assert_eq!(tasks(), before + 1, "that of the exchange");
    handler.finish(None).await;
    response.into_body().collect().await.expect("a whole body");
    eventually("an ended task", async || tasks() == before).await;
}
