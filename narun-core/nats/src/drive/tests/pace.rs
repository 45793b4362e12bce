//! Clients that send their body slowly.

use std::convert::Infallible;

use futures::stream;
use http_body_util::StreamBody;
use narun_core::frame::{Accept, Credit, VERSION};
use tokio::time::sleep;

use super::*;
use crate::body::LeastRate;

const RATE: LeastRate = LeastRate::new(100);

/// What the consumer does after it has asked for the body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consumer {
    Reads,
    ReadsSlowly,
    Responds,
}

/// Sends so many pieces of this length, each after a pause of 5 s. Returns how long it took, and the failure.
async fn send(length: usize, count: usize, consumer: Consumer) -> (Duration, Option<FailureKind>) {
    let (link, endpoint) = endpoint();
    let pieces = stream::unfold(0, move |number| async move {
        if number == count {
            return None;
        }
        sleep(seconds(5)).await;
        Some((Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(vec![0; length]))), number + 1))
    });
    let body = Box::pin(StreamBody::new(pieces).map_err(|never| -> Failure { match never {} }));
    let mut config = CallerConfig::default();
    config.head_timeout = seconds(3600);
    let flow = Arc::new(FlowConfig::default());
    let machine = Caller::new(endpoint.now(), config, 1).with_body(endpoint.now(), 0, flow);
    let to = Subject::from_static("app");
    let (exchange, incoming) = StreamedExchange::new(endpoint.clone(), to, request(), machine, Some(body));
    let (exchange, started) = (tokio::spawn(exchange.least_rate(RATE)), Instant::now());
    tokio::task::yield_now().await;
    let token = link.take().and_then(|sent| sent.reply).expect("a token");
    let mut offset = if consumer == Consumer::ReadsSlowly { length as u64 } else { u64::MAX / 2 };
    let accept = Accept { version: VERSION, instance: None, max_payload: 0, credit: offset };
    endpoint.deliver(&token, accept.encode(), Some(CONSUMER));
    if consumer == Consumer::Responds {
        endpoint.deliver(&token, response(false), Some(CONSUMER));
    }
    while !exchange.is_finished() {
        sleep(Duration::from_millis(100)).await;
        let Some(sent) = link.take() else { continue };
        match frame(&sent) {
            Frame::Data(data) if data.end => {
                exchange.abort();
                return (started.elapsed(), None);
            }
            Frame::Data(_) if consumer == Consumer::ReadsSlowly => {
                sleep(seconds(20)).await;
                offset += length as u64;
            }
            Frame::Probe => {}
            _ => continue,
        }
        endpoint.deliver(&token, Credit { offset, stop: false, sent: 0 }.encode(), Some(CONSUMER));
    }
    let start = std::future::poll_fn(|cx| incoming.poll_start(cx)).await;
    (started.elapsed(), start.err().map(|failure| failure.kind()))
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_too_slow_times_out_unless_the_response_has_begun() {
    let (elapsed, failure) = send(1, 1000, Consumer::Reads).await;
    assert_eq!((elapsed.as_secs(), failure), (35, Some(FailureKind::RequestTimedOut)));
    // Slower than the least rate after a while.
    let (elapsed, failure) = send(250, 1000, Consumer::Reads).await;
    assert_eq!((elapsed.as_secs(), failure), (65, Some(FailureKind::RequestTimedOut)));
    assert_eq!(send(500, 100, Consumer::Reads).await.1, None);
    // Both sides send at their own pace.
    let (elapsed, failure) = send(1, 100, Consumer::Responds).await;
    assert_eq!((elapsed.as_secs(), failure), (500, None));
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_consumer_that_reads_slowly_does_not_count() {
    let (elapsed, failure) = send(500, 20, Consumer::ReadsSlowly).await;
    assert!(elapsed > seconds(400), "{elapsed:?}");
    assert_eq!(failure, None);
}
