use std::time::Duration;

use super::*;
use crate::Limits;
use crate::exchange::caller::CallerConfig;
use crate::exchange::{Budget, ConnectionChange};
use crate::fields::Edit;
use crate::frame::{Frame as Any, Refusal, Refused, ResponseHead, VERSION, Working};

mod absent;

type Subject = &'static str;

const CONSUMER: Subject = "consumer";
const OTHER: Subject = "other";
const WINDOW: u64 = 1000;

fn at(millis: u64) -> Time {
    Time::new(Duration::from_millis(millis))
}

fn flow() -> Arc<FlowConfig> {
    Arc::new(FlowConfig { window: WINDOW, ..FlowConfig::default() })
}

/// A caller that has sent three bytes of the request's body inline.
fn uploading(config: CallerConfig) -> Caller<Subject> {
    let mut caller = Caller::new(at(0), config, 7).with_body(at(0), 3, flow());
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 0 }));
    assert_eq!(caller.poll_transmit(), None);
    caller
}

/// A caller whose response has begun with "body".
fn downloading(flow: Arc<FlowConfig>) -> Caller<Subject> {
    let mut caller = Caller::new(at(0), CallerConfig::default(), 7).streaming(flow);
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 0 }));
    caller.handle_frame(at(0), 0, response(false, 0), Some(CONSUMER));
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(response)) if response.body.is_empty()));
    caller
}

fn response(end: bool, credit: u64) -> Any {
    let parts = http::Response::new(()).into_parts().0;
    let head = ResponseHead { end, credit, ..ResponseHead::new() };
    let frame = head.encode(&parts, Edit::default(), &b"body"[..], None, &Limits::default()).expect("small");
    Any::decode(&frame, &Limits::default()).expect("valid")
}

fn accept(credit: u64) -> Any {
    Any::Accept(Accept { version: VERSION, instance: None, max_payload: 0, credit })
}

fn working() -> Any {
    Any::Working(Working { version: VERSION, instance: None })
}

fn data(sequence: u64, body: &'static str, end: bool) -> Any {
    Any::Data(Data { sequence, body: body.into(), end, trailers: None })
}

fn credit(offset: u64, stop: bool, sent: u64) -> Any {
    Any::Credit(Credit { offset, stop, sent })
}

fn sent(caller: &mut Caller<Subject>) -> (Subject, Any, Option<u8>) {
    match caller.poll_transmit() {
        Some(CallerTransmit::Frame { to, payload, reply }) => {
            (to, Any::decode(&payload, &Limits::default()).expect("valid"), reply)
        }
        transmit => panic!("{transmit:?}"),
    }
}

#[track_caller]
fn assert_reset(caller: &mut Caller<Subject>, whom: Subject, code: ResetCode) {
    match sent(caller) {
        (to, Any::Reset(reset), None) => assert_eq!((to, reset.code), (whom, code)),
        sent => panic!("{sent:?}"),
    }
    assert_eq!(caller.poll_transmit(), None);
}

#[track_caller]
fn assert_data(caller: &mut Caller<Subject>, number: u64, bytes: &[u8], is_last: bool) {
    match sent(caller) {
        (CONSUMER, Any::Data(data), Some(0)) => {
            assert_eq!((data.sequence, &data.body[..], data.end), (number, bytes, is_last));
        }
        sent => panic!("{sent:?}"),
    }
}

#[track_caller]
fn assert_fails(caller: &mut Caller<Subject>, kind: FailureKind) {
    match caller.poll_event() {
        Some(CallerEvent::Failed(failure)) => assert_eq!(failure.kind(), kind),
        event => panic!("{event:?}"),
    }
}

/// Reads the bytes that have arrived, and returns whether the body has ended.
fn read(caller: &mut Caller<Subject>) -> (String, Poll<Result<(), BodyErrorKind>>) {
    let mut text = String::new();
    loop {
        match caller.poll_read() {
            Poll::Pending => return (text, Poll::Pending),
            Poll::Ready(None) => return (text, Poll::Ready(Ok(()))),
            Poll::Ready(Some(Err(kind))) => return (text, Poll::Ready(Err(kind))),
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().expect("no trailers");
                text.push_str(std::str::from_utf8(&data).expect("text"));
            }
        }
    }
}

#[track_caller]
fn assert_broken(caller: &mut Caller<Subject>, kind: BodyErrorKind) {
    assert!(caller.is_ended() && caller.poll_event().is_none());
    assert_eq!(caller.poll_timeout(), None);
    assert_eq!(read(caller), (String::new(), Poll::Ready(Err(kind))));
}

#[test]
fn the_request_body_waits_for_accept() {
    let mut caller = uploading(CallerConfig::default());
    assert!(!caller.wants_data() && !caller.is_sent());
    caller.handle_frame(at(1), 0, working(), Some(CONSUMER));
    assert!(!caller.wants_data());
    caller.handle_frame(at(2), 0, accept(10), Some(CONSUMER));
    assert!(caller.wants_data());
    caller.send(at(3), "0123456789".into());
    assert!(!caller.wants_data());
    assert_data(&mut caller, 1, b"0123456", false);
    assert_eq!(caller.poll_transmit(), None);
    caller.handle_frame(at(4), 0, credit(1000, false, 0), Some(CONSUMER));
    assert_data(&mut caller, 2, b"789", false);
    caller.finish(at(5), None);
    assert_data(&mut caller, 3, b"", true);
    assert!(caller.is_sent() && !caller.is_ended());
}

#[test]
fn credit_in_a_response_or_a_credit_frame_replaces_accept() {
    let mut caller = uploading(CallerConfig::default());
    caller.handle_frame(at(1), 0, response(false, 5), Some(CONSUMER));
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(_))));
    assert!(matches!(sent(&mut caller), (CONSUMER, Any::Credit(_), Some(0))));
    caller.send(at(2), "abc".into());
    assert_data(&mut caller, 1, b"ab", false);
    let mut unaccepted = uploading(CallerConfig::default());
    unaccepted.handle_frame(at(1), 0, credit(9, false, 0), Some(CONSUMER));
    assert!(unaccepted.wants_data());
}

#[test]
fn a_response_that_ends_closes_both_directions() {
    let mut caller = uploading(CallerConfig::default());
    caller.handle_frame(at(1), 0, accept(1000), Some(CONSUMER));
    caller.send(at(2), "abc".into());
    caller.handle_frame(at(3), 0, response(true, 0), None);
    assert!(caller.is_ended() && caller.is_sent() && !caller.wants_data());
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(response)) if response.body == "body"));
    assert_eq!((caller.poll_transmit(), caller.poll_timeout()), (None, None));
}

#[test]
fn a_request_body_goes_on_beside_an_early_response_until_that_ends() {
    let mut caller = uploading(CallerConfig::default());
    caller.handle_frame(at(1), 0, accept(1000), Some(CONSUMER));
    caller.handle_frame(at(2), 0, response(false, 0), Some(CONSUMER));
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(_))));
    assert!(matches!(sent(&mut caller), (CONSUMER, Any::Credit(credit), _) if credit.offset == WINDOW));
    caller.send(at(3), "abc".into());
    assert_data(&mut caller, 1, b"abc", false);
    caller.handle_frame(at(4), 0, data(1, "more", false), Some(CONSUMER));
    assert_eq!(read(&mut caller), ("bodymore".to_owned(), Poll::Pending));
    caller.send(at(5), "def".into());
    caller.handle_frame(at(6), 0, data(2, "", true), Some(CONSUMER));
    assert!(caller.is_ended() && caller.is_sent());
    assert_eq!(caller.poll_transmit(), None);
    assert_eq!(read(&mut caller), (String::new(), Poll::Ready(Ok(()))));
}

#[test]
fn a_stopped_request_body_is_dropped_and_the_response_still_counts() {
    let mut caller = uploading(CallerConfig::default());
    caller.handle_frame(at(1), 0, accept(1000), Some(CONSUMER));
    caller.send(at(2), "abc".into());
    caller.handle_frame(at(3), 0, credit(1000, true, 0), Some(CONSUMER));
    assert!(caller.is_sent() && !caller.is_ended() && !caller.wants_data());
    assert_eq!(caller.poll_transmit(), None);
    caller.handle_frame(at(4), 0, response(true, 0), None);
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(_))));
}

#[test]
fn a_request_is_not_sent_again_after_an_accept() {
    let refused =
        || Any::Refused(Refused { reason: Refusal::Overloaded, retry_after: None, versions: vec![] });
    let mut early = uploading(CallerConfig::default());
    early.handle_frame(at(1), 0, refused(), None);
    early.handle_timeout(at(51));
    assert_eq!(early.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));

    let draining = Any::Reset(Reset { code: ResetCode::Draining, text: String::new(), ran: false });
    for frame in [refused(), draining] {
        let mut late = uploading(CallerConfig::default());
        late.handle_frame(at(1), 0, accept(10), Some(CONSUMER));
        late.handle_frame(at(2), 0, frame, None);
        assert!(late.is_ended());
        assert!(matches!(late.poll_event(), Some(CallerEvent::Failed(_))));
    }
    let mut lost = uploading(CallerConfig { idempotent: true, ..CallerConfig::default() });
    lost.handle_frame(at(1), 0, accept(10), Some(CONSUMER));
    lost.handle_connection(at(2), ConnectionChange::Lost);
    lost.handle_connection(at(3), ConnectionChange::Restored);
    // The CREDIT shows how many DATA were sent.
    assert!(matches!(sent(&mut lost), (CONSUMER, Any::Credit(credit), Some(0)) if credit.sent == 0));
    assert!(matches!(sent(&mut lost), (CONSUMER, Any::Probe, Some(0))));
    assert_eq!(lost.poll_transmit(), None);
}

#[test]
fn the_first_accept_wins_and_the_other_consumers_are_reset() {
    let mut caller = uploading(CallerConfig { idempotent: true, ..CallerConfig::default() });
    caller.handle_timeout(at(1000));
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));
    caller.handle_frame(at(1001), 1, working(), Some(OTHER));
    caller.handle_frame(at(1002), 0, accept(10), Some(CONSUMER));
    assert_reset(&mut caller, OTHER, ResetCode::Cancel);
    caller.handle_frame(at(1003), 1, accept(10), Some(OTHER));
    assert_reset(&mut caller, OTHER, ResetCode::Cancel);
    caller.handle_frame(at(1004), 1, data(1, "x", false), Some(OTHER));
    assert_reset(&mut caller, OTHER, ResetCode::Cancel);
    caller.send(at(1005), "abc".into());
    assert_data(&mut caller, 1, b"abc", false);
}

#[test]
fn progress_of_the_request_body_restarts_the_head_timeout() {
    let mut caller = uploading(CallerConfig::default());
    caller.handle_frame(at(1), 0, accept(10), Some(CONSUMER));
    for now in [14_000, 28_000, 42_000] {
        caller.send(at(now), "a".into());
        assert_eq!(caller.deadline, at(now + 15_000));
        while caller.poll_transmit().is_some() {}
        caller.handle_timeout(at(now));
    }
    caller.handle_frame(at(56_000), 0, working(), Some(CONSUMER));
    assert_eq!(caller.deadline, at(57_000));
    let total = Some(Duration::from_secs(20));
    let mut limited = uploading(CallerConfig { total_timeout: total, ..CallerConfig::default() });
    limited.handle_frame(at(1), 0, accept(10), Some(CONSUMER));
    limited.send(at(14_000), "a".into());
    assert_eq!(limited.deadline, at(20_000));
    limited.handle_timeout(at(20_000));
    assert_fails(&mut limited, FailureKind::RequestTimedOut);
    while limited.poll_transmit().is_some() {}
}

#[test]
fn a_timeout_is_the_clients_if_the_consumer_waits_for_its_body() {
    // The consumer has asked for more, and the client pauses.
    let mut caller = uploading(CallerConfig::default());
    caller.handle_frame(at(1), 0, accept(10), Some(CONSUMER));
    caller.handle_timeout(at(15_001));
    assert_fails(&mut caller, FailureKind::RequestTimedOut);
    assert_reset(&mut caller, CONSUMER, ResetCode::Cancel);

    // The consumer notices it first.
    let mut caller = uploading(CallerConfig::default());
    caller.handle_frame(at(1), 0, accept(10), Some(CONSUMER));
    let deadline = Reset { code: ResetCode::Deadline, text: String::new(), ran: true };
    caller.handle_frame(at(15_000), 0, Any::Reset(deadline), None);
    assert_fails(&mut caller, FailureKind::RequestTimedOut);
}

#[test]
fn a_timeout_is_the_consumers_if_it_does_not_ask_for_more_or_has_the_whole_body() {
    // It has not read past the inline bytes.
    let mut unread = uploading(CallerConfig::default());
    unread.handle_frame(at(1), 0, working(), Some(CONSUMER));
    unread.handle_timeout(at(15_000));
    assert_fails(&mut unread, FailureKind::TimedOut);
    assert_reset(&mut unread, CONSUMER, ResetCode::Deadline);

    // It has not read what was sent.
    let mut full = uploading(CallerConfig::default());
    full.handle_frame(at(1), 0, accept(6), Some(CONSUMER));
    full.send(at(2), "abc".into());
    assert_data(&mut full, 1, b"abc", false);
    full.handle_timeout(at(15_002));
    assert_fails(&mut full, FailureKind::TimedOut);

    // It has got everything, or does not want it.
    let mut whole = uploading(CallerConfig::default());
    whole.handle_frame(at(1), 0, accept(10), Some(CONSUMER));
    whole.finish(at(2), None);
    assert_data(&mut whole, 1, b"", true);
    whole.handle_timeout(at(15_002));
    assert_fails(&mut whole, FailureKind::TimedOut);
    let mut stopped = uploading(CallerConfig::default());
    stopped.handle_frame(at(1), 0, accept(10), Some(CONSUMER));
    stopped.handle_frame(at(2), 0, credit(10, true, 0), Some(CONSUMER));
    stopped.handle_timeout(at(15_002));
    assert_fails(&mut stopped, FailureKind::TimedOut);
}

#[test]
fn silence_ends_a_response_after_its_head() {
    let mut caller = downloading(flow());
    while caller.poll_transmit().is_some() {}
    let mut now = at(0);
    for _ in 0..50 {
        now = caller.poll_timeout().expect("it asks");
        caller.handle_timeout(now);
        assert!(matches!(sent(&mut caller), (CONSUMER, Any::Probe, Some(0))));
        caller.handle_frame(now, 0, credit(0, false, 0), Some(CONSUMER));
    }
    assert!(now > at(400_000) && !caller.is_ended());
    let silent = now;
    while !caller.is_ended() {
        now = caller.poll_timeout().expect("it asks");
        while caller.poll_transmit().is_some() {}
        caller.handle_timeout(now);
    }
    assert_eq!(now, silent + Duration::from_secs(30));
    assert_reset(&mut caller, CONSUMER, ResetCode::Idle);
    assert_broken(&mut caller, BodyErrorKind::TimedOut);
}

#[test]
fn the_total_timeout_ends_a_response_that_goes_on() {
    let total_timeout = Some(Duration::from_secs(20));
    let config = CallerConfig { total_timeout, ..CallerConfig::default() };
    let mut caller = Caller::new(at(0), config, 7).streaming(flow());
    caller.poll_transmit();
    caller.handle_frame(at(1), 0, response(false, 0), Some(CONSUMER));
    assert!(caller.poll_event().is_some() && caller.poll_transmit().is_some());
    caller.handle_frame(at(19_000), 0, data(1, "x", false), Some(CONSUMER));
    caller.handle_timeout(at(20_000));
    assert_reset(&mut caller, CONSUMER, ResetCode::Deadline);
    assert_broken(&mut caller, BodyErrorKind::TimedOut);
}

#[test]
fn a_missing_part_breaks_the_body_off() {
    for frame in [data(3, "x", false), data(3, "", true), credit(0, false, 2)] {
        let mut caller = downloading(flow());
        while caller.poll_transmit().is_some() {}
        caller.handle_frame(at(1), 0, data(1, "more", false), Some(CONSUMER));
        caller.handle_frame(at(2), 0, frame, Some(CONSUMER));
        assert_reset(&mut caller, CONSUMER, ResetCode::Gap);
        assert_broken(&mut caller, BodyErrorKind::Gap);
    }
}

#[test]
fn a_missing_head_is_a_gap_too() {
    for frame in [data(1, "x", false), credit(0, false, 1)] {
        let mut caller = Caller::new(at(0), CallerConfig::default(), 7).streaming(flow());
        caller.poll_transmit();
        caller.handle_frame(at(2), 0, frame, Some(CONSUMER));
        assert_reset(&mut caller, CONSUMER, ResetCode::Gap);
        assert!(
            matches!(caller.poll_event(), Some(CallerEvent::Failed(failure)) if failure.kind() == FailureKind::BadResponse)
        );
    }
}

#[test]
fn more_than_was_granted_breaks_the_body_off() {
    let mut caller = downloading(Arc::new(FlowConfig { window: 10, ..FlowConfig::default() }));
    assert!(matches!(sent(&mut caller), (CONSUMER, Any::Credit(credit), _) if credit.offset == 10));
    caller.handle_frame(at(1), 0, data(1, "123456", false), Some(CONSUMER));
    assert!(!caller.is_ended());
    caller.handle_frame(at(1), 0, data(2, "7", false), Some(CONSUMER));
    assert_reset(&mut caller, CONSUMER, ResetCode::Flow);
    assert_broken(&mut caller, BodyErrorKind::Reset);
}

#[test]
fn a_reset_or_a_lost_connection_breaks_the_body_off() {
    let mut reset = downloading(flow());
    while reset.poll_transmit().is_some() {}
    reset.handle_frame(
        at(1),
        0,
        Any::Reset(Reset { code: ResetCode::Internal, text: String::new(), ran: true }),
        None,
    );
    assert_eq!(reset.poll_transmit(), None);
    assert_broken(&mut reset, BodyErrorKind::Reset);

    let mut lost = downloading(flow());
    while lost.poll_transmit().is_some() {}
    lost.handle_connection(at(1), ConnectionChange::Lost);
    lost.handle_timeout(at(5001));
    assert_broken(&mut lost, BodyErrorKind::TimedOut);
}

#[test]
fn a_client_that_leaves_or_a_body_that_breaks_off_resets_the_exchange() {
    let mut left = downloading(flow());
    while left.poll_transmit().is_some() {}
    left.cancel();
    assert_reset(&mut left, CONSUMER, ResetCode::Cancel);
    assert_broken(&mut left, BodyErrorKind::Reset);

    let mut broken = uploading(CallerConfig::default());
    broken.handle_frame(at(1), 0, accept(1000), Some(CONSUMER));
    broken.send(at(2), "abc".into());
    broken.abort(ResetCode::TooLarge, "over 10 bytes");
    assert_reset(&mut broken, CONSUMER, ResetCode::TooLarge);
    assert!(broken.is_ended() && broken.poll_event().is_none());
}

#[test]
fn reading_renews_credit_and_a_probe_repeats_it() {
    let mut caller = downloading(flow());
    assert!(matches!(sent(&mut caller), (CONSUMER, Any::Credit(credit), Some(0)) if credit.offset == WINDOW));
    let half = Data { sequence: 1, body: Bytes::from(vec![b'x'; 600]), end: false, trailers: None };
    caller.handle_frame(at(1), 0, Any::Data(half), Some(CONSUMER));
    assert_eq!(caller.poll_transmit(), None);
    assert_eq!((caller.queued(), read(&mut caller).0.len()), (604, 604));
    assert!(matches!(sent(&mut caller), (_, Any::Credit(credit), _) if credit.offset == WINDOW + 604));
    caller.handle_frame(at(2), 0, Any::Probe, Some(CONSUMER));
    assert!(matches!(sent(&mut caller), (_, Any::Credit(credit), _) if credit.offset == WINDOW + 604));
}

#[test]
fn a_body_without_credit_retries_the_budget_after_a_while() {
    let budget = Arc::new(Budget::new(1024));
    let flow = Arc::new(FlowConfig { window: 2048, budget: budget.clone(), ..FlowConfig::default() });
    let mut first = downloading(flow.clone());
    assert!(first.poll_transmit().is_some());
    let mut second = downloading(flow);
    second.handle_timeout(at(100));
    assert_eq!(second.poll_transmit(), None);
    assert_eq!(second.poll_timeout(), Some(at(150)));
    drop(first);
    assert_eq!(second.poll_transmit(), None);
    second.handle_timeout(at(150));
    assert!(matches!(sent(&mut second), (_, Any::Credit(credit), _) if credit.offset == 4 + 1024));
    drop(second);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_response_without_a_token_cannot_go_on() {
    let mut caller = Caller::<Subject>::new(at(0), CallerConfig::default(), 7).streaming(flow());
    caller.poll_transmit();
    caller.handle_frame(at(1), 0, response(false, 0), None);
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Failed(_))));
}

#[test]
fn exchanges_of_one_frame_each_way_allocate_no_bodies() {
    let mut caller = Caller::new(at(0), CallerConfig::default(), 7).streaming(flow());
    caller.poll_transmit();
    caller.handle_frame(at(1), 0, response(true, 0), Some(CONSUMER));
    assert!(caller.is_ended() && caller.bodies.is_none());
    assert!(size_of::<Caller<Subject>>() <= 480, "{}", size_of::<Caller<Subject>>());
}
