//! Streamed response bodies.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use narun_core::frame::Frame;

use super::{Source, answering, boxed, consumer, credit, fed, trailers, watched};
use crate::gateway::head;
use crate::gateway::request;
use crate::harness::settle;

const FRAME: usize = 64 * 1024;

#[tokio::test]
async fn a_response_starts_with_what_is_ready_and_is_streamed() {
    let (source, body, watch) = fed();
    source.data("a");
    source.data("b");
    let manual = consumer(answering(Response::new(boxed(body)))).await;
    let mut exchange = manual.get("/").await;
    let (response, token) = exchange.begun().await;
    assert_eq!((response.parts.status, &response.body[..]), (StatusCode::OK, &b"ab"[..]));
    assert!(!response.parts.headers.contains_key("content-length"));
    exchange.send_frame(&token, credit(1000)).await;
    for (sequence, tick) in [(1, "c"), (2, "de"), (3, "f")] {
        source.data(tick);
        let data = exchange.data().await;
        assert_eq!((data.sequence, &data.body[..], data.end), (sequence, tick.as_bytes(), false));
    }
    source.data("g");
    source.trailers(trailers());
    let (mut rest, mut data) = (Vec::new(), exchange.data().await);
    rest.extend_from_slice(&data.body);
    while !data.end {
        data = exchange.data().await;
        rest.extend_from_slice(&data.body);
    }
    assert_eq!((&rest[..], data.trailers), (&b"g"[..], Some(trailers())));
    crate::harness::eventually("a dropped body", async || watch.is_dropped()).await;
}

#[tokio::test]
async fn a_complete_small_body_takes_one_message() {
    let (source, body, _) = fed();
    source.data("a");
    source.data("b");
    source.trailers(trailers());
    drop(source);
    let manual = consumer(answering(Response::new(boxed(body)))).await;
    let response = manual.get("/").await.response().await;
    assert_eq!((&response.body[..], response.trailers), (&b"ab"[..], Some(trailers())));
}

#[tokio::test]
async fn a_large_body_is_sent_within_its_credit() {
    // Sizes around the limit of one frame, and one that takes many frames.
    for size in [FRAME - 100, FRAME - 40, FRAME - 20, FRAME, FRAME + 1, 300_000] {
        let content: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        let body = Full::new(Bytes::from(content.clone()));
        let manual = consumer(answering(Response::new(boxed(body)))).await;
        let mut exchange = manual.get("/").await;
        let (frame, token) = exchange.next_frame().await;
        let Frame::Response(response) = frame else { panic!("{frame:?}") };
        let mut received = response.body.to_vec();
        if response.head.end {
            assert!(size < FRAME && token.is_none());
        } else {
            let token = token.expect("a token");
            assert_eq!(response.parts.headers["content-length"], size.to_string());
            assert!(received.len() > FRAME - 200, "{}", received.len());
            let mut sequence = 0;
            while received.len() < size {
                let granted = (received.len() + 50_000).min(size);
                exchange.send_frame(&token, credit(granted as u64)).await;
                while received.len() < granted {
                    let data = exchange.data().await;
                    sequence += 1;
                    assert_eq!(data.sequence, sequence);
                    received.extend_from_slice(&data.body);
                    assert!(received.len() <= granted, "more than was allowed");
                    assert_eq!(data.end, received.len() == size);
                }
            }
        }
        assert!(received == content, "{size}");
    }
}

#[tokio::test]
async fn a_body_is_polled_only_while_there_is_credit() {
    let pieces = futures::stream::repeat_with(|| {
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(vec![0; 1000])))
    });
    let (body, watch) = watched(http_body_util::StreamBody::new(pieces));
    let manual = consumer(answering(Response::new(boxed(body)))).await;
    let mut exchange = manual.get("/").await;
    let (response, token) = exchange.begun().await;
    let mut sent = response.body.len();
    assert!(sent <= FRAME && watch.yielded() <= FRAME + 1000, "{}", watch.yielded());
    for _ in 0..3 {
        let granted = sent + 200_000;
        exchange.send_frame(&token, credit(granted as u64)).await;
        while sent < granted {
            sent += exchange.data().await.body.len();
        }
        settle(manual.client()).await;
        while let Some(frame) = exchange.waiting_frame() {
            assert!(matches!(frame, Frame::Probe), "{frame:?}");
        }
        assert!((granted..=granted + 1000).contains(&watch.yielded()), "{} of {granted}", watch.yielded());
    }
    assert!(!watch.is_dropped());
}

#[tokio::test]
async fn a_body_is_polled_again_once_its_frames_are_sent() {
    let pieces = futures::stream::repeat_with(|| {
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(vec![0; 5 * FRAME])))
    });
    let manual = consumer(answering(Response::new(boxed(http_body_util::StreamBody::new(pieces))))).await;
    let mut exchange = manual.get("/").await;
    let (response, token) = exchange.begun().await;
    let mut sent = response.body.len();
    let (times, mut probes) = (5, 0);
    for _ in 0..times {
        // One piece at a time, so that frames of the last one wait for credit.
        let granted = sent + 5 * FRAME;
        exchange.send_frame(&token, credit(granted as u64)).await;
        while sent < granted {
            match exchange.frame().await.0 {
                Frame::Data(data) => sent += data.body.len(),
                Frame::Probe => probes += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    // The body must not wait for a PROBE; a few are possible on a slow machine.
    assert!(2 * probes < times, "{probes}");
}

#[tokio::test]
async fn a_response_without_content_is_not_streamed() {
    for (method, status) in [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304)] {
        let (source, body, watch) = fed();
        let Source(_) = &source;
        let mut response = Response::new(boxed(body));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        let manual = consumer(answering(response)).await;
        let mut exchange = manual.send(head(), request(method, "/", "")).await;
        assert!(exchange.response().await.body.is_empty());
        assert!(watch.is_dropped());
    }
}
