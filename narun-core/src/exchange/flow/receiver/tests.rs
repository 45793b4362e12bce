use http::HeaderValue;

use super::*;

const WINDOW: u64 = 1000;

fn config(budget: u64) -> FlowConfig {
    FlowConfig { window: WINDOW, budget: Arc::new(Budget::new(budget)), ..FlowConfig::default() }
}

fn receiver(config: &FlowConfig, inline: usize) -> Receiver {
    Receiver::new(config, Bytes::from(vec![0; inline]), 0)
}

fn data(sequence: u64, length: usize) -> Data {
    Data { sequence, body: Bytes::from(vec![0; length]), end: false, trailers: None }
}

fn end(sequence: u64, trailers: Option<HeaderMap>) -> Data {
    Data { sequence, body: Bytes::new(), end: true, trailers }
}

/// Reads all queued bytes, and returns their number and whether the body goes on.
fn read(receiver: &mut Receiver) -> (usize, bool) {
    let mut read = 0;
    loop {
        match receiver.read() {
            Poll::Pending => return (read, true),
            Poll::Ready(None) => return (read, false),
            Poll::Ready(Some(frame)) => read += frame.into_data().map_or(0, |data| data.len()),
        }
    }
}

#[test]
fn credit_is_granted_only_when_the_reader_asks_for_more() {
    let config = config(1_000_000);
    let mut receiver = receiver(&config, 10);
    assert_eq!(receiver.poll_grant(), None);
    assert!(receiver.read().is_ready());
    assert_eq!(receiver.poll_grant(), None);
    assert!(receiver.read().is_pending());
    assert_eq!(receiver.poll_grant(), Some(10 + WINDOW));
    assert_eq!(receiver.poll_grant(), None);
}

#[test]
fn credit_is_renewed_when_half_of_it_was_read() {
    let config = config(1_000_000);
    let mut receiver = receiver(&config, 0);
    receiver.ask();
    assert_eq!(receiver.poll_grant(), Some(WINDOW));
    for (sequence, size) in [(1, 499), (2, 1), (3, 400)] {
        assert_eq!(receiver.data(data(sequence, size)), Ok(true));
        assert_eq!(receiver.poll_grant(), None, "nothing was read");
    }
    assert!(receiver.read().is_ready());
    assert_eq!(receiver.poll_grant(), None);
    assert!(receiver.read().is_ready());
    assert_eq!(receiver.poll_grant(), Some(WINDOW + 900));
    assert_eq!(receiver.queued(), 0);
}

#[test]
fn inline_bytes_need_no_credit_but_count() {
    let config = config(1_000_000);
    let mut receiver = receiver(&config, 3000);
    receiver.ask();
    assert_eq!(receiver.poll_grant(), None, "more than a window waits to be read");
    assert_eq!(receiver.data(data(1, 1)), Err(ResetCode::Flow));
    assert!(receiver.read().is_ready());
    assert_eq!(receiver.poll_grant(), Some(3000 + WINDOW));
}

#[test]
fn repeated_data_is_ignored_and_a_gap_is_an_error() {
    let config = config(1_000_000);
    let mut receiver = Receiver::new(&config, Bytes::new(), 100);
    assert_eq!(receiver.data(data(1, 10)), Ok(true));
    assert_eq!(receiver.data(data(1, 20)), Ok(false));
    assert_eq!(receiver.data(data(3, 10)), Err(ResetCode::Gap));
    assert_eq!((receiver.check(1), receiver.check(2)), (Ok(()), Err(ResetCode::Gap)));
    assert_eq!(receiver.data(data(2, 10)), Ok(true));
    assert_eq!(read(&mut receiver), (20, true));
}

#[test]
fn more_than_was_granted_is_refused() {
    let config = config(1_000_000);
    let mut receiver = Receiver::new(&config, Bytes::new(), 100);
    assert_eq!(receiver.data(data(1, 100)), Ok(true));
    assert_eq!(receiver.data(data(2, 0)), Ok(true));
    assert_eq!(receiver.data(data(3, 1)), Err(ResetCode::Flow));
    assert_eq!(receiver.data(end(3, None)), Ok(true));
    assert_eq!(receiver.data(data(4, 0)), Err(ResetCode::Flow));
}

#[test]
fn trailers_follow_the_last_byte_and_end_the_body() {
    let config = config(1_000_000);
    let mut receiver = receiver(&config, 5);
    let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))]);
    receiver.data(end(1, Some(trailers.clone()))).expect("the end");
    assert!(receiver.read().is_ready());
    match receiver.read() {
        Poll::Ready(Some(frame)) => assert_eq!(frame.into_trailers().ok(), Some(trailers)),
        other => panic!("{other:?}"),
    }
    assert_eq!(read(&mut receiver), (0, false));
}

#[test]
fn a_stopped_body_is_discarded_and_uses_no_budget() {
    let config = config(1_000_000);
    let mut unasked = receiver(&config, 5);
    assert!(!unasked.stop(), "no credit was asked for");
    let mut receiver = receiver(&config, 5);
    receiver.ask();
    receiver.poll_grant();
    assert!(config.budget.used() > 0);
    assert!(receiver.stop());
    assert_eq!((receiver.queued(), config.budget.used()), (0, 0));
    assert_eq!(receiver.data(data(1, 100)), Ok(true));
    assert_eq!((receiver.queued(), receiver.poll_grant()), (0, None));
    assert_eq!(receiver.data(data(2, 10_000)), Err(ResetCode::Flow));
    assert_eq!(receiver.data(data(3, 1)), Err(ResetCode::Gap));
}

#[test]
fn the_budget_counts_bytes_that_may_arrive_or_are_queued() {
    let config = config(1_000_000);
    let mut receiver = receiver(&config, 50);
    receiver.ask();
    assert_eq!(receiver.poll_grant(), Some(WINDOW));
    assert_eq!(config.budget.used(), WINDOW - 50);
    receiver.data(data(1, 100)).expect("allowed");
    assert_eq!(config.budget.used(), WINDOW - 50);
    assert!(receiver.read().is_ready());
    assert_eq!(config.budget.used(), WINDOW - 50);
    assert!(receiver.read().is_ready());
    assert_eq!(config.budget.used(), WINDOW - 150);
    receiver.data(data(2, 7)).expect("allowed");
    receiver.data(end(3, None)).expect("allowed");
    assert_eq!(config.budget.used(), 7);
    drop(receiver);
    assert_eq!(config.budget.used(), 0);
}

#[test]
fn a_body_without_credit_waits_and_retries_the_budget() {
    let config = config(1024);
    let mut first = receiver(&config, 0);
    let mut second = receiver(&config, 0);
    let mut third = receiver(&config, 0);
    for receiver in [&mut first, &mut second, &mut third] {
        receiver.ask();
    }
    assert_eq!(first.poll_grant(), Some(WINDOW));
    assert_eq!(second.poll_grant(), Some(24));
    assert_eq!(third.poll_grant(), None);
    assert!(third.is_starved() && !second.is_starved());
    first.data(data(1, 600)).expect("allowed");
    assert_eq!(read(&mut first), (600, true));
    assert_eq!(third.poll_grant(), None, "only after a retry");
    third.retry();
    assert_eq!(third.poll_grant(), Some(600));
    // A body that still has credit gets none from the last quarter.
    assert_eq!(first.poll_grant(), None);
    assert!(!first.is_starved());
}

#[test]
fn many_small_parts_renew_credit_early_if_they_are_read() {
    let config = FlowConfig { window: 1 << 20, ..FlowConfig::default() };
    let mut receiver = receiver(&config, 0);
    receiver.ask();
    assert_eq!(receiver.poll_grant(), Some(1 << 20));
    for sequence in 1..=u64::from(RENEW_AFTER) {
        assert_eq!(receiver.poll_grant(), None);
        receiver.data(data(sequence, 1)).expect("allowed");
    }
    assert_eq!(receiver.poll_grant(), None, "nothing was read");
    assert!(receiver.read().is_ready());
    assert!(receiver.poll_grant().is_some());
}
