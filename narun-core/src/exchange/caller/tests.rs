use std::time::Duration;

use super::*;

use crate::frame::{Accept, Credit, Refusal, Refused, ResponseHead, VERSION, Working};
use crate::{Limits, fields::Edit};

mod connection;
mod denied;

type Subject = &'static str;

const CONSUMER: Subject = "consumer";
const OTHER: Subject = "other";

fn at(millis: u64) -> Time {
    Time::new(Duration::from_millis(millis))
}

fn caller(idempotent: bool) -> Caller<Subject> {
    let mut caller = Caller::new(at(0), CallerConfig { idempotent, ..CallerConfig::default() }, 7);
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 0 }));
    assert_eq!(caller.poll_transmit(), None);
    caller
}

fn response(end: bool) -> Frame {
    let parts = http::Response::new(()).into_parts().0;
    let head = ResponseHead { end, ..ResponseHead::new() };
    let frame = head.encode(&parts, Edit::default(), &b"body"[..], None, &Limits::default()).expect("small");
    Frame::decode(&frame, &Limits::default()).expect("valid")
}

fn working() -> Frame {
    Frame::Working(Working { version: VERSION, instance: None })
}

fn refused(reason: Refusal) -> Frame {
    Frame::Refused(Refused { reason, retry_after: Some(Duration::from_secs(9)), versions: vec![] })
}

fn reset_frame(code: ResetCode, ran: bool) -> Frame {
    Frame::Reset(Reset { code, text: String::new(), ran })
}

/// Returns the failure with which the exchange has ended.
fn failure(caller: &mut Caller<Subject>) -> Failure {
    assert!(caller.is_ended());
    assert_eq!(caller.poll_timeout(), None);
    match caller.poll_event() {
        Some(CallerEvent::Failed(failure)) => failure,
        event => panic!("{event:?}"),
    }
}

#[track_caller]
fn assert_fails(caller: &mut Caller<Subject>, kind: FailureKind) {
    assert_eq!(failure(caller).kind(), kind);
}

fn assert_open(caller: &mut Caller<Subject>) {
    assert!(caller.poll_event().is_none());
    assert!(!caller.is_ended());
}

/// Returns the next frame to publish, its address and its reply.
fn sent(caller: &mut Caller<Subject>) -> (Subject, Frame, Option<u8>) {
    match caller.poll_transmit() {
        Some(CallerTransmit::Frame { to, payload, reply }) => {
            (to, Frame::decode(&payload, &Limits::default()).expect("valid"), reply)
        }
        transmit => panic!("{transmit:?}"),
    }
}

#[track_caller]
fn assert_reset(caller: &mut Caller<Subject>, whom: Subject, code: ResetCode) {
    match sent(caller) {
        (to, Frame::Reset(reset), None) => assert_eq!((to, reset.code), (whom, code)),
        sent => panic!("{sent:?}"),
    }
}

#[test]
fn a_whole_response_ends_the_exchange_with_one_message_each_way() {
    let mut caller = caller(false);
    caller.handle_frame(at(1), 0, response(true), None);
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(response)) if response.body == "body"));
    assert_eq!(caller.poll_transmit(), None);
    assert_eq!(caller.poll_timeout(), None);
}

#[test]
fn inputs_change_nothing_after_the_end() {
    let mut caller = caller(true);
    caller.handle_frame(at(1), 0, response(true), None);
    assert!(caller.poll_event().is_some());
    caller.handle_frame(at(2), 0, response(true), None);
    caller.handle_no_responders(at(2), 0);
    caller.handle_malformed(at(0), 0, &DecodeError::Malformed("x"), None);
    caller.handle_connection(at(2), ConnectionChange::Lost);
    caller.handle_connection(at(2), ConnectionChange::Restored);
    caller.handle_timeout(at(60_000));
    caller.cancel();
    assert!(caller.poll_event().is_none());
    assert_eq!(caller.poll_transmit(), None);
}

#[test]
fn no_consumer_fails_the_exchange_at_once() {
    let mut caller = caller(true);
    caller.handle_no_responders(at(1), 0);
    assert_fails(&mut caller, FailureKind::NoConsumer);
}

#[test]
fn a_refused_request_is_sent_again_three_times_whatever_the_method() {
    for (reason, kind) in
        [(Refusal::Overloaded, FailureKind::Overloaded), (Refusal::Draining, FailureKind::Draining)]
    {
        let mut caller = caller(false);
        let mut now = at(0);
        for attempt in 0..3 {
            caller.handle_frame(now, attempt, refused(reason), None);
            assert_open(&mut caller);
            let again = caller.poll_timeout().expect("a pause");
            let pause = again - now;
            assert!((Duration::from_millis(5)..=Duration::from_millis(50)).contains(&pause), "{pause:?}");
            caller.handle_timeout(again);
            assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: attempt + 1 }));
            now = again;
        }
        caller.handle_frame(now, 3, refused(reason), None);
        let failure = failure(&mut caller);
        assert_eq!(failure.kind(), kind);
        assert_eq!(failure.retry_after(), Some(Duration::from_secs(9)));
    }
}

#[test]
fn a_draining_consumer_that_did_not_run_the_handler_counts_as_a_refusal() {
    let mut caller = caller(false);
    caller.handle_frame(at(0), 0, working(), Some(CONSUMER));
    caller.handle_frame(at(1), 0, reset_frame(ResetCode::Draining, false), None);
    assert_open(&mut caller);
    caller.handle_timeout(caller.poll_timeout().expect("a pause"));
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));
}

#[test]
fn a_request_is_not_sent_again_if_a_draining_consumer_ran_the_handler() {
    let mut caller = caller(true);
    caller.handle_frame(at(0), 0, reset_frame(ResetCode::Draining, true), None);
    assert_fails(&mut caller, FailureKind::BadResponse);
}

#[test]
fn a_request_is_not_sent_again_after_the_deadline() {
    let config = CallerConfig { head_timeout: Duration::from_millis(4), ..CallerConfig::default() };
    let mut caller = Caller::<Subject>::new(at(0), config, 1);
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 0 }));
    caller.handle_frame(at(0), 0, refused(Refusal::Overloaded), None);
    assert_fails(&mut caller, FailureKind::Overloaded);
}

#[test]
fn a_consumer_without_a_common_version_fails_the_exchange() {
    for reason in [Refusal::Version, Refusal::BadFrame] {
        let mut caller = caller(true);
        caller.handle_frame(at(0), 0, refused(reason), None);
        assert_fails(&mut caller, FailureKind::Incompatible);
    }
}

#[test]
fn the_deadline_ends_the_exchange_and_resets_the_consumer() {
    let mut caller = caller(false);
    assert_eq!(caller.poll_timeout(), Some(at(15_000)));
    caller.handle_frame(at(300), 0, working(), Some(CONSUMER));
    caller.handle_timeout(at(15_000));
    assert_fails(&mut caller, FailureKind::TimedOut);
    assert_reset(&mut caller, CONSUMER, ResetCode::Deadline);
}

#[test]
fn a_total_timeout_below_the_head_timeout_sets_the_deadline() {
    let config = CallerConfig { total_timeout: Some(Duration::from_millis(10)), ..CallerConfig::default() };
    let mut caller = Caller::<Subject>::new(at(5), config, 1);
    assert_eq!(caller.poll_timeout(), Some(at(15)));
    caller.handle_timeout(at(15));
    assert_fails(&mut caller, FailureKind::TimedOut);
}

#[test]
fn a_head_may_take_as_long_as_frames_of_the_consumer_arrive() {
    let config = CallerConfig {
        head_timeout: Duration::from_secs(3600),
        idle: Some(Duration::from_secs(30)),
        ..CallerConfig::default()
    };
    let mut unheard: Caller<Subject> = Caller::new(at(1000), config, 7);
    assert_eq!(unheard.poll_transmit(), Some(CallerTransmit::Request { attempt: 0 }));
    assert_eq!(unheard.poll_timeout(), Some(at(31_000)));
    unheard.handle_timeout(at(31_000));
    assert_fails(&mut unheard, FailureKind::ConsumerGone);

    let mut caller: Caller<Subject> = Caller::new(at(0), config, 7);
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 0 }));
    for second in 1..100 {
        caller.handle_frame(at(second * 29_000), 0, working(), Some(CONSUMER));
        caller.handle_timeout(at(second * 29_000));
        assert_open(&mut caller);
    }
    while caller.poll_transmit().is_some() {}
    caller.handle_timeout(at(99 * 29_000 + 30_000));
    assert_fails(&mut caller, FailureKind::ConsumerGone);
    assert_reset(&mut caller, CONSUMER, ResetCode::Idle);
}

#[test]
fn a_deadline_reset_of_the_consumer_is_a_timeout() {
    let mut caller = caller(false);
    caller.handle_frame(at(1), 0, reset_frame(ResetCode::Deadline, true), None);
    assert_fails(&mut caller, FailureKind::TimedOut);
}

#[test]
fn an_idempotent_request_is_sent_again_once_after_silence() {
    let mut caller = caller(true);
    caller.handle_timeout(caller.poll_timeout().expect("silence"));
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));
    assert_eq!(caller.poll_timeout(), Some(at(15_000)));
    // A response to the first attempt still counts.
    caller.handle_frame(at(1200), 0, response(true), None);
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(_))));
}

#[test]
fn silence_sends_no_other_request_again_nor_one_that_was_taken() {
    assert_eq!(caller(false).poll_timeout(), Some(at(15_000)));
    let mut caller = caller(true);
    caller.handle_frame(at(250), 0, working(), Some(CONSUMER));
    caller.handle_timeout(at(1000));
    assert_eq!(caller.poll_transmit(), None);
}

#[test]
fn the_first_response_wins_and_the_other_consumer_is_reset() {
    let mut caller = caller(true);
    caller.handle_timeout(at(1000));
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));
    caller.handle_frame(at(1010), 0, working(), Some(CONSUMER));
    caller.handle_frame(at(1020), 1, working(), Some(OTHER));
    caller.handle_frame(at(1030), 1, response(true), None);
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(_))));
    assert_reset(&mut caller, CONSUMER, ResetCode::Cancel);
    assert_eq!(caller.poll_transmit(), None);
}

#[test]
fn a_second_consumer_on_an_attempt_is_reset() {
    let mut caller = caller(false);
    caller.handle_frame(at(1), 0, working(), Some(CONSUMER));
    caller.handle_frame(at(2), 0, response(true), Some(OTHER));
    assert_open(&mut caller);
    assert_reset(&mut caller, OTHER, ResetCode::Gone);
    // A RESET of another sender is ignored, and gets no response.
    caller.handle_frame(at(3), 0, reset_frame(ResetCode::Cancel, true), Some(OTHER));
    assert_eq!(caller.poll_transmit(), None);
}

#[test]
fn a_consumer_that_takes_a_lost_attempt_is_cancelled() {
    let mut caller = caller(false);
    caller.handle_frame(at(1), 0, refused(Refusal::Overloaded), None);
    caller.handle_frame(at(2), 0, working(), Some(CONSUMER));
    assert_reset(&mut caller, CONSUMER, ResetCode::Cancel);
    caller.handle_frame(at(2), 9, working(), Some(CONSUMER));
    assert_reset(&mut caller, CONSUMER, ResetCode::Gone);
}

#[test]
fn a_consumer_is_probed_and_is_gone_if_it_stays_absent() {
    let mut caller = caller(true);
    caller.handle_frame(at(0), 0, working(), Some(CONSUMER));
    let mut now = at(0);
    for pause in [1, 2, 4] {
        now = now + Duration::from_secs(pause);
        assert_eq!(caller.poll_timeout(), Some(now));
        caller.handle_timeout(now);
        assert!(matches!(sent(&mut caller), (CONSUMER, Frame::Probe, Some(0))));
        caller.handle_frame(now, 0, Frame::Credit(Credit::default()), Some(CONSUMER));
    }
    // Its own connection may be lost.
    for _ in 0..10 {
        caller.handle_no_responders(now, 0);
        assert_open(&mut caller);
        now = now + Duration::from_millis(500);
        assert_eq!(caller.poll_timeout(), Some(now));
        caller.handle_timeout(now);
        assert!(matches!(sent(&mut caller), (CONSUMER, Frame::Probe, Some(0))));
    }
    caller.handle_no_responders(now, 0);
    assert_fails(&mut caller, FailureKind::ConsumerGone);
}

#[test]
fn a_consumer_that_forgot_the_exchange_is_gone() {
    let mut caller = caller(false);
    caller.handle_frame(at(0), 0, Frame::Accept(accept()), Some(CONSUMER));
    caller.handle_frame(at(1), 0, reset_frame(ResetCode::Gone, true), None);
    assert_fails(&mut caller, FailureKind::ConsumerGone);
}

fn accept() -> Accept {
    Accept { version: VERSION, instance: None, max_payload: 0, credit: 0 }
}

#[test]
fn a_probe_gets_credit() {
    let mut caller = caller(false);
    caller.handle_frame(at(0), 0, Frame::Probe, Some(CONSUMER));
    assert!(matches!(sent(&mut caller), (CONSUMER, Frame::Credit(_), Some(0))));
}

#[test]
fn a_client_that_leaves_cancels_the_consumer() {
    let mut caller = caller(false);
    caller.handle_frame(at(1), 0, working(), Some(CONSUMER));
    caller.cancel();
    assert_reset(&mut caller, CONSUMER, ResetCode::Cancel);
    assert!(caller.poll_event().is_none());
    let mut unheard = self::caller(false);
    unheard.cancel();
    assert_eq!(unheard.poll_transmit(), None);
}

#[test]
fn an_invalid_response_fails_the_exchange() {
    let mut malformed = caller(true);
    malformed.handle_malformed(at(0), 0, &DecodeError::Malformed("x"), None);
    assert_fails(&mut malformed, FailureKind::BadResponse);

    let data = crate::frame::Data { sequence: 1, body: Bytes::new(), end: true, trailers: None };
    let mut gap = caller(true);
    gap.handle_frame(at(1), 0, Frame::Data(data), Some(CONSUMER));
    assert_fails(&mut gap, FailureKind::BadResponse);
    assert_reset(&mut gap, CONSUMER, ResetCode::Gap);

    let mut partial = caller(true);
    partial.handle_frame(at(1), 0, response(false), Some(CONSUMER));
    assert_fails(&mut partial, FailureKind::BadResponse);
    assert_reset(&mut partial, CONSUMER, ResetCode::TooLarge);

    let mut reset = caller(true);
    let text = "the response is over 10 bytes".to_owned();
    let frame = Frame::Reset(Reset { code: ResetCode::TooLarge, text, ran: true });
    reset.handle_frame(at(1), 0, frame, None);
    let failure = failure(&mut reset);
    assert_eq!(failure.kind(), FailureKind::BadResponse);
    assert!(failure.cause().is_some_and(|cause| cause.contains("over 10 bytes")), "{failure:?}");
}

#[test]
fn the_sender_of_an_invalid_payload_is_reset() {
    let invalid = DecodeError::TooLarge { what: "frame", limit: 65_536 };
    let mut unknown = caller(false);
    unknown.handle_malformed(at(0), 0, &invalid, Some(OTHER));
    assert_reset(&mut unknown, OTHER, ResetCode::Internal);
    assert_eq!(unknown.poll_transmit(), None);
    assert_fails(&mut unknown, FailureKind::BadResponse);

    let mut known = caller(false);
    known.handle_frame(at(0), 0, working(), Some(CONSUMER));
    known.handle_malformed(at(0), 0, &invalid, Some(CONSUMER));
    assert_reset(&mut known, CONSUMER, ResetCode::Internal);
    assert_eq!(known.poll_transmit(), None);
}

#[test]
fn a_lost_attempt_does_not_end_the_exchange_while_another_is_open() {
    let mut caller = caller(true);
    caller.handle_frame(at(1), 0, working(), Some(CONSUMER));
    caller.handle_connection(at(2), ConnectionChange::Lost);
    caller.handle_connection(at(3), ConnectionChange::Restored);
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));
    caller.handle_frame(at(4), 0, reset_frame(ResetCode::Gone, true), None);
    assert_open(&mut caller);
    caller.handle_frame(at(5), 1, response(true), None);
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(_))));
}

#[test]
fn a_consumer_that_is_gone_does_not_hold_up_the_failure_of_another() {
    let mut caller = caller(true);
    caller.handle_timeout(at(1000));
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));
    caller.handle_frame(at(1010), 0, working(), Some(CONSUMER));
    caller.handle_frame(at(1020), 1, working(), Some(OTHER));
    caller.handle_timeout(at(2010));
    assert!(matches!(sent(&mut caller), (CONSUMER, Frame::Probe, Some(0))));
    assert!(matches!(sent(&mut caller), (OTHER, Frame::Probe, Some(1))));
    caller.handle_no_responders(at(2011), 0);
    caller.handle_frame(at(2012), 1, Frame::Credit(Credit::default()), Some(OTHER));
    assert_open(&mut caller);
    caller.handle_frame(at(2100), 1, reset_frame(ResetCode::Internal, true), None);
    assert_fails(&mut caller, FailureKind::BadResponse);
}

#[test]
fn the_last_consumer_may_be_absent_for_the_grace() {
    let mut caller = caller(true);
    caller.handle_timeout(at(1000));
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));
    caller.handle_frame(at(1010), 0, working(), Some(CONSUMER));
    caller.handle_frame(at(1020), 1, working(), Some(OTHER));
    caller.handle_no_responders(at(2000), 0);
    for now in [2000, 6999] {
        caller.handle_no_responders(at(now), 1);
        assert_open(&mut caller);
    }
    caller.handle_no_responders(at(7000), 1);
    assert_fails(&mut caller, FailureKind::ConsumerGone);
}

#[test]
fn an_absent_consumer_is_probed_every_500_ms_however_long_the_grace_is() {
    let config = CallerConfig { grace: Duration::from_secs(60), ..CallerConfig::default() };
    let mut caller = Caller::new(at(0), config, 7);
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 0 }));
    caller.handle_frame(at(10), 0, working(), Some(CONSUMER));
    caller.handle_no_responders(at(100), 0);
    assert_eq!(caller.poll_timeout(), Some(at(600)));
}

#[test]
fn an_attempt_without_responders_fails_the_exchange_at_once() {
    let mut caller = caller(true);
    caller.handle_timeout(at(1000));
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));
    caller.handle_no_responders(at(1001), 1);
    assert_fails(&mut caller, FailureKind::NoConsumer);
}

#[test]
fn backoffs_differ_by_seed() {
    let pause = |seed| Caller::<Subject>::new(at(0), CallerConfig::default(), seed).backoff();
    let pauses: std::collections::HashSet<_> = (0..100).map(pause).collect();
    assert!(pauses.len() > 90);
}
