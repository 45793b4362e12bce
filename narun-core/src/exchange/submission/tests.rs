use super::*;

use crate::Limits;
use crate::fields::Edit;
use crate::frame::{ResponseHead, VERSION, Working};

const FIRST: PubAck = PubAck { duplicate: false };
const AGAIN: PubAck = PubAck { duplicate: true };

fn at(millis: u64) -> Time {
    Time::new(Duration::from_millis(millis))
}

/// A request that has been published once, at 0.
fn submission() -> Submission {
    submission_with(SubmissionConfig::default())
}

fn submission_with(config: SubmissionConfig) -> Submission {
    let mut submission = Submission::new(at(0), ExchangeId::from_bytes([7; 16]), config);
    assert!(!submission.may_be_stored());
    assert_eq!(submission.poll_transmit(), Some(PublishRequest));
    assert_eq!(submission.poll_transmit(), None);
    submission
}

fn response(end: bool) -> Frame {
    let parts = http::Response::new(()).into_parts().0;
    let head = ResponseHead { end, ..ResponseHead::new() };
    let frame = head.encode(&parts, Edit::default(), &b"body"[..], None, &Limits::default()).expect("small");
    Frame::decode(&frame, &Limits::default()).expect("valid")
}

fn full() -> Failure {
    FailureKind::StreamFull.into()
}

#[track_caller]
fn assert_accepted(submission: &mut Submission, duplicate: bool) {
    match submission.poll_event() {
        Some(SubmissionEvent::Accepted { duplicate: actual }) => assert_eq!(actual, duplicate),
        event => panic!("{event:?}"),
    }
    assert!(submission.may_be_stored());
}

#[track_caller]
fn assert_fails(submission: &mut Submission, kind: FailureKind) -> String {
    let text = match submission.poll_event() {
        Some(SubmissionEvent::Failed(failure)) => {
            assert_eq!(failure.kind(), kind);
            failure.to_string()
        }
        event => panic!("{event:?}"),
    };
    assert_eq!(submission.poll_timeout(), None);
    assert_eq!(submission.poll_transmit(), None);
    text
}

#[track_caller]
fn assert_responded(submission: &mut Submission) {
    let event = submission.poll_event();
    assert!(matches!(event, Some(SubmissionEvent::Response(response)) if response.body == "body"));
    assert_eq!(submission.poll_timeout(), None);
}

/// Lets time pass until this moment, which must be the next timeout.
#[track_caller]
fn pass(submission: &mut Submission, millis: u64) {
    assert_eq!(submission.poll_timeout(), Some(at(millis)));
    submission.handle_timeout(at(millis));
}

#[test]
fn a_request_is_accepted_and_then_gets_its_response() {
    let mut submission = submission();
    submission.handle_ack(at(0), Ok(FIRST));
    assert_accepted(&mut submission, false);
    assert!(submission.poll_event().is_none());
    // Once accepted it is not published again.
    assert_eq!(submission.poll_timeout(), Some(at(15_000)));
    submission.handle_frame(at(0), response(true));
    assert_responded(&mut submission);
    assert_eq!(submission.published(), 1);
}

#[test]
fn a_response_counts_as_an_acknowledgement() {
    let mut submission = submission();
    submission.handle_frame(at(0), response(true));
    assert_accepted(&mut submission, false);
    assert_responded(&mut submission);
    submission.handle_ack(at(0), Ok(FIRST));
    assert!(submission.poll_event().is_none());
}

#[test]
fn a_request_without_acknowledgement_is_published_again_until_the_deadline() {
    let mut submission = submission();
    for second in 1..15 {
        pass(&mut submission, second * 1000);
        assert_eq!(submission.poll_transmit(), Some(PublishRequest));
        assert_eq!(submission.poll_transmit(), None);
    }
    pass(&mut submission, 15_000);
    let text = assert_fails(&mut submission, FailureKind::NotConfirmed);
    assert!(text.contains(&ExchangeId::from_bytes([7; 16]).to_string()), "{text}");
    assert!(submission.may_be_stored());
    assert_eq!(submission.published(), 15);
}

#[test]
fn a_request_is_not_published_again_near_the_end_of_the_duplicate_window() {
    let config = SubmissionConfig { retry_for: Duration::from_millis(1500), ..SubmissionConfig::default() };
    let mut submission = submission_with(config);
    pass(&mut submission, 1000);
    assert_eq!(submission.poll_transmit(), Some(PublishRequest));
    // A restored connection changes nothing.
    submission.handle_connection(at(1600), ConnectionChange::Lost);
    submission.handle_connection(at(1700), ConnectionChange::Restored);
    assert_eq!(submission.poll_transmit(), None);
    assert_eq!(submission.poll_timeout(), Some(at(15_000)));
}

#[test]
fn a_duplicate_is_reported() {
    let mut one = submission();
    one.handle_ack(at(0), Ok(AGAIN));
    assert_accepted(&mut one, true);
    assert_eq!(one.published(), 1);

    let mut twice = submission();
    pass(&mut twice, 1000);
    assert_eq!(twice.poll_transmit(), Some(PublishRequest));
    twice.handle_ack(at(0), Ok(AGAIN));
    twice.handle_ack(at(0), Ok(FIRST));
    assert_accepted(&mut twice, true);
    assert_eq!(twice.published(), 2);
    assert!(twice.poll_event().is_none());
}

#[test]
fn an_accepted_request_without_a_response_is_late() {
    let mut submission = submission();
    submission.handle_ack(at(0), Ok(FIRST));
    assert_accepted(&mut submission, false);
    pass(&mut submission, 15_000);
    let text = assert_fails(&mut submission, FailureKind::ResponseLate);
    assert!(text.contains(&ExchangeId::from_bytes([7; 16]).to_string()), "{text}");
}

#[test]
fn an_error_ends_the_exchange_if_no_other_publication_may_be_stored() {
    let mut refused = submission();
    refused.handle_ack(at(0), Err(full()));
    assert!(!refused.may_be_stored());
    assert_fails(&mut refused, FailureKind::StreamFull);

    let mut missing = submission();
    missing.handle_no_responders(at(0));
    assert!(!missing.may_be_stored());
    assert_fails(&mut missing, FailureKind::StreamMissing);

    let mut unsent = submission();
    unsent.handle_unsent(at(0), FailureKind::ContentTooLarge.into());
    assert!(!unsent.may_be_stored());
    assert_fails(&mut unsent, FailureKind::ContentTooLarge);
}

#[test]
fn an_error_does_not_count_while_another_publication_may_be_stored() {
    let mut submission = submission();
    pass(&mut submission, 1000);
    assert_eq!(submission.poll_transmit(), Some(PublishRequest));
    submission.handle_no_responders(at(0));
    assert!(submission.poll_event().is_none() && submission.may_be_stored());
    // The other publication was not stored either.
    submission.handle_ack(at(0), Err(full()));
    assert!(!submission.may_be_stored());
    assert_fails(&mut submission, FailureKind::StreamFull);
}

#[test]
fn a_request_is_published_again_after_a_lost_acknowledgement_and_an_error() {
    let mut submission = submission();
    pass(&mut submission, 1000);
    assert_eq!(submission.poll_transmit(), Some(PublishRequest));
    submission.handle_ack(at(0), Err(full()));
    pass(&mut submission, 2000);
    assert_eq!(submission.poll_transmit(), Some(PublishRequest));
    submission.handle_ack(at(0), Ok(AGAIN));
    assert_accepted(&mut submission, true);
}

#[test]
fn a_request_is_published_again_when_the_connection_is_restored() {
    let mut submission = submission();
    submission.handle_connection(at(10), ConnectionChange::Lost);
    assert_eq!(submission.poll_transmit(), None);
    assert_eq!(submission.poll_timeout(), Some(at(15_000)));
    submission.handle_connection(at(3000), ConnectionChange::Restored);
    assert_eq!(submission.poll_transmit(), Some(PublishRequest));
    assert_eq!(submission.poll_timeout(), Some(at(4000)));
    submission.handle_ack(at(0), Ok(AGAIN));
    assert_accepted(&mut submission, true);
}

#[test]
fn a_request_not_yet_published_waits_for_the_restored_connection() {
    let mut submission = Submission::new(at(0), ExchangeId::from_bytes([7; 16]), SubmissionConfig::default());
    submission.handle_connection(at(0), ConnectionChange::Lost);
    assert_eq!(submission.poll_transmit(), None);
    submission.handle_connection(at(1), ConnectionChange::Restored);
    assert_eq!(submission.poll_transmit(), Some(PublishRequest));
}

#[test]
fn an_accepted_request_waits_through_a_lost_connection() {
    let mut submission = submission();
    submission.handle_ack(at(0), Ok(FIRST));
    assert_accepted(&mut submission, false);
    submission.handle_connection(at(10), ConnectionChange::Lost);
    submission.handle_connection(at(5000), ConnectionChange::Restored);
    assert_eq!(submission.poll_transmit(), None);
    submission.handle_frame(at(0), response(true));
    assert_responded(&mut submission);
}

#[test]
fn an_invalid_response_fails_with_the_id() {
    let mut partial = submission();
    partial.handle_frame(at(0), response(false));
    assert_accepted(&mut partial, false);
    let text = assert_fails(&mut partial, FailureKind::BadResponse);
    assert!(text.contains(&ExchangeId::from_bytes([7; 16]).to_string()), "{text}");

    let mut malformed = submission();
    malformed.handle_ack(at(0), Ok(FIRST));
    assert_accepted(&mut malformed, false);
    malformed.handle_malformed(at(0), &DecodeError::Malformed("x"));
    assert_fails(&mut malformed, FailureKind::BadResponse);
}

#[test]
fn other_frames_change_nothing() {
    let mut submission = submission();
    submission.handle_frame(at(0), Frame::Working(Working { version: VERSION, instance: None }));
    submission.handle_frame(at(0), Frame::Probe);
    assert!(submission.poll_event().is_none());
    assert_eq!(submission.poll_timeout(), Some(at(1000)));
}

#[test]
fn a_stream_is_not_missing_just_after_the_connection_was_restored() {
    let mut returning = submission();
    returning.handle_connection(at(10), ConnectionChange::Lost);
    returning.handle_connection(at(3000), ConnectionChange::Restored);
    let mut new = Submission::new(at(3000), ExchangeId::from_bytes([7; 16]), SubmissionConfig::default());
    new.restored_at(at(3000));
    for (mut submission, may_be_stored) in [(returning, true), (new, false)] {
        for now in (3000..8000).step_by(500) {
            assert_eq!(submission.poll_transmit(), Some(PublishRequest));
            submission.handle_no_responders(at(now));
            assert!(submission.poll_event().is_none());
            submission.handle_timeout(at(now + 500));
        }
        assert_eq!(submission.poll_transmit(), Some(PublishRequest));
        submission.handle_no_responders(at(8000));
        // The one before the loss may be stored.
        assert_eq!(submission.may_be_stored(), may_be_stored);
        if !may_be_stored {
            assert_fails(&mut submission, FailureKind::StreamMissing);
        }
    }
}

#[test]
fn inputs_change_nothing_after_the_end() {
    let mut submission = submission();
    submission.handle_ack(at(0), Err(full()));
    assert_fails(&mut submission, FailureKind::StreamFull);
    submission.handle_ack(at(0), Ok(FIRST));
    submission.handle_frame(at(0), response(true));
    submission.handle_malformed(at(0), &DecodeError::Malformed("x"));
    submission.handle_no_responders(at(0));
    submission.handle_unsent(at(0), full());
    submission.handle_connection(at(1), ConnectionChange::Restored);
    submission.handle_timeout(at(60_000));
    assert!(submission.poll_event().is_none());
    assert_eq!(submission.poll_transmit(), None);
}
