//! A connection that is lost and restored.

use super::*;

#[test]
fn a_lost_connection_is_forgiven_for_the_grace() {
    let mut away = caller(false);
    away.handle_connection(at(100), ConnectionChange::Lost);
    assert_eq!(away.poll_timeout(), Some(at(5100)));
    away.handle_timeout(at(5100));
    assert_fails(&mut away, FailureKind::ConnectionLost);

    let mut caller = caller(false);
    caller.handle_connection(at(100), ConnectionChange::Lost);
    caller.handle_connection(at(5000), ConnectionChange::Restored);
    assert_eq!(caller.poll_transmit(), None);
    caller.handle_timeout(at(9999));
    assert_open(&mut caller);
    caller.handle_timeout(at(10_000));
    assert_fails(&mut caller, FailureKind::ConnectionLost);
}

#[test]
fn nothing_is_published_while_the_connection_is_lost() {
    let mut caller = caller(true);
    caller.handle_frame(at(10), 0, working(), Some(CONSUMER));
    caller.handle_connection(at(20), ConnectionChange::Lost);
    // PROBEs would be due, and one of the consumer's is still to be handled.
    caller.handle_frame(at(30), 0, Frame::Probe, Some(CONSUMER));
    caller.handle_timeout(at(4000));
    assert_eq!(caller.poll_transmit(), None);
    caller.handle_connection(at(4500), ConnectionChange::Restored);
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));
    assert!(matches!(sent(&mut caller), (CONSUMER, Frame::Credit(_), Some(0))));
    assert!(matches!(sent(&mut caller), (CONSUMER, Frame::Probe, Some(0))));
    assert_eq!(caller.poll_transmit(), None);
}

#[test]
fn a_request_without_responders_just_before_the_loss_is_sent_again() {
    let mut caller = caller(false);
    caller.handle_connection(at(20), ConnectionChange::Lost);
    caller.handle_no_responders(at(30), 0);
    assert_open(&mut caller);
    caller.handle_connection(at(300), ConnectionChange::Restored);
    caller.handle_timeout(at(530));
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));
}

#[test]
fn a_new_request_is_sent_again_after_the_connection_was_restored() {
    let mut caller = Caller::<Subject>::new(at(2000), CallerConfig::default(), 7);
    caller.restored_at(at(0));
    for attempt in 0..6 {
        assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt }));
        let now = 2000 + 500 * u64::from(attempt);
        caller.handle_no_responders(at(now), attempt);
        assert_open(&mut caller);
        caller.handle_timeout(at(now + 500));
    }
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 6 }));
    caller.handle_no_responders(at(5000), 6);
    assert_fails(&mut caller, FailureKind::NoConsumer);
}

#[test]
fn an_idempotent_request_is_sent_again_once_the_connection_is_restored() {
    let mut caller = caller(true);
    caller.handle_connection(at(100), ConnectionChange::Lost);
    assert_eq!(caller.poll_transmit(), None);
    caller.handle_connection(at(200), ConnectionChange::Restored);
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 1 }));
    assert_eq!(caller.poll_timeout(), Some(at(15_000)));
    // The next loss is a failure.
    caller.handle_connection(at(300), ConnectionChange::Lost);
    caller.handle_connection(at(400), ConnectionChange::Restored);
    assert_eq!(caller.poll_transmit(), None);
    caller.handle_timeout(at(5400));
    assert_fails(&mut caller, FailureKind::ConnectionLost);
}

#[test]
fn a_consumer_that_responds_to_a_probe_after_a_lost_connection_may_go_on() {
    let mut caller = caller(false);
    caller.handle_frame(at(10), 0, working(), Some(CONSUMER));
    caller.handle_connection(at(100), ConnectionChange::Lost);
    caller.handle_connection(at(200), ConnectionChange::Restored);
    assert!(matches!(sent(&mut caller), (CONSUMER, Frame::Probe, Some(0))));
    caller.handle_frame(at(300), 0, Frame::Credit(Credit::default()), Some(CONSUMER));
    caller.handle_timeout(at(5200));
    assert_open(&mut caller);
    caller.handle_frame(at(6000), 0, response(true), None);
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(_))));
}

#[test]
fn a_request_is_sent_again_while_consumers_may_be_connecting_again() {
    let mut caller = caller(true);
    caller.handle_connection(at(100), ConnectionChange::Lost);
    caller.handle_connection(at(200), ConnectionChange::Restored);
    // One attempt for the loss, and ten more until the grace is over.
    for attempt in 1..11 {
        assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt }));
        assert_open(&mut caller);
        let now = 500 * u64::from(attempt) - 300;
        caller.handle_no_responders(at(now), attempt);
        caller.handle_timeout(at(now + 499));
        assert_eq!(caller.poll_transmit(), None);
        caller.handle_timeout(at(now + 500));
    }
    assert_eq!(caller.poll_transmit(), Some(CallerTransmit::Request { attempt: 11 }));
    caller.handle_no_responders(at(5200), 11);
    assert_fails(&mut caller, FailureKind::NoConsumer);
}

#[test]
fn a_consumer_is_probed_again_until_it_is_connected_again() {
    for idempotent in [false, true] {
        let mut caller = caller(idempotent);
        caller.handle_frame(at(10), 0, working(), Some(CONSUMER));
        caller.handle_connection(at(100), ConnectionChange::Lost);
        caller.handle_connection(at(200), ConnectionChange::Restored);
        while caller.poll_transmit().is_some() {}
        caller.handle_no_responders(at(201), 0);
        assert_open(&mut caller);
        caller.handle_timeout(at(701));
        assert!(matches!(sent(&mut caller), (CONSUMER, Frame::Probe, Some(0))));
        caller.handle_frame(at(800), 0, response(true), None);
        assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(_))));
    }
}

#[test]
fn a_consumer_that_does_not_connect_again_fails_the_exchange() {
    let mut caller = caller(false);
    caller.handle_frame(at(10), 0, working(), Some(CONSUMER));
    caller.handle_connection(at(100), ConnectionChange::Lost);
    caller.handle_connection(at(200), ConnectionChange::Restored);
    for now in (300..5000).step_by(500) {
        while caller.poll_transmit().is_some() {}
        caller.handle_no_responders(at(now), 0);
        assert_open(&mut caller);
        caller.handle_timeout(at(now + 500));
    }
    assert_fails(&mut caller, FailureKind::ConnectionLost);
}
