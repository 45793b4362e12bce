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
        Some(SubmissionEvent::Accepted { duplicate: told }) => assert_eq!(told, duplicate),
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
fn assert_answered(submission: &mut Submission) {
    let event = submission.poll_event();
    assert!(matches!(event, Some(SubmissionEvent::Response(response)) if response.body == "body"));
    assert_eq!(submission.poll_timeout(), None);
}

/// Lets time pass until this moment, which must be the next one that counts.
#[track_caller]
fn pass(submission: &mut Submission, millis: u64) {
    assert_eq!(submission.poll_timeout(), Some(at(millis)));
    submission.handle_timeout(at(millis));
}

#[test]
fn accepted_then_answered() {
    let mut submission = submission();
    submission.handle_ack(at(0), Ok(FIRST));
    assert_accepted(&mut submission, false);
    assert!(submission.poll_event().is_none());
    // Once accepted it is not published again.
    assert_eq!(submission.poll_timeout(), Some(at(15_000)));
    submission.handle_frame(at(0), response(true));
    assert_answered(&mut submission);
    assert_eq!(submission.published(), 1);
}

#[test]
fn an_answer_is_a_confirmation_too() {
    let mut submission = submission();
    submission.handle_frame(at(0), response(true));
    assert_accepted(&mut submission, false);
    assert_answered(&mut submission);
    submission.handle_ack(at(0), Ok(FIRST));
    assert!(submission.poll_event().is_none());
}

#[test]
fn without_a_confirmation_it_is_published_again_until_the_deadline() {
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
fn it_is_not_published_again_where_the_stream_might_not_know_it_any_more() {
    let config = SubmissionConfig { retry_for: Duration::from_millis(1500), ..SubmissionConfig::default() };
    let mut submission = submission_with(config);
    pass(&mut submission, 1000);
    assert_eq!(submission.poll_transmit(), Some(PublishRequest));
    // Not after a new connection either.
    submission.handle_connection(at(1600), ConnectionChange::Lost);
    submission.handle_connection(at(1700), ConnectionChange::Restored);
    assert_eq!(submission.poll_transmit(), None);
    assert_eq!(submission.poll_timeout(), Some(at(15_000)));
}

#[test]
fn a_duplicate_is_told() {
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
fn accepted_but_not_answered_is_late() {
    let mut submission = submission();
    submission.handle_ack(at(0), Ok(FIRST));
    assert_accepted(&mut submission, false);
    pass(&mut submission, 15_000);
    let text = assert_fails(&mut submission, FailureKind::AnsweredLate);
    assert!(text.contains(&ExchangeId::from_bytes([7; 16]).to_string()), "{text}");
}

#[test]
fn a_refusal_ends_it_if_nothing_else_was_published() {
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
fn a_refusal_is_not_believed_while_another_publication_may_be_stored() {
    let mut submission = submission();
    pass(&mut submission, 1000);
    assert_eq!(submission.poll_transmit(), Some(PublishRequest));
    submission.handle_no_responders(at(0));
    assert!(submission.poll_event().is_none() && submission.may_be_stored());
    // The other one was not stored either.
    submission.handle_ack(at(0), Err(full()));
    assert!(!submission.may_be_stored());
    assert_fails(&mut submission, FailureKind::StreamFull);
}

#[test]
fn refused_after_a_lost_confirmation_it_is_tried_again() {
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
fn it_is_published_again_once_connected_and_not_before() {
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
fn what_was_not_published_when_the_connection_broke_is_published_later() {
    let mut submission = Submission::new(at(0), ExchangeId::from_bytes([7; 16]), SubmissionConfig::default());
    submission.handle_connection(at(0), ConnectionChange::Lost);
    assert_eq!(submission.poll_transmit(), None);
    submission.handle_connection(at(1), ConnectionChange::Restored);
    assert_eq!(submission.poll_transmit(), Some(PublishRequest));
}

#[test]
fn accepted_it_waits_through_a_lost_connection() {
    let mut submission = submission();
    submission.handle_ack(at(0), Ok(FIRST));
    assert_accepted(&mut submission, false);
    submission.handle_connection(at(10), ConnectionChange::Lost);
    submission.handle_connection(at(5000), ConnectionChange::Restored);
    assert_eq!(submission.poll_transmit(), None);
    submission.handle_frame(at(0), response(true));
    assert_answered(&mut submission);
}

#[test]
fn an_unusable_answer_is_told_with_the_id() {
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
fn nothing_changes_it_after_its_end() {
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
