//! Responses that are not whole.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use narun_core::frame::Frame;

use super::{Source, answering, boxed, consumer, credit, fed, trailers, watched};
use crate::gateway::head;
use crate::gateway::request;
use crate::harness::{settle, soon};

const FRAME: usize = 64 * 1024;

#[tokio::test]
async fn a_response_begins_with_what_is_there_and_goes_on_as_it_comes() {
    let (source, body, watch) = fed();
    source.data("a");
    source.data("b");
    let actor = consumer(answering(Response::new(boxed(body)))).await;
    let mut exchange = actor.get("/").await;
    let (response, token) = exchange.begun().await;
    assert_eq!((response.parts.status, &response.body[..]), (StatusCode::OK, &b"ab"[..]));
    assert!(!response.parts.headers.contains_key("content-length"));
    exchange.tell(&token, credit(1000)).await;
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
async fn what_is_there_whole_takes_one_message() {
    let (source, body, _) = fed();
    source.data("a");
    source.data("b");
    source.trailers(trailers());
    drop(source);
    let actor = consumer(answering(Response::new(boxed(body)))).await;
    let response = actor.get("/").await.response().await;
    assert_eq!((&response.body[..], response.trailers), (&b"ab"[..], Some(trailers())));
}

#[tokio::test]
async fn a_large_body_follows_its_head_within_credit() {
    // Around the size where it just fits, and one that takes many frames.
    for size in [FRAME - 100, FRAME - 40, FRAME - 20, FRAME, FRAME + 1, 300_000] {
        let content: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        let body = Full::new(Bytes::from(content.clone()));
        let actor = consumer(answering(Response::new(boxed(body)))).await;
        let mut exchange = actor.get("/").await;
        let (frame, token) = exchange.news().await;
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
                exchange.tell(&token, credit(granted as u64)).await;
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
async fn a_body_is_polled_only_for_what_may_be_sent() {
    let pieces = futures::stream::repeat_with(|| {
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(vec![0; 1000])))
    });
    let (body, watch) = watched(http_body_util::StreamBody::new(pieces));
    let actor = consumer(answering(Response::new(boxed(body)))).await;
    let mut exchange = actor.get("/").await;
    let (response, token) = exchange.begun().await;
    let mut sent = response.body.len();
    assert!(sent <= FRAME && watch.yielded() <= FRAME + 1000, "{}", watch.yielded());
    for _ in 0..3 {
        let granted = sent + 200_000;
        exchange.tell(&token, credit(granted as u64)).await;
        while sent < granted {
            sent += exchange.data().await.body.len();
        }
        settle(actor.client()).await;
        while let Some(frame) = exchange.waiting_frame() {
            assert!(matches!(frame, Frame::Probe), "{frame:?}");
        }
        assert!((granted..=granted + 1000).contains(&watch.yielded()), "{} of {granted}", watch.yielded());
    }
    assert!(!watch.is_dropped());
}

#[tokio::test]
async fn a_part_larger_than_its_credit_is_followed_by_the_next_one_at_once() {
    const PART: usize = 200_000;
    let parts = futures::stream::repeat_with(|| {
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(vec![0; PART])))
    });
    let actor = consumer(answering(Response::new(boxed(http_body_util::StreamBody::new(parts))))).await;
    let mut exchange = actor.get("/").await;
    let (response, token) = exchange.begun().await;
    let mut sent = response.body.len();
    // Whatever is forgotten until a timer fires takes longer than this may.
    soon("a body", async {
        for part in 0..150 {
            let granted = part * PART + PART / 2;
            exchange.tell(&token, credit(granted as u64)).await;
            while sent < granted {
                sent += exchange.data().await.body.len();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_has_no_content_is_not_streamed() {
    for (method, status) in [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304)] {
        let (source, body, watch) = fed();
        let Source(_) = &source;
        let mut response = Response::new(boxed(body));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        let actor = consumer(answering(response)).await;
        let mut exchange = actor.send(head(), request(method, "/", "")).await;
        assert!(exchange.response().await.body.is_empty());
        assert!(watch.is_dropped());
    }
}
